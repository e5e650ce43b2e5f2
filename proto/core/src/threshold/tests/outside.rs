//! RFC 9497's vectors through every quorum, FROST's shares, and the `voprf` crate on both sides.

use frost_ristretto255 as frost;
use serde_json::Value;

use super::*;
use crate::oprf::tests::interop::{
    ForeignRng, foreign_clients, foreign_evaluate, foreign_finalize,
};
use crate::oprf::tests::{Vector, array};

#[test]
fn rfc_9497_outputs_of_modes_0_and_1_through_every_quorum() {
    for vector in Vector::load() {
        for (threshold, count) in [(2, 3), (3, 5), (1, 1), (1, 3), (4, 4)] {
            let dealt = Dealt::split(&vector.key, threshold, count, &mut rng(u64::from(count)));
            for holders in subsets(threshold, count) {
                let quorum = dealt.public.quorum(&holders).unwrap();
                vector.assert_outputs(&dealt.pseudonyms(&quorum, vector.state()));
            }
        }
    }
}

#[test]
fn frost_dkg_vector_reconstructs_the_group_key() {
    let Ok(shared) = std::env::var("LANYARD_SHARED") else {
        println!("skipped: LANYARD_SHARED not set");
        return;
    };
    let path = format!("{shared}/vectors/frost_ristretto255_vectors_dkg.json");
    let vector: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let inputs = &vector["inputs"];
    let bytes = |value: &Value| array(&hex::decode(value.as_str().unwrap()).unwrap());
    let shares: Vec<_> = (1..=3)
        .map(|number| {
            let input = &inputs[number.to_string()];
            let share =
                KeyShare::from_bytes(index(number), &bytes(&input["signing_share"])).unwrap();
            let expected = bytes(&input["verifying_share"]);
            assert_eq!(share.public_share().as_bytes(), &expected);
            assert_eq!(*share.to_bytes(), bytes(&input["signing_share"]));
            PublicShare::from_bytes(index(number), &expected).unwrap()
        })
        .collect();
    let group_key = bytes(&inputs["verifying_key"]);
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let pair = pair.map(|place: usize| shares[place].clone()).to_vec();
        let public = PublicShares::new(2, pair).unwrap();
        assert_eq!(public.group_key().as_bytes(), &group_key);
    }
    let public = PublicShares::new(2, shares).unwrap();
    assert_eq!(public.group_key().as_bytes(), &group_key);
}

/// FROST's shares of three holders as ours.
fn from_frost(
    secrets: &[frost::keys::KeyPackage],
    package: &frost::keys::PublicKeyPackage,
) -> (Vec<KeyShare>, PublicShares) {
    let number = |identifier: &frost::Identifier| index(identifier.serialize()[0]);
    let secrets = secrets.iter().map(|secret| {
        let bytes = array(&secret.signing_share().serialize());
        KeyShare::from_bytes(number(secret.identifier()), &bytes).unwrap()
    });
    let shares = package.verifying_shares().iter().map(|(identifier, share)| {
        let bytes = array(&share.serialize().unwrap());
        PublicShare::from_bytes(number(identifier), &bytes).unwrap()
    });
    let public = PublicShares::new(2, shares.collect()).unwrap();
    let group_key = package.verifying_key().serialize().unwrap();
    assert_eq!(public.group_key().as_bytes().as_slice(), group_key);
    (secrets.collect(), public)
}

#[test]
fn a_refresh_by_frost_changes_shares_and_keeps_pseudonyms() {
    use frost::keys::refresh::{compute_refreshing_shares, refresh_share};

    let mut foreign = ForeignRng(rng(20));
    let (secrets, package) =
        frost::keys::generate_with_dealer(3, 2, frost::keys::IdentifierList::Default, &mut foreign)
            .unwrap();
    let before: Vec<_> = secrets
        .into_values()
        .map(|secret| frost::keys::KeyPackage::try_from(secret).unwrap())
        .collect();
    let identifiers: Vec<_> = before.iter().map(|secret| *secret.identifier()).collect();
    let (zeros, refreshed) =
        compute_refreshing_shares(package.clone(), &identifiers, &mut foreign).unwrap();
    let after: Vec<_> = zeros
        .into_iter()
        .zip(&before)
        .map(|(zero, share)| refresh_share(zero, share).unwrap())
        .collect();

    let old = from_frost(&before, &package);
    let new = from_frost(&after, &refreshed);
    let pseudonyms = |(shares, public): &(Vec<KeyShare>, PublicShares), holders: [u8; 2]| {
        let quorum = public.quorum(&indices(holders)).unwrap();
        let state = batch(4, 21);
        let answers = holders
            .iter()
            .map(|number| &shares[usize::from(number - 1)])
            .map(|share| share.for_quorum(&quorum).unwrap())
            .map(|share| share.evaluate(state.blinded(), &mut rng(22)).unwrap())
            .collect();
        combine(state, public, &quorum, answers).unwrap()
    };
    assert!(pseudonyms(&old, [1, 2]) == pseudonyms(&new, [2, 3]));
    for (before, after) in old.0.iter().zip(&new.0) {
        assert_ne!(*before.to_bytes(), *after.to_bytes());
        assert_eq!(after.check(&new.1), Ok(()));
        let stale = ThresholdError::Mismatch { index: before.index() };
        assert_eq!(before.check(&new.1), Err(stale));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_voprf_crate_accepts_the_proofs_of_our_shares(size in 1_usize..6, seed: u64) {
        let dealt = Dealt::generate(2, 3, seed);
        let inputs = inputs(size, &mut rng(seed));
        let (clients, blinded) = foreign_clients(&inputs, seed);
        for holders in subsets(2, 3) {
            let quorum = dealt.public.quorum(&holders).unwrap();
            for answer in dealt.evaluate(&quorum, &blinded, &mut rng(seed)) {
                let key = dealt.public.weighted(&quorum, answer.index).unwrap();
                let Evaluated { elements, proof, .. } = &answer;
                let outputs = foreign_finalize(&clients, &inputs, elements, proof, &key);
                prop_assert!(outputs.is_some());
            }
        }
    }

    #[test]
    fn we_accept_the_proofs_of_shares_in_the_voprf_crate(size in 1_usize..6, seed: u64) {
        let dealt = Dealt::generate(2, 3, seed);
        for holders in subsets(2, 3) {
            let quorum = dealt.public.quorum(&holders).unwrap();
            let state = batch(size, seed);
            let answers = holders
                .iter()
                .map(|index| {
                    let weight = quorum.coefficient(*index).unwrap();
                    let secret = *dealt.share(*index).to_bytes();
                    let secret = weight * Scalar::from_canonical_bytes(secret).unwrap();
                    let (elements, proof) =
                        foreign_evaluate(&secret.to_bytes(), state.blinded(), seed);
                    Evaluated { index: *index, elements, proof }
                })
                .collect();
            let outputs = combine(state, &dealt.public, &quorum, answers).unwrap();
            prop_assert!(outputs == dealt.pseudonyms(&quorum, batch(size, seed)));
        }
    }
}

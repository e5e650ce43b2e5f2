//! Against outside vectors and crates, and what must be refused.

mod outside;
mod refusals;
mod rooted;

use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::oprf::tests::{inputs, rng, slices};
use crate::oprf::{self, BlindState, BlindedElement, Pseudonym};

fn index(number: u8) -> ShareIndex {
    ShareIndex::new(number).unwrap()
}

fn indices(numbers: impl IntoIterator<Item = u8>) -> Vec<ShareIndex> {
    numbers.into_iter().map(index).collect()
}

/// All sets of `size` out of 1 to `count`.
fn subsets(size: u8, count: u8) -> Vec<Vec<ShareIndex>> {
    (0_u32..1 << count)
        .filter(|set| set.count_ones() == u32::from(size))
        .map(|set| indices((0..count).filter(|bit| set >> bit & 1 == 1).map(|bit| bit + 1)))
        .collect()
}

/// A key in shares, as no party ever sees it.
struct Dealt {
    key: oprf::SecretKey,
    shares: Vec<KeyShare>,
    public: PublicShares,
}

impl Dealt {
    fn split(key: &oprf::SecretKey, threshold: u8, count: u8, rng: &mut ChaCha20Rng) -> Self {
        let scalar = |bytes: [u8; 32]| Scalar::from_canonical_bytes(bytes).unwrap();
        let mut coefficients = vec![scalar(*key.to_bytes())];
        coefficients.extend((1..threshold).map(|_| Scalar::random(rng)));
        let shares: Vec<_> = indices(1..=count)
            .into_iter()
            .map(|index| {
                let x = Scalar::from(index.get());
                let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, c| sum * x + c);
                KeyShare::from_bytes(index, &value.to_bytes()).unwrap()
            })
            .collect();
        let public = shares.iter().map(KeyShare::public_share).collect();
        let public = PublicShares::new(threshold, public).unwrap();
        let key = oprf::SecretKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(public.group_key(), key.public_key());
        Self { key, shares, public }
    }

    fn generate(threshold: u8, count: u8, seed: u64) -> Self {
        let rng = &mut rng(seed);
        Self::split(&oprf::SecretKey::generate(rng), threshold, count, rng)
    }

    fn share(&self, index: ShareIndex) -> &KeyShare {
        self.shares.iter().find(|share| share.index() == index).unwrap()
    }

    fn evaluate(
        &self,
        quorum: &Quorum,
        blinded: &[BlindedElement],
        rng: &mut ChaCha20Rng,
    ) -> Vec<Evaluated> {
        let answer = |index: &ShareIndex| {
            self.share(*index).for_quorum(quorum).unwrap().evaluate(blinded, rng).unwrap()
        };
        quorum.holders().iter().map(answer).collect()
    }

    fn pseudonyms(&self, quorum: &Quorum, state: BlindState) -> Vec<Pseudonym> {
        let answers = self.evaluate(quorum, state.blinded(), &mut rng(99));
        combine(state, &self.public, quorum, answers).unwrap()
    }
}

/// The verified answers of all in `quorum` but `own`.
fn verified(
    dealt: &Dealt,
    quorum: &Quorum,
    state: &BlindState,
    own: Option<ShareIndex>,
) -> Vec<VerifiedShare> {
    dealt
        .evaluate(quorum, state.blinded(), &mut rng(98))
        .into_iter()
        .filter(|answer| Some(answer.index) != own)
        .map(|answer| verify_share(&dealt.public, quorum, state.blinded(), answer).unwrap())
        .collect()
}

fn batch(count: usize, seed: u64) -> BlindState {
    let rng = &mut rng(seed);
    oprf::blind(&slices(&inputs(count, rng)), rng).unwrap()
}

/// 2 of 3, the quorum {1, 3}, a batch, and both honest answers to it.
fn pair() -> (Dealt, Quorum, BlindState, Vec<Evaluated>) {
    let dealt = Dealt::generate(2, 3, 1);
    let quorum = dealt.public.quorum(&indices([3, 1])).unwrap();
    let state = batch(3, 2);
    let answers = dealt.evaluate(&quorum, state.blinded(), &mut rng(3));
    (dealt, quorum, state, answers)
}

#[test]
fn share_indices_are_plain_numbers_in_json() {
    assert_eq!(serde_json::to_string(&index(7)).unwrap(), "7");
    assert_eq!(serde_json::from_str::<ShareIndex>("7").unwrap(), index(7));
    assert!(serde_json::from_str::<ShareIndex>("0").is_err());
    assert!(serde_json::from_str::<ShareIndex>("256").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_quorum_gives_what_the_whole_key_gives(
        (threshold, count) in (1_u8..=6).prop_flat_map(|count| (1..=count, Just(count))),
        choice: prop::sample::Index,
        size in 1_usize..5,
        seed: u64,
    ) {
        let dealt = Dealt::generate(threshold, count, seed);
        let quorums = subsets(threshold, count);
        let quorum = dealt.public.quorum(&quorums[choice.index(quorums.len())]).unwrap();
        let outputs = dealt.pseudonyms(&quorum, batch(size, seed));
        let state = batch(size, seed);
        let (evaluated, proof) =
            oprf::blind_evaluate(&dealt.key, state.blinded(), &mut rng(1)).unwrap();
        let key = dealt.public.group_key();
        let proven =
            oprf::verify_evaluation(key, state.blinded(), evaluated, &proof).unwrap();
        prop_assert!(outputs == oprf::finalize(state, proven).unwrap());

        for own in quorum.holders() {
            let state = batch(size, seed);
            let others = verified(&dealt, &quorum, &state, Some(*own));
            let own = dealt.share(*own);
            let with_own = combine_with_own(state, &dealt.public, &quorum, own, &others).unwrap();
            prop_assert!(outputs == with_own);
        }
    }
}

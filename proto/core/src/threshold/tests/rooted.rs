//! Refreshed and repaired shares: the same pseudonyms through every quorum, and cheats named.

use super::*;

/// One polynomial of each contributor.
fn draw(
    threshold: u8,
    root: Root,
    contributors: &[ShareIndex],
    rng: &mut ChaCha20Rng,
) -> Vec<(ShareIndex, RootedPolynomial)> {
    let draw =
        |index: &ShareIndex| (*index, RootedPolynomial::generate(threshold, root, rng).unwrap());
    contributors.iter().map(draw).collect()
}

fn received(drawn: &[(ShareIndex, RootedPolynomial)], to: ShareIndex) -> Vec<Contribution> {
    let verify = |(from, polynomial): &(ShareIndex, RootedPolynomial)| {
        let value = polynomial.value_for(to);
        Contribution::verify(*from, to, polynomial.commitment(), &*value).unwrap()
    };
    drawn.iter().map(verify).collect()
}

impl Dealt {
    fn refreshed(&self, rng: &mut ChaCha20Rng) -> Self {
        let all: Vec<_> = self.shares.iter().map(KeyShare::index).collect();
        let drawn = draw(self.public.threshold(), Root::Key, &all, rng);
        let new: Vec<_> = self
            .shares
            .iter()
            .map(|old| refresh(old, &self.public, &received(&drawn, old.index())).unwrap())
            .collect();
        assert!(new.windows(2).all(|pair| pair[0].1 == pair[1].1), "all have the same");
        let public = new[0].1.clone();
        let shares = new.into_iter().map(|(share, _)| share).collect();
        let key = oprf::SecretKey::from_bytes(&self.key.to_bytes()).unwrap();
        Self { key, shares, public }
    }

    /// What the helpers send to the holder of `lost`.
    fn sent(
        &self,
        lost: ShareIndex,
        helpers: &[ShareIndex],
        rng: &mut ChaCha20Rng,
    ) -> Vec<(ShareIndex, RootedCommitment, zeroize::Zeroizing<Vec<u8>>)> {
        let drawn = draw(self.public.threshold(), Root::Share(lost), helpers, rng);
        drawn
            .iter()
            .map(|(index, polynomial)| {
                let received = received(&drawn, *index);
                let own = self.share(*index);
                let blinded =
                    blind_for_repair(own, &self.public, lost, helpers, &received).unwrap();
                (*index, polynomial.commitment(), blinded.to_vec().into())
            })
            .collect()
    }
}

fn outputs(dealt: &Dealt, quorum: &[ShareIndex]) -> Vec<Pseudonym> {
    dealt.pseudonyms(&dealt.public.quorum(quorum).unwrap(), batch(2, 7))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn refreshed_shares_give_the_same_pseudonyms_through_every_quorum(
        (threshold, count) in (2_u8..=5).prop_flat_map(|count| (2..=count, Just(count))),
        seed: u64,
    ) {
        let rng = &mut rng(seed);
        let old = Dealt::split(&oprf::SecretKey::generate(rng), threshold, count, rng);
        let new = old.refreshed(rng);
        prop_assert_eq!(new.public.group_key(), old.public.group_key());
        for (old, new) in old.shares.iter().zip(&new.shares) {
            prop_assert!(old.to_bytes() != new.to_bytes());
        }
        let expected = outputs(&old, &indices(1..=threshold));
        for quorum in subsets(threshold, count) {
            prop_assert!(outputs(&new, &quorum) == expected);
        }
    }

    #[test]
    fn any_helpers_repair_any_share(
        (threshold, count) in (2_u8..=4).prop_flat_map(|threshold| (Just(threshold), threshold + 1..=5)),
        lost: prop::sample::Index,
        choice: prop::sample::Index,
        more in 0_u8..=3,
        seed: u64,
    ) {
        let rng = &mut rng(seed);
        let dealt = Dealt::split(&oprf::SecretKey::generate(rng), threshold, count, rng);
        let lost = index(u8::try_from(lost.index(count.into())).unwrap() + 1);
        let size = (threshold + more).min(count - 1);
        let mut sets = subsets(size, count);
        sets.retain(|set| !set.contains(&lost));
        let helpers = &sets[choice.index(sets.len())];
        let repaired = repair(&dealt.public, lost, &dealt.sent(lost, helpers, rng)).unwrap();
        prop_assert!(repaired.to_bytes() == dealt.share(lost).to_bytes());
    }
}

#[test]
fn an_old_share_does_not_combine_with_new_ones() {
    let rng = &mut rng(5);
    let old = Dealt::generate(2, 3, 5);
    let mut new = old.refreshed(rng);
    let mismatch = ThresholdError::Mismatch { index: index(3) };
    assert_eq!(old.shares[2].check(&new.public), Err(mismatch.clone()));
    new.shares[2] = KeyShare::from_bytes(index(3), &old.shares[2].to_bytes()).unwrap();
    let quorum = new.public.quorum(&indices([1, 3])).unwrap();
    let state = batch(2, 7);
    let answers = new.evaluate(&quorum, state.blinded(), rng);
    let bad = ThresholdError::BadProof { culprit: index(3) };
    assert_eq!(combine(state, &new.public, &quorum, answers).err(), Some(bad));
    // Nor unproven: the caller's own share is checked too.
    let state = batch(2, 7);
    let others = verified(&new, &quorum, &state, Some(index(3)));
    let combined = combine_with_own(state, &new.public, &quorum, &new.shares[2], &others);
    assert_eq!(combined.err(), Some(mismatch));
}

#[test]
fn a_contribution_that_was_not_committed_to_is_blamed() {
    let rng = &mut rng(6);
    let blamed = Some(ThresholdError::BadContribution { culprit: index(1) });
    for root in [Root::Key, Root::Share(index(3))] {
        let drawn = draw(3, root, &indices([1]), rng);
        let (from, polynomial) = &drawn[0];
        let commitment = || polynomial.commitment();
        let good = polynomial.value_for(index(2));
        let verify =
            |value: &[u8]| Contribution::verify(*from, index(2), commitment(), value).err();
        assert_eq!(verify(&*good), None);
        assert_eq!(verify(&*polynomial.value_for(index(1))), blamed, "another's value");
        assert_eq!(verify(&[0xff; 32]), blamed, "not canonical");
        assert_eq!(verify(&good[..31]), blamed, "short");
        let other = RootedPolynomial::generate(3, root, rng).unwrap();
        assert_eq!(verify(&*other.value_for(index(2))), blamed, "another polynomial");
    }
}

#[test]
fn a_helper_that_sends_a_wrong_share_is_blamed() {
    let rng = &mut rng(7);
    let dealt = Dealt::generate(2, 3, 7);
    let (lost, helpers) = (index(2), indices([1, 3]));
    let mut sent = dealt.sent(lost, &helpers, rng);
    sent[1].2 = dealt.share(index(3)).to_bytes().to_vec().into();
    let error = repair(&dealt.public, lost, &sent).err().unwrap();
    assert_eq!(error.culprit(), Some(index(3)));
    // Contributions of an earlier repair do not serve.
    let again = dealt.sent(lost, &helpers, rng);
    sent[1].2.clone_from(&again[1].2);
    let error = repair(&dealt.public, lost, &sent).err().unwrap();
    assert_eq!(error.culprit(), Some(index(3)));
}

#[test]
fn contributions_must_be_of_all_and_for_this_purpose() {
    let rng = &mut rng(8);
    let dealt = Dealt::generate(2, 3, 8);
    let (all, own) = (indices([1, 2, 3]), dealt.share(index(1)));
    let drawn = draw(2, Root::Key, &all, rng);
    let too_few = refresh(own, &dealt.public, &received(&drawn[..2], index(1)));
    assert_eq!(too_few.err(), Some(ThresholdError::Contributors));
    let of_another = refresh(own, &dealt.public, &received(&drawn, index(2)));
    assert_eq!(of_another.err(), Some(ThresholdError::Contributors));
    let repairing = draw(2, Root::Share(index(3)), &all, rng);
    let other_root = refresh(own, &dealt.public, &received(&repairing, index(1)));
    assert_eq!(other_root.err(), Some(ThresholdError::Contributors));
    let blind = |helpers: &[ShareIndex], drawn: &[(ShareIndex, RootedPolynomial)]| {
        let received = received(drawn, index(1));
        blind_for_repair(own, &dealt.public, index(3), helpers, &received).err()
    };
    let helpers = indices([1, 2]);
    assert_eq!(blind(&helpers, &repairing[..2]), None);
    assert_eq!(blind(&helpers, &drawn[..2]), Some(ThresholdError::Contributors));
    assert!(matches!(
        blind(&helpers[..1], &repairing[..1]),
        Some(ThresholdError::Threshold { .. })
    ));
    assert!(matches!(blind(&all, &repairing), Some(ThresholdError::Duplicate { .. })));
}

#[test]
fn polynomials_and_commitments_read_back_for_their_threshold_only() {
    let rng = &mut rng(9);
    let polynomial = RootedPolynomial::generate(3, Root::Key, rng).unwrap();
    let (secret, public) = (polynomial.to_bytes(), polynomial.commitment().to_bytes());
    let read = RootedPolynomial::from_bytes(3, Root::Key, &secret).unwrap();
    assert_eq!(read.commitment(), polynomial.commitment());
    let commitment = RootedCommitment::parse(3, Root::Key, &public).unwrap();
    assert_eq!(commitment, polynomial.commitment());
    for threshold in [2, 4] {
        assert!(RootedPolynomial::from_bytes(threshold, Root::Key, &secret).is_err());
        assert!(RootedCommitment::parse(threshold, Root::Key, &public).is_err());
    }
    assert!(RootedCommitment::parse(3, Root::Key, &[0xff; 64]).is_err());
    let of_one = RootedPolynomial::generate(1, Root::Key, rng);
    assert_eq!(of_one.err(), Some(ThresholdError::NothingToShare));
}

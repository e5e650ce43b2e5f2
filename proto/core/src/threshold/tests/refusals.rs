//! What misbehaving holders send, and shares that do not belong together.

use super::*;
use crate::oprf::{EvaluationElement, OprfError};

#[test]
fn a_wrong_share_is_named_and_another_quorum_goes_on() {
    let (mut dealt, quorum, state, _) = pair();
    let stranger = Dealt::generate(2, 3, 4);
    dealt.shares[2] = KeyShare::from_bytes(index(3), &stranger.shares[2].to_bytes()).unwrap();
    let mismatch = ThresholdError::Mismatch { index: index(3) };
    assert_eq!(dealt.shares[2].check(&dealt.public), Err(mismatch));

    let answers = dealt.evaluate(&quorum, state.blinded(), &mut rng(5));
    let [honest, wrong] = <[_; 2]>::try_from(answers).unwrap();
    assert!(verify_share(&dealt.public, &quorum, state.blinded(), honest).is_ok());
    let error = verify_share(&dealt.public, &quorum, state.blinded(), wrong).err().unwrap();
    assert_eq!(error, ThresholdError::BadProof { culprit: index(3) });
    assert_eq!(error.culprit(), Some(index(3)));

    // The same state serves the next quorum.
    let quorum = dealt.public.quorum(&indices([1, 2])).unwrap();
    let outputs = dealt.pseudonyms(&quorum, state);
    let state = batch(3, 2);
    let (evaluated, proof) =
        oprf::blind_evaluate(&dealt.key, state.blinded(), &mut rng(6)).unwrap();
    let key = dealt.key.public_key();
    let verified = oprf::verify_evaluation(key, state.blinded(), evaluated, &proof).unwrap();
    assert!(outputs == oprf::finalize(state, verified).unwrap());
}

#[test]
fn an_answer_under_anothers_index_is_blamed_on_that_index() {
    let (dealt, quorum, state, mut answers) = pair();
    answers[0].index = index(3);
    let error = combine(state, &dealt.public, &quorum, answers).err();
    assert_eq!(error, Some(ThresholdError::BadProof { culprit: index(3) }));
}

#[test]
fn an_answer_for_another_quorum_is_refused() {
    let (dealt, quorum, state, answers) = pair();
    let other = dealt.public.quorum(&indices([1, 2])).unwrap();
    let error = verify_share(&dealt.public, &other, state.blinded(), answers[0].clone()).err();
    assert_eq!(error, Some(ThresholdError::BadProof { culprit: index(1) }));
    let error = verify_share(&dealt.public, &other, state.blinded(), answers[1].clone()).err();
    assert_eq!(error, Some(ThresholdError::NotInQuorum { index: index(3) }));

    let verified = verified(&dealt, &quorum, &state, None);
    let error = combine_verified(state, &other, &verified).err();
    assert_eq!(error, Some(ThresholdError::OtherQuorum));
}

#[test]
fn answers_for_another_batch_are_refused() {
    let (dealt, quorum, state, _) = pair();
    let verified = verified(&dealt, &quorum, &state, None);
    let error = combine_verified(batch(3, 7), &quorum, &verified).err();
    assert_eq!(error, Some(ThresholdError::OtherBatch));
}

#[test]
fn an_answer_in_another_order_is_refused() {
    let (dealt, quorum, state, mut answers) = pair();
    answers[1].elements.swap(0, 1);
    let error = combine(state, &dealt.public, &quorum, answers).err();
    assert_eq!(error, Some(ThresholdError::BadProof { culprit: index(3) }));
}

#[test]
fn an_answer_of_another_length_names_its_sender() {
    let (dealt, quorum, state, mut answers) = pair();
    answers[0].elements.pop();
    let error = combine(state, &dealt.public, &quorum, answers).err().unwrap();
    assert!(
        matches!(
            error,
            ThresholdError::Malformed {
                source: OprfError::Length { expected: 3, found: 2, .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.culprit(), Some(index(1)));
}

#[test]
fn answers_that_do_not_parse_name_their_sender() {
    let (.., answers) = pair();
    let elements = EvaluationElement::encode_batch(&answers[0].elements);
    let proof = answers[0].proof.to_bytes();
    assert_eq!(Evaluated::parse(index(1), &elements, &proof), Ok(answers[0].clone()));

    let identity = [&elements[..64], &[0; 32]].concat();
    let not_canonical = [&elements[..64], &[0xff; 32]].concat();
    for (elements, proof, source) in [
        (&identity, proof.as_slice(), OprfError::Identity { what: "evaluation element", index: 2 }),
        (&not_canonical, &proof, OprfError::Element { what: "evaluation element", index: 2 }),
        (&Vec::new(), &proof, OprfError::Batch { size: 0 }),
        (&elements, &[0xff; 64], OprfError::Scalar { what: "proof" }),
    ] {
        let error = Evaluated::parse(index(1), elements, proof);
        assert_eq!(error, Err(ThresholdError::Malformed { culprit: index(1), source }));
    }
    let truncated = Evaluated::parse(index(1), &elements[..95], &proof).unwrap_err();
    assert_eq!(truncated.culprit(), Some(index(1)));
}

#[test]
fn a_holder_counts_once() {
    let (dealt, quorum, state, answers) = pair();
    let twice = vec![answers[0].clone(), answers[0].clone()];
    let error = combine(state, &dealt.public, &quorum, twice).err();
    assert_eq!(error, Some(ThresholdError::Duplicate { index: index(1) }));
    let error = combine(batch(3, 2), &dealt.public, &quorum, answers[..1].to_vec()).err();
    assert_eq!(error, Some(ThresholdError::QuorumSize { expected: 2, found: 1 }));
}

#[test]
fn an_own_share_must_belong() {
    let (dealt, quorum, state, _) = pair();
    let combine = |state, own: &KeyShare, others: &[VerifiedShare]| {
        combine_with_own(state, &dealt.public, &quorum, own, others).err()
    };
    let others = verified(&dealt, &quorum, &state, Some(index(1)));
    let stranger = Dealt::generate(2, 3, 4);
    let error = combine(state, &stranger.shares[0], &others);
    assert_eq!(error, Some(ThresholdError::Mismatch { index: index(1) }));
    let error = combine(batch(3, 2), &dealt.shares[1], &others);
    assert_eq!(error, Some(ThresholdError::NotInQuorum { index: index(2) }));
    let error = combine(batch(3, 2), &dealt.shares[2], &others);
    assert_eq!(error, Some(ThresholdError::Duplicate { index: index(3) }));
    let error = combine(batch(3, 2), &dealt.shares[0], &[]);
    assert_eq!(error, Some(ThresholdError::QuorumSize { expected: 2, found: 1 }));
    let error = combine(batch(3, 7), &dealt.shares[0], &others);
    assert_eq!(error, Some(ThresholdError::OtherBatch));
    assert_eq!(combine(batch(3, 2), &dealt.shares[0], &others), None);
}

#[test]
fn fewer_holders_than_the_threshold_make_no_quorum() {
    let dealt = Dealt::generate(2, 3, 8);
    assert_eq!(ShareIndex::new(0), Err(ThresholdError::ZeroIndex));
    for (holders, error) in [
        (vec![1], ThresholdError::QuorumSize { expected: 2, found: 1 }),
        (vec![1, 2, 3], ThresholdError::QuorumSize { expected: 2, found: 3 }),
        (vec![2, 2], ThresholdError::Duplicate { index: index(2) }),
        (vec![1, 4], ThresholdError::Unknown { index: index(4) }),
    ] {
        assert_eq!(dealt.public.quorum(&indices(holders)), Err(error));
    }
    let zero = ThresholdError::Threshold { threshold: 0, shares: 0 };
    assert_eq!(Quorum::new(0, &[]), Err(zero));
    // A quorum of one, made without the public shares, does not get past them.
    let alone = Quorum::new(1, &indices([1])).unwrap();
    let state = batch(1, 9);
    let answers = dealt.evaluate(&alone, state.blinded(), &mut rng(10));
    let error = combine(state, &dealt.public, &alone, answers).err();
    assert_eq!(error, Some(ThresholdError::QuorumSize { expected: 2, found: 1 }));
}

#[test]
fn public_shares_must_fit_each_other() {
    let dealt = Dealt::generate(2, 3, 11);
    let shares = dealt.public.shares().to_vec();
    let mut foreign = shares.clone();
    foreign[2] = Dealt::generate(2, 3, 12).public.shares()[2].clone();
    let error = PublicShares::new(2, foreign).err();
    assert_eq!(error, Some(ThresholdError::Inconsistent { index: index(3) }));
    // Three shares on a line are not a sharing with threshold 1.
    let error = PublicShares::new(1, shares.clone()).err();
    assert_eq!(error, Some(ThresholdError::Inconsistent { index: index(2) }));
    for threshold in [0, 4] {
        let error = PublicShares::new(threshold, shares.clone()).err();
        assert_eq!(error, Some(ThresholdError::Threshold { threshold, shares: 3 }));
    }
    let twice = vec![shares[0].clone(), shares[0].clone()];
    let error = PublicShares::new(2, twice).err();
    assert_eq!(error, Some(ThresholdError::Duplicate { index: index(1) }));
    let unknown = dealt.public.get(index(4)).err();
    assert_eq!(unknown, Some(ThresholdError::Unknown { index: index(4) }));
}

#[test]
fn shares_of_zero_and_the_key_zero_are_refused() {
    let error = KeyShare::from_bytes(index(1), &[0; 32]).err().unwrap();
    assert!(matches!(error, ThresholdError::Share { .. }), "{error:?}");
    let error = PublicShare::from_bytes(index(1), &[0; 32]).err().unwrap();
    assert!(matches!(error, ThresholdError::Share { .. }), "{error:?}");
    // f(x) = x: shares 1 and 2, the key 0.
    let share = |number: u8| {
        let secret = Scalar::from(number).to_bytes();
        KeyShare::from_bytes(index(number), &secret).unwrap().public_share()
    };
    let error = PublicShares::new(2, vec![share(1), share(2)]).err();
    assert_eq!(error, Some(ThresholdError::ZeroKey));
}

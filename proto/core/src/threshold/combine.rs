//! Verifying holders' answers and adding them up.

use curve25519_dalek::ristretto::RistrettoPoint;

use super::ThresholdError;
use super::quorum::{Quorum, ShareIndex};
use super::share::{KeyShare, PublicShares};
use crate::oprf::{
    self, BlindState, BlindedElement, EvaluationElement, OprfError, Proof, Pseudonym,
    VerifiedEvaluation,
};

/// One holder's answer, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// Who answers.
    pub index: ShareIndex,
    /// The blinded elements under its weighted share.
    pub elements: Vec<EvaluationElement>,
    /// The proof of it.
    pub proof: Proof,
}

impl Evaluated {
    /// Parses an answer: elements of 32 bytes one after the other, a proof of 64.
    ///
    /// # Errors
    /// [`ThresholdError::Malformed`], naming the holder.
    pub fn parse(index: ShareIndex, elements: &[u8], proof: &[u8]) -> Result<Self, ThresholdError> {
        let malformed = |source| ThresholdError::Malformed { culprit: index, source };
        Ok(Self {
            index,
            elements: EvaluationElement::parse_batch(elements).map_err(malformed)?,
            proof: Proof::parse(proof).map_err(malformed)?,
        })
    }
}

/// A holder's answer whose proof holds for one quorum and one batch; only [`verify_share`] makes one.
pub struct VerifiedShare {
    index: ShareIndex,
    quorum: Quorum,
    evaluation: VerifiedEvaluation,
}

impl VerifiedShare {
    /// Who answered.
    #[must_use]
    pub const fn index(&self) -> ShareIndex {
        self.index
    }
}

/// Verifies one holder's answer to `blinded` against its public share in `quorum`.
///
/// # Errors
/// [`ThresholdError::BadProof`] or [`ThresholdError::Malformed`], naming the holder; [`ThresholdError::NotInQuorum`],
/// [`ThresholdError::Unknown`] or [`ThresholdError::QuorumSize`] if it was not to be asked.
pub fn verify_share(
    public: &PublicShares,
    quorum: &Quorum,
    blinded: &[BlindedElement],
    evaluated: Evaluated,
) -> Result<VerifiedShare, ThresholdError> {
    let Evaluated { index, elements, proof } = evaluated;
    let key = public.weighted(quorum, index)?;
    let evaluation =
        oprf::verify_evaluation(&key, blinded, elements, &proof).map_err(|error| match error {
            OprfError::BadProof => ThresholdError::BadProof { culprit: index },
            source => ThresholdError::Malformed { culprit: index, source },
        })?;
    Ok(VerifiedShare { index, quorum: quorum.clone(), evaluation })
}

/// Combines the verified answers of a whole quorum into one pseudonym for each input, in their order.
///
/// # Errors
/// [`ThresholdError::QuorumSize`], [`ThresholdError::Duplicate`], [`ThresholdError::OtherQuorum`] or
/// [`ThresholdError::OtherBatch`] if the answers do not belong together.
pub fn combine_verified(
    state: BlindState,
    quorum: &Quorum,
    shares: &[VerifiedShare],
) -> Result<Vec<Pseudonym>, ThresholdError> {
    check_together(&state, quorum, None, shares)?;
    let sums = sums(state.blinded().len(), shares);
    state.finalize_points(sums).map_err(|_| ThresholdError::OtherBatch)
}

/// [`combine_verified`] for a caller that is a holder itself: its own share, and the verified answers of the others in
/// the quorum. Its own answer needs no proof and hardly any time.
///
/// # Errors
/// As [`combine_verified`]; [`ThresholdError::NotInQuorum`], [`ThresholdError::Unknown`] or
/// [`ThresholdError::Mismatch`] if the own share does not belong.
pub fn combine_with_own(
    state: BlindState,
    public: &PublicShares,
    quorum: &Quorum,
    own: &KeyShare,
    others: &[VerifiedShare],
) -> Result<Vec<Pseudonym>, ThresholdError> {
    let weighted = own.for_quorum(quorum)?;
    // A share gone wrong on disk would yield pseudonyms that match nobody.
    if *weighted.public_key() != public.weighted(quorum, own.index())? {
        return Err(ThresholdError::Mismatch { index: own.index() });
    }
    check_together(&state, quorum, Some(own.index()), others)?;
    let sums = sums(state.blinded().len(), others);
    state.finalize_points_with_own(weighted.scalar(), sums).map_err(|_| ThresholdError::OtherBatch)
}

/// Checks that the answers, and the caller's own if any, are those of the whole quorum to one batch.
fn check_together(
    state: &BlindState,
    quorum: &Quorum,
    own: Option<ShareIndex>,
    shares: &[VerifiedShare],
) -> Result<(), ThresholdError> {
    let (expected, found) = (quorum.holders().len(), shares.len() + usize::from(own.is_some()));
    if expected != found {
        return Err(ThresholdError::QuorumSize { expected, found });
    }
    for (place, share) in shares.iter().enumerate() {
        if share.quorum != *quorum {
            return Err(ThresholdError::OtherQuorum);
        }
        if share.evaluation.batch() != state.batch() {
            return Err(ThresholdError::OtherBatch);
        }
        let mut others = shares[..place].iter().map(VerifiedShare::index).chain(own);
        if others.any(|other| other == share.index) {
            return Err(ThresholdError::Duplicate { index: share.index });
        }
    }
    Ok(())
}

/// The sum of all answers to each element.
fn sums(
    elements: usize,
    shares: &[VerifiedShare],
) -> impl ExactSizeIterator<Item = RistrettoPoint> {
    (0..elements).map(|element| {
        shares
            .iter()
            .map(|share| share.evaluation.elements()[element].point())
            .sum::<RistrettoPoint>()
    })
}

/// Verifies the answers of a whole quorum and combines them. To go on after a bad answer, keep the state: use
/// [`verify_share`] as answers come, then [`combine_verified`].
///
/// # Errors
/// As [`verify_share`] and [`combine_verified`].
pub fn combine(
    state: BlindState,
    public: &PublicShares,
    quorum: &Quorum,
    evaluated: Vec<Evaluated>,
) -> Result<Vec<Pseudonym>, ThresholdError> {
    let verified = evaluated
        .into_iter()
        .map(|share| verify_share(public, quorum, state.blinded(), share))
        .collect::<Result<Vec<_>, _>>()?;
    combine_verified(state, quorum, &verified)
}

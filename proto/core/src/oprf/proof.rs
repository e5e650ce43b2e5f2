//! The proof that a whole batch was evaluated under one key (RFC 9497 §2.2).

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul as _;
use sha2::{Digest as _, Sha512};

use super::client::{BatchId, VerifiedEvaluation};
use super::element::{BlindedElement, EvaluationElement, PublicKey};
use super::key::SecretKey;
use super::suite::{Suite, VOPRF};
use super::{OprfError, check_batch, check_length};

/// A DLEQ proof: challenge and response, 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    challenge: Scalar,
    response: Scalar,
}

impl Proof {
    /// Size in bytes.
    pub const SIZE: usize = 64;

    /// Parses 64 bytes: two canonical scalars.
    ///
    /// # Errors
    /// [`OprfError::Scalar`].
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, OprfError> {
        let mut halves = [[0; 32]; 2];
        halves[0].copy_from_slice(&bytes[..32]);
        halves[1].copy_from_slice(&bytes[32..]);
        let scalar = |bytes| {
            Option::from(Scalar::from_canonical_bytes(bytes))
                .ok_or(OprfError::Scalar { what: "proof" })
        };
        Ok(Self { challenge: scalar(halves[0])?, response: scalar(halves[1])? })
    }

    /// Parses a slice, which must have 64 bytes.
    ///
    /// # Errors
    /// As [`Self::from_bytes`], and [`OprfError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Self, OprfError> {
        check_length("bytes of the proof", Self::SIZE, bytes.len())?;
        let mut array = [0; Self::SIZE];
        array.copy_from_slice(bytes);
        Self::from_bytes(&array)
    }

    /// Its 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(self.challenge.as_bytes());
        bytes[32..].copy_from_slice(self.response.as_bytes());
        bytes
    }
}

/// Verifies that `evaluated` is `blinded`, element by element, under the key of `public`.
///
/// # Errors
/// [`OprfError::Batch`] or [`OprfError::Length`] if the batches do not fit, [`OprfError::BadProof`] if the proof does not
/// hold.
pub fn verify_evaluation(
    public: &PublicKey,
    blinded: &[BlindedElement],
    evaluated: Vec<EvaluationElement>,
    proof: &Proof,
) -> Result<VerifiedEvaluation, OprfError> {
    check_batch(blinded.len())?;
    check_length("evaluation elements", blinded.len(), evaluated.len())?;
    let suite = &*VOPRF;
    let Proof { challenge, response } = proof;

    // VerifyProof, §2.2.2.
    let weights = composite_weights(suite, public, blinded, &evaluated);
    let m = weighted_sum(&weights, blinded.iter().map(BlindedElement::point));
    let z = weighted_sum(&weights, evaluated.iter().map(EvaluationElement::point));
    let t2 =
        RistrettoPoint::vartime_double_scalar_mul_basepoint(challenge, public.point(), response);
    let t3 = RistrettoPoint::vartime_multiscalar_mul([response, challenge], [&m, &z]);
    if challenge_scalar(suite, public, &[m, z, t2, t3]) == *challenge {
        Ok(VerifiedEvaluation::new(BatchId::of(blinded), evaluated))
    } else {
        Err(OprfError::BadProof)
    }
}

/// `GenerateProof` (§2.2.1) with the key's own public key and a nonce that must be used once only.
pub(super) fn generate(
    suite: &Suite,
    key: &SecretKey,
    blinded: &[BlindedElement],
    evaluated: &[EvaluationElement],
    nonce: &Scalar,
) -> Proof {
    let public = key.public_key();
    let weights = composite_weights(suite, public, blinded, evaluated);
    // ComputeCompositesFast: the second composite is the first under the key.
    let m = weighted_sum(&weights, blinded.iter().map(BlindedElement::point));
    let z = m * key.scalar();
    let t2 = RistrettoPoint::mul_base(nonce);
    let t3 = m * nonce;
    let challenge = challenge_scalar(suite, public, &[m, z, t2, t3]);
    Proof { challenge, response: nonce - challenge * key.scalar() }
}

/// The d_i of `ComputeComposites` (§2.2.1), one for each pair of elements.
fn composite_weights(
    suite: &Suite,
    public: &PublicKey,
    blinded: &[BlindedElement],
    evaluated: &[EvaluationElement],
) -> Vec<Scalar> {
    const ELEMENT_LENGTH: [u8; 2] = [0, 32];
    let seed: [u8; 64] = Sha512::new()
        .chain_update(ELEMENT_LENGTH)
        .chain_update(public.as_bytes())
        .chain_update([0, suite.seed_dst().len() as u8]) // a tag of 32 bytes
        .chain_update(suite.seed_dst())
        .finalize()
        .into();
    blinded
        .iter()
        .zip(evaluated)
        .zip(0_u16..)
        .map(|((blinded, evaluated), index)| {
            suite.hash_to_scalar(&[
                &[0, 64],
                &seed,
                &index.to_be_bytes(),
                &ELEMENT_LENGTH,
                blinded.as_bytes(),
                &ELEMENT_LENGTH,
                evaluated.as_bytes(),
                b"Composite",
            ])
        })
        .collect()
}

/// Variable time: weights and points are public.
fn weighted_sum<'a>(
    weights: &[Scalar],
    points: impl ExactSizeIterator<Item = &'a RistrettoPoint>,
) -> RistrettoPoint {
    RistrettoPoint::vartime_multiscalar_mul(weights, points)
}

/// The challenge over the public key and M, Z, t2, t3 (§2.2.1).
fn challenge_scalar(suite: &Suite, public: &PublicKey, points: &[RistrettoPoint; 4]) -> Scalar {
    let mut transcript = Vec::with_capacity(5 * 34 + 9);
    let encodings = points.iter().map(|point| point.compress().to_bytes());
    for encoding in std::iter::once(*public.as_bytes()).chain(encodings) {
        transcript.extend_from_slice(&[0, 32]);
        transcript.extend_from_slice(&encoding);
    }
    transcript.extend_from_slice(b"Challenge");
    suite.hash_to_scalar(&[&transcript])
}

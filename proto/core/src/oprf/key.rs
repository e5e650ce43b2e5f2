//! The server's side.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand::CryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::element::{BlindedElement, EvaluationElement, PublicKey};
use super::proof::{self, Proof};
use super::suite::{Suite, VOPRF};
use super::{OprfError, check_batch};

/// A server's key: a scalar that is not zero.
#[derive(ZeroizeOnDrop)]
pub struct SecretKey {
    scalar: Scalar,
    /// Half the key: elements are evaluated halved so that they encode together.
    half: Scalar,
    #[zeroize(skip)]
    public: PublicKey,
}

impl SecretKey {
    /// Size in bytes.
    pub const SIZE: usize = 32;

    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_scalar(*random_nonzero(rng))
    }

    /// Reads a key: 32 bytes, little-endian, canonical, not zero.
    ///
    /// # Errors
    /// [`OprfError::Scalar`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, OprfError> {
        parse_nonzero("secret key", bytes).map(|scalar| Self::from_scalar(*scalar))
    }

    /// The key of a scalar that is not zero.
    pub(crate) fn from_scalar(scalar: Scalar) -> Self {
        let public = PublicKey::from_point(RistrettoPoint::mul_base(&scalar));
        Self { scalar, half: scalar.div_by_2(), public }
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) const fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    /// `BlindEvaluate` of mode 0 (RFC 9497 §3.3.1), for each element.
    pub(super) fn evaluate(&self, blinded: &[BlindedElement]) -> Vec<EvaluationElement> {
        let halves: Vec<_> = blinded.iter().map(|element| element.point() * self.half).collect();
        EvaluationElement::doubles(&halves)
    }
}

/// `BlindEvaluate` (RFC 9497 §3.3.2): evaluates a batch and proves it.
///
/// # Errors
/// [`OprfError::Batch`] unless it has 1 to 65,535 elements.
pub fn blind_evaluate(
    key: &SecretKey,
    blinded: &[BlindedElement],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<EvaluationElement>, Proof), OprfError> {
    blind_evaluate_with(&VOPRF, key, blinded, &random_nonzero(rng))
}

/// [`blind_evaluate`] with a given nonce for the proof, which must be used once only.
pub(super) fn blind_evaluate_with(
    suite: &Suite,
    key: &SecretKey,
    blinded: &[BlindedElement],
    nonce: &Scalar,
) -> Result<(Vec<EvaluationElement>, Proof), OprfError> {
    check_batch(blinded.len())?;
    let evaluated = key.evaluate(blinded);
    let proof = proof::generate(suite, key, blinded, &evaluated, nonce);
    Ok((evaluated, proof))
}

/// `RandomScalar` (RFC 9497 §2.1), never zero.
pub(super) fn random_nonzero(rng: &mut impl CryptoRng) -> Zeroizing<Scalar> {
    loop {
        let scalar = Zeroizing::new(Scalar::random(rng));
        if *scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

/// A canonical scalar that is not zero.
pub(crate) fn parse_nonzero(
    what: &'static str,
    bytes: &[u8; 32],
) -> Result<Zeroizing<Scalar>, OprfError> {
    Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes))
        .filter(|scalar| *scalar != Scalar::ZERO)
        .map(Zeroizing::new)
        .ok_or(OprfError::Scalar { what })
}

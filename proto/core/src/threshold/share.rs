//! Shares of the key and what is public of them.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use rand::CryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::combine::Evaluated;
use super::quorum::{Quorum, ShareIndex, coefficient_at};
use super::{OprfError, ThresholdError};
use crate::oprf::{self, BlindedElement, PublicKey, SecretKey};

/// One holder's share of the key, secret.
#[derive(ZeroizeOnDrop)]
pub struct KeyShare {
    #[zeroize(skip)]
    index: ShareIndex,
    secret: Scalar,
}

impl KeyShare {
    /// Size of the secret in bytes.
    pub const SIZE: usize = 32;

    /// Reads a share: 32 bytes, little-endian, canonical, not zero; FROST's signing shares are such.
    ///
    /// # Errors
    /// [`ThresholdError::Share`].
    pub fn from_bytes(index: ShareIndex, bytes: &[u8; 32]) -> Result<Self, ThresholdError> {
        let secret = oprf::parse_nonzero("key share", bytes)
            .map_err(|source| ThresholdError::Share { index, source })?;
        Ok(Self { index, secret: *secret })
    }

    /// The secret's 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The holder's place.
    #[must_use]
    pub const fn index(&self) -> ShareIndex {
        self.index
    }

    pub(super) const fn scalar(&self) -> &Scalar {
        &self.secret
    }

    /// What is public of it.
    #[must_use]
    pub fn public_share(&self) -> PublicShare {
        let element = PublicKey::from_point(RistrettoPoint::mul_base(&self.secret));
        PublicShare { index: self.index, element }
    }

    /// Checks that this share is the one that the public shares know.
    ///
    /// # Errors
    /// [`ThresholdError::Unknown`] or [`ThresholdError::Mismatch`].
    pub fn check(&self, public: &PublicShares) -> Result<(), ThresholdError> {
        if *public.get(self.index)? == self.public_share() {
            Ok(())
        } else {
            Err(ThresholdError::Mismatch { index: self.index })
        }
    }

    /// The share as a server key for one quorum: multiplied by its Lagrange coefficient.
    ///
    /// # Errors
    /// [`ThresholdError::NotInQuorum`].
    pub fn for_quorum(&self, quorum: &Quorum) -> Result<WeightedShare, ThresholdError> {
        let weight = quorum.coefficient(self.index)?;
        Ok(WeightedShare { index: self.index, key: SecretKey::from_scalar(weight * self.secret) })
    }
}

/// A share times its Lagrange coefficient in one quorum: an ordinary RFC 9497 server key, secret.
pub struct WeightedShare {
    index: ShareIndex,
    key: SecretKey,
}

impl WeightedShare {
    /// The holder's place.
    #[must_use]
    pub const fn index(&self) -> ShareIndex {
        self.index
    }

    /// Its public key: the public share times the coefficient.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    pub(super) const fn scalar(&self) -> &Scalar {
        self.key.scalar()
    }

    /// Evaluates a batch and proves it.
    ///
    /// # Errors
    /// [`OprfError::Batch`] unless it has 1 to 65,535 elements.
    pub fn evaluate(
        &self,
        blinded: &[BlindedElement],
        rng: &mut impl CryptoRng,
    ) -> Result<Evaluated, OprfError> {
        let (elements, proof) = oprf::blind_evaluate(&self.key, blinded, rng)?;
        Ok(Evaluated { index: self.index, elements, proof })
    }
}

/// What is public of one share: its secret times the base point. Known to the share holders only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicShare {
    index: ShareIndex,
    element: PublicKey,
}

impl PublicShare {
    /// Parses the element, 32 bytes.
    ///
    /// # Errors
    /// [`ThresholdError::Share`].
    pub fn from_bytes(index: ShareIndex, bytes: &[u8; 32]) -> Result<Self, ThresholdError> {
        let element = PublicKey::from_bytes(bytes)
            .map_err(|source| ThresholdError::Share { index, source })?;
        Ok(Self { index, element })
    }

    /// The holder's place.
    #[must_use]
    pub const fn index(&self) -> ShareIndex {
        self.index
    }

    pub(super) const fn point(&self) -> &RistrettoPoint {
        self.element.point()
    }

    /// The element's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.element.as_bytes()
    }
}

/// All public shares of one key, checked against each other, and the threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicShares {
    threshold: u8,
    shares: Vec<PublicShare>,
    group_key: PublicKey,
}

impl PublicShares {
    /// Checks that the shares, in any order, all belong to one key with this threshold.
    ///
    /// # Errors
    /// [`ThresholdError::Threshold`], [`ThresholdError::Duplicate`], [`ThresholdError::Inconsistent`] or
    /// [`ThresholdError::ZeroKey`].
    pub fn new(threshold: u8, mut shares: Vec<PublicShare>) -> Result<Self, ThresholdError> {
        if threshold == 0 || usize::from(threshold) > shares.len() {
            return Err(ThresholdError::Threshold { threshold, shares: shares.len() });
        }
        shares.sort_unstable_by_key(PublicShare::index);
        if let Some(pair) = shares.windows(2).find(|pair| pair[0].index == pair[1].index) {
            return Err(ThresholdError::Duplicate { index: pair[0].index });
        }
        // The first t shares fix the polynomial; every other one must be on it.
        let (basis, others) = shares.split_at(usize::from(threshold));
        for share in others {
            if interpolate(basis, share.index.scalar()) != *share.element.point() {
                return Err(ThresholdError::Inconsistent { index: share.index });
            }
        }
        let group_key = interpolate(basis, Scalar::ZERO);
        if group_key.is_identity() {
            return Err(ThresholdError::ZeroKey);
        }
        Ok(Self { threshold, shares, group_key: PublicKey::from_point(group_key) })
    }

    /// How many holders a quorum needs.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The shares, in ascending order.
    #[must_use]
    pub fn shares(&self) -> &[PublicShare] {
        &self.shares
    }

    /// The public key of the whole key.
    #[must_use]
    pub const fn group_key(&self) -> &PublicKey {
        &self.group_key
    }

    /// The public share of a holder.
    ///
    /// # Errors
    /// [`ThresholdError::Unknown`].
    pub fn get(&self, index: ShareIndex) -> Result<&PublicShare, ThresholdError> {
        self.shares
            .binary_search_by_key(&index, PublicShare::index)
            .map(|place| &self.shares[place])
            .map_err(|_| ThresholdError::Unknown { index })
    }

    /// A quorum of known holders.
    ///
    /// # Errors
    /// As [`Quorum::new`], and [`ThresholdError::Unknown`].
    pub fn quorum(&self, holders: &[ShareIndex]) -> Result<Quorum, ThresholdError> {
        let quorum = Quorum::new(self.threshold, holders)?;
        for index in holders {
            self.get(*index)?;
        }
        Ok(quorum)
    }

    /// The public key of a holder's weighted share, against which its proof is verified.
    pub(super) fn weighted(
        &self,
        quorum: &Quorum,
        index: ShareIndex,
    ) -> Result<PublicKey, ThresholdError> {
        let expected = usize::from(self.threshold);
        if quorum.holders().len() != expected {
            return Err(ThresholdError::QuorumSize { expected, found: quorum.holders().len() });
        }
        let weight = quorum.coefficient(index)?;
        Ok(PublicKey::from_point(self.get(index)?.element.point() * weight))
    }
}

/// The polynomial through `basis`, at `x`, in the exponent. Variable time: all of it is public.
fn interpolate(basis: &[PublicShare], x: Scalar) -> RistrettoPoint {
    let nodes: Vec<_> = basis.iter().map(PublicShare::index).collect();
    RistrettoPoint::vartime_multiscalar_mul(
        nodes.iter().map(|index| coefficient_at(&nodes, *index, x)),
        basis.iter().map(|share| share.element.point()),
    )
}

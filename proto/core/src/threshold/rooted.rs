//! Polynomials with a root, shared out and committed to: what refreshing and repairing shares is made of.
//!
//! Each contributor draws f(X) = (X − r)·g(X) of degree t − 1, publishes the commitment to g's coefficients (Feldman), and
//! gives each recipient j its value f(j), which anyone who has the commitment can check. Adding such polynomials to that
//! of the key changes it everywhere but at r: with r = 0 the key stays and the shares change (Herzberg et al.,
//! "Proactive Secret Sharing", CRYPTO '95, §3.3); with r a holder's index, the values elsewhere are blinded and that holder's
//! share can still be interpolated from them (ibid., §3.4).
//!
//! Committing to g rather than f leaves nothing to check about the root, and tells outsiders nothing about the shares.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity as _, VartimeMultiscalarMul as _};
use rand::CryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::ThresholdError;
use super::quorum::{ShareIndex, coefficient_at};
use super::share::{KeyShare, PublicShare, PublicShares};

/// Where a contribution is zero, so that what stands there is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// At 0: the key is kept, for a refresh.
    Key,
    /// At a holder's index: its share is kept, for a repair.
    Share(ShareIndex),
}

impl Root {
    fn scalar(self) -> Scalar {
        match self {
            Self::Key => Scalar::ZERO,
            Self::Share(index) => index.scalar(),
        }
    }
}

/// A contributor's polynomial with a root, secret.
#[derive(ZeroizeOnDrop)]
pub struct RootedPolynomial {
    #[zeroize(skip)]
    root: Root,
    /// g's coefficients, from the constant one: t − 1 of them.
    quotient: Vec<Scalar>,
}

impl RootedPolynomial {
    /// Draws a polynomial for shares of this threshold.
    ///
    /// # Errors
    /// [`ThresholdError::NothingToShare`] for a threshold below 2, where every share is the key itself.
    pub fn generate(
        threshold: u8,
        root: Root,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ThresholdError> {
        let degree = quotient_length(threshold)?;
        // Reserved in one piece: a vector that grows leaves copies behind.
        let mut quotient = Vec::with_capacity(degree);
        quotient.extend((0..degree).map(|_| Scalar::random(rng)));
        Ok(Self { root, quotient })
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`ThresholdError::Contribution`] if it is not canonical or not for this threshold.
    pub fn from_bytes(threshold: u8, root: Root, bytes: &[u8]) -> Result<Self, ThresholdError> {
        let expected = quotient_length(threshold)?;
        let (chunks, rest) = bytes.as_chunks::<32>();
        if chunks.len() != expected || !rest.is_empty() {
            return Err(ThresholdError::Contribution);
        }
        let mut quotient = Vec::with_capacity(expected);
        for chunk in chunks {
            let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*chunk));
            quotient.push(scalar.ok_or(ThresholdError::Contribution)?);
        }
        Ok(Self { root, quotient })
    }

    /// The coefficients of g, 32 bytes each, secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(32 * self.quotient.len()));
        self.quotient.iter().for_each(|scalar| bytes.extend_from_slice(scalar.as_bytes()));
        bytes
    }

    /// What is public of it.
    #[must_use]
    pub fn commitment(&self) -> RootedCommitment {
        let points = self.quotient.iter().map(RistrettoPoint::mul_base).collect();
        RootedCommitment { root: self.root, points }
    }

    /// Its value for one recipient: 32 bytes, secret.
    #[must_use]
    pub fn value_for(&self, recipient: ShareIndex) -> Zeroizing<[u8; 32]> {
        let x = recipient.scalar();
        let quotient = self.quotient.iter().rev().fold(Scalar::ZERO, |sum, next| sum * x + next);
        Zeroizing::new(((x - self.root.scalar()) * quotient).to_bytes())
    }
}

/// What is public of a contributor's polynomial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootedCommitment {
    root: Root,
    points: Vec<RistrettoPoint>,
}

impl RootedCommitment {
    /// Parses t − 1 elements of 32 bytes.
    ///
    /// # Errors
    /// [`ThresholdError::Contribution`] unless there are as many, all canonical.
    pub fn parse(threshold: u8, root: Root, bytes: &[u8]) -> Result<Self, ThresholdError> {
        let expected = quotient_length(threshold)?;
        let (chunks, rest) = bytes.as_chunks::<32>();
        if chunks.len() != expected || !rest.is_empty() {
            return Err(ThresholdError::Contribution);
        }
        // The identity is no harm: f may be of a lower degree, and one honest contributor is enough.
        let points: Option<Vec<_>> =
            chunks.iter().map(|chunk| CompressedRistretto(*chunk).decompress()).collect();
        Ok(Self { root, points: points.ok_or(ThresholdError::Contribution)? })
    }

    /// The elements, 32 bytes each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.points.iter().flat_map(|point| point.compress().to_bytes()).collect()
    }

    /// The value for a recipient, times the base point.
    fn at(&self, recipient: ShareIndex) -> RistrettoPoint {
        let x = recipient.scalar();
        let powers = std::iter::successors(Some(x - self.root.scalar()), |power| Some(power * x));
        let powers: Vec<_> = powers.take(self.points.len()).collect();
        RistrettoPoint::vartime_multiscalar_mul(&powers, &self.points)
    }
}

/// A contribution that one recipient has checked: the value that it got is the one committed to.
pub struct Contribution {
    from: ShareIndex,
    to: ShareIndex,
    value: Zeroizing<Scalar>,
    commitment: RootedCommitment,
}

impl Contribution {
    /// Checks the value that `from` gave to `to` against its commitment.
    ///
    /// # Errors
    /// [`ThresholdError::BadContribution`], naming `from`.
    pub fn verify(
        from: ShareIndex,
        to: ShareIndex,
        commitment: RootedCommitment,
        value: &[u8],
    ) -> Result<Self, ThresholdError> {
        let value = scalar(value).ok_or(ThresholdError::BadContribution { culprit: from })?;
        if RistrettoPoint::mul_base(&value) != commitment.at(to) {
            return Err(ThresholdError::BadContribution { culprit: from });
        }
        Ok(Self { from, to, value, commitment })
    }
}

/// Adds all holders' contributions to a share: a new share and new public shares of the same key. The old share and the
/// new ones do not combine.
///
/// # Errors
/// [`ThresholdError::Contributors`] unless there is exactly one contribution of every holder, to this one, with its root
/// at the key; [`ThresholdError::Unknown`] or [`ThresholdError::Mismatch`] if the share does not belong.
pub fn refresh(
    share: &KeyShare,
    public: &PublicShares,
    contributions: &[Contribution],
) -> Result<(KeyShare, PublicShares), ThresholdError> {
    share.check(public)?;
    let contributors: Vec<_> = public.shares().iter().map(PublicShare::index).collect();
    check_contributors(share.index(), Root::Key, &contributors, contributions)?;
    let refreshed = sum(share, contributions);
    let refreshed = KeyShare::from_bytes(share.index(), &refreshed)?;
    let commitments: Vec<_> = contributions.iter().map(|one| &one.commitment).collect();
    let shares = public
        .shares()
        .iter()
        .map(|old| {
            let point = old.point() + change_at(&commitments, old.index());
            PublicShare::from_bytes(old.index(), &point.compress().to_bytes())
        })
        .collect::<Result<Vec<_>, _>>()?;
    let new = PublicShares::new(public.threshold(), shares)?;
    // Commitments to g cannot move the value at 0; this would be our own mistake.
    if new.group_key() != public.group_key() {
        return Err(ThresholdError::Contributors);
    }
    refreshed.check(&new)?;
    Ok((refreshed, new))
}

/// A helper's share under the helpers' contributions: 32 bytes, for the holder whose share is lost and for nobody else.
///
/// # Errors
/// [`ThresholdError::Contributors`] unless there is exactly one contribution of each helper, to this one, with its root at
/// `lost`, which is no helper; [`ThresholdError::Unknown`] or [`ThresholdError::Mismatch`] if the share does not belong;
/// [`ThresholdError::Threshold`] if the helpers are too few.
pub fn blind_for_repair(
    share: &KeyShare,
    public: &PublicShares,
    lost: ShareIndex,
    helpers: &[ShareIndex],
    contributions: &[Contribution],
) -> Result<Zeroizing<[u8; 32]>, ThresholdError> {
    share.check(public)?;
    check_helpers(public, lost, helpers)?;
    check_contributors(share.index(), Root::Share(lost), helpers, contributions)?;
    Ok(sum(share, contributions))
}

/// Rebuilds the share `lost` from what its helpers sent: each one's commitment, and its blinded share.
///
/// # Errors
/// [`ThresholdError::BadContribution`], naming a helper whose blinded share is not what its public share and the
/// commitments give; [`ThresholdError::Threshold`] if the helpers are too few; and others if they do not belong.
pub fn repair(
    public: &PublicShares,
    lost: ShareIndex,
    helpers: &[(ShareIndex, RootedCommitment, Zeroizing<Vec<u8>>)],
) -> Result<KeyShare, ThresholdError> {
    public.get(lost)?;
    let indices: Vec<_> = helpers.iter().map(|(index, ..)| *index).collect();
    check_helpers(public, lost, &indices)?;
    let commitments: Vec<_> = helpers.iter().map(|(_, commitment, _)| commitment).collect();
    if commitments.iter().any(|commitment| commitment.root != Root::Share(lost)) {
        return Err(ThresholdError::Contributors);
    }
    let mut values = Vec::with_capacity(helpers.len());
    for (index, _, value) in helpers {
        let culprit = *index;
        let value = scalar(value).ok_or(ThresholdError::BadContribution { culprit })?;
        let expected = public.get(culprit)?.point() + change_at(&commitments, culprit);
        if RistrettoPoint::mul_base(&value) != expected {
            return Err(ThresholdError::BadContribution { culprit });
        }
        values.push(value);
    }
    let weighted = indices
        .iter()
        .zip(&values)
        .map(|(index, value)| coefficient_at(&indices, *index, lost.scalar()) * **value);
    let secret = Zeroizing::new(weighted.sum::<Scalar>().to_bytes());
    let share = KeyShare::from_bytes(lost, &secret)?;
    share.check(public)?;
    Ok(share)
}

fn quotient_length(threshold: u8) -> Result<usize, ThresholdError> {
    if threshold < 2 {
        return Err(ThresholdError::NothingToShare);
    }
    Ok(usize::from(threshold) - 1)
}

fn scalar(bytes: &[u8]) -> Option<Zeroizing<Scalar>> {
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(bytes).ok()?);
    Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes)).map(Zeroizing::new)
}

fn sum(share: &KeyShare, contributions: &[Contribution]) -> Zeroizing<[u8; 32]> {
    let own = Zeroizing::new(*share.scalar());
    let total = Zeroizing::new(contributions.iter().fold(*own, |total, next| total + *next.value));
    Zeroizing::new(total.to_bytes())
}

/// By how much all contributions together move the public share at `index`.
fn change_at(commitments: &[&RootedCommitment], index: ShareIndex) -> RistrettoPoint {
    commitments.iter().fold(RistrettoPoint::identity(), |sum, next| sum + next.at(index))
}

fn check_contributors(
    to: ShareIndex,
    root: Root,
    expected: &[ShareIndex],
    contributions: &[Contribution],
) -> Result<(), ThresholdError> {
    let mut from: Vec<_> = contributions.iter().map(|one| one.from).collect();
    let mut expected = expected.to_vec();
    from.sort_unstable();
    expected.sort_unstable();
    let fits = |one: &Contribution| one.to == to && one.commitment.root == root;
    if from == expected && contributions.iter().all(fits) {
        Ok(())
    } else {
        Err(ThresholdError::Contributors)
    }
}

fn check_helpers(
    public: &PublicShares,
    lost: ShareIndex,
    helpers: &[ShareIndex],
) -> Result<(), ThresholdError> {
    let threshold = public.threshold();
    if helpers.len() < usize::from(threshold) {
        return Err(ThresholdError::Threshold { threshold, shares: helpers.len() });
    }
    for (place, index) in helpers.iter().enumerate() {
        public.get(*index)?;
        if *index == lost || helpers[..place].contains(index) {
            return Err(ThresholdError::Duplicate { index: *index });
        }
    }
    Ok(())
}

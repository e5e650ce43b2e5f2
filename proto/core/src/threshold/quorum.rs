//! Which holders answer together.

use std::fmt;
use std::num::NonZeroU8;

use curve25519_dalek::scalar::Scalar;
use serde::{Deserialize, Serialize};

use super::ThresholdError;

/// A holder's place: 1 to 255. FROST's identifier is the scalar of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareIndex(NonZeroU8);

impl ShareIndex {
    /// The index of a number.
    ///
    /// # Errors
    /// [`ThresholdError::ZeroIndex`].
    pub const fn new(index: u8) -> Result<Self, ThresholdError> {
        match NonZeroU8::new(index) {
            Some(index) => Ok(Self(index)),
            None => Err(ThresholdError::ZeroIndex),
        }
    }

    /// The number, 1 to 255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    pub(super) fn scalar(self) -> Scalar {
        Scalar::from(self.get())
    }
}

impl TryFrom<u8> for ShareIndex {
    type Error = ThresholdError;
    fn try_from(index: u8) -> Result<Self, ThresholdError> {
        Self::new(index)
    }
}

impl fmt::Display for ShareIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Exactly as many distinct holders as the threshold, announced to each of them: 1 to 255, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quorum(Vec<ShareIndex>);

impl Quorum {
    /// A quorum of `holders`, in any order.
    ///
    /// # Errors
    /// [`ThresholdError::QuorumSize`], [`ThresholdError::Duplicate`], or [`ThresholdError::Threshold`] if that is zero.
    pub fn new(threshold: u8, holders: &[ShareIndex]) -> Result<Self, ThresholdError> {
        if threshold == 0 {
            return Err(ThresholdError::Threshold { threshold, shares: holders.len() });
        }
        let expected = usize::from(threshold);
        if holders.len() != expected {
            return Err(ThresholdError::QuorumSize { expected, found: holders.len() });
        }
        let mut sorted = holders.to_vec();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ThresholdError::Duplicate { index: pair[0] }),
            None => Ok(Self(sorted)),
        }
    }

    /// The holders, in ascending order.
    #[must_use]
    pub fn holders(&self) -> &[ShareIndex] {
        &self.0
    }

    /// Whether a holder belongs to it.
    #[must_use]
    pub fn contains(&self, index: ShareIndex) -> bool {
        self.0.binary_search(&index).is_ok()
    }

    /// λ of a holder at zero: Π j / (j − i) over the others j.
    pub(super) fn coefficient(&self, index: ShareIndex) -> Result<Scalar, ThresholdError> {
        if !self.contains(index) {
            return Err(ThresholdError::NotInQuorum { index });
        }
        Ok(coefficient_at(&self.0, index, Scalar::ZERO))
    }
}

/// The Lagrange coefficient of `index` among `nodes`, which contain it, at `x`: Π (x − j) / (i − j) over the others j.
pub(super) fn coefficient_at(nodes: &[ShareIndex], index: ShareIndex, x: Scalar) -> Scalar {
    let own = index.scalar();
    let (numerator, denominator) = nodes.iter().filter(|node| **node != index).fold(
        (Scalar::ONE, Scalar::ONE),
        |(numerator, denominator), node| {
            let other = node.scalar();
            (numerator * (x - other), denominator * (own - other))
        },
    );
    numerator * denominator.invert()
}

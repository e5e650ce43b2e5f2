//! Prefixes of handles.

use super::ProofError;
use crate::ids::Handle;

/// The handles that share their first bits: what a verifier asks for when it does not want to say which handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    bits: u8,
    /// The bits, left-aligned; zeros follow.
    top: u64,
}

impl Prefix {
    /// The longest prefix, in bits.
    pub const MAX_BITS: u8 = 64;

    /// The prefix of `bits` bits, left-aligned in `top`.
    ///
    /// # Errors
    /// [`ProofError::Prefix`] if there are more than 64 bits, or bits of `top` are set beyond them.
    pub fn new(bits: u8, top: u64) -> Result<Self, ProofError> {
        let prefix = Self::truncate(bits, top);
        if bits > Self::MAX_BITS || prefix.top != top {
            return Err(ProofError::Prefix { bits });
        }
        Ok(prefix)
    }

    /// The first `bits` bits of a handle; at most 64 are taken.
    #[must_use]
    pub fn of(handle: &Handle, bits: u8) -> Self {
        Self::truncate(bits, handle.top())
    }

    pub(super) fn truncate(bits: u8, top: u64) -> Self {
        let bits = bits.min(Self::MAX_BITS);
        let rest = u64::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        Self { bits, top: top & !rest }
    }

    /// The prefix that is bucket `index` of a map of this depth.
    pub(super) fn of_bucket(depth: u8, index: u32) -> Self {
        Self::truncate(depth, u64::from(index).checked_shl(64 - u32::from(depth)).unwrap_or(0))
    }

    /// How many bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// The bits, left-aligned.
    #[must_use]
    pub const fn top(self) -> u64 {
        self.top
    }

    /// Whether a handle starts with these bits.
    #[must_use]
    pub fn contains(self, handle: &Handle) -> bool {
        (self.first()..=self.last()).contains(&handle.top())
    }

    /// The smallest [`Handle::top`] under the prefix.
    pub(super) const fn first(self) -> u64 {
        self.top
    }

    /// The greatest.
    pub(super) fn last(self) -> u64 {
        self.top | u64::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0)
    }

    /// The bits as a number: the index of the prefix among those of its length.
    pub(super) fn index(self) -> u64 {
        self.top.checked_shr(64 - u32::from(self.bits)).unwrap_or(0)
    }
    /// The two prefixes that are one bit longer; the caller knows that this one has fewer than 64 bits.
    pub(super) fn halves(self) -> [Self; 2] {
        let bits = self.bits + 1;
        let right = self.top | 1_u64.checked_shl(64 - u32::from(bits)).unwrap_or(0);
        [Self { bits, top: self.top }, Self { bits, top: right }]
    }
}

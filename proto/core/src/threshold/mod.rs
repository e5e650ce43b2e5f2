//! The pseudonym key in shares: n holders, any t of them evaluate.
//!
//! A holder's share, multiplied by its Lagrange coefficient in an announced quorum, is an ordinary RFC 9497 server key.
//! So each holder answers with an ordinary proof, verified against its public share multiplied likewise, and combining
//! is one addition an element. The sum is the evaluation under the whole key, which exists nowhere.
//!
//! Shares are those of FROST's key generation (RFC 9591): points of a polynomial of degree t − 1 at small integers,
//! 32 bytes little-endian.

mod combine;
mod quorum;
mod rooted;
mod share;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use combine::{
    Evaluated, VerifiedShare, combine, combine_verified, combine_with_own, verify_share,
};
pub use quorum::{Quorum, ShareIndex};
pub use rooted::{
    Contribution, Root, RootedCommitment, RootedPolynomial, blind_for_repair, refresh, repair,
};
pub use share::{KeyShare, PublicShare, PublicShares, WeightedShare};

use crate::oprf::OprfError;

/// Why holders' answers do not combine.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThresholdError {
    /// A holder's proof does not hold against its public share.
    #[error("share holder {culprit}: its proof does not hold; ask another holder")]
    BadProof {
        /// Who sent it.
        culprit: ShareIndex,
    },
    /// A holder's answer does not parse, or does not fit the batch.
    #[error("share holder {culprit}: its answer does not parse or fit; ask another holder")]
    Malformed {
        /// Who sent it.
        culprit: ShareIndex,
        /// What is wrong with it.
        source: OprfError,
    },
    /// Share index 0, at which the key itself stands.
    #[error("share index 0: indices run from 1 to 255")]
    ZeroIndex,
    /// A threshold of 0, or above the number of shares.
    #[error("threshold {threshold} of {shares} shares: it must be 1 to the number of shares")]
    Threshold {
        /// The threshold.
        threshold: u8,
        /// The number of shares.
        shares: usize,
    },
    /// An index stands twice.
    #[error("share {index} is given twice")]
    Duplicate {
        /// Which.
        index: ShareIndex,
    },
    /// A quorum needs exactly as many holders as the threshold.
    #[error("a quorum of {found} holders: exactly {expected} are needed")]
    QuorumSize {
        /// The threshold.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A holder is not in the quorum.
    #[error("share {index} is not in the quorum")]
    NotInQuorum {
        /// Which.
        index: ShareIndex,
    },
    /// No public share is known for an index.
    #[error("share {index} has no public share")]
    Unknown {
        /// Which.
        index: ShareIndex,
    },
    /// A public share is not on the polynomial of the others.
    #[error("public share {index} does not fit the others: they are of different keys")]
    Inconsistent {
        /// Which.
        index: ShareIndex,
    },
    /// A secret share does not belong to its public share.
    #[error("key share {index} does not belong to public share {index}")]
    Mismatch {
        /// Which.
        index: ShareIndex,
    },
    /// A share or an element does not parse.
    #[error("share {index} does not parse")]
    Share {
        /// Which.
        index: ShareIndex,
        /// What is wrong with it.
        source: OprfError,
    },
    /// The shares stand for the identity element: there is no key.
    #[error("the public shares are those of a key that is zero")]
    ZeroKey,
    /// Verified answers are of different quorums.
    #[error("the answers were made for different quorums")]
    OtherQuorum,
    /// What a holder contributed to a refresh or a repair is not what it committed to.
    #[error("share holder {culprit}: its contribution is not what it committed to")]
    BadContribution {
        /// Who contributed it.
        culprit: ShareIndex,
    },
    /// A polynomial or a commitment to one does not parse, or is for another threshold.
    #[error("a contribution does not parse, or is for another threshold")]
    Contribution,
    /// Contributions are not exactly those of all contributors to this holder, or have another root.
    #[error("the contributions are not exactly one of each contributor for this very purpose")]
    Contributors,
    /// With a threshold of 1 every share is the key.
    #[error(
        "a threshold of 1: every share is the key itself, and can be neither refreshed nor repaired"
    )]
    NothingToShare,
    /// Verified answers are of another batch than the state.
    #[error("the answers were made for another batch of blinded elements")]
    OtherBatch,
}

impl ThresholdError {
    /// The holder to blame, if one misbehaved.
    #[must_use]
    pub const fn culprit(&self) -> Option<ShareIndex> {
        match self {
            Self::BadProof { culprit }
            | Self::Malformed { culprit, .. }
            | Self::BadContribution { culprit } => Some(*culprit),
            _ => None,
        }
    }
}

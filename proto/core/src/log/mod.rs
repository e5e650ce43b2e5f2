//! The log of map heads: an append-only Merkle tree as RFC 6962 §2.1 defines it, with SHA-256.

mod proof;
#[cfg(test)]
mod tests;

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::proof::{
    ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, verify_consistency, verify_inclusion,
};
use crate::ids::Hash;

/// Why a log or one of its proofs is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogError {
    /// There is no such leaf.
    #[error("log: leaf {index} of a log of size {size}")]
    Index {
        /// The leaf asked for, from 0.
        index: u64,
        /// The size of the log.
        size: u64,
    },
    /// The log is not that long.
    #[error("log: size {size} was asked for, it is {available}")]
    Size {
        /// The size asked for.
        size: u64,
        /// The size of the log.
        available: u64,
    },
    /// A log cannot shrink.
    #[error("log: the newer size {new} is less than the older {old}")]
    Shrunk {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// A proof has too few or too many hashes for its sizes.
    #[error("log proof: {given} hashes do not fit the sizes")]
    Length {
        /// Hashes in the proof.
        given: usize,
    },
    /// The proof does not lead from the leaf to the root.
    #[error("inclusion proof: leaf {index} is not in the log of size {size} with this root")]
    NotIncluded {
        /// The leaf's index.
        index: u64,
        /// The size of the log.
        size: u64,
    },
    /// The log of the newer root does not extend the log of the older: keep both, they are evidence.
    #[error("consistency proof: the log of size {new} does not extend the one of size {old}")]
    Inconsistent {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
}

/// The hash of a leaf from its bytes (RFC 6962 §2.1): SHA-256 of 0x00 and the bytes.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash::new(Sha256::new().chain_update([0x00]).chain_update(leaf).finalize().into())
}

/// The root of a log without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::new(Sha256::digest([]).into())
}

/// The hash of an inner node: SHA-256 of 0x01 and both children.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut message = [0x01; 65];
    message[1..33].copy_from_slice(left.as_bytes());
    message[33..].copy_from_slice(right.as_bytes());
    Hash::new(Sha256::digest(message).into())
}

/// A log's leaf hashes and all complete subtrees above them: 64 bytes a leaf. Every operation takes O(log n) hashes at
/// most.
#[derive(Clone, Default)]
pub struct Log {
    /// `levels[k][i]` is the root over the leaves from `i·2^k` to `(i+1)·2^k`; there are leaves in `levels[0]`.
    levels: Vec<Vec<Hash>>,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// Appends a leaf by its [`leaf_hash`]; returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size();
        let mut hash = leaf;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(hash);
            match nodes.as_slice() {
                [.., left, right] if nodes.len().is_multiple_of(2) => hash = node_hash(left, right),
                _ => break,
            }
        }
        index
    }

    /// Takes the newest leaves off again, as when a leaf could not be made durable before anything was signed.
    ///
    /// # Errors
    /// [`LogError::Size`] if the log is shorter.
    pub fn truncate(&mut self, size: u64) -> Result<(), LogError> {
        let mut length = self.checked(size)?;
        for nodes in &mut self.levels {
            nodes.truncate(length);
            length /= 2;
        }
        self.levels.retain(|nodes| !nodes.is_empty());
        Ok(())
    }

    /// The leaf hashes in order.
    pub fn leaf_hashes(&self) -> impl Iterator<Item = &Hash> {
        self.levels.iter().take(1).flatten()
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.subtree(0, self.levels.first().map_or(0, Vec::len))
    }

    /// The root when the log had `size` leaves.
    ///
    /// # Errors
    /// [`LogError::Size`] if it never had.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        Ok(self.subtree(0, self.checked(size)?))
    }

    /// Proves that leaf `index` is in the log of `size` leaves (RFC 6962 §2.1.1).
    ///
    /// # Errors
    /// [`LogError::Size`] or [`LogError::Index`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<InclusionProof, LogError> {
        let mut end = self.checked(size)?;
        if index >= size {
            return Err(LogError::Index { index, size });
        }
        // Less than `size`, which is a `usize`.
        let index = index as usize;
        let mut start = 0;
        let mut hashes = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                hashes.push(self.subtree(middle, end));
                end = middle;
            } else {
                hashes.push(self.subtree(start, middle));
                start = middle;
            }
        }
        hashes.reverse();
        Ok(InclusionProof::from_sound(hashes))
    }

    /// Proves that the log of `new` leaves extends the log of `old` leaves (RFC 6962 §2.1.2). Empty when `old` is 0 or
    /// `new`.
    ///
    /// # Errors
    /// [`LogError::Size`] or [`LogError::Shrunk`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<ConsistencyProof, LogError> {
        let mut end = self.checked(new)?;
        if old > new {
            return Err(LogError::Shrunk { old, new });
        }
        let mut hashes = Vec::new();
        if old == 0 || old == new {
            return Ok(ConsistencyProof::from_sound(hashes));
        }
        // Less than `new`, which is a `usize`.
        let old = old as usize;
        let mut start = 0;
        while old != end {
            let middle = start + split(end - start);
            if old <= middle {
                hashes.push(self.subtree(middle, end));
                end = middle;
            } else {
                hashes.push(self.subtree(start, middle));
                start = middle;
            }
        }
        // Unless it is the old root itself, which the verifier has.
        if start > 0 {
            hashes.push(self.subtree(start, end));
        }
        hashes.reverse();
        Ok(ConsistencyProof::from_sound(hashes))
    }

    /// A size as an index, if the log is that long.
    fn checked(&self, size: u64) -> Result<usize, LogError> {
        let available = self.size();
        match usize::try_from(size) {
            Ok(index) if size <= available => Ok(index),
            _ => Err(LogError::Size { size, available }),
        }
    }

    /// The root over the leaves from `start` to `end`, where `start` is a multiple of the power of two that is not less
    /// than their number.
    fn subtree(&self, start: usize, end: usize) -> Hash {
        let mut peaks = Vec::new();
        let mut next = start;
        while next < end {
            let level = (end - next).ilog2();
            peaks.push(&self.levels[level as usize][next >> level]);
            next += 1 << level;
        }
        let Some(&last) = peaks.pop() else { return empty_root() };
        peaks.into_iter().rev().fold(last, |right, left| node_hash(left, &right))
    }
}

impl FromIterator<Hash> for Log {
    /// A log of these leaf hashes.
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut log = Self::new();
        for leaf in leaves {
            log.append(leaf);
        }
        log
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("size", &self.size()).field("root", &self.root()).finish()
    }
}

/// The greatest power of two less than `length`, which is 2 or more.
fn split(length: usize) -> usize {
    1 << (length - 1).ilog2()
}

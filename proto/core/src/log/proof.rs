//! Proofs of inclusion and consistency, and their verification as RFC 9162 §2.1.3 and §2.1.4 describe it.

use super::{LogError, empty_root, node_hash};
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::Hash;

/// The most hashes in a proof: C2SP tlog-witness allows 63, and no log has more than 2^63 leaves.
pub const MAX_PROOF_HASHES: usize = 63;

macro_rules! proof {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// On the wire: number of hashes (1), hashes (32 each), at most 63.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name(Vec<Hash>);

        impl $name {
            /// A proof of these hashes; only verifying says whether it is good.
            ///
            /// # Errors
            /// [`LogError::Length`] if there are more than [`MAX_PROOF_HASHES`].
            pub fn new(hashes: Vec<Hash>) -> Result<Self, LogError> {
                match hashes.len() {
                    0..=MAX_PROOF_HASHES => Ok(Self(hashes)),
                    given => Err(LogError::Length { given }),
                }
            }

            pub(super) const fn from_sound(hashes: Vec<Hash>) -> Self {
                Self(hashes)
            }

            /// The hashes in the order of RFC 6962.
            #[must_use]
            pub fn hashes(&self) -> &[Hash] {
                &self.0
            }

            /// The bytes.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                let mut writer = Writer::with_capacity(1 + self.0.len() * Hash::SIZE);
                writer.u8(self.0.len() as u8);
                for hash in &self.0 {
                    writer.raw(hash.as_bytes());
                }
                writer.into_vec()
            }

            /// Reads the bytes.
            ///
            /// # Errors
            /// [`CodecError`] if they are truncated or too long.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
                let mut reader = Reader::new($what, bytes);
                let count = reader.u8()?;
                if usize::from(count) > MAX_PROOF_HASHES {
                    return Err(reader.invalid("more than 63 hashes"));
                }
                let hashes = (0..count).map(|_| reader.array().map(Hash::new));
                let hashes = hashes.collect::<Result<_, _>>()?;
                reader.finish()?;
                Ok(Self(hashes))
            }
        }
    };
}

proof! {
    /// Proves that a leaf is in a log.
    InclusionProof, "inclusion proof"
}
proof! {
    /// Proves that a log extends an older state of itself.
    ConsistencyProof, "consistency proof"
}

/// Verifies that the leaf with this hash is leaf `index` of the log of `size` leaves with this root (RFC 9162
/// §2.1.3.2).
///
/// # Errors
/// [`LogError::Index`], [`LogError::Length`] or [`LogError::NotIncluded`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &InclusionProof,
    root: &Hash,
) -> Result<(), LogError> {
    if index >= size {
        return Err(LogError::Index { index, size });
    }
    let length = LogError::Length { given: proof.0.len() };
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in &proof.0 {
        if last == 0 {
            return Err(length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // The last node of an odd level moves up unhashed.
            let levels = node.trailing_zeros();
            (node, last) = (node >> levels, last >> levels);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        Err(length)
    } else if hash != *root {
        Err(LogError::NotIncluded { index, size })
    } else {
        Ok(())
    }
}

/// Verifies that the log of `new` leaves and root `new_root` extends the log of `old` leaves and root `old_root`
/// (RFC 9162 §2.1.4.2). From size 0, and from a size to itself, the proof is empty (C2SP tlog-witness).
///
/// # Errors
/// [`LogError::Shrunk`], [`LogError::Length`] or [`LogError::Inconsistent`].
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &ConsistencyProof,
) -> Result<(), LogError> {
    if old > new {
        return Err(LogError::Shrunk { old, new });
    }
    let length = LogError::Length { given: proof.0.len() };
    let inconsistent = LogError::Inconsistent { old, new };
    if old == 0 || old == new {
        let is_good = if old == new { old_root == new_root } else { *old_root == empty_root() };
        return match (proof.0.is_empty(), is_good) {
            (false, _) => Err(length),
            (true, false) => Err(inconsistent),
            (true, true) => Ok(()),
        };
    }
    let (mut node, mut last) = (old - 1, new - 1);
    let levels = node.trailing_ones();
    (node, last) = (node >> levels, last >> levels);
    // If the old log is one complete subtree, its root starts the path and is not repeated in the proof.
    let (first, rest) = if node == 0 {
        (old_root, proof.0.as_slice())
    } else {
        proof.0.split_first().ok_or_else(|| length.clone())?
    };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            let levels = node.trailing_zeros();
            (node, last) = (node >> levels, last >> levels);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        Err(length)
    } else if old_hash != *old_root || new_hash != *new_root {
        Err(inconsistent)
    } else {
        Ok(())
    }
}

//! Proofs of presence and absence: of one handle, or of all handles with a prefix.

use thiserror::Error;

use super::delta::read_many;
use super::hash::{self, Node};
use super::{Commitment, MAX_DEPTH, Map, Prefix, Row};
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{Handle, Hash};
use crate::record::SealedRecord;

/// Why a proof is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// Not a prefix.
    #[error("prefix of {bits} bits: at most 64 are allowed, and zeros must follow them")]
    Prefix {
        /// Its length.
        bits: u8,
    },
    /// The commitment is not one of a map.
    #[error("map commitment: depth {depth}, at most {MAX_DEPTH} is allowed")]
    Depth {
        /// The depth it says.
        depth: u8,
    },
    /// The number of sibling hashes does not fit the commitment and what is asked.
    #[error("map proof: {given} sibling hashes, {expected} expected")]
    Length {
        /// Hashes in the proof.
        given: usize,
        /// Hashes that there have to be.
        expected: usize,
    },
    /// Rows are not strictly ascending, or lie where they do not belong.
    #[error("map proof: the rows are out of order or out of place")]
    Rows,
    /// The hashes do not lead to the root.
    #[error("map proof: it does not lead to the committed root")]
    Root,
}

/// The hash of a sealed record and its version, as the map binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHash(crate::ids::Hash);

impl RecordHash {
    /// The hash of a record.
    #[must_use]
    pub fn of(record: &SealedRecord) -> Self {
        let mut bytes = [0; 52];
        bytes[..4].copy_from_slice(&record.version().to_be_bytes());
        bytes[4..].copy_from_slice(record.bytes());
        Self(Hash::new(hash::record(&bytes)))
    }

    /// The digest.
    #[must_use]
    pub const fn hash(&self) -> &Hash {
        &self.0
    }
}

/// A row of a bucket, without its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    handle: Handle,
    record: RecordHash,
}

impl Entry {
    fn of(row: &Row) -> Self {
        Self { handle: row.handle, record: RecordHash::of(&row.record) }
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(self.handle.as_bytes()).raw(self.record.0.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let handle = Handle::new(reader.array()?);
        Ok(Self { handle, record: RecordHash(Hash::new(reader.array()?)) })
    }
}

/// Proves that a handle is in a map with a record, or that it is not: its bucket, and the hashes beside its way up.
///
/// On the wire: number of siblings (1), siblings from the bucket up (32 each), number of entries (4), entries (48 each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapProof {
    siblings: Vec<Hash>,
    entries: Vec<Entry>,
}

impl MapProof {
    /// What the map of this commitment holds under `handle`: the record's hash, or nothing.
    ///
    /// # Errors
    /// [`ProofError`] if the proof is not one for this map and handle.
    pub fn verify(
        &self,
        commitment: &Commitment,
        handle: &Handle,
    ) -> Result<Option<RecordHash>, ProofError> {
        let bucket = Prefix::of(handle, commitment.depth);
        check_length(&self.siblings, commitment, commitment.depth)?;
        check_order(self.entries.iter().map(|entry| &entry.handle), bucket)?;
        check_root(commitment, bucket, bucket_hash(&self.entries), &self.siblings)?;
        let found = self.entries.iter().find(|entry| entry.handle == *handle);
        Ok(found.map(|entry| entry.record))
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        write_siblings(&self.siblings, &mut writer);
        write_many(&self.entries, &mut writer, Entry::write);
        writer.into_vec()
    }

    /// Reads the bytes; only [`MapProof::verify`] says whether the proof is good.
    ///
    /// # Errors
    /// [`CodecError`] if they are truncated or too long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("map proof", bytes);
        let siblings = read_siblings(&mut reader)?;
        let entries = read_many(&mut reader, hash::ENTRY, Entry::read)?;
        reader.finish()?;
        Ok(Self { siblings, entries })
    }
}

/// Proves which rows a map has under a prefix: the rows, what else is in their bucket if the prefix is longer than
/// the map is deep, and the hashes beside the way up.
///
/// On the wire: as [`MapProof`], with the entries before the prefix, those after it, then the rows (68 each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixProof {
    siblings: Vec<Hash>,
    before: Vec<Entry>,
    after: Vec<Entry>,
    rows: Vec<Row>,
}

impl PrefixProof {
    /// All the rows under `prefix` in the map of this commitment, by ascending handle.
    ///
    /// # Errors
    /// [`ProofError`] if the proof is not one for this map and prefix.
    pub fn verify(self, commitment: &Commitment, prefix: Prefix) -> Result<Vec<Row>, ProofError> {
        check_length(&self.siblings, commitment, prefix.bits().min(commitment.depth))?;
        check_order(self.rows.iter().map(|row| &row.handle), prefix)?;
        if prefix.bits() <= commitment.depth {
            if !(self.before.is_empty() && self.after.is_empty()) {
                return Err(ProofError::Rows);
            }
            let subtree = subtree_hash(commitment.depth, prefix, &self.rows);
            check_root(commitment, prefix, subtree, &self.siblings)?;
        } else {
            let bucket = Prefix::truncate(commitment.depth, prefix.top());
            let reaches_in = self.before.last().is_some_and(|e| e.handle.top() >= prefix.first())
                || self.after.first().is_some_and(|e| e.handle.top() <= prefix.last());
            if reaches_in {
                return Err(ProofError::Rows);
            }
            let mut entries = self.before;
            entries.extend(self.rows.iter().map(Entry::of));
            entries.extend(self.after);
            check_order(entries.iter().map(|entry| &entry.handle), bucket)?;
            check_root(commitment, bucket, bucket_hash(&entries), &self.siblings)?;
        }
        Ok(self.rows)
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1_024 + self.rows.len() * Row::SIZE);
        write_siblings(&self.siblings, &mut writer);
        write_many(&self.before, &mut writer, Entry::write);
        write_many(&self.after, &mut writer, Entry::write);
        write_many(&self.rows, &mut writer, |row, writer| {
            writer.raw(&row.to_bytes());
        });
        writer.into_vec()
    }

    /// Reads the bytes; only [`PrefixProof::verify`] says whether the proof is good.
    ///
    /// # Errors
    /// [`CodecError`] if they are truncated or too long, or a version is 0.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("map prefix proof", bytes);
        let siblings = read_siblings(&mut reader)?;
        let before = read_many(&mut reader, hash::ENTRY, Entry::read)?;
        let after = read_many(&mut reader, hash::ENTRY, Entry::read)?;
        let rows = read_many(&mut reader, Row::SIZE, Row::read)?;
        reader.finish()?;
        Ok(Self { siblings, before, after, rows })
    }
}

impl Map {
    /// Proves what the map holds under a handle.
    #[must_use]
    pub fn prove(&self, handle: &Handle) -> MapProof {
        let bucket = Prefix::of(handle, self.depth());
        let entries = self.rows_under(bucket).map(|row| Entry::of(&row)).collect();
        MapProof { siblings: self.siblings(bucket), entries }
    }

    /// Proves what the map holds under a prefix.
    #[must_use]
    pub fn prove_prefix(&self, prefix: Prefix) -> PrefixProof {
        let node = Prefix::truncate(prefix.bits().min(self.depth()), prefix.top());
        let (mut before, mut after, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.rows_under(node) {
            let top = row.handle.top();
            if top < prefix.first() {
                before.push(Entry::of(&row));
            } else if top > prefix.last() {
                after.push(Entry::of(&row));
            } else {
                rows.push(row);
            }
        }
        PrefixProof { siblings: self.siblings(node), before, after, rows }
    }

    fn siblings(&self, node: Prefix) -> Vec<Hash> {
        let siblings = self.tree.siblings(node.bits(), node.index());
        siblings.into_iter().map(Hash::new).collect()
    }
}

fn check_length(
    siblings: &[Hash],
    commitment: &Commitment,
    expected: u8,
) -> Result<(), ProofError> {
    if commitment.depth > MAX_DEPTH {
        return Err(ProofError::Depth { depth: commitment.depth });
    }
    let (given, expected) = (siblings.len(), usize::from(expected));
    if given == expected { Ok(()) } else { Err(ProofError::Length { given, expected }) }
}

/// Checks that handles are strictly ascending and all under `prefix`.
fn check_order<'a>(
    handles: impl Iterator<Item = &'a Handle>,
    prefix: Prefix,
) -> Result<(), ProofError> {
    let mut previous = None;
    for handle in handles {
        if previous.replace(handle) >= Some(handle) || !prefix.contains(handle) {
            return Err(ProofError::Rows);
        }
    }
    Ok(())
}

/// Checks that the node with this prefix and hash leads to the root.
fn check_root(
    commitment: &Commitment,
    prefix: Prefix,
    hash: Node,
    siblings: &[Hash],
) -> Result<(), ProofError> {
    let mut index = prefix.index();
    let root = siblings.iter().fold(hash, |hash, sibling| {
        let is_right = index & 1 == 1;
        index >>= 1;
        let sibling = sibling.as_bytes();
        if is_right { hash::node(sibling, &hash) } else { hash::node(&hash, sibling) }
    });
    if root == *commitment.root.as_bytes() { Ok(()) } else { Err(ProofError::Root) }
}

fn bucket_hash(entries: &[Entry]) -> Node {
    hash::bucket(entries.iter().map(|entry| (entry.handle.as_bytes(), entry.record.0.as_bytes())))
}

/// The hash of the subtree at `prefix`, at most `depth` bits long, from all its rows. Its cost does not depend on
/// how many empty buckets it has.
fn subtree_hash(depth: u8, prefix: Prefix, rows: &[Row]) -> Node {
    if rows.is_empty() {
        return *hash::empty(depth - prefix.bits());
    }
    if prefix.bits() == depth {
        let entries: Vec<Entry> = rows.iter().map(Entry::of).collect();
        return bucket_hash(&entries);
    }
    let [left, right] = prefix.halves();
    let middle = rows.partition_point(|row| row.handle.top() < right.first());
    let (below, above) = rows.split_at(middle);
    hash::node(&subtree_hash(depth, left, below), &subtree_hash(depth, right, above))
}

fn write_siblings(siblings: &[Hash], writer: &mut Writer) {
    // At most `MAX_DEPTH`, checked when made or read.
    writer.u8(siblings.len() as u8);
    for sibling in siblings {
        writer.raw(sibling.as_bytes());
    }
}

fn read_siblings(reader: &mut Reader<'_>) -> Result<Vec<Hash>, CodecError> {
    let count = reader.u8()?;
    if count > MAX_DEPTH {
        return Err(reader.invalid("more siblings than a map is deep"));
    }
    (0..count).map(|_| reader.array().map(Hash::new)).collect()
}

fn write_many<T>(values: &[T], writer: &mut Writer, write: impl Fn(&T, &mut Writer)) {
    // A map has fewer than 2^32 rows.
    writer.u32(values.len() as u32);
    for value in values {
        write(value, writer);
    }
}

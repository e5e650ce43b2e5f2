//! The directory's map: from handles to sealed records, under one Merkle root.
//!
//! Handles are uniform, so the map is a flat tree over 2^d buckets, the bucket of a handle being its top d bits
//! (0 ≤ d ≤ 28). With BLAKE3 keyed by `derive_key(context, "")`, big-endian numbers, and every message padded with
//! zeros to whole blocks of 64 bytes:
//!
//! ```text
//! record hash = keyed_hash("lanyard v1 record hash", version (4) | sealed record (48) | zeros)
//! bucket      = keyed_hash("lanyard v1 bucket", count (4) | (handle (16) | record hash (32))* ascending | zeros)
//! node        = keyed_hash("lanyard v1 node", left (32) | right (32))
//! ```
//!
//! A bucket hash binds its count and every row, so that absence is proved like presence: by the bucket.

mod delta;
mod hash;
mod prefix;
mod proof;
pub mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use thiserror::Error;

pub use self::delta::Delta;
pub use self::prefix::Prefix;
pub use self::proof::{MapProof, PrefixProof, ProofError, RecordHash};
use self::table::{Filler, Slot, Table};
use self::tree::Tree;
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{Handle, Hash};
use crate::record::SealedRecord;

/// The greatest depth of a map: 2^28 buckets, for 1.6 thousand million rows.
pub const MAX_DEPTH: u8 = 28;

/// Rows in a bucket, on average, that a map starts with at most; more than half as many when it has more than one.
///
/// Small buckets make short proofs and cheap updates; large ones make a small tree.
const ROWS_PER_BUCKET: u32 = 6;

/// The depth for a map that starts with `count` rows: 3 to 6 rows a bucket. It does not change afterwards.
#[must_use]
pub const fn depth_for(count: u32) -> u8 {
    let mut depth = 0;
    while depth < MAX_DEPTH && (count as u64) > ((ROWS_PER_BUCKET as u64) << depth) {
        depth += 1;
    }
    depth
}

/// Why a map refuses what it is asked. The map is as before.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The tree would be too deep.
    #[error("map: depth {depth}, at most {MAX_DEPTH} is allowed")]
    Depth {
        /// The depth asked for.
        depth: u8,
    },
    /// One handle occurs twice.
    #[error("map: {handle:?} occurs twice")]
    Duplicate {
        /// The handle.
        handle: Handle,
    },
    /// A row to be removed is not there: the delta belongs to another state.
    #[error("map: {handle:?} is to be removed and is not there; fetch a snapshot")]
    Missing {
        /// The handle.
        handle: Handle,
    },
    /// Rows cluster as handles that were derived never do.
    #[error("map: the handles around {handle:?} are not uniform")]
    Crowded {
        /// The handle that was one too many.
        handle: Handle,
    },
    /// More rows than the count in a commitment can say.
    #[error("map: {count} rows, at most {} are possible", u32::MAX)]
    TooMany {
        /// The rows that there would be.
        count: u64,
    },
    /// An undo that does not belong to the map's state.
    #[error("map: only the delta applied last can be undone")]
    Undo,
}

/// A handle and its sealed record: 68 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub handle: Handle,
    /// The value.
    pub record: SealedRecord,
}

impl Row {
    /// Size in bytes: handle, version, sealed record.
    pub const SIZE: usize = 68;

    /// The bytes: handle (16), version (4, big-endian), sealed record (48).
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..16].copy_from_slice(self.handle.as_bytes());
        bytes[16..20].copy_from_slice(&self.record.version().to_be_bytes());
        bytes[20..].copy_from_slice(self.record.bytes());
        bytes
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`CodecError::Invalid`] if the version is 0.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, CodecError> {
        Self::read(&mut Reader::new("map row", bytes))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let handle = Handle::new(reader.array()?);
        let version = reader.u32()?;
        let bytes = reader.array()?;
        let record = SealedRecord::new(version, bytes)
            .map_err(|_| reader.invalid("a record's version starts at 1"))?;
        Ok(Self { handle, record })
    }

    fn from_slot(slot: &Slot) -> Self {
        Self::from_bytes(slot.as_bytes()).expect("only gaps have version 0")
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({:?}, version {})", self.handle, self.record.version())
    }
}

/// What a map head says of one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// The Merkle root.
    pub root: Hash,
    /// The depth of the tree, 0 to [`MAX_DEPTH`]. The root does not bind it; whoever signs the commitment does.
    pub depth: u8,
    /// The rows in all. The root does not bind it either.
    pub count: u32,
}

impl Commitment {
    /// Size in bytes.
    pub const SIZE: usize = 37;

    /// Appends root (32), depth (1) and count (4).
    pub fn write(&self, writer: &mut Writer) {
        writer.raw(self.root.as_bytes()).u8(self.depth).u32(self.count);
    }

    /// Reads what [`Commitment::write`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] if bytes are missing or the depth is beyond [`MAX_DEPTH`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let root = Hash::new(reader.array()?);
        let depth = reader.u8()?;
        if depth > MAX_DEPTH {
            return Err(reader.invalid("the map is too deep"));
        }
        Ok(Self { root, depth, count: reader.u32()? })
    }
}

/// A map with its Merkle tree.
///
/// One million rows take about 108 MB; the table grows to 123 MB when many rows are added.
#[derive(Clone)]
pub struct Map {
    table: Table,
    tree: Tree,
}

/// What it takes to undo a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "keep it until the new state is known to be good"]
pub struct Undo {
    inverse: Delta,
    /// The state that it leads away from.
    applied: Commitment,
}

impl Map {
    /// A map of rows in any order; ascending order is fastest.
    ///
    /// # Errors
    /// [`MapError::Depth`], [`MapError::Duplicate`], [`MapError::TooMany`] or [`MapError::Crowded`].
    pub fn build(depth: u8, rows: impl IntoIterator<Item = Row>) -> Result<Self, MapError> {
        if depth > MAX_DEPTH {
            return Err(MapError::Depth { depth });
        }
        let mut rows = rows.into_iter().peekable();
        let mut filler = Filler::new(Table::for_count(rows.size_hint().0));
        let mut previous = None;
        // As long as rows ascend, none has to search its place.
        while let Some(row) = rows.next_if(|row| previous < Some(row.handle) && filler.has_room()) {
            previous = Some(row.handle);
            if filler.push(&Slot::new(row.to_bytes())) {
                return Err(MapError::Crowded { handle: row.handle });
            }
        }
        let mut table = filler.finish();
        for Row { handle, record } in rows {
            table.reserve(table.count() + 1);
            let put = table.put(&Slot::new(Row { handle, record }.to_bytes()));
            if put.replaced.is_some() {
                return Err(MapError::Duplicate { handle });
            }
            if put.crowded {
                return Err(MapError::Crowded { handle });
            }
        }
        if u32::try_from(table.count()).is_err() {
            return Err(MapError::TooMany { count: table.count() as u64 });
        }
        Ok(Self::from_table(depth, table))
    }

    fn from_table(depth: u8, table: Table) -> Self {
        let mut tree = Tree::empty(depth);
        tree.build(|hasher| {
            let mut rows = table.slots().peekable();
            while let Some(first) = rows.peek() {
                let bucket = bucket_of(depth, &first.handle());
                let same = std::iter::from_fn(|| {
                    rows.next_if(|row| bucket_of(depth, &row.handle()) == bucket)
                });
                hasher.push(bucket, same);
            }
        });
        Self { table, tree }
    }

    /// The depth of the tree.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.tree.depth()
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.table.count()
    }

    /// Whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Root, depth and count.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        Commitment {
            root: Hash::new(*self.tree.root()),
            depth: self.depth(),
            // `build` and `apply` refuse more.
            count: self.len() as u32,
        }
    }

    /// The sealed record of a handle.
    #[must_use]
    pub fn get(&self, handle: &Handle) -> Option<SealedRecord> {
        self.table.get(handle).map(|slot| Row::from_slot(slot).record)
    }

    /// All rows by ascending handle.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.table.slots().map(Row::from_slot)
    }

    /// The rows under a prefix, by ascending handle.
    pub fn rows_under(&self, prefix: Prefix) -> impl Iterator<Item = Row> {
        self.table.slots_under(prefix).map(Row::from_slot)
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.tree.memory_bytes()
    }

    /// Changes rows and recomputes the hashes above them, and no others.
    ///
    /// # Errors
    /// [`MapError::Missing`], [`MapError::TooMany`] or [`MapError::Crowded`]; the map is as before.
    pub fn apply(&mut self, delta: &Delta) -> Result<Undo, MapError> {
        let missing = |handle: &&Handle| self.table.get(handle).is_none();
        if let Some(&handle) = delta.removed().iter().find(missing) {
            return Err(MapError::Missing { handle });
        }
        let is_new = |row: &&Row| self.table.get(&row.handle).is_none();
        let inserted = delta.upserts().iter().filter(is_new).count();
        let count = self.len() - delta.removed().len() + inserted;
        if u32::try_from(count).is_err() {
            return Err(MapError::TooMany { count: count as u64 });
        }
        let (inverse, crowded) = self.change(delta, count);
        if let Some(handle) = crowded {
            self.change(&inverse, self.len());
            return Err(MapError::Crowded { handle });
        }
        self.rehash(delta);
        Ok(Undo { inverse, applied: self.commitment() })
    }

    /// Undoes the delta applied last.
    ///
    /// # Errors
    /// [`MapError::Undo`] if the map has changed since.
    pub fn revert(&mut self, undo: Undo) -> Result<(), MapError> {
        if undo.applied != self.commitment() {
            return Err(MapError::Undo);
        }
        let rows = undo.inverse.upserts().len();
        // Crowding is no obstacle: the state to return to was accepted.
        self.change(&undo.inverse, self.len() + rows);
        self.rehash(&undo.inverse);
        Ok(())
    }

    /// Changes the table to hold up to `count` rows; stops after a row that crowds it. Returns what undoes it.
    fn change(&mut self, delta: &Delta, count: usize) -> (Delta, Option<Handle>) {
        let mut inserted = Vec::new();
        let mut replaced = Vec::with_capacity(delta.len());
        let mut crowded = None;
        for handle in delta.removed() {
            replaced.extend(self.table.remove(handle).map(|slot| Row::from_slot(&slot)));
        }
        self.table.reserve(count);
        for row in delta.upserts() {
            let put = self.table.put(&Slot::new(row.to_bytes()));
            match put.replaced {
                Some(slot) => replaced.push(Row::from_slot(&slot)),
                None => inserted.push(row.handle),
            }
            if put.crowded {
                crowded = Some(row.handle);
                break;
            }
        }
        let inverse = Delta::new(inserted, replaced).expect("a delta's handles are distinct");
        (inverse, crowded)
    }

    fn rehash(&mut self, delta: &Delta) {
        let depth = self.depth();
        let mut changed: Vec<u32> =
            delta.handles().map(|handle| bucket_of(depth, &handle)).collect();
        changed.dedup();
        let Self { table, tree } = self;
        tree.update(&changed, |hasher| {
            for &bucket in &changed {
                hasher.push(bucket, table.slots_under(Prefix::of_bucket(depth, bucket)));
            }
        });
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Map").field(&self.commitment()).finish()
    }
}

/// The bucket of a handle: its top `depth` bits.
fn bucket_of(depth: u8, handle: &Handle) -> u32 {
    // At most 28 bits.
    Prefix::of(handle, depth).index() as u32
}

/// Fills a map with rows in strictly ascending order, as a snapshot brings them.
struct Builder {
    depth: u8,
    filler: Filler,
}

impl Builder {
    /// For a map of `count` rows, for which memory is taken at once.
    fn new(depth: u8, count: u32) -> Self {
        Self { depth, filler: Filler::new(Table::for_count(count as usize)) }
    }

    /// The caller has checked the order.
    fn push(&mut self, row: &Row) -> Result<(), MapError> {
        if self.filler.push(&Slot::new(row.to_bytes())) {
            return Err(MapError::Crowded { handle: row.handle });
        }
        Ok(())
    }

    fn finish(self) -> Map {
        Map::from_table(self.depth, self.filler.finish())
    }
}

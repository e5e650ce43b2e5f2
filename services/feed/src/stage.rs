//! Changes that are applied and not visible yet: committed as a whole, or taken back as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use lanyard_core::ids::Hash;
use lanyard_core::log::InclusionProof;
use lanyard_core::map::{Commitment, Delta, Map, MapError, Undo};

use crate::state::{Directory, DirectoryKey, SignedHead, State, Table, read, write};

/// Rows that are changed at once while readers wait: about ten milliseconds.
const SLICE: usize = 4_096;

/// A tick being checked. Readers look past it through the overlay. Dropping it takes it back.
pub(crate) struct Staged {
    state: Arc<RwLock<State>>,
    /// The size of the log before it, and with it.
    base: u64,
    size: u64,
    undo: Vec<(DirectoryKey, Undo)>,
    /// Directories whose rows change.
    changed: Vec<DirectoryKey>,
    /// Directories that it brings.
    maps: BTreeMap<DirectoryKey, Map>,
    tables: Vec<(DirectoryKey, Table)>,
    committed: bool,
}

impl Staged {
    /// The tick that makes the log's size `size`, with the leaves up to there but its own.
    pub(crate) fn begin(state: &Arc<RwLock<State>>, size: u64, leaves: &[Hash]) -> Self {
        let mut locked = write(state);
        let base = locked.size();
        for leaf in leaves {
            locked.log.append(*leaf);
        }
        Self {
            state: Arc::clone(state),
            base,
            size,
            undo: Vec::new(),
            changed: Vec::new(),
            maps: BTreeMap::new(),
            tables: Vec::new(),
            committed: false,
        }
    }

    /// Appends the tick's own leaf; returns the log's root with it, and the proof that the leaf is the newest.
    pub(crate) fn append(&mut self, leaf: Hash) -> (Hash, InclusionProof) {
        let mut state = write(&self.state);
        state.log.append(leaf);
        let size = state.log.size();
        // The leaf has just been appended.
        let proof = state.log.inclusion_proof(size - 1, size).unwrap_or_default();
        (state.log.root(), proof)
    }

    /// Applies a delta to a directory that is held.
    pub(crate) fn apply(&mut self, key: DirectoryKey, delta: &Delta) -> Result<(), MapError> {
        self.changed.push(key);
        for slice in slices(delta) {
            let mut state = write(&self.state);
            let Some(directory) = state.directories.get_mut(&key) else { return Ok(()) };
            directory.overlay.record(self.size, &directory.map, &slice);
            self.undo.push((key, directory.map.apply(&slice)?));
        }
        Ok(())
    }

    /// Brings a directory, or replaces it.
    pub(crate) fn insert(&mut self, key: DirectoryKey, map: Map) {
        self.maps.insert(key, map);
    }

    /// Brings a profile table.
    pub(crate) fn table(&mut self, key: DirectoryKey, table: Table) {
        self.tables.push((key, table));
    }

    /// What the directory's rows, as staged, are committed to with.
    pub(crate) fn commitment(&self, key: DirectoryKey) -> Option<Commitment> {
        let brought = self.maps.get(&key).map(Map::commitment);
        let held = || read(&self.state).directories.get(&key).map(|held| held.map.commitment());
        brought.or_else(held)
    }

    /// The directories that it brings.
    pub(crate) fn brought(&self) -> impl Iterator<Item = (&DirectoryKey, &Map)> {
        self.maps.iter()
    }

    /// Makes it visible. With `anew`, nothing of the directories before is left.
    pub(crate) fn commit(mut self, signed: Arc<SignedHead>, anew: bool) {
        let mut state = write(&self.state);
        let mut before = BTreeMap::new();
        if anew {
            before = std::mem::take(&mut state.directories);
            state.recent.clear();
            state.quorum = None;
        }
        for key in &self.changed {
            if let Some(directory) = state.directories.get_mut(key) {
                directory.changed = true;
            }
        }
        for (key, map) in std::mem::take(&mut self.maps) {
            let mut brought = Directory::new(map, self.size);
            if let Some(before) = before.remove(&key) {
                // Nothing is taken over but what its head, which never changes keys, is about.
                brought.key = before.key;
                brought.sealed_keys = before.sealed_keys;
                brought.tables = before.tables;
            }
            state.directories.insert(key, brought);
        }
        for (key, table) in self.tables.drain(..) {
            if let Some(directory) = state.directories.get_mut(&key) {
                directory.tables.push(table);
            }
        }
        state.show(signed);
        self.committed = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let mut state = write(&self.state);
        // The log is longer than its base: `begin` and `append` alone change it.
        let _ = state.log.truncate(self.base);
        for (key, undo) in self.undo.drain(..).rev() {
            let Some(directory) = state.directories.get_mut(&key) else { continue };
            if directory.map.revert(undo).is_err() {
                // Unreachable while writers take turns; a directory that cannot be trusted is fetched anew.
                tracing::error!(%key, "a delta could not be taken back; the directory is dropped");
                state.directories.remove(&key);
            }
        }
        for key in &self.changed {
            if let Some(directory) = state.directories.get_mut(key) {
                directory.overlay.forget_after(self.base);
            }
        }
    }
}

/// Parts of a delta, each spread over the whole range of handles: neighbours in bulk would crowd one place of a table that
/// has not grown yet.
fn slices(delta: &Delta) -> Vec<Cow<'_, Delta>> {
    if delta.len() <= SLICE {
        return vec![Cow::Borrowed(delta)];
    }
    let removed = strided(delta.removed()).map(|part| Delta::new(part, Vec::new()));
    let upserts = strided(delta.upserts()).map(|part| Delta::new(Vec::new(), part));
    // Parts of a delta have distinct handles, as it has.
    removed.chain(upserts).filter_map(Result::ok).map(Cow::Owned).collect()
}

fn strided<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    let parts = all.len().div_ceil(SLICE);
    (0..parts).map(move |first| all.iter().skip(first).step_by(parts).cloned().collect())
}

#[cfg(test)]
mod tests {
    use lanyard_core::ids::Handle;
    use lanyard_core::map::Row;
    use lanyard_core::record::SealedRecord;

    use super::*;

    #[test]
    fn a_bulk_of_new_rows_fits_into_a_small_map() {
        let rows: Vec<Row> = (0..50_000_u32)
            .map(|number| {
                let hash = blake3::hash(&number.to_be_bytes());
                let (handle, _) = hash.as_bytes().split_first_chunk().unwrap();
                Row { handle: Handle::new(*handle), record: SealedRecord::new(1, [7; 48]).unwrap() }
            })
            .collect();
        let mut map = Map::build(6, rows[..64].iter().copied()).unwrap();
        let delta = Delta::new(Vec::new(), rows[64..].to_vec()).unwrap();
        for slice in slices(&delta) {
            let _undo = map.apply(&slice).unwrap();
        }
        let whole = Map::build(6, rows).unwrap();
        assert_eq!(map.commitment(), whole.commitment());
    }
}

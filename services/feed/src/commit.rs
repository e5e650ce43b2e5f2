//! Making a tick durable, then visible, then tidying up behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanyard_core::ids::Hash;
use lanyard_core::map::Row;
use lanyard_wire::feed::v1::{DirectoryId, SealedProfiles as WireProfiles, Tick};

use crate::events::Event;
use crate::mirror::{Mirror, Writer};
use crate::stage::Staged;
use crate::state::{SignedHead, Table, read, write};
use crate::store::Base;
use crate::{DirectoryKey, FeedError};

/// A new base is made once the ticks since the last have more bytes than this and than half its snapshots, or are more
/// than that many.
const MIN_DELTA_BYTES: u64 = 1024 * 1024;
const MAX_TICKS: u64 = 4_096;

/// While witnesses are down, this many times longer: a base forgets what was cosigned before it.
const PATIENCE: u64 = 4;

/// An epoch's keys are deleted this long after it ended.
const KEYS_STAY_MILLIS: u64 = 60 * 60 * 1_000;

impl Mirror {
    /// Makes a verified tick durable and visible. Snapshots that it brings are in their place already.
    ///
    /// With `anew`, the directories are those brought, whatever was there before.
    pub(crate) fn commit(
        &self,
        writer: &mut Writer,
        mut staged: Staged,
        signed: Arc<SignedHead>,
        tick: Tick,
        tables: Vec<(DirectoryKey, Table)>,
        anew: bool,
    ) -> Result<(), FeedError> {
        for (key, table) in &tables {
            self.store.put_table(*key, &table.sealed)?;
        }
        let size = signed.size();
        let brought: Vec<DirectoryKey> = staged.brought().map(|(key, _)| *key).collect();
        if anew {
            let snapshots = brought.iter().map(|key| (*key, size)).collect();
            self.put_base(writer, &signed, &tick.checkpoint, snapshots)?;
        } else {
            self.store.put_tick(size, &tick)?;
            writer.ticks += 1;
            writer.delta_bytes +=
                tick.deltas.iter().map(|delta| delta.delta.len() as u64).sum::<u64>();
            let live = read(&self.state).signed.as_ref().map(|before| before.head.live_epoch);
            writer.new_epoch |= live != Some(signed.head.live_epoch);
        }
        let mut profiles = Vec::new();
        for (key, table) in tables {
            profiles.push(wire_profiles(key, &table));
            staged.table(key, table);
        }
        staged.commit(signed, anew);
        for (key, sealed) in profiles {
            self.events.push(Event::profiles(key, sealed));
        }
        if anew {
            writer.ticks_after = size;
            self.sweep_ticks(size);
            self.events.push(Event::Jumped);
        } else {
            self.events.push(Event::tick(size, tick, brought));
        }
        Ok(())
    }

    /// Writes the base: the moment from which replaying starts there.
    fn put_base(
        &self,
        writer: &mut Writer,
        signed: &SignedHead,
        checkpoint: &str,
        snapshots: BTreeMap<DirectoryKey, u64>,
    ) -> Result<(), FeedError> {
        let size = signed.size();
        let state = read(&self.state);
        // Leaves are kept up to the base; that of a tick being staged is there, too.
        let leaves: Vec<Hash> = state.log.leaf_hashes().take(index(size)).copied().collect();
        drop(state);
        self.store.put_leaves(&leaves, writer.base)?;
        let base =
            Base { head: signed.bytes.clone(), checkpoint: checkpoint.to_owned(), snapshots };
        self.store.put_base(&base)?;
        writer.base = size;
        writer.ticks = 0;
        writer.delta_bytes = 0;
        writer.new_epoch = false;
        if let Err(error) = self.store.sweep_snapshots(&base.snapshots) {
            tracing::warn!(%error, "old snapshots could not be removed");
        }
        Ok(())
    }

    /// What is due after a commit or a new quorum. What fails here is tried again.
    pub(crate) fn tidy(&self, writer: &mut Writer) {
        let tidied = self.retire().and_then(|()| {
            let patience = if self.has_quorum_at_head() { 1 } else { PATIENCE };
            if self.is_base_due(writer, patience) { self.rebase(writer) } else { Ok(()) }
        });
        if let Err(error) = tidied {
            tracing::warn!(%error, origin = %self.origin, "old objects could not be tidied up");
        }
    }

    fn has_quorum_at_head(&self) -> bool {
        let state = read(&self.state);
        state.quorum_size() == state.size()
    }

    fn is_base_due(&self, writer: &Writer, patience: u64) -> bool {
        if writer.pending.is_some() || writer.ticks == 0 {
            return false;
        }
        let rows = read(&self.state).directories.values().map(|held| held.map.len() as u64).sum();
        let half = u64::saturating_mul(rows, Row::SIZE as u64) / 2;
        writer.ticks > MAX_TICKS * patience
            || writer.delta_bytes > half.max(MIN_DELTA_BYTES) * patience
            || (writer.new_epoch && patience == 1)
    }

    /// Makes the newest state the base, and removes what is older than the base before.
    pub(crate) fn rebase(&self, writer: &mut Writer) -> Result<(), FeedError> {
        let state = read(&self.state);
        let Some(signed) = state.signed.clone() else { return Ok(()) };
        let size = signed.size();
        let mut snapshots = BTreeMap::new();
        for key in self.wanted(&signed.head) {
            // A directory that is missing has to be fetched first; that makes a base, too.
            let Some(held) = state.directories.get(&key) else { return Ok(()) };
            if held.changed {
                self.store.put_snapshot(size, key, &held.map)?;
            }
            snapshots.insert(key, if held.changed { size } else { held.snapshot });
        }
        let quorum = state.quorum.as_ref().filter(|quorum| quorum.size() == size);
        let checkpoint = quorum.map_or(&signed.checkpoint, |quorum| &quorum.checkpoint);
        let checkpoint = checkpoint.note().to_string();
        drop(state);
        let before = writer.base;
        self.put_base(writer, &signed, &checkpoint, snapshots.clone())?;
        let mut state = write(&self.state);
        for (key, snapshot) in snapshots {
            if let Some(held) = state.directories.get_mut(&key) {
                held.snapshot = snapshot;
                held.changed = false;
            }
        }
        drop(state);
        // Ticks since the base before stay for followers that are a little behind.
        writer.ticks_after = writer.ticks_after.max(before);
        self.sweep_ticks(before);
        Ok(())
    }

    /// Removes ticks up to `size`.
    fn sweep_ticks(&self, size: u64) {
        let swept = self.store.ticks().and_then(|ticks| {
            let mut old = ticks.into_iter().filter(|tick| *tick <= size);
            old.try_for_each(|tick| self.store.remove_tick(tick))
        });
        if let Err(error) = swept {
            tracing::warn!(%error, "old ticks could not be removed");
        }
    }

    /// Deletes keys and tables of directories that are gone, and keys of epochs that ended an hour ago. Without the next
    /// epoch's first tick, the last epoch's directory is all that says who was stopped: its keys then stay for as long as
    /// anybody may still decide by it.
    pub(crate) fn retire(&self) -> Result<(), FeedError> {
        let manifest = self.manifests.current();
        // A clock that is known to be ahead must not delete what is needed now.
        let now = self.trusted_now();
        let past = now.minus_millis(KEYS_STAY_MILLIS);
        let longest = manifest.longest_limit_seconds() * 1_000;
        let useless = now.minus_millis(longest.max(KEYS_STAY_MILLIS));
        let state = read(&self.state);
        let live = state.quorum.as_ref().map(|quorum| quorum.signed.head.live_epoch);
        let ended = |key: &DirectoryKey| {
            let end = manifest.epoch_end(key.epoch);
            end <= useless || (end <= past && live > Some(key.epoch))
        };
        let expired: Vec<DirectoryKey> = (state.directories.iter())
            .filter(|(key, held)| ended(key) && !held.sealed_keys.is_empty())
            .map(|(key, _)| *key)
            .collect();
        let held: BTreeMap<DirectoryKey, Vec<String>> = (state.directories.iter())
            .map(|(key, held)| {
                let hashes = held.tables.iter().map(|table| hex::encode(table.hash.as_bytes()));
                (*key, hashes.collect())
            })
            .collect();
        drop(state);
        if !expired.is_empty() {
            let mut state = write(&self.state);
            for key in &expired {
                if let Some(held) = state.directories.get_mut(key) {
                    held.key = None;
                    held.sealed_keys.clear();
                }
            }
        }
        let is_held = |key: DirectoryKey, _: &str| held.contains_key(&key) && !ended(&key);
        self.store.sweep_beside("keys", is_held)?;
        let is_used = |key: DirectoryKey, hash: &str| {
            held.get(&key).is_some_and(|hashes| hashes.iter().any(|one| one == hash))
        };
        self.store.sweep_beside("profiles", is_used)
    }
}

pub(crate) fn wire_profiles(key: DirectoryKey, table: &Table) -> (DirectoryKey, WireProfiles) {
    let directory = Some(DirectoryId::of(key.epoch, key.audience));
    (key, WireProfiles { directory, sealed: table.sealed.as_bytes().to_vec() })
}

fn index(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

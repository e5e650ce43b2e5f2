//! Starting from the folder alone: everything is verified again, as if a stranger had written it.

use std::sync::Arc;

use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::freshness::RunningFloor;
use lanyard_core::head::{MapHead, verify_head};
use lanyard_core::ids::Timestamp;
use lanyard_core::log::{Log, leaf_hash};
use lanyard_core::note::Note;
use lanyard_core::profile::SealedProfiles;
use lanyard_wire::feed::v1::Tick;

use crate::beside::commitment_of;
use crate::cosign::assess;
use crate::manifests::Policy;
use crate::mirror::{Mirror, Writer};
use crate::stage::Staged;
use crate::state::{Directory, SignedHead, Table, read, write};
use crate::store::{Base, KeptQuorum, corrupt};
use crate::{DirectoryKey, FeedError};

impl Mirror {
    /// Replays the folder.
    pub(crate) fn replay(&self, writer: &mut Writer) -> Result<(), FeedError> {
        let policy = self.policy();
        let quorum = self.read_quorum()?;
        if let Some(kept) = &quorum {
            write(&self.state).floor = RunningFloor::resume(kept.floor, self.env.elapsed_millis());
        }
        let Some(base) = self.store.base()? else {
            // Without a base there is nothing but perhaps the first draft.
            return self.restage(writer);
        };
        self.replay_base(writer, &policy, &base)?;
        self.settle_kept(&policy, Some(&base.checkpoint));
        let quorum = quorum.map(|kept| kept.checkpoint);
        self.settle_kept(&policy, quorum.as_deref());
        let ticks = self.store.ticks()?;
        writer.ticks_after = first_of_run(&ticks, writer.base).unwrap_or(writer.base);
        for size in ticks.into_iter().filter(|size| *size > writer.base) {
            match self.replay_tick(&policy, size) {
                Ok(bytes) => {
                    writer.ticks += 1;
                    writer.delta_bytes += bytes;
                    self.settle_kept(&policy, quorum.as_deref());
                }
                Err(error) if self.config.publisher => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, size, "a kept tick is damaged; it is fetched again");
                    break;
                }
            }
        }
        self.replay_beside()?;
        self.restage(writer)?;
        self.retire()?;
        let state = read(&self.state);
        tracing::info!(
            origin = %self.origin, size = state.size(), quorum = state.quorum_size(),
            directories = state.directories.len(), "mirror opened"
        );
        Ok(())
    }

    fn read_quorum(&self) -> Result<Option<KeptQuorum>, FeedError> {
        match self.store.quorum() {
            // It comes again with the next cosignatures; until then nothing is fresh.
            Err(error @ FeedError::Corrupt { .. }) if !self.config.publisher => {
                tracing::warn!(%error, "the kept quorum is damaged");
                Ok(None)
            }
            read => read,
        }
    }

    fn replay_base(
        &self,
        writer: &mut Writer,
        policy: &Policy,
        base: &Base,
    ) -> Result<(), FeedError> {
        let path = self.store.path("base");
        let broken = |error: FeedError| corrupt(&path, error);
        let note = Note::parse(&base.checkpoint)?;
        let found = note.text().lines().next().unwrap_or_default();
        if found != self.origin.as_str() {
            let (found, expected) = (found.to_owned(), self.origin.clone());
            return Err(FeedError::Foreign { path, found, expected });
        }
        let checkpoint = policy.log.verify(&note).map_err(|error| broken(error.into()))?;
        let size = checkpoint.size();
        let log: Log = self.store.leaves(size)?.into_iter().collect();
        if log.root() != checkpoint.root() {
            return Err(corrupt(&self.store.path("leaves"), "they do not lead to the signed root"));
        }
        let inclusion = log.inclusion_proof(size.saturating_sub(1), size)?;
        let head = verify_head(&self.origin, &checkpoint, &base.head, &inclusion);
        let head = head.map_err(|error| broken(error.into()))?;
        let signed = Arc::new(SignedHead { head, bytes: base.head.clone(), checkpoint });
        let mut directories = Vec::new();
        for (key, snapshot) in &base.snapshots {
            let Some(of) = signed.head.directory(key.epoch, key.audience) else { continue };
            let path = self.store.snapshot_path(*snapshot, *key);
            match self.store.load_snapshot(&path, *key, of.commitment) {
                Ok(map) => directories.push((*key, Directory::new(map, *snapshot))),
                Err(error) if self.config.publisher => return Err(corrupt(&path, error)),
                Err(error) => {
                    tracing::warn!(%error, %key, "a kept directory is damaged; it is fetched again");
                }
            }
        }
        let mut state = write(&self.state);
        state.log = log;
        state.directories = directories.into_iter().collect();
        state.show(signed);
        writer.base = size;
        Ok(())
    }

    /// Replays one tick; returns the bytes of its deltas.
    fn replay_tick(&self, policy: &Policy, size: u64) -> Result<u64, FeedError> {
        let tick = self.store.tick(size)?;
        let tick = tick.ok_or(FeedError::Gap { expected: size, found: size })?;
        let checkpoint = policy.log.verify(&Note::parse(&tick.checkpoint)?)?;
        let have = read(&self.state).size();
        if checkpoint.size() != size || size != have + 1 {
            return Err(FeedError::Gap { expected: have + 1, found: size });
        }
        let mut staged = Staged::begin(&self.state, size, &[]);
        let (root, inclusion) = staged.append(leaf_hash(&tick.head));
        if root != checkpoint.root() {
            return Err(FeedError::Inconsistent { have, size });
        }
        let head = verify_head(&self.origin, &checkpoint, &tick.head, &inclusion)?;
        let signed = Arc::new(SignedHead { head, bytes: tick.head.clone(), checkpoint });
        self.replay_rows(&mut staged, &tick, &signed)?;
        staged.commit(signed, false);
        Ok(tick.deltas.iter().map(|delta| delta.delta.len() as u64).sum())
    }

    fn replay_rows(
        &self,
        staged: &mut Staged,
        tick: &Tick,
        signed: &SignedHead,
    ) -> Result<(), FeedError> {
        let size = signed.size();
        let mut deltas = self.deltas(tick, signed)?;
        let before = read(&self.state).signed.clone();
        for directory in self.wanted(&signed.head) {
            let find =
                |head: &MapHead| head.directory(directory.epoch, directory.audience).cloned();
            let Some(head) = find(&signed.head) else { continue };
            let is_held = read(&self.state).directories.contains_key(&directory);
            if is_held {
                if let Some(delta) = deltas.remove(&directory) {
                    let applied = staged.apply(directory, &delta);
                    applied.map_err(|source| FeedError::Map { directory, source })?;
                }
                if staged.commitment(directory) != Some(head.commitment) {
                    return Err(FeedError::Directory { directory, size });
                }
            } else if before.as_ref().and_then(|before| find(&before.head)).is_none() {
                let path = self.store.snapshot_path(size, directory);
                let map = self.store.load_snapshot(&path, directory, head.commitment);
                staged.insert(directory, map.map_err(|error| corrupt(&path, error))?);
            }
            // A directory that was damaged in the base stays missing: the log goes on without it.
        }
        Ok(())
    }

    /// Lets a kept quorum stand again once its head has been replayed.
    fn settle_kept(&self, policy: &Policy, kept: Option<&str>) {
        let Some(kept) = kept else { return };
        let state = read(&self.state);
        let Some(signed) = state.signed.clone() else { return };
        // Believed when it was kept; the floor remembers until when.
        let elapsed = self.env.elapsed_millis();
        let now: Timestamp = state.floor.now(self.env.now(), elapsed);
        drop(state);
        let settled = Note::parse(kept)
            .ok()
            .and_then(|note| policy.log.verify(&note).ok())
            .filter(|one| one.size() == signed.size() && one.root() == signed.checkpoint.root())
            .and_then(|checkpoint| assess(policy, signed, checkpoint, now).ok());
        if let Some(quorum) = settled {
            let mut state = write(&self.state);
            let kept = state.floor.proven(elapsed).max(quorum.freshness.quorum_time());
            state.floor = RunningFloor::resume(kept, elapsed);
            state.settle(quorum);
        }
    }

    /// Takes the sealed keys and tables that are kept.
    fn replay_beside(&self) -> Result<(), FeedError> {
        for (key, body) in self.store.beside("profiles")? {
            let sealed = SealedProfiles::new(body.to_vec());
            let hash = sealed.hash();
            if let Some(held) = write(&self.state).directories.get_mut(&key) {
                let heads = [&held.signed, &held.quorum];
                if heads.into_iter().flatten().any(|head| head.profiles == hash) {
                    held.tables.push(Table { hash, sealed, opened: None });
                }
            }
        }
        for (directory, body) in self.store.beside("keys")? {
            let Ok(key) = SealedAudienceKey::from_bytes(&body) else { continue };
            let state = read(&self.state);
            let Some(commitment) = state.directories.get(&directory).map(commitment_of) else {
                continue;
            };
            drop(state);
            match self.open_key(&key, commitment) {
                Err(error) => tracing::warn!(%error, "a kept audience key does not open"),
                Ok(opened) => self.restore_key(directory, key, opened),
            }
        }
        Ok(())
    }

    fn restore_key(
        &self,
        directory: DirectoryKey,
        key: SealedAudienceKey,
        opened: Option<AudienceKey>,
    ) {
        if let Some(held) = write(&self.state).directories.get_mut(&directory) {
            held.sealed_keys.insert(key.recipient, key.bytes.into());
            self.install_key(directory, held, opened);
        }
    }
}

/// The size before the first tick of the unbroken run that reaches `base`.
fn first_of_run(ticks: &[u64], base: u64) -> Option<u64> {
    let mut expected = base;
    for size in ticks.iter().rev().filter(|size| **size <= base) {
        if *size != expected {
            break;
        }
        expected = size.checked_sub(1)?;
    }
    Some(expected)
}

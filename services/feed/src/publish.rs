//! What an authority publishes goes the same way as what a follower receives: persisted, read back, verified, and only
//! then signed and shown.
//!
//! ```text
//! prepare: apply (nobody sees it) → head → draft on disk → read back → the checkpoint to sign
//! publish: verify the signature → tick on disk → visible, sent to followers
//! ```
//!
//! After a crash in between, [`Mirror::unsigned`] gives the same checkpoint again: nothing else may be signed for its
//! size, as the signature may already have left.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::head::{DirectoryHead, MapHead, verify_head};
use lanyard_core::ids::{Epoch, Hash, Timestamp};
use lanyard_core::log::{InclusionProof, leaf_hash};
use lanyard_core::map::{Delta, Map, Row, depth_for};
use lanyard_core::profile::SealedProfiles;
use lanyard_wire::feed::v1::{DirectoryDelta, DirectoryId, Tick};

use crate::intake::directory_key;
use crate::manifests::Policy;
use crate::mirror::{Mirror, Writer};
use crate::stage::Staged;
use crate::state::{DirectoryKey, SignedHead, Table, read};
use crate::store::corrupt;
use crate::{Applied, FeedError};

/// A tick that an authority wants to sign.
pub struct Draft {
    /// The authority's time.
    pub time: Timestamp,
    /// The manifest that it works under.
    pub manifest: Hash,
    /// The epoch that is live.
    pub live_epoch: Epoch,
    /// All directories of the new head; one that is left out ends.
    pub directories: Vec<DirectoryDraft>,
}

/// One directory of a tick that an authority wants to sign.
pub struct DirectoryDraft {
    /// Which one.
    pub key: DirectoryKey,
    /// Its rows.
    pub content: Content,
    /// Its profile table, if it is new or changed.
    pub profiles: Option<SealedProfiles>,
}

/// The rows of a directory.
pub enum Content {
    /// As before.
    Unchanged,
    /// As before, but for this.
    Delta(Delta),
    /// All of them.
    New {
        /// The rows, in any order; ascending order is fastest.
        rows: Vec<Row>,
        /// Commitment of the audience key.
        audience_key: Hash,
    },
}

/// A tick that waits for its signature.
pub(crate) struct Pending {
    staged: Staged,
    inclusion: InclusionProof,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tick: Tick,
    pub(crate) tables: Vec<(DirectoryKey, Table)>,
}

impl Mirror {
    /// Applies a draft where nobody sees it, makes it durable, reads it back, and returns the checkpoint to sign. Blocks on
    /// the disk, as [`Mirror::publish`] does.
    ///
    /// # Errors
    /// [`FeedError::Unsigned`] if another waits; [`FeedError::UnknownDirectory`] for a directory that is neither new nor
    /// here, or new without a profile table; [`FeedError::Map`], [`FeedError::Head`], [`FeedError::Disk`]. Nothing has
    /// changed then.
    pub fn prepare(&self, draft: Draft) -> Result<Checkpoint, FeedError> {
        let mut writer = self.lock();
        if writer.pending.is_none() {
            // One that failed on its way may be signed already.
            self.restage(&mut writer)?;
        }
        if let Some(pending) = &writer.pending {
            return Err(FeedError::Unsigned { size: pending.checkpoint.size() });
        }
        let size = read(&self.state).size() + 1;
        let mut staged = Staged::begin(&self.state, size, &[]);
        let mut head = MapHead {
            event: self.manifests.current().event.clone(),
            authority: self.authority(),
            size,
            time: draft.time,
            manifest: draft.manifest,
            live_epoch: draft.live_epoch,
            directories: Vec::with_capacity(draft.directories.len()),
        };
        let mut tick = Tick::default();
        let mut tables = Vec::new();
        for directory in draft.directories {
            let key = directory.key;
            let profiles = directory.profiles.as_ref().map(SealedProfiles::hash);
            if let Content::Delta(delta) = &directory.content {
                tick.deltas.push(DirectoryDelta {
                    directory: Some(DirectoryId::of(key.epoch, key.audience)),
                    delta: delta.to_bytes().into(),
                });
            }
            head.directories.push(self.stage_content(
                &mut staged,
                key,
                directory.content,
                profiles,
            )?);
            if let Some(sealed) = directory.profiles {
                tables.extend(self.table_to_publish(key, sealed)?);
            }
        }
        head.directories.sort_by_key(DirectoryKey::of);
        tick.head = Bytes::from(head.to_bytes()?);
        for (key, table) in &tables {
            self.store.put_table(*key, &table.sealed)?;
        }
        self.store.put_draft(&tick)?;
        if self.store.draft()?.as_ref() != Some(&tick) {
            return Err(corrupt(&self.store.path("draft"), "what was written does not read back"));
        }
        let (root, inclusion) = staged.append(leaf_hash(&tick.head));
        let checkpoint = Checkpoint::new(&self.origin, size, root);
        let prepared = checkpoint.clone();
        writer.pending = Some(Pending { staged, inclusion, checkpoint, tick, tables });
        Ok(prepared)
    }

    /// Stages the rows of one directory, and says what the head says of it.
    fn stage_content(
        &self,
        staged: &mut Staged,
        key: DirectoryKey,
        content: Content,
        profiles: Option<Hash>,
    ) -> Result<DirectoryHead, FeedError> {
        let unknown = || FeedError::UnknownDirectory { directory: key };
        let refused = |source| FeedError::Map { directory: key, source };
        let before = || {
            let state = read(&self.state);
            state.directories.get(&key).and_then(|held| held.signed.clone())
        };
        let (audience_key, profiles) = match content {
            Content::New { rows, audience_key } => {
                let size = read(&self.state).size() + 1;
                let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                let map = Map::build(depth_for(count), rows).map_err(refused)?;
                let commitment = map.commitment();
                self.store.put_snapshot(size, key, &map)?;
                drop(map);
                let path = self.store.snapshot_path(size, key);
                staged.insert(key, self.store.load_snapshot(&path, key, commitment)?);
                (audience_key, profiles.ok_or_else(unknown)?)
            }
            Content::Delta(delta) => {
                let before = before().ok_or_else(unknown)?;
                staged.apply(key, &delta).map_err(refused)?;
                (before.audience_key, profiles.unwrap_or(before.profiles))
            }
            Content::Unchanged => {
                let before = before().ok_or_else(unknown)?;
                (before.audience_key, profiles.unwrap_or(before.profiles))
            }
        };
        let commitment = staged.commitment(key).ok_or_else(unknown)?;
        let DirectoryKey { epoch, audience } = key;
        Ok(DirectoryHead { epoch, audience, commitment, audience_key, profiles })
    }

    fn table_to_publish(
        &self,
        key: DirectoryKey,
        sealed: SealedProfiles,
    ) -> Result<Option<(DirectoryKey, Table)>, FeedError> {
        let hash = sealed.hash();
        let state = read(&self.state);
        let held = state.directories.get(&key);
        if held.is_some_and(|held| held.tables.iter().any(|table| table.hash == hash)) {
            return Ok(None);
        }
        let audience_key = held.and_then(|held| held.key.clone());
        drop(state);
        let opened = self.open_table(key, &sealed, audience_key.as_deref())?;
        Ok(Some((key, Table { hash, sealed, opened })))
    }

    /// The checkpoint of a tick that is prepared and not published. After a restart it must be signed as it is.
    #[must_use]
    pub fn unsigned(&self) -> Option<Checkpoint> {
        self.lock().pending.as_ref().map(|pending| pending.checkpoint.clone())
    }

    /// Makes the prepared tick durable with its signature, then visible, then sends it to followers.
    ///
    /// # Errors
    /// [`FeedError::NotPrepared`] if the checkpoint is another, [`FeedError::Checkpoint`] if it is not signed with the
    /// manifest's key, or [`FeedError::Disk`]; the tick still waits then.
    pub fn publish(&self, checkpoint: &VerifiedCheckpoint) -> Result<Applied, FeedError> {
        let mut writer = self.lock();
        let Some(pending) = writer.pending.take() else { return Err(FeedError::NotPrepared) };
        let applied = self.publish_pending(&mut writer, pending, checkpoint)?;
        self.tidy(&mut writer);
        Ok(applied)
    }

    fn publish_pending(
        &self,
        writer: &mut Writer,
        pending: Pending,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Applied, FeedError> {
        match self.sign_pending(&pending, checkpoint) {
            Err(error) => {
                writer.pending = Some(pending);
                Err(error)
            }
            Ok(signed) => {
                let size = signed.size();
                let Pending { staged, mut tick, tables, .. } = pending;
                tick.checkpoint = checkpoint.note().to_string();
                let policy = self.policy();
                let is_first = read(&self.state).signed.is_none();
                if let Err(error) = self.commit(writer, staged, signed, tick, tables, is_first) {
                    // The draft is still on disk, and the rows are taken back: stage them again.
                    self.restage(writer)?;
                    return Err(error);
                }
                let settled = self.store.remove_draft().and_then(|()| {
                    self.adopt(&policy, checkpoint)?;
                    Ok(())
                });
                if let Err(error) = settled {
                    tracing::warn!(%error, size, "published, but not tidied up");
                }
                Ok(Applied::Tick { size })
            }
        }
    }

    fn sign_pending(
        &self,
        pending: &Pending,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Arc<SignedHead>, FeedError> {
        if *checkpoint.checkpoint() != pending.checkpoint {
            return Err(FeedError::NotPrepared);
        }
        let policy: Policy = self.policy();
        let checkpoint = policy.log.verify(checkpoint.note())?;
        let bytes = pending.tick.head.clone();
        let head = verify_head(&self.origin, &checkpoint, &bytes, &pending.inclusion)?;
        Ok(Arc::new(SignedHead { head, bytes, checkpoint }))
    }

    /// What becomes of a prepared tick when a signed one arrives, as after a restored backup: if it is the same one, it is
    /// published; if not, it was never signed and makes way.
    pub(crate) fn settle_pending(
        &self,
        writer: &mut Writer,
        arrived: &VerifiedCheckpoint,
    ) -> Result<Option<Applied>, FeedError> {
        let Some(pending) = writer.pending.take() else { return Ok(None) };
        if *arrived.checkpoint() == pending.checkpoint {
            return self.publish_pending(writer, pending, arrived).map(Some);
        }
        tracing::warn!(
            size = arrived.size(),
            "a prepared tick was never signed, but another was; the prepared one is dropped"
        );
        drop(pending);
        self.store.remove_draft()?;
        Ok(None)
    }

    /// Stages the draft that is on disk, if it is the next tick.
    pub(crate) fn restage(&self, writer: &mut Writer) -> Result<(), FeedError> {
        let path = self.store.path("draft");
        let Some(tick) = self.store.draft()? else { return Ok(()) };
        let head = MapHead::from_bytes(&tick.head)?;
        let size = read(&self.state).size() + 1;
        if head.size != size {
            // Published already.
            return self.store.remove_draft();
        }
        let mut deltas = BTreeMap::new();
        for delta in &tick.deltas {
            let key = directory_key(delta.directory.as_ref())?;
            let delta = Delta::from_bytes(&delta.delta).map_err(|error| corrupt(&path, error))?;
            deltas.insert(key, delta);
        }
        let kept = self.store.beside("profiles")?;
        let mut staged = Staged::begin(&self.state, size, &[]);
        let mut tables = Vec::new();
        for directory in &head.directories {
            let key = DirectoryKey::of(directory);
            if !read(&self.state).directories.contains_key(&key) {
                let path = self.store.snapshot_path(size, key);
                let map = self.store.load_snapshot(&path, key, directory.commitment);
                staged.insert(key, map.map_err(|error| corrupt(&path, error))?);
            } else if let Some(delta) = deltas.get(&key) {
                let applied = staged.apply(key, delta);
                applied.map_err(|source| FeedError::Map { directory: key, source })?;
            }
            if staged.commitment(key) != Some(directory.commitment) {
                return Err(corrupt(&path, "its rows are not those of its head"));
            }
            for (_, sealed) in kept.iter().filter(|(of, _)| *of == key) {
                let sealed = SealedProfiles::new(sealed.to_vec());
                if sealed.hash() == directory.profiles {
                    tables.extend(self.table_to_publish(key, sealed)?);
                }
            }
        }
        let (root, inclusion) = staged.append(leaf_hash(&tick.head));
        let checkpoint = Checkpoint::new(&self.origin, size, root);
        writer.pending = Some(Pending { staged, inclusion, checkpoint, tick, tables });
        Ok(())
    }
}

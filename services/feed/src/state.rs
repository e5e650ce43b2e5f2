//! What a mirror knows, all of it verified, and how it is read.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::freshness::{Freshness, RunningFloor};
use lanyard_core::head::{DirectoryHead, VerifiedHead};
use lanyard_core::ids::{Audience, Epoch, Hash};
use lanyard_core::log::Log;
use lanyard_core::map::Map;
use lanyard_core::profile::{ProfileTable, SealedProfiles};

use crate::overlay::Overlay;

/// Heads that can still become the newest with a quorum: as many ticks as witnesses may lag behind.
pub(crate) const RECENT_HEADS: usize = 64;

/// Names a directory of one authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryKey {
    /// Its epoch.
    pub epoch: Epoch,
    /// Whom it is for.
    pub audience: Audience,
}

impl DirectoryKey {
    /// The directory of an epoch and audience.
    #[must_use]
    pub const fn new(epoch: Epoch, audience: Audience) -> Self {
        Self { epoch, audience }
    }

    pub(crate) const fn of(head: &DirectoryHead) -> Self {
        Self::new(head.epoch, head.audience)
    }
}

impl fmt::Display for DirectoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory for {} in epoch {}", self.audience, self.epoch)
    }
}

/// A map head under the authority's signature.
#[derive(Debug)]
pub struct SignedHead {
    pub(crate) head: VerifiedHead,
    pub(crate) bytes: Bytes,
    pub(crate) checkpoint: VerifiedCheckpoint,
}

impl SignedHead {
    /// The head.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// Its encoding: the leaf of the log.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The checkpoint as it was received first, with the authority's signature.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The size of the log with this head.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.size
    }
}

/// A map head that a quorum of witnesses cosigned.
#[derive(Debug, Clone)]
pub struct QuorumHead {
    pub(crate) signed: Arc<SignedHead>,
    pub(crate) checkpoint: VerifiedCheckpoint,
    pub(crate) freshness: Freshness,
}

impl QuorumHead {
    /// The head.
    #[must_use]
    pub fn signed(&self) -> &Arc<SignedHead> {
        &self.signed
    }

    /// The checkpoint with its cosignatures.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The times that it is worth.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The size of the log with this head.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.signed.size()
    }
}

/// A head after the newest with a quorum, and the cosignatures that have arrived for it.
pub(crate) struct Recent {
    pub(crate) signed: Arc<SignedHead>,
    /// With cosignatures, once some were taken.
    pub(crate) cosigned: Option<VerifiedCheckpoint>,
}

/// A sealed profile table, opened if this party can.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) hash: Hash,
    pub(crate) sealed: SealedProfiles,
    pub(crate) opened: Option<Arc<ProfileTable>>,
}

/// One directory. Its map is the newest state staged; what readers see is behind the overlay until it is committed.
pub(crate) struct Directory {
    pub(crate) map: Map,
    pub(crate) overlay: Overlay,
    /// What the newest signed head says of it; `None` once that head leaves it out.
    pub(crate) signed: Option<DirectoryHead>,
    /// What the newest head with a quorum says of it.
    pub(crate) quorum: Option<DirectoryHead>,
    pub(crate) key: Option<Arc<AudienceKey>>,
    /// Audience keys by recipient, as they travel.
    pub(crate) sealed_keys: BTreeMap<String, Bytes>,
    /// The tables of the heads that can still be read.
    pub(crate) tables: Vec<Table>,
    /// The size of the log at which the snapshot on disk was made, and whether rows changed since.
    pub(crate) snapshot: u64,
    pub(crate) changed: bool,
}

impl Directory {
    pub(crate) fn new(map: Map, snapshot: u64) -> Self {
        Self {
            map,
            overlay: Overlay::default(),
            signed: None,
            quorum: None,
            key: None,
            sealed_keys: BTreeMap::new(),
            tables: Vec::new(),
            snapshot,
            changed: false,
        }
    }

    pub(crate) fn table(&self, head: Option<&DirectoryHead>) -> Option<&Arc<ProfileTable>> {
        let hash = head?.profiles;
        self.tables.iter().find(|table| table.hash == hash)?.opened.as_ref()
    }

    /// Whether the table of the newest signed head is here.
    pub(crate) fn has_table(&self) -> bool {
        let hash = self.signed.as_ref().map(|head| head.profiles);
        hash.is_none_or(|hash| self.tables.iter().any(|table| table.hash == hash))
    }
}

/// All that a mirror knows.
#[derive(Default)]
pub(crate) struct State {
    /// Leaves past the newest signed size belong to a tick being staged.
    pub(crate) log: Log,
    pub(crate) signed: Option<Arc<SignedHead>>,
    pub(crate) quorum: Option<Arc<QuorumHead>>,
    /// By ascending size, all after the quorum's.
    pub(crate) recent: VecDeque<Recent>,
    pub(crate) directories: BTreeMap<DirectoryKey, Directory>,
    pub(crate) floor: RunningFloor,
}

impl State {
    /// The size of the newest signed head, or 0.
    pub(crate) fn size(&self) -> u64 {
        self.signed.as_ref().map_or(0, |signed| signed.size())
    }

    pub(crate) fn quorum_size(&self) -> u64 {
        self.quorum.as_ref().map_or(0, |quorum| quorum.size())
    }

    /// Makes a head that is staged the newest signed one.
    pub(crate) fn show(&mut self, signed: Arc<SignedHead>) {
        for (key, directory) in &mut self.directories {
            directory.signed = signed.head.directory(key.epoch, key.audience).cloned();
        }
        self.recent.push_back(Recent { signed: Arc::clone(&signed), cosigned: None });
        self.signed = Some(signed);
        // Now and then only, as it takes longer the more has changed.
        if self.recent.len() > 2 * RECENT_HEADS {
            self.recent.drain(..self.recent.len() - RECENT_HEADS);
            let oldest = self.recent.front().map_or(0, |recent| recent.signed.size());
            for directory in self.directories.values_mut() {
                directory.overlay.squash(oldest);
            }
        }
        self.drop_unlisted();
    }

    /// Makes a head the newest with a quorum; its size is that of a recent one, or the quorum's own.
    ///
    /// It extends the one before, so what is known is no older than it was: one witness whose clock is behind, without which there
    /// is no quorum yet, ages nothing.
    pub(crate) fn settle(&mut self, mut quorum: QuorumHead) {
        if let Some(before) = &self.quorum {
            quorum.freshness = quorum.freshness.newer(before.freshness);
        }
        let size = quorum.size();
        for (key, directory) in &mut self.directories {
            directory.overlay.forget_before(size);
            directory.quorum = quorum.signed.head.directory(key.epoch, key.audience).cloned();
        }
        self.recent.retain(|recent| recent.signed.size() > size);
        self.quorum = Some(Arc::new(quorum));
        self.drop_unlisted();
    }

    /// Forgets directories and tables that no head names that can still be read.
    fn drop_unlisted(&mut self) {
        let recent: Vec<_> = self.recent.iter().map(|recent| Arc::clone(&recent.signed)).collect();
        self.directories.retain(|key, directory| {
            let listed = |signed: &Arc<SignedHead>| {
                signed.head.directory(key.epoch, key.audience).map(|head| head.profiles)
            };
            let mut hashes: Vec<Hash> = recent.iter().filter_map(listed).collect();
            hashes.extend(
                [&directory.signed, &directory.quorum].into_iter().flatten().map(|h| h.profiles),
            );
            directory.tables.retain(|table| hashes.contains(&table.hash));
            directory.signed.is_some() || directory.quorum.is_some()
        });
    }
}

pub(crate) fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    // A writer that panicked has taken its changes back: see `Staged`.
    state.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write(state: &RwLock<State>) -> RwLockWriteGuard<'_, State> {
    state.write().unwrap_or_else(PoisonError::into_inner)
}

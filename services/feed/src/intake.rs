//! Taking updates from a sender who may lie: parts are collected, and checked as a whole when their tick arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanyard_core::audience_key::SealedAudienceKey;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::ids::Hash;
use lanyard_core::note::Note;
use lanyard_core::profile::SealedProfiles;
use lanyard_wire::convert::WireError;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{
    Cosigned, DirectoryId, FollowResponse, LogLeaves, ManifestUpdate, Route, SealedKey,
    SealedProfiles as WireProfiles, SnapshotChunk,
};

use crate::events::Event;
use crate::incoming::Incoming;
use crate::manifests::Policy;
use crate::mirror::Mirror;
use crate::state::read;
use crate::{DirectoryKey, FeedError};

/// Leaves that are collected at most: years of ticks, 128 MiB.
const MAX_LEAVES: usize = 1 << 22;

/// Bytes of one snapshot: eight million rows.
const MAX_SNAPSHOT_BYTES: u64 = 512 * 1024 * 1024;

/// Snapshots that are collected at most: those of one head.
const MAX_SNAPSHOTS: usize = 6;

/// Audience keys and profile tables that are collected until their directory is known.
const MAX_KEYS: usize = 4_096;
const MAX_TABLES: usize = 32;

/// Bytes of one sealed profile table, one box, one recipient's name.
const MAX_TABLE_BYTES: usize = 4 * 1024 * 1024;
const MAX_BOX_BYTES: usize = 4_096;
const MAX_RECIPIENT_BYTES: usize = 256;

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// A newer signed state is visible.
    Tick {
        /// The size of the log.
        size: u64,
    },
    /// Nothing new was in it.
    Known {
        /// The size of the log that it speaks of.
        size: u64,
    },
    /// Cosignatures were added to the checkpoint of this size.
    Cosigned {
        /// The size of the log.
        size: u64,
        /// Whether a quorum stands behind it.
        quorum: bool,
    },
    /// A part of something that is not whole yet.
    Part {
        /// Its bytes.
        bytes: usize,
    },
    /// A manifest, a sealed key, a profile table or a route was taken.
    Beside,
    /// It is of no use here.
    Ignored,
}

/// A snapshot being received.
pub(crate) struct Received {
    pub(crate) size: u64,
    pub(crate) incoming: Incoming,
    pub(crate) whole: bool,
}

/// The updates of one stream. After an error what was collected is dropped; what is visible never changed.
pub struct Intake {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) sender: String,
    /// Leaf hashes from `start` on.
    pub(crate) start: u64,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) snapshots: BTreeMap<DirectoryKey, Received>,
    pub(crate) tables: Vec<(DirectoryKey, SealedProfiles)>,
    pub(crate) keys: Vec<SealedAudienceKey>,
    /// How the feed comes to the sender.
    pub(crate) route: Vec<u64>,
    /// The largest size that came with the cosignatures of a quorum, new to the mirror or not.
    pub(crate) quorum_size: u64,
    /// Whether it may come by way of this mirror.
    pub(crate) may_follow_back: bool,
}

impl Intake {
    pub(crate) fn new(mirror: Arc<Mirror>, sender: &str) -> Self {
        Self {
            mirror,
            sender: sender.to_owned(),
            start: 0,
            leaves: Vec::new(),
            snapshots: BTreeMap::new(),
            tables: Vec::new(),
            keys: Vec::new(),
            route: Vec::new(),
            quorum_size: 0,
            may_follow_back: false,
        }
    }

    /// The mirror that it feeds.
    #[must_use]
    pub fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// Verifies an update; if it completes something, makes that durable, then visible. Blocks on the disk.
    ///
    /// # Errors
    /// [`FeedError`]; nothing visible has changed.
    pub fn apply(&mut self, response: FollowResponse) -> Result<Applied, FeedError> {
        let update = response.update.ok_or(WireError::Missing { field: "update" });
        let applied = update.map_err(FeedError::from).and_then(|update| self.update(update));
        if applied.is_err() {
            self.reset();
        }
        applied
    }

    fn update(&mut self, update: Update) -> Result<Applied, FeedError> {
        match update {
            Update::Manifest(manifest) => self.manifest(manifest),
            Update::Leaves(leaves) => self.leaves(&leaves),
            Update::Snapshot(chunk) => self.chunk(&chunk),
            Update::Tick(tick) => self.tick(tick),
            Update::Cosigned(cosigned) => self.cosigned(&cosigned),
            Update::Key(key) => self.key(key),
            Update::Profiles(profiles) => self.profiles(profiles),
            Update::Route(route) => self.route(route),
        }
    }

    fn reset(&mut self) {
        self.leaves.clear();
        self.snapshots.clear();
        self.tables.clear();
        self.keys.clear();
    }

    fn manifest(&mut self, update: ManifestUpdate) -> Result<Applied, FeedError> {
        let mirror = &self.mirror;
        let before = mirror.manifests.current().version;
        if mirror.manifests.accept(&update.note)?.version == before {
            return Ok(Applied::Ignored);
        }
        mirror.events.push(Event::manifest(update));
        Ok(Applied::Beside)
    }

    fn leaves(&mut self, leaves: &LogLeaves) -> Result<Applied, FeedError> {
        let (hashes, rest) = leaves.hashes.as_chunks::<{ Hash::SIZE }>();
        if !rest.is_empty() {
            let (expected, found) = (hashes.len() * Hash::SIZE, leaves.hashes.len());
            return Err(WireError::Size { field: "leaves.hashes", expected, found }.into());
        }
        if self.leaves.is_empty() {
            self.start = leaves.start;
        }
        let expected = self.start + self.leaves.len() as u64;
        if leaves.start != expected {
            return Err(FeedError::Gap { expected, found: leaves.start });
        }
        if self.leaves.len() + hashes.len() > MAX_LEAVES {
            return Err(FeedError::TooMuch { what: "leaves", limit: MAX_LEAVES as u64 });
        }
        self.leaves.extend(hashes.iter().map(|hash| Hash::new(*hash)));
        Ok(Applied::Part { bytes: leaves.hashes.len() })
    }

    fn chunk(&mut self, chunk: &SnapshotChunk) -> Result<Applied, FeedError> {
        let key = directory_key(chunk.directory.as_ref())?;
        if !self.mirror.config.audiences.contains(&key.audience) {
            return Ok(Applied::Ignored);
        }
        if self.snapshots.len() >= MAX_SNAPSHOTS && !self.snapshots.contains_key(&key) {
            let limit = MAX_SNAPSHOTS as u64;
            return Err(FeedError::TooMuch { what: "snapshots at once", limit });
        }
        if !self.snapshots.contains_key(&key) {
            let incoming = self.mirror.store.incoming(key)?;
            let received = Received { size: chunk.log_size, incoming, whole: false };
            self.snapshots.insert(key, received);
        }
        let Some(received) = self.snapshots.get_mut(&key) else { return Ok(Applied::Ignored) };
        if received.whole || received.size != chunk.log_size {
            return Err(FeedError::Order { what: "parts of two snapshots of one directory" });
        }
        if received.incoming.len() + chunk.data.len() as u64 > MAX_SNAPSHOT_BYTES {
            let limit = MAX_SNAPSHOT_BYTES;
            return Err(FeedError::TooMuch { what: "bytes of a snapshot", limit });
        }
        received.incoming.push(&chunk.data)?;
        received.whole = chunk.last;
        Ok(Applied::Part { bytes: chunk.data.len() })
    }

    fn cosigned(&mut self, cosigned: &Cosigned) -> Result<Applied, FeedError> {
        let policy = self.mirror.policy();
        let checkpoint = policy.log.verify(&Note::parse(&cosigned.checkpoint)?)?;
        let applied = self.mirror.take_cosigned(&policy, &checkpoint, &self.sender)?;
        self.note_quorum(&policy, &checkpoint)?;
        Ok(applied)
    }

    /// Notes for what size this sender brought a quorum.
    pub(crate) fn note_quorum(
        &mut self,
        policy: &Policy,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<(), FeedError> {
        if checkpoint.size() > self.quorum_size && policy.has_quorum(checkpoint)? {
            self.quorum_size = checkpoint.size();
        }
        Ok(())
    }

    fn key(&mut self, key: SealedKey) -> Result<Applied, FeedError> {
        let directory = directory_key(key.directory.as_ref())?;
        if key.sealed.len() > MAX_BOX_BYTES || key.recipient.len() > MAX_RECIPIENT_BYTES {
            let limit = MAX_BOX_BYTES as u64;
            return Err(FeedError::TooMuch { what: "bytes of an audience key", limit });
        }
        let key = SealedAudienceKey {
            authority: self.mirror.authority(),
            audience: directory.audience,
            epoch: directory.epoch,
            recipient: key.recipient,
            bytes: key.sealed,
        };
        if !self.mirror.is_wanted_key(&key) {
            return Ok(Applied::Ignored);
        }
        let writer = self.mirror.lock();
        if read(&self.mirror.state).directories.contains_key(&directory) {
            return self.mirror.attach_key(&writer, key);
        }
        drop(writer);
        if self.keys.len() >= MAX_KEYS {
            return Err(FeedError::TooMuch { what: "audience keys", limit: MAX_KEYS as u64 });
        }
        self.keys.push(key);
        Ok(Applied::Part { bytes: MAX_BOX_BYTES })
    }

    fn profiles(&mut self, profiles: WireProfiles) -> Result<Applied, FeedError> {
        let key = directory_key(profiles.directory.as_ref())?;
        if !self.mirror.config.audiences.contains(&key.audience) {
            return Ok(Applied::Ignored);
        }
        if profiles.sealed.len() > MAX_TABLE_BYTES {
            let limit = MAX_TABLE_BYTES as u64;
            return Err(FeedError::TooMuch { what: "bytes of a profile table", limit });
        }
        let bytes = profiles.sealed.len();
        let sealed = SealedProfiles::new(profiles.sealed);
        let writer = self.mirror.lock();
        if let Some(applied) = self.mirror.attach_table(&writer, key, &sealed)? {
            return Ok(applied);
        }
        drop(writer);
        if self.tables.len() >= MAX_TABLES {
            return Err(FeedError::TooMuch { what: "profile tables", limit: MAX_TABLES as u64 });
        }
        self.tables.push((key, sealed));
        Ok(Applied::Part { bytes })
    }

    fn route(&mut self, route: Route) -> Result<Applied, FeedError> {
        match self.mirror.route.check(&route.mirrors) {
            Err(FeedError::Circle) if self.may_follow_back => {}
            checked => checked?,
        }
        self.route = route.mirrors;
        Ok(Applied::Beside)
    }
}

/// Reads a directory's name.
pub(crate) fn directory_key(id: Option<&DirectoryId>) -> Result<DirectoryKey, FeedError> {
    let id = id.ok_or(WireError::Missing { field: "directory" })?;
    let (epoch, audience) = id.parts()?;
    Ok(DirectoryKey::new(epoch, audience))
}

//! Reading a mirror: heads, directories, records, keys and tables at one moment.

use std::sync::{Arc, RwLockReadGuard};

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::freshness::RunningFloor;
use lanyard_core::head::DirectoryHead;
use lanyard_core::ids::{Audience, Epoch, Handle, Timestamp};
use lanyard_core::log::Log;
use lanyard_core::map::Row;
use lanyard_core::profile::{ProfileTable, SealedProfiles};
use lanyard_core::record::SealedRecord;

use crate::state::{Directory, DirectoryKey, QuorumHead, SignedHead, State};

/// What a directory holds under a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The head does not list the directory: nothing is known.
    Missing,
    /// The directory has no record of the handle.
    Absent,
    /// The record.
    Found(SealedRecord),
}

impl From<Option<SealedRecord>> for Lookup {
    fn from(record: Option<SealedRecord>) -> Self {
        record.map_or(Self::Absent, Self::Found)
    }
}

/// The state of a mirror at one moment. Writers wait while it is held: look up, and let go. A thread that holds one must
/// not ask the mirror for anything else.
pub struct View<'a> {
    pub(crate) state: RwLockReadGuard<'a, State>,
}

impl View<'_> {
    /// Leaves of the log that the authority has signed.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.state.size()
    }

    /// The newest signed head.
    #[must_use]
    pub fn signed(&self) -> Option<&Arc<SignedHead>> {
        self.state.signed.as_ref()
    }

    /// The newest head that a quorum of witnesses cosigned.
    #[must_use]
    pub fn quorum(&self) -> Option<&Arc<QuorumHead>> {
        self.state.quorum.as_ref()
    }

    /// The size of the log with the newest head that a quorum cosigned, or 0.
    #[must_use]
    pub fn quorum_size(&self) -> u64 {
        self.state.quorum_size()
    }

    /// When what is known was last known to be true: the older of leaf time and quorum time.
    #[must_use]
    pub fn freshness(&self) -> Option<Timestamp> {
        self.state.quorum.as_ref().map(|quorum| quorum.freshness.time())
    }

    /// What keeps the clock from running behind the highest quorum time seen.
    #[must_use]
    pub fn clock_floor(&self) -> RunningFloor {
        self.state.floor
    }

    /// The log of map heads. Only leaves below [`View::size`] are signed.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.state.log
    }

    /// One directory, if a head that can be read lists it.
    #[must_use]
    #[inline]
    pub fn directory(&self, epoch: Epoch, audience: Audience) -> Option<DirectoryView<'_>> {
        let state = &*self.state;
        let directory = state.directories.get(&DirectoryKey::new(epoch, audience))?;
        Some(DirectoryView { directory, size: state.size(), quorum_size: state.quorum_size() })
    }

    /// The directories held.
    pub fn directories(&self) -> impl Iterator<Item = DirectoryKey> {
        self.state.directories.keys().copied()
    }

    /// Bytes of memory that directories and what is kept to read older states take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let directories = self.state.directories.values();
        directories.map(|one| one.map.memory_bytes() + one.overlay.memory_bytes()).sum()
    }
}

/// One directory at one moment.
#[derive(Clone, Copy)]
pub struct DirectoryView<'a> {
    directory: &'a Directory,
    size: u64,
    quorum_size: u64,
}

impl<'a> DirectoryView<'a> {
    /// What the newest signed head says of it.
    #[must_use]
    pub fn signed(&self) -> Option<&'a DirectoryHead> {
        self.directory.signed.as_ref()
    }

    /// What the newest head with a quorum says of it.
    #[must_use]
    pub fn quorum(&self) -> Option<&'a DirectoryHead> {
        self.directory.quorum.as_ref()
    }

    /// The record under the newest signed head. Stops are seen here first.
    #[must_use]
    #[inline]
    pub fn lookup_signed(&self, handle: &Handle) -> Lookup {
        if self.directory.signed.is_none() { Lookup::Missing } else { self.at(self.size, handle) }
    }

    /// The record under the newest head with a quorum. What improves a status is seen here only.
    #[must_use]
    #[inline]
    pub fn lookup_quorum(&self, handle: &Handle) -> Lookup {
        if self.directory.quorum.is_none() {
            Lookup::Missing
        } else {
            self.at(self.quorum_size, handle)
        }
    }

    #[inline]
    fn at(&self, size: u64, handle: &Handle) -> Lookup {
        let Directory { overlay, map, .. } = self.directory;
        overlay.before(size, handle).unwrap_or_else(|| map.get(handle)).into()
    }

    /// The audience key, if this party is a verifier that it was sealed to.
    #[must_use]
    pub fn audience_key(&self) -> Option<&'a AudienceKey> {
        self.directory.key.as_deref()
    }

    /// The audience key as it is sealed to one recipient.
    #[must_use]
    pub fn sealed_key(&self, recipient: &str) -> Option<&'a [u8]> {
        self.directory.sealed_keys.get(recipient).map(AsRef::as_ref)
    }

    /// The profile table of the newest signed head, if this party can open it.
    #[must_use]
    pub fn profiles_signed(&self) -> Option<&'a Arc<ProfileTable>> {
        self.directory.table(self.directory.signed.as_ref())
    }

    /// The profile table of the newest head with a quorum, if this party can open it.
    #[must_use]
    pub fn profiles_quorum(&self) -> Option<&'a Arc<ProfileTable>> {
        self.directory.table(self.directory.quorum.as_ref())
    }

    /// The sealed profile table of the newest signed head.
    #[must_use]
    pub fn sealed_profiles(&self) -> Option<&'a SealedProfiles> {
        let hash = self.directory.signed.as_ref()?.profiles;
        self.directory.tables.iter().find(|table| table.hash == hash).map(|table| &table.sealed)
    }

    /// All rows of the newest signed state by ascending handle; of use to the authority that published them.
    /// Rows of a tick that is prepared and not published are among them.
    pub fn rows(&self) -> impl Iterator<Item = Row> + use<'a> {
        self.directory.map.rows()
    }
}

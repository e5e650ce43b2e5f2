//! What travels beside the directories: audience keys and profile tables, sealed.

use std::sync::Arc;

use bytes::Bytes;
use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::ids::Hash;
use lanyard_core::profile::{ProfileTable, SealedProfiles};
use lanyard_wire::feed::v1::{DirectoryId, SealedKey};

use crate::commit::wire_profiles;
use crate::events::Event;
use crate::mirror::{Mirror, Writer};
use crate::state::{Directory, Table, read, write};
use crate::{Applied, DirectoryKey, FeedError};

impl Mirror {
    /// Publishes audience keys of directories that are published, sealed to their verifiers. Those that are here already
    /// are left as they are.
    ///
    /// # Errors
    /// [`FeedError::UnknownDirectory`], or [`FeedError::Disk`].
    pub fn publish_keys(&self, keys: Vec<SealedAudienceKey>) -> Result<(), FeedError> {
        let writer = self.lock();
        for key in keys {
            let directory = DirectoryKey::new(key.epoch, key.audience);
            let state = read(&self.state);
            let Some(held) = state.directories.get(&directory) else {
                return Err(FeedError::UnknownDirectory { directory });
            };
            let is_here = held.sealed_keys.contains_key(&key.recipient);
            drop(state);
            if !is_here {
                self.attach_key(&writer, key)?;
            }
        }
        Ok(())
    }

    /// Whether an audience key is of a mirrored audience and sealed to one of its verifiers.
    pub(crate) fn is_wanted_key(&self, key: &SealedAudienceKey) -> bool {
        let manifest = self.manifests.current();
        let verifier = manifest.verifier(&key.recipient);
        let is_verifier = verifier.is_some_and(|one| one.audiences.contains(&key.audience));
        self.config.audiences.contains(&key.audience)
            && (is_verifier || key.recipient == self.own_id())
    }

    /// Takes the key of a directory that is held. One that is not for this party cannot be checked here: its recipient
    /// will, and the newest that came stays.
    pub(crate) fn attach_key(
        &self,
        _: &Writer,
        key: SealedAudienceKey,
    ) -> Result<Applied, FeedError> {
        let directory = DirectoryKey::new(key.epoch, key.audience);
        let state = read(&self.state);
        let Some(held) = state.directories.get(&directory) else { return Ok(Applied::Ignored) };
        let kept = held.sealed_keys.get(&key.recipient);
        let is_open = held.key.is_some() && kept.is_some();
        if kept.is_some_and(|kept| *kept == key.bytes) || (is_open && self.is_own(&key)) {
            return Ok(Applied::Ignored);
        }
        let commitment = commitment_of(held);
        drop(state);
        let opened = self.open_key(&key, commitment)?;
        self.store.put_key(&key)?;
        let recipient = key.recipient.clone();
        let event = Event::Key(
            directory,
            SealedKey {
                directory: Some(DirectoryId::of(key.epoch, key.audience)),
                recipient: key.recipient,
                sealed: key.bytes.clone(),
            },
        );
        let mut state = write(&self.state);
        if let Some(held) = state.directories.get_mut(&directory) {
            held.sealed_keys.insert(recipient, Bytes::from(key.bytes));
            self.install_key(directory, held, opened);
        }
        drop(state);
        self.events.push(event);
        Ok(Applied::Beside)
    }

    /// Opens a key that is sealed to this party, and compares it with the head's commitment.
    pub(crate) fn open_key(
        &self,
        key: &SealedAudienceKey,
        commitment: Option<Hash>,
    ) -> Result<Option<AudienceKey>, FeedError> {
        let own = self.config.recipient.as_ref().filter(|_| self.is_own(key));
        let (Some(own), Some(commitment)) = (own, commitment) else { return Ok(None) };
        let manifest = self.manifests.current();
        Ok(Some(key.open(&own.key, &manifest.event, &commitment)?))
    }

    /// Gives a directory its key, and opens its tables.
    pub(crate) fn install_key(
        &self,
        key: DirectoryKey,
        held: &mut Directory,
        opened: Option<AudienceKey>,
    ) {
        let Some(opened) = opened else { return };
        for table in &mut held.tables {
            match self.open_table(key, &table.sealed, Some(&opened)) {
                Ok(profiles) => table.opened = profiles,
                // The authority committed to a table that nobody can open: its gates stay undetermined.
                Err(error) => tracing::error!(%error, "a profile table does not open"),
            }
        }
        held.key = Some(Arc::new(opened));
    }

    pub(crate) fn open_table(
        &self,
        directory: DirectoryKey,
        sealed: &SealedProfiles,
        key: Option<&AudienceKey>,
    ) -> Result<Option<Arc<ProfileTable>>, FeedError> {
        let Some(key) = key else { return Ok(None) };
        match sealed.open(key, &self.origin, directory.epoch) {
            Ok(profiles) => Ok(Some(Arc::new(profiles))),
            Err(source) => Err(FeedError::Profiles { directory, source }),
        }
    }

    /// Takes a table that a readable head of a held directory names; `None` if there is no such head.
    pub(crate) fn attach_table(
        &self,
        _: &Writer,
        key: DirectoryKey,
        sealed: &SealedProfiles,
    ) -> Result<Option<Applied>, FeedError> {
        let hash = sealed.hash();
        let state = read(&self.state);
        let Some(held) = state.directories.get(&key) else { return Ok(None) };
        if held.tables.iter().any(|table| table.hash == hash) {
            return Ok(Some(Applied::Ignored));
        }
        let heads = [&held.signed, &held.quorum];
        if !heads.into_iter().flatten().any(|head| head.profiles == hash) {
            return Ok(None);
        }
        let opened = self.open_table(key, sealed, held.key.as_deref())?;
        drop(state);
        let table = Table { hash, sealed: sealed.clone(), opened };
        self.store.put_table(key, sealed)?;
        let (_, event) = wire_profiles(key, &table);
        if let Some(held) = write(&self.state).directories.get_mut(&key) {
            held.tables.push(table);
        }
        self.events.push(Event::Profiles(key, event));
        Ok(Some(Applied::Beside))
    }
}

/// The commitment of a directory's audience key.
pub(crate) fn commitment_of(held: &Directory) -> Option<Hash> {
    held.signed.as_ref().or(held.quorum.as_ref()).map(|head| head.audience_key)
}

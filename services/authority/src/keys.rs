//! Audience keys of the directories being published: drawn once, sealed at rest, deleted when their epoch ends.

use std::path::PathBuf;
use std::sync::Arc;

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::ids::{Audience, Epoch};
use lanyard_env::{Env, Mode};
use lanyard_party::{Cell, StoreKey};
use zeroize::Zeroizing;

use crate::error::PublishError;

/// Its name among the kept files.
pub(crate) const AUDIENCE_KEYS: &str = "audience-keys";

/// Whose key it is.
type Directory = (Epoch, Audience);

/// The folder of sealed audience keys.
pub(crate) struct KeyFolder {
    env: Env,
    folder: PathBuf,
    store_key: Arc<StoreKey>,
}

impl KeyFolder {
    pub(crate) fn open(
        env: Env,
        folder: PathBuf,
        store_key: Arc<StoreKey>,
    ) -> Result<Self, PublishError> {
        env.files.create_dir_all(&folder)?;
        Ok(Self { env, folder, store_key })
    }

    /// The key of a directory that was published before.
    pub(crate) fn load(
        &self,
        epoch: Epoch,
        audience: Audience,
    ) -> Result<AudienceKey, PublishError> {
        self.find(epoch, audience)?.ok_or(PublishError::AudienceKey {
            epoch,
            audience,
            problem: "missing",
        })
    }

    /// The key of a directory; drawn and stored if there is none yet.
    pub(crate) fn load_or_draw(
        &self,
        epoch: Epoch,
        audience: Audience,
    ) -> Result<AudienceKey, PublishError> {
        if let Some(key) = self.find(epoch, audience)? {
            return Ok(key);
        }
        let key = AudienceKey::generate(&mut self.env.rng());
        match self.store(epoch, audience, &key) {
            // Another instance has drawn one: that one it is.
            Err(PublishError::File(error)) if error.is_replaced() => self.load(epoch, audience),
            stored => stored.map(|()| key),
        }
    }

    /// The keys that are there: the name of each file, and of which directory, unless no key is named so.
    pub(crate) fn names(&self) -> Result<Vec<(String, Option<Directory>)>, PublishError> {
        let names = self.env.files.list(&self.folder)?.into_iter();
        Ok(names.map(|name| (name.clone(), directory(&name))).collect())
    }

    /// Keeps a key, sealed.
    pub(crate) fn store(
        &self,
        epoch: Epoch,
        audience: Audience,
        key: &AudienceKey,
    ) -> Result<(), PublishError> {
        let cell = cell(epoch, audience);
        let sealed = self.store_key.seal(cell, key.expose_bytes(), &mut self.env.rng());
        let path = self.folder.join(name(epoch, audience));
        Ok(self.env.files.write_atomic(&path, &sealed, Mode::Private)?)
    }

    /// Deletes the keys of epochs before `epoch`: past records of a badge stay closed even to who holds all else.
    pub(crate) fn forget_before(&self, epoch: Epoch) -> Result<(), PublishError> {
        for file in self.env.files.list(&self.folder)? {
            if directory(&file).is_some_and(|(of, _)| of < epoch) {
                self.env.files.remove(&self.folder.join(file))?;
            }
        }
        Ok(())
    }

    /// The key of a directory, if there is one.
    pub(crate) fn find(
        &self,
        epoch: Epoch,
        audience: Audience,
    ) -> Result<Option<AudienceKey>, PublishError> {
        let damaged = |problem| PublishError::AudienceKey { epoch, audience, problem };
        let path = self.folder.join(name(epoch, audience));
        let Some(sealed) = self.env.files.read_if_exists(&path)? else { return Ok(None) };
        let opened = self
            .store_key
            .open(cell(epoch, audience), &sealed)
            .map_err(|_| damaged("it does not open under the store key"))?;
        let bytes = <[u8; 32]>::try_from(opened.as_slice()).map(Zeroizing::new);
        Ok(Some(AudienceKey::from_bytes(*bytes.map_err(|_| damaged("not 32 bytes"))?)))
    }
}

fn name(epoch: Epoch, audience: Audience) -> String {
    format!("{epoch}-{audience}")
}

/// The directory whose key a file of this name holds.
fn directory(name: &str) -> Option<Directory> {
    let (epoch, audience) = name.split_once('-')?;
    let audience = Audience::ALL.into_iter().find(|one| one.name() == audience)?;
    Some((Epoch::new(epoch.parse().ok()?), audience))
}

fn cell(epoch: Epoch, audience: Audience) -> Cell<'static> {
    Cell { table: "audience_keys", column: audience.name(), row: u64::from(epoch.get()) }
}

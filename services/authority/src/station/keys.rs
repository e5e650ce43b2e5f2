//! The audience keys that an authority seals its own records with, to read what it published.

use std::path::PathBuf;
use std::sync::Arc;

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::ids::{Audience, Epoch};
use lanyard_env::Env;
use lanyard_party::StoreKey;

use crate::error::PublishError;
use crate::keys::KeyFolder;

/// The own audience keys, as the publisher keeps them.
pub struct OwnAudienceKeys(KeyFolder);

impl OwnAudienceKeys {
    pub(super) fn open(
        env: Env,
        folder: PathBuf,
        store_key: Arc<StoreKey>,
    ) -> Result<Self, PublishError> {
        Ok(Self(KeyFolder::open(env, folder, store_key)?))
    }

    /// The key of a directory; `None` before it is first published and after its epoch.
    ///
    /// # Errors
    /// [`PublishError`] if it cannot be read or does not open.
    pub fn get(
        &self,
        epoch: Epoch,
        audience: Audience,
    ) -> Result<Option<AudienceKey>, PublishError> {
        self.0.find(epoch, audience)
    }
}

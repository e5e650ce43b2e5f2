//! The manifest that a mirror works under, from whoever keeps it.

use std::sync::Arc;

use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::{CosignatureError, VerifiedCosignature};
use lanyard_core::ids::{Authority, Hash};
use lanyard_core::manifest::{LogKeys, VerifiedManifest};
use lanyard_party::ManifestStore;

use crate::error::ManifestRefused;

/// Keeps the party's manifests: verified, on disk, never going back.
pub trait ManifestSource: Send + Sync + 'static {
    /// The newest one.
    fn current(&self) -> Arc<VerifiedManifest>;

    /// Takes a newer one, makes it durable and then the newest. The newest again is no error.
    ///
    /// # Errors
    /// [`ManifestRefused`] if it is no successor, or cannot be kept.
    fn accept(&self, note: &str) -> Result<Arc<VerifiedManifest>, ManifestRefused>;

    /// The version of the manifest with this hash, if it is the newest or one before it.
    fn version_of(&self, hash: &Hash) -> Option<u32>;

    /// The signed notes of all versions kept after `version`, oldest first.
    fn notes_after(&self, version: u32) -> Vec<String>;
}

impl ManifestSource for ManifestStore {
    fn current(&self) -> Arc<VerifiedManifest> {
        Self::current(self)
    }

    fn accept(&self, note: &str) -> Result<Arc<VerifiedManifest>, ManifestRefused> {
        Self::accept(self, note).map_err(ManifestRefused::new)?;
        Ok(Self::current(self))
    }

    fn version_of(&self, hash: &Hash) -> Option<u32> {
        Self::version_of(self, hash)
    }

    fn notes_after(&self, version: u32) -> Vec<String> {
        Self::notes_after(self, version).unwrap_or_else(|error| {
            tracing::error!(%error, "followers get no manifests");
            Vec::new()
        })
    }
}

/// What the manifest says about one authority's log.
pub(crate) struct Policy {
    pub(crate) manifest: Arc<VerifiedManifest>,
    pub(crate) log: LogKeys,
    authority: Authority,
}

impl Policy {
    pub(crate) fn of(manifest: Arc<VerifiedManifest>, authority: Authority) -> Self {
        let log = manifest.log_keys(authority);
        Self { manifest, log, authority }
    }

    /// The cosignatures of known witnesses on a checkpoint, one each.
    pub(crate) fn cosignatures(
        &self,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Vec<VerifiedCosignature>, CosignatureError> {
        self.manifest.cosignatures(self.authority, checkpoint)
    }

    /// Whether as many witnesses cosigned a checkpoint as make a quorum.
    pub(crate) fn has_quorum(
        &self,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<bool, CosignatureError> {
        Ok(self.cosignatures(checkpoint)?.len() >= usize::from(self.manifest.quorum))
    }
}

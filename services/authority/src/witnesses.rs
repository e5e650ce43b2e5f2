//! Who witnesses the own log, as the newest manifest says.

use std::sync::{Arc, Mutex, PoisonError};

use lanyard_core::manifest::VerifiedManifest;
use lanyard_witness::WitnessSet;

use crate::station::StationError;

/// Makes the set of a manifest's witnesses.
pub type WitnessSource =
    Arc<dyn Fn(&VerifiedManifest) -> Result<WitnessSet, StationError> + Send + Sync>;

/// The witnesses to ask. A new manifest takes effect at once: a witness with a new key, another in its place, one less.
/// Cloning is cheap; clones share what they know.
#[derive(Clone)]
pub struct Witnesses {
    source: WitnessSource,
    current: Arc<Mutex<Current>>,
}

struct Current {
    /// The manifest's version; 0 before the first.
    version: u32,
    set: WitnessSet,
}

impl Witnesses {
    /// Begins with `first`, until it is known under which manifest.
    #[must_use]
    pub fn new(first: WitnessSet, source: WitnessSource) -> Self {
        let current = Current { version: 0, set: first };
        Self { source, current: Arc::new(Mutex::new(current)) }
    }

    /// The witnesses of this manifest. If they cannot be reached by the configuration, the ones before are asked on.
    #[must_use]
    pub fn of(&self, manifest: &VerifiedManifest) -> WitnessSet {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.version != manifest.version {
            match (self.source)(manifest) {
                Ok(set) => current.set = set,
                Err(error) => {
                    tracing::error!(%error, "asking the witnesses of the manifest before")
                }
            }
            current.version = manifest.version;
        }
        current.set.clone()
    }
}

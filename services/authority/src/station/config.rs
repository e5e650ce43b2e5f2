//! What an authority configures beside the common fields.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use lanyard_core::manifest::Manifest;
use lanyard_objects::ObjectsConfig;
use lanyard_party::{Folder, PeerAddress, Peers, expected};
use lanyard_store::Location;
use lanyard_transport::Tls;
use lanyard_witness::{Route, WitnessPeer};
use serde::{Deserialize, Serialize};

use super::StationError;

/// The section of committee and police in `config.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationConfig {
    /// The party's store: `sqlite://data/police.db`, relative to the folder, or `postgres://USER@HOST/DATABASE`.
    pub store: StoreUrl,
    /// A file with the password of the store's user, relative to the folder, so that none need stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_password_file: Option<PathBuf>,
    /// `HOST:PORT` where other instances of this party's service reach this one, if it is not `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<PeerAddress>,
    /// Names in `[peers]` that serve the other authority's feed, in order.
    pub upstreams: Vec<String>,
    /// Who witnesses the own log: the witness's name in the manifest, and a name in `[peers]` or, for a foreign witness,
    /// an `http://` URL.
    pub witnesses: BTreeMap<String, String>,
    /// An object store: followed when no upstream serves, asked for the own newest head after a restore, and archived in if
    /// it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsConfig>,
}

/// The URL of a store. A password may stand in it, so it shows nothing of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreUrl(String);

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl")
    }
}

impl StoreUrl {
    fn locate(&self, folder: &Path) -> Result<Location, StationError> {
        Ok(Location::parse(&self.0, folder)?)
    }
}

impl From<&str> for StoreUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl StationConfig {
    /// Where the store is.
    ///
    /// # Errors
    /// [`StationError::Store`] if its URL is none, or [`StationError::Key`] if there is no such password file.
    pub fn location(&self, folder: &Folder) -> Result<Location, StationError> {
        let location = self.store.locate(folder.path())?;
        let Some(file) = &self.store_password_file else { return Ok(location) };
        let password = folder.private_text(&folder.path().join(file))?;
        Ok(location.with_password(password.trim_end_matches(['\r', '\n']))?)
    }

    /// The witnesses to ask: those configured that the manifest names. One that it does not name is not asked: the manifest
    /// changes while the event runs, and a witness that was dropped must keep nobody from starting.
    pub(super) fn witness_peers(
        &self,
        manifest: &Manifest,
        tls: &Tls,
        peers: &Peers,
    ) -> Result<Vec<WitnessPeer>, StationError> {
        let mut found = Vec::new();
        for (name, place) in &self.witnesses {
            let Some(witness) = manifest.witness(name) else {
                tracing::warn!(
                    name,
                    version = manifest.version,
                    "config.toml: [witnesses] names one that the manifest does not; it is not asked"
                );
                continue;
            };
            let route = if place.contains("://") {
                Route::foreign(place)
                    .map_err(|source| StationError::Route { name: name.clone(), source })?
            } else {
                Route::Party {
                    tls: tls.clone(),
                    address: peers.address(place)?.to_owned(),
                    expected: expected(place)?,
                }
            };
            // The own log can be had back from whoever this service has as an upstream.
            let holds_log = self.upstreams.contains(place);
            let (name, keys) = (witness.key.name().clone(), manifest.keys_of(witness));
            found.push(WitnessPeer { name, keys, route, holds_log });
        }
        let (configured, needed) = (found.len(), manifest.quorum);
        if configured < usize::from(needed) {
            return Err(StationError::TooFewWitnesses { configured, needed });
        }
        Ok(found)
    }
}

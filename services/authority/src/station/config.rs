//! What an authority configures beside the common fields.

use std::collections::BTreeMap;

use lanyard_core::manifest::Manifest;
use lanyard_objects::ObjectsConfig;
use lanyard_party::{Peers, expected};
use lanyard_transport::Tls;
use lanyard_witness::{Route, WitnessPeer};
use serde::{Deserialize, Serialize};

use super::StationError;

/// The section of committee and police in `config.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationConfig {
    /// The party's store, for example `sqlite://data/police.db`, relative to the folder.
    pub store: String,
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

impl StationConfig {
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
                Route::foreign(place)?
            } else {
                Route::Party {
                    tls: tls.clone(),
                    address: peers.address(place)?.to_owned(),
                    expected: expected(place)?,
                }
            };
            let (name, keys) = (witness.key.name().clone(), manifest.keys_of(witness));
            found.push(WitnessPeer { name, keys, route });
        }
        let (configured, needed) = (found.len(), manifest.quorum);
        if configured < usize::from(needed) {
            return Err(StationError::TooFewWitnesses { configured, needed });
        }
        Ok(found)
    }
}

//! What the manifest in force means for this gate, compiled once and not on every check.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::manifest::VerifiedManifest;

/// The rules in force; a new manifest replaces them between two checks.
pub type SharedRules = Arc<ArcSwap<Rules>>;

/// A door of this gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The access point.
    pub point: AccessPoint,
    /// How old knowledge may be there.
    pub tier: StalenessTier,
}

/// What the manifest in force means for this gate.
pub struct Rules {
    manifest: Arc<VerifiedManifest>,
    doors: HashMap<String, Arc<Door>>,
}

impl Rules {
    /// The rules of `gate` under a manifest, for those of its access points that are `configured`, or for all of them if
    /// none are.
    #[must_use]
    pub fn new(manifest: Arc<VerifiedManifest>, gate: &str, configured: &[String]) -> Self {
        let assigned: &[String] = match manifest.gate(gate) {
            Some(gate) => &gate.access_points,
            None => {
                tracing::warn!(gate, version = manifest.version, "the manifest has no such gate");
                &[]
            }
        };
        for id in configured.iter().filter(|id| !assigned.contains(id)) {
            tracing::warn!(
                access_point = id,
                gate,
                "configured, but not this gate's in the manifest"
            );
        }
        let served = assigned.iter().filter(|id| configured.is_empty() || configured.contains(id));
        let door = |id: &String| {
            let point = manifest.access_point(id)?.clone();
            let tier = manifest.tier_for_zone(&point.zone)?;
            Some((id.clone(), Arc::new(Door { point, tier })))
        };
        let doors = served.filter_map(door).collect();
        Self { manifest, doors }
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Arc<VerifiedManifest> {
        &self.manifest
    }

    /// The door of an access point; `None` if this gate does not serve it.
    #[must_use]
    pub fn door(&self, access_point: &str) -> Option<&Arc<Door>> {
        self.doors.get(access_point)
    }

    /// The greatest age in seconds at which knowledge still counts at one of the doors: older, nobody passes anywhere.
    #[must_use]
    pub fn longest_limit(&self) -> u64 {
        self.doors.values().map(|door| u64::from(door.tier.limit_seconds)).max().unwrap_or(0)
    }

    /// The access points served, sorted.
    #[must_use]
    pub fn access_points(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.doors.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }
}

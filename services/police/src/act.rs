//! Who does something, and when.

use std::sync::Arc;

use lanyard_core::ids::Timestamp;
use lanyard_env::Env;
use lanyard_party::ManifestStore;

/// Somebody's deed.
#[derive(Clone, Copy)]
pub(crate) struct Act<'a> {
    /// As `spiffe://PARTY/ROLE/NAME`.
    pub(crate) operator: &'a str,
    pub(crate) now: Timestamp,
    /// How long verdicts wait for their release.
    pub(crate) delay_millis: u64,
}

/// Tells every deed the time and the manifest's delay.
#[derive(Clone)]
pub(crate) struct Acting {
    pub(crate) env: Env,
    pub(crate) manifests: Arc<ManifestStore>,
}

impl Acting {
    /// What `operator` does now.
    pub(crate) fn by<'a>(&self, operator: &'a str) -> Act<'a> {
        let delay = self.manifests.current().screening.verdict_delay_seconds;
        Act { operator, now: self.env.now(), delay_millis: u64::from(delay) * 1_000 }
    }
}

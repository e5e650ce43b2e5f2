//! What operators see of every party's process.

use std::sync::Arc;

use lanyard_telemetry::{Telemetry, metrics};
use lanyard_transport::Identity;

use crate::manifest_store::ManifestStore;

/// Shows what runs here, under which manifest, and until when its certificate holds.
pub fn observe_party(telemetry: &Telemetry, identity: &Identity, manifests: &Arc<ManifestStore>) {
    let (identity, manifests) = (identity.clone(), Arc::clone(manifests));
    let party = identity.peer().party().name();
    telemetry.collect_now(move || {
        metrics::BUILD_INFO.of([env!("CARGO_PKG_VERSION"), party]).set(1.0);
        metrics::MANIFEST_VERSION.of([]).set(manifests.current().version);
        let until = identity.valid_until().seconds();
        metrics::CERTIFICATE_VALID_UNTIL.of([]).set(until as f64);
    });
}

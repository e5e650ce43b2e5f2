//! What every party's process shows to operators, and what it takes up from its folder while it runs.

use std::sync::Arc;
use std::time::Duration;

use lanyard_env::Env;
use lanyard_telemetry::{Telemetry, metrics};
use lanyard_transport::{Identity, Tls};
use tokio_util::sync::CancellationToken;

use crate::manifest_store::ManifestStore;
use crate::peers::follow_trust;

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

/// Takes up newer manifests, whom they trust, and a renewed certificate, looked for each `interval` until `shutdown`. All of
/// it must live as long as the service.
pub fn follow_folder(
    telemetry: &Telemetry,
    tls: &Tls,
    manifests: &Arc<ManifestStore>,
    env: &Env,
    interval: Duration,
    shutdown: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let (incidents, stop) = (telemetry.incidents(), || shutdown.clone());
    let (anchors, identity) = (tls.anchors().clone(), tls.identity().clone());
    let trust = follow_trust(anchors, Arc::clone(manifests), incidents.clone(), stop());
    let trust = telemetry.watched("following the manifest's certificate authorities", trust);
    let manifests = Arc::clone(manifests).reload_every(interval, stop());
    let manifests = telemetry.watched("looking for manifests", manifests);
    let certificate = identity.reload_every(env.clone(), interval, incidents.clone(), stop());
    let certificate = telemetry.watched("looking for a renewed certificate", certificate);
    async move {
        tokio::join!(trust, manifests, certificate);
    }
}

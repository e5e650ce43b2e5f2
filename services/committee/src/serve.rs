//! Puts the committee's service together.

use std::sync::Arc;

use lanyard_authority::{Station, StationConfig, StationError, inspect_station};
use lanyard_core::ids::Authority;
use lanyard_env::{Env, StartError};
use lanyard_party::{PartyConfig, PeerError, Report};
use lanyard_store::{SealKey, Store, StoreError, trail_source};
use lanyard_telemetry::{Telemetry, metrics};
use lanyard_wire::committee::v1::badge_service_server::BadgeServiceServer;
use lanyard_wire::committee::v1::desk_service_server::DeskServiceServer;
use lanyard_wire::committee::v1::disclosure_service_server::DisclosureServiceServer;
use lanyard_wire::committee::v1::enrolment_service_server::EnrolmentServiceServer;
use lanyard_wire::screening::v1::screening_service_client::ScreeningServiceClient;
use lanyard_wire::staff::v1::handover_service_client::HandoverServiceClient;
use thiserror::Error;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::disclosures::Disclosures;
use crate::police_badges::Handover;
use crate::registry::{PrintRegistry, SEALED};
use crate::rpc::{self, Badges, Desk, Enrolment};
use crate::schema::SCHEMA;
use crate::screening::Screening;

/// Why the service does not start, or stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// What both authorities have in common.
    #[error(transparent)]
    Station(#[from] StationError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The police are not among the peers.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl StartError for ServeError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Station(error) => error.is_permanent(),
            Self::Store(error) => error.is_permanent(),
            Self::Peer(error) => error.is_permanent(),
        }
    }
}

/// Looks over all that [`serve`] needs.
pub async fn inspect(config: &PartyConfig<StationConfig>, env: &Env, report: &mut Report) {
    inspect_station(Authority::Committee, config, &SCHEMA, env, report).await;
}

/// Shows how the store does, and who waits in screening.
fn observe(store: &Store, telemetry: &Telemetry) {
    store.observe(telemetry);
    for (state, sql) in [
        // `states::Screening`: New, Pending.
        ("unscreened", "SELECT COUNT(*) FROM people WHERE screening = 1"),
        ("pending", "SELECT COUNT(*) FROM people WHERE screening = 2"),
    ] {
        let gauge = move |count| metrics::SCREENING_WAITING.of([state]).set(count);
        store.observe_count(telemetry, gauge, sql);
    }
    let gauge = |count| metrics::SCREENING_BATCHES.of(["screening"]).set(count);
    store.observe_count(telemetry, gauge, "SELECT COUNT(*) FROM screening_batches");
}

/// Serves until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: PartyConfig<StationConfig>,
    env: Env,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let station = Station::open(Authority::Committee, config, env.clone(), &SCHEMA).await?;
    let store = station.store().clone();
    observe(&store, station.telemetry());
    let trail = trail_source(&store, station.store_key());
    let station = station.with_trail(trail);
    let (manifests, store_key) = (Arc::clone(station.manifests()), Arc::clone(station.store_key()));
    let store = store.with_seals(SealKey::from_bytes(store_key.row_key()), SEALED).await?;
    let police = ScreeningServiceClient::new(station.peers().channel("police")?);
    let disclosures = Arc::new(Disclosures {
        store: store.clone(),
        env: env.clone(),
        manifests: Arc::clone(&manifests),
        police: police.clone(),
        decided: Notify::new(),
    });
    let screening = Arc::new(Screening {
        store: store.clone(),
        env: env.clone(),
        event: manifests.current().event.clone(),
        store_key: Arc::clone(&store_key),
        pseudonymiser: station.pseudonymiser().clone(),
        police,
        running: Mutex::new(()),
    });
    let stopping = shutdown.child_token();
    // In one instance only: the one that publishes.
    let (duty, telemetry) = (station.duty(), station.telemetry());
    let keeping_up = duty.clone().run(stopping.clone(), {
        let screening = Arc::clone(&screening);
        move |turn| Arc::clone(&screening).keep_up(turn)
    });
    let keeping_up = tokio::spawn(telemetry.watched("screening", keeping_up));
    let disclosing = duty.clone().run(stopping.clone(), {
        let disclosures = Arc::clone(&disclosures);
        move |turn| Arc::clone(&disclosures).keep_up(turn)
    });
    let disclosing = tokio::spawn(telemetry.watched("disclosures", disclosing));
    let handover = Arc::new(Handover {
        store: store.clone(),
        env: env.clone(),
        store_key: Arc::clone(&store_key),
        police: HandoverServiceClient::new(station.peers().channel("police")?),
    });
    let handing_over = duty.run(stopping.clone(), move |turn| Arc::clone(&handover).keep_up(turn));
    let handing_over = tokio::spawn(telemetry.watched("handover of police badges", handing_over));
    let indexes = store.clone().keep_indexes(stopping.clone());
    let keeping_indexes = tokio::spawn(telemetry.watched("indexes of the store", indexes));
    let enrolment = Enrolment {
        store: store.clone(),
        env: env.clone(),
        manifests: Arc::clone(&manifests),
        screening,
    };
    let badges = Badges {
        store: store.clone(),
        env,
        store_key: Arc::clone(&store_key),
        publication: station.publication(),
    };
    let desk = Desk { store: store.clone(), store_key: Arc::clone(&store_key), manifests };
    let registry = PrintRegistry::new(store.clone(), store_key);
    let routes = Routes::new(EnrolmentServiceServer::new(enrolment))
        .add_service(BadgeServiceServer::new(badges))
        .add_service(DisclosureServiceServer::new(rpc::Disclosures { disclosures }))
        .add_service(DeskServiceServer::new(desk));
    let served = station.run(routes, registry, shutdown).await;
    // Also if the station stopped by itself.
    stopping.cancel();
    let _ = keeping_up.await;
    let _ = disclosing.await;
    let _ = handing_over.await;
    let _ = keeping_indexes.await;
    store.close().await;
    Ok(served?)
}

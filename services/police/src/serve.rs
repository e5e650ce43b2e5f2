//! Puts the police's service together.

use std::sync::Arc;

use lanyard_authority::{Station, StationError, inspect_station};
use lanyard_core::ids::Authority;
use lanyard_env::{Env, StartError};
use lanyard_party::{PartyConfig, Report};
use lanyard_store::{Rereads, SealKey, Store, StoreError, trail_source};
use lanyard_telemetry::{Telemetry, metrics};
use lanyard_wire::police::v1::case_service_server::CaseServiceServer;
use lanyard_wire::police::v1::desk_service_server::DeskServiceServer;
use lanyard_wire::police::v1::subject_service_server::SubjectServiceServer;
use lanyard_wire::police::v1::watchlist_service_server::WatchlistServiceServer;
use lanyard_wire::screening::v1::screening_service_server::ScreeningServiceServer;
use lanyard_wire::staff::v1::handover_service_server::HandoverServiceServer;
use lanyard_wire::staff::v1::staff_service_server::StaffServiceServer;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::act::Acting;
use crate::config::PoliceConfig;
use crate::desk::Desk;
use crate::handles::HandleIndex;
use crate::lists::Lists;
use crate::registry::{PrintRegistry, SEALED};
use crate::release::keep_releasing;
use crate::rpc::{CaseRpc, DeskRpc, ScreeningRpc, StaffRpc, SubjectRpc, WatchlistRpc};
use crate::schema::SCHEMA;

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
}

impl StartError for ServeError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Station(error) => error.is_permanent(),
            Self::Store(error) => error.is_permanent(),
        }
    }
}

/// Looks over all that [`serve`] needs.
pub async fn inspect(config: &PartyConfig<PoliceConfig>, env: &Env, report: &mut Report) {
    let config = PoliceConfig::station(config.clone());
    inspect_station(Authority::Police, &config, &SCHEMA, env, report).await;
}

/// Shows how the store does, and what waits in screening.
fn observe(store: &Store, telemetry: &Telemetry) {
    store.observe(telemetry);
    for (state, sql) in [
        ("unreleased", "SELECT COUNT(*) FROM subjects WHERE due_millis > 0"),
        // `states::Verdict::Pending`.
        ("undecided", "SELECT COUNT(*) FROM subjects WHERE verdict = 3 AND withdrawn = 0"),
    ] {
        let gauge = move |count| metrics::SCREENING_WAITING.of([state]).set(count);
        store.observe_count(telemetry, gauge, sql);
    }
    let gauge = |count| metrics::SCREENING_BATCHES.of(["watchlist"]).set(count);
    store.observe_count(telemetry, gauge, "SELECT COUNT(*) FROM list_batches");
}

/// Serves until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: PartyConfig<PoliceConfig>,
    env: Env,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let four_eyes = config.section.four_eyes;
    let config = PoliceConfig::station(config);
    let station = Station::open(Authority::Police, config, env.clone(), &SCHEMA).await?;
    let store = station.store().clone();
    observe(&store, station.telemetry());
    let trail = trail_source(&store, station.store_key());
    let station = station.with_trail(trail);
    let seals = SealKey::from_bytes(station.store_key().row_key());
    let store = store.with_seals(seals, SEALED).await?;
    let lists = Arc::new(Lists::new(Arc::clone(station.store_key())));
    // What is damaged is told now, and not with the first submission.
    lists.guard(&mut *store.snapshot().await?).await?;
    let routes = routes(&station, &store, &lists, &env, four_eyes)?;
    let registry = PrintRegistry::new(store.clone(), Arc::clone(station.store_key()));
    // Ends with the station, also if that stops by itself.
    let shutdown = shutdown.child_token();
    // In one instance only: the one that publishes.
    let releasing = station.duty().run(shutdown.clone(), {
        let store = store.clone();
        move |turn| keep_releasing(store.clone(), env.clone(), turn)
    });
    let releasing = tokio::spawn(station.telemetry().watched("release of verdicts", releasing));
    let indexes = store.clone().keep_indexes(shutdown.clone());
    let keeping_indexes = station.telemetry().watched("indexes of the store", indexes);
    let keeping_indexes = tokio::spawn(keeping_indexes);
    let served = station.run(routes, registry, shutdown.clone()).await;
    shutdown.cancel();
    let _ = keeping_indexes.await;
    if let Err(error) = releasing.await {
        tracing::error!(%error, "releasing verdicts ended early");
    }
    store.close().await;
    Ok(served?)
}

fn routes(
    station: &Station,
    store: &Store,
    lists: &Arc<Lists>,
    env: &Env,
    four_eyes: bool,
) -> Result<Routes, StationError> {
    let (manifests, store_key) = (station.manifests(), station.store_key());
    let acting = Acting { env: env.clone(), manifests: Arc::clone(manifests) };
    let screening = ScreeningRpc {
        store: store.clone(),
        store_key: Arc::clone(store_key),
        lists: Arc::clone(lists),
        acting: acting.clone(),
        hpke_key: station.folder().hpke_key()?,
        pseudonymiser: station.pseudonymiser().clone(),
        rereads: Rereads::default(),
    };
    let cases = CaseRpc {
        store: store.clone(),
        store_key: Arc::clone(store_key),
        lists: Arc::clone(lists),
        acting: acting.clone(),
        four_eyes,
    };
    let watchlists = WatchlistRpc {
        store: store.clone(),
        lists: Arc::clone(lists),
        pseudonymiser: station.pseudonymiser().clone(),
        acting: acting.clone(),
        importing: Arc::default(),
    };
    let subjects = SubjectRpc {
        store: store.clone(),
        store_key: Arc::clone(store_key),
        lists: Arc::clone(lists),
        acting: acting.clone(),
        publication: station.publication(),
    };
    let staff = StaffRpc {
        store: store.clone(),
        store_key: Arc::clone(store_key),
        acting: acting.clone(),
        rereads: Arc::default(),
    };
    let desk = Desk {
        store: store.clone(),
        store_key: Arc::clone(store_key),
        lists: Arc::clone(lists),
        manifests: Arc::clone(manifests),
        own: Arc::clone(station.own()),
        own_keys: station.own_audience_keys()?,
        committee: Arc::clone(station.other()),
        handles: HandleIndex::default(),
        pseudonymiser: station.pseudonymiser().clone(),
    };
    Ok(Routes::new(ScreeningServiceServer::new(screening))
        .add_service(WatchlistServiceServer::new(watchlists))
        .add_service(SubjectServiceServer::new(subjects))
        .add_service(CaseServiceServer::new(cases))
        .add_service(StaffServiceServer::new(staff.clone()))
        .add_service(HandoverServiceServer::new(staff))
        .add_service(DeskServiceServer::new(DeskRpc { desk, acting })))
}

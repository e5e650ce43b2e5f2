//! Puts the parts together, from the party's folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use lanyard_core::ids::{Audience, Authority};
use lanyard_core::receipt::{ReceiptError, ReceiptOrigin};
use lanyard_env::{Env, StartError};
use lanyard_feed::{
    FeedError, FeedServer, ManifestSource, Mirror, MirrorConfig, Recipient, SyncState,
    UpstreamError, WitnessedClock, follow, upstreams,
};
use lanyard_objects::{Objects, ObjectsError};
use lanyard_party::{
    Folder, KeyFileError, ManifestStore, NotStarted, PartyConfig, Peers, Started, follow_folder,
};
use lanyard_transport::PartyName;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::check::Checker;
use crate::config::GateSection;
use crate::receipts::{OpenError, ReceiptSetup, Receipts};
use crate::rules::{Rules, SharedRules};
use crate::service::GateServer;

/// How often the folder is looked at for a new manifest or a renewed certificate.
const RELOAD: Duration = Duration::from_secs(5);
/// How often receipts are looked at for bodies to delete.
const TIDY: Duration = Duration::from_secs(60 * 60);
/// How often the clock is looked at; after how many looks a wrong one is named again, and the time kept.
const CLOCK: Duration = Duration::from_secs(2);
const CLOCK_SAID_AGAIN: u64 = 300;
const CLOCK_KEPT: u64 = 15;

/// Why the gate does not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// What all parties start with.
    #[error(transparent)]
    Start(#[from] NotStarted),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The upstreams.
    #[error(transparent)]
    Upstreams(#[from] UpstreamError),
    /// A mirror.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The object store.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The gate's name.
    #[error(transparent)]
    Name(#[from] ReceiptError),
    /// The receipts.
    #[error(transparent)]
    Receipts(#[from] OpenError),
}

impl StartError for ServeError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Start(error) => error.is_permanent(),
            Self::Key(error) => error.is_permanent(),
            Self::Upstreams(error) => error.is_permanent(),
            Self::Feed(error) => error.is_permanent(),
            Self::Objects(error) => error.is_permanent(),
            Self::Receipts(error) => error.is_permanent(),
            Self::Name(_) => true,
        }
    }
}

/// Serves a gate until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: PartyConfig<GateSection>,
    env: Env,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let started = Started::common(&config, &env, PartyName::Gate).await?;
    let Started { folder, telemetry, manifests, .. } = &started;
    let PartyConfig { common, section, .. } = config;
    let name = common.name.as_str();
    let manifest = manifests.current();
    let mirrors = open_mirrors(&env, folder, name, manifests)?;
    // A clock that was set back makes new certificates not valid yet: scanners would stand before a closed gate.
    let clock = Arc::new(WitnessedClock::new(&env, mirrors.clone()));
    let tls = started.tls(&Env { clock, ..env.clone() });
    let peers = Peers::new(&env, &tls, &common);
    let names = section.upstreams.iter().map(String::as_str);
    let mut upstreams = upstreams(&peers, name, &[Audience::Gate], names)?;
    if section.objects.is_none() && upstreams.is_empty() {
        tracing::warn!("no upstreams configured: this gate learns nothing and admits nobody");
    }

    let objects = section.objects.as_ref();
    let objects =
        Objects::start(objects, folder.path(), &env, &manifest.event, &mirrors.each_ref()).await?;
    let source: Arc<dyn ManifestSource> = Arc::clone(manifests) as _;
    upstreams.extend(objects.iter().map(|objects| objects.upstream(&source)));
    let rules = Rules::new(manifest, name, &section.access_points);
    let rules: SharedRules = Arc::new(ArcSwap::from_pointee(rules));
    let setup = receipt_setup(&env, folder, manifests, name, &section, &rules)?;
    let (receipts, recorder) = Receipts::open(setup)?;

    let (acceptor, audit) = started.listen(&common, &env, &tls).await?;
    tracing::info!(name, address = %acceptor.local_addr(), "gate serves");
    // Whatever ends `serve` ends these too.
    let running = shutdown.child_token();
    let _stop = running.clone().drop_guard();
    let syncs = mirrors.each_ref().map(|mirror| {
        let (sync, synced) = watch::channel(SyncState::default());
        let upstreams = upstreams.clone();
        let rules = Arc::clone(&rules);
        let limit = move || rules.load().longest_limit();
        mirror.observe_deciding(telemetry, synced.clone(), limit);
        let following = follow(Arc::clone(mirror), upstreams, sync, running.clone());
        let task = format!("following the {}", mirror.authority().name());
        tokio::spawn(telemetry.watched(&task, following));
        synced
    });
    tokio::spawn(follow_folder(telemetry, &tls, manifests, &env, RELOAD, &running));
    let ruling = follow_rules(
        Arc::clone(&rules),
        Arc::clone(manifests),
        common.name.clone(),
        section.access_points,
        running.clone(),
    );
    tokio::spawn(telemetry.watched("following the manifest's rules", ruling));
    let tidying = receipts.clone().tidy_every(TIDY, running.clone());
    tokio::spawn(telemetry.watched("tidying receipts", tidying));
    let recorded = tokio::spawn(telemetry.watched("recording receipts", recorder.ended()));

    // Other gates may follow from here: all of it is verified, and sealed to whoever it is not for.
    let feed = FeedServer::new(mirrors.clone(), running.clone());
    let [committee, police] = mirrors;
    let checker = Arc::new(Checker::new(env, committee, police));
    let clock = watch_clock(Arc::clone(&checker), Arc::clone(&rules), running.clone());
    tokio::spawn(telemetry.watched("watching the clock", clock));
    let server = GateServer::new(checker, rules, receipts, syncs, folder.data_dir());
    server.observe(telemetry);
    let routes = tonic::service::Routes::new(server.into_service())
        .add_service(feed.into_service())
        .into_axum_router();
    telemetry.serving(shutdown.clone());
    lanyard_transport::serve(routes, acceptor, shutdown).await;
    running.cancel();
    if let Some(audit) = audit {
        audit.close().await;
    }
    // The last handle went with the routes: what was taken is recorded before the process ends.
    let _ = recorded.await;
    Ok(())
}

/// The mirrors of both authorities' directories for gates, verified.
pub(crate) fn open_mirrors(
    env: &Env,
    folder: &Folder,
    name: &str,
    manifests: &Arc<ManifestStore>,
) -> Result<[Arc<Mirror>; 2], ServeError> {
    let recipient = Recipient { id: format!("gate/{name}"), key: Arc::new(folder.hpke_key()?) };
    let open = |authority: Authority| {
        let dir = mirror_dir(folder, authority);
        let config = MirrorConfig {
            authority,
            audiences: vec![Audience::Gate],
            recipient: Some(recipient.clone()),
            publisher: false,
        };
        Mirror::open(env.clone(), &dir, config, Arc::clone(manifests) as _)
    };
    Ok([open(Authority::Committee)?, open(Authority::Police)?])
}

/// Where the mirror of an authority's directories is.
pub(crate) fn mirror_dir(folder: &Folder, authority: Authority) -> PathBuf {
    folder.data_dir().join("mirror").join(authority.name())
}

/// What receipts are made with.
pub(crate) fn receipt_setup(
    env: &Env,
    folder: &Folder,
    manifests: &Arc<ManifestStore>,
    name: &str,
    section: &GateSection,
    rules: &SharedRules,
) -> Result<ReceiptSetup, ServeError> {
    Ok(ReceiptSetup {
        env: env.clone(),
        dir: folder.data_dir().join("receipts"),
        origin: ReceiptOrigin::new(&manifests.current().event, name)?,
        key: folder.receipts_key()?,
        keep_bodies_days: section.receipts.keep_bodies_days,
        rules: Arc::clone(rules),
    })
}

/// Keeps the time that passes, and says when this machine's clock turns out to be wrong, and when it is right again.
async fn watch_clock(checker: Arc<Checker>, rules: SharedRules, shutdown: CancellationToken) {
    let mut said = None;
    let mut looks = tokio::time::interval(CLOCK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 0_u64.. {
        if shutdown.run_until_cancelled(looks.tick()).await.is_none() {
            return;
        }
        let error = checker.clock_error(&rules.load());
        match error {
            Some(error) if said.is_none_or(|said| look >= said + CLOCK_SAID_AGAIN) => {
                tracing::error!("{error}");
                said = Some(look);
            }
            None if said.take().is_some() => tracing::info!("the clock is right again"),
            _ => {}
        }
        if look % CLOCK_KEPT != 0 {
            continue;
        }
        let mirrors = checker.mirrors().map(Arc::clone);
        let kept =
            lanyard_env::blocking(move || mirrors.iter().try_for_each(|mirror| mirror.keep_time()));
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(%error, "the time cannot be kept");
        }
    }
}

/// Compiles the rules anew with each manifest.
async fn follow_rules(
    rules: SharedRules,
    manifests: Arc<ManifestStore>,
    gate: String,
    configured: Vec<String>,
    shutdown: CancellationToken,
) {
    let mut newest = manifests.subscribe();
    newest.mark_changed();
    while let Some(Ok(())) = shutdown.run_until_cancelled(newest.changed()).await {
        let manifest = Arc::clone(&newest.borrow_and_update());
        if manifest.version != rules.load().manifest().version {
            tracing::info!(version = manifest.version, "new rules in force");
            rules.store(Arc::new(Rules::new(manifest, &gate, &configured)));
        }
    }
}

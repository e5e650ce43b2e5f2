//! Puts the parts together, from the party's folder.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::{Audience, Authority};
use lanyard_env::{Env, FileError, StartError};
use lanyard_feed::{
    FeedError, FeedServer, ManifestSource, Mirror, MirrorConfig, Recipient, SyncState,
    UpstreamError, follow, held_by, upstreams,
};
use lanyard_objects::{Objects, ObjectsError};
use lanyard_party::{
    Folder, KeyFileError, ManifestStore, NotStarted, PartyConfig, Peers, Started, follow_folder,
};
use lanyard_transport::PartyName;
use lanyard_witness::{LogSource, MemoryError, Witness};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::SponsorSection;
use crate::desk::Desk;

/// How often the folder is looked at for a new manifest or a renewed certificate.
const RELOAD: Duration = Duration::from_secs(5);

/// The sponsor's id among the manifest's verifiers.
const VERIFIER: &str = "sponsor/sponsor";

/// Why the sponsor does not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// What all parties start with.
    #[error(transparent)]
    Start(#[from] NotStarted),
    /// The data folder.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// The witness's memory.
    #[error(transparent)]
    Witness(#[from] MemoryError),
}

impl StartError for ServeError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Start(error) => error.is_permanent(),
            Self::File(error) => error.is_permanent(),
            Self::Key(error) => error.is_permanent(),
            Self::Upstreams(error) => error.is_permanent(),
            Self::Feed(error) => error.is_permanent(),
            Self::Objects(error) => error.is_permanent(),
            Self::Witness(error) => error.is_permanent(),
        }
    }
}

/// Serves the sponsor until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: PartyConfig<SponsorSection>,
    env: Env,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let started = Started::common(&config, &env, PartyName::Sponsor).await?;
    let Started { folder, telemetry, manifests, .. } = &started;
    let PartyConfig { common, section, .. } = config;
    let tls = started.tls(&env);
    let peers = Peers::new(&env, &tls, &common);

    let State { committee, police, witness } = State::open(&env, folder, manifests)?;
    let mirrors = [&committee, &police];
    let objects = section.objects.as_ref();
    let event = &manifests.current().event;
    let objects = Objects::start(objects, folder.path(), &env, event, &mirrors).await?;
    let source: Arc<dyn ManifestSource> = Arc::clone(manifests) as _;
    let following = mirrors
        .into_iter()
        .map(|mirror| {
            let names = section.upstreams_of(mirror.authority());
            let mut upstreams = upstreams(&peers, &common.name, mirror.audiences(), names)?;
            upstreams.extend(objects.iter().map(|objects| objects.upstream(&source)));
            Ok((Arc::clone(mirror), upstreams))
        })
        .collect::<Result<Vec<_>, UpstreamError>>()?;

    // Whatever ends `serve` ends everything that it started.
    let running = shutdown.child_token();
    let _stop = running.clone().drop_guard();
    let feed = FeedServer::new(mirrors.map(Arc::clone), running.clone());
    let desk = Desk::new(Arc::clone(&committee), Arc::clone(manifests) as _);
    let mut routes = tonic::service::Routes::new(feed.into_service())
        .add_service(desk.into_service())
        .into_axum_router();
    if let Some(witness) = witness {
        witness.observe(telemetry);
        routes = routes.merge(witness.router());
    }

    let (acceptor, audit) = started.listen(&common, &env, &tls).await?;
    tracing::info!(address = %acceptor.local_addr(), "sponsor serves");
    for (mirror, upstreams) in following {
        if let Some(objects) = objects.as_ref().filter(|objects| objects.archives()) {
            let archive = objects.archive(&mirror, &source);
            archive.observe(telemetry);
            let archiving = archive.run(running.clone());
            let task = format!("archiving the {}", mirror.authority().name());
            tokio::spawn(telemetry.watched(&task, archiving));
        }
        let (sync, synced) = watch::channel(SyncState::default());
        mirror.observe_following(telemetry, synced);
        let task = format!("following the {}", mirror.authority().name());
        let following = follow(mirror, upstreams, sync, running.clone());
        tokio::spawn(telemetry.watched(&task, following));
    }
    tokio::spawn(follow_folder(telemetry, &tls, manifests, &env, RELOAD, &running));
    telemetry.serving(shutdown.clone());
    lanyard_transport::serve(routes, acceptor, shutdown).await;
    if let Some(audit) = audit {
        audit.close().await;
    }
    Ok(())
}

/// What the sponsor keeps, opened and verified.
pub(crate) struct State {
    pub(crate) committee: Arc<Mirror>,
    pub(crate) police: Arc<Mirror>,
    witness: Option<Witness>,
}

impl State {
    pub(crate) fn open(
        env: &Env,
        folder: &Folder,
        manifests: &Arc<ManifestStore>,
    ) -> Result<Self, ServeError> {
        let key = Arc::new(folder.hpke_key()?);
        let open = |authority: Authority| {
            let dir = folder.data_dir().join("mirror").join(authority.name());
            // The police publish nothing that the sponsor could open.
            let recipient = (authority == Authority::Committee)
                .then(|| Recipient { id: VERIFIER.to_owned(), key: Arc::clone(&key) });
            let audiences = Audience::published_by(authority).to_vec();
            let config = MirrorConfig { authority, audiences, recipient, publisher: false };
            Mirror::open(env.clone(), &dir, config, Arc::clone(manifests) as _)
        };
        let committee = open(Authority::Committee)?;
        let police = open(Authority::Police)?;
        // A sponsor need not be a witness.
        let witness = match env.files.exists(&folder.witness_key_path())? {
            true => {
                let memory = folder.data_dir().join("witness");
                let keys = folder.clone();
                let keys = Arc::new(move || keys.witness_keys());
                keys()?;
                let witness = Witness::open(env.clone(), &memory, keys, logs(manifests))?;
                let mirrors = [&committee, &police].map(Arc::clone);
                Some(witness.beside_mirrors(Arc::new(held_by(mirrors))))
            }
            false => None,
        };
        Ok(Self { committee, police, witness })
    }
}

/// Both authorities' logs, as the newest manifest names their keys.
fn logs(manifests: &Arc<ManifestStore>) -> LogSource {
    let manifests = Arc::clone(manifests);
    Arc::new(move || {
        let manifest = manifests.current();
        Authority::ALL.iter().map(|authority| manifest.log_keys(*authority)).collect()
    })
}

//! The service of an authority, but for what only it does: its keys and manifests, its own feed and a mirror of the other
//! authority's, its witness, its key share, and one mTLS port for all of them.
//!
//! The order of starting: the data folder is taken; own state is read and verified; the port is opened; the own newest head
//! is fetched from the mirrors, in case this machine was restored from a backup; only then the publisher may sign. Stopping
//! is the reverse: a tick that has begun is finished and given to others, requests in progress are answered, then the folder is
//! let go.

mod config;
mod error;
mod inspect;
mod kept;
mod keys;
mod state;
mod turns;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lanyard_core::ids::Authority;
use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::Env;
use lanyard_feed::{
    FeedServer, ManifestSource, Mirror, SyncState, Upstream, UpstreamError, catch_up, follow,
    upstreams,
};
use lanyard_objects::Objects;
use lanyard_party::{
    AuditStream, DataLock, Folder, ManifestStore, PartyConfig, Peers, ShareStore, StoreKey,
    TrailSource, follow_folder, observe_party, trust_anchors,
};
use lanyard_shareholder::{KeyShareServer, Pseudonymiser};
use lanyard_store::{Owner, Schema, Store, Succession};
use lanyard_telemetry::{Telemetry, metrics};
use lanyard_transport::{Acceptor, Limits, PartyName, Tls};
use lanyard_witness::{Timing, Witness, WitnessSet};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use self::kept::Kept;
use self::state::State;
use crate::epochs::{Asked, DECIDED, EpochServer};
use crate::error::PublishError;
use crate::publisher::{Ended, LogKeySource, OUTCOMES, PublicationStatus, Publisher, Waits};
use crate::recovery::SIGNED;
use crate::registry::Registry;
use crate::reign::Reign;
use crate::witnesses::Witnesses;

pub use config::{StationConfig, StoreUrl};
pub use error::StationError;
pub use inspect::inspect;
pub use keys::OwnAudienceKeys;
pub use turns::{Duty, LEASE};

/// How often the folder is looked into for a newer manifest, a refreshed share or a renewed certificate.
const RELOAD: Duration = Duration::from_secs(2);

/// How long each upstream has to bring the own newest head before this service signs, and how long it may be silent.
const OWN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const OWN_HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// An authority's service before it runs. Whoever has it has the party's data folder.
pub struct Station {
    env: Env,
    authority: Authority,
    folder: Folder,
    config: PartyConfig<StationConfig>,
    manifests: Arc<ManifestStore>,
    store_key: Arc<StoreKey>,
    tls: Tls,
    peers: Peers,
    own: Arc<Mirror>,
    other: Arc<Mirror>,
    witness: Option<Witness>,
    shares: Arc<ShareStore>,
    key_share: KeyShareServer,
    pseudonymiser: Pseudonymiser,
    status: watch::Sender<PublicationStatus>,
    store: Store,
    kept: Kept,
    /// Where several instances share the store.
    succession: Option<Succession>,
    has_turn: watch::Sender<bool>,
    epochs: EpochServer,
    asked: Mutex<Asked>,
    telemetry: Telemetry,
    trail: Option<TrailSource>,
    _lock: DataLock,
}

impl Station {
    /// Takes the data folder, opens the store, and reads and verifies all that is in them. Blocks on the disk, within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`StationError`]: what is missing or does not hold.
    pub async fn open(
        authority: Authority,
        config: PartyConfig<StationConfig>,
        env: Env,
        schema: &Schema,
    ) -> Result<Self, StationError> {
        let folder = Folder::open(&config.folder, &env);
        let lock = folder.lock_data()?;
        let manifests = Arc::new(ManifestStore::open(&folder)?);
        let manifest = manifests.current();
        let location = config.section.location(&folder)?;
        let owner = Owner { party: authority, event: manifest.event.clone() };
        let store = Store::open(&location, &owner, schema).await?;
        let store_key = Arc::new(folder.store_key()?);
        let kept = Kept::open(&env, &folder, &location, &store_key)?;
        let succession = match location.is_shared() {
            true => Some(Succession::new(&location)?),
            false => None,
        };
        let tls = Tls::new(&env, folder.service_identity()?, trust_anchors(&manifest)?);
        let peers = Peers::new(&env, &tls, &config.common);
        let State { own, other, witness, shares, key_share, pseudonymiser } =
            State::open(&env, authority, &folder, &kept, &manifests, &peers)?;
        let (epochs, asked) = EpochServer::new(authority);
        Ok(Self {
            own,
            other,
            key_share,
            pseudonymiser,
            status: watch::Sender::default(),
            has_turn: watch::Sender::new(succession.is_none()),
            store,
            store_key,
            kept,
            succession,
            epochs,
            asked: Mutex::new(asked),
            telemetry: Telemetry::new(config.common.telemetry),
            trail: None,
            _lock: lock,
            env,
            authority,
            folder,
            config,
            manifests,
            tls,
            peers,
            shares,
            witness,
        })
    }

    /// The party's folder.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What operators see of this service.
    #[must_use]
    pub const fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Has the audit stream take acts from a trail.
    #[must_use]
    pub fn with_trail(mut self, trail: TrailSource) -> Self {
        self.trail = Some(trail);
        self
    }

    /// The party's store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether this instance has the turn, for what must run in one instance only.
    #[must_use]
    pub fn duty(&self) -> Duty {
        Duty::new(self.has_turn.subscribe())
    }

    /// The manifests.
    #[must_use]
    pub const fn manifests(&self) -> &Arc<ManifestStore> {
        &self.manifests
    }

    /// The key of the party's store.
    #[must_use]
    pub const fn store_key(&self) -> &Arc<StoreKey> {
        &self.store_key
    }

    /// The other parties' services.
    #[must_use]
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The own feed.
    #[must_use]
    pub const fn own(&self) -> &Arc<Mirror> {
        &self.own
    }

    /// The mirror of the other authority's feed.
    #[must_use]
    pub const fn other(&self) -> &Arc<Mirror> {
        &self.other
    }

    /// Computes pseudonyms with the own share and another holder's.
    #[must_use]
    pub const fn pseudonymiser(&self) -> &Pseudonymiser {
        &self.pseudonymiser
    }

    /// How far publication is.
    #[must_use]
    pub fn publication(&self) -> watch::Receiver<PublicationStatus> {
        self.status.subscribe()
    }

    /// The audience keys that the own records are sealed with.
    ///
    /// # Errors
    /// [`StationError::Publish`] if their folder cannot be made.
    pub fn own_audience_keys(&self) -> Result<OwnAudienceKeys, StationError> {
        let (env, folder) = (self.kept.env.clone(), self.kept.audience_keys());
        Ok(OwnAudienceKeys::open(env, folder, Arc::clone(&self.store_key))?)
    }

    /// Serves `services` beside feed, key share and witness, and publishes what `registry` says, until `shutdown`.
    ///
    /// # Errors
    /// [`StationError`]: the port cannot be opened, a peer is not configured, or what was published cannot be taken up.
    pub async fn run<R: Registry>(
        self,
        services: Routes,
        registry: R,
        shutdown: CancellationToken,
    ) -> Result<(), StationError> {
        // An authority that cannot sign shall not look alive: when publishing ends, for whatever reason, all of it ends. Not
        // before: others shall have what was signed last.
        let running = CancellationToken::new();
        let _stop = running.clone().drop_guard();
        // Until the last request is answered.
        let listening = CancellationToken::new();
        let _listening = listening.clone().drop_guard();
        self.telemetry.listen(&self.env, listening).await?;
        let objects = self.objects().await?;
        let source: Arc<dyn ManifestSource> = Arc::clone(&self.manifests) as _;
        let mut upstreams = self.upstreams()?;
        upstreams.extend(objects.iter().map(|objects| objects.upstream(&source)));
        let publisher = self.publisher(registry)?;
        publisher.note_older_store().await?;
        let listen = self.config.common.listen;
        let mut acceptor = Acceptor::bind(&self.env, listen, &self.tls, Limits::default()).await?;
        let audit = self.audit_stream()?;
        if let Some(audit) = &audit {
            acceptor = acceptor.observed_by(audit.observer());
        }
        tracing::info!(address = %acceptor.local_addr(), party = %self.authority, "listening");
        let advertise = self.config.section.advertise.clone();
        let address = advertise.unwrap_or_else(|| acceptor.local_addr().into());

        let tasks = TaskTracker::new();
        let (telemetry, stop) = (&self.telemetry, &running);
        let (tls, manifests) = (&self.tls, &self.manifests);
        tasks.spawn(follow_folder(telemetry, tls, manifests, &self.env, RELOAD, stop));
        let shares = Arc::clone(&self.shares);
        let refreshed = shares.reload_every(RELOAD, telemetry.incidents().clone(), stop.clone());
        tasks.spawn(telemetry.watched("looking for a refreshed share", refreshed));
        let (sync, synced) = watch::channel(SyncState::default());
        self.observe(synced);
        let following = follow(Arc::clone(&self.other), upstreams.clone(), sync, running.clone());
        tasks.spawn(self.telemetry.watched("following the other authority", following));
        if let Some(objects) = objects.filter(Objects::archives) {
            for mirror in [&self.own, &self.other] {
                let archive = objects.archive(mirror, &source);
                archive.observe(&self.telemetry);
                let task = format!("archiving the {}", mirror.authority().name());
                tasks.spawn(self.telemetry.watched(&task, archive.run(running.clone())));
            }
        }
        let routes = self.routes(services, &running);
        let serving = lanyard_transport::serve(routes, acceptor, running.clone());
        tasks.spawn(self.telemetry.watched("serving", serving));
        self.telemetry.serving(shutdown.clone());

        let publishing = async {
            match &self.succession {
                None => self.publish(&publisher, None, &upstreams, &shutdown).await,
                Some(succession) => {
                    let address = address.as_str();
                    self.take_turns(&publisher, succession, address, &upstreams, &shutdown).await
                }
            }
        };
        let published = self.telemetry.watched("publishing", publishing).await;
        running.cancel();
        tasks.close();
        tasks.wait().await;
        if let Some(audit) = audit {
            audit.close().await;
        }
        Ok(published?)
    }

    fn audit_stream(&self) -> Result<Option<AuditStream>, StationError> {
        let config = self.config.common.audit_stream.as_ref();
        let (name, trail) = (self.authority.name(), self.trail.clone());
        Ok(AuditStream::open(&self.env, &self.folder, config, name, trail, &self.telemetry)?)
    }

    /// Shows how the service does.
    fn observe(&self, synced: watch::Receiver<SyncState>) {
        let telemetry = &self.telemetry;
        observe_party(telemetry, self.tls.identity(), &self.manifests);
        self.own.observe(telemetry);
        self.other.observe_following(telemetry, synced);
        self.key_share.observe(telemetry);
        self.pseudonymiser.observe(telemetry);
        if let Some(witness) = &self.witness {
            witness.observe(telemetry);
        }
        metrics::TICKS.show(OUTCOMES.map(|outcome| [outcome]));
        metrics::TICKS_MISSED.show([[]]);
        let (own, manifests) = (Arc::clone(&self.own), Arc::clone(&self.manifests));
        let publication = self.publication();
        telemetry.condition_now("publishes", move || {
            if let Some(waits) = publication.borrow().waits {
                return Err(waits.to_string());
            }
            let limit = u64::from(manifests.current().tick_millis) * LATE_TICKS;
            let time = own.read().signed().map(|signed| signed.head().time);
            let Some(time) = time else { return Err("nothing is published yet".to_owned()) };
            let age = own.now().millis_since(time);
            if age <= limit.max(LATE_MILLIS) {
                return Ok(());
            }
            Err(format!("the newest signed head is {} s old; the log says why", age / 1_000))
        });
    }

    fn routes(&self, services: Routes, shutdown: &CancellationToken) -> axum::Router {
        let mirrors = [Arc::clone(&self.own), Arc::clone(&self.other)];
        let routes = services
            .add_service(FeedServer::new(mirrors, shutdown.clone()).into_service())
            .add_service(self.key_share.clone().into_service())
            .add_service(self.epochs.clone().into_service())
            .into_axum_router();
        match &self.witness {
            Some(witness) => routes.merge(witness.router()),
            None => routes,
        }
    }

    fn publisher<R: Registry>(&self, registry: R) -> Result<Publisher<R>, StationError> {
        let (section, tls) = (self.config.section.clone(), self.tls.clone());
        let (peers, env) = (self.peers.clone(), self.env.clone());
        let witnesses = move |manifest: &VerifiedManifest| {
            let listed = section.witness_peers(manifest, &tls, &peers)?;
            Ok(WitnessSet::new(env.clone(), listed, Timing::default()))
        };
        let first = witnesses(&self.manifests.current())?;
        Ok(Publisher {
            env: self.env.clone(),
            kept: self.kept.env.clone(),
            authority: self.authority,
            keys_folder: self.kept.audience_keys(),
            store_key: Arc::clone(&self.store_key),
            log_keys: log_keys(&self.folder)?,
            manifests: Arc::clone(&self.manifests),
            mirror: Arc::clone(&self.own),
            other: Arc::clone(&self.other),
            own_key: self.folder.hpke_key().ok().map(Arc::new),
            signed: self.kept.path(SIGNED),
            is_store_known: AtomicBool::new(self.succession.is_none()),
            report: self.folder.data_dir().join(REPORT),
            decided: self.kept.path(DECIDED),
            store: self.store.clone(),
            witnesses: Witnesses::new(first, Arc::new(witnesses)),
            registry,
        })
    }

    async fn objects(&self) -> Result<Option<Objects>, StationError> {
        let (config, folder) = (self.config.section.objects.as_ref(), self.folder.path());
        let event = self.manifests.current().event.clone();
        Ok(Objects::start(config, folder, &self.env, &event, &[&self.own]).await?)
    }

    fn upstreams(&self) -> Result<Vec<Upstream>, UpstreamError> {
        let names = self.config.section.upstreams.iter().map(String::as_str);
        upstreams(&self.peers, self.authority.name(), self.other.audiences(), names)
    }

    /// Publishes until `shutdown`; begins again with what mirrors bring when others have to answer first.
    async fn publish<R: Registry>(
        &self,
        publisher: &Publisher<R>,
        reign: Option<Reign>,
        upstreams: &[Upstream],
        shutdown: &CancellationToken,
    ) -> Result<(), PublishError> {
        loop {
            let fetched = shutdown.run_until_cancelled(self.fetch_own_head(upstreams)).await;
            let Some(()) = fetched else { return Ok(()) };
            let mut asked = self.asked.lock().await;
            match publisher.run(reign.clone(), &self.status, &mut asked, shutdown).await? {
                Ended::Stopped => return Ok(()),
                Ended::Waits(waits) => {
                    let status = PublicationStatus { waits: Some(waits), ..*self.status.borrow() };
                    if self.status.send_replace(status).waits != Some(waits) {
                        tracing::error!(%waits, "nothing is signed until others have answered");
                    }
                    // Another instance may know the store as the one that was published from.
                    if reign.is_some() && matches!(waits, Waits::Unconfirmed { .. }) {
                        return Ok(());
                    }
                }
            }
            let _ = shutdown.run_until_cancelled(tokio::time::sleep(OWN_HEAD_PATIENCE)).await;
        }
    }

    /// Before anything is signed: what mirrors know of the own log beyond this machine's disk is taken up. A mirror that
    /// cannot be reached is passed over: where this machine's memory may be a backup's, witnesses are waited for.
    async fn fetch_own_head(&self, upstreams: &[Upstream]) {
        let before = self.own.read().size();
        for upstream in upstreams {
            let caught_up = catch_up(&self.own, upstream, OWN_HEAD_PATIENCE);
            match tokio::time::timeout(OWN_HEAD_TIMEOUT, caught_up).await {
                Ok(Ok(size)) if size > before => {
                    tracing::warn!(
                        before,
                        size,
                        from = upstream.name,
                        "own log taken up from a mirror"
                    );
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::info!(%error, from = upstream.name, "own head not fetched");
                }
                Err(_) => tracing::info!(from = upstream.name, "own head not fetched in time"),
            }
        }
    }
}

/// A head of its own may be so many ticks old, and so many milliseconds if that is more.
const LATE_TICKS: u64 = 5;
const LATE_MILLIS: u64 = 10_000;

/// What was found when a backup was restored.
const REPORT: &str = "restored.json";

const fn other(authority: Authority) -> Authority {
    match authority {
        Authority::Committee => Authority::Police,
        Authority::Police => Authority::Committee,
    }
}

const fn party(authority: Authority) -> PartyName {
    match authority {
        Authority::Committee => PartyName::Committee,
        Authority::Police => PartyName::Police,
    }
}

/// The keys that sign checkpoints, read anew for each: one that takes another's place signs along from when it is there.
fn log_keys(folder: &Folder) -> Result<LogKeySource, StationError> {
    let folder = folder.clone();
    let keys = move || folder.log_keys();
    keys()?;
    Ok(Arc::new(keys))
}

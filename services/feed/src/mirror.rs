//! The mirror of one authority's directories: what it is made of, and how it is read.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use lanyard_core::audience_key::SealedAudienceKey;
use lanyard_core::freshness::{ClockError, FreshnessError};
use lanyard_core::head::MapHead;
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Audience, Authority, Origin, Timestamp};
use lanyard_env::Env;
use lanyard_telemetry::{Incident, Incidents};
use tokio::sync::watch;

use crate::events::{Event, Events};
use crate::evidence::Evidence;
use crate::intake::Intake;
use crate::manifests::{ManifestSource, Policy};
use crate::publish::Pending;
use crate::route::Route;
use crate::state::{State, read, write};
use crate::store::Store;
use crate::view::View;
use crate::{DirectoryKey, FeedError};

/// How long a tick may be on its way to a mirror that a witness asks about.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// Tells a witness whether these mirrors hold a log, named by its origin, up to a size; see [`Mirror::holds`]. True of a log
/// that is not among them.
pub fn held_by<const N: usize>(
    mirrors: [Arc<Mirror>; N],
) -> impl Fn(&str, u64) -> BoxFuture<'static, bool> + Send + Sync {
    move |origin, size| {
        let mirror = mirrors.iter().find(|mirror| mirror.origin().as_str() == origin).cloned();
        Box::pin(async move {
            match mirror {
                Some(mirror) => mirror.holds(size).await,
                None => true,
            }
        })
    }
}

/// Who this party is as a verifier: opens the audience keys that are sealed to it.
#[derive(Clone)]
pub struct Recipient {
    /// Its id in the manifest, for example `gate/gate-1`.
    pub id: String,
    /// Its HPKE key.
    pub key: Arc<HpkeSecretKey>,
}

/// What to mirror.
#[derive(Clone)]
pub struct MirrorConfig {
    /// Whose directories.
    pub authority: Authority,
    /// Directories for whom.
    pub audiences: Vec<Audience>,
    /// Who opens audience keys here; `None` for a mirror that only passes them on.
    pub recipient: Option<Recipient>,
    /// Whether the authority itself publishes here. Its folder is its memory of what it signed, so nothing damaged in it
    /// is left out silently.
    pub publisher: bool,
}

/// A verified mirror of one authority's directories, on disk and in memory. Nothing unverified is visible or served.
pub struct Mirror {
    pub(crate) env: Env,
    pub(crate) config: MirrorConfig,
    pub(crate) origin: Origin,
    pub(crate) manifests: Arc<dyn ManifestSource>,
    pub(crate) store: Store,
    pub(crate) state: Arc<RwLock<State>>,
    /// Whoever changes anything holds this.
    writer: Mutex<Writer>,
    pub(crate) events: Events,
    pub(crate) route: Route,
    caught: AtomicU64,
    incidents: OnceLock<Incidents>,
    /// By how many milliseconds the newest head or quorum was refused for being ahead of the clock here.
    refused_ahead: AtomicU64,
}

/// What only writers need to know.
#[derive(Default)]
pub(crate) struct Writer {
    /// The size of the log at the base; 0 before there is one.
    pub(crate) base: u64,
    /// Ticks after this size are on disk.
    pub(crate) ticks_after: u64,
    /// Bytes of deltas, and ticks, since the base.
    pub(crate) delta_bytes: u64,
    pub(crate) ticks: u64,
    /// Whether an epoch began since the base.
    pub(crate) new_epoch: bool,
    /// A tick that is prepared and not published.
    pub(crate) pending: Option<Pending>,
}

impl Mirror {
    /// Opens the mirror in its folder and replays what is there, verifying all of it; needs no network. The folder must
    /// be this process's alone: the party's data lock covers it.
    ///
    /// # Errors
    /// [`FeedError::Disk`], or [`FeedError::Corrupt`] if the log kept there is damaged. A damaged directory of a follower
    /// is left out and fetched again; a damaged newest tick of a follower likewise.
    pub fn open(
        env: Env,
        dir: &Path,
        config: MirrorConfig,
        manifests: Arc<dyn ManifestSource>,
    ) -> Result<Arc<Self>, FeedError> {
        let store = Store::open(Arc::clone(&env.files), dir, config.authority)?;
        let origin = manifests.current().origin(config.authority);
        let route = Route::draw(&env);
        let mirror = Self {
            env,
            config,
            origin,
            manifests,
            store,
            state: Arc::default(),
            writer: Mutex::default(),
            events: Events::new(),
            route,
            caught: AtomicU64::new(0),
            incidents: OnceLock::new(),
            refused_ahead: AtomicU64::new(0),
        };
        mirror.replay(&mut mirror.lock())?;
        Ok(Arc::new(mirror))
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.config.authority
    }

    /// The origin of its log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whom the authority seals copies of its audience keys to, for itself: `committee/committee`, for example. Its own
    /// records are all that tells it after a restored backup whom it stopped.
    #[must_use]
    pub fn own_id(&self) -> String {
        let name = self.config.authority.name();
        format!("{name}/{name}")
    }

    /// The audiences whose directories are mirrored.
    #[must_use]
    pub fn audiences(&self) -> &[Audience] {
        &self.config.audiences
    }

    /// The state now. Cheap: a read lock, for which a writer is waited for about ten milliseconds at most.
    #[must_use]
    #[inline]
    pub fn read(&self) -> View<'_> {
        View { state: read(&self.state) }
    }

    /// Shows a number that grows whenever something became visible.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// The clock here, never behind the highest quorum time seen and the time that passed since.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let (wall, elapsed) = (self.env.now(), self.env.elapsed_millis());
        read(&self.state).floor.now(wall, elapsed)
    }

    /// What is wrong with the clock here, as far as this authority's log shows: more than the manifest's skew and what an
    /// upstream may be late.
    #[must_use]
    pub fn clock_error(&self) -> Option<ClockError> {
        let allowed = self.manifests.current().allowed_millis();
        let (wall, elapsed) = (self.env.now(), self.env.elapsed_millis());
        let found = read(&self.state).floor.clock_error(wall, elapsed, allowed);
        // Heads that are refused for it are not seen by the floor.
        let refused = self.refused_ahead.load(Ordering::Relaxed);
        found.or((refused > 0).then_some(ClockError::Behind { millis: refused }))
    }

    /// For the authority itself: a quorum of its witnesses answered just now, so their time is the time.
    pub fn witnesses_answered(&self) {
        write(&self.state).floor.is_asked_now();
    }

    /// The time to do by what cannot be undone, as to sign and to begin an epoch: the clock's, but the witnesses' if the clock
    /// is known to be ahead. One head that is ahead of everybody's clock would keep followers from all that comes after it.
    #[must_use]
    pub fn trusted_now(&self) -> Timestamp {
        match self.clock_error() {
            Some(ClockError::Ahead { .. }) => {
                read(&self.state).floor.proven(self.env.elapsed_millis())
            }
            _ => self.now(),
        }
    }

    /// Keeps the time that is known to have passed, for a start with a clock that was set back. Blocks on the disk.
    ///
    /// # Errors
    /// [`FeedError::Disk`].
    pub fn keep_time(&self) -> Result<(), FeedError> {
        let _writer = self.lock();
        let Some(mut kept) = self.store.quorum()? else { return Ok(()) };
        let proven = read(&self.state).floor.proven(self.env.elapsed_millis());
        kept.floor = kept.floor.max(proven);
        self.store.put_quorum(&kept)
    }

    /// The feed comes by this way now: from the upstream in use to the authority.
    pub(crate) fn comes_by(&self, route: &[u64]) {
        if self.route.comes_by(route) {
            self.events.push(Event::route(self.route.wire()));
        }
    }

    /// Takes note of whether a time was refused for being ahead of the clock here.
    pub(crate) fn note_ahead(&self, refused: Option<&FreshnessError>) {
        let ahead = match refused {
            Some(FreshnessError::AheadOfClock { ahead_millis, .. }) => *ahead_millis,
            _ => 0,
        };
        self.refused_ahead.store(ahead, Ordering::Relaxed);
    }

    /// How often somebody was caught since this process started.
    #[must_use]
    pub fn times_caught(&self) -> u64 {
        self.caught.load(Ordering::Relaxed)
    }

    /// Whether something is missing that the newest head promises: a directory, its profile table, or, at a verifier, the
    /// audience key of the live epoch or the next: whoever withholds the next one shall be left before it is needed.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        let state = read(&self.state);
        let Some(signed) = &state.signed else { return true };
        self.wanted(&signed.head).any(|key| match state.directories.get(&key) {
            None => true,
            Some(held) => {
                let reads = self.reads(key.audience) && key.epoch >= signed.head.live_epoch;
                !held.has_table() || (reads && held.key.is_none())
            }
        })
    }

    /// The size of the log at the newest base on the disk, from which a follower without anything is started; 0 before there
    /// is one. Waits for whoever changes the mirror now.
    #[must_use]
    pub fn base_size(&self) -> u64 {
        self.lock().base
    }

    /// Whether the log is held up to `size`, for a witness that cosigns only what is held here. A tick that is on its way is
    /// waited for, half a second at most. A mirror that lacks more than one tick has got stuck or is catching up: that
    /// shall not keep its party's witness from its part in a quorum.
    pub async fn holds(&self, size: u64) -> bool {
        let mut visible = self.subscribe();
        let held = || self.read().size();
        let arrives = async { while held() < size && visible.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(ON_ITS_WAY, arrives).await;
        held() >= size || held() + 1 < size
    }

    /// Takes the updates of one stream from `sender`, whose name goes into evidence.
    #[must_use]
    pub fn intake(self: &Arc<Self>, sender: &str) -> Intake {
        Intake::new(Arc::clone(self), sender)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        // A writer that panicked has taken its changes back: see `Staged`.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy::of(self.manifests.current(), self.config.authority)
    }

    /// The directories of a head that are mirrored here.
    pub(crate) fn wanted<'a>(&'a self, head: &'a MapHead) -> impl Iterator<Item = DirectoryKey> {
        let keys = head.directories.iter().map(DirectoryKey::of);
        keys.filter(|key| self.config.audiences.contains(&key.audience))
    }

    /// Whether the manifest lets this party open an audience's records.
    fn reads(&self, audience: Audience) -> bool {
        let Some(recipient) = &self.config.recipient else { return false };
        let manifest = self.manifests.current();
        manifest.verifier(&recipient.id).is_some_and(|one| one.audiences.contains(&audience))
    }

    /// Whether a sealed key is addressed to this party.
    pub(crate) fn is_own(&self, key: &SealedAudienceKey) -> bool {
        self.config.recipient.as_ref().is_some_and(|own| own.id == key.recipient)
    }

    pub(crate) fn tell_incidents_to(&self, incidents: &Incidents) {
        // A mirror is of one service.
        let _ = self.incidents.set(incidents.clone());
    }

    /// Saves evidence; failing to must not hide what it is about.
    pub(crate) fn caught(&self, evidence: Evidence) {
        self.caught.fetch_add(1, Ordering::Relaxed);
        if let Some(incidents) = self.incidents.get() {
            incidents.tell(Incident::MisdeedNoticed, evidence.in_short());
        }
        if let Err(error) = evidence.save(&self.store, self.env.now()) {
            tracing::error!(%error, "evidence could not be saved");
        }
    }
}

//! The task that ticks.

mod start;
mod status;
mod witnessing;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lanyard_core::freshness::ClockError;
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Authority, Epoch};
use lanyard_core::note::SigningKey;
use lanyard_core::profile::ProfileTable;
use lanyard_env::Env;
use lanyard_feed::Mirror;
use lanyard_party::{KeyFileError, ManifestStore, StoreKey};
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError};
use lanyard_telemetry::metrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::witnessing::Witnessing;
use crate::epochs::{Ask, Asked, Cost, Decided, Order};
use crate::error::PublishError;
use crate::publication::{Publication, TickInput};
use crate::recovery::{Signed, SignedUpTo};
use crate::registry::{Entry, Registry};
use crate::reign::Reign;
use crate::witnesses::Witnesses;

pub use status::{PublicationStatus, Waits};

/// How long a stop waits for the witnesses of the last tick.
const LAST_TICK: Duration = Duration::from_secs(1);

/// Entries read from the store at once.
const PAGE: u32 = 4_096;

/// Why publishing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to.
    Stopped,
    /// Others have to answer first.
    Waits(Waits),
}

/// The keys that sign checkpoints, asked for each.
pub type LogKeySource = Arc<dyn Fn() -> Result<Vec<SigningKey>, KeyFileError> + Send + Sync>;

/// What an authority publishes with.
pub(crate) struct Publisher<R> {
    /// Clock, randomness and this machine's files.
    pub(crate) env: Env,
    /// With the files that a party keeps once: audience keys among them.
    pub(crate) kept: Env,
    /// Which authority.
    pub(crate) authority: Authority,
    /// Where audience keys are kept, sealed.
    pub(crate) keys_folder: PathBuf,
    /// Seals them.
    pub(crate) store_key: Arc<StoreKey>,
    /// Sign checkpoints.
    pub(crate) log_keys: LogKeySource,
    /// Says when to tick and how to pad.
    pub(crate) manifests: Arc<ManifestStore>,
    /// The own feed.
    pub(crate) mirror: Arc<Mirror>,
    /// Cosign.
    pub(crate) witnesses: Witnesses,
    /// The mirror of the other authority's feed.
    pub(crate) other: Arc<Mirror>,
    /// Opens the copies of audience keys that the authority sends itself.
    pub(crate) own_key: Option<Arc<HpkeSecretKey>>,
    /// Where it is remembered, among the kept files, what was signed, and where a report goes when a backup was restored.
    pub(crate) signed: PathBuf,
    /// See `signed`.
    pub(crate) report: PathBuf,
    /// Where an epoch that was decided on is remembered until it is live, among the kept files.
    pub(crate) decided: PathBuf,
    /// Has the audit trail.
    pub(crate) store: Store,
    /// Whether the store is known to be the one that was published from, and none restored from a backup. A file on this
    /// machine is, unless [`Signed::is_restored`]. Nothing on this machine tells it of a shared one: a quorum of witnesses
    /// does, or another instance that publishes from it before this one's eyes.
    pub(crate) is_store_known: AtomicBool,
    /// Says what to publish.
    pub(crate) registry: R,
}

impl<R: Registry> Publisher<R> {
    /// Ticks until `shutdown`, or until others have to answer first; a tick that has begun is finished, and witnesses have
    /// [`LAST_TICK`] for the last one.
    ///
    /// # Errors
    /// [`PublishError`] if what was published cannot be taken up. Later failures are logged and tried again at the next tick.
    pub(crate) async fn run(
        &self,
        reign: Option<Reign>,
        status: &watch::Sender<PublicationStatus>,
        asked: &mut Asked,
        shutdown: &CancellationToken,
    ) -> Result<Ended, PublishError> {
        let Self { env, manifests, mirror, .. } = self;
        let decided = Decided::at(self.kept.clone(), self.decided.clone());
        let (mut publication, mut cursor) = match self.begin(reign, shutdown).await? {
            ControlFlow::Continue(begun) => begun,
            ControlFlow::Break(ended) => return Ok(ended),
        };
        if let Some(epoch) = decided.read()? {
            publication.decide(epoch);
        }
        let ahead = watch::Sender::new(None);
        let (finish, stop) = (shutdown.clone(), CancellationToken::new());
        let _stop = stop.clone().drop_guard();
        let cosigning = self.witnessing().cosign(ahead.clone(), finish, stop.clone());
        let mut cosigning = tokio::spawn(cosigning);
        let mut ended = Ended::Stopped;
        let mut clock = ClockLog::default();
        while !shutdown.is_cancelled() {
            let manifest = manifests.current();
            let started = tokio::time::Instant::now();
            if let Some(known) = *ahead.borrow() {
                ended = self.behind(known);
                break;
            }
            let input = match self.take_changes(&mut publication, &mut cursor).await {
                Ok(profiles) => TickInput {
                    now: mirror.trusted_now(),
                    profiles,
                    manifest: Arc::clone(&manifest),
                },
                Err(error) => {
                    metrics::TICKS.of([STORE_FAILED]).increment(1);
                    if error.is_damage() {
                        tracing::error!(%error, "no tick: the store is damaged");
                    } else {
                        tracing::error!(%error, "no tick: the store does not answer");
                    }
                    self.pause(&mut publication, asked, &decided, started, shutdown).await;
                    continue;
                }
            };
            let mut rng = env.rng();
            let size = mirror.read().size() + 1;
            let (remember, path) = (self.kept.clone(), self.signed.clone());
            let (returned, ticked) = blocking(move || {
                let signed = Signed { size, cursor, is_restored: false };
                let ticked = match SignedUpTo::at(remember, path).write(signed) {
                    Ok(()) => publication.tick(input, &mut rng),
                    Err(error) => Err(error.into()),
                };
                Ok((publication, ticked))
            })
            .await?;
            publication = returned;
            let outcome = if ticked.is_ok() { PUBLISHED } else { FAILED };
            metrics::TICKS.of([outcome]).increment(1);
            match ticked {
                Ok(()) => {}
                Err(PublishError::TermOver) => break,
                // Another instance has published since: what is here is not the newest.
                Err(PublishError::File(error)) if error.is_replaced() => break,
                Err(PublishError::RecordedOtherwise { size }) => {
                    ended = self.behind(size);
                    break;
                }
                Err(error) => tracing::error!(%error, "no tick: changes wait for the next"),
            }
            let published = PublicationStatus::of(&publication);
            metrics::CHANGES_WAITING.of([]).set(published.waiting as f64);
            status.send_replace(published);
            count_time(started.elapsed(), manifest.tick_millis);
            clock.look(mirror.clock_error());
            if publication.decided().is_none() {
                // Live now, or there was none.
                decided.remove()?;
            }
            self.pause(&mut publication, asked, &decided, started, shutdown).await;
        }
        // Whoever cosigns has the last tick too, and this machine may be lost.
        let patience = if ended == Ended::Stopped { LAST_TICK } else { Duration::ZERO };
        if tokio::time::timeout(patience, &mut cosigning).await.is_err() {
            stop.cancel();
            let _ = cosigning.await;
        }
        Ok(ended)
    }

    fn witnessing(&self) -> Witnessing {
        Witnessing {
            mirror: Arc::clone(&self.mirror),
            witnesses: self.witnesses.clone(),
            manifests: Arc::clone(&self.manifests),
        }
    }

    fn behind(&self, known: u64) -> Ended {
        Ended::Waits(Waits::Behind { known, held: self.mirror.read().size() })
    }

    /// Takes up what changed in the store, page by page: the cursor passes a page once its entries are taken up, so that no
    /// later failure loses them. Returns the profiles.
    async fn take_changes(
        &self,
        publication: &mut Publication,
        cursor: &mut u64,
    ) -> Result<ProfileTable, PublishError> {
        let now = self.mirror.trusted_now();
        loop {
            let (entries, next) = page(&self.registry, *cursor).await?;
            for entry in entries {
                publication.take(entry, now);
            }
            if next == *cursor {
                break;
            }
            *cursor = next;
        }
        let profiles = self.registry.profiles().await;
        profiles.map_err(|error| PublishError::Registry(Box::new(error)))
    }

    /// Waits for the next tick, and answers what people ask meanwhile.
    async fn pause(
        &self,
        publication: &mut Publication,
        asked: &mut Asked,
        decided: &Decided,
        started: tokio::time::Instant,
        shutdown: &CancellationToken,
    ) {
        let tick = self.manifests.current().tick_millis;
        let next = started + Duration::from_millis(u64::from(tick));
        loop {
            let ask = tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep_until(next) => return,
                ask = asked.next() => ask,
            };
            match ask {
                Ask::Cost(answer) => match self.cost(publication) {
                    // Whoever asked may be gone.
                    Ok(cost) => drop(answer.send(cost)),
                    Err(error) => tracing::error!(%error, "what an epoch costs cannot be said"),
                },
                Ask::Start(order, answer) => {
                    drop(answer.send(self.decide(publication, decided, &order).await));
                }
            }
        }
    }

    fn cost(&self, publication: &Publication) -> Result<Cost, PublishError> {
        publication.cost(&self.manifests.current(), self.others_epoch(), &self.env)
    }

    /// Decides on a new epoch, durably; or says again what is decided. Each order has its entry in the audit trail, and
    /// before the epoch: a crash in between leaves an entry without an epoch, never an epoch that nobody asked for. Not one
    /// transaction, as several instances keep what is decided in the store, under a transaction of its own.
    async fn decide(
        &self,
        publication: &mut Publication,
        decided: &Decided,
        order: &Order,
    ) -> Result<Epoch, PublishError> {
        let under_way = publication.decided();
        let epoch = under_way.unwrap_or_else(|| publication.next_out_of_turn(self.others_epoch()));
        self.note(epoch, order).await.map_err(PublishError::Trail)?;
        if under_way.is_none() {
            decided.write(epoch)?;
            publication.decide(epoch);
        }
        Ok(epoch)
    }

    async fn note(&self, epoch: Epoch, order: &Order) -> Result<(), StoreError> {
        let mut transaction = self.store.begin().await?;
        let change = AuditTrail::new_change(&mut transaction).await?;
        let entry = NewAuditEntry {
            operator: &order.operator,
            action: "start-epoch",
            subject: &format!("epoch {epoch}"),
            reason: &order.reason,
        };
        AuditTrail::append(&mut transaction, self.env.now(), change, &[entry]).await?;
        transaction.commit().await
    }

    /// The newest epoch that the other authority lives in.
    fn others_epoch(&self) -> Option<Epoch> {
        self.other.read().signed().map(|signed| signed.head().live_epoch)
    }
}

/// What metrics call what became of a tick.
const PUBLISHED: &str = "published";
const STORE_FAILED: &str = "store_failed";
const FAILED: &str = "failed";
pub(crate) const OUTCOMES: [&str; 3] = [PUBLISHED, STORE_FAILED, FAILED];

/// A tick that takes longer than there is until the next makes that one late.
fn count_time(took: Duration, tick_millis: u32) {
    metrics::TICK_DURATION.of([]).record(took);
    let missed = took.as_millis() / u128::from(tick_millis.max(1));
    metrics::TICKS_MISSED.of([]).increment(u64::try_from(missed).unwrap_or(u64::MAX));
}

/// Says when this machine's clock turns out to be wrong, and when it is right again.
#[derive(Default)]
struct ClockLog {
    /// Looks since it was said.
    said: Option<u32>,
}

/// After how many looks a wrong clock is named again.
const SAID_AGAIN: u32 = 300;

impl ClockLog {
    fn look(&mut self, error: Option<ClockError>) {
        match (error, self.said) {
            (Some(_), Some(looks)) if looks < SAID_AGAIN => self.said = Some(looks + 1),
            (Some(error), _) => {
                tracing::error!(
                    "{error}; nothing is signed by a clock that is ahead, but by the witnesses' time"
                );
                self.said = Some(0);
            }
            (None, Some(_)) => {
                tracing::info!("the clock is right again");
                self.said = None;
            }
            (None, None) => {}
        }
    }
}

/// Runs what takes long or blocks on the disk beside the tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    lanyard_env::blocking(work).await.map_err(|_| PublishError::Worker)?
}

async fn page<R: Registry>(registry: &R, after: u64) -> Result<(Vec<Entry>, u64), PublishError> {
    let page = registry.changes(after, PAGE).await;
    let page = page.map_err(|error| PublishError::Registry(Box::new(error)))?;
    Ok((page.entries, page.cursor))
}

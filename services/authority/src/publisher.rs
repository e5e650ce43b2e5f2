//! The task that ticks, and the one that asks witnesses.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::freshness::ClockError;
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Authority, Epoch};
use lanyard_core::log::empty_root;
use lanyard_core::note::SigningKey;
use lanyard_core::profile::ProfileTable;
use lanyard_env::{Env, Mode};
use lanyard_feed::Mirror;
use lanyard_party::{KeyFileError, ManifestStore, StoreKey};
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError};
use lanyard_telemetry::metrics;
use lanyard_witness::{ProofSource, WitnessFault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::epochs::{Ask, Asked, Cost, Decided, Order};
use crate::error::PublishError;
use crate::keys::KeyFolder;
use crate::publication::{Press, Publication, TickInput};
use crate::recovery::{Signed, SignedUpTo};
use crate::registry::{Entry, Registry};
use crate::reign::Reign;
use crate::sealer::Desired;
use crate::witnesses::Witnesses;

/// How long a stop waits for the witnesses of the last tick.
const LAST_TICK: Duration = Duration::from_secs(1);

/// Entries read from the store at once.
const PAGE: u32 = 4_096;

/// How far publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicationStatus {
    /// Size of the newest signed checkpoint.
    pub log_size: u64,
    /// Size of the newest with a quorum of cosignatures.
    pub quorum_size: u64,
    /// Changes of the gates' live directory that no signed checkpoint has yet.
    pub waiting: u64,
    /// The live epoch.
    pub epoch: Epoch,
    /// Rows of the gates' live directory, decoys included.
    pub records: u64,
    /// Why nothing is signed, if it has to wait for others.
    pub waits: Option<Waits>,
}

impl Default for PublicationStatus {
    fn default() -> Self {
        let epoch = Epoch::new(0);
        Self { log_size: 0, quorum_size: 0, waiting: 0, epoch, records: 0, waits: None }
    }
}

/// Why nothing may be signed until others have answered: whoever signed on might fork the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// A witness, or the store of several instances, knows a greater size of this log than this machine holds, and no
    /// quorum says otherwise. A mirror has the rest.
    Behind {
        /// The size that they know.
        known: u64,
        /// The size that is held here.
        held: u64,
    },
    /// What is here may be a restored backup, and too few witnesses have said that they know no more of this log.
    Unconfirmed {
        /// The size that is held here.
        held: u64,
        /// How many of them have to say so.
        quorum: u8,
    },
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { known, held } => write!(
                f,
                "a witness or the store knows more of this log than this machine, {known} ticks and not {held}: nothing is \
                 signed until a mirror brings the rest or a quorum disagrees"
            ),
            Self::Unconfirmed { held, quorum } => write!(
                f,
                "this may be a restored backup: nothing is signed until {quorum} witnesses have said that they know no more \
                 of this log than the {held} ticks here"
            ),
        }
    }
}

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
            let published = status_of(&publication);
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

    /// Takes up what was published, once it is safe to go on from there.
    async fn begin(
        &self,
        reign: Option<Reign>,
        shutdown: &CancellationToken,
    ) -> Result<ControlFlow<Ended, (Publication, u64)>, PublishError> {
        let press = Press {
            event: self.manifests.current().event.clone(),
            authority: self.authority,
            log_keys: Arc::clone(&self.log_keys),
            keys: KeyFolder::open(
                self.kept.clone(),
                self.keys_folder.clone(),
                Arc::clone(&self.store_key),
            )?,
            mirror: Arc::clone(&self.mirror),
            reign,
            own_key: self.own_key.clone(),
        };
        let caught_up = blocking(move || press.catch_up().map(|missing| (press, missing)));
        let press = match caught_up.await? {
            (press, None) => press,
            (_, Some(known)) => return Ok(ControlFlow::Break(self.behind(known))),
        };
        let memory = SignedUpTo::at(self.kept.clone(), self.signed.clone());
        let is_marked = memory.read()?.is_some_and(|signed| signed.is_restored);
        let is_doubtful = is_marked || !self.is_store_known.load(Ordering::Relaxed);
        let told = match self.ask_witnesses(is_doubtful, shutdown).await? {
            Told::More { known } => return Ok(ControlFlow::Break(self.behind(known))),
            told => told,
        };
        if told == Told::NoMore {
            self.is_store_known.store(true, Ordering::Relaxed);
        } else if is_doubtful {
            return Ok(ControlFlow::Break(self.unconfirmed()));
        }

        let (desired, cursor) = load(&self.registry).await?;
        let is_restored = match self.look_back(&memory, cursor)? {
            LookedBack::Lacking { known } => return Ok(ControlFlow::Break(self.behind(known))),
            LookedBack::AsLeft => false,
            LookedBack::Restored if told != Told::NoMore => {
                return Ok(ControlFlow::Break(self.unconfirmed()));
            }
            LookedBack::Restored => true,
        };
        let now = self.mirror.trusted_now();
        let publication = blocking(move || {
            press.resume()?;
            Publication::recover(press, desired, now)
        })
        .await?;
        if is_restored {
            self.hold_back(&publication).await?;
        }
        Ok(ControlFlow::Continue((publication, cursor)))
    }

    /// Asks witnesses about the newest own head, as they remember what a restored backup forgot, also while no mirror
    /// answers. With nothing signed yet they are asked only if that is in doubt.
    async fn ask_witnesses(
        &self,
        is_doubtful: bool,
        shutdown: &CancellationToken,
    ) -> Result<Told, PublishError> {
        let newest = self.mirror.read().signed().map(|signed| signed.checkpoint().clone());
        let newest = match newest {
            Some(newest) => newest,
            None if !is_doubtful => return Ok(Told::TooLittle),
            // Every log begins so: it forks none.
            None => {
                let keys = (self.log_keys)()?;
                let empty = Checkpoint::new(self.mirror.origin(), 0, empty_root());
                empty.sign_all(&keys.iter().collect::<Vec<_>>())?
            }
        };
        let told = shutdown.run_until_cancelled(self.witnessing().ask(newest)).await;
        Ok(told.unwrap_or(Told::TooLittle))
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

    fn unconfirmed(&self) -> Ended {
        let quorum = self.manifests.current().quorum;
        Ended::Waits(Waits::Unconfirmed { held: self.mirror.read().size(), quorum })
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

    /// Whether the store is older than what was published from it, or nothing was yet: to be asked before anybody can change
    /// it.
    ///
    /// # Errors
    /// [`PublishError::Registry`] or [`PublishError::File`].
    pub(crate) async fn note_older_store(&self) -> Result<(), PublishError> {
        loop {
            match self.note_store_as_found().await {
                // Instances start at once, and another one was faster.
                Err(PublishError::File(error)) if error.is_replaced() => {}
                noted => return noted,
            }
        }
    }

    async fn note_store_as_found(&self) -> Result<(), PublishError> {
        let memory = SignedUpTo::at(self.kept.clone(), self.signed.clone());
        match memory.read()? {
            Some(signed) if signed.cursor > 0 => {
                let (_, newest) = page(&self.registry, signed.cursor - 1).await?;
                // By its number: there may be nothing to say of it, as of a print that waits to be issued.
                if newest < signed.cursor {
                    // Durable, as the next change may have the number that is missing now.
                    memory.write(Signed { is_restored: true, ..signed })?;
                }
            }
            Some(_) => {}
            // An event begins. Changes may come before the first tick: that would look like a store whose log is lost.
            None => {
                let is_new = self.mirror.read().size() == 0;
                if is_new && page(&self.registry, 0).await?.0.is_empty() {
                    memory.write(Signed { size: 0, cursor: 0, is_restored: false })?;
                }
            }
        }
        Ok(())
    }

    /// Compares what is here with what this machine remembers to have signed.
    fn look_back(&self, memory: &SignedUpTo, cursor: u64) -> Result<LookedBack, PublishError> {
        let held = self.mirror.read().size();
        let Some(signed) = memory.read()? else {
            return Ok(match (held, cursor) {
                (0, 0) => LookedBack::AsLeft,
                // A store on a machine without a log: whoever has that log must be asked first.
                (0, _) => LookedBack::Lacking { known: 1 },
                _ => LookedBack::Restored,
            });
        };
        if held + 1 < signed.size {
            return Ok(LookedBack::Lacking { known: signed.size - 1 });
        }
        if !signed.is_restored && held <= signed.size && cursor >= signed.cursor {
            return Ok(LookedBack::AsLeft);
        }
        memory.write(Signed { is_restored: true, ..signed })?;
        Ok(LookedBack::Restored)
    }

    /// Holds back whom the published records do not show as good, and states what is lost.
    async fn hold_back(&self, publication: &Publication) -> Result<(), PublishError> {
        let (report, held) = publication.compare(&self.manifests.current().padding);
        tracing::error!(
            held = report.held, stopped_again = report.stopped_again, unknown_rows = report.unknown,
            report = %self.report.display(),
            "the store is older than what was published: whoever is good in it and not in the directory is held"
        );
        let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
        self.env.files.write_atomic(&self.report, &json, Mode::Private)?;
        let held = self.registry.hold(&held, report.rows, self.env.now()).await;
        held.map_err(|error| PublishError::Registry(Box::new(error)))
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

fn status_of(publication: &Publication) -> PublicationStatus {
    let view = publication.mirror().read();
    PublicationStatus {
        log_size: view.size(),
        quorum_size: view.quorum().map_or(0, |quorum| quorum.size()),
        waiting: publication.waiting() as u64,
        epoch: publication.live_epoch(),
        records: publication.rows() as u64,
        waits: None,
    }
}

/// What a start finds.
enum LookedBack {
    /// As this machine left it.
    AsLeft,
    /// The log is longer than what this machine signed, or the store older: a backup was restored.
    Restored,
    /// The log is shorter than what this machine signed.
    Lacking {
        /// Its size.
        known: u64,
    },
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

async fn load<R: Registry>(registry: &R) -> Result<(Desired, u64), PublishError> {
    let mut desired = Desired::new();
    let mut cursor = 0;
    loop {
        let page = page(registry, cursor).await?;
        desired.extend(page.0.into_iter().map(|entry| (entry.id, entry)));
        if page.1 == cursor {
            return Ok((desired, cursor));
        }
        cursor = page.1;
    }
}

async fn page<R: Registry>(registry: &R, after: u64) -> Result<(Vec<Entry>, u64), PublishError> {
    let page = registry.changes(after, PAGE).await;
    let page = page.map_err(|error| PublishError::Registry(Box::new(error)))?;
    Ok((page.entries, page.cursor))
}

/// What witnesses say of the own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// A quorum knows no more of it.
    NoMore,
    /// One knows a greater size, and no quorum disagrees.
    More {
        /// The size.
        known: u64,
    },
    /// Too few have answered.
    TooLittle,
}

/// The own log before its witnesses.
struct Witnessing {
    mirror: Arc<Mirror>,
    witnesses: Witnesses,
    manifests: Arc<ManifestStore>,
}

impl Witnessing {
    /// Has every new checkpoint cosigned, or until one knows more: then `ahead` hears how much. After `finish` the newest is
    /// the last; at `stop` it ends at once.
    async fn cosign(
        self,
        ahead: watch::Sender<Option<u64>>,
        finish: CancellationToken,
        stop: CancellationToken,
    ) {
        let mut visible = self.mirror.subscribe();
        let mut asked = 0;
        while !stop.is_cancelled() {
            let newest = self.mirror.read().signed().map(|signed| signed.checkpoint().clone());
            if let Some(checkpoint) = newest.filter(|checkpoint| checkpoint.size() > asked) {
                asked = checkpoint.size();
                match stop.run_until_cancelled(self.ask(checkpoint)).await {
                    None => return,
                    Some(Told::NoMore | Told::TooLittle) => {}
                    Some(Told::More { known }) => {
                        ahead.send_replace(Some(known));
                        return;
                    }
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = finish.cancelled() => return,
                changed = visible.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Has one checkpoint cosigned: what arrives is verified by the feed and sent on at once.
    ///
    /// Anybody can claim to know more. But quorums intersect: when one cosigns this size now, none has cosigned a greater one.
    /// So a claim then counts for nothing, or a lying witness could keep an authority from publishing.
    async fn ask(&self, mut checkpoint: VerifiedCheckpoint) -> Told {
        let Self { mirror, witnesses, manifests } = self;
        let (log, size) = (Arc::clone(mirror), checkpoint.size());
        let prove: ProofSource =
            Arc::new(move |old| log.read().log().consistency_proof(old, size).ok());
        let (mut known, mut cosigned) = (None, 0);
        let asked = witnesses.of(&manifests.current());
        let mut answers = Box::pin(asked.cosign(&checkpoint, &prove));
        while let Some(answer) = answers.next().await {
            match answer.result {
                Ok(cosignature) => {
                    cosigned += 1;
                    // The feed has nothing to show of an empty log.
                    if size == 0 || checkpoint.attach(&cosignature).is_err() {
                        continue;
                    }
                    let (mirror, note) = (Arc::clone(mirror), checkpoint.note().to_string());
                    let taken =
                        lanyard_env::blocking(move || mirror.cosigned(&note, "own witnesses"));
                    if let Ok(Err(error)) = taken.await {
                        tracing::warn!(%error, "a cosignature cannot be kept");
                    }
                }
                Err(WitnessFault::Ahead { size }) => known = known.max(Some(size)),
                Err(_) => {}
            }
        }
        if cosigned >= manifests.current().quorum {
            mirror.witnesses_answered();
            return Told::NoMore;
        }
        known.map_or(Told::TooLittle, |known| Told::More { known })
    }
}

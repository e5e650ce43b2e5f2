//! The task that ticks, and the one that asks witnesses.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::ids::{Authority, Epoch};
use lanyard_core::note::SigningKey;
use lanyard_env::Env;
use lanyard_feed::Mirror;
use lanyard_party::{ManifestStore, StoreKey};
use lanyard_witness::{ProofSource, WitnessFault, WitnessSet};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::PublishError;
use crate::keys::KeyFolder;
use crate::publication::{Press, Publication, TickInput};
use crate::registry::{Entry, Registry};
use crate::reign::Reign;
use crate::sealer::Desired;

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
}

impl Default for PublicationStatus {
    fn default() -> Self {
        Self { log_size: 0, quorum_size: 0, waiting: 0, epoch: Epoch::new(0), records: 0 }
    }
}

/// Why publishing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to.
    Stopped,
    /// A witness, or the store of several instances, knows a greater size of this log than this machine holds, and no
    /// quorum says otherwise: whoever signs on would fork it. A mirror has the rest.
    Behind {
        /// The size that they know.
        known: u64,
    },
}

/// What an authority publishes with.
pub(crate) struct Publisher<R> {
    /// Clock and randomness, and the files that audience keys are kept in.
    pub(crate) env: Env,
    /// Which authority.
    pub(crate) authority: Authority,
    /// Where audience keys are kept, sealed.
    pub(crate) keys_folder: PathBuf,
    /// Seals them.
    pub(crate) store_key: Arc<StoreKey>,
    /// Signs checkpoints.
    pub(crate) log_key: Arc<SigningKey>,
    /// Says when to tick and how to pad.
    pub(crate) manifests: Arc<ManifestStore>,
    /// The own feed.
    pub(crate) mirror: Arc<Mirror>,
    /// Cosign.
    pub(crate) witnesses: WitnessSet,
    /// Says what to publish.
    pub(crate) registry: R,
}

impl<R: Registry> Publisher<R> {
    /// Ticks until `shutdown`, or until a witness says that this machine is behind; a tick that has begun is finished.
    ///
    /// # Errors
    /// [`PublishError`] if what was published cannot be taken up. Later failures are logged and tried again at the next tick.
    pub(crate) async fn run(
        &self,
        reign: Option<Reign>,
        status: &watch::Sender<PublicationStatus>,
        shutdown: &CancellationToken,
    ) -> Result<Ended, PublishError> {
        let Self { env, manifests, mirror, registry, .. } = self;
        let press = Press {
            event: manifests.current().event.clone(),
            authority: self.authority,
            log_key: Arc::clone(&self.log_key),
            keys: KeyFolder::open(
                env.clone(),
                self.keys_folder.clone(),
                Arc::clone(&self.store_key),
            )?,
            mirror: Arc::clone(mirror),
            reign,
        };
        let caught_up = blocking(move || press.catch_up().map(|missing| (press, missing)));
        let press = match caught_up.await? {
            (press, None) => press,
            (_, Some(known)) => return Ok(Ended::Behind { known }),
        };
        let (desired, mut cursor) = load(registry).await?;
        let now = env.now();
        let mut publication = blocking(move || {
            press.resume()?;
            Publication::recover(press, desired, now)
        })
        .await?;

        let witnessing = Witnessing {
            mirror: Arc::clone(mirror),
            witnesses: self.witnesses.clone(),
            manifests: Arc::clone(manifests),
        };
        // Witnesses remember what a restored backup forgot, also while no mirror answers.
        let newest = mirror.read().signed().map(|signed| signed.checkpoint().clone());
        if let Some(newest) = newest {
            let asked = shutdown.run_until_cancelled(witnessing.ask(newest)).await;
            if let Some(known) = asked.flatten() {
                return Ok(Ended::Behind { known });
            }
        }
        let ahead = watch::Sender::new(None);
        let stop_cosigning = shutdown.child_token();
        let cosigning = tokio::spawn(witnessing.cosign(ahead.clone(), stop_cosigning.clone()));
        let mut ended = Ended::Stopped;
        while !shutdown.is_cancelled() {
            let manifest = manifests.current();
            let started = tokio::time::Instant::now();
            if let Some(known) = *ahead.borrow() {
                ended = Ended::Behind { known };
                break;
            }
            let input = match changes(registry, &mut cursor).await {
                Ok((changed, profiles)) => {
                    TickInput { now: env.now(), changed, profiles, manifest: Arc::clone(&manifest) }
                }
                Err(error) => {
                    tracing::error!(%error, "no tick: the store does not answer");
                    pause(manifest.tick_millis, started, shutdown).await;
                    continue;
                }
            };
            let mut rng = env.rng();
            let (returned, ticked) = blocking(move || {
                let ticked = publication.tick(input, &mut rng);
                Ok((publication, ticked))
            })
            .await?;
            publication = returned;
            match ticked {
                Ok(()) => {}
                Err(PublishError::TermOver) => break,
                Err(PublishError::RecordedOtherwise { size }) => {
                    ended = Ended::Behind { known: size };
                    break;
                }
                Err(error) => tracing::error!(%error, "no tick: changes wait for the next"),
            }
            status.send_replace(status_of(&publication));
            pause(manifest.tick_millis, started, shutdown).await;
        }
        stop_cosigning.cancel();
        let _ = cosigning.await;
        Ok(ended)
    }
}

async fn pause(tick_millis: u32, started: tokio::time::Instant, shutdown: &CancellationToken) {
    let next = started + Duration::from_millis(u64::from(tick_millis));
    let _ = shutdown.run_until_cancelled(tokio::time::sleep_until(next)).await;
}

fn status_of(publication: &Publication) -> PublicationStatus {
    let view = publication.mirror().read();
    PublicationStatus {
        log_size: view.size(),
        quorum_size: view.quorum().map_or(0, |quorum| quorum.size()),
        waiting: publication.waiting() as u64,
        epoch: publication.live_epoch(),
        records: publication.rows() as u64,
    }
}

/// Runs what takes long or blocks on the disk beside the tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PublishError::Worker)?
}

async fn load<R: Registry>(registry: &R) -> Result<(Desired, u64), PublishError> {
    let mut desired = Desired::new();
    let mut cursor = 0;
    loop {
        let page = page(registry, cursor).await?;
        if page.0.is_empty() {
            return Ok((desired, cursor));
        }
        cursor = page.1;
        desired.extend(page.0.into_iter().map(|entry| (entry.id, entry)));
    }
}

async fn changes<R: Registry>(
    registry: &R,
    cursor: &mut u64,
) -> Result<(Vec<Entry>, lanyard_core::profile::ProfileTable), PublishError> {
    let failed = |error: R::Error| PublishError::Registry(Box::new(error));
    let profiles = registry.profiles().await.map_err(failed)?;
    let mut changed = Vec::new();
    loop {
        let (entries, next) = page(registry, *cursor).await?;
        if entries.is_empty() {
            return Ok((changed, profiles));
        }
        *cursor = next;
        changed.extend(entries);
    }
}

async fn page<R: Registry>(registry: &R, after: u64) -> Result<(Vec<Entry>, u64), PublishError> {
    let page = registry.changes(after, PAGE).await;
    let page = page.map_err(|error| PublishError::Registry(Box::new(error)))?;
    Ok((page.entries, page.cursor))
}

/// The own log before its witnesses.
struct Witnessing {
    mirror: Arc<Mirror>,
    witnesses: WitnessSet,
    manifests: Arc<ManifestStore>,
}

impl Witnessing {
    /// Has every new checkpoint cosigned until `shutdown`, or until one knows more: then `ahead` hears how much.
    async fn cosign(self, ahead: watch::Sender<Option<u64>>, shutdown: CancellationToken) {
        let mut visible = self.mirror.subscribe();
        let mut asked = 0;
        while !shutdown.is_cancelled() {
            let newest = self.mirror.read().signed().map(|signed| signed.checkpoint().clone());
            if let Some(checkpoint) = newest.filter(|checkpoint| checkpoint.size() > asked) {
                asked = checkpoint.size();
                match shutdown.run_until_cancelled(self.ask(checkpoint)).await {
                    None => return,
                    Some(None) => {}
                    Some(known) => {
                        ahead.send_replace(known);
                        return;
                    }
                }
            }
            if !matches!(shutdown.run_until_cancelled(visible.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Has one checkpoint cosigned: what arrives is verified by the feed and sent on at once. Returns a greater size that a
    /// witness knows.
    ///
    /// Anybody can claim to know more. But quorums intersect: when one cosigns this size now, none has cosigned a greater one.
    /// So a claim then counts for nothing, or a lying witness could keep an authority from publishing.
    async fn ask(&self, mut checkpoint: VerifiedCheckpoint) -> Option<u64> {
        let Self { mirror, witnesses, manifests } = self;
        let (log, size) = (Arc::clone(mirror), checkpoint.size());
        let prove: ProofSource =
            Arc::new(move |old| log.read().log().consistency_proof(old, size).ok());
        let (mut known, mut cosigned) = (None, 0);
        let mut answers = Box::pin(witnesses.cosign(&checkpoint, &prove));
        while let Some(answer) = answers.next().await {
            match answer.result {
                Ok(cosignature) => {
                    cosigned += 1;
                    if checkpoint.attach(&cosignature).is_err() {
                        continue;
                    }
                    let (mirror, note) = (Arc::clone(mirror), checkpoint.note().to_string());
                    let taken = tokio::task::spawn_blocking(move || {
                        mirror.cosigned(&note, "own witnesses")
                    });
                    if let Ok(Err(error)) = taken.await {
                        tracing::warn!(%error, "a cosignature cannot be kept");
                    }
                }
                Err(WitnessFault::Ahead { size }) => known = known.max(Some(size)),
                Err(_) => {}
            }
        }
        known.filter(|_| cosigned < manifests.current().quorum)
    }
}

//! Pseudonyms from one's own share and other holders' answers.

mod batch;
mod fault;
mod holders;
mod kept;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use lanyard_core::identity::IdentityKey;
use lanyard_core::oprf::{OprfError, Pseudonym};
use lanyard_core::threshold::{ShareIndex, ThresholdError};
use lanyard_env::{Env, StartError};
use lanyard_telemetry::Telemetry;
use thiserror::Error;
use tonic::transport::Channel;

use self::holders::Holders;
use crate::ledger::RECENT_BATCHES;
use crate::purpose::Purpose;
use crate::server::reason;
use crate::shares::ShareSource;

pub use self::fault::{Fault, FaultCount, FaultKind};
pub use self::kept::Batch;

/// The most elements of a batch: what one entry of a list can give must fit. Large jobs fill [`Settings::batch`].
pub const MAX_ELEMENTS: usize = 16_384;
/// Batches are filled up to a multiple of this, so that their sizes say little.
pub const PADDING: usize = 64;
/// Batches of a large job are not made smaller than this: each costs one proof and one durable count.
const MIN_LARGE_BATCH: usize = 1_024;

/// The most batches that a caller asks or may have to ask again at a time. Whatever breaks off, the oldest of them is
/// among those that its holder recognises, and is not counted again.
const MAX_OPEN: usize = 32;
const _: () = assert!(2 * MAX_OPEN <= RECENT_BATCHES);

/// Another holder, and how to reach it.
#[derive(Clone)]
pub struct Holder {
    /// Its place among the shares.
    pub index: ShareIndex,
    /// Its party, for messages.
    pub name: String,
    /// A connection to its key share service.
    pub channel: Channel,
}

/// How hard to try.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a holder has for one batch.
    pub timeout: Duration,
    /// How long a holder that could not be reached is asked last.
    pub unreachable_pause: Duration,
    /// How long a holder that misbehaved is not asked at all.
    pub misbehaved_pause: Duration,
    /// How many batches are under way at once, 32 at most: they bound memory, about 3 MB each.
    pub concurrency: usize,
    /// Elements of a batch of a large job: a multiple of [`PADDING`].
    pub batch: usize,
}

impl Default for Settings {
    /// 20 s a batch, pauses of 5 s and 10 min, two batches a core of 4,096 elements.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
            unreachable_pause: Duration::from_secs(5),
            misbehaved_pause: Duration::from_secs(600),
            concurrency: 2 * cores(),
            batch: 4_096,
        }
    }
}

/// Why pseudonyms are not computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PseudonymError {
    /// Own share, public shares and holders do not fit together.
    #[error(transparent)]
    Setup(#[from] ThresholdError),
    /// Too few holders are left; each one's fault is named.
    #[error("{needed} other share holders are needed, too few answered: {}", listed(.faults))]
    NotEnoughHolders {
        /// How many have to answer.
        needed: usize,
        /// What went wrong with each.
        faults: Vec<Fault>,
    },
    /// A holder's quota for the purpose is used up. Another holder is not asked instead: quotas are there to bind.
    #[error(
        "share holder {holder}: quota for {purpose} used up, {remaining} evaluations left (with padding); \
         raise it in the manifest"
    )]
    QuotaExceeded {
        /// Which holder.
        holder: String,
        /// What for.
        purpose: Purpose,
        /// Evaluations left.
        remaining: u64,
    },
    /// An identity key cannot be evaluated.
    #[error("identity key: {0}")]
    Input(#[from] OprfError),
    /// The service is stopping.
    #[error("stopped while computing pseudonyms; start it again")]
    Stopped,
}

impl StartError for PseudonymError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Setup(_))
    }
}

impl PseudonymError {
    /// The stable reason for `google.rpc.ErrorInfo`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::QuotaExceeded { .. } => reason::QUOTA_EXCEEDED,
            _ => reason::PSEUDONYMS_UNAVAILABLE,
        }
    }
}

fn listed(faults: &[Fault]) -> String {
    match faults {
        [] => "no other holder is known".to_owned(),
        _ => faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// Computes pseudonyms. Cloning is cheap; clones share what they know of the holders.
#[derive(Clone)]
pub struct Pseudonymiser {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    shares: Arc<dyn ShareSource>,
    holders: Holders,
    settings: Settings,
}

impl Pseudonymiser {
    /// Combines the own share in force with the answers of `holders`, preferred in the order given.
    ///
    /// # Errors
    /// [`PseudonymError::Setup`] if a holder has no share, is oneself, or stands twice.
    pub fn new(
        env: Env,
        shares: Arc<dyn ShareSource>,
        holders: Vec<Holder>,
        settings: Settings,
    ) -> Result<Self, PseudonymError> {
        let own = shares.current();
        let mut known = vec![own.share().index()];
        for Holder { index, .. } in &holders {
            own.public().get(*index)?;
            if known.contains(index) {
                return Err(ThresholdError::Duplicate { index: *index }.into());
            }
            known.push(*index);
        }
        let holders = Holders::new(holders, settings);
        Ok(Self { inner: Arc::new(Inner { env, shares, holders, settings }) })
    }

    /// Counts holders' faults from 0, and tells of those who misbehave.
    pub fn observe(&self, telemetry: &Telemetry) {
        self.inner.holders.observe(telemetry.incidents());
    }

    /// One pseudonym for each identity key, in their order. If it fails, what was computed is lost and stays counted: for
    /// small jobs. Large ones keep each [`Batch`] until its result is stored.
    ///
    /// # Errors
    /// [`PseudonymError`].
    pub async fn pseudonyms(
        &self,
        purpose: Purpose,
        keys: &[IdentityKey],
    ) -> Result<Vec<Pseudonym>, PseudonymError> {
        let mut rng = self.inner.env.rng();
        let batches: Vec<_> = keys
            .chunks(self.batch_size(keys.len()))
            .map(|keys| self.evaluate(purpose, Batch::draw(keys, &mut rng)))
            .collect();
        let parts: Vec<Vec<Pseudonym>> =
            futures::stream::iter(batches).buffered(self.concurrency()).try_collect().await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// One pseudonym for each identity key of a batch, in their order. The same batch again, also after a restart, is asked
    /// byte for byte and not counted again by a holder that answered it before, as long as no more than
    /// [`Pseudonymiser::concurrency`] batches are open at a time.
    ///
    /// # Errors
    /// [`PseudonymError`].
    pub async fn evaluate(
        &self,
        purpose: Purpose,
        batch: Batch,
    ) -> Result<Vec<Pseudonym>, PseudonymError> {
        batch::run(Arc::clone(&self.inner), purpose, batch).await
    }

    /// How many batches may be open at once: asked, or to be asked again.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.inner.settings.concurrency.clamp(1, MAX_OPEN)
    }

    /// How many keys to put into a batch of a job of about `count` keys.
    #[must_use]
    pub fn batch_size(&self, count: usize) -> usize {
        batch_size(count, cores(), self.inner.settings.batch)
    }

    /// The last fault of each holder that had one, in order of preference.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.inner.holders.faults()
    }

    /// How often each holder that had a fault had one since `before`, a list from this pseudonymiser; empty is since it was
    /// made.
    #[must_use]
    pub fn faults_since(&self, before: &[FaultCount]) -> Vec<FaultCount> {
        let mut counts = self.inner.holders.fault_counts();
        for now in &mut counts {
            let earlier = before.iter().find(|earlier| earlier.last.index == now.last.index);
            now.count -= earlier.map_or(0, |earlier| earlier.count.min(now.count));
        }
        counts.retain(|now| now.count > 0);
        counts
    }
}

/// A multiple of the padding. Large jobs use all cores; beyond that, bigger batches are cheaper.
fn batch_size(count: usize, cores: usize, most: usize) -> usize {
    let share = count.div_ceil(cores).next_multiple_of(PADDING);
    share.clamp(MIN_LARGE_BATCH.min(most), most)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_padded_whole_and_bounded() {
        for count in [0, 1, 63, 64, 1_025, 4_096, 8_193, 150_000] {
            for cores in [1, 2, 7, 64] {
                let size = batch_size(count, cores, 4_096);
                assert_eq!(size % PADDING, 0, "{count} keys on {cores} cores");
                assert!((MIN_LARGE_BATCH..=4_096).contains(&size));
            }
        }
        assert_eq!(batch_size(150_000, 2, 4_096), 4_096);
        assert_eq!(batch_size(4_000, 2, 4_096), 2_048);
        assert_eq!(batch_size(4_000, 2, 64), 64);
    }
}

//! Following: keeps a mirror up to date from the best of its upstreams that serves it well.
//!
//! One upstream is in use at a time. It is left when it cannot be reached, lies, is silent, late or slow, withholds
//! something, or follows this mirror in turn; then the first in the list that may be asked is asked. When a better one than that was left, it is tried
//! again after a while, beside the one in use, and takes over once it has kept up for a few ticks: coming back costs no gap.
//!
//! What the one in use fails to bring may not be there at all: witnesses can be down, the clock here can be ahead. While that
//! is in doubt, others are followed beside it, a few ticks each: if they bring more, it is left.

mod session;
mod sync;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::freshness::ClockError;
use lanyard_core::ids::Timestamp;
use lanyard_core::manifest::PATIENCE_TICKS;
use lanyard_telemetry::metrics;
use lanyard_transport::status;
use lanyard_wire::feed::v1::{DirectoryId, FollowRequest};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use self::session::{Session, Terms};
use self::turns::{Failing, Served, Turns};
use crate::mirror::Mirror;
use crate::serve::BEHIND;
use crate::{DirectoryKey, FeedError};

pub use self::sync::{Standing, SyncProblem, SyncState, UpstreamState};

/// What is in doubt about the upstream in use for so many ticks is compared with what others bring.
const DOUBTFUL_TICKS: u32 = 2;

/// The largest message of a feed: a tick that re-seals 65,536 rows for every audience, and room.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// Where to follow from.
#[derive(Clone)]
pub struct Upstream {
    /// Its name, for people and evidence.
    pub name: String,
    /// A channel to it; connecting lazily is fine.
    pub channel: Channel,
}

/// Why following an upstream ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// It could not be reached, or refused.
    #[error("{}", status::explain(.0))]
    Call(#[from] Box<Status>),
    /// What it sent was refused, or could not be kept here.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// It ended the stream.
    #[error("it ended the stream")]
    Ended,
    /// Nothing came for several ticks.
    #[error("nothing came for {millis} ms")]
    Silent {
        /// For how long.
        millis: u64,
    },
    /// It sends something large, and another upstream may be faster.
    #[error("it is slow: {bytes} bytes and no tick in {millis} ms")]
    Slow {
        /// For how long it was waited.
        millis: u64,
        /// What came.
        bytes: u64,
    },
    /// What it sends is old and does not catch up.
    #[error("its newest head is {behind_millis} ms old and does not catch up")]
    Stale {
        /// How old.
        behind_millis: u64,
    },
    /// Others bring newer ticks.
    #[error("it is {ticks} ticks behind what others bring")]
    Lagging {
        /// By how many.
        ticks: u64,
    },
    /// It brings ticks, and others bring the cosignatures.
    #[error("the quorums of cosignatures it sends are {ticks} ticks behind what others bring")]
    Uncosigned {
        /// By how many.
        ticks: u64,
    },
    /// It does not send all that its heads promise.
    #[error("it withholds a directory, a profile table or an audience key")]
    Incomplete,
    /// The service is stopping.
    #[error("stopping")]
    Stopping,
}

impl FollowError {
    /// In a word, for metrics.
    const fn word(&self) -> &'static str {
        match self {
            Self::Call(_) => "call",
            Self::Feed(FeedError::Circle) => "circle",
            Self::Feed(error) if error.is_senders_fault() => "lie",
            Self::Feed(_) => "not_kept",
            Self::Ended => "ended",
            Self::Silent { .. } => "silent",
            Self::Slow { .. } => "slow",
            Self::Lagging { .. } => "lagging",
            Self::Stale { .. } => "stale",
            Self::Uncosigned { .. } => "uncosigned",
            Self::Incomplete => "incomplete",
            Self::Stopping => "stopping",
        }
    }

    fn is_lie(&self) -> bool {
        matches!(self, Self::Feed(error) if error.is_senders_fault())
    }

    fn failing(&self) -> Failing {
        match self {
            error if error.is_lie() => Failing::Lie,
            Self::Slow { .. } => Failing::Slow,
            _ => Failing::Other,
        }
    }
}

/// Follows until `shutdown`, from the first upstream in the list that serves well.
pub async fn follow(
    mirror: Arc<Mirror>,
    upstreams: Vec<Upstream>,
    sync: watch::Sender<SyncState>,
    shutdown: CancellationToken,
) {
    sync.send_replace(SyncState::of(upstreams.iter().map(|one| one.name.as_str())));
    let turns = Turns::new(upstreams.len(), mirror.tick(), Instant::now());
    let following = Following { mirror: Arc::clone(&mirror), upstreams, turns, sync };
    shutdown.run_until_cancelled_owned(following.run()).await;
    mirror.comes_by(&[]);
}

struct Following {
    mirror: Arc<Mirror>,
    upstreams: Vec<Upstream>,
    turns: Turns,
    sync: watch::Sender<SyncState>,
}

/// What the upstream in use may be to blame for, or not: only another one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Heads come, and no quorum for any past this size.
    Uncosigned {
        /// The size.
        since: u64,
    },
    /// What comes is old, as the clock here says.
    Old,
}

impl Doubt {
    /// What is in doubt about the one upstream that this mirror is served by.
    fn of(mirror: &Mirror) -> Option<Self> {
        let view = mirror.read();
        let signed = view.signed().map(|signed| signed.head().time)?;
        let quorum = view.quorum().map_or_else(Timestamp::default, |one| one.signed().head().time);
        let since = view.quorum_size();
        drop(view);
        if u128::from(signed.millis_since(quorum)) > mirror.patience().as_millis() {
            return Some(Self::Uncosigned { since });
        }
        matches!(mirror.clock_error(), Some(ClockError::Ahead { .. })).then_some(Self::Old)
    }
}

/// How being served by one upstream ended.
enum Over {
    /// Something was wrong.
    Failed(FollowError, Served),
    /// A better one has shown that it keeps up.
    Replaced(usize, Box<Session>),
}

impl Following {
    async fn run(mut self) {
        let mut taking_over = None;
        loop {
            let (index, session) = match taking_over.take() {
                Some((index, session)) => (index, Ok(session)),
                None => {
                    let Some((index, time)) = self.turns.next(Instant::now()) else { return };
                    tokio::time::sleep_until(time).await;
                    self.stands(index, Standing::Asked);
                    (index, self.open(index).await)
                }
            };
            let over = match session {
                Ok(session) => self.serve(index, session).await,
                Err(error) => Over::Failed(error, Served::default()),
            };
            match over {
                Over::Failed(error, served) => self.left(index, &error, served),
                Over::Replaced(better, session) => {
                    self.stands(better, Standing::InUse);
                    taking_over = Some((better, session));
                }
            }
        }
    }

    async fn open(&self, index: usize) -> Result<Box<Session>, FollowError> {
        // The indices come from the list of turns, which is as long as this one.
        let upstream = &self.upstreams[index];
        let several = self.upstreams.len() > 1;
        let terms = Terms {
            patience: self.mirror.patience(),
            allowance: several.then(|| self.turns.allowance(index)),
            may_follow_back: false,
        };
        Session::open(&self.mirror, upstream, terms).await.map(Box::new)
    }

    /// Follows one upstream; whenever another is to be tried, follows that beside it.
    async fn serve(&mut self, index: usize, mut session: Box<Session>) -> Over {
        session.put_in_use();
        let (mirror, sync) = (Arc::clone(&self.mirror), self.sync.clone());
        let mut current = std::pin::pin!(async move {
            loop {
                if let Err(error) = session.tick().await {
                    return (error, session.served());
                }
                if sync.borrow().stands_otherwise(index, Standing::InUse) {
                    stand(&mirror, &sync, index, Standing::InUse);
                }
            }
        });
        loop {
            let (other, tried, served) = tokio::select! {
                (error, served) = current.as_mut() => return Over::Failed(error, served),
                tried = self.try_other(index) => tried,
            };
            match tried {
                Ok(session) if other < index => return Over::Replaced(other, session),
                // If it had brought more than the one in use, that one would have failed.
                Ok(_) => {
                    self.turns.compared(other, Instant::now());
                    self.stands(other, Standing::Waiting);
                }
                Err(error) => self.left(other, &error, served),
            }
        }
    }

    /// Waits until another one is to be tried, one at a time, and follows it beside the one in use for a few ticks.
    async fn try_other(&self, index: usize) -> (usize, Result<Box<Session>, FollowError>, Served) {
        let other = tokio::select! {
            better = self.better(index) => better,
            other = self.to_compare(index) => other,
        };
        self.stands(other, Standing::OnTrial);
        let mut session = match self.open(other).await {
            Ok(session) => session,
            Err(error) => return (other, Err(error), Served::default()),
        };
        let tried = session.trial().await;
        let served = session.served();
        (other, tried.map(|()| session), served)
    }

    /// Waits until one before `index` may be tried.
    async fn better(&self, index: usize) -> usize {
        let Some((better, time)) = self.turns.better(index, Instant::now()) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(time).await;
        better
    }

    /// Waits until something is in doubt about the one in use, and another may be compared with it.
    async fn to_compare(&self, index: usize) -> usize {
        loop {
            let before = Doubt::of(&self.mirror);
            tokio::time::sleep(self.mirror.tick() * DOUBTFUL_TICKS).await;
            let Some(doubt) = before.filter(|_| before == Doubt::of(&self.mirror)) else {
                self.sync.send_if_modified(|state| state.doubted(None));
                continue;
            };
            self.doubted(index, doubt);
            let now = Instant::now();
            match self.turns.other(index, now) {
                Some((other, time)) if time <= now => return other,
                _ => {}
            }
        }
    }

    /// Says what is in doubt about an upstream, once.
    fn doubted(&self, index: usize, doubt: Doubt) {
        let (origin, upstream) = (self.mirror.origin(), &self.upstreams[index].name);
        let problem = match doubt {
            Doubt::Uncosigned { since } => format!(
                "no quorum of cosignatures has come since size {since}: {upstream} withholds them, or the witnesses are down"
            ),
            // A clock that seems ahead is said by whoever reads it.
            Doubt::Old => return,
        };
        if self.sync.send_if_modified(|state| state.doubted(Some(problem.clone()))) {
            tracing::warn!(%origin, upstream, problem, "upstream in doubt");
        }
    }

    fn stands(&self, index: usize, standing: Standing) {
        stand(&self.mirror, &self.sync, index, standing);
    }

    fn left(&mut self, index: usize, error: &FollowError, served: Served) {
        self.turns.left(index, error.failing(), served, Instant::now());
        let (origin, upstream) = (self.mirror.origin(), &self.upstreams[index].name);
        let problem = error.to_string();
        let authority = self.mirror.authority().name();
        metrics::FEED_UPSTREAM_FAILURES.of([authority, upstream, error.word()]).increment(1);
        if error.is_lie() {
            tracing::error!(%origin, upstream, problem, "upstream left");
        } else {
            tracing::warn!(%origin, upstream, problem, "upstream left");
        }
        let time = self.mirror.env.now();
        self.sync.send_modify(|state| state.left(index, problem, time));
    }
}

fn stand(mirror: &Mirror, sync: &watch::Sender<SyncState>, index: usize, standing: Standing) {
    sync.send_modify(|state| state.stands(index, standing));
    let state = sync.borrow();
    let upstream = state.upstreams.get(index).map(|one| one.name.as_str());
    tracing::info!(origin = %mirror.origin(), upstream, ?standing, "upstream");
}

/// Takes what an upstream has, until nothing came for `patience`, and returns the size of the log then: what an authority
/// does before it signs again. An upstream that has less than this mirror is no error, and one that follows this mirror is
/// just who may have what this mirror has lost.
///
/// # Errors
/// [`FollowError`].
pub async fn catch_up(
    mirror: &Arc<Mirror>,
    upstream: &Upstream,
    patience: Duration,
) -> Result<u64, FollowError> {
    let terms = Terms { patience: mirror.patience(), allowance: None, may_follow_back: true };
    let taken = async {
        let mut session = Session::open(mirror, upstream, terms).await?;
        while session.take(Instant::now() + patience).await?.is_some() {}
        Ok(())
    };
    match taken.await {
        Ok(()) | Err(FollowError::Ended) => {}
        Err(FollowError::Call(status)) if is_behind(&status) => {}
        Err(error) => return Err(error),
    }
    Ok(mirror.read().size())
}

fn is_behind(error: &Status) -> bool {
    status::reason(error).as_deref() == Some(BEHIND)
}

impl Mirror {
    /// What to ask an upstream for: what this mirror lacks.
    #[must_use]
    pub fn follow_request(&self) -> FollowRequest {
        let view = self.read();
        let size = view.size();
        let root = view.log().root_at(size).ok().filter(|_| size > 0);
        let is_listed = |key: &DirectoryKey| {
            let directory = view.directory(key.epoch, key.audience);
            directory.is_some_and(|directory| directory.signed().is_some())
        };
        FollowRequest {
            origin: self.origin().as_str().to_owned(),
            audiences: self
                .audiences()
                .iter()
                .map(|audience| lanyard_wire::common::v1::Audience::from(*audience).into())
                .collect(),
            log_size: size,
            log_root: root.map_or_else(Vec::new, |root| root.as_bytes().to_vec()),
            directories: view
                .directories()
                .filter(is_listed)
                .map(|key| DirectoryId::of(key.epoch, key.audience))
                .collect(),
            manifest_version: self.manifests.current().version,
        }
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(u64::from(self.manifests.current().tick_millis))
    }

    fn patience(&self) -> Duration {
        (self.tick() * PATIENCE_TICKS).max(Duration::from_secs(1))
    }
}

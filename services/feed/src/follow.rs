//! Following: keeps a mirror up to date from the first of its upstreams that serves it well.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::Timestamp;
use lanyard_telemetry::metrics;
use lanyard_transport::status;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::{DirectoryId, FollowRequest, FollowResponse};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::intake::{Applied, Intake};
use crate::manifests::PATIENCE_TICKS;
use crate::mirror::Mirror;
use crate::serve::BEHIND;
use crate::{DirectoryKey, FeedError};

/// The largest message of a feed: a tick that re-seals 65,536 rows for every audience, and room.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a snapshot or of leaves that count as a sign of life.
const PROGRESS_BYTES: usize = 64 * 1024;

/// How long an upstream is left alone after its first failure, at most, and after it lied.
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(15);
const LIAR_PAUSE: Duration = Duration::from_secs(60);

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
    /// What it sends is old and does not catch up.
    #[error("its newest head is {behind_millis} ms old and does not catch up")]
    Stale {
        /// How old.
        behind_millis: u64,
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
            Self::Feed(error) if error.is_senders_fault() => "lie",
            Self::Feed(_) => "not_kept",
            Self::Ended => "ended",
            Self::Silent { .. } => "silent",
            Self::Stale { .. } => "stale",
            Self::Incomplete => "incomplete",
            Self::Stopping => "stopping",
        }
    }

    fn is_lie(&self) -> bool {
        matches!(self, Self::Feed(error) if error.is_senders_fault())
    }
}

/// How a mirror is kept up to date, for people.
#[derive(Debug, Clone, Default)]
pub struct SyncState {
    /// The upstream in use.
    pub upstream: Option<String>,
    /// The last upstream that failed, why, and when.
    pub problem: Option<SyncProblem>,
}

/// Why an upstream was left.
#[derive(Debug, Clone)]
pub struct SyncProblem {
    /// Which one.
    pub upstream: String,
    /// What was wrong.
    pub problem: String,
    /// When.
    pub time: Timestamp,
}

/// When an upstream may be asked again.
struct Turn {
    upstream: Upstream,
    failures: u32,
    not_before: Instant,
}

/// Follows until `shutdown`: the first upstream that can be asked, as long as it serves well, then the next.
pub async fn follow(
    mirror: Arc<Mirror>,
    upstreams: Vec<Upstream>,
    sync: watch::Sender<SyncState>,
    shutdown: CancellationToken,
) {
    let turn = |upstream| Turn { upstream, failures: 0, not_before: Instant::now() };
    let mut turns: Vec<Turn> = upstreams.into_iter().map(turn).collect();
    let several = turns.len() > 1;
    // The first of those that may be asked soonest.
    while let Some(turn) = turns.iter_mut().min_by_key(|turn| turn.not_before.max(Instant::now())) {
        let wait = tokio::time::sleep_until(turn.not_before);
        if shutdown.run_until_cancelled(wait).await.is_none() {
            return;
        }
        let name = turn.upstream.name.clone();
        let mut session = Session::new(&mirror, &name, several);
        let error = tokio::select! {
            error = session.run(&turn.upstream, &sync) => error,
            () = shutdown.cancelled() => return,
        };
        turn.failures = if session.advanced { 1 } else { turn.failures.saturating_add(1) };
        let pause = match &error {
            error if error.is_lie() => LIAR_PAUSE,
            _ => (MIN_PAUSE * (1 << turn.failures.min(8))).min(MAX_PAUSE),
        };
        turn.not_before = Instant::now() + pause;
        let problem = error.to_string();
        let authority = mirror.authority().name();
        metrics::FEED_UPSTREAM_FAILURES.of([authority, &name, error.word()]).increment(1);
        if error.is_lie() {
            tracing::error!(origin = %mirror.origin(), upstream = name, problem, "upstream left");
        } else {
            tracing::warn!(origin = %mirror.origin(), upstream = name, problem, "upstream left");
        }
        let time = mirror.env.now();
        sync.send_modify(|state| {
            state.upstream = None;
            state.problem = Some(SyncProblem { upstream: name, problem, time });
        });
    }
}

/// Takes what an upstream has, until nothing came for `patience`, and returns the size of the log then: what an authority
/// does before it signs again. An upstream that has less than this mirror is no error.
///
/// # Errors
/// [`FollowError`].
pub async fn catch_up(
    mirror: &Arc<Mirror>,
    upstream: &Upstream,
    patience: Duration,
) -> Result<u64, FollowError> {
    let mut session = Session::new(mirror, &upstream.name, false);
    let mut stream = match session.call(upstream).await {
        Ok(stream) => stream,
        Err(FollowError::Call(status)) if is_behind(&status) => return Ok(mirror.read().size()),
        Err(error) => return Err(error),
    };
    loop {
        match tokio::time::timeout(patience, stream.message()).await {
            Err(_) | Ok(Ok(None)) => break,
            Ok(Ok(Some(response))) => {
                session.apply(response).await?;
            }
            Ok(Err(status)) if is_behind(&status) => break,
            Ok(Err(status)) => return Err(Box::new(status).into()),
        }
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

    fn patience(&self) -> Duration {
        let tick = Duration::from_millis(u64::from(self.manifests.current().tick_millis));
        (tick * PATIENCE_TICKS).max(Duration::from_secs(1))
    }
}

/// One stream from one upstream.
struct Session {
    mirror: Arc<Mirror>,
    /// Elsewhere while an update is being applied.
    intake: Option<Intake>,
    /// Whether another upstream could be asked for what this one withholds.
    several: bool,
    /// Whether it brought a tick.
    advanced: bool,
}

impl Session {
    fn new(mirror: &Arc<Mirror>, upstream: &str, several: bool) -> Self {
        let intake = Some(mirror.intake(upstream));
        Self { mirror: Arc::clone(mirror), intake, several, advanced: false }
    }

    async fn call(&self, upstream: &Upstream) -> Result<Streaming<FollowResponse>, FollowError> {
        let mut client = FeedServiceClient::new(upstream.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let request = self.mirror.follow_request();
        let patience = self.mirror.patience();
        match tokio::time::timeout(patience, client.follow(request)).await {
            Ok(called) => Ok(called.map_err(Box::new)?.into_inner()),
            Err(_) => Err(FollowError::Silent { millis: millis(patience) }),
        }
    }

    async fn apply(&mut self, response: FollowResponse) -> Result<Applied, FollowError> {
        let Some(mut intake) = self.intake.take() else { return Err(FollowError::Stopping) };
        let run = move || {
            let applied = intake.apply(response);
            (intake, applied)
        };
        // It blocks on the disk. A failed join is a runtime that stops, or a panic that was reported.
        let Ok((intake, applied)) = lanyard_env::blocking(run).await else {
            return Err(FollowError::Stopping);
        };
        self.intake = Some(intake);
        let applied = applied?;
        self.advanced |= matches!(applied, Applied::Tick { .. });
        Ok(applied)
    }

    /// Follows until something is wrong.
    async fn run(&mut self, upstream: &Upstream, sync: &watch::Sender<SyncState>) -> FollowError {
        let mut stream = match self.call(upstream).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let patience = self.mirror.patience();
        let mut deadline = Instant::now() + patience;
        let mut window = Window::new(&self.mirror, patience);
        let mut bytes = 0;
        loop {
            let response = match tokio::time::timeout_at(deadline, stream.message()).await {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => return FollowError::Ended,
                Ok(Err(status)) => return Box::new(status).into(),
                Err(_) => return FollowError::Silent { millis: millis(patience) },
            };
            match self.apply(response).await {
                Err(error) => return error,
                Ok(Applied::Tick { .. }) => {
                    deadline = Instant::now() + patience;
                    sync.send_if_modified(|state| {
                        let changes = state.upstream.as_ref() != Some(&upstream.name);
                        state.upstream = Some(upstream.name.clone());
                        changes
                    });
                }
                Ok(Applied::Part { bytes: more }) => {
                    bytes += more;
                    if bytes >= PROGRESS_BYTES {
                        bytes = 0;
                        deadline = Instant::now() + patience;
                        window = Window::new(&self.mirror, patience);
                    }
                }
                Ok(_) => {}
            }
            if let Err(error) = window.check(&self.mirror, self.several) {
                return error;
            }
        }
    }
}

/// Watches over a few ticks whether an upstream keeps up.
struct Window {
    length: Duration,
    ends: Instant,
    /// How old the newest head was when it began.
    behind: u64,
}

impl Window {
    fn new(mirror: &Mirror, length: Duration) -> Self {
        Self { length, ends: Instant::now() + length, behind: behind(mirror) }
    }

    fn check(&mut self, mirror: &Mirror, several: bool) -> Result<(), FollowError> {
        if Instant::now() < self.ends {
            return Ok(());
        }
        let skew = u64::from(mirror.manifests.current().skew_millis);
        let length = millis(self.length);
        let now_behind = behind(mirror);
        let catches_up = now_behind.saturating_add(length / 2) <= self.behind;
        if now_behind > length + skew && !catches_up {
            return Err(FollowError::Stale { behind_millis: now_behind });
        }
        if several && now_behind <= length + skew && mirror.is_incomplete() {
            return Err(FollowError::Incomplete);
        }
        *self = Self::new(mirror, self.length);
        Ok(())
    }
}

/// How many milliseconds old the newest head is.
fn behind(mirror: &Mirror) -> u64 {
    let view = mirror.read();
    let time = view.signed().map_or(Timestamp::default(), |signed| signed.head().time);
    drop(view);
    mirror.now().millis_since(time)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

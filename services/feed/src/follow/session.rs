//! One stream from one upstream, and how well it is served.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::Timestamp;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse};
use tokio::time::Instant;
use tonic::Streaming;

use super::turns::Served;
use super::{FollowError, MAX_MESSAGE_BYTES, Upstream};
use crate::intake::{Applied, Intake};
use crate::mirror::Mirror;

/// Bytes of a snapshot or of leaves that count as a sign of life.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// Ticks by which an upstream may be behind what others bring.
const LAG_TICKS: u64 = 5;

/// What is expected of an upstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// For how long it may be silent, or late.
    pub(super) patience: Duration,
    /// How long it may take from one tick to the next, if another upstream could be asked instead.
    pub(super) allowance: Option<Duration>,
}

/// One stream from one upstream.
pub(super) struct Session {
    mirror: Arc<Mirror>,
    /// Elsewhere while an update is being applied.
    intake: Option<Intake>,
    stream: Streaming<FollowResponse>,
    pace: Pace,
    /// Whether the mirror is served by it, and not on trial.
    in_use: bool,
}

impl Session {
    /// Asks an upstream for what the mirror lacks.
    pub(super) async fn open(
        mirror: &Arc<Mirror>,
        upstream: &Upstream,
        terms: Terms,
    ) -> Result<Self, FollowError> {
        let mut client = FeedServiceClient::new(upstream.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let request = mirror.follow_request();
        let pace = Pace::new(mirror, &request, terms);
        let Terms { patience, .. } = terms;
        let stream = match tokio::time::timeout(patience, client.follow(request)).await {
            Ok(called) => called.map_err(Box::new)?.into_inner(),
            Err(_) => return Err(FollowError::Silent { millis: millis(patience) }),
        };
        let intake = Some(mirror.intake(&upstream.name));
        Ok(Self { mirror: Arc::clone(mirror), intake, stream, pace, in_use: false })
    }

    /// What it did so far.
    pub(super) fn served(&self) -> Served {
        Served { ticked: self.pace.ticked, lasted: self.pace.began.elapsed() }
    }

    /// The mirror is served by it from now on, and tells its own followers so.
    pub(super) fn put_in_use(&mut self) {
        self.in_use = true;
        self.pass_route_on();
    }

    fn pass_route_on(&self) {
        if let Some(intake) = self.intake.as_ref().filter(|_| self.in_use) {
            self.mirror.comes_by(&intake.route);
        }
    }

    /// Takes the next update, at the upstream's pace: until `deadline` at the latest.
    pub(super) async fn take(&mut self, deadline: Instant) -> Result<Option<Applied>, FollowError> {
        match tokio::time::timeout_at(deadline, self.stream.message()).await {
            Ok(Ok(Some(response))) => self.apply(response).await.map(Some),
            Ok(Ok(None)) => Err(FollowError::Ended),
            Ok(Err(status)) => Err(Box::new(status).into()),
            Err(_) => Ok(None),
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
        self.pass_route_on();
        Ok(applied?)
    }

    /// Follows until it brings a tick that it has not brought before.
    pub(super) async fn tick(&mut self) -> Result<(), FollowError> {
        loop {
            let taken = self.take(self.pace.deadline).await?;
            if self.pace.note(&self.mirror, taken)? {
                return Ok(());
            }
        }
    }

    /// Follows for as long as an upstream may be silent: whether it kept up with what the mirror learned meanwhile.
    pub(super) async fn trial(&mut self) -> Result<(), FollowError> {
        let first = self.pace.size;
        let ends = Instant::now() + self.pace.terms.patience;
        while Instant::now() < ends {
            // Without a tick the deadline is before the end, and nothing is left to wait for.
            let Some(applied) = self.take(self.pace.deadline.min(ends)).await? else { break };
            self.pace.note(&self.mirror, Some(applied))?;
        }
        let newest = self.mirror.read().size();
        match self.pace.size {
            // It may be about to bring the newest one.
            size if size + 1 < newest => Err(FollowError::Lagging { ticks: newest - size }),
            size if size == first => {
                Err(FollowError::Silent { millis: millis(self.pace.terms.patience) })
            }
            _ => Ok(()),
        }
    }
}

/// How an upstream keeps up.
struct Pace {
    terms: Terms,
    began: Instant,
    /// A sign of life has to come before.
    deadline: Instant,
    /// When it brought its last tick, and the bytes of parts since.
    ticked_at: Instant,
    bytes: u64,
    /// Bytes since the deadline was moved.
    unheeded: u64,
    /// The newest size that it brought, new to the mirror or not.
    size: u64,
    ticked: bool,
    window: Window,
}

impl Pace {
    fn new(mirror: &Mirror, request: &FollowRequest, terms: Terms) -> Self {
        let now = Instant::now();
        Self {
            terms,
            began: now,
            deadline: now + terms.patience,
            ticked_at: now,
            bytes: 0,
            unheeded: 0,
            size: request.log_size,
            ticked: false,
            window: Window::new(mirror, terms.patience, false),
        }
    }

    /// What an update says about the pace; nothing came before the deadline if there is none. True for a tick that this
    /// upstream has not brought before: beside another one, it may not be the first to bring it.
    fn note(&mut self, mirror: &Mirror, taken: Option<Applied>) -> Result<bool, FollowError> {
        let now = Instant::now();
        let mut newer = false;
        match taken {
            Some(Applied::Tick { size } | Applied::Known { size }) if size > self.size => {
                newer = true;
                self.size = size;
                self.ticked = true;
                self.deadline = now + self.terms.patience;
                (self.ticked_at, self.bytes, self.unheeded) = (now, 0, 0);
            }
            Some(Applied::Part { bytes }) => {
                self.bytes += bytes as u64;
                self.unheeded += bytes as u64;
                if self.unheeded >= PROGRESS_BYTES {
                    self.unheeded = 0;
                    self.deadline = now + self.terms.patience;
                    self.window = Window::new(mirror, self.terms.patience, false);
                }
            }
            _ => {}
        }
        // Also while messages that are no sign of life keep coming.
        if now >= self.deadline {
            return Err(FollowError::Silent { millis: millis(self.terms.patience) });
        }
        let since = now - self.ticked_at;
        if self.terms.allowance.is_some_and(|allowance| since >= allowance) {
            return Err(FollowError::Slow { millis: millis(since), bytes: self.bytes });
        }
        self.window.check(mirror, self.size, self.terms.allowance.is_some())?;
        Ok(newer)
    }
}

/// Watches over a few ticks whether an upstream keeps up.
struct Window {
    length: Duration,
    ends: Instant,
    /// How old the newest head was when it began.
    behind: u64,
    /// Whether something was missing then.
    incomplete: bool,
}

impl Window {
    fn new(mirror: &Mirror, length: Duration, incomplete: bool) -> Self {
        Self { length, ends: Instant::now() + length, behind: behind(mirror), incomplete }
    }

    /// `size` is the newest that the upstream brought, `several` whether another could be asked.
    fn check(&mut self, mirror: &Mirror, size: u64, several: bool) -> Result<(), FollowError> {
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
        let ticks = mirror.read().size().saturating_sub(size);
        if several && ticks > LAG_TICKS {
            return Err(FollowError::Lagging { ticks });
        }
        // What belongs to a tick comes right after it: only what is missing for a whole window is withheld.
        let incomplete = now_behind <= length + skew && mirror.is_incomplete();
        if several && incomplete && self.incomplete {
            return Err(FollowError::Incomplete);
        }
        *self = Self::new(mirror, self.length, incomplete);
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

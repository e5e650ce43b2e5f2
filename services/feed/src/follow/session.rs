//! One stream from one upstream, and how well it is served.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::Timestamp;
use lanyard_wire::feed::v1::FollowResponse;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
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
    /// Whether it may follow this mirror in turn: only who takes from it for a moment does not wait in a circle.
    pub(super) may_follow_back: bool,
}

/// The newest sizes of the log that an upstream brought, or that were there when it was asked.
#[derive(Debug, Clone, Copy)]
struct Brought {
    /// With the authority's signature.
    signed: u64,
    /// With the cosignatures of a quorum.
    quorum: u64,
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
        let held = Brought { signed: request.log_size, ..Brought::held(mirror) };
        let pace = Pace::new(mirror, held, terms);
        let Terms { patience, may_follow_back, .. } = terms;
        let stream = match tokio::time::timeout(patience, client.follow(request)).await {
            Ok(called) => called.map_err(Box::new)?.into_inner(),
            Err(_) => return Err(FollowError::Silent { millis: millis(patience) }),
        };
        let mut intake = mirror.intake(&upstream.name);
        intake.may_follow_back = may_follow_back;
        let intake = Some(intake);
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
            if self.note(taken)? {
                return Ok(());
            }
        }
    }

    fn note(&mut self, taken: Option<Applied>) -> Result<bool, FollowError> {
        let quorum = self.intake.as_ref().map_or(0, |intake| intake.quorum_size);
        self.pace.note(&self.mirror, taken, quorum)
    }

    /// Follows for as long as an upstream may be silent: whether it kept up with what the mirror learned meanwhile.
    pub(super) async fn trial(&mut self) -> Result<(), FollowError> {
        let first = self.pace.brought;
        let ends = Instant::now() + self.pace.terms.patience;
        while Instant::now() < ends {
            // Without a tick the deadline is before the end, and nothing is left to wait for.
            let Some(applied) = self.take(self.pace.deadline.min(ends)).await? else { break };
            self.note(Some(applied))?;
        }
        let (brought, newest) = (self.pace.brought, Brought::held(&self.mirror));
        // It may be about to bring the newest one.
        if brought.signed + 1 < newest.signed {
            return Err(FollowError::Lagging { ticks: newest.signed - brought.signed });
        }
        if brought.signed == first.signed {
            return Err(FollowError::Silent { millis: millis(self.pace.terms.patience) });
        }
        if brought.quorum == first.quorum && brought.quorum + 1 < newest.quorum {
            return Err(FollowError::Uncosigned { ticks: newest.quorum - brought.quorum });
        }
        Ok(())
    }
}

impl Brought {
    fn held(mirror: &Mirror) -> Self {
        let view = mirror.read();
        Self { signed: view.size(), quorum: view.quorum_size() }
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
    /// New to the mirror or not.
    brought: Brought,
    ticked: bool,
    window: Window,
}

impl Pace {
    fn new(mirror: &Mirror, held: Brought, terms: Terms) -> Self {
        let now = Instant::now();
        Self {
            terms,
            began: now,
            deadline: now + terms.patience,
            ticked_at: now,
            bytes: 0,
            unheeded: 0,
            brought: held,
            ticked: false,
            window: Window::new(mirror, terms.patience, false),
        }
    }

    /// What an update says about the pace; nothing came before the deadline if there is none. `quorum` is the size for which
    /// the upstream brought a quorum so far. True for a tick that it has not brought before: beside another one, it may not be
    /// the first to bring it.
    fn note(
        &mut self,
        mirror: &Mirror,
        taken: Option<Applied>,
        quorum: u64,
    ) -> Result<bool, FollowError> {
        let now = Instant::now();
        let mut newer = false;
        self.brought.quorum = self.brought.quorum.max(quorum);
        match taken {
            Some(Applied::Tick { size } | Applied::Known { size })
                if size > self.brought.signed =>
            {
                newer = true;
                self.brought.signed = size;
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
        self.window.check(mirror, self.brought, self.terms.allowance.is_some())?;
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

    /// `several` is whether another could be asked.
    fn check(
        &mut self,
        mirror: &Mirror,
        brought: Brought,
        several: bool,
    ) -> Result<(), FollowError> {
        if Instant::now() < self.ends {
            return Ok(());
        }
        let length = millis(self.length);
        // More than by what a clock that is ahead is known.
        let limit = u64::from(mirror.manifests.current().skew_millis) + 2 * length;
        let now_behind = behind(mirror);
        let catches_up = now_behind.saturating_add(length / 2) <= self.behind;
        if now_behind > limit && !catches_up {
            return Err(FollowError::Stale { behind_millis: now_behind });
        }
        let newest = Brought::held(mirror);
        let ticks = newest.signed.saturating_sub(brought.signed);
        if several && ticks > LAG_TICKS {
            return Err(FollowError::Lagging { ticks });
        }
        let ticks = newest.quorum.saturating_sub(brought.quorum);
        if several && ticks > LAG_TICKS {
            return Err(FollowError::Uncosigned { ticks });
        }
        // What belongs to a tick comes right after it: only what is missing for a whole window is withheld.
        let incomplete = now_behind <= limit && mirror.is_incomplete();
        if several && incomplete && self.incomplete {
            return Err(FollowError::Incomplete);
        }
        *self = Self::new(mirror, self.length, incomplete);
        Ok(())
    }
}

/// How many milliseconds old the newest head is. A clock here that seems ahead says nothing of it: see [`Doubt`].
///
/// [`Doubt`]: super::Doubt
fn behind(mirror: &Mirror) -> u64 {
    let view = mirror.read();
    let time = view.signed().map_or(Timestamp::default(), |signed| signed.head().time);
    drop(view);
    mirror.trusted_now().millis_since(time)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The time of a service that hears what witnesses say of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::freshness::{ClockError, RunningFloor};
use lanyard_core::ids::{Authority, Timestamp};
use lanyard_env::{Clock, Env};

use crate::mirror::Mirror;
use crate::store::kept_time;

/// The machine's clock, as far as witnesses do not show that it is wrong: never behind what they have proved, and theirs while
/// it is known to be ahead.
pub struct WitnessedClock {
    clock: Arc<dyn Clock>,
    mirrors: Vec<Arc<Mirror>>,
}

impl WitnessedClock {
    /// The clock of `env` beside what these mirrors know.
    #[must_use]
    pub fn new(env: &Env, mirrors: impl Into<Vec<Arc<Mirror>>>) -> Self {
        Self { clock: Arc::clone(&env.clock), mirrors: mirrors.into() }
    }
}

impl Clock for WitnessedClock {
    fn now(&self) -> Timestamp {
        let is_ahead =
            |mirror: &&Arc<Mirror>| matches!(mirror.clock_error(), Some(ClockError::Ahead { .. }));
        // What one log shows to be ahead, the other may not have shown yet.
        let known = self.mirrors.iter().filter(is_ahead).map(|mirror| mirror.trusted_now()).max();
        let known = known.or_else(|| self.mirrors.iter().map(|mirror| mirror.now()).max());
        known.unwrap_or_else(|| self.clock.now())
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

/// What a [`WitnessedClock`] over mirrors that are not opened yet will start with: the machine's clock, never behind the time
/// that they kept.
pub struct KeptClock {
    env: Env,
    floor: RunningFloor,
}

impl KeptClock {
    /// The clock of `env` beside what the mirrors in these folders kept. Reads only, so the service may run.
    #[must_use]
    pub fn read(env: &Env, mirrors: impl IntoIterator<Item = (Authority, PathBuf)>) -> Self {
        let kept_by = |(authority, dir): (_, PathBuf)| kept_time(&env.files, &dir, authority);
        let kept = mirrors.into_iter().map(kept_by).max().unwrap_or_default();
        Self { env: env.clone(), floor: RunningFloor::resume(kept, env.elapsed_millis()) }
    }

    /// What is wrong with the machine's clock, if it is by more than `allowed_millis`: that it is ahead is not known yet.
    #[must_use]
    pub fn clock_error(&self, allowed_millis: u64) -> Option<ClockError> {
        self.floor.clock_error(self.env.now(), self.env.elapsed_millis(), allowed_millis)
    }
}

impl Clock for KeptClock {
    fn now(&self) -> Timestamp {
        self.floor.now(self.env.now(), self.env.elapsed_millis())
    }

    fn elapsed(&self) -> Duration {
        self.env.clock.elapsed()
    }
}

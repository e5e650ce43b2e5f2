//! The time of a service that hears what witnesses say of it.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::freshness::ClockError;
use lanyard_core::ids::Timestamp;
use lanyard_env::{Clock, Env};

use crate::mirror::Mirror;

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

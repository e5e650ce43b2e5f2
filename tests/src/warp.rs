//! A clock that all services of an event share, and that tests let run ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lanyard_core::ids::Timestamp;
use lanyard_env::{Clock, SystemClock};

/// The system's clock and the time that a test has let pass beside it. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct WarpClock(Arc<AtomicU64>);

impl WarpClock {
    /// A clock that is this many milliseconds ahead of the system's from the start.
    #[must_use]
    pub fn ahead_by(millis: u64) -> Self {
        Self(Arc::new(AtomicU64::new(millis)))
    }

    /// Lets time pass for everybody who shares the clock.
    pub fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for WarpClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_millis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

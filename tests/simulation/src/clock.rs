//! Simulated time of day: that of the simulation, and how far each machine's clock is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use lanyard_core::ids::Timestamp;
use lanyard_env::Clock;

/// The true time, which no machine knows.
#[derive(Clone)]
pub(crate) struct TrueTime {
    start: Timestamp,
    /// Of the last whole step, for whoever asks from outside of all machines.
    elapsed: Arc<AtomicU64>,
}

impl TrueTime {
    /// Begins at `start`.
    #[must_use]
    pub(crate) fn new(start: Timestamp) -> Self {
        Self { start, elapsed: Arc::default() }
    }

    /// After each step of the simulation.
    pub(crate) fn set_elapsed(&self, millis: u64) {
        self.elapsed.store(millis, Ordering::SeqCst);
    }

    /// Milliseconds since the start.
    #[must_use]
    pub(crate) fn elapsed(&self) -> u64 {
        let inside = turmoil::sim_elapsed().and_then(|elapsed| elapsed.as_millis().try_into().ok());
        inside.unwrap_or_else(|| self.elapsed.load(Ordering::SeqCst))
    }

    /// A machine's clock, which is right at first.
    #[must_use]
    pub(crate) fn clock(&self) -> MachineClock {
        let stops_at = Arc::new(AtomicU64::new(u64::MAX));
        MachineClock { time: self.clone(), offset: Arc::default(), stops_at }
    }
}

/// A machine's clock. Clones are the same clock.
#[derive(Clone)]
pub(crate) struct MachineClock {
    time: TrueTime,
    offset: Arc<AtomicI64>,
    /// Shows no later time than so many milliseconds after the start.
    stops_at: Arc<AtomicU64>,
}

impl MachineClock {
    /// Has it stand still from now on.
    pub(crate) fn stop(&self) {
        self.stops_at.store(self.time.elapsed(), Ordering::SeqCst);
    }

    /// Sets it off by so many milliseconds.
    pub(crate) fn set_offset(&self, millis: i64) {
        self.offset.store(millis, Ordering::SeqCst);
    }

    /// How far it is off, in milliseconds.
    #[must_use]
    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }
}

impl MachineClock {
    fn shown(&self) -> u64 {
        self.time.elapsed().min(self.stops_at.load(Ordering::SeqCst))
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let time = self.time.start.millis() + self.shown();
        Timestamp::from_millis(time.saturating_add_signed(self.offset()))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.shown())
    }
}

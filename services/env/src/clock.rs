//! The time of day, and the time that passes whatever is done to it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_core::ids::Timestamp;

/// Where elapsed time is counted from; nobody but this process knows it.
static STARTED: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// Tells the time of day, which may jump either way, and how much time passes, which does not.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Time since some moment in this process's life. It never goes back, and setting the clock does not move it. While
    /// the machine sleeps it may stand still.
    fn elapsed(&self) -> Duration {
        // A paused tokio clock drives it in tests.
        STARTED.elapsed()
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: whatever is signed with it is refused as stale.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that moves only when told to. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
    elapsed: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `time`.
    #[must_use]
    pub fn new(time: Timestamp) -> Self {
        Self { now: Arc::new(AtomicU64::new(time.millis())), elapsed: Arc::default() }
    }

    /// Sets the time, also backwards: a jump, in which no time passes.
    pub fn set(&self, time: Timestamp) {
        self.now.store(time.millis(), Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn advance_millis(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
        self.elapsed.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::SeqCst))
    }
}

/// The system's clock, set wrong by a fixed amount that can be changed while it runs. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct SkewedClock(Arc<AtomicI64>);

impl SkewedClock {
    /// Sets it wrong by so many milliseconds: ahead, or behind if negative.
    pub fn set_wrong_by(&self, millis: i64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let wrong_by = self.0.load(Ordering::SeqCst);
        Timestamp::from_millis(SystemClock.now().millis().saturating_add_signed(wrong_by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_past_2025() {
        assert!(SystemClock.now() > Timestamp::from_seconds(1_735_689_600));
    }

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = ManualClock::new(Timestamp::from_seconds(10));
        let other = clock.clone();
        clock.advance_millis(500);
        assert_eq!(other.now(), Timestamp::from_millis(10_500));
        other.set(Timestamp::from_seconds(1));
        assert_eq!(clock.now(), Timestamp::from_seconds(1));
        assert_eq!(clock.elapsed(), Duration::from_millis(500), "setting a clock takes no time");
    }

    #[test]
    fn a_skewed_clock_is_wrong_by_what_it_is_told() {
        let clock = SkewedClock::default();
        for wrong_by in [-86_400_000, 86_400_000] {
            clock.set_wrong_by(wrong_by);
            let difference =
                clock.now().millis().cast_signed() - SystemClock.now().millis().cast_signed();
            assert!((difference - wrong_by).abs() < 60_000, "{difference}");
        }
    }
}

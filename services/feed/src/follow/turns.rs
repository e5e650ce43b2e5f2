//! Whose turn it is: which upstream is asked next, and when a better one is tried again.

use std::time::Duration;

use tokio::time::Instant;

/// How long an upstream is left alone after its first failure, and at most. One that lied waits longest, and a minute
/// while another serves: where it is the only one, nothing is gained by longer.
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(15);
const LIAR_PAUSE: Duration = Duration::from_secs(60);

/// An upstream that comes before the one in use is tried again after so many ticks; after twice as many each time that it
/// did not last, up to 2^`MAX_DOUBLINGS` times as many.
const RETURN_TICKS: u32 = 8;
const MAX_DOUBLINGS: u32 = 5;

/// An upstream that did not bring more than the one in use, while that was in doubt, is not compared with it again for so
/// many ticks.
const COMPARE_TICKS: u32 = 32;

/// Whoever served for so many ticks lasted.
const STEADY_TICKS: u32 = 30;

/// Ticks that an upstream may take to bring the next one while it sends parts of something large; twice as many each time
/// that this was not enough: on a slow line all are slow, and one of them must get to the end.
const ALLOWANCE_TICKS: u32 = 30;
const MAX_ALLOWANCE_DOUBLINGS: u32 = 8;

/// How an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    /// It lied.
    Lie,
    /// It was too slow with something large.
    Slow,
    /// Anything else.
    Other,
}

/// What one upstream did before it ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Served {
    /// Whether it brought a tick.
    pub(super) ticked: bool,
    /// For how long it served.
    pub(super) lasted: Duration,
}

/// One upstream's turn.
#[derive(Clone)]
struct Turn {
    failures: u32,
    /// Not asked before.
    not_before: Instant,
    /// Times it was tried or left since it last lasted.
    returns: u32,
    /// Not tried before, beside another one in use.
    not_tried_before: Instant,
    /// Times that it was too slow since it last brought a tick.
    slow: u32,
}

impl Turn {
    fn tried(&self) -> Instant {
        self.not_before.max(self.not_tried_before)
    }
}

/// The turns of all upstreams, best first.
pub(super) struct Turns {
    tick: Duration,
    turns: Vec<Turn>,
}

impl Turns {
    pub(super) fn new(count: usize, tick: Duration, now: Instant) -> Self {
        let turn =
            Turn { failures: 0, not_before: now, returns: 0, not_tried_before: now, slow: 0 };
        Self { tick, turns: vec![turn; count] }
    }

    /// The first of those that may be asked soonest, and when that is.
    pub(super) fn next(&self, now: Instant) -> Option<(usize, Instant)> {
        self.soonest(|_| true, now, |turn| turn.not_before)
    }

    /// The first of those before `index` that may be tried soonest, and when that is.
    pub(super) fn better(&self, index: usize, now: Instant) -> Option<(usize, Instant)> {
        self.soonest(|one| one < index, now, Turn::tried)
    }

    /// The first of those beside `index` that may be tried soonest, and when that is.
    pub(super) fn other(&self, index: usize, now: Instant) -> Option<(usize, Instant)> {
        self.soonest(|one| one != index, now, Turn::tried)
    }

    fn soonest(
        &self,
        counts: impl Fn(usize) -> bool,
        now: Instant,
        when: impl Fn(&Turn) -> Instant,
    ) -> Option<(usize, Instant)> {
        let turns = self.turns.iter().enumerate().filter(|(index, _)| counts(*index));
        turns.map(|(index, turn)| (index, when(turn).max(now))).min_by_key(|(_, time)| *time)
    }

    /// An upstream was followed beside the one in use, and did not bring more.
    pub(super) fn compared(&mut self, index: usize, now: Instant) {
        if let Some(turn) = self.turns.get_mut(index) {
            turn.not_tried_before = now + self.tick * COMPARE_TICKS;
        }
    }

    /// How long an upstream may take to its next tick.
    pub(super) fn allowance(&self, index: usize) -> Duration {
        let slow = self.turns.get(index).map_or(0, |turn| turn.slow);
        self.tick * (ALLOWANCE_TICKS << slow.min(MAX_ALLOWANCE_DOUBLINGS))
    }

    /// An upstream was left, or did not pass its trial.
    pub(super) fn left(&mut self, index: usize, failing: Failing, served: Served, now: Instant) {
        let steady = self.tick * STEADY_TICKS;
        let tick = self.tick;
        let Some(turn) = self.turns.get_mut(index) else { return };
        turn.failures = if served.ticked { 1 } else { turn.failures.saturating_add(1) };
        turn.slow = match failing {
            Failing::Slow => turn.slow.saturating_add(1),
            _ if served.ticked => 0,
            _ => turn.slow,
        };
        let pause = match failing {
            Failing::Lie => MAX_PAUSE,
            _ => (MIN_PAUSE * (1 << turn.failures.min(8))).min(MAX_PAUSE),
        };
        turn.not_before = now + pause;
        turn.returns = if served.lasted >= steady { 0 } else { turn.returns };
        let returns = tick * (RETURN_TICKS << turn.returns.min(MAX_DOUBLINGS));
        turn.not_tried_before = now
            + match failing {
                Failing::Lie => returns.max(LIAR_PAUSE),
                _ => returns,
            };
        turn.returns = turn.returns.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(2);
    const SHORT: Served = Served { ticked: true, lasted: Duration::from_secs(5) };
    const LONG: Served = Served { ticked: true, lasted: Duration::from_secs(120) };
    const NOTHING: Served = Served { ticked: false, lasted: Duration::ZERO };

    #[test]
    fn the_first_that_may_be_asked_is_asked_and_who_failed_waits() {
        let now = Instant::now();
        let mut turns = Turns::new(3, TICK, now);
        assert_eq!(turns.next(now), Some((0, now)));
        turns.left(0, Failing::Other, NOTHING, now);
        assert_eq!(turns.next(now), Some((1, now)));
        turns.left(1, Failing::Lie, SHORT, now);
        turns.left(2, Failing::Other, NOTHING, now);
        // All failed: the first whose pause ends, and that of a liar ends last.
        assert_eq!(turns.next(now), Some((0, now + MIN_PAUSE * 2)));
        for _ in 0..20 {
            turns.left(0, Failing::Other, NOTHING, now);
            turns.left(2, Failing::Other, NOTHING, now);
        }
        assert_eq!(turns.next(now), Some((0, now + MAX_PAUSE)));
        assert!(turns.next(now + MAX_PAUSE).is_some_and(|(index, _)| index == 0));
        assert_eq!(Turns::new(0, TICK, now).next(now), None);
    }

    #[test]
    fn a_better_one_is_tried_less_and_less_often_until_it_lasts() {
        let now = Instant::now();
        let mut turns = Turns::new(2, TICK, now);
        assert_eq!(turns.better(0, now), None, "none comes before the first");
        let mut waits = Vec::new();
        for served in [SHORT, SHORT, NOTHING, LONG, SHORT] {
            turns.left(0, Failing::Other, served, now);
            waits.push(turns.better(1, now).map(|(_, time)| (time - now).as_secs()));
        }
        assert_eq!(waits, [16, 32, 64, 16, 32].map(Some));
        for _ in 0..40 {
            turns.left(0, Failing::Other, NOTHING, now);
        }
        assert_eq!(turns.better(1, now), Some((0, now + TICK * RETURN_TICKS * 32)));
        turns.left(0, Failing::Lie, LONG, now);
        assert_eq!(turns.better(1, now), Some((0, now + LIAR_PAUSE)));
    }

    #[test]
    fn whoever_is_slow_gets_more_time_until_it_brings_a_tick() {
        let now = Instant::now();
        let mut turns = Turns::new(2, TICK, now);
        let seconds = |turns: &Turns| turns.allowance(0).as_secs();
        assert_eq!(seconds(&turns), 60);
        turns.left(0, Failing::Slow, NOTHING, now);
        turns.left(0, Failing::Other, NOTHING, now);
        assert_eq!(seconds(&turns), 120);
        for _ in 0..40 {
            turns.left(0, Failing::Slow, NOTHING, now);
        }
        assert_eq!(seconds(&turns), 60 * 256);
        turns.left(0, Failing::Other, SHORT, now);
        assert_eq!(seconds(&turns), 60);
    }
}

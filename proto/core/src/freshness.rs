//! How old knowledge is: the older of the authority's own time and the time that a quorum of witnesses vouches for.

use std::fmt;

use thiserror::Error;

use crate::cosignature::{VerifiedCosignature, quorum_time};
use crate::ids::Timestamp;

/// Whose time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeSource {
    /// The authority's, in the map head.
    Leaf,
    /// The one that a quorum of witnesses vouches for.
    Quorum,
}

impl fmt::Display for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaf => "the authority's time",
            Self::Quorum => "the witnesses' time",
        })
    }
}

/// Why no freshness can be given.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreshnessError {
    /// A time ahead of the clock by more than the skew bound: someone lies, or this machine's clock is behind.
    #[error(
        "freshness: {time_source} is {ahead_millis} ms ahead of the clock here, {skew_millis} ms are allowed; check this clock first"
    )]
    AheadOfClock {
        /// Whose time.
        time_source: TimeSource,
        /// By how many milliseconds it is ahead.
        ahead_millis: u64,
        /// How many are allowed.
        skew_millis: u32,
    },
    /// Too few witnesses cosigned, those whose time is ahead of the clock not counted.
    #[error("freshness: too few witnesses cosigned, {quorum} are needed")]
    NoQuorum {
        /// How many are needed.
        quorum: u8,
    },
}

/// When what is known was last known to be true: the older of the two times.
#[must_use]
pub fn freshness(leaf_time: Timestamp, quorum_time: Timestamp) -> Timestamp {
    leaf_time.min(quorum_time)
}

/// Refuses a time that is ahead of `now` by more than the skew bound.
///
/// # Errors
/// [`FreshnessError::AheadOfClock`].
pub fn check_not_ahead(
    time_source: TimeSource,
    time: Timestamp,
    now: Timestamp,
    skew_millis: u32,
) -> Result<(), FreshnessError> {
    match time.millis_since(now) {
        ahead_millis if ahead_millis > u64::from(skew_millis) => {
            Err(FreshnessError::AheadOfClock { time_source, ahead_millis, skew_millis })
        }
        _ => Ok(()),
    }
}

/// What a cosigned head is worth at `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    leaf: Timestamp,
    quorum: Timestamp,
}

impl Freshness {
    /// Assesses a head's time and the cosignatures of its checkpoint. A cosignature ahead of the clock by more than the
    /// skew bound is left out, so that one lying witness stops nothing while a quorum of others stands.
    ///
    /// # Errors
    /// [`FreshnessError`].
    pub fn assess(
        leaf_time: Timestamp,
        cosignatures: &[VerifiedCosignature],
        quorum: u8,
        now: Timestamp,
        skew_millis: u32,
    ) -> Result<Self, FreshnessError> {
        check_not_ahead(TimeSource::Leaf, leaf_time, now, skew_millis)?;
        let not_ahead = |cosignature: &VerifiedCosignature| {
            check_not_ahead(TimeSource::Quorum, cosignature.time(), now, skew_millis)
        };
        let believed: Vec<_> =
            cosignatures.iter().filter(|one| not_ahead(one).is_ok()).cloned().collect();
        if let Some(quorum) = quorum_time(&believed, quorum) {
            return Ok(Self { leaf: leaf_time, quorum });
        }
        // Say what is wrong: a clock that is behind looks like witnesses that are ahead.
        if quorum_time(cosignatures, quorum).is_some() {
            cosignatures.iter().try_for_each(not_ahead)?;
        }
        Err(FreshnessError::NoQuorum { quorum })
    }

    /// When what is known was last known to be true.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        freshness(self.leaf, self.quorum)
    }

    /// The one of two whose [`Freshness::time`] is later.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        if other.time() > self.time() { other } else { self }
    }

    /// The authority's time.
    #[must_use]
    pub fn leaf_time(&self) -> Timestamp {
        self.leaf
    }

    /// The witnesses' time; what [`ClockFloor::observe`] takes.
    #[must_use]
    pub fn quorum_time(&self) -> Timestamp {
        self.quorum
    }
}

/// Keeps a clock from running behind the highest quorum time seen, so that setting it back revives nothing. To be kept on
/// disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockFloor {
    highest: Timestamp,
}

impl ClockFloor {
    /// As it was kept; the default is no floor.
    #[must_use]
    pub const fn new(highest: Timestamp) -> Self {
        Self { highest }
    }

    /// The highest quorum time seen.
    #[must_use]
    pub const fn highest(self) -> Timestamp {
        self.highest
    }

    /// Takes note of a quorum time that was assessed; true if the floor rose.
    pub fn observe(&mut self, quorum_time: Timestamp) -> bool {
        let rises = quorum_time > self.highest;
        self.highest = self.highest.max(quorum_time);
        rises
    }

    /// The time to work with when the machine's clock shows `wall`.
    #[must_use]
    pub fn now(self, wall: Timestamp) -> Timestamp {
        wall.max(self.highest)
    }
}

/// How far a machine's clock is from what a quorum of witnesses vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockError {
    /// Certainly behind, by at least this much.
    Behind {
        /// Milliseconds.
        millis: u64,
    },
    /// Ahead by this much; or what arrives is on its way for so long.
    Ahead {
        /// Milliseconds.
        millis: u64,
    },
}

impl fmt::Display for ClockError {
    /// What is wrong, and what to do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { millis } => {
                write!(
                    f,
                    "CLOCK: this machine's clock is {} s behind the witnesses': set it right",
                    seconds(*millis)
                )
            }
            Self::Ahead { millis } => write!(
                f,
                "CLOCK: this machine's clock is {} s ahead of the witnesses', or the feed comes so late: \
                 set the clock right; if it is right, use another upstream",
                seconds(*millis)
            ),
        }
    }
}

fn seconds(millis: u64) -> u64 {
    millis.div_ceil(1_000)
}

/// One in so many milliseconds is not counted between two quorum times: no crystal is that wrong, so what is counted is
/// never more than what passed.
const SLOW: u64 = 1_000;

/// A [`ClockFloor`] that runs on while nothing arrives: time passes, whatever the machine's clock is set to.
///
/// `elapsed` is milliseconds on a count that nobody sets, always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunningFloor {
    floor: ClockFloor,
    /// When the floor was there.
    since: u64,
    /// A quorum time and when it was seen, to compare later ones with.
    window: Option<(Timestamp, u64)>,
    /// Whether quorum times come as fast as time passes, so that they tell what time it is. What is fetched after a while
    /// without network comes faster, and what a mirror without news sends comes once.
    is_live: bool,
}

/// Quorum times are compared over this many milliseconds at least.
const WINDOW: u64 = 5_000;

impl RunningFloor {
    /// Goes on from a time that was kept; how much passed in between is not known.
    #[must_use]
    pub const fn resume(kept: Timestamp, elapsed: u64) -> Self {
        Self { floor: ClockFloor::new(kept), since: elapsed, window: None, is_live: false }
    }

    /// Takes note of a quorum time that was assessed.
    pub fn observe(&mut self, quorum_time: Timestamp, elapsed: u64) {
        match self.window {
            None => self.window = Some((quorum_time, elapsed)),
            Some((time, since)) if elapsed.saturating_sub(since) >= WINDOW => {
                let passed = elapsed.saturating_sub(since);
                self.is_live = quorum_time.millis_since(time) <= 2 * passed;
                self.window = Some((quorum_time, elapsed));
            }
            Some(_) => {}
        }
        let mut floor = ClockFloor::new(self.proven(elapsed));
        if floor.observe(quorum_time) {
            self.floor = floor;
            self.since = elapsed;
        }
    }

    /// The quorum that was observed last answered just now, and not through a feed. If none ever was, as of an empty log, no
    /// time is known.
    pub fn is_asked_now(&mut self) {
        self.is_live = self.floor != ClockFloor::default();
    }

    /// It is at least this late.
    #[must_use]
    pub fn proven(self, elapsed: u64) -> Timestamp {
        let passed = elapsed.saturating_sub(self.since);
        if self.floor == ClockFloor::default() {
            return Timestamp::default();
        }
        self.floor.highest().plus_millis(passed - passed / SLOW)
    }

    /// The time to work with when the machine's clock shows `wall`.
    #[must_use]
    pub fn now(self, wall: Timestamp, elapsed: u64) -> Timestamp {
        wall.max(self.proven(elapsed))
    }

    /// What is wrong with a clock that shows `wall`, if it is by more than `allowed_millis`. A clock that is ahead is found
    /// out only once quorum times came for a while; before, nobody knows for how long this machine was off.
    #[must_use]
    pub fn clock_error(
        self,
        wall: Timestamp,
        elapsed: u64,
        allowed_millis: u64,
    ) -> Option<ClockError> {
        let proven = self.proven(elapsed);
        let (behind, ahead) = (proven.millis_since(wall), wall.millis_since(proven));
        // What runs slow here is no error of the clock.
        let slow = elapsed.saturating_sub(self.since) / SLOW;
        if behind > allowed_millis {
            return Some(ClockError::Behind { millis: behind });
        }
        let is_ahead = self.is_live && ahead > allowed_millis + slow;
        is_ahead.then_some(ClockError::Ahead { millis: ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::cosignature::WitnessKey;
    use crate::ids::{Authority, EventId, Hash, Origin};
    use crate::note::{KeyName, SigningKey};
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha20Rng;

    const SKEW: u32 = 5_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn cosigned(times: &[u64]) -> Vec<VerifiedCosignature> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let origin = Origin::new(&EventId::parse("games-2028").unwrap(), Authority::Committee);
        let key = SigningKey::generate(KeyName::parse(origin.as_str()).unwrap(), &mut rng);
        let checkpoint = Checkpoint::new(&origin, 1, Hash::new([0; 32])).sign(&key).unwrap();
        let mut cosign = |(index, seconds): (usize, &u64)| {
            let name = KeyName::parse(&format!("witness/{index}")).unwrap();
            WitnessKey::generate(name, &mut rng).cosign(&checkpoint, at(*seconds)).unwrap()
        };
        times.iter().enumerate().map(&mut cosign).collect()
    }

    fn assess(leaf: u64, witnesses: &[u64], now: u64) -> Result<u64, FreshnessError> {
        Freshness::assess(at(leaf), &cosigned(witnesses), 2, at(now), SKEW)
            .map(|freshness| freshness.time().seconds())
    }

    #[test]
    fn the_older_of_leaf_and_quorum_counts() {
        assert_eq!(assess(100, &[103, 102, 90], 104), Ok(100));
        assert_eq!(assess(100, &[103, 80, 70], 104), Ok(80));
        // Cosigning again later refreshes nothing that the authority did not say again.
        assert_eq!(assess(100, &[900, 900, 900], 901), Ok(100));
    }

    #[test]
    fn one_witness_that_lies_about_time_moves_nothing() {
        assert_eq!(assess(100, &[1_000_000, 101, 100], 104), Ok(100));
        assert_eq!(assess(100, &[1, 101, 100], 104), Ok(100));
        // Left out, it does not help to a quorum either.
        let ahead = assess(100, &[1_000_000, 101], 104);
        assert!(matches!(
            ahead,
            Err(FreshnessError::AheadOfClock { time_source: TimeSource::Quorum, .. })
        ));
    }

    #[test]
    fn too_few_and_too_far_ahead_are_refused() {
        assert_eq!(assess(100, &[101], 104), Err(FreshnessError::NoQuorum { quorum: 2 }));
        assert_eq!(assess(100, &[], 104), Err(FreshnessError::NoQuorum { quorum: 2 }));
        assert_eq!(assess(109, &[104, 104], 104), Ok(104));
        let ahead = FreshnessError::AheadOfClock {
            time_source: TimeSource::Leaf,
            ahead_millis: 6_000,
            skew_millis: SKEW,
        };
        assert_eq!(assess(110, &[104, 104], 104), Err(ahead));
        assert!(ahead.to_string().contains("6000 ms ahead"));
        let stalled = Freshness::assess(at(1), &cosigned(&[1]), 0, at(1), SKEW);
        assert_eq!(stalled, Err(FreshnessError::NoQuorum { quorum: 0 }));
    }

    #[test]
    fn a_clock_set_back_does_not_run_behind_the_floor() {
        let mut floor = ClockFloor::default();
        assert_eq!(floor.now(at(50)), at(50));
        assert!(floor.observe(at(100)));
        assert!(!floor.observe(at(90)));
        assert_eq!(floor.now(at(50)), at(100));
        assert_eq!(floor.now(at(150)), at(150));
        assert_eq!(ClockFloor::new(floor.highest()), floor);
    }

    #[test]
    fn a_running_floor_lets_time_pass_whatever_the_clock_shows() {
        let mut floor = RunningFloor::resume(at(100), 7_000);
        assert_eq!(floor.now(at(50), 7_000), at(100));
        assert_eq!(floor.now(at(50), 17_000), Timestamp::from_millis(109_990));
        assert_eq!(floor.now(at(500), 17_000), at(500));
        floor.observe(at(105), 17_000);
        assert_eq!(
            floor.proven(17_000),
            Timestamp::from_millis(109_990),
            "an old time sets nothing back"
        );
        floor.observe(at(120), 17_000);
        assert_eq!(floor.proven(18_000), Timestamp::from_millis(120_999));
        assert_eq!(
            RunningFloor::default().proven(1 << 40),
            Timestamp::default(),
            "nothing is known"
        );
    }

    #[test]
    fn a_wrong_clock_is_named_and_a_right_one_is_not() {
        let mut floor = RunningFloor::resume(at(1_000), 0);
        // A machine that was off for an hour: nobody knows that it was not.
        assert_eq!(floor.clock_error(at(4_600), 0, 15_000), None);
        let behind = Some(ClockError::Behind { millis: 100_000 });
        assert_eq!(floor.clock_error(at(900), 0, 15_000), behind);
        // What is fetched comes faster than time passes, and tells nothing of the clock.
        floor.observe(at(2_000), 0);
        floor.observe(at(2_600), 6_000);
        assert_eq!(floor.clock_error(at(4_600), 6_000, 15_000), None);
        floor.observe(at(4_600), 12_000);
        floor.observe(at(4_606), 18_000);
        assert_eq!(floor.clock_error(at(4_607), 18_000, 15_000), None);
        let ahead = ClockError::Ahead { millis: 3_600_000 };
        assert_eq!(floor.clock_error(at(8_206), 18_000, 15_000), Some(ahead));
        // A day without network later, a right clock is still right.
        let day = 18_000 + 86_400_000;
        assert_eq!(floor.clock_error(at(4_606 + 86_400), day, 15_000), None);
        let jumped = floor.clock_error(at(4_606 + 86_400 + 3_600), day, 15_000);
        assert!(matches!(jumped, Some(ClockError::Ahead { .. })), "{jumped:?}");
        assert!(ahead.to_string().starts_with("CLOCK: this machine's clock is 3600 s ahead"));
    }

    #[test]
    fn witnesses_that_are_asked_tell_the_time_once_they_cosigned_something() {
        let mut floor = RunningFloor::default();
        floor.is_asked_now();
        assert_eq!(floor.clock_error(at(4_600), 0, 15_000), None);
        floor.observe(at(1_000), 0);
        floor.is_asked_now();
        let ahead = Some(ClockError::Ahead { millis: 3_600_000 });
        assert_eq!(floor.clock_error(at(4_600), 0, 15_000), ahead);
    }
}

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
}

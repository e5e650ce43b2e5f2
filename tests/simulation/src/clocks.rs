//! How far the machines' clocks were off, and when.

use crate::event::SKEW_MILLIS;

/// What room there is between two clocks that agree and two that do not: a message on its way, and the time that witnesses take.
const ROOM_MILLIS: u64 = 1_000;

/// All clocks. One that nobody has set is right.
#[derive(Default)]
pub(crate) struct Clocks {
    /// Machine, since when, by how many milliseconds it is ahead; behind if negative.
    settings: Vec<(&'static str, u64, i64)>,
    led_astray: bool,
}

impl Clocks {
    /// A clock is set off by so many milliseconds.
    pub(crate) fn set(&mut self, machine: &'static str, millis: i64, now: u64) {
        self.settings.push((machine, now, millis));
        let wrong = |machine: &&str| self.offset(machine).unsigned_abs() > SKEW_MILLIS;
        self.led_astray |= crate::op::MACHINES.iter().filter(|one| wrong(one)).count() > 1;
    }

    /// By how much a clock is ahead now.
    #[must_use]
    pub(crate) fn offset(&self, machine: &str) -> i64 {
        let of_it = self.settings.iter().rev().find(|(name, ..)| *name == machine);
        of_it.map_or(0, |(.., millis)| *millis)
    }

    /// Whether what one machine signs by its clock is taken by another: they differ by less than the manifest allows.
    #[must_use]
    pub(crate) fn agree(&self, one: &str, other: &str) -> bool {
        self.offset(one).abs_diff(self.offset(other)) < SKEW_MILLIS - ROOM_MILLIS
    }

    /// Whether two clocks were ever wrong at once, by more than the manifest allows: then witnesses may have proven a wrong
    /// time to whoever is as wrong as they are.
    #[must_use]
    pub(crate) const fn may_have_led_astray(&self) -> bool {
        self.led_astray
    }

    /// How far a machine's clock was behind and ahead between two times, at most each.
    #[must_use]
    pub(crate) fn extremes(&self, machine: &str, from: u64, to: u64) -> (u64, u64) {
        let (mut behind, mut ahead) = (0, 0);
        let of_it = || self.settings.iter().filter(|(name, ..)| *name == machine);
        for (place, (_, since, millis)) in of_it().enumerate() {
            let until = of_it().nth(place + 1).map_or(u64::MAX, |(_, until, _)| *until);
            if *since <= to && until >= from {
                match millis {
                    0.. => ahead = ahead.max(millis.unsigned_abs()),
                    _ => behind = behind.max(millis.unsigned_abs()),
                }
            }
        }
        (behind, ahead)
    }

    /// How far a machine's clock was off between two times, at most.
    #[must_use]
    pub(crate) fn farthest(&self, machine: &str, from: u64, to: u64) -> u64 {
        let (behind, ahead) = self.extremes(machine, from, to);
        behind.max(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_counts_while_it_was() {
        let mut clocks = Clocks::default();
        clocks.set("gate-1", -90_000, 10);
        clocks.set("trustee", 2_000, 15);
        clocks.set("gate-1", 4_000, 20);
        assert_eq!(clocks.extremes("gate-1", 0, 9), (0, 0));
        assert_eq!(clocks.extremes("gate-1", 0, 30), (90_000, 4_000));
        assert_eq!(clocks.extremes("gate-1", 21, 30), (0, 4_000));
        assert_eq!(clocks.farthest("gate-1", 12, 13), 90_000);
        assert!(clocks.agree("gate-1", "trustee") && !clocks.agree("gate-1", "sponsor"));
        assert!(!clocks.may_have_led_astray());
        clocks.set("sponsor", 10_000, 30);
        clocks.set("police", -10_000, 40);
        assert!(clocks.may_have_led_astray());
    }
}

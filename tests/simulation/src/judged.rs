//! How often each invariant could have been broken and was looked at: what never comes up is not tested.

use std::collections::BTreeMap;
use std::fmt;

/// An invariant, and a case in which it says what must not be seen.
pub(crate) type Case = (&'static str, &'static str);

pub(crate) const LISTED: Case = ("two-attestations", "listed");
pub(crate) const STOPPED: Case = ("two-attestations", "stopped");
pub(crate) const STALE: Case = ("two-attestations", "stale");
pub(crate) const HELD: Case = ("stops-bind", "held");
pub(crate) const STEADY: Case = ("stops-arrive", "steady");
pub(crate) const ONE_WAY: Case = ("stops-arrive", "one way");
pub(crate) const QUORUM_SHOWN: Case = ("better-waits-for-a-quorum", "shown");
pub(crate) const QUORUM_REMEMBERED: Case = ("better-waits-for-a-quorum", "remembered");
pub(crate) const STARTED_AGAIN: Case = ("no-gate-goes-back", "started again");
pub(crate) const SEEN_AGAIN: Case = ("no-fork", "seen again");
pub(crate) const COSIGNED: Case = ("nothing-lost", "cosigned");
pub(crate) const SIGNED: Case = ("nothing-lost", "signed");
pub(crate) const COUNTED: Case = ("nothing-lost", "counted");
pub(crate) const RETRIED: Case = ("nothing-lost", "retried");
pub(crate) const RECEIPTS: Case = ("nothing-lost", "receipts");
pub(crate) const ENROLLED: Case = ("nothing-lost", "enrolled");
pub(crate) const TRAIL: Case = ("nothing-lost", "trail");
pub(crate) const ANSWERS: Case = ("gates-go-on", "answers");
pub(crate) const CONNECTED: Case = ("gates-go-on", "connected");
pub(crate) const CUT_OFF: Case = ("gates-go-on", "cut off");
pub(crate) const GOOD: Case = ("gates-go-on", "good people");
pub(crate) const LAST_LOOK: Case = ("all-recovers", "last look");

const ALL: [Case; 22] = [
    LISTED,
    STOPPED,
    STALE,
    HELD,
    STEADY,
    ONE_WAY,
    QUORUM_SHOWN,
    QUORUM_REMEMBERED,
    STARTED_AGAIN,
    SEEN_AGAIN,
    COSIGNED,
    SIGNED,
    COUNTED,
    RETRIED,
    RECEIPTS,
    ENROLLED,
    TRAIL,
    ANSWERS,
    CONNECTED,
    CUT_OFF,
    GOOD,
    LAST_LOOK,
];

/// What the line with the counts begins with.
const LINE: &str = "judged: ";

/// The counts. They read as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judged(BTreeMap<Case, u64>);

impl Judged {
    /// A case came up.
    pub(crate) fn count(&mut self, case: Case) {
        *self.0.entry(case).or_default() += 1;
    }

    /// Adds what another course judged.
    pub(crate) fn add(&mut self, other: &Self) {
        for (case, count) in &other.0 {
            *self.0.entry(*case).or_default() += count;
        }
    }

    /// The counts in what a course printed.
    #[must_use]
    pub(crate) fn read(report: &str) -> Self {
        let line = report.lines().find_map(|line| line.strip_prefix(LINE)).unwrap_or_default();
        let count = |case: &Case| {
            let name = format!("{}/{} ", case.0, case.1);
            line.split(", ").find_map(|part| part.strip_prefix(&name)?.parse().ok())
        };
        Self(ALL.into_iter().filter_map(|case| Some((case, count(&case)?))).collect())
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |case| self.0.get(case).copied().unwrap_or_default();
        let counts: Vec<String> =
            ALL.iter().map(|case| format!("{}/{} {}", case.0, case.1, count(case))).collect();
        write!(f, "{LINE}{}", counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_as_they_are_written() {
        let mut judged = Judged::default();
        ALL.iter().for_each(|case| judged.count(*case));
        judged.count(STALE);
        let read = Judged::read(&format!("seed 1: 3 operations\n{judged}\n"));
        assert_eq!(read, judged);
        let mut twice = read;
        twice.add(&judged);
        assert!(twice.to_string().contains("two-attestations/stale 4,"), "{twice}");
    }
}

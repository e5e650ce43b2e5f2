//! What all parts of a simulation share: the ledger, the trace, and the first thing that went wrong.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_core::ids::Authority;

use crate::checkpoints::Kind;
use crate::clock::TrueTime;
use crate::judged::{self, Case};
use crate::ledger::Ledger;
use crate::machine::Machine;

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which; the name is the one in the list at the top of the crate.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
    /// When, in milliseconds of the simulation.
    pub time: u64,
}

/// Shared by all. Clones are the same.
#[derive(Clone)]
pub(crate) struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    time: TrueTime,
    ledger: Mutex<Ledger>,
    trace: Mutex<Vec<String>>,
    violation: Mutex<Option<Violation>>,
}

impl Shared {
    /// Nothing has happened.
    #[must_use]
    pub(crate) fn new(time: TrueTime, ledger: Ledger) -> Self {
        let (ledger, trace, violation) = (Mutex::new(ledger), Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { time, ledger, trace, violation }) }
    }

    /// Milliseconds since the start.
    #[must_use]
    pub(crate) fn now(&self) -> u64 {
        self.inner.time.elapsed()
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened.
    pub(crate) fn trace(&self, what: impl AsRef<str>) {
        let line = format!("{:>7} {}", self.now(), what.as_ref());
        tracing::info!(target: "simulation", "{line}");
        self.inner.trace.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Everything that was noted.
    #[must_use]
    pub(crate) fn traced(&self) -> Vec<String> {
        self.inner.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An invariant does not hold. The first time counts.
    pub(crate) fn violate(&self, invariant: &'static str, detail: impl Into<String>) {
        let found = Violation { invariant, detail: detail.into(), time: self.now() };
        self.trace(format!("VIOLATION {invariant}: {}", found.detail));
        let mut violation = self.inner.violation.lock().unwrap_or_else(PoisonError::into_inner);
        violation.get_or_insert(found);
    }

    /// The first invariant that did not hold.
    #[must_use]
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.inner.violation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing else was to be seen here.
    pub(crate) fn judged(&self, case: Case) {
        self.ledger().judged.count(case);
    }

    /// A machine wrote a file: every checkpoint in it is compared with all that were ever seen.
    pub(crate) fn wrote(&self, machine: &'static str, path: &Path, bytes: &[u8]) {
        let is_in = |folder: &str| path.iter().any(|part| part == folder);
        let kind = match () {
            () if is_in("witness") => Kind::Memory,
            () if is_in("feeds") || is_in("mirror") => Kind::Feed,
            () if is_in(EVALUATIONS) => {
                let mut ledger = self.ledger();
                let counted = ledger.counted.entry(machine).or_default();
                *counted = evaluations(bytes).max(*counted);
                return;
            }
            () => return,
        };
        let found = self.ledger().checkpoints.read((machine, kind), bytes);
        match found {
            Ok(known) => (0..known).for_each(|_| self.judged(judged::SEEN_AGAIN)),
            Err(fork) => self.violate("no-fork", format!("{machine}, {}: {fork}", path.display())),
        }
    }

    /// What a machine has on its disk when it starts, against all that others were told before.
    pub(crate) fn starts(&self, machine: &Machine) {
        self.witness_starts(machine);
        self.authority_starts(machine);
        let counted = self.ledger().counted.get(machine.name).copied();
        let Some(counted) = counted else { return };
        self.judged(judged::COUNTED);
        let found = machine.contents(EVALUATIONS).iter().map(|bytes| evaluations(bytes)).sum();
        if counted > found {
            let detail =
                format!("{} counted {counted} evaluations, {found} are left", machine.name);
            self.violate("nothing-lost", detail);
        }
    }

    /// A witness's memory against all of its cosignatures that were ever seen.
    fn witness_starts(&self, machine: &Machine) {
        let (name, contents) = (machine.name, machine.contents("witness"));
        for authority in Authority::ALL.into_iter().filter(|authority| authority.name() != name) {
            let mut ledger = self.ledger();
            let cosigned = ledger.checkpoints.cosigned(name, authority);
            if cosigned == 0 {
                continue;
            }
            let remembered =
                contents.iter().map(|bytes| ledger.checkpoints.newest(authority, bytes));
            let remembered = remembered.max().unwrap_or_default();
            ledger.judged.count(judged::COSIGNED);
            drop(ledger);
            if remembered < cosigned {
                let detail = format!(
                    "{name} cosigned size {cosigned} of the {}'s log and remembers {remembered}",
                    authority.name()
                );
                self.violate("nothing-lost", detail);
            }
        }
    }

    /// An authority's own log against what others have of it: what it has signed was on its disk first.
    fn authority_starts(&self, machine: &Machine) {
        let of_it = |authority: &Authority| authority.name() == machine.name;
        let Some(authority) = Authority::ALL.into_iter().find(of_it) else { return };
        let contents = machine.contents("feeds");
        let mut ledger = self.ledger();
        let held = contents.iter().map(|bytes| ledger.checkpoints.newest(authority, bytes));
        let held = held.max().unwrap_or_default();
        // After an old copy was restored, it may have fetched less than others have.
        let written = ledger.checkpoints.held(machine.name, authority);
        let elsewhere = ledger.checkpoints.elsewhere(authority).min(written);
        ledger.judged.count(judged::SIGNED);
        drop(ledger);
        if held < elsewhere {
            let name = machine.name;
            let detail = format!("others have size {elsewhere} of the {name}'s log, itself {held}");
            self.violate("nothing-lost", detail);
        }
    }
}

/// The folder of a share holder's count.
const EVALUATIONS: &str = "evaluations";

/// All that is counted in a share holder's ledger.
fn evaluations(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let counts = text.lines().filter_map(|line| line.strip_prefix("count ")?.rsplit(' ').next());
    counts.filter_map(|count| count.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_of_all_callers_are_counted() {
        let ledger = "title\n7\ncount committee enrolment 40\nbatch committee enrolment 8 x y\ncount police check 2\n";
        assert_eq!(evaluations(ledger.as_bytes()), 42);
        assert_eq!(evaluations(b"no ledger"), 0);
    }
}

//! What all parts of a simulation share: the ledger, the trace, and the first thing that went wrong.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_core::ids::Authority;

use crate::clock::TrueTime;
use crate::ledger::Ledger;

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
    #[must_use]
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

    /// A machine wrote a file: every checkpoint in it is compared with all that were ever seen.
    pub(crate) fn wrote(&self, machine: &str, path: &Path, bytes: &[u8]) {
        let found = self.ledger().checkpoints.read(bytes);
        let Err(fork) = found else { return };
        self.violate("no-fork", format!("{machine}, {}: {fork}", path.display()));
    }

    /// What a witness has on its disk when it starts, against all of its cosignatures that were ever seen.
    pub(crate) fn witness_starts(&self, machine: &'static str, contents: &[Vec<u8>]) {
        for authority in Authority::ALL {
            let ledger = self.ledger();
            let remembered =
                contents.iter().map(|bytes| ledger.checkpoints.newest(authority, bytes));
            let remembered = remembered.max().unwrap_or_default();
            let cosigned = ledger.checkpoints.cosigned(machine, authority);
            drop(ledger);
            if remembered < cosigned {
                let detail = format!(
                    "{machine} cosigned size {cosigned} of the {}'s log and remembers {remembered}",
                    authority.name()
                );
                self.violate("nothing-lost", detail);
            }
        }
    }
}

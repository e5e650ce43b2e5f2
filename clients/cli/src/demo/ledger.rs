//! What was expected, what came back, how long it took.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::DemoError;

/// One expectation and what became of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    /// What was tried.
    pub(super) scenario: String,
    /// What should come back.
    pub(super) expected: String,
    /// What came back.
    pub(super) found: String,
    /// How long that took, in milliseconds.
    pub(super) millis: u64,
    /// Whether it is what was expected.
    pub(super) ok: bool,
}

/// One step of making the event.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Stage {
    /// What was done.
    pub(super) stage: String,
    /// How long it took, in milliseconds.
    pub(super) millis: u64,
    /// What came of it.
    pub(super) detail: String,
}

/// What came back, and whether it is what was expected.
pub(super) struct Seen {
    text: String,
    ok: bool,
    /// How long what matters took, if not all of it does.
    took: Option<Duration>,
}

impl Seen {
    pub(super) fn new(ok: bool, text: impl Into<String>) -> Self {
        Self { text: text.into(), ok, took: None }
    }

    pub(super) fn after(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }
}

/// Keeps outcomes, and tells people as they come.
pub(super) struct Ledger {
    pub(super) stages: Vec<Stage>,
    pub(super) outcomes: Vec<Outcome>,
    colours: bool,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { stages: vec![], outcomes: vec![], colours }
    }

    /// Whether every expectation held.
    pub(super) fn all_held(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.ok)
    }

    /// Does a step without which nothing else makes sense.
    pub(super) async fn stage<T>(
        &mut self,
        stage: &str,
        work: impl Future<Output = Result<(T, String), DemoError>>,
    ) -> Result<T, DemoError> {
        eprint!("{stage} … ");
        let start = Instant::now();
        let done = work.await;
        let millis = millis(start.elapsed());
        match done {
            Ok((value, detail)) => {
                eprintln!("{detail} ({})", seconds(millis));
                self.stages.push(Stage { stage: stage.to_owned(), millis, detail });
                Ok(value)
            }
            Err(error) => {
                eprintln!("failed");
                Err(error)
            }
        }
    }

    /// Tries something and keeps what came back; an error is an expectation that did not hold.
    pub(super) async fn expect(
        &mut self,
        scenario: &str,
        expected: &str,
        attempt: impl Future<Output = Result<Seen, DemoError>>,
    ) {
        let start = Instant::now();
        let seen = attempt.await;
        let took = start.elapsed();
        let seen = seen.unwrap_or_else(|error| Seen::new(false, format!("error: {error}")));
        let outcome = Outcome {
            scenario: scenario.to_owned(),
            expected: expected.to_owned(),
            found: seen.text,
            millis: millis(seen.took.unwrap_or(took)),
            ok: seen.ok,
        };
        self.tell(&outcome);
        self.outcomes.push(outcome);
    }

    fn tell(&self, outcome: &Outcome) {
        let (mark, colour) = if outcome.ok { ("ok  ", "32") } else { ("FAIL", "31;1") };
        let mark =
            if self.colours { format!("\x1b[{colour}m{mark}\x1b[0m") } else { mark.to_owned() };
        let Outcome { scenario, found, expected, .. } = outcome;
        let took = seconds(outcome.millis);
        if outcome.ok {
            eprintln!("  {mark} {scenario}: {found} ({took})");
        } else {
            eprintln!("  {mark} {scenario}: expected {expected}, came {found} ({took})");
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For people: `12 ms`, `3.4 s`.
pub(super) fn seconds(millis: u64) -> String {
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_is_an_expectation_that_did_not_hold() {
        let mut ledger = Ledger::new();
        ledger.expect("good", "yes", async { Ok(Seen::new(true, "yes")) }).await;
        assert!(ledger.all_held());
        ledger.expect("bad", "yes", async { Err(DemoError::unexpected("no")) }).await;
        assert!(!ledger.all_held());
        assert_eq!(ledger.outcomes[1].found, "error: no");
    }

    #[test]
    fn times_are_short() {
        assert_eq!((seconds(12), seconds(3_450)), ("12 ms".to_owned(), "3.4 s".to_owned()));
    }
}

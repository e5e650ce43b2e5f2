//! Answers, counted by what the gate shows: nothing that the scanner did not show, and no door.

use std::sync::OnceLock;

use lanyard_telemetry::{Counter, metrics};
use lanyard_wire::gate::v1::{Reason, Verdict};

use crate::receipts::Answer;

const VERDICTS: usize = 5;
const REASONS: usize = 14;

/// A counter for each verdict and reason; of those that no alert is for, those that never were do not show.
#[derive(Default)]
pub(crate) struct Answers([[OnceLock<Counter>; REASONS]; VERDICTS]);

impl Answers {
    /// Shows from 0 what an alert is for: nobody passes.
    pub(crate) fn show(&self) {
        for reason in [Reason::Stale, Reason::NoDirectory, Reason::Clock] {
            self.add(Verdict::Undetermined, reason, 0);
        }
    }

    pub(crate) fn count(&self, answer: &Answer) {
        self.add(answer.verdict, answer.reason, 1);
    }

    fn add(&self, verdict: Verdict, reason: Reason, count: u64) {
        let known = self.0.get(verdict as usize).and_then(|row| row.get(reason as usize));
        let Some(counter) = known else { return };
        let new = || {
            let verdict = verdict.as_str_name().trim_start_matches("VERDICT_").to_lowercase();
            let reason = reason.as_str_name().trim_start_matches("REASON_").to_lowercase();
            metrics::CHECKS.of([&verdict, &reason])
        };
        counter.get_or_init(new).increment(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_and_reason_has_a_place() {
        assert!(Verdict::try_from(VERDICTS as i32).is_err());
        assert!(Reason::try_from(REASONS as i32).is_err());
    }
}

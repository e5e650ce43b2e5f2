//! How far a long job is, and how long it will still take: a bar for people, lines of JSON on stderr for machines.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;

use crate::context::Context;

/// How often machines are told, beside each hundredth of the job.
const INTERVAL: Duration = Duration::from_secs(1);

/// A job of a known size.
pub(crate) struct Progress {
    bar: ProgressBar,
    json: bool,
    what: &'static str,
    total: u64,
    /// When and where this run began: what an earlier run has done says nothing about speed.
    begun: Option<(Instant, u64)>,
    /// When machines were told last, and of how much.
    told: Option<(Instant, u64)>,
}

impl Progress {
    pub(crate) fn new(context: &Context, what: &'static str, total: u64) -> Self {
        let bar = context.progress(what, Some(total));
        Self { bar, json: context.json, what, total, begun: None, told: None }
    }

    /// Goes over to another part of the job.
    pub(crate) fn part(&mut self, what: &'static str, total: u64) {
        self.bar.set_length(total);
        self.total = total;
        if what != self.what {
            self.bar.set_message(what);
            (self.what, self.begun, self.told) = (what, None, None);
        }
    }

    /// So much is done.
    pub(crate) fn set(&mut self, done: u64) {
        if self.begun.is_none() {
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        let (began, from) = *self.begun.get_or_insert_with(|| (Instant::now(), done));
        self.bar.set_position(done);
        let is_news = |(at, known): (Instant, u64)| {
            at.elapsed() >= INTERVAL || 100 * done.saturating_sub(known) >= self.total.max(1)
        };
        if !self.json || !self.told.is_none_or(is_news) {
            return;
        }
        self.told = Some((Instant::now(), done));
        let remaining = remaining(began.elapsed(), done.saturating_sub(from), self.total, done);
        let line = json!({
            "progress": self.what, "done": done, "total": self.total, "remaining_seconds": remaining,
        });
        eprintln!("{line}");
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Seconds that the rest takes at the speed so far; `None` before anything is done.
fn remaining(elapsed: Duration, done_now: u64, total: u64, done: u64) -> Option<u64> {
    let left = total.saturating_sub(done) as f64;
    (done_now > 0).then(|| (elapsed.as_secs_f64() * left / done_now as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_this_runs_speed_says() {
        let ten = Duration::from_secs(10);
        assert_eq!(remaining(ten, 0, 100, 90), None);
        // 20 done in this run beside 60 before: half a second each, 20 left.
        assert_eq!(remaining(ten, 20, 100, 80), Some(10));
        assert_eq!(remaining(ten, 20, 100, 100), Some(0));
    }
}

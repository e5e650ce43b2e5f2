//! What operators see of mirrors.

use std::sync::{Arc, Mutex, PoisonError};

use lanyard_core::freshness::ClockError;
use lanyard_core::ids::{Authority, Timestamp};
use lanyard_telemetry::{Telemetry, metrics};
use tokio::sync::watch;

use crate::follow::SyncState;
use crate::mirror::Mirror;

/// What is known of another party may be this old in seconds before it is remarked on.
const OLD: u64 = 60;

impl Mirror {
    /// Shows how far this mirror is, and how old what it knows.
    pub fn observe(self: &Arc<Self>, telemetry: &Telemetry) {
        self.tell_incidents_to(telemetry.incidents());
        let (mirror, opened) = (Arc::clone(self), self.env.elapsed_millis());
        telemetry.collect_now(move || mirror.set_gauges(opened));
    }

    /// As [`Mirror::observe`], and how it follows. That the authority or its witnesses are silent keeps nobody who serves
    /// others from being ready: if it did, one party's failure would take the next one out.
    pub fn observe_following(
        self: &Arc<Self>,
        telemetry: &Telemetry,
        sync: watch::Receiver<SyncState>,
    ) {
        self.observe_upstream(telemetry, sync.clone());
        let mirror = Arc::clone(self);
        telemetry.about_others(self.knows(), move || mirror.judge(&sync.borrow(), OLD));
    }

    /// As [`Mirror::observe_following`], for whoever decides on what is known here: not ready while that is older than
    /// `limit_seconds` says.
    pub fn observe_deciding(
        self: &Arc<Self>,
        telemetry: &Telemetry,
        sync: watch::Receiver<SyncState>,
        limit_seconds: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.observe_upstream(telemetry, sync.clone());
        let mirror = Arc::clone(self);
        telemetry
            .condition_now(self.knows(), move || mirror.judge(&sync.borrow(), limit_seconds()));
    }

    fn knows(&self) -> &'static str {
        match self.authority() {
            Authority::Committee => "knows the committee's feed",
            Authority::Police => "knows the police's feed",
        }
    }

    fn observe_upstream(self: &Arc<Self>, telemetry: &Telemetry, sync: watch::Receiver<SyncState>) {
        self.observe(telemetry);
        let (mirror, seen) = (Arc::clone(self), Mutex::new(None::<String>));
        telemetry.collect_now(move || {
            let authority = mirror.authority().name();
            let now = sync.borrow().upstream.clone();
            let mut before = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(left) = before.as_ref().filter(|left| now.as_ref() != Some(*left)) {
                metrics::FEED_UPSTREAM_IN_USE.of([authority, left]).set(0.0);
            }
            if let Some(upstream) = &now {
                metrics::FEED_UPSTREAM_IN_USE.of([authority, upstream]).set(1.0);
            }
            *before = now.or_else(|| before.take());
        });
    }

    fn judge(&self, sync: &SyncState, limit_seconds: u64) -> Result<(), String> {
        let now = self.now();
        let why = match &sync.problem {
            Some(last) if sync.upstream.is_none() => {
                format!("; upstream {}: {}", last.upstream, last.problem)
            }
            _ if sync.upstream.is_none() => "; no upstream has answered yet".to_owned(),
            _ => sync.doubt.as_ref().map_or_else(String::new, |doubt| format!("; {doubt}")),
        };
        let Some(freshness) = self.read().freshness() else {
            return Err(format!("nothing with a quorum of witnesses is known yet{why}"));
        };
        if self.is_incomplete() {
            return Err(format!(
                "a directory, its profile table or its audience key is not here yet{why}"
            ));
        }
        let age = now.millis_since(freshness) / 1_000;
        if age > limit_seconds {
            return Err(format!("what is known is {age} s old, more than {limit_seconds} s{why}"));
        }
        Ok(())
    }

    /// `opened` is when showing began, on the clock that [`lanyard_env::Env::elapsed_millis`] reads.
    fn set_gauges(&self, opened: u64) {
        let authority = self.authority().name();
        let now = self.now();
        let seconds = |since: Timestamp| now.millis_since(since) as f64 / 1_000.0;
        let (behind, ahead) = match self.clock_error() {
            None => (0, 0),
            Some(ClockError::Behind { millis }) => (millis, 0),
            Some(ClockError::Ahead { millis }) => (0, millis),
        };
        metrics::CLOCK_OFF.of([authority, "behind"]).set(behind as f64 / 1_000.0);
        metrics::CLOCK_OFF.of([authority, "ahead"]).set(ahead as f64 / 1_000.0);
        metrics::FEED_MISDEEDS.of([authority]).set(self.times_caught() as f64);
        metrics::FEED_INCOMPLETE.of([authority]).set(f64::from(u8::from(self.is_incomplete())));
        let view = self.read();
        metrics::FEED_MEMORY.of([authority]).set(view.memory_bytes() as f64);
        let quorum = view.quorum().map_or(0, |quorum| quorum.size());
        metrics::FEED_LOG_SIZE.of([authority, "signed"]).set(view.size() as f64);
        metrics::FEED_LOG_SIZE.of([authority, "quorum"]).set(quorum as f64);
        // Who never knew anything must show as well.
        let since_start = self.env.elapsed_millis().saturating_sub(opened) as f64 / 1_000.0;
        let age = |known: Option<Timestamp>| known.map_or(since_start, seconds);
        let signed = view.signed();
        metrics::FEED_AGE.of([authority, "quorum"]).set(age(view.freshness()));
        metrics::FEED_AGE.of([authority, "signed"]).set(age(signed.map(|one| one.head().time)));
        let Some(signed) = signed else { return };
        for audience in self.audiences() {
            let directory = view.directory(signed.head().live_epoch, *audience);
            let Some(head) = directory.and_then(|one| one.signed().cloned()) else { continue };
            let count = f64::from(head.commitment.count);
            metrics::FEED_RECORDS.of([authority, audience.name()]).set(count);
        }
    }
}

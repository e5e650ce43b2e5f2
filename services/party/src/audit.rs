//! The audit stream: acts of operators, refused calls and what happens to the service, for a SIEM, without personal data.
//!
//! One JSON object a line in files under `data/audit/`, each named for the number of its first event. Numbers grow by
//! one from event to event for ever, so a reader that knows the last number that it has can go on after it, whatever
//! happened in between. Acts come from the store's audit trail, where they are written in the transaction of the deed:
//! none is missing here, in their order, also after a crash. Calls come from the transport and are written within half
//! a second: a crash may lose that. What a stranger can cause is counted together, so that it cannot fill the disk.
//!
//! Subjects of acts stand here as keyed hashes, which only the party itself can link to its own file; reasons in free text
//! stay in the store.

mod event;
mod files;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lanyard_core::ids::Timestamp;
use lanyard_env::{Env, FileError, blocking};
use lanyard_telemetry::{Incident, Telemetry, metrics};
use lanyard_transport::{CallEnded, CallObserver};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{AuditStreamConfig, AuditStreamTarget};
use crate::folder::Folder;

use self::event::{Event, Writer as Lines};
use self::files::StreamFiles;
use self::queue::Queue;

/// How often what has come is written.
const FLUSH: Duration = Duration::from_millis(500);

/// Acts taken from the trail at once.
pub const TRAIL_PAGE: u32 = 500;

/// An act in a store's trail, without what must not leave the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Its number in the trail, from 1.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// Who, as `spiffe://PARTY/ROLE/NAME`.
    pub operator: String,
    /// What, in a word.
    pub action: String,
    /// To whom: a keyed hash.
    pub object: String,
    /// The change that it belongs to.
    pub change: u64,
}

/// The acts after a number, oldest first, [`TRAIL_PAGE`] at most; or why they cannot be read.
pub type TrailSource =
    Arc<dyn Fn(u64) -> BoxFuture<'static, Result<Vec<Act>, String>> + Send + Sync>;

/// The audit stream of a service.
pub struct AuditStream {
    queue: Arc<Queue>,
    stop: CancellationToken,
    writing: JoinHandle<()>,
}

/// What writes the stream.
struct Writer {
    env: Env,
    queue: Arc<Queue>,
    lines: Lines,
    files: Option<StreamFiles>,
    trail: Option<TrailSource>,
    to_stdout: bool,
}

impl AuditStream {
    /// Opens the stream of the service `name` of a party, if one is configured, and writes it until it is closed. `trail`
    /// reads the store's acts, where there is a store. Blocks on the disk, within a tokio runtime.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(
        env: &Env,
        folder: &Folder,
        config: Option<&AuditStreamConfig>,
        service: &str,
        trail: Option<TrailSource>,
        telemetry: &Telemetry,
    ) -> Result<Option<Self>, FileError> {
        let Some(config) = config else { return Ok(None) };
        let dir = folder.data_dir().join("audit");
        let (files, last) = StreamFiles::open(Arc::clone(&env.files), dir, config.keep_days)?;
        let queue = Arc::new(Queue::new(env.clone()));
        metrics::AUDIT_EVENTS.show(Event::KINDS.map(|kind| [kind]));
        metrics::AUDIT_LOST.show([[]]);
        metrics::AUDIT_FAILURES.show([[]]);
        queue.incident(Incident::Started, env!("CARGO_PKG_VERSION").to_owned());
        let told = Arc::clone(&queue);
        telemetry.incidents().heard_by(move |incident, about| told.incident(incident, about));
        let writer = Writer {
            env: env.clone(),
            queue: Arc::clone(&queue),
            lines: Lines::new(service, last),
            files: Some(files),
            trail,
            to_stdout: config.to == AuditStreamTarget::Stdout,
        };
        let (alive, stop) = (telemetry.task("audit stream"), CancellationToken::new());
        let stopping = stop.clone();
        let writing = tokio::spawn(async move {
            let _alive = alive;
            writer.run(stopping).await;
        });
        Ok(Some(Self { queue, stop, writing }))
    }

    /// Hears of calls, for [`lanyard_transport::Acceptor::observed_by`].
    #[must_use]
    pub fn observer(&self) -> Arc<dyn CallObserver> {
        Arc::clone(&self.queue) as _
    }

    /// Writes what has come, and ends: after the last call has, before the store is closed.
    pub async fn close(self) {
        self.queue.incident(Incident::Stopped, String::new());
        self.stop.cancel();
        // It has said why, if it panicked.
        let _ = self.writing.await;
    }
}

impl CallObserver for Queue {
    fn call_ended(&self, call: &CallEnded<'_>) {
        self.call(call);
    }

    fn handshake_refused(&self, outcome: &'static str) {
        self.handshake(outcome);
    }
}

impl Writer {
    async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(FLUSH)).await.is_some() {
            self.flush().await;
        }
        self.flush().await;
    }

    /// Writes what has come, and acts until there are no more. What fails is tried again next time.
    async fn flush(&mut self) {
        let calls = self.queue.take();
        if !calls.is_empty() && !self.write(&calls).await {
            self.queue.put_back(calls);
            return;
        }
        let Some(trail) = self.trail.clone() else { return };
        loop {
            let acts = match trail(self.lines.trail()).await {
                Ok(acts) => acts,
                Err(error) => {
                    metrics::AUDIT_FAILURES.of([]).increment(1);
                    tracing::warn!(error, "audit stream: the store's trail cannot be read now");
                    return;
                }
            };
            let is_last = acts.len() < TRAIL_PAGE as usize;
            let events: Vec<_> = acts.into_iter().map(Event::act).collect();
            if (!events.is_empty() && !self.write(&events).await) || is_last {
                return;
            }
        }
    }

    /// Whether the events are durable now.
    async fn write(&mut self, events: &[Event]) -> bool {
        let Some(mut files) = self.files.take() else { return false };
        let (text, lines) = self.lines.clone().write(events);
        let (first, now, bytes) = (self.lines.sequence() + 1, self.env.now(), text.clone());
        let written = blocking(move || {
            let written = files.write(first, now, bytes.as_bytes());
            (files, written)
        });
        let written = match written.await {
            Ok((files, written)) => {
                self.files = Some(files);
                written
            }
            // The runtime stops.
            Err(_) => return false,
        };
        if let Err(error) = written {
            metrics::AUDIT_FAILURES.of([]).increment(1);
            tracing::error!(%error, "audit stream: not written, tried again");
            return false;
        }
        self.lines = lines;
        metrics::AUDIT_TRAIL_POSITION.of([]).set(self.lines.trail() as f64);
        for event in events {
            metrics::AUDIT_EVENTS.of([event.kind()]).increment(1);
        }
        if self.to_stdout {
            let mut stdout = tokio::io::stdout();
            // Whoever reads it may have gone; the files have it.
            let _ = stdout.write_all(text.as_bytes()).await;
            let _ = stdout.flush().await;
        }
        true
    }
}

#[cfg(test)]
mod tests;

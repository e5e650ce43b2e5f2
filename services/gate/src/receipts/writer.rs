//! The worker that records, and the handle by which checks reach it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lanyard_core::decision::{Cause, Direction};
use lanyard_core::ids::Timestamp;
use lanyard_core::receipt::{CheckNonce, Consulted, Override, ReceiptBody};
use lanyard_env::Worker;
use lanyard_telemetry::metrics;
use lanyard_wire::gate::v1 as wire;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::chain::SharedDurable;
use super::export::Export;
use super::recent::{Answer, Digest, RETRY_MILLIS, RecentCheck};
use super::store::{Kind, OpenError, Pending, ReadPaths, ReceiptSetup, Store};
use crate::check::Checked;

/// Checks that one signature covers, about.
pub(super) const MAX_GROUP: usize = 256;
/// Calls that may wait for the disk.
const QUEUE: usize = 1_024;
/// After a group of this many calls, the next one is given [`GATHERING`] to fill: a sync costs more than a check.
const BUSY: usize = 8;
/// How long the next group gathers; a fraction of what a gate's answer may take.
const GATHERING: Duration = Duration::from_millis(1);

/// Why a check or an override was not recorded, and so was not answered.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRecorded {
    /// The nonce was used for another request, or long ago.
    #[error("nonce: used for another check, or long ago; draw a new one for each check")]
    NonceReused,
    /// The disk did not take it. Nothing was recorded.
    #[error("the gate cannot record receipts now; nobody passes unrecorded")]
    Disk,
    /// There is no recent check with this receipt and nonce.
    #[error("no check of the last 24 hours has this receipt and nonce")]
    UnknownCheck,
    /// The check's answer may not be overridden that way.
    #[error(
        "this answer may not be overridden: a malformed text never, any other only by its opposite"
    )]
    NotOverridable,
    /// The service is stopping.
    #[error("the gate is stopping")]
    Stopping,
}

/// A check that was decided and is to be recorded.
pub struct NewCheck {
    pending: Pending,
    digest: Digest,
}

impl NewCheck {
    /// What was asked, and what was decided under a version of the manifest.
    #[must_use]
    pub fn new(
        checked: Checked,
        credential: &str,
        access_point: &str,
        direction: Direction,
        nonce: CheckNonce,
        manifest_version: u32,
    ) -> Self {
        let Checked { decision, time, committee, police } = checked;
        let digest = Digest::of_check(&nonce, credential, access_point, direction);
        let age = decision.age_seconds();
        let body = ReceiptBody {
            cause: decision.cause(),
            age_seconds: age.map(|age| u32::try_from(age).unwrap_or(u32::MAX)),
            committee,
            police,
            access_point: access_point.to_owned(),
            direction,
            nonce,
            manifest_version,
            overridden: None,
        };
        let check = RecentCheck {
            time,
            digest,
            answer: Answer::of(&decision),
            access_point: access_point.into(),
            direction,
            overridden: None,
        };
        Self { pending: Pending { time, body, kind: Kind::Check(check) }, digest }
    }
}

/// A supervisor's word against a check's answer.
pub struct NewOverride {
    /// The check's receipt.
    pub receipt: u64,
    /// The check's nonce.
    pub nonce: CheckNonce,
    /// Whether the person is let in, or kept out.
    pub admits: bool,
    /// Who says so.
    pub supervisor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub time: Timestamp,
    /// What the gate stood on, the committee first.
    pub consulted: [Consulted; 2],
    /// The version of the manifest in force.
    pub manifest_version: u32,
}

/// Where the answers to the checks of one call go, in order.
type Reply = oneshot::Sender<Vec<Result<Answer, NotRecorded>>>;

enum Job {
    Checks(Vec<NewCheck>, Reply),
    Override(Box<NewOverride>, oneshot::Sender<Result<u64, NotRecorded>>),
    Tidy,
}

/// The gate's receipts. Clones record in the same chain; when the last one is dropped, the worker ends.
#[derive(Clone)]
pub struct Receipts {
    jobs: mpsc::Sender<Job>,
    durable: SharedDurable,
    paths: ReadPaths,
    /// Whether the disk did not take the last group.
    refused: Arc<AtomicBool>,
}

impl Receipts {
    /// Opens the receipts, recovers from a crash, and starts the worker that records, which ends after the last clone
    /// is gone. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(setup: ReceiptSetup) -> Result<(Self, Worker), OpenError> {
        let store = Store::open(setup)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let refused = Arc::new(AtomicBool::new(false));
        let (durable, paths) = (store.durable().clone(), store.paths());
        let receipts = Self { jobs, durable, paths, refused: Arc::clone(&refused) };
        let recorder = Worker::spawn(Recorder { store, refused }.run(queue));
        Ok((receipts, recorder))
    }

    /// Opens the receipts as [`Receipts::open`] does, and records nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn check(setup: ReceiptSetup) -> Result<(), OpenError> {
        Store::open(setup).map(drop)
    }

    /// Records checks, in order, and returns their answers once they are durable. A check that was recorded under its
    /// nonce within the last ten minutes has the answer that it had.
    ///
    /// # Errors
    /// [`NotRecorded`], for all of them or for single ones.
    pub async fn record(
        &self,
        checks: Vec<NewCheck>,
    ) -> Result<Vec<Result<Answer, NotRecorded>>, NotRecorded> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Checks(checks, reply)).await;
        sent.map_err(|_| NotRecorded::Stopping)?;
        answer.await.map_err(|_| NotRecorded::Stopping)
    }

    /// Records an override and returns its receipt. The same again is the same override.
    ///
    /// # Errors
    /// [`NotRecorded`].
    pub async fn record_override(&self, new: NewOverride) -> Result<u64, NotRecorded> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Override(Box::new(new), reply)).await;
        sent.map_err(|_| NotRecorded::Stopping)?;
        answer.await.map_err(|_| NotRecorded::Stopping)?
    }

    /// Has old bodies deleted each `interval` until `shutdown`, also where nobody passes any more.
    pub async fn tidy_every(self, interval: Duration, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            if self.jobs.send(Job::Tidy).await.is_err() {
                return;
            }
        }
    }

    /// How they do, for operators: does not keep the worker that records from ending.
    #[must_use]
    pub fn watch(&self) -> ReceiptsWatch {
        let (durable, refused) = (self.durable.clone(), Arc::clone(&self.refused));
        ReceiptsWatch { jobs: self.jobs.downgrade(), durable, refused }
    }

    /// How many receipts there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.durable.lock().chain.sequence()
    }

    /// Reads receipts from number `from` on, `limit` at most, or all that are there now if that is 0.
    #[must_use]
    pub fn export(&self, from: u64, limit: u64) -> Export {
        Export::new(self.paths.clone(), &self.durable.lock(), from, limit)
    }
}

/// How receipts do.
#[derive(Clone)]
pub struct ReceiptsWatch {
    jobs: mpsc::WeakSender<Job>,
    durable: SharedDurable,
    refused: Arc<AtomicBool>,
}

impl ReceiptsWatch {
    /// Receipts in the chain.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.durable.lock().chain.sequence()
    }

    /// Calls that wait for the disk.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.jobs.upgrade().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity())
    }

    /// Whether the disk did not take the last receipts.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

struct Recorder {
    store: Store,
    refused: Arc<AtomicBool>,
}

/// What becomes of one check of a group.
enum Slot {
    /// Answered already, or refused.
    Known(Result<Answer, NotRecorded>),
    /// The same as this one of the group's new receipts.
    New(usize),
}

impl Recorder {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let (mut waiting, mut calls_before) = (None, 0);
        while let Some(job) = match waiting.take() {
            None => queue.recv().await,
            next => next,
        } {
            if calls_before >= BUSY {
                std::thread::sleep(GATHERING);
            }
            let (checks, reply) = match job {
                Job::Checks(checks, reply) => (checks, reply),
                Job::Override(new, reply) => {
                    // Whoever does not wait for the answer any more will ask again.
                    let _ = reply.send(self.record_override(*new));
                    continue;
                }
                Job::Tidy => {
                    self.store.tidy();
                    continue;
                }
            };
            let mut count = checks.len();
            let mut calls = vec![(checks, reply)];
            while count < MAX_GROUP
                && let Ok(job) = queue.try_recv()
            {
                match job {
                    Job::Checks(checks, reply) => {
                        count += checks.len();
                        calls.push((checks, reply));
                    }
                    other => {
                        waiting = Some(other);
                        break;
                    }
                }
            }
            calls_before = calls.len();
            self.record(calls);
        }
    }

    fn record(&mut self, calls: Vec<(Vec<NewCheck>, Reply)>) {
        let mut group = Vec::new();
        let mut new: HashMap<CheckNonce, (usize, Digest)> = HashMap::new();
        let mut replies = Vec::with_capacity(calls.len());
        for (checks, reply) in calls {
            let mut slots = Vec::with_capacity(checks.len());
            for NewCheck { pending, digest } in checks {
                let nonce = pending.body.nonce;
                let known = self.store.recent().get(&nonce);
                slots.push(match (known, new.get(&nonce)) {
                    (Some(known), _)
                        if known.digest == digest
                            && pending.time.millis_since(known.time) <= RETRY_MILLIS =>
                    {
                        Slot::Known(Ok(known.answer.clone()))
                    }
                    (None, Some((index, same))) if *same == digest => Slot::New(*index),
                    (None, None) => {
                        new.insert(nonce, (group.len(), digest));
                        group.push(pending);
                        Slot::New(group.len() - 1)
                    }
                    _ => Slot::Known(Err(NotRecorded::NonceReused)),
                });
            }
            replies.push((slots, reply));
        }
        let committed = if group.is_empty() { Ok(()) } else { self.commit(&mut group).map(drop) };
        for (slots, reply) in replies {
            let answer = |slot| match slot {
                Slot::Known(known) => known,
                Slot::New(index) => committed.and_then(|()| match &group[index].kind {
                    Kind::Check(check) => Ok(check.answer.clone()),
                    Kind::Override(_) => Err(NotRecorded::NonceReused),
                }),
            };
            let _ = reply.send(slots.into_iter().map(answer).collect());
        }
    }

    fn record_override(&mut self, new: NewOverride) -> Result<u64, NotRecorded> {
        let NewOverride { nonce, admits, .. } = new;
        let check = self.store.recent().get(&nonce);
        let check = check.filter(|check| check.answer.receipt == new.receipt);
        let check = check.ok_or(NotRecorded::UnknownCheck)?;
        let digest = Digest::of_override(&nonce, admits, &new.supervisor, &new.reason);
        if let Some((_, receipt)) = check.overridden.filter(|(same, _)| *same == digest) {
            return Ok(receipt);
        }
        let answer = &check.answer;
        let may = if admits {
            answer.may_be_overridden
        } else {
            answer.reason != wire::Reason::Malformed && answer.verdict != wire::Verdict::Deny
        };
        if !may {
            return Err(NotRecorded::NotOverridable);
        }
        let [committee, police] = new.consulted;
        let body = ReceiptBody {
            cause: if admits { Cause::LetIn } else { Cause::KeptOut },
            age_seconds: None,
            committee,
            police,
            access_point: check.access_point.to_string(),
            direction: check.direction,
            nonce,
            manifest_version: new.manifest_version,
            overridden: Some(Override {
                receipt: new.receipt,
                supervisor: new.supervisor,
                reason: new.reason,
            }),
        };
        self.commit(&mut [Pending { time: new.time, body, kind: Kind::Override(digest) }])
    }

    fn commit(&mut self, group: &mut [Pending]) -> Result<u64, NotRecorded> {
        let begun = Instant::now();
        let committed = self.store.commit(group);
        metrics::RECEIPT_DURATION.of([]).record(begun.elapsed());
        self.refused.store(committed.is_err(), Ordering::Relaxed);
        committed.map_err(|error| {
            metrics::RECEIPT_FAILURES.of([]).increment(1);
            tracing::error!(%error, checks = group.len(), "receipts not recorded");
            NotRecorded::Disk
        })
    }
}

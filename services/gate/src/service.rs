//! The RPCs of a gate.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt as _};
use lanyard_core::decision::Direction;
use lanyard_core::receipt::CheckNonce;
use lanyard_feed::SyncState;
use lanyard_telemetry::{Histogram, Telemetry, metrics};
use lanyard_transport::{PartyName, Role, caller, status};
use lanyard_wire::convert::array;
use lanyard_wire::gate::v1 as wire;
use lanyard_wire::gate::v1::gate_service_server::{GateService, GateServiceServer};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use crate::check::Checker;
use crate::counted::Answers;
use crate::receipts::{Answer, Export, NewCheck, NewOverride, NotRecorded, Receipts};
use crate::rules::{Door, Rules, SharedRules};
use crate::{attest, sync_state};

#[cfg(test)]
mod tests;

/// Stable reason in `google.rpc.ErrorInfo`: the disk does not take receipts, and nobody passes unrecorded.
pub const RECEIPTS_UNAVAILABLE: &str = "RECEIPTS_UNAVAILABLE";
/// Stable reason: there is no recent check with this receipt and nonce.
const UNKNOWN_CHECK: &str = "UNKNOWN_CHECK";
/// Stable reason: this answer may not be overridden that way.
const NOT_OVERRIDABLE: &str = "NOT_OVERRIDABLE";

/// Checks that one message of a stream may hold.
pub const MAX_CHECKS: usize = 64;

/// Bytes of the largest request: 64 checks with room for names.
const MAX_REQUEST: usize = 64 * 1_024;
/// Messages of one stream that are worked on at once.
const MESSAGES_AT_ONCE: usize = 16;
/// Longest reason of an override in bytes.
const MAX_REASON: usize = 1_024;
/// Bytes of one part of an export.
const EXPORT_PART: usize = 256 * 1_024;

/// The gate's service. Clones are the same gate.
#[derive(Clone)]
pub struct GateServer {
    inner: Arc<Inner>,
}

struct Inner {
    checker: Arc<Checker>,
    rules: SharedRules,
    receipts: Receipts,
    syncs: [watch::Receiver<SyncState>; 2],
    data: PathBuf,
    counted: Answers,
    took: Histogram,
}

/// A check, parsed.
struct Parsed {
    credential: Zeroizing<String>,
    door: Arc<Door>,
    direction: Direction,
    nonce: CheckNonce,
}

impl GateServer {
    /// A gate that checks with `checker` under `rules` and records in `receipts`; `syncs` are the states of following the
    /// committee and the police, and `data` is the data folder.
    #[must_use]
    pub fn new(
        checker: impl Into<Arc<Checker>>,
        rules: SharedRules,
        receipts: Receipts,
        syncs: [watch::Receiver<SyncState>; 2],
        data: PathBuf,
    ) -> Self {
        let counted = Answers::default();
        Self {
            inner: Arc::new(Inner {
                checker: checker.into(),
                rules,
                receipts,
                syncs,
                data,
                counted,
                took: metrics::CHECK_DURATION.of([]),
            }),
        }
    }

    /// Shows how many receipts there are, and how many calls wait for theirs; not ready while the disk takes none.
    pub fn observe(&self, telemetry: &Telemetry) {
        self.inner.counted.show();
        metrics::RECEIPT_FAILURES.show([[]]);
        metrics::OVERRIDES.show([["admit"], ["deny"]]);
        let receipts = self.inner.receipts.watch();
        telemetry.collect_now(move || {
            metrics::RECEIPTS.of([]).set(receipts.count() as f64);
            metrics::RECEIPT_QUEUE.of([]).set(receipts.queued() as f64);
        });
        let receipts = self.inner.receipts.watch();
        telemetry.condition_now("receipts", move || match receipts.is_refused() {
            false => Ok(()),
            true => {
                Err("the disk did not take the last receipts; free space, or see the log"
                    .to_owned())
            }
        });
    }

    /// The tonic service, its message sizes limited.
    #[must_use]
    pub fn into_service(self) -> GateServiceServer<Self> {
        GateServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }
}

impl Inner {
    /// Decides on checks and records them; all are parsed before the first is decided.
    async fn check(&self, requests: Vec<wire::CheckRequest>) -> Result<Vec<Answer>, Status> {
        let begun = Instant::now();
        let rules = self.rules.load_full();
        let parsed: Vec<_> =
            requests.into_iter().map(|request| parse(&rules, request)).collect::<Result<_, _>>()?;
        let decide = |Parsed { credential, door, direction, nonce }| {
            let checked = self.checker.check(&rules, &door, &credential);
            let version = rules.manifest().version;
            NewCheck::new(checked, &credential, &door.point.id, direction, nonce, version)
        };
        let checks = parsed.into_iter().map(decide).collect();
        let answers = self.receipts.record(checks).await.map_err(not_recorded)?;
        let took = begun.elapsed();
        let counted = |answer| {
            self.counted.count(&answer);
            self.took.record(took);
            answer
        };
        answers.into_iter().map(|answer| answer.map(counted).map_err(not_recorded)).collect()
    }

    /// Answers the messages of a stream, in order and several at once; the first error ends the stream.
    fn answer_all(
        self: Arc<Self>,
        messages: impl Stream<Item = Result<wire::CheckStreamRequest, Status>> + Send,
    ) -> impl Stream<Item = Result<wire::CheckStreamResponse, Status>> + Send {
        let answer = move |message: Result<wire::CheckStreamRequest, Status>| {
            let inner = Arc::clone(&self);
            async move {
                let checks = message?.checks;
                if checks.len() > MAX_CHECKS {
                    let message = format!("checks: at most {MAX_CHECKS} in one message");
                    return Err(status::malformed(message));
                }
                let answers = inner.check(checks).await?;
                let results = answers.into_iter().map(Into::into).collect();
                Ok(wire::CheckStreamResponse { results })
            }
        };
        messages.map(answer).buffered(MESSAGES_AT_ONCE)
    }
}

fn parse(rules: &Rules, request: wire::CheckRequest) -> Result<Parsed, Status> {
    let credential = Zeroizing::new(request.credential);
    let direction = match wire::Direction::try_from(request.direction) {
        Ok(wire::Direction::In) => Direction::In,
        Ok(wire::Direction::Out) => Direction::Out,
        _ => return Err(status::malformed("direction: in or out expected")),
    };
    let nonce =
        array("nonce", &request.nonce).map_err(|error| status::malformed(error.to_string()))?;
    let Some(door) = rules.door(&request.access_point) else {
        return Err(status::malformed("access_point: not one of this gate"));
    };
    Ok(Parsed { credential, door: Arc::clone(door), direction, nonce: CheckNonce::new(nonce) })
}

fn not_recorded(error: NotRecorded) -> Status {
    let message = error.to_string();
    match error {
        NotRecorded::NonceReused => status::malformed(message),
        NotRecorded::Disk => status::error(Code::Unavailable, RECEIPTS_UNAVAILABLE, message),
        NotRecorded::UnknownCheck => status::error(Code::NotFound, UNKNOWN_CHECK, message),
        NotRecorded::NotOverridable => {
            status::error(Code::FailedPrecondition, NOT_OVERRIDABLE, message)
        }
        NotRecorded::Stopping => status::stopping(),
    }
}

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl GateService for GateServer {
    type CheckStreamStream = ResponseStream<wire::CheckStreamResponse>;
    type ExportReceiptsStream = ReceiverStream<Result<wire::ExportReceiptsResponse, Status>>;

    async fn check(
        &self,
        request: Request<wire::CheckRequest>,
    ) -> Result<Response<wire::CheckResponse>, Status> {
        let answers = self.inner.check(vec![request.into_inner()]).await?;
        let answer = answers.into_iter().next();
        let answer = answer.ok_or_else(|| status::internal(&"a check without an answer"))?;
        Ok(Response::new(answer.into()))
    }

    async fn check_stream(
        &self,
        request: Request<Streaming<wire::CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let answers = Arc::clone(&self.inner).answer_all(request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn r#override(
        &self,
        request: Request<wire::OverrideRequest>,
    ) -> Result<Response<wire::OverrideResponse>, Status> {
        let supervisor = caller(&request)?.clone();
        if (supervisor.party(), supervisor.role()) != (PartyName::Gate, Role::Supervisor) {
            let message = "only a supervisor of the gate may override";
            return Err(status::error(Code::PermissionDenied, status::NOT_ALLOWED, message));
        }
        let wire::OverrideRequest { receipt_id, nonce, verdict, reason } = request.into_inner();
        let nonce = array("nonce", &nonce).map_err(|error| status::malformed(error.to_string()))?;
        let admits = match wire::Verdict::try_from(verdict) {
            Ok(wire::Verdict::Admit) => true,
            Ok(wire::Verdict::Deny) => false,
            _ => return Err(status::malformed("verdict: ADMIT or DENY expected")),
        };
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON {
            let message = format!("reason: 1 to {MAX_REASON} bytes expected");
            return Err(status::malformed(message));
        }
        let rules = self.inner.rules.load_full();
        let (time, consulted) = self.inner.checker.stand(&rules);
        let new = NewOverride {
            receipt: receipt_id,
            nonce: CheckNonce::new(nonce),
            admits,
            supervisor: supervisor.to_string(),
            reason: reason.to_owned(),
            time,
            consulted,
            manifest_version: rules.manifest().version,
        };
        let receipt_id = self.inner.receipts.record_override(new).await.map_err(not_recorded)?;
        metrics::OVERRIDES.of([if admits { "admit" } else { "deny" }]).increment(1);
        tracing::info!(%supervisor, receipt_id, admits, "override recorded");
        Ok(Response::new(wire::OverrideResponse { receipt_id }))
    }

    async fn get_sync_state(
        &self,
        _: Request<wire::GetSyncStateRequest>,
    ) -> Result<Response<wire::GetSyncStateResponse>, Status> {
        let inner = Arc::clone(&self.inner);
        // Evidence is read from the disk.
        let read = move || {
            let rules = inner.rules.load();
            let authorities = std::iter::zip(inner.checker.mirrors(), &inner.syncs)
                .map(|(mirror, sync)| {
                    let authority = mirror.authority();
                    let dir = std::path::Path::new("mirror").join(authority.name());
                    let files = inner.checker.files();
                    sync_state::of(mirror, &sync.borrow(), files, &inner.data, &dir)
                })
                .collect();
            let clock = inner.checker.clock_error(&rules);
            wire::GetSyncStateResponse {
                authorities,
                clock: clock.map_or_else(String::new, |error| error.to_string()),
                manifest_version: rules.manifest().version,
                receipts: inner.receipts.count(),
                access_points: rules.access_points(),
            }
        };
        let state = lanyard_env::blocking(read).await;
        state.map(Response::new).map_err(|error| status::internal(&error))
    }

    async fn export_receipts(
        &self,
        request: Request<wire::ExportReceiptsRequest>,
    ) -> Result<Response<Self::ExportReceiptsStream>, Status> {
        let wire::ExportReceiptsRequest { from, limit } = request.into_inner();
        let export = self.inner.receipts.export(from, limit);
        let (sender, receiver) = mpsc::channel(4);
        #[expect(
            clippy::disallowed_methods,
            reason = "it waits for its reader, which work in line with that reader could not"
        )]
        tokio::task::spawn_blocking(move || send_export(export, &sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn export_attestations(
        &self,
        request: Request<wire::ExportAttestationsRequest>,
    ) -> Result<Response<wire::ExportAttestationsResponse>, Status> {
        let credential = Zeroizing::new(request.into_inner().credential);
        let rules = self.inner.rules.load_full();
        let attestations =
            attest::both(self.inner.checker.mirrors(), rules.manifest(), &credential).await?;
        Ok(Response::new(wire::ExportAttestationsResponse { attestations }))
    }
}

/// Sends the text in parts, at the caller's pace.
fn send_export(
    mut export: Export,
    sender: &mpsc::Sender<Result<wire::ExportReceiptsResponse, Status>>,
) {
    let mut data = Vec::new();
    loop {
        let next = match export.next_group() {
            Ok(next) => next,
            Err(error) => {
                // Whoever hung up does not need it.
                let _ = sender.blocking_send(Err(status::internal(&error)));
                return;
            }
        };
        let is_last = next.is_none();
        data.extend_from_slice(next.unwrap_or_default().as_bytes());
        while data.len() >= EXPORT_PART || (is_last && !data.is_empty()) {
            let rest = data.split_off(data.len().min(EXPORT_PART));
            let part = wire::ExportReceiptsResponse { data: std::mem::replace(&mut data, rest) };
            if sender.blocking_send(Ok(part)).is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

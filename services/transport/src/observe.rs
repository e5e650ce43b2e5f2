//! What is counted of handshakes and calls, and who else hears of them.
//!
//! Labels are RPCs of the policy table, parties, and words from closed lists: nothing that a caller chooses.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use lanyard_telemetry::{CounterFamily, Held, metrics};
use rustls::CertificateError;
use tonic::Code;

use crate::peer::PeerId;
use crate::policy::{Kind, Rule};
use crate::verify::CertificateRefused;

/// What stands for a path that is no RPC.
const UNKNOWN: &str = "unknown";

/// Codes of gRPC, 0 to 16.
const CODES: usize = 17;

/// A call that has ended.
#[derive(Debug, Clone, Copy)]
pub struct CallEnded<'a> {
    /// The verified caller.
    pub peer: &'a PeerId,
    /// The RPC of the policy table, or `unknown`.
    pub rpc: &'static str,
    /// The id that the caller was told, and that stands in the log.
    pub request_id: &'a str,
    /// The gRPC code (of plain HTTP, the status): `OK`, `PERMISSION_DENIED`, `200`.
    pub code: &'a str,
    /// Why it was refused before it reached a service: `NOT_ALLOWED`, `OVERLOADED`, `TIMED_OUT`.
    pub refused: Option<&'static str>,
}

/// Hears of calls. It is called on the way: it must not block.
pub trait CallObserver: Send + Sync + 'static {
    /// A call has ended.
    fn call_ended(&self, call: &CallEnded<'_>);

    /// A handshake was refused; no caller is known then.
    fn handshake_refused(&self, outcome: &'static str);
}

/// The observer of a service, once it has one, and the ids of its requests.
#[derive(Default)]
pub(crate) struct Observing {
    observer: OnceLock<Arc<dyn CallObserver>>,
    /// Tells processes apart.
    run: u32,
    requests: AtomicU64,
}

impl Observing {
    pub(crate) fn new(run: u32) -> Arc<Self> {
        Arc::new(Self { run, ..Self::default() })
    }

    pub(crate) fn set(&self, observer: Arc<dyn CallObserver>) {
        // A second one would be a mistake of this program, and the first has begun.
        let _ = self.observer.set(observer);
    }

    /// A handshake has ended.
    pub(crate) fn handshake(&self, outcome: &'static str) {
        metrics::HANDSHAKES.of([outcome]).increment(1);
        if outcome != ACCEPTED
            && let Some(observer) = self.observer.get()
        {
            observer.handshake_refused(outcome);
        }
    }

    fn next_id(&self) -> String {
        format!("{:08x}-{:x}", self.run, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

/// Outcomes of handshakes.
pub(crate) const ACCEPTED: &str = "accepted";
pub(crate) const TIMED_OUT: &str = "timed_out";
pub(crate) const MADE_ROOM: &str = "made_room";
pub(crate) const TOO_MANY: &str = "too_many_connections";

/// Why a handshake failed, in a word.
pub(crate) fn handshake_failure(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        None => "disconnected",
        Some(rustls::Error::NoCertificatesPresented) => "no_certificate",
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "not_valid_yet"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "unknown_authority",
            CertificateError::Other(other) if other.0.is::<CertificateRefused>() => "bad_identity",
            _ => "bad_certificate",
        },
        Some(rustls::Error::AlertReceived(_)) => "refused_by_client",
        Some(_) => "protocol",
    }
}

/// What is counted on one connection.
pub(crate) struct ConnectionWatch {
    peer: PeerId,
    observing: Arc<Observing>,
    methods: Mutex<HashMap<&'static str, Arc<Method>>>,
    _open: Held,
}

impl ConnectionWatch {
    pub(crate) fn new(peer: &PeerId, observing: &Arc<Observing>) -> Arc<Self> {
        Arc::new(Self {
            peer: peer.clone(),
            observing: Arc::clone(observing),
            methods: Mutex::default(),
            _open: metrics::CONNECTIONS.hold([peer.party().name()]),
        })
    }

    /// A call begins, of a row of the policy if there is one for it.
    pub(crate) fn begin(self: &Arc<Self>, rule: Option<&'static Rule>) -> CallWatch {
        let rpc = rule.map_or(UNKNOWN, |rule| rule.rpc);
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let method = methods.entry(rpc).or_insert_with(|| {
            let is_stream = rule.is_some_and(|rule| rule.kind == Kind::Stream);
            Arc::new(Method::new(rpc, self.peer.party().name(), is_stream))
        });
        let method = Arc::clone(method);
        drop(methods);
        method.started.increment(1);
        method.in_flight.increment(1.0);
        let request_id = self.observing.next_id();
        CallWatch {
            connection: Arc::clone(self),
            method,
            request_id,
            started: Instant::now(),
            outcome: None,
            refused: None,
        }
    }
}

/// One RPC as one party calls it.
struct Method {
    rpc: &'static str,
    labels: [&'static str; 3],
    started: lanyard_telemetry::Counter,
    in_flight: lanyard_telemetry::Gauge,
    /// Of a stream it would say only how long somebody stayed.
    duration: Option<lanyard_telemetry::Histogram>,
    handled: [OnceLock<lanyard_telemetry::Counter>; CODES],
}

impl Method {
    fn new(rpc: &'static str, caller: &'static str, is_stream: bool) -> Self {
        let (service, method) = rpc.rsplit_once('/').unwrap_or((rpc, rpc));
        let labels = [service.trim_start_matches('/'), method, caller];
        Self {
            rpc,
            labels,
            started: metrics::RPC_STARTED.of(labels),
            in_flight: metrics::RPC_IN_FLIGHT.of(labels),
            duration: (!is_stream).then(|| metrics::RPC_DURATION.of(labels)),
            handled: Default::default(),
        }
    }

    fn count(&self, outcome: Outcome) {
        let [service, method, caller] = self.labels;
        let family: &CounterFamily<4> = &metrics::RPC_HANDLED;
        match outcome {
            Outcome::Grpc(code) => self.handled[code as usize % CODES]
                .get_or_init(|| family.of([service, method, caller, code_name(code)]))
                .increment(1),
            Outcome::Http(status) => {
                family.of([service, method, caller, status.as_str()]).increment(1);
            }
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy)]
enum Outcome {
    Grpc(Code),
    Http(StatusCode),
}

/// A call in progress; counted as ended when dropped, which is when its answer was sent or nobody wants it any more.
pub(crate) struct CallWatch {
    connection: Arc<ConnectionWatch>,
    method: Arc<Method>,
    request_id: String,
    started: Instant,
    outcome: Option<Outcome>,
    refused: Option<&'static str>,
}

impl CallWatch {
    pub(crate) fn rpc(&self) -> &'static str {
        self.method.rpc
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// It was refused for a reason of [`crate::status`].
    pub(crate) fn refused(&mut self, reason: &'static str) {
        metrics::RPC_REFUSED.of([reason, self.method.labels[2]]).increment(1);
        self.refused = Some(reason);
    }

    /// The head of an answer: it may end the call.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap, is_grpc: bool) {
        if is_grpc {
            self.trailed(headers);
        } else {
            self.outcome = Some(Outcome::Http(status));
        }
    }

    /// The end of an answer.
    pub(crate) fn trailed(&mut self, trailers: &HeaderMap) {
        if let Some(code) = trailers.get("grpc-status") {
            self.outcome = Some(Outcome::Grpc(Code::from_bytes(code.as_bytes())));
        }
    }
}

impl Drop for CallWatch {
    fn drop(&mut self) {
        let Self { connection, method, request_id, started, outcome, refused } = self;
        // Whoever hung up before the end has cancelled it.
        let outcome = outcome.unwrap_or(Outcome::Grpc(Code::Cancelled));
        method.in_flight.decrement(1.0);
        method.count(outcome);
        if let Some(duration) = &method.duration {
            duration.record(started.elapsed());
        }
        let Some(observer) = connection.observing.observer.get() else { return };
        observer.call_ended(&CallEnded {
            peer: &connection.peer,
            rpc: method.rpc,
            request_id,
            code: match &outcome {
                Outcome::Grpc(code) => code_name(*code),
                Outcome::Http(status) => status.as_str(),
            },
            refused: *refused,
        });
    }
}

const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

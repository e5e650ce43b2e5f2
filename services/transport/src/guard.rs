//! What every request passes before it reaches a service: policy, capacity, time limit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::Service as _;
use tracing::Instrument as _;

use crate::limits::{CallerShare, Permit};
use crate::observe::{CallWatch, ConnectionWatch};
use crate::peer::{PartyName, PeerId};
use crate::policy::{Denied, Kind, Policy, Rule};
use crate::status;

/// The header of an answer that names its request, as the service's log does.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("lanyard-request-id");

/// The verified caller of a request.
///
/// # Errors
/// `INTERNAL` if the request did not come through [`crate::serve()`].
pub fn caller<T>(request: &tonic::Request<T>) -> Result<&PeerId, Status> {
    let peer = request.extensions().get();
    peer.ok_or_else(|| status::internal(&"request without a verified caller"))
}

/// The requests in progress on one connection.
pub(crate) struct Activity {
    running: AtomicUsize,
    started: Instant,
    /// Milliseconds from `started` to the last end of a request.
    last: AtomicUsize,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            started: Instant::now(),
            last: AtomicUsize::new(0),
        })
    }

    /// How long nothing has been in progress; zero if something is.
    pub(crate) fn idle(&self) -> Duration {
        if self.running.load(Ordering::SeqCst) > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last.load(Ordering::SeqCst) as u64);
        self.started.elapsed().saturating_sub(last)
    }

    fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }
}

/// One request in progress.
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        let now = usize::try_from(self.0.started.elapsed().as_millis()).unwrap_or(usize::MAX);
        self.0.last.store(now, Ordering::SeqCst);
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The routes as one connection sees them.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) routes: Router,
    pub(crate) policy: &'static Policy,
    pub(crate) own_party: PartyName,
    pub(crate) peer: PeerId,
    pub(crate) share: Arc<CallerShare>,
    pub(crate) watch: Arc<ConnectionWatch>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) request_timeout: Duration,
}

impl hyper::service::Service<Request<Incoming>> for Guard {
    type Response = Response<GuardedBody>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = self.activity.begin();
        let guard = self.clone();
        Box::pin(async move {
            let is_grpc = is_grpc(request.headers());
            let rule = guard.policy.check(request.uri().path(), &guard.peer, guard.own_party);
            let mut watch = guard.watch.begin(match &rule {
                Ok(rule) => Some(*rule),
                Err(denied) => denied.rule(),
            });
            let span = tracing::info_span!("call", id = watch.request_id(), rpc = watch.rpc());
            let admitted = async { guard.admit(rule?, request).await };
            let (mut response, permit) = match admitted.instrument(span.clone()).await {
                Ok((response, permit)) => (response, permit),
                Err(refused) => {
                    watch.refused(refused.reason());
                    (span.in_scope(|| refused.into_response(is_grpc)), None)
                }
            };
            watch.answered(response.status(), response.headers(), is_grpc);
            if let Ok(id) = HeaderValue::from_str(watch.request_id()) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            Ok(response.map(|body| GuardedBody { body, watch, _running: running, _permit: permit }))
        })
    }
}

impl Guard {
    async fn admit(
        mut self,
        rule: &'static Rule,
        mut request: Request<Incoming>,
    ) -> Result<(Response<Body>, Option<Permit>), Refused> {
        let streams = rule.kind == Kind::Stream;
        let permit = if streams { self.share.stream() } else { self.share.request() };
        let permit = permit.ok_or(Refused::Overloaded)?;
        request.extensions_mut().insert(self.peer);
        let response = self.routes.call(request);
        let answered = if streams {
            (response.await, Some(permit))
        } else {
            // The permit goes back with the answer, however slowly that is then read.
            let response = tokio::time::timeout(self.request_timeout, response).await;
            (response.map_err(|_| Refused::TimedOut)?, None)
        };
        let (Ok(response), permit) = answered;
        Ok((response, permit))
    }
}

/// Why a request was not answered by its service.
enum Refused {
    Denied(Denied),
    Overloaded,
    TimedOut,
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl Refused {
    /// As the caller sees it.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Denied(_) => status::NOT_ALLOWED,
            Self::Overloaded => status::OVERLOADED,
            Self::TimedOut => status::TIMED_OUT,
        }
    }

    fn into_response(self, is_grpc: bool) -> Response<Body> {
        let reason = self.reason();
        let (code, http, message) = match self {
            Self::Denied(denied) => {
                tracing::warn!(%denied, "call denied");
                let message = denied.to_string();
                (Code::PermissionDenied, StatusCode::FORBIDDEN, message)
            }
            Self::Overloaded => {
                let message = "the service is busy; wait and try again".to_owned();
                let http = StatusCode::SERVICE_UNAVAILABLE;
                (Code::ResourceExhausted, http, message)
            }
            Self::TimedOut => {
                let message = "the request took too long".to_owned();
                let http = StatusCode::GATEWAY_TIMEOUT;
                (Code::DeadlineExceeded, http, message)
            }
        };
        if is_grpc {
            return status::error(code, reason, message).into_http();
        }
        let mut response = Response::new(Body::from(message + "\n"));
        *response.status_mut() = http;
        let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"))
}

/// A response body that keeps its request counted until it has been sent.
pub(crate) struct GuardedBody {
    body: Body,
    watch: CallWatch,
    _running: Running,
    _permit: Option<Permit>,
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.watch.trailed(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

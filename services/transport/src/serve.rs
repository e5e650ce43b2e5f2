//! Serves routes on accepted connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acceptor::{Acceptor, Connection};
use crate::guard::{Activity, Guard};
use crate::limits::Limits;
use crate::observe::{ConnectionWatch, Observing};
use crate::policy::{POLICY, Policy};

/// HTTP/2 pings, so that a peer that vanished is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a caller may send ahead of its being read, in bytes: bounds the memory that a connection takes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Size of a request's headers in bytes.
const MAX_HEADERS: u32 = 16 * 1024;

/// Serves `routes` until `shutdown`, then lets requests in progress finish within the limits' drain timeout. Streams that
/// last should end by themselves on the same token: whatever is left then is cut.
///
/// gRPC services become routes by `tonic::service::Routes::into_axum_router`; plain HTTP routes live beside them. Each
/// request passes the policy and the limits first and carries its caller ([`crate::caller`]). The size of messages is
/// each service's own limit.
pub async fn serve(routes: Router, acceptor: Acceptor, shutdown: CancellationToken) {
    serve_with(&POLICY, routes, acceptor, shutdown).await;
}

pub(crate) async fn serve_with(
    policy: &'static Policy,
    routes: Router,
    mut acceptor: Acceptor,
    shutdown: CancellationToken,
) {
    let limits = acceptor.limits().clone();
    let server = Arc::new(Server {
        policy,
        routes: routes.with_state(()),
        limits: limits.clone(),
        observing: Arc::clone(acceptor.observing()),
        shutdown: shutdown.clone(),
        abort: CancellationToken::new(),
    });
    let connections = TaskTracker::new();
    while let Some(Some(connection)) = shutdown.run_until_cancelled(acceptor.next()).await {
        let server = Arc::clone(&server);
        connections.spawn(async move { server.run(connection).await });
    }
    drop(acceptor);
    connections.close();
    if tokio::time::timeout(limits.drain_timeout, connections.wait()).await.is_err() {
        tracing::info!(open = connections.len(), "closing connections with requests in progress");
        server.abort.cancel();
        connections.wait().await;
    }
}

struct Server {
    policy: &'static Policy,
    routes: Router,
    limits: Limits,
    observing: Arc<Observing>,
    shutdown: CancellationToken,
    abort: CancellationToken,
}

impl Server {
    /// Serves one connection until it ends, idles, loses trust or has to stop.
    async fn run(&self, connection: Connection) {
        let (peer, address) = (connection.peer().clone(), connection.address());
        let is_http2 = connection.is_http2();
        let activity = Activity::new();
        let guard = Guard {
            routes: self.routes.clone(),
            policy: self.policy,
            own_party: connection.own_party(),
            watch: ConnectionWatch::new(&peer, &self.observing),
            peer: peer.clone(),
            share: Arc::clone(&connection.share),
            activity: Arc::clone(&activity),
            request_timeout: self.limits.request_timeout,
        };
        let (stream, trust) = connection.into_parts();
        let http = self.http(is_http2);
        let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), guard));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = trust.lost() => return,
            () = self.abort.cancelled() => return,
            () = self.stop_or_idle(&activity) => {
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = serving => ended,
                    () = trust.lost() => return,
                    () = self.abort.cancelled() => return,
                    () = self.linger() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %address, error, "connection ended");
        }
    }

    /// Resolves when the service stops or nothing has been in progress for too long.
    async fn stop_or_idle(&self, activity: &Activity) {
        let idle = async {
            while let Some(left) = self.limits.idle_timeout.checked_sub(activity.idle())
                && !left.is_zero()
            {
                tokio::time::sleep(left).await;
            }
        };
        self.shutdown.run_until_cancelled(idle).await;
    }

    /// A connection that idled is given the drain timeout as well; one that stops is aborted by `serve`.
    async fn linger(&self) {
        tokio::time::sleep(self.limits.drain_timeout).await;
    }

    fn http(&self, is_http2: bool) -> auto::Builder<TokioExecutor> {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.handshake_timeout)
            .max_buf_size(MAX_HEADERS as usize);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .max_concurrent_streams(self.limits.streams_per_connection)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS);
        // The protocol was agreed on in the handshake: nothing is guessed from the first bytes, and an HTTP/2 client
        // sees the server's settings at once, by which it knows that it was let in.
        if is_http2 { http.http2_only() } else { http.http1_only() }
    }
}

//! The HTTP/1.1 listener: `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use lanyard_env::{Env, Listener, NetworkError, StartError, Stream};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use serde_json::json;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::family::{Described, Kind};
use crate::health::Telemetry;
use crate::metrics;

/// Whoever reads metrics needs a connection or two; more wait.
const CONNECTIONS: usize = 16;
/// How long a request may take, and a connection may idle.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often observations are taken from their buffers, so that these stay small when nobody reads.
const UPKEEP: Duration = Duration::from_secs(5);
/// Back-off when connections cannot be accepted.
const BACK_OFF: Duration = Duration::from_millis(250);

/// Why nothing is served to operators.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The address cannot be listened on.
    #[error("telemetry: {0}")]
    Bind(#[from] NetworkError),
}

impl StartError for TelemetryError {
    fn is_permanent(&self) -> bool {
        let Self::Bind(error) = self;
        error.is_permanent()
    }
}

/// The process's recorder, installed on first use.
pub(crate) fn recorder() -> PrometheusHandle {
    static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let mut builder = PrometheusBuilder::new();
        for Described { name, kind, .. } in metrics::ALL {
            if let Kind::Histogram(bounds) = kind {
                let named = Matcher::Full((*name).to_owned());
                // Fails for no buckets only.
                builder = builder.set_buckets_for_metric(named, bounds).expect("bounds are given");
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::error!("another recorder of metrics is installed: none will be shown here");
        }
        describe();
        handle
    };
    INSTALLED.get_or_init(install).clone()
}

fn describe() {
    Collector::default().describe();
    ::metrics::with_recorder(|recorder| {
        for Described { name, kind, help, .. } in metrics::ALL {
            let (name, help) = ((*name).into(), (*help).into());
            match kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
            }
        }
    });
}

pub(crate) fn render(handle: &PrometheusHandle) -> String {
    Collector::default().collect();
    handle.render()
}

impl Telemetry {
    /// Listens until `shutdown`, if an address is configured; returns where.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub async fn listen(
        &self,
        env: &Env,
        shutdown: CancellationToken,
    ) -> Result<Option<SocketAddr>, TelemetryError> {
        let Some(address) = self.address() else { return Ok(None) };
        let listener = env.bind(address.listen()).await?;
        let bound = listener.local_addr().unwrap_or(address.listen());
        tracing::info!(address = %bound, "metrics and health are served");
        let routes = Router::new()
            .route("/metrics", get(show_metrics))
            .route("/healthz", get(show_health))
            .route("/readyz", get(show_readiness))
            .with_state(self.clone());
        tokio::spawn(accept(listener, routes, shutdown.clone()));
        if let Some(recorded) = self.recorded().cloned() {
            tokio::spawn(async move {
                let pause = || tokio::time::sleep(UPKEEP);
                while shutdown.run_until_cancelled(pause()).await.is_some() {
                    recorded.run_upkeep();
                }
            });
        }
        Ok(Some(bound))
    }
}

async fn accept(mut listener: Box<dyn Listener>, routes: Router, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        // Never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (routes, stop) = (routes.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _slot = slot;
            stop.run_until_cancelled(tokio::time::timeout(PATIENCE, serve(stream, routes))).await;
        });
    }
}

/// One connection, for one request: scrapes are seconds apart.
async fn serve(stream: Stream, routes: Router) {
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    let service = TowerToHyperService::new(routes);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "a reader of metrics went away");
    }
}

async fn show_metrics(State(telemetry): State<Telemetry>) -> Response {
    let text = telemetry.render().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn show_health(State(telemetry): State<Telemetry>) -> Response {
    let tasks = telemetry.liveness();
    let alive = tasks.iter().all(|task| task.holds);
    answer(alive, &json!({ "alive": alive, "tasks": tasks }))
}

async fn show_readiness(State(telemetry): State<Telemetry>) -> Response {
    let readiness = telemetry.readiness().await;
    answer(readiness.ready, &json!(readiness))
}

fn answer(is_good: bool, body: &serde_json::Value) -> Response {
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests;

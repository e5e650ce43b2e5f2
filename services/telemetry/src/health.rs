//! Whether a service lives, and whether it serves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use crate::address::TelemetryAddress;
use crate::listener;

/// A condition that takes longer to be looked at does not hold.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at a condition: what is wrong, in words without personal data.
type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Sets gauges that only matter when somebody looks.
type Collector = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What one service says of itself. Clones are the same service's.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    address: Option<TelemetryAddress>,
    pub(crate) recorded: Option<PrometheusHandle>,
    serving: AtomicBool,
    tasks: Mutex<BTreeMap<String, bool>>,
    conditions: Mutex<Vec<(&'static str, Probe)>>,
    collectors: Mutex<Vec<Collector>>,
}

/// A task that must live as long as the service: dropped when it ends, however it ends.
#[must_use = "the task counts as ended once this is dropped"]
pub struct Alive {
    telemetry: Telemetry,
    task: String,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.telemetry.tasks().insert(std::mem::take(&mut self.task), false);
    }
}

/// One condition, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub holds: bool,
    /// What is wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Telemetry {
    /// Of a service that listens at `address` for whoever operates it, if that is configured: only then is anything
    /// recorded, from here on.
    #[must_use]
    pub fn new(address: Option<TelemetryAddress>) -> Self {
        Self(Arc::new(Inner {
            address,
            recorded: address.map(|_| listener::recorder()),
            serving: AtomicBool::new(false),
            tasks: Mutex::default(),
            conditions: Mutex::default(),
            collectors: Mutex::default(),
        }))
    }

    /// Where it listens, if that is configured.
    #[must_use]
    pub fn address(&self) -> Option<TelemetryAddress> {
        self.0.address
    }

    /// A task that must live; hold what is returned inside it.
    pub fn task(&self, name: impl Into<String>) -> Alive {
        let task = name.into();
        self.tasks().insert(task.clone(), true);
        Alive { telemetry: self.clone(), task }
    }

    /// Runs what must live as long as the service.
    pub fn watched<F: Future>(
        &self,
        name: &str,
        task: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let alive = self.task(name);
        async move {
            let _alive = alive;
            task.await
        }
    }

    /// A condition for readiness.
    pub fn condition<F>(&self, name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let probe: Probe = Arc::new(move || Box::pin(probe()));
        lock(&self.0.conditions).push((name, probe));
    }

    /// A condition for readiness that is looked at without waiting.
    pub fn condition_now(
        &self,
        name: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.condition(name, move || std::future::ready(probe()));
    }

    /// Sets gauges before each reading of the metrics.
    pub fn collect<F>(&self, collector: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        lock(&self.0.collectors).push(Arc::new(move || Box::pin(collector())));
    }

    /// As [`Telemetry::collect`], without waiting.
    pub fn collect_now(&self, collector: impl Fn() + Send + Sync + 'static) {
        self.collect(move || {
            collector();
            std::future::ready(())
        });
    }

    /// The service takes requests from here on.
    pub fn serving(&self) {
        self.0.serving.store(true, Ordering::SeqCst);
    }

    /// The tasks, and whether each lives.
    #[must_use]
    pub fn liveness(&self) -> Vec<Condition> {
        let ended = "it ended; the service's log says why, and a restart begins it again";
        let condition = |(name, alive): (&String, &bool)| Condition {
            name: name.clone(),
            holds: *alive,
            problem: (!alive).then(|| ended.to_owned()),
        };
        self.tasks().iter().map(condition).collect()
    }

    /// The conditions, each looked at now.
    pub async fn readiness(&self) -> Vec<Condition> {
        let probes = lock(&self.0.conditions).clone();
        let looked = probes.into_iter().map(|(name, probe)| async move {
            let probed = tokio::time::timeout(PROBE_TIMEOUT, probe()).await;
            let probed = probed.unwrap_or_else(|_| Err("no answer within 2 s".to_owned()));
            Condition { name: name.to_owned(), holds: probed.is_ok(), problem: probed.err() }
        });
        let is_serving = self.0.serving.load(Ordering::SeqCst);
        let serving = Condition {
            name: "serving".to_owned(),
            holds: is_serving,
            problem: (!is_serving).then(|| "the service is starting or stopping".to_owned()),
        };
        [serving].into_iter().chain(join_all(looked).await).collect()
    }

    /// The metrics in Prometheus's text format; empty if nothing is recorded.
    pub async fn render(&self) -> String {
        let collectors = lock(&self.0.collectors).clone();
        let collecting = join_all(collectors.iter().map(|collector| collector()));
        // What cannot be looked at in time keeps its last value.
        let _ = tokio::time::timeout(PROBE_TIMEOUT, collecting).await;
        self.0.recorded.as_ref().map_or_else(String::new, listener::render)
    }

    pub(crate) fn recorded(&self) -> Option<&PrometheusHandle> {
        self.0.recorded.as_ref()
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        lock(&self.0.tasks)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Whether a service lives, and whether it serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::address::TelemetryAddress;
use crate::incident::Incidents;
use crate::{listener, metrics};

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
    /// Ends when the service is asked to stop; not there before it serves.
    serving: OnceLock<CancellationToken>,
    tasks: Mutex<BTreeMap<String, bool>>,
    conditions: Mutex<Vec<(&'static str, Probe)>>,
    others: Mutex<Vec<(&'static str, Probe)>>,
    incidents: Incidents,
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
        let task = std::mem::take(&mut self.task);
        // In a service that stops, each task is to end.
        if self.telemetry.is_stopping() {
            self.telemetry.tasks().remove(&task);
        } else {
            self.telemetry.tasks().insert(task, false);
        }
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

/// Whether a service can do its own work, and what it sees of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether every condition holds.
    pub ready: bool,
    /// What must hold for the service's own work.
    pub conditions: Vec<Condition>,
    /// What it sees of others, which does not keep it from being ready: one that fails must not take others along.
    pub others: Vec<Condition>,
}

impl Telemetry {
    /// Of a service that listens at `address` for whoever operates it, if that is configured: only then is anything
    /// recorded, from here on.
    #[must_use]
    pub fn new(address: Option<TelemetryAddress>) -> Self {
        Self(Arc::new(Inner {
            address,
            recorded: address.map(|_| listener::recorder()),
            serving: OnceLock::new(),
            tasks: Mutex::default(),
            conditions: Mutex::default(),
            others: Mutex::default(),
            incidents: Incidents::default(),
            collectors: Mutex::default(),
        }))
    }

    /// Where it listens, if that is configured.
    #[must_use]
    pub fn address(&self) -> Option<TelemetryAddress> {
        self.0.address
    }

    /// What happens to the service, for its audit stream.
    #[must_use]
    pub fn incidents(&self) -> &Incidents {
        &self.0.incidents
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

    /// A condition for readiness: something that the service needs for its own work, and that is its own party's to mend.
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

    /// What the service sees of others, shown beside the conditions for readiness and looked at without waiting.
    pub fn about_others(
        &self,
        name: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let probe: Probe = Arc::new(move || Box::pin(std::future::ready(probe())));
        lock(&self.0.others).push((name, probe));
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

    /// The service takes requests from here on, until `shutdown`.
    pub fn serving(&self, shutdown: CancellationToken) {
        // A service begins to serve once.
        let _ = self.0.serving.set(shutdown);
    }

    fn is_stopping(&self) -> bool {
        self.0.serving.get().is_some_and(CancellationToken::is_cancelled)
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
    pub async fn readiness(&self) -> Readiness {
        let (own, others) = (lock(&self.0.conditions).clone(), lock(&self.0.others).clone());
        let (looked, others) = tokio::join!(look(own), look(others));
        let is_serving = self.0.serving.get().is_some_and(|shutdown| !shutdown.is_cancelled());
        let serving = Condition {
            name: "serving".to_owned(),
            holds: is_serving,
            problem: (!is_serving).then(|| "the service is starting or stopping".to_owned()),
        };
        let conditions: Vec<_> = [serving].into_iter().chain(looked).collect();
        Readiness { ready: conditions.iter().all(|one| one.holds), conditions, others }
    }

    /// The metrics in Prometheus's text format; empty if nothing is recorded.
    pub async fn render(&self) -> String {
        let Some(recorded) = &self.0.recorded else { return String::new() };
        let collectors = lock(&self.0.collectors).clone();
        let collecting = join_all(collectors.iter().map(|collector| collector()));
        // What cannot be looked at in time keeps its last value.
        let collecting = tokio::time::timeout(PROBE_TIMEOUT, collecting);
        let (readiness, _) = tokio::join!(self.readiness(), collecting);
        for Condition { name, holds, .. } in readiness.conditions.iter().chain(&readiness.others) {
            metrics::CONDITION_HOLDS.of([name]).set(f64::from(u8::from(*holds)));
        }
        let ended = self.tasks().values().filter(|alive| !**alive).count();
        metrics::TASKS_ENDED.of([]).set(ended as f64);
        listener::render(recorded)
    }

    pub(crate) fn recorded(&self) -> Option<&PrometheusHandle> {
        self.0.recorded.as_ref()
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        lock(&self.0.tasks)
    }
}

async fn look(probes: Vec<(&'static str, Probe)>) -> Vec<Condition> {
    let looked = probes.into_iter().map(|(name, probe)| async move {
        let probed = tokio::time::timeout(PROBE_TIMEOUT, probe()).await;
        let probed = probed.unwrap_or_else(|_| Err("no answer within 2 s".to_owned()));
        Condition { name: name.to_owned(), holds: probed.is_ok(), problem: probed.err() }
    });
    join_all(looked).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

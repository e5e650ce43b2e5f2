use std::collections::BTreeSet;

use lanyard_env::Env;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::TelemetryAddress;

async fn get(env: &Env, address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = env.connect(&address.to_string()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn listening() -> (Env, Telemetry, SocketAddr, CancellationToken) {
    let env = Env::system();
    let any = TelemetryAddress::loopback("127.0.0.1:0".parse().unwrap()).unwrap();
    let (telemetry, stop) = (Telemetry::new(Some(any)), CancellationToken::new());
    let address = telemetry.listen(&env, stop.clone()).await.unwrap().unwrap();
    (env, telemetry, address, stop)
}

#[tokio::test]
async fn a_service_is_ready_while_all_its_conditions_hold() {
    let (env, telemetry, address, stop) = listening().await;
    let (status, body) = get(&env, address, "/readyz").await;
    assert_eq!(status, 503, "it does not serve yet: {body}");
    let shutdown = CancellationToken::new();
    telemetry.serving(shutdown.clone());
    assert_eq!(get(&env, address, "/readyz").await.0, 200);
    telemetry.about_others("knows the police's feed", || Err("they are down".to_owned()));
    let (status, body) = get(&env, address, "/readyz").await;
    assert_eq!(status, 200, "others do not keep a service from its own work: {body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["others"][0]["problem"], "they are down");
    telemetry.condition_now("store", || Err("gone; start it".to_owned()));
    let (status, body) = get(&env, address, "/readyz").await;
    assert_eq!(status, 503);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["ready"], false);
    assert_eq!(body["conditions"][1]["name"], "store");
    assert_eq!(body["conditions"][1]["problem"], "gone; start it");
    assert_eq!(get(&env, address, "/healthz").await.0, 200, "it lives all the same");
    let metrics = get(&env, address, "/metrics").await.1;
    for line in [
        "lanyard_condition_holds{condition=\"serving\"} 1",
        "lanyard_condition_holds{condition=\"store\"} 0",
        "lanyard_condition_holds{condition=\"knows the police's feed\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    stop.cancel();
}

#[tokio::test]
async fn a_service_that_stops_is_not_ready_and_its_tasks_may_end() {
    let (env, telemetry, address, _stop) = listening().await;
    let (task, shutdown) = (telemetry.task("publisher"), CancellationToken::new());
    telemetry.serving(shutdown.clone());
    assert_eq!(get(&env, address, "/readyz").await.0, 200);
    shutdown.cancel();
    let (status, body) = get(&env, address, "/readyz").await;
    assert!(status == 503 && body.contains("stopping"), "{body}");
    drop(task);
    assert_eq!(get(&env, address, "/healthz").await.0, 200, "it ends as it should");
}

#[tokio::test]
async fn a_condition_that_cannot_be_looked_at_does_not_hold() {
    let telemetry = Telemetry::new(None);
    telemetry.serving(CancellationToken::new());
    telemetry.condition("store", std::future::pending);
    assert!(!telemetry.readiness().await.ready);
}

#[tokio::test]
async fn a_service_lives_while_all_its_tasks_do() {
    let (env, telemetry, address, _stop) = listening().await;
    let (stays, ends) = (telemetry.task("publisher"), telemetry.task("follower"));
    assert_eq!(get(&env, address, "/healthz").await.0, 200);
    let panicked = tokio::spawn(async move {
        let _ends = ends;
        panic!("as a task may");
    });
    assert!(panicked.await.is_err());
    let (status, body) = get(&env, address, "/healthz").await;
    assert!(status == 503 && body.contains("\"name\":\"follower\""), "{body}");
    drop(stays);
}

#[tokio::test]
async fn metrics_are_described_and_every_family_shows() {
    let (env, telemetry, address, _stop) = listening().await;
    telemetry.collect_now(|| metrics::FEED_AGE.of(["police", "signed"]).set(1.5));
    metrics::RPC_STARTED.of(["lanyard.gate.v1.GateService", "Check", "gate"]).increment(3);
    metrics::RPC_DURATION.of(["a", "b", "gate"]).record(0.003);
    metrics::TICKS.show([["store_failed"]]);
    let (status, text) = get(&env, address, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "# TYPE lanyard_rpc_started_total counter",
        "lanyard_rpc_started_total{service=\"lanyard.gate.v1.GateService\",method=\"Check\",caller=\"gate\"} 3",
        "lanyard_publication_ticks_total{outcome=\"store_failed\"} 0",
        "lanyard_feed_age_seconds{authority=\"police\",state=\"signed\"} 1.5",
        "lanyard_rpc_duration_seconds_bucket{service=\"a\",method=\"b\",caller=\"gate\",le=\"0.005\"} 1",
        "lanyard_rpc_duration_seconds_bucket{service=\"a\",method=\"b\",caller=\"gate\",le=\"0.0025\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let known: BTreeSet<_> = metrics::ALL.iter().map(|one| one.name).collect();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(known.contains(name) || name.starts_with("process_"), "undeclared: {name}");
    }
    assert!(text.contains("process_open_fds "));
    assert_eq!(get(&env, address, "/debug").await.0, 404);
}

#[tokio::test]
async fn without_an_address_nothing_listens() {
    let telemetry = Telemetry::new(None);
    let listening = telemetry.listen(&Env::system(), CancellationToken::new()).await;
    assert!(listening.unwrap().is_none());
}

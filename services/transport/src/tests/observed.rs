//! What is counted and told of handshakes and calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lanyard_telemetry::{Telemetry, TelemetryAddress};
use tonic::{Code, Status};

use super::fixture::*;
use crate::{CallEnded, CallObserver, REQUEST_ID};

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl CallObserver for Heard {
    fn call_ended(&self, call: &CallEnded<'_>) {
        let CallEnded { peer, rpc, code, refused, request_id } = call;
        assert!(!request_id.is_empty());
        let refused = refused.unwrap_or("-");
        self.0.lock().unwrap().push(format!("{peer} {rpc} {code} {refused}"));
    }

    fn handshake_refused(&self, outcome: &'static str) {
        self.0.lock().unwrap().push(format!("handshake {outcome}"));
    }
}

impl Heard {
    /// Waits for `count` lines, and returns them: a call ends when its answer is sent, which is seen later than read.
    async fn lines(&self, count: usize) -> Vec<String> {
        for _ in 0..500 {
            if self.0.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn calls_are_told_with_their_code_and_why_they_were_refused() {
    let any = TelemetryAddress::loopback("127.0.0.1:0".parse().unwrap()).unwrap();
    let telemetry = Telemetry::new(Some(any));
    let world = World::new();
    let heard = Arc::new(Heard::default());
    let server = world.serve_observed(heard.clone()).await;
    let channel = world.channel(&world.committee(), &server);
    call(channel.clone(), SAY).await.unwrap();
    heard.lines(1).await;
    call(channel.clone(), "/test.Echo/None").await.unwrap_err();
    heard.lines(2).await;
    let stranger = world.tls(world.identity(&peer("spiffe://trustee/operator/anna")));
    let denied = call(world.channel(&stranger, &server), SAY).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(
        heard.lines(3).await,
        [
            "spiffe://committee/service/main /test.Echo/Say OK -",
            "spiffe://committee/service/main unknown PERMISSION_DENIED NOT_ALLOWED",
            "spiffe://trustee/operator/anna /test.Echo/Say PERMISSION_DENIED NOT_ALLOWED",
        ]
    );
    let metrics = telemetry.render().await;
    for line in [
        "lanyard_rpc_handled_total{service=\"test.Echo\",method=\"Say\",caller=\"trustee\",code=\"PERMISSION_DENIED\"} 1",
        "lanyard_rpc_in_flight{service=\"test.Echo\",method=\"Say\",caller=\"trustee\"} 0",
        "lanyard_rpc_duration_seconds_count{service=\"test.Echo\",method=\"Say\",caller=\"trustee\"} 1",
        "lanyard_rpc_refused_total{reason=\"NOT_ALLOWED\",caller=\"trustee\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    // No name of anyone, and nothing that a caller chose.
    for word in ["anna", "None", "service/main"] {
        assert!(!metrics.contains(word), "{word}\n{metrics}");
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled() {
    let world = World::new();
    let heard = Arc::new(Heard::default());
    let server = world.serve_observed(heard.clone()).await;
    let channel = world.channel(&world.committee(), &server);
    let slow = tokio::spawn(call(channel, SLOW));
    tokio::time::sleep(Duration::from_millis(100)).await;
    slow.abort();
    assert_eq!(
        heard.lines(1).await,
        ["spiffe://committee/service/main /test.Echo/Slow CANCELLED -"]
    );
}

#[tokio::test]
async fn handshakes_are_told_by_why_they_failed() {
    let world = World::new();
    let heard = Arc::new(Heard::default());
    let server = world.serve_observed(heard.clone()).await;
    let police = peer("spiffe://police/service/main");
    let (chain, key) = issue(world.authority(police.party()), &police, FROM, FROM);
    let expired = world.tls(crate::Identity::from_pem(&chain, &key).unwrap());
    call(world.channel(&expired, &server), SAY).await.unwrap_err();
    let mut garbage = world.env.connect(&server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut garbage, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let lines = heard.lines(2).await;
    assert!(lines.contains(&"handshake expired".to_owned()), "{lines:?}");
    assert!(lines.contains(&"handshake protocol".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let world = World::new();
    let server = world.serve_observed(Arc::new(Heard::default())).await;
    let stranger = world.tls(world.identity(&peer("spiffe://sponsor/operator/berta")));
    let denied: Status = call(world.channel(&stranger, &server), SAY).await.unwrap_err();
    assert!(denied.metadata().get(REQUEST_ID.as_str()).is_some());
}

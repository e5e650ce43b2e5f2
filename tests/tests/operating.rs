//! What operators rely on: readiness that follows the truth, an audit stream that misses no act, and inspections that say what
//! to change.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lanyard_core::ids::Timestamp;
use lanyard_env::{Env, ManualClock};
use lanyard_party::{Found, PartyConfig, Report};
use lanyard_tests::{Desk, TestEvent, eventually, people, run_together, sample_plan};
use lanyard_wire::common::v1::StatusAction;
use serde::de::DeserializeOwned;
use serde_json::Value;

const ALL: [&str; 5] = ["committee", "police", "sponsor", "trustee", "gate-1"];

async fn wait_ready(event: &TestEvent, name: &str, is_ready: bool) -> String {
    let status = if is_ready { 200 } else { 503 };
    eventually(&format!("{name} is ready: {is_ready}"), async || {
        let (found, body) = event.ask(name, "/readyz").await;
        (found == status).then_some(body)
    })
    .await
}

#[test]
fn readiness_follows_the_truth_and_acts_reach_the_stream() {
    let mut event = TestEvent::make_watched(&sample_plan());
    event.start_all();
    run_together(async {
        for name in ALL {
            wait_ready(&event, name, true).await;
            assert_eq!(event.ask(name, "/healthz").await.0, 200);
        }
        let desk = Desk::of(&event);
        desk.enrol(&people(2)).await.unwrap();
        let badges = desk.issue().await.unwrap();
        desk.screen(2).await.unwrap();
        desk.settle().await;
        desk.police_say(StatusAction::Suspend, &badges["P-0000"]).await.unwrap();
        desk.settle().await;
        assert!(desk.check(&badges["P-0000"], "sta-main").await.is_ok());
        lint(&event.ask("gate-1", "/metrics").await.1);
    });
    // Both feeds come from the sponsor or an authority: without any of them the gate says what it lacks.
    for name in ["sponsor", "committee", "police"] {
        event.stop(name);
    }
    run_together(async {
        let (_, metrics) = event.ask("gate-1", "/metrics").await;
        let refer = "lanyard_gate_checks_total{verdict=\"refer\",reason=\"refer\"} 1";
        assert!(metrics.contains(refer), "{metrics}");
        let failures =
            "lanyard_feed_upstream_failures_total{authority=\"police\",upstream=\"sponsor\"";
        eventually("the upstream's failure is counted", async || {
            event.ask("gate-1", "/metrics").await.1.contains(failures).then_some(())
        })
        .await;
    });
    event.stop_all();
    let stream = event.audit_stream("police");
    let lines: Vec<Value> =
        stream.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, line) in (1..).zip(&lines) {
        assert_eq!(line["event"]["sequence"], number, "{line}");
    }
    let act = lines.iter().find(|line| line["event"]["action"] == "suspend").expect("the act");
    assert!(act["user"]["id"].as_str().unwrap().starts_with("spiffe://police/operator/"));
    assert_eq!(act["lanyard"]["object"].as_str().unwrap().len(), 24);
    let call = "/lanyard.police.v1.SubjectService/ChangeStatus";
    assert!(lines.iter().any(|line| line["event"]["action"] == call), "{stream}");
}

/// As Prometheus reads it, where its tool is installed.
fn lint(metrics: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        return eprintln!("SKIPPED: promtool is not installed, the metrics were not linted");
    };
    tool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    // Of the process's own metrics, the library's names are what they are.
    let said: Vec<_> = said.lines().filter(|line| line.starts_with("lanyard_")).collect();
    assert!(said.is_empty() && output.status.code() != Some(1), "{said:?}");
}

fn config<S: DeserializeOwned>(event: &TestEvent, name: &str) -> PartyConfig<S> {
    let env = Env::system();
    PartyConfig::read(&*env.files, &event.folder(name).join("config.toml")).unwrap()
}

/// What an inspection of a member finds that is not good.
fn found(event: &TestEvent, name: &str, env: &Env, mut report: Report) -> Vec<(Found, String)> {
    let folder = event.folder(name);
    run_together(async {
        match name {
            "committee" => {
                lanyard_committee::inspect(&config(event, name), env, &mut report).await;
            }
            "police" => lanyard_police::inspect(&config(event, name), env, &mut report).await,
            "sponsor" => lanyard_sponsor::inspect(&config(event, name), env, &mut report).await,
            "trustee" => lanyard_trustee::inspect(&config(event, name), env, &mut report).await,
            _ => lanyard_gate::inspect(&config(event, name), env, &mut report).await,
        }
    });
    assert!(report.findings().len() > 3 || !report.is_good(), "{name} in {}", folder.display());
    let findings = report.findings().iter().filter(|one| one.found != Found::Good);
    findings.map(|one| (one.found, format!("{}: {}", one.item, one.detail))).collect()
}

/// Changes a file of a member while `during` looks.
fn with_change(path: &Path, change: impl FnOnce(String) -> String, during: impl FnOnce()) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, change(before.clone())).unwrap();
    during();
    fs::write(path, before).unwrap();
}

#[test]
fn a_party_is_inspected_before_it_starts_and_told_what_to_change() {
    let event = TestEvent::make(&sample_plan());
    let env = Env::system();
    for name in ALL {
        assert_eq!(found(&event, name, &env, Report::before_start()), [], "{name}");
        // Nobody runs, so peers take no connections; that keeps nobody from starting.
        let warned = found(&event, name, &env, Report::default());
        assert!(warned.iter().all(|(found, _)| *found == Found::Warning), "{warned:?}");
    }
    let is_bad = |name: &str, env: &Env, says: &[&str]| {
        let found = found(&event, name, env, Report::before_start());
        let says_all = |text: &String| says.iter().all(|word| text.contains(word));
        let bad = found.iter().any(|(found, text)| *found == Found::Bad && says_all(text));
        assert!(bad, "{name}: {says:?} not in {found:?}");
    };
    let year = 366 * 24 * 3_600;
    let late = Timestamp::from_seconds(env.now().seconds() + 30 * year);
    is_bad(
        "gate-1",
        &Env::for_test(ManualClock::new(late)),
        &["tls/service.pem", "expired", "renew"],
    );

    let gate = event.folder("gate-1");
    with_change(
        &gate.join("keys/receipts.key"),
        |_| "nonsense".to_owned(),
        || {
            is_bad("gate-1", &env, &["keys/receipts.key"]);
        },
    );
    let other = fs::read_to_string(event.folder("sponsor").join("tls/service.pem")).unwrap();
    with_change(
        &gate.join("tls/service.pem"),
        |_| other,
        || {
            is_bad("gate-1", &env, &["tls/service.pem"]);
        },
    );
    with_change(
        &gate.join("config.toml"),
        |text| text.replace("gate-1", "gate-9"),
        || {
            is_bad("gate-1", &env, &["gate-9", "right file"]);
        },
    );
    let unknown = |text: String| text.replacen("upstreams = [", "upstreams = [\"gate-7\", ", 1);
    with_change(&gate.join("config.toml"), unknown, || {
        is_bad("gate-1", &env, &["upstreams", "gate-7", "HOST:PORT"]);
    });
    let foreign = TestEvent::make(&foreign_plan());
    let manifest = fs::read_to_string(foreign.folder("gate-1").join("manifest.note")).unwrap();
    let trust = fs::read_to_string(foreign.folder("gate-1").join("trust.json")).unwrap();
    let first = gate.join("manifests/1.note");
    with_change(
        &first,
        |_| manifest,
        || {
            is_bad("gate-1", &env, &["manifest.note", "1.note"]);
            // With all of the other event's public files, its parties refuse the certificate.
            let refused =
                || is_bad("gate-1", &env, &["tls/service.pem", "other parties refuse it"]);
            with_change(&gate.join("trust.json"), |_| trust, refused);
        },
    );

    let police = event.folder("police").join("config.toml");
    let store =
        |url: &'static str| move |text: String| text.replace("sqlite://data/police.db", url);
    with_change(&police, store("postgres://127.0.0.1:1/none"), || {
        is_bad("police", &env, &["store", "check that it runs"]);
    });
    with_change(&police, store("mysql://x"), || {
        is_bad("police", &env, &["store", "sqlite://FILE"])
    });
    fs::write(event.folder("police").join("data/police.db"), "no database, but long enough")
        .unwrap();
    is_bad("police", &env, &["store"]);
}

fn foreign_plan() -> lanyard_ceremony::EventPlan {
    let mut plan = sample_plan();
    plan.event = lanyard_core::ids::EventId::parse("another-2027").expect("an event's id");
    plan
}

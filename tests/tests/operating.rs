//! What operators rely on: readiness that follows the truth, an audit stream that misses no act, and inspections that say what
//! to change.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lanyard_ceremony::{EventPlan, EventTree, Holder, Seat, add_gates};
use lanyard_core::ids::Timestamp;
use lanyard_env::{Env, ManualClock};
use lanyard_party::{Found, PartyConfig, Report};
use lanyard_tests::{Desk, ShiftedClock, TestEvent, eventually, people, run_together, sample_plan};
use lanyard_wire::common::v1::StatusAction;
use serde::de::DeserializeOwned;
use serde_json::Value;

const ALL: [&str; 5] = ["committee", "police", "sponsor", "trustee", "gate-1"];

/// What a service says of itself, once `/readyz` answers as expected.
async fn wait_ready(event: &TestEvent, name: &str, is_ready: bool) -> Value {
    let status = if is_ready { 200 } else { 503 };
    eventually(&format!("{name} is ready: {is_ready}"), async || {
        let (found, body) = event.ask(name, "/readyz").await;
        (found == status).then(|| serde_json::from_str(&body).unwrap())
    })
    .await
}

/// Waits until a service that is ready says this of others: what is wrong with them, or nothing.
async fn wait_others(event: &TestEvent, name: &str, condition: &str, problem: Option<&str>) {
    eventually(&format!("{name} says of others: {problem:?}"), async || {
        let readiness = wait_ready(event, name, true).await;
        let mut others = readiness["others"].as_array().unwrap().iter();
        let found = others.find(|one| one["name"] == condition).expect(condition).clone();
        let holds = problem.is_none_or(|why| found["problem"].as_str().unwrap_or("").contains(why));
        (found["holds"] == problem.is_none() && holds).then_some(())
    })
    .await;
}

fn problem_of(readiness: &Value, condition: &str) -> String {
    let mut conditions = readiness["conditions"].as_array().unwrap().iter();
    let found = conditions.find(|one| one["name"] == condition).expect(condition);
    found["problem"].as_str().unwrap_or("").to_owned()
}

#[test]
fn a_service_is_ready_for_its_own_work_whatever_others_do() {
    let (committee, police) = ("knows the committee's feed", "knows the police's feed");
    let clock = ShiftedClock::default();
    let mut event = TestEvent::make_watched_in(&sample_plan(), Env::for_test(clock.clone()));
    // A cold start, at which each waits for nobody; but whether PostgreSQL was restored, witnesses have to say.
    for (name, others) in
        [("trustee", None), ("sponsor", Some(committee)), ("police", Some(committee))]
    {
        event.start(name);
        run_together(async {
            if name == "police" && event.is_over_postgres(name) {
                return eventually("it waits for witnesses", async || {
                    let alone = wait_ready(&event, name, false).await;
                    problem_of(&alone, "publishes").contains("restored backup").then_some(())
                })
                .await;
            }
            wait_ready(&event, name, true).await;
            if let Some(condition) = others {
                wait_others(&event, name, condition, Some("nothing with a quorum")).await;
            }
        });
        event.stop(name);
    }
    // A gate has nothing to decide by, alone.
    event.start("gate-1");
    run_together(async {
        let alone = wait_ready(&event, "gate-1", false).await;
        assert!(problem_of(&alone, police).contains("nothing with a quorum"), "{alone}");
    });
    event.start_all();
    run_together(async {
        for name in ALL {
            wait_ready(&event, name, true).await;
        }
        wait_others(&event, "sponsor", police, None).await;
        wait_others(&event, "committee", police, None).await;
    });
    event.stop("police");
    clock.jump_to(event.env().now().plus_millis(3 * 60_000));
    run_together(async {
        for name in ["committee", "sponsor"] {
            wait_others(&event, name, police, Some("s old")).await;
        }
        let desk = Desk::of(&event);
        desk.enrol(&people(1)).await.expect("the committee serves");
    });
    for name in ["committee", "sponsor"] {
        event.stop(name);
    }
    // Past the most patient door: nobody passes anywhere.
    clock.jump_to(event.env().now().plus_millis(5 * 3_600_000));
    run_together(async {
        let blind = wait_ready(&event, "gate-1", false).await;
        assert!(problem_of(&blind, committee).contains("s old"), "{blind}");
        assert_eq!(event.ask("gate-1", "/healthz").await.0, 200, "a restart would not help");
    });
}

#[test]
fn a_service_that_stops_says_so_until_its_last_answer() {
    let mut event = TestEvent::make_watched(&sample_plan());
    event.start_all();
    run_together(async {
        wait_ready(&event, "gate-1", true).await;
        let desk = Desk::of(&event);
        let (checks, requests) = tokio::sync::mpsc::channel(1);
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let answers = desk.scanner.gate().unwrap().check_stream(requests).await.unwrap();
        event.ask_to_stop("gate-1");
        let stopping = wait_ready(&event, "gate-1", false).await;
        assert!(problem_of(&stopping, "serving").contains("stopping"), "{stopping}");
        assert_eq!(event.ask("gate-1", "/healthz").await.0, 200, "its tasks end as they should");
        drop((checks, answers));
    });
    event.stop("gate-1");
    let stream = event.audit_stream("gate-1");
    for action in ["\"started\"", "\"stopped\""] {
        assert!(stream.contains(action), "{stream}");
    }
}

#[test]
fn what_is_watched_shows_from_the_start_and_acts_reach_the_stream() {
    let plan = sample_plan();
    let mut event = TestEvent::make_watched(&plan);
    event.start_all();
    run_together(async {
        for name in ALL {
            wait_ready(&event, name, true).await;
            assert_eq!(event.ask(name, "/healthz").await.0, 200);
        }
        tasks_are_watched(&event).await;
        // An alert cannot see a series grow that begins with its first event.
        let (_, metrics) = event.ask("gate-1", "/metrics").await;
        for series in [
            "lanyard_publication_ticks_total{outcome=\"failed\"} ",
            "lanyard_witness_requests_total{outcome=\"forked\"} ",
            "lanyard_gate_receipt_failures_total ",
            "lanyard_gate_checks_total{verdict=\"undetermined\",reason=\"stale\"} ",
            "lanyard_share_holder_faults_total{holder=\"trustee\"} ",
            "lanyard_audit_write_failures_total ",
            "lanyard_tasks_ended ",
        ] {
            assert!(metrics.lines().any(|line| line.starts_with(series)), "{series}\n{metrics}");
        }
        let desk = Desk::of(&event);
        desk.enrol(&people(2)).await.unwrap();
        let badges = desk.issue().await.unwrap();
        desk.screen(2).await.unwrap();
        desk.settle().await;
        desk.police_say(StatusAction::Suspend, &badges["P-0000"]).await.unwrap();
        desk.settle().await;
        assert!(desk.check(&badges["P-0000"], "sta-main").await.is_ok());
        let (_, metrics) = event.ask("gate-1", "/metrics").await;
        // Other tests' gates are of this process too.
        let count = "lanyard_gate_check_duration_seconds_count ";
        let counted = metrics.lines().find_map(|line| line.strip_prefix(count));
        assert!(counted.is_some_and(|count| count.parse::<u64>().unwrap() > 0), "{metrics}");
        lint(&metrics);
    });
    keys_change(&event, &plan);
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

/// The police adopt a manifest and renew their certificate while they run, and the stream says so.
fn keys_change(event: &TestEvent, plan: &EventPlan) {
    let (env, dir) = (event.env(), event.dir());
    let mut plan = plan.clone();
    plan.screening.verdict_delay_seconds += 1;
    let tree = EventTree::read(&*env.files, dir).unwrap();
    add_gates(env, dir, &plan, &tree.services).unwrap();
    let police = Seat::open(env, &event.folder("police"), &EventTree::exchange(dir)).unwrap();
    police.renew_certificate(&police, Holder::Service).unwrap();
    run_together(async {
        for incident in ["\"manifest-adopted\"", "\"certificate-changed\""] {
            eventually(incident, async || {
                event.audit_stream("police").contains(incident).then_some(())
            })
            .await;
        }
    });
}

/// What must live in each service is looked at by `/healthz`.
async fn tasks_are_watched(event: &TestEvent) {
    let folder = [
        "looking for manifests",
        "following the manifest's certificate authorities",
        "looking for a renewed certificate",
        "audit stream",
    ];
    let share = "looking for a refreshed share";
    for (name, own) in [
        (
            "committee",
            &["publishing", "screening", "disclosures", "handover of police badges", share][..],
        ),
        ("police", &["publishing", "release of verdicts", share]),
        ("sponsor", &["following the committee", "following the police"]),
        ("trustee", &[share]),
        ("gate-1", &["recording receipts", "tidying receipts", "watching the clock"]),
    ] {
        let (_, body) = event.ask(name, "/healthz").await;
        for task in own.iter().chain(&folder) {
            assert!(body.contains(&format!("\"name\":\"{task}\"")), "{name}: {task} not in {body}");
        }
    }
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
        // Not `eprintln!`, which a test that passes keeps to itself.
        let skipped = b"SKIPPED: promtool is not installed, the metrics were not linted\n";
        return std::io::stderr().write_all(skipped).unwrap();
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
    // What a clock says may pass: a gate whose battery is empty starts at the beginning of time.
    let year = 366 * 24 * 3_600;
    let now = env.now().seconds();
    for (then, says) in [(now + 30 * year, "expired"), (now - 30 * year, "not valid yet")] {
        let env = Env::for_test(ManualClock::new(Timestamp::from_seconds(then)));
        let found = found(&event, "gate-1", &env, Report::before_start());
        let [(Found::NotNow, text)] = found.as_slice() else { panic!("{found:?}") };
        let says = ["tls/service.pem", says, "clock", "renew"];
        assert!(says.iter().all(|word| text.contains(word)), "{says:?} not in {text}");
    }

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
    let with_store = |url: &str, during: &dyn Fn()| {
        let before = fs::read_to_string(&police).unwrap();
        event.place_store("police", url);
        during();
        fs::write(&police, before).unwrap();
    };
    with_store("postgres://127.0.0.1:1/none", &|| {
        let found = found(&event, "police", &env, Report::before_start());
        let [(Found::NotNow, text)] = found.as_slice() else { panic!("{found:?}") };
        assert!(text.contains("check that it runs"), "{text}");
    });
    let no_database = event.folder("police").join("data/none.db");
    fs::write(no_database, "no database, but long enough").unwrap();
    for (url, says) in [
        ("sqlite://none/police.db", "there is no folder"),
        ("mysql://x", "sqlite://FILE"),
        ("sqlite://data/none.db", "restore the store"),
    ] {
        with_store(url, &|| is_bad("police", &env, &["store", says]));
    }
}

/// Every file below a folder and what is in it, but for what SQLite keeps beside a store while somebody reads it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.to_string_lossy().contains(".db-") {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// An event that has published, decided and cosigned, and stopped.
fn stopped(plan: &EventPlan) -> TestEvent {
    let mut event = TestEvent::make(plan);
    event.start_all();
    run_together(async {
        let desk = Desk::of(&event);
        let badges = desk.publish_people(2).await;
        for badge in &badges {
            desk.check(badge, "sta-main").await.unwrap();
        }
    });
    event.stop_all();
    event
}

/// Exchanges one bit in the first half of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.len() / 4;
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Whoever looks at a member finds what keeps it from starting, in the words in which starting says it.
fn is_refused(event: &TestEvent, name: &str, says: &[&str]) {
    let found = found(event, name, &Env::system(), Report::default());
    let bad = found.iter().filter(|(found, _)| *found == Found::Bad).map(|(_, text)| text);
    let refused = event.refused(name, Duration::from_secs(30));
    for text in bad.chain([&refused]) {
        assert!(says.iter().all(|word| text.contains(word)), "{name}: {says:?} not in {text}");
    }
    assert!(found.iter().any(|(found, _)| *found == Found::Bad), "{name}: {says:?}: {found:?}");
}

/// Whether an authority keeps this among its rows in PostgreSQL, sealed, and not in its folder.
fn is_among_rows(event: &TestEvent, name: &str, path: &str) -> bool {
    let kept = ["data/evaluations", "data/witness"];
    event.is_over_postgres(name) && kept.iter().any(|kept| path.starts_with(kept))
}

#[test]
fn checking_a_configuration_finds_what_starting_refuses_and_changes_nothing() {
    let event = stopped(&sample_plan());
    let env = Env::system();
    for name in ALL {
        let before = files(&event.folder(name));
        let found = found(&event, name, &env, Report::default());
        assert!(found.iter().all(|(found, _)| *found == Found::Warning), "{found:?}");
        assert!(before == files(&event.folder(name)), "{name}: something was changed");
    }
    for (name, file, says) in [
        ("trustee", "data/evaluations/evaluations.note", "evaluations.note"),
        (
            "trustee",
            "data/witness/lanyard_harbour-games-2027_police.checkpoint",
            "could cosign a fork",
        ),
        ("sponsor", "data/mirror/police/base", "move the folder away"),
        ("gate-1", "data/mirror/committee/base", "move the folder away"),
        ("gate-1", "data/receipts/chain", "damaged at byte"),
        ("committee", "data/feeds/committee/base", "move the folder away"),
        ("committee", "data/evaluations/evaluations.note", "evaluations.note"),
        (
            "police",
            "data/witness/lanyard_harbour-games-2027_committee.checkpoint",
            "could cosign a fork",
        ),
    ] {
        if is_among_rows(&event, name, file) {
            continue;
        }
        let path = event.folder(name).join(file);
        let whole = fs::read(&path).unwrap();
        flip(&path);
        is_refused(&event, name, &[says]);
        fs::write(&path, whole).unwrap();
    }
    for (name, upstream, says) in [
        ("committee", "committee", "is this service itself"),
        ("committee", "trustee", "the trustee serves no feed"),
        ("sponsor", "gate-1", "directories for gates only"),
        ("gate-1", "sponsor", "stands there twice"),
        ("gate-1", "gate-7", "HOST:PORT"),
    ] {
        let listed = format!("upstreams = [\"{upstream}\", ");
        let config = event.folder(name).join("config.toml");
        let change = |text: String| text.replacen("upstreams = [", &listed, 1);
        with_change(&config, change, || is_refused(&event, name, &[says]));
    }
}

/// Folders that were put in the wrong place.
#[test]
fn another_events_state_is_refused_with_what_to_change() {
    let (event, foreign) = (stopped(&sample_plan()), stopped(&foreign_plan()));
    for (name, folder, says) in [
        ("sponsor", "data/mirror/police", ["of the log", "move that one away"]),
        ("gate-1", "data/mirror/committee", ["of the log", "move that one away"]),
        ("police", "data/feeds/committee", ["of the log", "move that one away"]),
        ("trustee", "data/witness", ["another event", "put that back"]),
        ("committee", "data/witness", ["another event", "put that back"]),
    ] {
        if is_among_rows(&event, name, folder) {
            continue;
        }
        let [own, other] = [&event, &foreign].map(|event| event.folder(name).join(folder));
        let away = own.with_extension("away");
        fs::rename(&own, &away).unwrap();
        fs::rename(&other, &own).unwrap();
        is_refused(&event, name, &says);
        fs::rename(&own, &other).unwrap();
        fs::rename(&away, &own).unwrap();
    }
    // And a store.
    event.place_store("police", &foreign.rows_url("police"));
    is_refused(&event, "police", &["that of police of event another-2027", "name another store"]);
}

fn foreign_plan() -> EventPlan {
    let mut plan = sample_plan();
    plan.event = lanyard_core::ids::EventId::parse("another-2027").expect("an event's id");
    plan
}

//! An operator's path: both authorities archive, all parties die, and a gate with an empty folder starts from the object store
//! alone and decides. And what is wrong with a store is said at the first start.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::time::Duration;

use lanyard_tests::{Desk, TestEvent, eventually, people, run_together, sample_plan};
use lanyard_wire::common::v1::StatusAction;

const PEOPLE: usize = 10;
const MAIN: &str = "sta-main";

/// Appends to a member's configuration.
fn configure(event: &TestEvent, member: &str, section: &str) {
    let path = event.folder(member).join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    // The gate follows nobody but the store.
    let text = match member {
        "gate-1" => text.replace("upstreams = [\"sponsor\"]", "upstreams = []"),
        _ => text,
    };
    fs::write(path, format!("{text}\n[objects]\n{section}")).unwrap();
}

async fn enrolled(desk: &Desk) -> Vec<String> {
    let everyone = people(PEOPLE);
    desk.enrol(&everyone).await.unwrap();
    let texts = desk.issue().await.unwrap();
    eventually("all are cleared", async || {
        let screened = desk.screen(2).await.ok()?;
        (screened.cleared == PEOPLE as u64).then_some(())
    })
    .await;
    desk.settle().await;
    desk.police_say(StatusAction::Suspend, &texts[&everyone[1].reference]).await.unwrap();
    desk.settle().await;
    everyone.iter().map(|person| texts[&person.reference].clone()).collect()
}

/// Whoever operates an authority sees that the archive keeps up, and when it does not.
async fn shown(event: &TestEvent) {
    let (_, metrics) = event.ask("committee", "/metrics").await;
    for log in ["committee", "police"] {
        let value = |series: &str| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(series));
            value.map(|value| value.trim().parse::<f64>().expect("a number"))
        };
        let of = |name: &str| value(&format!("lanyard_archive_{name}{{authority=\"{log}\"}}"));
        let uploads =
            format!("lanyard_archive_uploads_total{{authority=\"{log}\",outcome=\"archived\"}}");
        assert!(value(&uploads).is_some_and(|count| count > 2.0), "{metrics}");
        assert!(of("age_seconds").is_some_and(|age| age < 30.0), "{metrics}");
        assert!(of("lag").is_some_and(|lag| lag < 10.0), "{metrics}");
    }
}

#[test]
fn a_gate_starts_from_the_object_store_alone_when_all_parties_are_dead() {
    let mut event = TestEvent::make_watched(&sample_plan());
    let store = event.folder("archive");
    let place = format!("store = {:?}\n", store.to_str().unwrap());
    for authority in ["committee", "police"] {
        configure(&event, authority, &format!("{place}archive = true\n"));
    }
    configure(&event, "gate-1", &place);
    event.start_all();
    // The gate settles, although it follows the store only: what is published arrives there.
    let badges = run_together(async {
        let badges = enrolled(&Desk::of(&event)).await;
        shown(&event).await;
        badges
    });

    event.stop_all();
    for folder in ["mirror", "receipts"] {
        fs::remove_dir_all(event.folder("gate-1").join("data").join(folder)).unwrap();
    }
    event.start("gate-1");
    run_together(async {
        let desk = Desk::of(&event);
        let admitted = eventually("the gate has started", async || {
            let checked = desk.check(&badges[0], MAIN).await.ok()?;
            (checked.verdict == "ADMIT").then_some(checked)
        });
        assert_eq!(admitted.await.reason, "GOOD");
        // Stopped a moment before all died.
        assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
        let state = desk.sync_state().await.unwrap();
        assert!(state.authorities.iter().all(|authority| authority.key_present));
    });
    event.stop("gate-1");

    // The store goes, too: a gate that has started before does not need it.
    fs::remove_dir_all(&store).unwrap();
    fs::write(&store, "no folder").unwrap();
    event.start("gate-1");
    run_together(async {
        let desk = Desk::of(&event);
        assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT");
    });
}

#[test]
fn another_events_store_is_refused_at_the_first_start() {
    let event = TestEvent::make(&sample_plan());
    let store = event.folder("archive");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("event"), "lanyard objects of the event other-games\n").unwrap();
    configure(&event, "gate-1", &format!("store = {:?}\n", store.to_str().unwrap()));
    let refused = event.refused("gate-1", Duration::from_secs(20));
    assert!(refused.contains("other-games") && refused.contains("[objects] store"), "{refused}");
    // The second configuration is unreadable: the bucket has a password in its name.
    let path = event.folder("gate-1").join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once("[objects]").unwrap();
    fs::write(&path, format!("{before}[objects]\nstore = \"s3://me:hunter2@games/x\"\n")).unwrap();
    let refused = event.refused("gate-1", Duration::from_secs(20));
    assert!(
        refused.contains("no room for credentials") && !refused.contains("hunter2"),
        "{refused}"
    );
}

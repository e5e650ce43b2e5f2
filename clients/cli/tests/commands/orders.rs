//! The commands of the drills where all folders stand in one directory, typed one after the other while the event runs.

use std::path::Path;

use lanyard_ceremony::EventPlan;
use lanyard_tests::{Desk, eventually};
use lanyard_wire::common::v1::StatusAction;
use serde_json::json;

use crate::event::{Event, LANYARD, MAIN, READY, run, run_json, says, two_gates};

/// The second gate follows the sponsor alone, and a third gate the second.
fn plan() -> EventPlan {
    let mut plan = two_gates();
    plan.gates[1].upstreams.truncate(1);
    let mut third = plan.gates[1].clone();
    third.name = "gate-3".parse().expect("a name");
    third.upstreams = vec!["gate-2".parse().expect("a name")];
    third.access_points = vec!["vil-service".to_owned()];
    plan.gates[0].access_points.retain(|door| !third.access_points.contains(door));
    plan.gates.push(third);
    plan
}

/// A stop and its end both reach the gate: news flow, those that need a quorum too.
async fn news_flow(desk: &Desk, badge: &str) {
    says(desk, badge, MAIN, "ADMIT").await;
    desk.committee_says(StatusAction::Suspend, "P-0001").await.expect("it is suspended");
    says(desk, badge, MAIN, "REFER").await;
    desk.committee_says(StatusAction::Reinstate, "P-0001").await.expect("it is reinstated");
    says(desk, badge, MAIN, "ADMIT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_drills_say_to_type_works_while_the_event_runs() {
    let mut event = Event::started(&plan(), Path::new(LANYARD)).await;
    let dir = event.cluster.dir().to_string_lossy().into_owned();
    let desk = event.desk("gate-1");
    let badges = desk.publish_people(2).await;
    let badge = &badges[1];

    new_epoch(&event, &desk).await;
    news_flow(&desk, badge).await;

    let expelled = run_json(&["ceremony", "expel", "gate-2", "--dir", &dir]);
    assert_eq!([&expelled["configured"], &expelled["restart"]], [&json!(["gate-3"]); 2]);
    event.stop("gate-2").await;
    event.stop("gate-3").await;
    event.start("gate-3").await;
    event.cluster.reload().expect("the event");
    says(&event.desk("gate-3"), badge, "vil-service", "DENY").await;
    news_flow(&desk, badge).await;

    let log = ["ceremony", "rotate", "log", "--of", "committee", "--dir", &dir];
    run(Path::new(LANYARD), &[&log[..], &["--overlap", "0"]].concat());
    news_flow(&desk, badge).await;
    run(Path::new(LANYARD), &[&log[..], &["--at-once"]].concat());
    news_flow(&desk, badge).await;

    event.stop("trustee").await;
    let replaced = run_json(&["ceremony", "replace-trustee", "--dir", &dir]);
    assert!(replaced["counted_before"].as_u64() > Some(0), "{replaced}");
    event.start("trustee").await;
    news_flow(&desk, badge).await;

    event.stop("sponsor").await;
    let withdrawn = run_json(&["ceremony", "withdraw-sponsor", "--dir", &dir]);
    assert_eq!(withdrawn["configured"], json!(["committee", "police", "gate-1", "gate-3"]));
    assert_eq!(withdrawn["restart"], json!(["gate-3"]));
    event.stop("gate-3").await;
    event.start("gate-3").await;
    event.cluster.reload().expect("the event");
    news_flow(&desk, badge).await;
    event.cluster.wait_synced(READY).await.expect("gates follow");
    event.cluster.stop_all().await.expect("all stop when asked to");
}

/// `lanyard panic`: first what it costs, and nothing else; then a new epoch of both authorities.
async fn new_epoch(event: &Event, desk: &Desk) {
    let folders = [event.path("committee"), event.path("police")];
    let folders = ["--folder", &folders[0], "--folder", &folders[1]];
    let panic = [&["panic", "--reason", "gate-7 stolen"], &folders[..]].concat();
    let text = run(Path::new(LANYARD), &panic);
    assert!(text.contains("Each gate receives") && text.contains("Nothing was done"), "{text}");
    let asked = run_json(&panic);
    assert_eq!(asked["started"], json!([]));
    let epoch = asked["cost"][0]["next_epoch"].as_u64().expect("a number");
    let live = async || {
        let state = desk.sync_state().await.ok()?;
        Some(state.authorities.iter().map(|one| u64::from(one.epoch)).collect::<Vec<_>>())
    };
    assert_eq!(live().await, Some(vec![epoch - 1; 2]), "only the cost was asked for");
    let answer = run_json(&[&panic[..], &["--yes"]].concat());
    let both = ["committee", "police"].map(|one| json!({ "authority": one, "epoch": epoch }));
    assert_eq!(answer["started"], json!(both));
    eventually("both authorities live in the new epoch", async || {
        (live().await? == [epoch; 2]).then_some(())
    })
    .await;
}

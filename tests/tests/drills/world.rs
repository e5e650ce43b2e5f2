//! What all drills start from.

use std::path::Path;

use lanyard_ceremony::EventPlan;
use lanyard_env::Env;
use lanyard_tests::{Desk, TestEvent, eventually};
use lanyard_wire::common::v1::StatusAction;

pub(crate) const MAIN: &str = "sta-main";
pub(crate) const PEOPLE: usize = 3;

/// An event of this plan, all of its services running.
pub(crate) fn started(plan: &EventPlan, env: Env) -> TestEvent {
    if std::env::var_os("LANYARD_LOG").is_some() {
        lanyard_party::init_logging();
    }
    let mut event = TestEvent::make_in(plan, env);
    event.start_all();
    event
}

/// Enrols, issues, screens and publishes; the badges' texts by number of person.
pub(crate) async fn published(desk: &Desk) -> Vec<String> {
    desk.publish_people(PEOPLE).await
}

/// Waits until a gate says this of a badge.
pub(crate) async fn says(desk: &Desk, badge: &str, verdict: &str) {
    says_at(desk, badge, MAIN, verdict).await;
}

/// Waits until a gate says this of a badge at one of its doors.
pub(crate) async fn says_at(desk: &Desk, badge: &str, door: &str, verdict: &str) {
    eventually(verdict, async || {
        (desk.check(badge, door).await.ok()?.verdict == verdict).then_some(())
    })
    .await;
}

/// A stop and its end both reach the gate: news still flow, those that need a quorum too.
pub(crate) async fn news_flow(desk: &Desk, badge: &str, reference: &str) {
    says(desk, badge, "ADMIT").await;
    desk.committee_says(StatusAction::Suspend, reference).await.unwrap();
    says(desk, badge, "REFER").await;
    desk.committee_says(StatusAction::Reinstate, reference).await.unwrap();
    says(desk, badge, "ADMIT").await;
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

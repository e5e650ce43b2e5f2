//! What all drills start from.

use std::path::Path;

use lanyard_ceremony::EventPlan;
use lanyard_core::ids::Authority;
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_tests::{Desk, TestEvent, eventually};
use lanyard_transport::{Tls, connect, status};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::feed::v1::FollowRequest;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;

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

/// Whether somebody with a copy of a party's folder may still follow the police.
pub(crate) async fn may_follow(event: &TestEvent, folder: &Path) -> bool {
    let folder = Folder::open(folder, event.env());
    let manifest = ManifestStore::open(&folder).unwrap().current();
    let identity = folder.service_identity().unwrap();
    let tls = Tls::new(event.env(), identity, trust_anchors(&manifest).unwrap());
    let address = event.address("police").to_string();
    let channel = connect(event.env(), &tls, &address, &expected("police").unwrap()).unwrap();
    let origin = manifest.origin(Authority::Police).as_str().to_owned();
    let audiences = vec![lanyard_wire::common::v1::Audience::Gate.into()];
    let request = FollowRequest { origin, audiences, ..Default::default() };
    match FeedServiceClient::new(channel).follow(request).await {
        Ok(_) => true,
        Err(refused) => {
            assert!(status::is_unreachable(&refused), "{refused}");
            false
        }
    }
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

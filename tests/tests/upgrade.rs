//! A rolling upgrade: every service of a running event is stopped and started, one after another, while gates check
//! (docs/DRILLS.md, h); and what a new version and an old one must agree on.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use lanyard_ceremony::PlannedGate;
use lanyard_core::head::MapHead;
use lanyard_core::ids::{Authority, Epoch, EventId, Hash, Timestamp};
use lanyard_core::manifest::Manifest;
use lanyard_tests::{Desk, Load, TestEvent, eventually, people, run_together, sample_plan};
use lanyard_transport::Role;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::feed::v1::FollowRequest;
use lanyard_wire::gate::v1 as gate;
use prost::Message as _;

const MAIN: &str = "sta-main";

/// Two gates, so that one checks while the other is upgraded.
fn two_gates() -> TestEvent {
    let mut plan = sample_plan();
    let first = &mut plan.gates[0];
    let second = PlannedGate {
        name: "gate-2".parse().unwrap(),
        access_points: vec!["aqu-main".to_owned()],
        upstreams: first.upstreams.clone(),
    };
    first.access_points.retain(|id| id != "aqu-main");
    plan.gates.push(second);
    let mut event = TestEvent::make(&plan);
    event.start_all();
    event
}

async fn follows(desk: &Desk) {
    let before = desk.published().await.unwrap();
    eventually("both logs grow, and the gate follows", async || {
        let now = desk.published().await.ok()?;
        let state = desk.sync_state().await.ok()?;
        let grow = now.iter().zip(before).all(|(now, before)| now.0 >= before.0 + 2);
        let sizes = state.authorities.iter().zip(now);
        (grow && sizes.into_iter().all(|(one, now)| one.quorum_size + 3 >= now.0)).then_some(())
    })
    .await;
}

#[test]
fn every_service_is_replaced_while_gates_check() {
    let mut event = two_gates();
    let badges: Vec<String> = run_together(async {
        let desk = Desk::of(&event);
        let mut everyone = people(3);
        for person in &mut everyone {
            person.profile = "everywhere".to_owned();
        }
        desk.enrol(&everyone).await.unwrap();
        let texts = desk.issue().await.unwrap();
        eventually("screening ends", async || {
            (desk.screen(2).await.ok()?.cleared == 3).then_some(())
        })
        .await;
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        desk.settle().await;
        everyone.iter().map(|person| texts[&person.reference].clone()).collect()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = event.person("gate-2", Role::Scanner);
    let good = [badges[0].clone(), badges[2].clone()];
    for name in ["sponsor", "trustee", "police", "committee"] {
        let (desk, load) = (Desk::of(&event), Load::on(&good, MAIN));
        runtime.block_on(load.during(&desk.scanner, async {
            tokio::task::block_in_place(|| {
                event.stop(name);
                event.start(name);
            });
            follows(&desk).await;
            assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER", "{name}");
        }));
        assert!(load.checks() > 20, "{name}: {} checks are no load", load.checks());
    }
    // The gates, one after the other, while people go to the other one.
    let scanners = [("gate-1", other, "aqu-main"), ("gate-2", Desk::of(&event).scanner, MAIN)];
    for (name, scanner, access_point) in scanners {
        let load = Load::on(&good, access_point);
        runtime.block_on(load.during(&scanner, async {
            tokio::task::block_in_place(|| {
                event.stop(name);
                event.start(name);
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
        }));
        assert!(load.checks() > 20, "{name}: {} checks are no load", load.checks());
    }
    runtime.block_on(async {
        let desk = Desk::of(&event);
        follows(&desk).await;
        assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
    });
}

/// What is signed names its version, and another version is refused; messages pass over fields that they do not know; files
/// that people write refuse them.
#[test]
fn versions_that_do_not_agree_say_so_and_unknown_fields_of_messages_are_passed_over() {
    let head = MapHead {
        event: EventId::parse("games-2028").unwrap(),
        authority: Authority::Police,
        size: 1,
        time: Timestamp::from_seconds(1),
        manifest: Hash::new([1; 32]),
        live_epoch: Epoch::new(1),
        directories: Vec::new(),
    };
    let mut bytes = head.to_bytes().unwrap();
    let version = bytes.iter().position(|byte| *byte == b'1').unwrap();
    bytes[version] = b'2';
    let refused = MapHead::from_bytes(&bytes).unwrap_err().to_string();
    assert!(refused.contains("lanyard map head v1"), "{refused}");

    let refused = Manifest::parse_text("lanyard manifest v2\n{}\n").unwrap_err().to_string();
    assert!(refused.contains("lanyard manifest v1"), "{refused}");
    let refused = Manifest::parse_text("lanyard manifest v1\n{\n  \"colour\": 1\n}\n");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("unknown field `colour`"), "{refused}");

    let mut request = FollowRequest { log_size: 7, ..Default::default() }.encode_to_vec();
    // Field 1000, a number, as a later version may send.
    prost::encoding::uint64::encode(1_000, &5, &mut request);
    assert_eq!(FollowRequest::decode(request.as_slice()).unwrap().log_size, 7);
    // A reason that this version does not know still comes with its verdict.
    let answer = gate::CheckResponse { verdict: 4, reason: 99, ..Default::default() };
    let answer = gate::CheckResponse::decode(answer.encode_to_vec().as_slice()).unwrap();
    assert_eq!(answer.verdict(), gate::Verdict::Undetermined);
    assert_eq!(answer.reason(), gate::Reason::Unspecified);
}

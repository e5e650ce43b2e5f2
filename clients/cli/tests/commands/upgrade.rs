//! A rolling upgrade: each service of a running event is stopped and started with another program, one after the other, while
//! badges are checked at both gates without a pause.
//!
//! `LANYARD_UPGRADE_FROM` is the path of an older `lanyard`, which makes the event and runs every service at first; without it,
//! the program under test is both. `LANYARD_SEED` repeats a run's order.

use std::path::{Path, PathBuf};

use lanyard_ceremony::Member;
use lanyard_tests::{Desk, Load, eventually};
use lanyard_wire::common::v1::StatusAction;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::event::{Event, LANYARD, MAIN, NORTH, READY, says, two_gates};

/// Each gate, its door, and who works there.
const GATES: [(&str, &str); 2] = [("gate-1", MAIN), ("gate-2", NORTH)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_is_replaced_while_gates_check() {
    let older = std::env::var_os("LANYARD_UPGRADE_FROM");
    let older = older.map_or_else(|| PathBuf::from(LANYARD), PathBuf::from);
    let seed = std::env::var("LANYARD_SEED").map(|seed| seed.parse().expect("LANYARD_SEED"));
    let seed = seed.unwrap_or_else(|_| u64::from(std::process::id()));
    let mut event = Event::started(&two_gates(), &older).await;
    // Any order is good; whoever is replaced first meets the older program everywhere else.
    let mut order = event.cluster.members();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let names: Vec<_> = order.iter().map(Member::name).collect();
    println!("from {}, LANYARD_SEED={seed}: {}", older.display(), names.join(", "));

    let desks = GATES.map(|(gate, _)| event.desk(gate));
    // One badge is stopped in each step, and the last is good to the end.
    let badges = desks[0].publish_people(order.len() + 1).await;
    for (desk, (_, door)) in desks.iter().zip(GATES) {
        says(desk, &badges[order.len()], door, "ADMIT").await;
    }
    let before: Vec<_> = order.iter().map(|one| event.cluster.process_id(one)).collect();
    event = event.with_program(Path::new(LANYARD));
    for (step, member) in order.iter().enumerate() {
        replace(&mut event, &desks, member, &badges, step).await;
    }
    let after: Vec<_> = order.iter().map(|one| event.cluster.process_id(one)).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after && after.is_some()));
    event.cluster.check().expect("all of them run");
    for (desk, (gate, door)) in desks.iter().zip(GATES) {
        for (place, badge) in badges.iter().enumerate() {
            let expected = if place < order.len() { "REFER" } else { "ADMIT" };
            let found = desk.check(badge, door).await.expect("an answer");
            assert_eq!(found.verdict, expected, "{gate}, badge {place}: {found:?}");
        }
        let state = desk.sync_state().await.expect("what the gate knows");
        assert!(state.authorities.iter().all(|one| one.evidence.is_empty()), "{state:?}");
    }
    event.cluster.stop_all().await.expect("all stop when asked to");
}

/// Replaces one service. People go to the other gate while one is away. Meanwhile, an authority that runs stops a badge.
async fn replace(
    event: &mut Event,
    desks: &[Desk; 2],
    member: &Member,
    badges: &[String],
    step: usize,
) {
    let stopped = &badges[step];
    let good = &badges[step..];
    let there: Vec<_> =
        desks.iter().zip(GATES).filter(|(_, (gate, _))| *gate != member.name()).collect();
    let scanners = there.iter().map(|(desk, (_, door))| (&desk.scanner, Load::on(good, door)));
    let scanners: Vec<_> = scanners.collect();
    scanners.iter().for_each(|(_, load)| load.stops(0));
    let scenario = async {
        event.stop(member.name()).await;
        let desk = &desks[0];
        match member {
            Member::Committee => desk.police_say(StatusAction::Suspend, stopped).await,
            _ => desk.committee_says(StatusAction::Suspend, &format!("P-{step:04}")).await,
        }
        .expect("it is suspended");
        event.start(member.name()).await;
        event.cluster.wait_synced(READY).await.expect("gates follow");
        follow(desks).await;
        for (desk, (_, door)) in &there {
            says(desk, stopped, door, "REFER").await;
        }
    };
    match scanners.as_slice() {
        [(first, at_first), (second, at_second)] => {
            at_first.during(first, at_second.during(second, scenario)).await;
        }
        [(only, load)] => load.during(only, scenario).await,
        _ => unreachable!("one gate at most is away"),
    }
    for ((_, load), (_, (gate, _))) in scanners.iter().zip(&there) {
        assert!(load.checks() > 20, "{member}: {} checks at {gate} are no load", load.checks());
    }
    let checks: u64 = scanners.iter().map(|(_, load)| load.checks()).sum();
    println!("{member} replaced: {checks} checks, none failed or wrong");
}

/// Waits until both logs grow with a quorum, and both gates know it.
async fn follow(desks: &[Desk; 2]) {
    let [desk, _] = desks;
    let published = async || desk.published().await.ok();
    let before = eventually("authorities answer", published).await;
    for desk in desks {
        eventually("both logs grow, and the gate follows", async || {
            let now = desk.published().await.ok()?;
            let state = desk.sync_state().await.ok()?;
            let grow = now.iter().zip(before).all(|(now, before)| now.0 >= before.0 + 2);
            let mut sizes = state.authorities.iter().zip(now);
            (grow && sizes.all(|(one, now)| one.quorum_size + 3 >= now.0)).then_some(())
        })
        .await;
    }
}

//! Epochs and clocks of whole events: rollovers under load, epochs out of turn, clocks that are wrong.

#![allow(clippy::disallowed_methods)]

mod clocks;
mod cost;
mod panic;
mod rollover;

use std::time::Duration;

use lanyard_ceremony::EventPlan;
use lanyard_env::{Env, SkewedClock};
use lanyard_tests::{Desk, TestEvent, eventually, run_together, sample_plan};

const MAIN: &str = "sta-main";

/// How long before the tests an event is made: certificates must be good by clocks that are behind, too.
const MADE_BEFORE: i64 = 14 * 24 * 3_600_000;

/// An event in one world, with people cleared and published; their badges' texts.
fn published(plan: &EventPlan, env: &Env, count: usize) -> (TestEvent, Vec<String>) {
    let earlier = SkewedClock::default();
    earlier.set_wrong_by(-MADE_BEFORE);
    let mut event = TestEvent::made_in(plan, &Env::for_test(earlier));
    for member in event.members() {
        event.start_in(member.name(), env.clone());
    }
    let badges = run_together(async {
        let desk = Desk::of(&event);
        desk.publish_people(count).await
    });
    (event, badges)
}

/// The live epochs of committee and police at the gate.
async fn epochs(desk: &Desk) -> Option<[u32; 2]> {
    let state = desk.sync_state().await.ok()?;
    let epochs: Vec<u32> = state.authorities.iter().map(|one| one.epoch).collect();
    epochs.try_into().ok()
}

/// Waits until both authorities live in these epochs at the gate.
async fn reach(desk: &Desk, expected: [u32; 2]) {
    let mut seen = None;
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    while seen != Some(expected) {
        assert!(std::time::Instant::now() < deadline, "{seen:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen = epochs(desk).await;
    }
}

/// Waits until a badge is refused for a stop.
async fn refused(desk: &Desk, badge: &str) {
    eventually("a stop reaches the gate", async || {
        (desk.check(badge, MAIN).await.ok()?.verdict == "REFER").then_some(())
    })
    .await;
}

/// Lets real time pass, in which services tick.
async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

/// The numbers that files in a folder begin with: epochs, where keys are kept.
fn epochs_in(folder: &std::path::Path) -> Vec<u32> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    epochs_of(names.map(|name| name.to_string_lossy().into_owned()).collect())
}

fn epochs_of(names: Vec<String>) -> Vec<u32> {
    names.iter().filter_map(|name| name.split('-').next()?.parse().ok()).collect()
}

fn minute_epochs() -> EventPlan {
    let mut plan = sample_plan();
    plan.epochs.length_minutes = 1;
    plan.epochs.publish_lead_minutes = 1;
    plan
}

//! What officers do at once.

use lanyard_core::record::Status;
use lanyard_wire::police::v1::Outcome;

use super::world::{OFFICER, World, id, passport, submission};
use crate::changes::{change_status, undo};
use crate::states::Verdict;

pub(super) async fn suspend(world: &World, numbers: &[u8]) -> (Vec<Outcome>, i64) {
    change(world, true, numbers, "loud").await
}

async fn change(world: &World, stop: bool, numbers: &[u8], why: &str) -> (Vec<Outcome>, i64) {
    let subjects: Vec<_> = numbers.iter().map(|number| Some(id(*number))).collect();
    let act = world.act(OFFICER);
    let response = change_status(&world.store, stop, &subjects, why, act).await.unwrap();
    let outcomes = response.outcomes.iter().map(|one| one.outcome()).collect();
    (outcomes, response.change_id as i64)
}

async fn cleared_with_print(world: &World, number: u8) {
    world.submit(&[submission(number, &[passport("P1")])]).await;
    world.print(number, 1, number).await.unwrap();
    world.release().await;
}

#[tokio::test]
async fn a_stop_shows_at_once_and_can_be_taken_back() {
    let world = World::new().await;
    cleared_with_print(&world, 1).await;
    cleared_with_print(&world, 2).await;
    let (_, cursor) = world.changes(0).await;
    let (outcomes, first) = suspend(&world, &[1, 2, 9]).await;
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done, Outcome::NotFound]);
    assert_eq!(world.changes(cursor).await.0.len(), 2);
    assert_eq!(world.record(1).await.status, Status::NotGood);
    assert_eq!(world.case(1).await.reason, "loud");
    assert_eq!(suspend(&world, &[1]).await.0, [Outcome::Unchanged]);

    // 2 was reinstated since; undoing leaves it alone.
    change(&world, false, &[2], "quiet").await;
    let undone = undo(&world.store, first, "a mistake", world.act(OFFICER)).await.unwrap();
    assert_eq!((undone.restored, undone.skipped), (1, 1));
    assert_eq!(world.record(1).await.status, Status::Valid);
    assert_eq!(world.case(1).await.reason, "rule: no match");
    let again = undo(&world.store, first, "a mistake", world.act(OFFICER)).await.unwrap();
    assert_eq!((again.restored, again.skipped), (0, 2));
    let actions: Vec<_> = world.audit().await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["suspend", "suspend", "reinstate", "undo"]);
}

#[tokio::test]
async fn undoing_a_reinstatement_brings_the_stop_back_with_its_reason() {
    let world = World::new().await;
    cleared_with_print(&world, 1).await;
    suspend(&world, &[1]).await;
    let (_, reinstated) = change(&world, false, &[1], "quiet").await;
    assert_eq!(world.record(1).await.status, Status::Valid);
    undo(&world.store, reinstated, "not quiet", world.act(OFFICER)).await.unwrap();
    assert_eq!(world.record(1).await.status, Status::NotGood);
    assert_eq!(world.case(1).await.reason, "loud");
}

#[tokio::test]
async fn neither_a_verdict_nor_a_new_submission_lifts_a_stop() {
    let world = World::new().await;
    cleared_with_print(&world, 1).await;
    suspend(&world, &[1]).await;
    world.submit(&[submission(1, &[passport("P5")])]).await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
    assert_eq!(world.record(1).await.status, Status::NotGood);
}

#[tokio::test]
async fn state_survives_a_restart() {
    let world = World::new().await;
    cleared_with_print(&world, 1).await;
    let (_, change) = suspend(&world, &[1]).await;
    world.store.close().await;
    let store = world.open_again().await;
    let undone = undo(&store, change, "a mistake", world.act(OFFICER)).await.unwrap();
    assert_eq!(undone.restored, 1);
}

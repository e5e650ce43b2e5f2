//! What officers do.

use lanyard_core::record::Status;
use lanyard_wire::police::v1::Outcome;

use super::world::{OFFICER, World, entry, id, passport, person, submission};
use crate::changes::{change_status, decide_subject, undo};
use crate::release::release_due;
use crate::states::Verdict;

async fn decide(world: &World, number: u8, verdict: Verdict) -> Outcome {
    let act = world.act(OFFICER);
    decide_subject(&world.store, &id(number), verdict, "looked at it", act).await.unwrap()
}

async fn suspend(world: &World, numbers: &[u8]) -> (Vec<Outcome>, i64) {
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
async fn an_officer_decides_what_waits_and_the_committee_reads_it_later() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &[])]).await;
    world.submit(&[submission(1, &[person("Anna Beispiel")])]).await;
    world.release().await;
    let cursor = world.released(0).await[0].sequence;
    assert_eq!(decide(&world, 1, Verdict::Cleared).await, Outcome::Done);
    assert_eq!(decide(&world, 1, Verdict::Cleared).await, Outcome::Unchanged);
    assert_eq!(decide(&world, 2, Verdict::Cleared).await, Outcome::NotFound);
    assert!(world.released(cursor).await.is_empty());
    world.release().await;
    assert_eq!(world.released(cursor).await[0].verdict, Verdict::Cleared);
    assert_eq!(world.case(1).await.reason, "looked at it");
    let audit = world.audit().await;
    let last = audit.last().unwrap();
    assert_eq!((last.operator.as_str(), last.action.as_str()), (OFFICER, "clear"));
    assert_eq!(last.subject, id(1).to_string());
}

#[tokio::test]
async fn a_decision_before_the_release_takes_its_place() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &[])]).await;
    world
        .submit(&[submission(1, &[person("Anna Beispiel")]), submission(2, &[passport("P1")])])
        .await;
    world.clock.advance_millis(super::world::DELAY / 2);
    decide(&world, 1, Verdict::Refused).await;
    world.clock.advance_millis(super::world::DELAY / 2);
    assert_eq!(release_due(&world.store, world.env.now()).await.unwrap(), 2, "at the same time");
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
}

#[tokio::test]
async fn what_an_officer_cleared_stays_until_another_document_matches() {
    let world = World::new().await;
    let one = || entry("L-1", "Anna Beispiel", &["P1"]);
    world.import("a", vec![one()]).await;
    world
        .submit(&[submission(1, &[passport("P1"), passport("P2"), person("Anna Beispiel")])])
        .await;
    decide(&world, 1, Verdict::Cleared).await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
    world.import("a", vec![one()]).await;
    world.import("b", vec![entry("B-1", "Anna Beispiel", &[])]).await;
    assert_eq!(world.release().await, 0, "no more documents than the officer saw");
    world.import("c", vec![entry("C-1", "Cora Beispiel", &["P2"])]).await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
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
    let store = lanyard_store::Store::open(
        "sqlite://police.db",
        world.folder.path(),
        &crate::schema::SCHEMA,
    )
    .await
    .unwrap();
    let undone = undo(&store, change, "a mistake", world.act(OFFICER)).await.unwrap();
    assert_eq!(undone.restored, 1);
}

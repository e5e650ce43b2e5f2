//! A changed list decides anew on everyone who was submitted before.

use std::sync::Arc;

use lanyard_core::record::Status;
use lanyard_wire::police::v1::CaseState;

use super::world::{World, entry, id, passport, person, store_key, submission};
use crate::lists::Lists;
use crate::release::release_due;
use crate::states::Verdict;

/// What is released without any wait.
async fn at_once(world: &World) -> u64 {
    release_due(&world.store, world.env.now()).await.unwrap()
}

async fn cleared() -> World {
    let world = World::new().await;
    world
        .submit(&[submission(1, &[passport("P1"), passport("P2"), person("Anna Beispiel")])])
        .await;
    world.print(1, 1, 1).await.unwrap();
    world.release().await;
    assert_eq!(world.record(1).await.status, Status::Valid);
    world
}

#[tokio::test]
async fn an_added_document_refuses_and_an_added_name_opens_a_case_both_at_once() {
    let world = cleared().await;
    world.import("a", vec![entry("A-1", "Anna Beispiel", &[])]).await;
    assert_eq!(world.case_state(1).await, CaseState::Open);
    assert_eq!(at_once(&world).await, 1, "a stop waits for nothing");
    assert_eq!(world.record(1).await.status, Status::NotYet);
    world.import("b", vec![entry("B-1", "Cora Beispiel", &["P1"])]).await;
    assert_eq!(at_once(&world).await, 0, "nobody is admitted meanwhile");
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
    assert_eq!(world.record(1).await.status, Status::NotGood);
    let audit = world.audit().await;
    let rescreened: Vec<_> = audit.iter().filter(|entry| entry.action == "rescreen").collect();
    assert_eq!(rescreened.len(), 2);
    assert_eq!(rescreened[1].subject, id(1).to_string());
    assert_eq!(rescreened[1].reason, "was PENDING; rule: document match");
}

#[tokio::test]
async fn a_removed_entry_gives_back_what_a_rule_refused() {
    let world = cleared().await;
    world.import("a", vec![entry("A-1", "Anna Beispiel", &["P1"])]).await;
    at_once(&world).await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
    world.import("a", vec![entry("A-1", "Anna Beispiel", &[])]).await;
    assert_eq!(world.case_state(1).await, CaseState::Open, "the name matches still");
    world.import("a", vec![]).await;
    assert_eq!(at_once(&world).await, 0, "good news waits for its batch");
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
}

#[tokio::test]
async fn a_removed_entry_reopens_what_an_officer_refused_on_it() {
    let world = cleared().await;
    world.import("a", vec![entry("A-1", "Anna Beispiel", &[])]).await;
    world.decide(1, Verdict::Refused).await;
    world.import("b", vec![entry("B-1", "Bert Beispiel", &[])]).await;
    assert_eq!(world.case_state(1).await, CaseState::Decided, "another entry is nothing to it");
    world.import("a", vec![entry("A-2", "Cora Beispiel", &[])]).await;
    assert_eq!(world.case_state(1).await, CaseState::Open);
    world.import("a", vec![]).await;
    assert_eq!(world.case_state(1).await, CaseState::Open, "no rule clears it");
    assert!(world.case(1).await.reason.contains("an officer refused on"));
    world.decide(1, Verdict::Cleared).await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
}

#[tokio::test]
async fn what_an_officer_cleared_stands_until_a_new_entry_matches() {
    let world = cleared().await;
    let known = || entry("A-1", "Anna Beispiel", &["P1"]);
    world.import("a", vec![known()]).await;
    world.decide(1, Verdict::Cleared).await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
    // The same entry again, as every update brings it, and one that is nothing to it.
    world.import("a", vec![known(), entry("A-2", "Bert Beispiel", &["P9"])]).await;
    world.import("a", vec![]).await;
    world.import("a", vec![known()]).await;
    assert_eq!(world.case_state(1).await, CaseState::Decided);
    assert_eq!(at_once(&world).await, 0);
    // Another entry with the same name is another person, for all that is known.
    world.import("a", vec![known(), entry("A-3", "Anna Beispiel", &[])]).await;
    assert_eq!(world.case_state(1).await, CaseState::Open);
    assert_eq!(at_once(&world).await, 1);
    assert_eq!(world.verdict(1).await, Some(Verdict::Pending));
    world.decide(1, Verdict::Cleared).await;
    world.release().await;
    world.import("c", vec![entry("C-1", "Cora Beispiel", &["P2"])]).await;
    assert_eq!(at_once(&world).await, 1);
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
}

#[tokio::test]
async fn a_list_that_another_instance_imported_counts_at_once() {
    let mut world = World::new().await;
    world.import("a", vec![entry("A-1", "Anna Beispiel", &["P1"])]).await;
    // The other instance knows the list as it is now.
    let other = Arc::new(Lists::new(store_key().into()));
    let mut snapshot = world.store.snapshot().await.unwrap();
    other.guard(&mut snapshot).await.unwrap();
    drop(snapshot);
    world.import("a", vec![entry("A-2", "Cora Beispiel", &["P2"])]).await;
    world.lists = other;
    world.submit(&[submission(1, &[passport("P1")]), submission(2, &[passport("P2")])]).await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
    assert_eq!(world.verdict(2).await, Some(Verdict::Refused));
}

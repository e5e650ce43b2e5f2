//! Cases: which subjects are one, where they stand, and who decides.

use lanyard_wire::police::v1::{CaseState, Outcome};

use super::world::{DELAY, OFFICER, SECOND, World, entry, id, passport, person, submission};
use crate::cases;
use crate::release::release_due;
use crate::states::Verdict;

async fn matched(name: &str) -> World {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", name, &["P1"])]).await;
    world
        .submit(&[
            submission(1, &[person("Anna Beispiel"), passport("P2")]),
            submission(2, &[passport("P1")]),
            submission(3, &[passport("P3")]),
        ])
        .await;
    world
}

async fn listed(world: &World, undecided_only: bool) -> Vec<(Vec<u8>, CaseState)> {
    let cases = cases::list(&world.store, &world.lists, &[], undecided_only, 10).await.unwrap();
    let of = |case: lanyard_wire::police::v1::Case| {
        let state = case.state();
        (case.subject.unwrap().subject_id, state)
    };
    cases.into_iter().map(of).collect()
}

#[tokio::test]
async fn a_match_that_is_not_strong_is_a_case_and_nothing_else_is() {
    let world = matched("Anna Beispiel").await;
    let one = |state| vec![(id(1).as_slice().to_vec(), state)];
    assert_eq!(listed(&world, true).await, one(CaseState::Open));
    world.decide(1, Verdict::Pending).await;
    assert_eq!(listed(&world, true).await, one(CaseState::Open));
    assert_eq!(world.case(1).await.reason, "looked at it");
    world.decide(1, Verdict::Cleared).await;
    assert_eq!(listed(&world, true).await, []);
    assert_eq!(listed(&world, false).await, one(CaseState::Decided));
    let seen = cases::by_id(&world.store, &world.lists, &id(1)).await.unwrap().unwrap().seen;
    assert_eq!((seen[0].list.as_str(), seen[0].label.as_str()), ("list", "L-1"));
}

#[tokio::test]
async fn an_officer_decides_what_waits_and_the_committee_reads_it_later() {
    let world = matched("Anna Beispiel").await;
    world.release().await;
    let cursor = world.released(0).await[2].sequence;
    assert_eq!(world.decide(1, Verdict::Cleared).await, Outcome::Done);
    assert_eq!(world.decide(1, Verdict::Cleared).await, Outcome::Unchanged);
    assert_eq!(world.decide(9, Verdict::Cleared).await, Outcome::NotFound);
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
    let world = matched("Anna Beispiel").await;
    world.clock.advance_millis(DELAY / 2);
    world.decide(1, Verdict::Refused).await;
    world.clock.advance_millis(DELAY / 2);
    assert_eq!(release_due(&world.store, world.env.now()).await.unwrap(), 3, "at the same time");
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
}

#[tokio::test]
async fn with_four_eyes_two_officers_give_the_same_verdict() {
    let world = matched("Anna Beispiel").await;
    let decide = async |officer, verdict| world.decides(officer, 1, verdict, true).await;
    assert_eq!(decide(OFFICER, Verdict::Cleared).await, Outcome::SecondOfficer);
    assert_eq!(decide(OFFICER, Verdict::Cleared).await, Outcome::SecondOfficer, "not his own");
    assert_eq!(world.case_state(1).await, CaseState::SecondOfficer);
    assert_eq!(decide(SECOND, Verdict::Refused).await, Outcome::SecondOfficer, "not the same");
    assert_eq!(decide(SECOND, Verdict::Refused).await, Outcome::SecondOfficer);
    assert_eq!(decide(OFFICER, Verdict::Refused).await, Outcome::Done);
    assert_eq!(world.case_state(1).await, CaseState::Decided);
    let audit = world.audit().await;
    let last = audit.last().unwrap();
    assert_eq!((last.operator.as_str(), last.action.as_str()), (OFFICER, "refuse"));
    assert!(last.reason.contains(SECOND), "{}", last.reason);
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
    assert_eq!(decide(SECOND, Verdict::Pending).await, Outcome::Done, "harms nobody");
}

#[tokio::test]
async fn a_changed_list_or_submission_voids_what_the_first_officer_said() {
    let world = matched("Anna Beispiel").await;
    let decide = async |officer| world.decides(officer, 1, Verdict::Cleared, true).await;
    assert_eq!(decide(OFFICER).await, Outcome::SecondOfficer);
    world.import("other", vec![entry("O-1", "Anna Beispiel", &["P2"])]).await;
    assert_eq!(world.case_state(1).await, CaseState::Decided, "refused by a rule");
    assert_eq!(decide(SECOND).await, Outcome::SecondOfficer);
    world.submit(&[submission(1, &[person("Anna Beispiel")])]).await;
    assert_eq!(decide(OFFICER).await, Outcome::SecondOfficer);
}

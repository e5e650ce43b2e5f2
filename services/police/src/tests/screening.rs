//! From submission to release.

use lanyard_core::record::Status;
use lanyard_wire::screening::v1::KeyKind;

use super::world::{DELAY, World, entry, id, keys, passport, person, submission};
use crate::prints::PrintError;
use crate::release::release_due;
use crate::states::Verdict;
use crate::subjects;

use super::world::COMMITTEE;

#[tokio::test]
async fn a_document_refuses_a_name_waits_and_nothing_clears() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &["P1", "P2"])]).await;
    world
        .submit(&[
            submission(1, &[passport("P2"), person("Someone Else")]),
            submission(2, &[passport("P9"), person("Beispiel Anna")]),
            submission(3, &[passport("P9"), person("Someone Else")]),
            submission(4, &[]),
        ])
        .await;
    assert_eq!(world.release().await, 4);
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
    assert_eq!(world.verdict(2).await, Some(Verdict::Pending));
    assert_eq!(world.verdict(3).await, Some(Verdict::Cleared));
    assert_eq!(world.verdict(4).await, Some(Verdict::Pending), "nothing could match");

    let case = world.case(1).await;
    assert_eq!(case.matches.len(), 1);
    assert_eq!((case.matches[0].list.as_str(), case.matches[0].label.as_str()), ("list", "L-1"));
    assert_eq!(case.matches[0].kind(), KeyKind::Document);
    assert_eq!(world.case(2).await.matches[0].kind(), KeyKind::NameBirthDate);
    assert!(world.case(3).await.matches.is_empty());
}

#[tokio::test]
async fn a_variant_waits_for_an_officer_and_its_kind_shows() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "PRIMEROV, Viktor", &[])]).await;
    world
        .submit(&[
            submission(1, &keys("Wiktor Primerow")),
            submission(2, &keys("Viktor Primerov")),
            submission(3, &keys("Anna Primerova")),
        ])
        .await;
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Pending));
    assert_eq!(world.verdict(3).await, Some(Verdict::Cleared));
    let kinds = |case: lanyard_wire::police::v1::SubjectState| {
        case.matches.iter().map(|one| one.kind()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(world.case(1).await), [KeyKind::Variant]);
    assert_eq!(kinds(world.case(2).await), [KeyKind::NameBirthDate], "the strongest of an entry");
}

#[tokio::test]
async fn the_number_of_an_entrys_keys_is_padded() {
    let world = World::new().await;
    world
        .import(
            "list",
            vec![entry("L-1", "Li Na", &[]), entry("L-2", "Anna Berta Cora Beispiel", &["P1"])],
        )
        .await;
    let counts: Vec<(i64,)> = sqlx::query_as("SELECT COUNT(*) FROM list_keys GROUP BY entry_id")
        .fetch_all(world.store.pool())
        .await
        .unwrap();
    assert_eq!(counts.len(), 2);
    assert!(counts.iter().all(|(count,)| *count % 32 == 0), "{counts:?}");
}

#[tokio::test]
async fn nothing_is_released_before_its_delay_and_then_all_at_once() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &["P3"])]).await;
    let release = async || release_due(&world.store, world.env.now()).await.unwrap();
    world.clock.advance_millis(1);
    world.submit(&[submission(2, &[passport("P1")])]).await;
    world.print(2, 1, 2).await.unwrap();
    world.clock.advance_millis(DELAY / 2);
    world.submit(&[submission(4, &[passport("P3")]), submission(3, &[])]).await;
    world.clock.advance_millis(DELAY / 2 - 1);
    world.submit(&[submission(1, &[person("Anna Beispiel")])]).await;
    world.clock.advance_millis(DELAY - 1);
    assert_eq!(release().await, 0, "the last of them has not waited as long as it must");
    assert!(world.released(0).await.is_empty());
    assert_eq!(world.record(2).await.status, Status::NotYet);

    world.clock.advance_millis(1);
    assert_eq!(release().await, 4, "cleared, refused and pending, early and late");
    let released = world.released(0).await;
    let order: Vec<_> = released.iter().map(|one| one.subject_id).collect();
    assert_eq!(order, [id(1), id(2), id(3), id(4)], "ids are random, and so is this order");
    assert_eq!(world.record(2).await.status, Status::Valid);
    let cursor = released[2].sequence;
    assert_eq!(world.released(cursor).await.len(), 1);
    assert_eq!(release().await, 0, "once");
}

#[tokio::test]
async fn what_an_officer_decides_leaves_with_the_others_of_its_batch() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &[])]).await;
    world.submit(&[submission(1, &[person("Anna Beispiel")])]).await;
    world.release().await;
    let cursor = world.released(0).await[0].sequence;
    let release = async || release_due(&world.store, world.env.now()).await.unwrap();
    world.clock.advance_millis(1_234);
    world.decide(1, Verdict::Cleared).await;
    world.clock.advance_millis(4_321);
    world.submit(&[submission(2, &[passport("P1")])]).await;
    world.clock.advance_millis(2 * DELAY - 1_234 - 4_321 - 1);
    assert_eq!(release().await, 0);
    world.clock.advance_millis(1);
    assert_eq!(release().await, 2);
    let verdicts: Vec<_> =
        world.released(cursor).await.iter().map(|one| (one.subject_id, one.verdict)).collect();
    assert_eq!(verdicts, [(id(1), Verdict::Cleared), (id(2), Verdict::Cleared)]);
}

#[tokio::test]
async fn a_release_shows_the_publisher_every_print() {
    let world = World::new().await;
    for number in 1..=3 {
        world.submit(&[submission(number, &[passport("P1")])]).await;
        world.print(number, 1, number).await.unwrap();
    }
    let (_, cursor) = world.changes(0).await;
    assert!(world.changes(cursor).await.0.is_empty());
    world.release().await;
    let (entries, next) = world.changes(cursor).await;
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.record.status == Status::Valid));
    assert!(world.changes(next).await.0.is_empty());
    // Page by page, none is lost.
    use lanyard_authority::Registry as _;
    let mut after = cursor;
    for _ in 0..3 {
        let page = world.registry.changes(after, 1).await.unwrap();
        assert_eq!(page.entries.len(), 1);
        after = page.cursor;
    }
    assert_eq!(after, next);
}

#[tokio::test]
async fn the_same_submission_again_changes_nothing() {
    let world = World::new().await;
    world.submit(&[submission(1, &[passport("P1"), person("Anna Beispiel")])]).await;
    world.print(1, 1, 1).await.unwrap();
    world.release().await;
    let (_, cursor) = world.changes(0).await;
    world.submit(&[submission(1, &[person("Anna Beispiel"), passport("P1")])]).await;
    world.print(1, 1, 1).await.unwrap();
    assert_eq!(world.release().await, 0);
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
    assert!(world.changes(cursor).await.0.is_empty());
    assert!(world.audit().await.is_empty());
}

#[tokio::test]
async fn another_submission_is_a_new_case_and_shows_in_the_audit_trail() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &["P1"])]).await;
    world.submit(&[submission(1, &[passport("P1")])]).await;
    world.print(1, 1, 1).await.unwrap();
    world.release().await;
    assert_eq!(world.record(1).await.status, Status::NotGood);

    let mut other = submission(1, &[passport("P2")]);
    other.binding = [9; 20];
    world.submit(&[other]).await;
    let record = world.record(1).await;
    assert_eq!(record.status, Status::NotYet, "nothing stands until it is released");
    assert_eq!(record.binding.as_bytes(), &[9; 20]);
    assert_eq!(world.verdict(1).await, None);
    let audit = world.audit().await;
    let last = audit.last().unwrap();
    assert_eq!((last.action.as_str(), last.reason.as_str()), ("resubmit", "was REFUSED"));
    assert_eq!(last.operator, COMMITTEE);
    world.release().await;
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
}

#[tokio::test]
async fn a_withdrawal_stops_at_once_and_shows_after_a_refusal() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &["P1"])]).await;
    world.submit(&[submission(1, &[passport("P1")]), submission(2, &[passport("P2")])]).await;
    world.print(2, 1, 2).await.unwrap();
    world.release().await;
    assert_eq!(world.record(2).await.status, Status::Valid);
    let both = [id(1), id(2), id(3)];
    let act = world.act(COMMITTEE);
    assert_eq!(subjects::withdraw(&world.store, &both, act).await.unwrap(), 2);
    assert_eq!(subjects::withdraw(&world.store, &both, act).await.unwrap(), 0);
    assert_eq!(world.record(2).await.status, Status::NotGood);
    assert!(world.case(1).await.reason.starts_with("withdrawn"));
    let reasons: Vec<_> = world.audit().await.into_iter().map(|entry| entry.reason).collect();
    assert!(reasons.contains(&"was REFUSED".to_owned()), "{reasons:?}");
    // Back again: as if new.
    world.submit(&[submission(2, &[passport("P2")])]).await;
    assert_eq!(world.record(2).await.status, Status::NotYet);
}

#[tokio::test]
async fn a_new_list_decides_anew_and_a_shorter_one_too() {
    let world = World::new().await;
    world
        .submit(&[submission(1, &[passport("P1")]), submission(2, &[person("Anna Beispiel")])])
        .await;
    world.print(1, 1, 1).await.unwrap();
    world.release().await;
    assert_eq!(world.record(1).await.status, Status::Valid);

    assert_eq!(world.import("a", vec![entry("L-1", "Anna Beispiel", &["P1"])]).await, 2);
    // Whoever was cleared is stopped at the next release, without the delay.
    assert_eq!(release_due(&world.store, world.env.now()).await.unwrap(), 2);
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused));
    assert_eq!(world.verdict(2).await, Some(Verdict::Pending));
    assert_eq!(world.record(1).await.status, Status::NotGood);

    assert_eq!(world.import("a", vec![]).await, 0);
    assert_eq!(world.verdict(1).await, Some(Verdict::Refused), "good news waits for its delay");
    assert_eq!(world.release().await, 2);
    assert_eq!(world.verdict(1).await, Some(Verdict::Cleared));
    assert_eq!(world.verdict(2).await, Some(Verdict::Cleared));
}

#[tokio::test]
async fn a_list_replaces_the_one_of_its_name_only() {
    let world = World::new().await;
    world.import("a", vec![entry("A-1", "Anna Beispiel", &["P1"])]).await;
    world.import("b", vec![entry("B-1", "Bert Beispiel", &["P1"])]).await;
    world.import("a", vec![entry("A-2", "Cora Beispiel", &["P3"])]).await;
    world.submit(&[submission(1, &[passport("P1")])]).await;
    let labels: Vec<_> = world.case(1).await.matches.into_iter().map(|one| one.label).collect();
    assert_eq!(labels, ["B-1"]);
    let lists = crate::watchlist::list(&world.store).await.unwrap();
    let sizes: Vec<_> =
        lists.iter().map(|list| (list.name.as_str(), list.entries, list.keys)).collect();
    assert_eq!(sizes, [("a", 1, 12), ("b", 1, 12)]);
}

#[tokio::test]
async fn prints_may_come_first_and_new_seeds_stop_the_old() {
    let world = World::new().await;
    world.print(1, 1, 1).await.unwrap();
    assert_eq!(world.record(1).await.status, Status::NotYet);
    world.submit(&[submission(1, &[passport("P1")])]).await;
    world.release().await;
    assert_eq!(world.record(1).await.status, Status::Valid);
    // A second print of the badge is another record; new seeds of one print end the old ones.
    world.print(1, 2, 2).await.unwrap();
    assert_eq!(world.record(1).await.status, Status::Valid);
    world.print(1, 2, 3).await.unwrap();
    assert_eq!(world.record(2).await.status, Status::NotGood);
    assert_eq!(world.record(3).await.status, Status::Valid);
    let taken = world.print(2, 1, 3).await;
    assert!(matches!(taken, Err(PrintError::SeedTaken { index: 0 })));
}

//! What the committee discloses: checked against what it submitted, sealed, opened, and gone when it is not needed.

use lanyard_core::binding::BindingSalt;
use lanyard_core::disclosure::{DisclosedDocument, DisclosedIdentity};
use lanyard_core::ids::BadgeNumber;
use lanyard_core::record::Status;
use lanyard_wire::police::v1::{CaseState, DisclosureState as Shown, Outcome};

use super::world::{COMMITTEE, OFFICER, World, entry, event, hash, id, passport, store_key};
use crate::disclosures::{
    Answer, OpenError, ask, asked_after, draw, samples_after, settle, waiting,
};
use crate::ids::LocalHash;
use crate::release::release_due;
use crate::states::{DisclosureState, Verdict};
use crate::subjects::{self, Submission};
use crate::{cases, disclosures};

const BASIS: &str = "police act, article 7";
const REGISTRAR: &str = "spiffe://committee/operator/registrar";

/// Somebody born when everyone is.
pub(super) fn identity(name: &str, passport: &str) -> DisclosedIdentity {
    DisclosedIdentity {
        full_name: name.to_owned().into(),
        latin_name: String::new().into(),
        birth_date: "1990-01-31".to_owned().into(),
        documents: vec![DisclosedDocument {
            kind: "passport".into(),
            issuer: "UTO".into(),
            number: passport.into(),
        }],
        portrait: None,
        badge_number: BadgeNumber::new(7),
        salt: BindingSalt::from_bytes([9; 32]),
    }
}

fn hashes(identity: &DisclosedIdentity) -> Vec<LocalHash> {
    let mut hashes: Vec<_> = identity.keys(&event()).iter().map(hash).collect();
    hashes.sort_unstable();
    hashes
}

/// As the committee submits a person.
fn submitted(number: u8, identity: &DisclosedIdentity) -> Submission {
    let binding = *identity.binding(&event()).as_bytes();
    Submission { id: id(number), binding, keys: hashes(identity) }
}

/// Asks about a subject, and answers with this identity.
pub(super) async fn disclose(
    world: &World,
    number: u8,
    identity: DisclosedIdentity,
) -> DisclosureState {
    let asked = ask(&world.store, &id(number), BASIS, world.act(OFFICER)).await.unwrap();
    assert_eq!(asked.0, Outcome::Done);
    answer(world, asked.1, identity).await.unwrap()
}

async fn answer(
    world: &World,
    request: i64,
    identity: DisclosedIdentity,
) -> Option<DisclosureState> {
    let hashes = hashes(&identity);
    settled(world, request, Answer::Disclosed(identity, hashes)).await
}

async fn settled(world: &World, request: i64, answer: Answer) -> Option<DisclosureState> {
    let (key, event) = (store_key(), event());
    let (tools, act) = ((&key, &event, &world.env), world.act(COMMITTEE));
    settle(&world.store, tools, request, REGISTRAR, &answer, act).await.unwrap()
}

/// The name on the identity that is kept of a subject, and whether it holds.
pub(super) async fn open(world: &World, number: u8) -> Option<(String, bool)> {
    let act = world.act(OFFICER);
    let opened = disclosures::open(&world.store, &store_key(), &id(number), act).await.unwrap();
    opened.map(|(identity, holds)| (identity.full_name.to_string(), holds))
}

/// Anna, who matches by name, is subject 1.
async fn matched() -> World {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &[])]).await;
    world.submit(&[submitted(1, &identity("Anna Beispiel", "P1"))]).await;
    world.print(1, 1, 1).await.unwrap();
    world.release().await;
    world
}

#[tokio::test]
async fn a_disclosed_identity_is_checked_opened_and_deleted_with_the_decision() {
    let world = matched().await;
    let (outcome, request) = ask(&world.store, &id(1), BASIS, world.act(OFFICER)).await.unwrap();
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(world.case_state(1).await, CaseState::Asked);
    let again = ask(&world.store, &id(1), BASIS, world.act(OFFICER)).await.unwrap();
    assert_eq!(again, (Outcome::Unchanged, request));
    let asked = asked_after(&world.store, 0, 10).await.unwrap();
    assert_eq!((asked.len(), asked[0].legal_basis.as_str()), (1, BASIS));
    assert_eq!(asked[0].asked_by, OFFICER);
    assert!(asked_after(&world.store, asked[0].request_id, 10).await.unwrap().is_empty());

    let anna = || identity("Anna Beispiel", "P1");
    assert_eq!(answer(&world, request, anna()).await, Some(DisclosureState::Holds));
    assert_eq!(answer(&world, request, anna()).await, None, "once");
    assert_eq!(waiting(&world.store, request).await.unwrap(), None);
    assert_eq!(world.case_state(1).await, CaseState::Disclosed);
    assert_eq!(open(&world, 1).await, Some(("Anna Beispiel".to_owned(), true)));

    world.decide(1, Verdict::Refused).await;
    assert_eq!(open(&world, 1).await, None);
    let trail: Vec<_> = world.audit().await.into_iter().skip(1).collect();
    let actions: Vec<_> = trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["ask-disclosure", "disclosed", "open-identity", "refuse"]);
    assert_eq!(trail[0].reason, BASIS);
    assert_eq!((trail[1].operator.as_str(), trail[2].operator.as_str()), (COMMITTEE, OFFICER));
    assert!(trail[1].reason.contains(REGISTRAR));
    assert!(trail.iter().all(|entry| !entry.reason.contains("Anna")));
}

#[tokio::test]
async fn another_person_behind_a_clearance_is_found_and_cannot_be_cleared() {
    let world = matched().await;
    let swapped = identity("Bert Beispiel", "P2");
    assert_eq!(disclose(&world, 1, swapped).await, DisclosureState::Mismatch);
    assert_eq!(world.case_state(1).await, CaseState::Mismatch);
    assert_eq!(world.decide(1, Verdict::Cleared).await, Outcome::Mismatch);
    // Nor does a list that forgets the entry clear it.
    world.import("list", vec![]).await;
    assert_eq!(world.case_state(1).await, CaseState::Mismatch);
    world.decides(OFFICER, 1, Verdict::Refused, true).await;
    let case = cases::by_id(&world.store, &world.lists, &id(1)).await.unwrap().unwrap();
    assert!(case.state() == CaseState::SecondOfficer && case.mismatch, "it shows all the same");
    world.decide(1, Verdict::Refused).await;
    assert_eq!(open(&world, 1).await, Some(("Bert Beispiel".to_owned(), false)), "evidence stays");
    let actions: Vec<_> = world.audit().await.into_iter().map(|entry| entry.action).collect();
    assert!(actions.contains(&"disclosure-mismatch".to_owned()));
    // Submitted anew, it is a new case about whoever that is.
    world.import("list", vec![entry("L-1", "Bert Beispiel", &[])]).await;
    world.submit(&[submitted(1, &identity("Bert Beispiel", "P2"))]).await;
    assert_eq!(world.case_state(1).await, CaseState::Open);
    let bert = identity("Bert Beispiel", "P2");
    assert_eq!(disclose(&world, 1, bert).await, DisclosureState::Holds);
    assert_eq!(open(&world, 1).await, Some(("Bert Beispiel".to_owned(), true)));
    assert_eq!(world.decide(1, Verdict::Cleared).await, Outcome::Done);
}

#[tokio::test]
async fn the_binding_alone_is_not_enough() {
    // Whoever submits clean keys beside the binding of somebody who is on a list.
    let world = World::new().await;
    let listed = identity("Anna Beispiel", "P1");
    let clean = Submission { keys: vec![hash(&passport("P9"))], ..submitted(1, &listed) };
    world.submit(&[clean]).await;
    world.print(1, 1, 1).await.unwrap();
    world.release().await;
    let drawn = draw(&world.store, &world.env, 5, BASIS, world.act(OFFICER)).await.unwrap();
    assert_eq!(drawn.len(), 1);
    assert_eq!(answer(&world, drawn[0], listed).await, Some(DisclosureState::Mismatch));
}

#[tokio::test]
async fn every_part_of_the_preimage_counts() {
    let alter: [fn(&mut DisclosedIdentity); 5] = [
        |one| one.full_name = "Anna Beispiele".to_owned().into(),
        |one| one.birth_date = "1990-02-01".to_owned().into(),
        |one| one.documents.clear(),
        |one| one.badge_number = BadgeNumber::new(8),
        |one| one.salt = BindingSalt::from_bytes([1; 32]),
    ];
    for alter in alter {
        let world = matched().await;
        let mut other = identity("Anna Beispiel", "P1");
        alter(&mut other);
        assert_eq!(disclose(&world, 1, other).await, DisclosureState::Mismatch);
    }
}

#[tokio::test]
async fn a_sample_of_the_cleared_keeps_nothing_that_holds_and_stops_who_does_not() {
    let world = matched().await;
    let (cora, dora) = (|| identity("Cora Beispiel", "P3"), || identity("Dora Beispiel", "P4"));
    world.submit(&[submitted(2, &cora()), submitted(3, &dora())]).await;
    world.print(3, 1, 3).await.unwrap();
    world.release().await;
    let asked = ask(&world.store, &id(2), BASIS, world.act(OFFICER)).await.unwrap();
    assert_eq!(asked.0, Outcome::NotPossible, "the cleared are drawn, not picked");
    let drawn = draw(&world.store, &world.env, 9, BASIS, world.act(OFFICER)).await.unwrap();
    assert_eq!(drawn.len(), 2, "only the cleared");
    let again = draw(&world.store, &world.env, 9, BASIS, world.act(OFFICER)).await.unwrap();
    assert!(again.is_empty(), "they are asked about already");
    for request in drawn {
        let subject = waiting(&world.store, request).await.unwrap();
        // The committee has put somebody else in the place of Dora.
        let answered = if subject == Some(id(2)) { cora() } else { identity("Emil Neu", "P5") };
        answer(&world, request, answered).await;
    }
    let mut samples = samples_after(&world.store, 0, 10).await.unwrap();
    samples.sort_by_key(|sample| sample.subject_id.clone());
    let found: Vec<_> = samples.iter().map(|one| (one.state(), one.identity_kept)).collect();
    assert_eq!(found, [(Shown::Holds, false), (Shown::Mismatch, true)]);
    assert_eq!(open(&world, 2).await, None);
    assert_eq!(world.case_state(3).await, CaseState::Mismatch);
    assert_eq!(release_due(&world.store, world.env.now()).await.unwrap(), 1, "at once");
    assert_eq!(world.record(3).await.status, Status::NotYet);
    let listed = cases::list(&world.store, &world.lists, &[], true, 10).await.unwrap();
    assert_eq!(listed.len(), 2, "Anna, and who is not Dora");
}

#[tokio::test]
async fn a_refusal_shows_with_its_reason_and_can_be_asked_again() {
    let world = matched().await;
    let (_, request) = ask(&world.store, &id(1), BASIS, world.act(OFFICER)).await.unwrap();
    let refused = settled(&world, request, Answer::Refused("no such article".to_owned())).await;
    assert_eq!(refused, Some(DisclosureState::Refused));
    let case = cases::by_id(&world.store, &world.lists, &id(1)).await.unwrap().unwrap();
    assert_eq!(case.state(), CaseState::RefusedByCommittee);
    let disclosure = case.disclosure.unwrap();
    assert_eq!((&*disclosure.refusal, &*disclosure.answered_by), ("no such article", REGISTRAR));
    assert_eq!(disclose(&world, 1, identity("Anna Beispiel", "P1")).await, DisclosureState::Holds);
}

#[tokio::test]
async fn what_is_decided_submitted_anew_or_withdrawn_is_asked_no_longer() {
    let asked = async |world: &World| asked_after(&world.store, 0, 10).await.unwrap().len();
    let world = matched().await;
    let ask = async || ask(&world.store, &id(1), BASIS, world.act(OFFICER)).await.unwrap();
    ask().await;
    world.decide(1, Verdict::Refused).await;
    assert_eq!(asked(&world).await, 0);
    world.decide(1, Verdict::Pending).await;
    let (_, request) = ask().await;
    world.submit(&[submitted(1, &identity("Anna Beispiel", "P2"))]).await;
    assert_eq!(asked(&world).await, 0);
    assert_eq!(answer(&world, request, identity("Anna Beispiel", "P1")).await, None);
    ask().await;
    world.release().await;
    assert_eq!(asked(&world).await, 1);
    subjects::withdraw(&world.store, &[id(1)], world.act(COMMITTEE)).await.unwrap();
    assert_eq!(asked(&world).await, 0);
    assert_eq!(ask().await.0, Outcome::NotPossible);
}

#[tokio::test]
async fn what_is_asked_tells_no_verdict_before_its_release() {
    let world = World::new().await;
    world.import("list", vec![entry("L-1", "Anna Beispiel", &[])]).await;
    let (anna, cora) = (identity("Anna Beispiel", "P1"), identity("Cora Beispiel", "P3"));
    world.submit(&[submitted(1, &anna), submitted(2, &cora)]).await;
    let draw = async || draw(&world.store, &world.env, 9, BASIS, world.act(OFFICER)).await.unwrap();
    assert!(draw().await.is_empty());
    ask(&world.store, &id(1), BASIS, world.act(OFFICER)).await.unwrap();
    assert!(asked_after(&world.store, 0, 10).await.unwrap().is_empty());
    world.release().await;
    assert_eq!(draw().await.len(), 1);
    assert_eq!(asked_after(&world.store, 0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_kept_identity_opens_in_its_own_row_only() {
    let world = matched().await;
    disclose(&world, 1, identity("Anna Beispiel", "P1")).await;
    let mut transaction = world.store.begin().await.unwrap();
    sqlx::query("UPDATE disclosures SET id = id + 1").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let act = world.act(OFFICER);
    let opened = disclosures::open(&world.store, &store_key(), &id(1), act).await;
    assert!(matches!(opened, Err(OpenError::Sealed(_))));
}

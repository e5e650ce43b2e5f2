//! A case from the match to the decision, between both authorities: an identity is asked for, approved, sealed, checked and
//! decided upon; and a committee that puts another person behind a clearance is found out by the random sample.

#![allow(clippy::disallowed_methods)]

use lanyard_tests::{Desk, TestEvent, eventually, list_entry, people, run_together};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::police::v1::{self as police, CaseState, DisclosureState};
use lanyard_wire::screening::v1::{KeyKind, Verdict};

const PEOPLE: usize = 5;
/// Whom the watchlist names by name and birth date.
const MATCHED: usize = 1;
/// Behind whose clearance the committee puts somebody else.
const SWAPPED: usize = 3;
const BASIS: &str = "police act, article 7";

#[test]
fn a_case_is_disclosed_and_decided_and_a_swapped_person_is_found() {
    let mut event = TestEvent::started();
    run_together(async {
        let desk = Desk::of(&event);
        screened(&desk).await;
        one_case(&desk).await;
    });
    event.stop("committee");
    run_together(swap(&event));
    event.start("committee");
    run_together(sample(&Desk::of(&event)));
}

async fn screened(desk: &Desk) {
    let everyone = people(PEOPLE);
    desk.enrol(&everyone).await.unwrap();
    desk.list(vec![list_entry(1, &everyone[MATCHED], false)]).await.unwrap();
    desk.issue().await.unwrap();
    let screened = eventually("screening ends", async || {
        let screened = desk.screen(2).await.unwrap();
        (screened.pending == 1).then_some(screened)
    });
    assert_eq!(screened.await.cleared, PEOPLE as u64 - 1);
}

async fn cases(desk: &Desk) -> Vec<police::Case> {
    let request = police::ListCasesRequest { undecided_only: true, ..Default::default() };
    desk.officer.cases().unwrap().list_cases(request).await.unwrap().into_inner().cases
}

async fn decide(desk: &Desk, subject_id: &[u8], verdict: Verdict) -> police::Outcome {
    let request = police::DecideCaseRequest {
        subject_id: subject_id.to_vec(),
        verdict: verdict.into(),
        reason: "a test".to_owned(),
    };
    desk.officer.cases().unwrap().decide_case(request).await.unwrap().into_inner().outcome()
}

/// Waits for what the police ask, and decides on all of it.
async fn committee_decides(desk: &Desk, count: usize, approve: bool) -> Vec<committee::Disclosure> {
    let mut client = desk.registrar.disclosures().unwrap();
    let asked = eventually("the committee is asked", async || {
        let request = committee::ListDisclosuresRequest::default();
        let asked = client.list_disclosures(request).await.unwrap().into_inner().disclosures;
        (asked.len() == count).then_some(asked)
    })
    .await;
    for one in &asked {
        let request = committee::DecideDisclosureRequest {
            request_id: one.request_id,
            approve,
            reason: "counsel agrees".to_owned(),
        };
        let decided = client.decide_disclosure(request).await.unwrap().into_inner();
        assert_eq!(decided.outcome(), committee::Outcome::Done);
    }
    asked
}

async fn one_case(desk: &Desk) {
    let person = people(PEOPLE).swap_remove(MATCHED);
    let found = cases(desk).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state(), CaseState::Open);
    let subject = found[0].subject.clone().unwrap();
    assert_eq!((subject.matches.len(), subject.matches[0].kind()), (1, KeyKind::NameBirthDate));
    let subject_id = subject.subject_id;

    let mut client = desk.officer.cases().unwrap();
    let ask = police::RequestDisclosureRequest {
        subject_id: subject_id.clone(),
        legal_basis: BASIS.to_owned(),
    };
    for (approve, state) in [(false, CaseState::RefusedByCommittee), (true, CaseState::Disclosed)] {
        let asked = client.request_disclosure(ask.clone()).await.unwrap().into_inner();
        assert_eq!(asked.outcome(), police::Outcome::Done);
        assert_eq!(cases(desk).await[0].state(), CaseState::Asked);
        let answered = committee_decides(desk, 1, approve).await;
        let shown = (&answered[0].reference, &answered[0].full_name, &*answered[0].legal_basis);
        assert_eq!(shown, (&person.reference, &person.full_name, BASIS));
        assert!(answered[0].asked_by.starts_with("spiffe://police/operator/"));
        eventually("the answer arrives", async || {
            (cases(desk).await[0].state() == state).then_some(())
        })
        .await;
    }

    let open = police::OpenIdentityRequest { subject_id: subject_id.clone() };
    let opened = client.open_identity(open.clone()).await.unwrap().into_inner().identity.unwrap();
    assert!(opened.binding_holds);
    assert_eq!((&opened.full_name, &opened.birth_date), (&person.full_name, &person.birth_date));
    assert_eq!(opened.documents.len(), person.documents.len());

    assert_eq!(decide(desk, &subject_id, Verdict::Cleared).await, police::Outcome::Done);
    assert!(client.open_identity(open).await.unwrap().into_inner().identity.is_none());
    eventually("the committee reads the verdict", async || {
        (desk.screen(1).await.unwrap().pending == 0).then_some(())
    })
    .await;

    let request = police::GetCaseRequest { subject_id };
    let trail = client.get_case(request).await.unwrap().into_inner().entries;
    let actions: Vec<_> = trail.iter().map(|entry| entry.action.as_str()).collect();
    let expected = [
        "ask-disclosure",
        "disclosure-refused",
        "ask-disclosure",
        "disclosed",
        "open-identity",
        "clear",
    ];
    assert_eq!(actions, expected);
    assert!(trail.iter().all(|entry| !entry.reason.contains(&person.full_name)));
    let request =
        committee::ListAuditRequest { reference: person.reference.clone(), ..Default::default() };
    let mut badges = desk.registrar.badges().unwrap();
    let trail = badges.list_audit(request).await.unwrap().into_inner().entries;
    let actions: Vec<_> = trail.iter().map(|entry| entry.action.as_str()).collect();
    let expected =
        ["disclosure-asked", "refuse-disclosure", "disclosure-asked", "approve-disclosure"];
    assert_eq!(actions, expected);
}

/// The committee writes another person over one that is cleared, in its own store, where nobody else can see it.
async fn swap(event: &TestEvent) {
    let store = event.rows("committee").await;
    let changed =
        sqlx::query("UPDATE people SET full_name = $1, documents = '[]' WHERE reference = $2")
            .bind("Somebody Else")
            .bind(&people(PEOPLE)[SWAPPED].reference)
            .execute(&store)
            .await
            .unwrap();
    assert_eq!(changed.rows_affected(), 1);
    store.close().await;
}

async fn sample(desk: &Desk) {
    let mut client = desk.officer.cases().unwrap();
    let request = police::DrawSampleRequest { count: 100, legal_basis: BASIS.to_owned() };
    let drawn = client.draw_sample(request).await.unwrap().into_inner().request_ids;
    assert_eq!(drawn.len(), PEOPLE, "all are cleared");
    let asked = committee_decides(desk, PEOPLE, true).await;
    let swapped = people(PEOPLE).swap_remove(SWAPPED).reference;
    let swapped = asked.iter().find(|one| one.reference == swapped).unwrap().request_id;
    let samples = eventually("all are answered", async || {
        let request = police::ListSamplesRequest::default();
        let samples = client.list_samples(request).await.unwrap().into_inner().samples;
        let answered = |one: &police::Disclosure| one.state() != DisclosureState::Asked;
        samples.iter().all(answered).then_some(samples)
    })
    .await;
    for one in &samples {
        let expected = match one.request_id == swapped {
            true => (DisclosureState::Mismatch, true),
            false => (DisclosureState::Holds, false),
        };
        assert_eq!((one.state(), one.identity_kept), expected);
    }
    let found = cases(desk).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state(), CaseState::Mismatch);
    let subject = found[0].subject.clone().unwrap();
    assert_eq!(subject.verdict(), Verdict::Pending, "the clearance falls");
    let refused = decide(desk, &subject.subject_id, Verdict::Cleared).await;
    assert_eq!(refused, police::Outcome::Mismatch);
}

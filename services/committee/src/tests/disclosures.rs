//! What the police ask, and what the committee makes of it.

use lanyard_core::ids::EventId;
use lanyard_store::AuditTrail;
use lanyard_wire::committee::v1::{self as wire, DisclosureState, Outcome};
use lanyard_wire::screening::v1::DisclosureRequest;
use sqlx::Row as _;

use super::{Desk, OPERATOR, person};
use crate::badges::Deed;
use crate::disclosures::{decide, identity, list, take_in};

const OFFICER: &str = "spiffe://police/operator/o-1";

/// Somebody enrolled and submitted.
async fn submitted() -> (Desk, DisclosureRequest) {
    let desk = Desk::open().await;
    let documents = vec![wire::Document {
        kind: "passport".into(),
        issuer: "UTO".into(),
        number: "C01X00T47".into(),
    }];
    let ada = wire::Person { documents, portrait_hash: vec![4; 32], ..person("A-1", "Ada Sample") };
    desk.import(vec![ada], wire::ImportMode::AllOrNothing).await;
    let mut transaction = desk.store.begin().await.unwrap();
    sqlx::query("UPDATE people SET screening = 2").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let (subject_id,): (Vec<u8>,) =
        sqlx::query_as("SELECT subject_id FROM people").fetch_one(desk.store.pool()).await.unwrap();
    let request = DisclosureRequest {
        request_id: 5,
        subject_id,
        legal_basis: "article 7".into(),
        asked_by: OFFICER.into(),
        asked_millis: 1,
    };
    (desk, request)
}

impl Desk {
    async fn asked(&self, requests: &[DisclosureRequest]) {
        take_in(&self.store, &self.env, requests).await.unwrap();
    }

    async fn disclosures(&self, all: bool) -> Vec<wire::Disclosure> {
        list(&self.store, all, 0, 10).await.unwrap()
    }

    async fn decides(&self, request: i64, approve: bool) -> Outcome {
        let deed = Deed { operator: OPERATOR, reason: "checked with counsel" };
        decide(&self.store, &self.env, request, approve, &deed).await.unwrap()
    }
}

#[tokio::test]
async fn a_request_shows_whom_it_is_about_and_is_decided_once() {
    let (desk, request) = submitted().await;
    let stranger = DisclosureRequest { request_id: 6, subject_id: vec![1; 16], ..request.clone() };
    desk.asked(&[request.clone(), stranger.clone()]).await;
    desk.asked(&[request, stranger]).await;
    let open = desk.disclosures(false).await;
    assert_eq!(open.len(), 1);
    let shown = (&*open[0].reference, &*open[0].full_name, &*open[0].legal_basis);
    assert_eq!(shown, ("A-1", "Ada Sample", "article 7"));
    assert_eq!(open[0].asked_by, OFFICER);
    assert_eq!(desk.decides(6, true).await, Outcome::NotFound);
    assert_eq!(desk.decides(5, true).await, Outcome::Done);
    assert_eq!(desk.decides(5, true).await, Outcome::Unchanged);
    assert_eq!(desk.decides(5, false).await, Outcome::NotPossible);
    assert!(desk.disclosures(false).await.is_empty());
    assert_eq!(desk.disclosures(true).await[0].state(), DisclosureState::Approved);
    let trail = AuditTrail::list(desk.store.pool(), Some("A-1"), 0, 10).await.unwrap();
    let acts: Vec<_> = trail.iter().map(|entry| (&*entry.operator, &*entry.action)).collect();
    assert_eq!(acts, [(OFFICER, "disclosure-asked"), (OPERATOR, "approve-disclosure")]);
    assert_eq!(trail[1].reason, "checked with counsel; legal basis: article 7");
}

#[tokio::test]
async fn what_the_police_ask_no_longer_is_over() {
    let (desk, request) = submitted().await;
    desk.asked(std::slice::from_ref(&request)).await;
    desk.asked(&[]).await;
    assert_eq!(desk.disclosures(true).await[0].state(), DisclosureState::Over);
    assert_eq!(desk.decides(5, true).await, Outcome::NotPossible);
}

#[tokio::test]
async fn somebody_changed_since_they_were_submitted_is_not_disclosed() {
    let (desk, request) = submitted().await;
    desk.asked(&[request]).await;
    desk.import(vec![person("A-1", "Someone Else")], wire::ImportMode::AllOrNothing).await;
    assert_eq!(desk.decides(5, true).await, Outcome::NotPossible);
    assert_eq!(desk.decides(5, false).await, Outcome::Done);
}

#[tokio::test]
async fn what_is_disclosed_is_the_preimage_of_the_binding() {
    let (desk, _) = submitted().await;
    let row = sqlx::query("SELECT * FROM people").fetch_one(desk.store.pool()).await.unwrap();
    let binding: Vec<u8> = row.try_get("binding").unwrap();
    let disclosed = identity(&row).unwrap();
    assert_eq!(disclosed.binding(&desk.event).as_bytes().as_slice(), binding);
    let other = EventId::parse("other").unwrap();
    assert_ne!(disclosed.binding(&other).as_bytes().as_slice(), binding);
}

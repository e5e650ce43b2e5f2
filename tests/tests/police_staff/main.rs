//! Badges of the police's own staff: issued by the police, attested by the committee without an identity, and to a gate like
//! any other. And what the police's whole store is good for: no badge but those of their own staff.

#![allow(clippy::disallowed_methods)]

mod attack;

use lanyard_core::badge::{BadgeText, ScopedCode};
use lanyard_core::ids::{Audience, Authority, BadgeNumber};
use lanyard_tests::{
    Checked, Desk, TestEvent, eventually, list_entry, member, people, run_together,
};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::{RecordStatus, StatusAction};
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use lanyard_wire::staff::v1 as staff;
use prost::Message as _;

/// A door of the stadium's public area, and one of a venue that patrols do not go to.
const MAIN: &str = "sta-main";
const POOL: &str = "aqu-main";

fn said(checked: &Checked) -> (&'static str, &'static str) {
    (checked.verdict, checked.reason)
}

#[test]
fn police_staff_at_the_gate_and_the_polices_whole_store() {
    let event = TestEvent::started();
    run_together(async {
        let desk = Desk::of(&event);
        // One of the committee's own people has the profile of the police's staff.
        let mut everyone = people(6);
        everyone[5].profile = "patrol".to_owned();
        everyone[5].category = "Police".to_owned();
        desk.enrol(&everyone).await.unwrap();
        let list = vec![list_entry(1, &everyone[0], true)];
        assert!(desk.list(list).await.unwrap().finished);
        let badges = desk.issue().await.unwrap();
        let members: Vec<_> = (0..4).map(member).collect();
        let imported = desk.enrol_staff(&members).await.unwrap();
        assert_eq!((imported.created, imported.refused), (4, 0), "{:?}", imported.errors);
        let again = desk.enrol_staff(&members).await.unwrap();
        assert_eq!((again.created, again.unchanged), (0, 4));
        refused_rows(&desk).await;
        let staff = desk.issue_staff().await.unwrap();
        assert_eq!(staff.len(), 4);
        eventually("screening ends", async || {
            (desk.screen(2).await.unwrap().pending == 0).then_some(())
        })
        .await;
        desk.settle().await;

        like_any_other(&desk, &staff["S-0000"], &badges["P-0005"]).await;
        what_the_committee_knows(&desk, &staff["S-0001"]).await;
        desks(&desk, &staff["S-0001"]).await;
        stops(&desk, &staff["S-0001"], &staff["S-0002"]).await;
        withdrawn_profile(&desk, &staff["S-0000"]).await;
        let reissued = lost(&desk, &staff["S-0003"]).await;
        let staff = ["S-0000", "S-0001", "S-0002"].map(|reference| staff[reference].clone());
        let staff: Vec<String> = staff.into_iter().chain([reissued]).collect();
        revoked(&desk, "S-0002", &staff[2]).await;
        attack::attack(&event, &desk, &badges, &staff).await;
    });
}

/// Rows that may not be enrolled are named by line and column, and nothing is stored.
async fn refused_rows(desk: &Desk) {
    let elsewhere = staff::Member { profile: "everywhere".to_owned(), ..member(9) };
    let twice = member(8);
    let refused = desk.enrol_staff(&[twice.clone(), elsewhere, twice]).await.unwrap();
    assert_eq!((refused.created, refused.refused), (0, 2));
    let errors: Vec<_> =
        refused.errors.iter().map(|error| (error.line, error.column.as_str())).collect();
    assert_eq!(errors, [(2, "profile"), (3, "reference")]);
}

/// The gate's answers and receipts for a staff badge and another badge of the same profile differ in nothing.
async fn like_any_other(desk: &Desk, staff: &str, other: &str) {
    assert_eq!(staff.len(), other.len());
    for (door, expected) in [(MAIN, ("ADMIT", "GOOD")), (POOL, ("DENY", "WRONG_VENUE"))] {
        let ours = desk.check(staff, door).await.unwrap();
        let theirs = desk.check(other, door).await.unwrap();
        assert_eq!(said(&ours), expected);
        let bare = |checked: &Checked| gate::CheckResponse {
            receipt_id: 0,
            age_seconds: 0,
            ..checked.response.clone()
        };
        assert_eq!(bare(&ours), bare(&theirs));
        assert_eq!(bare(&ours).encoded_len(), bare(&theirs).encoded_len());
    }
    // The records that stand behind them: one of each authority, of one form.
    let mut client = desk.gate_operator.gate().unwrap();
    let mut sizes = Vec::new();
    for credential in [staff, other] {
        let request = gate::ExportAttestationsRequest { credential: credential.to_owned() };
        let exported = client.export_attestations(request).await.unwrap().into_inner();
        let manifest = desk.registrar.manifest();
        let mut records = Vec::new();
        for bytes in &exported.attestations {
            let attestation = lanyard_core::attestation::Attestation::from_bytes(bytes).unwrap();
            let verified =
                lanyard_core::attestation::verify_attestation(&attestation, manifest).unwrap();
            let sealed = attestation.record.as_ref().map(|record| record.bytes().len());
            let record = verified.record().unwrap();
            let opened = (record.status, record.profile, record.not_before, record.not_after);
            records.push((attestation.authority, attestation.audience, sealed, opened));
        }
        sizes.push(records);
    }
    assert_eq!(sizes[0].len(), 2);
    assert_eq!(sizes[0], sizes[1]);
}

/// Numbers and profiles, and no name anywhere.
async fn what_the_committee_knows(desk: &Desk, badge: &str) {
    let mut badges = desk.registrar.badges().unwrap();
    let request = committee::ListPoliceBadgesRequest::default();
    let listed = badges.list_police_badges(request).await.unwrap().into_inner();
    assert_eq!(listed.total, 4);
    for one in &listed.badges {
        assert_eq!(BadgeNumber::new(one.badge_number).issuer(), Authority::Police);
        assert_eq!((one.profile.as_str(), one.offered), ("patrol", true));
    }
    let shown = Some(committee::check_badge_request::Shown::BadgeText(badge.to_owned()));
    let request = committee::CheckBadgeRequest { shown };
    let answer = desk.committee_desk.committee_desk().unwrap().check_badge(request).await.unwrap();
    let answer = answer.into_inner();
    assert!(answer.person.is_none());
    assert_eq!(answer.police_badge.unwrap().badge_number, listed.badges[1].badge_number);
    let people = desk.registrar.enrolment().unwrap();
    let listed = { people }.list_people(committee::ListPeopleRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().total, 6);
}

/// The police's desk knows its own, by badge and by document.
async fn desks(desk: &Desk, badge: &str) {
    let request =
        police::CheckBadgeRequest { badge_text: badge.to_owned(), with_attestations: true };
    let answer = desk.police_desk.police_desk().unwrap().check_badge(request).await.unwrap();
    let answer = answer.into_inner();
    assert!(answer.subject.is_none() && answer.bindings_match, "{answer:?}");
    assert_eq!(answer.staff.unwrap().member.unwrap().reference, "S-0001");
    assert_eq!(answer.attestations.len(), 2);

    // A phone's code for the police leads there too.
    let manifest = desk.registrar.manifest();
    let secret = BadgeText::parse(badge, &manifest.event).unwrap();
    let epoch = manifest.epoch_at(desk.registrar.env().now());
    let code = ScopedCode::derive(&secret, &manifest.event, Audience::Police, epoch);
    let badge_text = code.to_text(&manifest.event).to_string();
    let request = police::CheckBadgeRequest { badge_text, with_attestations: false };
    let answer = desk.police_desk.police_desk().unwrap().check_badge(request).await.unwrap();
    let answer = answer.into_inner();
    assert!(answer.staff.is_some() && answer.bindings_match, "{answer:?}");

    let found = desk.check_document("passport", "UTO", "S-0000001").await.unwrap().people;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].staff.as_ref().unwrap().member.as_ref().unwrap().reference, "S-0001");
    assert_eq!(found[0].prints.len(), 1);
    assert!(found[0].prints[0].bindings_match);
    assert_eq!(found[0].prints[0].committee.as_ref().unwrap().status(), RecordStatus::Valid);
}

async fn wait_for(desk: &Desk, badge: &str, expected: (&'static str, &'static str)) {
    eventually("the gate says otherwise", async || {
        let checked = desk.check(badge, MAIN).await.ok()?;
        (said(&checked) == expected).then_some(())
    })
    .await;
}

/// Either authority stops a staff badge alone: the police by name, the committee by number.
async fn stops(desk: &Desk, first: &str, second: &str) {
    desk.staff_says(StatusAction::Suspend, "S-0001").await.unwrap();
    wait_for(desk, first, ("REFER", "REFER")).await;
    let mut badges = desk.registrar.badges().unwrap();
    let request = committee::ListPoliceBadgesRequest::default();
    let listed = badges.list_police_badges(request).await.unwrap().into_inner().badges;
    // Not a word of the police's suspension.
    assert!(listed.iter().all(|badge| badge.status() == RecordStatus::Valid));
    let number = listed[2].badge_number;
    let request = committee::ChangeStatusRequest {
        action: StatusAction::Suspend.into(),
        badge_numbers: vec![number, 999_999_999],
        reason: "a test".to_owned(),
        ..Default::default()
    };
    let changed = badges.change_status(request).await.unwrap().into_inner();
    let outcomes: Vec<_> = changed.outcomes.iter().map(|one| one.outcome()).collect();
    assert_eq!(outcomes, [committee::Outcome::Done, committee::Outcome::NotFound]);
    wait_for(desk, second, ("REFER", "REFER")).await;

    desk.staff_says(StatusAction::Reinstate, "S-0001").await.unwrap();
    let undo =
        committee::UndoChangeRequest { change_id: changed.change_id, reason: "a test".to_owned() };
    assert_eq!(badges.undo_change(undo).await.unwrap().into_inner().restored, 1);
    wait_for(desk, first, ("ADMIT", "GOOD")).await;
    wait_for(desk, second, ("ADMIT", "GOOD")).await;
}

/// The committee attests only what it offers: a profile that is withdrawn refers its bearers.
async fn withdrawn_profile(desk: &Desk, badge: &str) {
    let mut enrolment = desk.registrar.enrolment().unwrap();
    let patrol = lanyard_tests::access().pop().unwrap();
    for (police, expected) in [(false, ("REFER", "REFER")), (true, ("ADMIT", "GOOD"))] {
        let profiles = vec![committee::Profile { police, ..patrol.clone() }];
        enrolment.put_profiles(committee::PutProfilesRequest { profiles }).await.unwrap();
        wait_for(desk, badge, expected).await;
    }
}

/// A lost badge ends, its new print is good.
async fn lost(desk: &Desk, old: &str) -> String {
    let request = staff::ReissueBadgesRequest {
        references: vec!["S-0003".to_owned()],
        reason: "lost".to_owned(),
    };
    let mut client = desk.officer.staff().unwrap();
    let answer = client.reissue_badges(request).await.unwrap().into_inner();
    assert_eq!(answer.outcomes[0].outcome(), staff::Outcome::Done);
    let new = desk.issue_staff().await.unwrap().remove("S-0003").unwrap();
    assert_ne!(new, old);
    wait_for(desk, &new, ("ADMIT", "GOOD")).await;
    wait_for(desk, old, ("DENY", "REVOKED")).await;
    new
}

/// A revocation reaches the committee, which then refuses the badge for good; undo brings it back.
async fn revoked(desk: &Desk, reference: &str, badge: &str) {
    let change_id = desk.staff_says(StatusAction::Revoke, reference).await.unwrap();
    wait_for(desk, badge, ("DENY", "REVOKED")).await;
    let undo = police::UndoChangeRequest { change_id, reason: "a test".to_owned() };
    let undone = desk.officer.subjects().unwrap().undo_change(undo).await.unwrap().into_inner();
    assert_eq!((undone.restored, undone.skipped), (1, 0));
    wait_for(desk, badge, ("ADMIT", "GOOD")).await;
}

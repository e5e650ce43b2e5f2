//! One event from the ceremony to the gate, through the library: who is let in, who is not, who learns what, and that a gate
//! decides without its upstream.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use lanyard_core::attestation::{Attestation, verify_attestation};
use lanyard_core::badge::{BadgeText, ScopedCode};
use lanyard_core::decision::StalenessTier;
use lanyard_core::ids::Audience;
use lanyard_core::record::Status as RecordStatus;
use lanyard_tests::{
    Checked, Desk, TestEvent, eventually, list_entry, people, run_together, sample_plan,
};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use lanyard_wire::screening::v1::Verdict;
use lanyard_wire::sponsor::v1::{CheckCodeRequest, CodeVerdict};

const PEOPLE: usize = 50;
/// A public door, one back of house, one to the field of play, where knowledge is soon too old.
const MAIN: &str = "sta-main";
const SERVICE: &str = "sta-service";
const POOL: &str = "aqu-main";
const FIELD: &str = "sta-field";

/// Whom the watchlist names: by document, by name and birth date.
const REFUSED: usize = 7;
const PENDING: usize = 8;

fn said(checked: &Checked) -> (&'static str, &'static str) {
    (checked.verdict, checked.reason)
}

#[test]
fn an_event_from_the_ceremony_to_the_gate() {
    let mut plan = sample_plan();
    let strict = StalenessTier { fresh_seconds: 3, limit_seconds: 6 };
    plan.staleness_tiers.insert("strict".to_owned(), strict);
    let mut event = TestEvent::make(&plan);
    event.start_all();
    let badges = run_together(async {
        let desk = Desk::of(&event);
        let badges = enrolled(&desk).await;
        verdicts(&desk, &badges).await;
        desks(&desk, &badges[3]).await;
        stops(&desk, &badges[4], &badges[5]).await;
        receipts(&desk, &badges[6]).await;
        badges
    });

    // The sponsor goes, and the gate is started anew: all that it knows is on its disk.
    event.stop("sponsor");
    event.stop("gate-1");
    std::thread::sleep(Duration::from_millis(1_500));
    event.start("gate-1");
    run_together(offline(&Desk::of(&event), &badges));

    // It catches up when the sponsor is back, which starts from its own disk too.
    event.start("sponsor");
    run_together(async {
        let desk = Desk::of(&event);
        let back = eventually("the gate is up to date", async || {
            let checked = desk.check(&badges[3], FIELD).await.ok()?;
            (checked.verdict == "ADMIT" && !checked.response.stale).then_some(checked)
        });
        assert_eq!(back.await.response.category, "Official");
    });
}

/// Enrols, lists, issues, screens, publishes; the badge texts by number of person.
async fn enrolled(desk: &Desk) -> Vec<String> {
    let mut everyone = people(PEOPLE);
    everyone[3].profile = "everywhere".to_owned();
    everyone[3].category = "Official".to_owned();
    let imported = desk.enrol(&everyone).await.unwrap();
    assert_eq!((imported.created, imported.refused), (PEOPLE as u64, 0), "{:?}", imported.errors);
    let again = desk.enrol(&everyone).await.unwrap();
    assert_eq!((again.created, again.unchanged), (0, PEOPLE as u64));

    let entries =
        vec![list_entry(1, &everyone[REFUSED], true), list_entry(2, &everyone[PENDING], false)];
    let listed = desk.list(entries).await.unwrap();
    assert!(listed.finished, "{listed:?}");
    let texts = desk.issue().await.unwrap();
    assert_eq!(texts.len(), PEOPLE);
    let screened = eventually("screening ends", async || {
        let screened = desk.screen(2).await.unwrap();
        (screened.pending == 1).then_some(screened)
    });
    let screened = screened.await;
    assert_eq!((screened.cleared, screened.refused), (PEOPLE as u64 - 2, 1), "{screened:?}");
    desk.settle().await;
    everyone.iter().map(|person| texts[&person.reference].clone()).collect()
}

/// What the gate says of each kind of person.
async fn verdicts(desk: &Desk, badges: &[String]) {
    let check = async |person: usize, door: &str| desk.check(&badges[person], door).await.unwrap();
    let admitted = check(0, MAIN).await;
    assert_eq!(said(&admitted), ("ADMIT", "GOOD"));
    assert_eq!(
        (admitted.response.category.as_str(), admitted.response.stale),
        ("Volunteer", false)
    );
    assert_eq!(said(&check(0, SERVICE).await), ("DENY", "WRONG_ZONE"));
    assert_eq!(said(&check(0, POOL).await), ("DENY", "WRONG_VENUE"));
    assert_eq!(said(&check(3, POOL).await), ("ADMIT", "GOOD"));

    // On the list by document, by name alone, and stopped: the same answer for all of them.
    let refused = check(REFUSED, MAIN).await;
    let pending = check(PENDING, MAIN).await;
    assert_eq!(said(&refused), ("REFER", "REFER"));
    let shown =
        |checked: &Checked| gate::CheckResponse { receipt_id: 0, ..checked.response.clone() };
    assert_eq!(shown(&refused), shown(&pending));

    assert_eq!(said(&desk.check("LY1:nothing", MAIN).await.unwrap()), ("DENY", "MALFORMED"));
    let event = &desk.registrar.manifest().event;
    let stranger = BadgeText::new(&lanyard_core::badge::BadgeSecret::from_bytes([9; 32]), event);
    assert_eq!(said(&desk.check(stranger.expose_str(), MAIN).await.unwrap()), ("DENY", "UNKNOWN"));

    // A retry under the same nonce is the same check.
    let nonce = [0x42; 16];
    let first = desk.check_again(&badges[0], MAIN, nonce).await.unwrap();
    let retried = desk.check_again(&badges[0], MAIN, nonce).await.unwrap();
    assert_eq!(first, retried);
    assert!(first.response.receipt_id > admitted.response.receipt_id);
}

/// Each desk learns its own part.
async fn desks(desk: &Desk, badge: &str) {
    let manifest = desk.registrar.manifest();
    let request =
        police::CheckBadgeRequest { badge_text: badge.to_owned(), with_attestations: true };
    let answer = desk.police_desk.police_desk().unwrap().check_badge(request).await.unwrap();
    let answer = answer.into_inner();
    assert!(answer.bindings_match, "{answer:?}");
    assert_eq!(answer.subject.unwrap().verdict(), Verdict::Cleared);
    assert_eq!(answer.attestations.len(), 2);
    let mut client = desk.gate_operator.gate().unwrap();
    let request = gate::ExportAttestationsRequest { credential: badge.to_owned() };
    let exported = client.export_attestations(request).await.unwrap().into_inner().attestations;
    for bytes in answer.attestations.iter().chain(&exported) {
        let attestation = Attestation::from_bytes(bytes).unwrap();
        let verified = verify_attestation(&attestation, manifest).unwrap();
        assert_eq!(verified.record().unwrap().status, RecordStatus::Valid);
    }

    let shown = Some(committee::check_badge_request::Shown::BadgeText(badge.to_owned()));
    let request = committee::CheckBadgeRequest { shown };
    let answer = desk.committee_desk.committee_desk().unwrap().check_badge(request).await.unwrap();
    let person = answer.into_inner().person.unwrap();
    assert_eq!(person.person.as_ref().unwrap().reference, "P-0003");
    assert_eq!(person.screening(), committee::ScreeningState::Cleared);

    let secret = BadgeText::parse(badge, &manifest.event).unwrap();
    let epoch = manifest.epoch_at(desk.registrar.env().now());
    let code = ScopedCode::derive(&secret, &manifest.event, Audience::Sponsor, epoch);
    let code = code.to_text(&manifest.event).to_string();
    eventually("the sponsor's directory has the badge", async || {
        let request = CheckCodeRequest { code: code.clone() };
        let answer = desk.sponsor_desk.sponsor_desk().unwrap().check_code(request).await.ok()?;
        (answer.into_inner().verdict() == CodeVerdict::Valid).then_some(())
    })
    .await;
}

/// Stops by either authority reach the gate within three ticks, and are taken back.
async fn stops(desk: &Desk, first: &str, second: &str) {
    for badge in [first, second] {
        assert_eq!(said(&desk.check(badge, MAIN).await.unwrap()), ("ADMIT", "GOOD"));
    }
    let by_committee = desk.committee_says(StatusAction::Suspend, "P-0004").await.unwrap();
    let by_police = desk.police_say(StatusAction::Suspend, second).await.unwrap();
    for (place, badge, size) in [(0, first, by_committee), (1, second, by_police)] {
        let seen = eventually("the stop is at the gate", async || {
            let checked = desk.check(badge, MAIN).await.ok()?;
            let state = desk.sync_state().await.ok()?;
            (checked.verdict != "ADMIT").then_some((checked, state))
        });
        let (checked, state) = seen.await;
        assert_eq!(said(&checked), ("REFER", "REFER"));
        // Ticks, not seconds: how fast this machine is today says nothing.
        let ticks = state.authorities[place].signed_size - size;
        assert!(ticks <= 3, "{ticks} ticks");
    }
    desk.committee_says(StatusAction::Reinstate, "P-0004").await.unwrap();
    desk.police_say(StatusAction::Reinstate, second).await.unwrap();
    desk.settle().await;
    for badge in [first, second] {
        assert_eq!(said(&desk.check(badge, MAIN).await.unwrap()), ("ADMIT", "GOOD"));
    }
}

/// An override has a receipt of its own, and receipts come out with a signed head.
async fn receipts(desk: &Desk, badge: &str) {
    let nonce = [0x77; 16];
    let denied = desk.check_again(badge, SERVICE, nonce).await.unwrap();
    assert_eq!(denied.verdict, "DENY");
    let request = gate::OverrideRequest {
        receipt_id: denied.response.receipt_id,
        nonce: nonce.to_vec(),
        verdict: gate::Verdict::Admit.into(),
        reason: "known to me".to_owned(),
    };
    let mut supervisor = desk.supervisor.gate().unwrap();
    let overridden = supervisor.r#override(request).await.unwrap().into_inner();
    assert!(overridden.receipt_id > denied.response.receipt_id);

    let mut client = desk.gate_operator.gate().unwrap();
    let request = gate::ExportReceiptsRequest { from: 1, limit: 0 };
    let mut stream = client.export_receipts(request).await.unwrap().into_inner();
    let mut exported = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        exported.extend(part.data);
    }
    let text = String::from_utf8_lossy(&exported);
    let origin = format!("lanyard/{}/gate/gate-1/receipts", desk.registrar.manifest().event);
    assert!(text.contains(&origin), "{text}");
}

/// A gate without its upstream: it decides from its disk, says how old that is, and where that is too old, nothing.
async fn offline(desk: &Desk, badges: &[String]) {
    let state = desk.sync_state().await.unwrap();
    assert!(state.authorities.iter().all(|authority| authority.quorum_size > 0), "{state:?}");
    let admitted = desk.check(&badges[0], MAIN).await.unwrap();
    assert_eq!(said(&admitted), ("ADMIT", "GOOD"));
    assert!(admitted.response.age_seconds >= 1, "{admitted:?}");
    assert_eq!(desk.check(&badges[REFUSED], MAIN).await.unwrap().verdict, "REFER");
    let old = eventually("knowledge is too old for the field", async || {
        let checked = desk.check(&badges[3], FIELD).await.ok()?;
        (checked.verdict != "ADMIT").then_some(checked)
    });
    let old = old.await;
    assert_eq!(said(&old), ("UNDETERMINED", "STALE"));
    assert!(old.response.age_seconds > 6, "{old:?}");
    // Elsewhere it is still young enough.
    assert_eq!(desk.check(&badges[3], MAIN).await.unwrap().verdict, "ADMIT");
}

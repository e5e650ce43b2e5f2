//! The police check a document, and nobody else can tell whether it was a hit: everything that the police send is recorded,
//! with its receiver, order and size, and is the same for whoever is known and whoever is not.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lanyard_env::Env;
use lanyard_test_postgres::damage;
use lanyard_tests::{
    Desk, Recorder, Sent, TestEvent, eventually, list_entry, member, people, run_together,
    sample_plan,
};
use lanyard_transport::Role;
use lanyard_wire::common::v1::RecordStatus;
use lanyard_wire::police::v1 as police;
use lanyard_wire::police::v1::check_document_request::Shown;
use lanyard_wire::screening::v1::{KeyKind, Verdict};
use tonic::Code;

/// Checks of each kind at most, and how many must have sent the same: ticks and the committee's questions fall into some, and
/// what a check itself sends is what most of them send.
const MOST: usize = 40;
const ALIKE: usize = 5;
/// So long nothing is sent before and after a check.
const QUIET: Duration = Duration::from_millis(250);

/// What one check sends, to whom, in order.
type Trace = Vec<Sent>;

/// How often each was seen.
type Traces = BTreeMap<Trace, usize>;

/// What was seen most often.
fn most(traces: &Traces) -> (&[Sent], usize) {
    let most = traces.iter().max_by_key(|(_, times)| **times);
    most.map_or((&[], 0), |(trace, times)| (trace, *times))
}

#[test]
fn a_hit_sends_what_a_miss_sends() {
    let mut plan = sample_plan();
    // Long ticks leave long quiet between them.
    plan.tick_millis = 4_000;
    let mut event = TestEvent::make(&plan);
    let (police, asker) = (Recorder::default(), Recorder::default());
    let recorded =
        |recorder: &Recorder| Env { network: Arc::new(recorder.clone()), ..event.env().clone() };
    let (police_env, asker_env) = (recorded(&police), recorded(&asker));
    event.start_in("police", police_env);
    event.start_all();
    run_together(async {
        let mut desk = Desk::of(&event);
        desk.police_desk = event.person_in(&asker_env, "police", Role::Desk);
        enrolled(&desk).await;
        answers(&desk).await;

        let trustee = event.address("trustee");
        let mut traces = [Traces::default(), Traces::default()];
        for round in 0..MOST {
            let known = format!("X{:07}", round % 4);
            for (traces, number) in traces.iter_mut().zip([known.as_str(), "NOBODY1"]) {
                *traces.entry(one_check(&desk, &police, &asker, number).await).or_default() += 1;
            }
            if traces.iter().all(|traces| most(traces).1 >= ALIKE) {
                break;
            }
        }
        let [(hit, hits), (miss, misses)] = [most(&traces[0]), most(&traces[1])];
        assert!(hits >= ALIKE && misses >= ALIKE, "no quiet to listen in: {traces:?}");
        assert_eq!(hit, miss);
        assert!(!hit.is_empty() && hit.iter().all(|sent| sent.peer == trustee), "{hit:?}");
        // 64 blinded elements of 32 bytes, however few keys were asked for.
        let bytes: usize = hit.iter().map(|sent| sent.bytes).sum();
        assert!((64 * 32..64 * 32 + 600).contains(&bytes), "{bytes} bytes");
        a_damaged_key_is_no_miss(&event, &desk).await;
    });
}

/// Whose key is damaged is not said to be nobody, and who asks is told why. Of PostgreSQL, pages are checked and not rows.
async fn a_damaged_key_is_no_miss(event: &TestEvent, desk: &Desk) {
    if event.is_over_postgres("police") {
        return;
    }
    let store = event.rows("police").await;
    let flipped = damage(&store, "staff_keys", "hash", "1 = 1").await;
    let status = desk.check_document("passport", "UTO", "S0000003").await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    flipped.undo(&store).await;
    store.close().await;
    let own = desk.check_document("passport", "UTO", "S0000003").await.unwrap().people;
    assert!(own[0].staff.is_some());
}

/// Twelve people, one of them listed, one member of staff.
async fn enrolled(desk: &Desk) {
    let everyone = people(12);
    desk.enrol(&everyone).await.unwrap();
    assert!(desk.list(vec![list_entry(1, &everyone[2], true)]).await.unwrap().finished);
    desk.issue().await.unwrap();
    desk.enrol_staff(&[member(3)]).await.unwrap();
    desk.issue_staff().await.unwrap();
    eventually("screening ends", async || {
        (desk.screen(2).await.unwrap().pending == 0).then_some(())
    })
    .await;
    desk.settle().await;
}

/// What the desk is told: both attestations and the own case, or nothing.
async fn answers(desk: &Desk) {
    let listed = desk.check_document("passport", "uto", "x-0000002").await.unwrap().people;
    assert_eq!(listed.len(), 1);
    let subject = listed[0].subject.as_ref().unwrap();
    assert_eq!((subject.verdict(), subject.matches.len()), (Verdict::Refused, 1));
    assert_eq!(listed[0].found_by(), KeyKind::Document);
    let print = &listed[0].prints[0];
    assert_eq!(print.committee.as_ref().unwrap().status(), RecordStatus::Valid);
    assert_eq!(print.police.as_ref().unwrap().status(), RecordStatus::NotGood);
    assert_eq!((print.bindings_match, print.attestations.len()), (true, 2));
    assert!(desk.check_document("passport", "UTO", "NOBODY1").await.unwrap().people.is_empty());
    let own = desk.check_document("passport", "UTO", "S0000003").await.unwrap().people;
    assert!(own[0].staff.is_some() && own[0].subject.is_none());

    // By its zone, a passport finds the document, and whoever has the name and birth date.
    let mut client = desk.police_desk.police_desk().unwrap();
    let mut check = async |zone: &str| {
        let shown = Some(Shown::Mrz(zone.to_owned()));
        let reason = "a test".to_owned();
        let request = police::CheckDocumentRequest { shown, reason, with_attestations: false };
        client.check_document(request).await
    };
    let zone = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10";
    assert!(check(zone).await.unwrap().into_inner().people.is_empty());
    let wrong = check(&zone.replace("L898902C36", "L898902C37")).await.unwrap_err();
    assert!(wrong.message().contains("check digit") && !wrong.message().contains("L898902C"));

    // Who asked, when and why is kept; about whom is not.
    let request = police::ListAuditRequest { after: 0, limit: 0 };
    let audit = desk.officer.subjects().unwrap().list_audit(request).await.unwrap().into_inner();
    let checks: Vec<_> =
        audit.entries.iter().filter(|entry| entry.action == "check-document").collect();
    assert_eq!(checks.len(), 4);
    assert!(checks.iter().all(|entry| entry.reason == "a test" && entry.subject == "a document"));
}

/// What the police sent to others because of one check, with nothing else going on before.
async fn one_check(desk: &Desk, police: &Recorder, asker: &Recorder, number: &str) -> Trace {
    let others = |sent: &Sent| !asker.made(sent.peer);
    quiet(police).await;
    let before = police.len();
    desk.check_document("passport", "UTO", number).await.unwrap();
    tokio::time::sleep(QUIET).await;
    police.sent().into_iter().skip(before).filter(others).collect()
}

async fn quiet(police: &Recorder) {
    loop {
        let before = police.len();
        tokio::time::sleep(QUIET).await;
        if police.len() == before {
            return;
        }
    }
}

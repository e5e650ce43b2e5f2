//! Canary values go through a whole event while everything is logged: none may turn up in a log, an error, a printed
//! message, or a file of a party that must not hold it.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::sync::{Arc, Mutex};

use lanyard_core::badge::BadgeText;
use lanyard_core::ids::{Audience, Authority};
use lanyard_tests::{
    Desk, Needles, Search, TestEvent, eventually, list_entry, member, people, run_together,
    sample_plan,
};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::epoch::v1::StartEpochRequest;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::police::v1 as police;
use lanyard_wire::sponsor::v1 as sponsor;
use lanyard_wire::staff::v1 as staff;
use tonic::Status;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// All that was logged or printed.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn note(&self, what: &impl std::fmt::Debug) {
        self.0.lock().unwrap().extend(format!("{what:?}\n").into_bytes());
    }

    /// An error as whoever sees it may log it.
    fn error(&self, error: &Status) {
        self.note(error);
        self.0.lock().unwrap().extend(format!("{error}\n").into_bytes());
    }

    fn refused<T>(&self, answer: Result<T, Status>) {
        match answer {
            Ok(_) => panic!("it should have been refused"),
            Err(error) => self.error(&error),
        }
    }
}

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Heard {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn no_canary_is_logged_printed_or_kept_where_it_does_not_belong() {
    let heard = Heard::default();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(heard.clone())
        .init();
    let mut event = TestEvent::make_watched(&sample_plan());
    let archive = event.folder("archive");
    for authority in ["committee", "police"] {
        let path = event.folder(authority).join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let config = format!("{config}\n[objects]\nstore = {archive:?}\narchive = true\n");
        std::fs::write(path, config).unwrap();
    }
    event.start_all();
    let badges = run_together(async {
        let desk = Desk::of(&event);
        let badges = live(&desk, &heard).await;
        fail(&desk, &badges[0], &heard).await;
        shown(&event, &heard).await;
        badges
    });
    event.stop("trustee");
    run_together(async {
        let desk = Desk::of(&event);
        without_trustee(&desk, &heard).await;
        panics(&desk, &heard).await;
    });
    event.start("trustee");
    event.stop_all();

    let heard = std::mem::take(&mut *heard.0.lock().unwrap());
    let text = String::from_utf8_lossy(&heard);
    // Not the store: its statements are never logged.
    for place in ["TRACE h2", "lanyard_transport", "lanyard_authority"] {
        assert!(text.contains(place), "nothing was heard of {place}");
    }
    let identities = identities();
    let secrets = secrets(&event, &badges);
    assert_eq!(identities.find(&heard).iter().collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(secrets.find(&heard).iter().collect::<Vec<_>>(), Vec::<&&str>::new());
    for log in ["committee", "police"] {
        assert!(archive.join(log).join("newest").is_dir(), "nothing was archived of the {log}");
    }
    for party in ["sponsor", "trustee", "gate-1", "police", "exchange", "archive"] {
        assert_eq!(kept(&event, party, &identities), Vec::<String>::new());
    }
    for party in ["sponsor", "trustee", "gate-1", "police", "committee", "exchange", "archive"] {
        assert_eq!(kept(&event, party, &secrets), Vec::<String>::new());
    }
    // The search works: the committee is the party that holds identities.
    assert!(!kept(&event, "committee", &identities).is_empty());
    // And of their own staff, the police are.
    let staff = staff_identities();
    assert_eq!(staff.find(&heard).iter().collect::<Vec<_>>(), Vec::<&&str>::new());
    for party in ["sponsor", "trustee", "gate-1", "committee", "exchange", "archive"] {
        assert_eq!(kept(&event, party, &staff), Vec::<String>::new());
    }
    assert!(!kept(&event, "police", &staff).is_empty());
    // What operators and their SIEM see holds nobody's identity at any party.
    for party in ["sponsor", "trustee", "gate-1", "police", "committee"] {
        let stream = event.audit_stream(party);
        assert!(
            party == "sponsor" || party == "trustee" || stream.contains("lanyard.call"),
            "{party}"
        );
        for search in [&identities, &secrets, &staff] {
            assert!(search.find(stream.as_bytes()).is_empty(), "{party}: {stream}");
        }
    }
    assert!(event.audit_stream("police").contains("\"action\":\"suspend\""));
    assert!(event.audit_stream("committee").contains("\"action\":\"start-epoch\""));
}

const NAME: &str = "Kanarien Vogelsang-Zwitscher";
const BIRTH_DATE: &str = "1987-11-23";
const DOCUMENT: &str = "QX7731905KV";
const FUNCTION: &str = "canary breeder of Kirchdorf";
const BAD: &str = "canary-in-a-bad-place";

fn canary() -> committee::Person {
    let document = committee::Document {
        kind: "passport".to_owned(),
        issuer: "UTO".to_owned(),
        number: DOCUMENT.to_owned(),
    };
    committee::Person {
        reference: "KV-1".to_owned(),
        full_name: NAME.to_owned(),
        birth_date: BIRTH_DATE.to_owned(),
        documents: vec![document],
        function: FUNCTION.to_owned(),
        profile: "everywhere".to_owned(),
        category: "Official".to_owned(),
        ..people(1).remove(0)
    }
}

const STAFF_NAME: &str = "Falkenauge Kestrelwing-Turmfalke";
const STAFF_DOCUMENT: &str = "ZS5550199QQ";
const STAFF_REFERENCE: &str = "UNDERCOVER-77193";
const STAFF_FUNCTION: &str = "falconer of the vice squad";

fn staff_canary() -> staff::Member {
    let mut member = member(0);
    member.reference = STAFF_REFERENCE.to_owned();
    member.full_name = STAFF_NAME.to_owned();
    member.function = STAFF_FUNCTION.to_owned();
    member.documents[0].number = STAFF_DOCUMENT.to_owned();
    member
}

/// What of it a party has, in its folder and among its rows elsewhere.
fn kept(event: &TestEvent, party: &str, search: &Search) -> Vec<String> {
    let mut found = search.find_in(&event.folder(party));
    let rows = run_together(event.rows_elsewhere(party));
    found.extend(search.find(&rows).into_iter().map(|name| format!("a row: {name}")));
    found
}

/// What tells who one of the police's staff is.
fn staff_identities() -> Search {
    let mut needles = Needles::default();
    needles.add_text("name", STAFF_NAME);
    needles.add_text("transliterated name", "FALKENAUGE KESTRELWING TURMFALKE");
    needles.add_text("document", STAFF_DOCUMENT);
    needles.add_text("reference", STAFF_REFERENCE);
    needles.add_text("function", STAFF_FUNCTION);
    needles.ready()
}

/// What tells who somebody is. The birth date of one person is that of others, too.
fn identities() -> Search {
    let mut needles = Needles::default();
    needles.add_text("name", NAME);
    needles.add_text("transliterated name", "KANARIEN VOGELSANG ZWITSCHER");
    needles.add_text("name in normal form", "KANARIEN VOGELSANG");
    needles.add_text("document", DOCUMENT);
    needles.add_text("function", FUNCTION);
    needles.add_text("bad value", BAD);
    needles.ready()
}

/// What makes a badge, or opens its records for longer than an epoch.
fn secrets(event: &TestEvent, badges: &[String]) -> Search {
    let id = Desk::of(event).registrar.manifest().event.clone();
    let mut needles = Needles::default();
    for badge in badges {
        needles.add("badge text", badge);
        let secret = BadgeText::parse(badge, &id).expect("a badge");
        needles.add("badge secret", secret.expose_bytes());
        for (authority, audience) in [
            (Authority::Committee, Audience::Gate),
            (Authority::Committee, Audience::Police),
            (Authority::Committee, Audience::Sponsor),
            (Authority::Police, Audience::Gate),
        ] {
            let seed = secret.seed(authority, audience);
            needles.add(format!("seed {authority} {audience}"), seed.expose_bytes());
        }
    }
    needles.ready()
}

/// The good path, with every message printed.
async fn live(desk: &Desk, heard: &Heard) -> Vec<String> {
    let mut everyone = people(3);
    everyone.push(canary());
    heard.note(&everyone);
    heard.note(&desk.enrol(&everyone).await.unwrap());
    let entry = list_entry(1, &canary(), false);
    heard.note(&entry);
    heard.note(&desk.list(vec![entry]).await.unwrap());
    let texts = desk.issue().await.unwrap();
    heard.note(&staff_canary());
    heard.note(&desk.enrol_staff(&[staff_canary()]).await.unwrap());
    let staff = desk.issue_staff().await.unwrap();
    heard.note(&desk.screen(3).await.unwrap());
    desk.settle().await;
    for number in [DOCUMENT, STAFF_DOCUMENT] {
        let found = desk.check_document("passport", "UTO", number).await.unwrap();
        assert_eq!(found.people.len(), 1);
        heard.note(&found.people[0].prints);
    }
    heard
        .error(&desk.check_document("passport", "UTO", &format!("{DOCUMENT}é")).await.unwrap_err());
    let badges =
        vec![texts["KV-1"].clone(), texts["P-0000"].clone(), staff[STAFF_REFERENCE].clone()];
    for badge in &badges {
        heard.note(&desk.check(badge, "sta-main").await.unwrap());
        let request =
            police::CheckBadgeRequest { badge_text: badge.clone(), with_attestations: true };
        heard.note(&request);
        let answer = desk.police_desk.police_desk().unwrap().check_badge(request).await;
        heard.note(&answer.unwrap().into_inner().subject);
        let shown = Some(committee::check_badge_request::Shown::BadgeText(badge.clone()));
        let request = committee::CheckBadgeRequest { shown };
        heard.note(&request);
        let answer = desk.committee_desk.committee_desk().unwrap().check_badge(request).await;
        heard.note(&answer.unwrap().into_inner());
    }
    let request = gate::ExportAttestationsRequest { credential: badges[0].clone() };
    heard.note(&request);
    let mut client = desk.gate_operator.gate().unwrap();
    client.export_attestations(request).await.unwrap();
    disclosed(desk, heard).await;
    badges
}

/// The case of whoever matches by name: asked about, approved, opened; with every message printed.
async fn disclosed(desk: &Desk, heard: &Heard) {
    let (mut cases, mut client) =
        (desk.officer.cases().unwrap(), desk.registrar.disclosures().unwrap());
    let listed = cases.list_cases(police::ListCasesRequest::default()).await.unwrap().into_inner();
    heard.note(&listed);
    let subject_id = listed.cases[0].subject.clone().unwrap().subject_id;
    let legal_basis = "police act, article 7".to_owned();
    let request = police::RequestDisclosureRequest { subject_id: subject_id.clone(), legal_basis };
    heard.note(&request);
    heard.note(&cases.request_disclosure(request).await.unwrap());
    let asked = eventually("the committee is asked", async || {
        let request = committee::ListDisclosuresRequest::default();
        let asked = client.list_disclosures(request).await.unwrap().into_inner();
        (!asked.disclosures.is_empty()).then_some(asked)
    })
    .await;
    heard.note(&asked);
    let request = committee::DecideDisclosureRequest {
        request_id: asked.disclosures[0].request_id,
        approve: true,
        reason: NAME.to_owned(),
    };
    heard.note(&request);
    heard.note(&client.decide_disclosure(request).await.unwrap());
    let opened = eventually("the identity arrives", async || {
        let request = police::OpenIdentityRequest { subject_id: subject_id.clone() };
        let opened = cases.open_identity(request).await.unwrap().into_inner();
        opened.identity.is_some().then_some(opened)
    })
    .await;
    assert_eq!(opened.identity.clone().unwrap().full_name, NAME);
    heard.note(&opened);
}

/// Bad input that carries canaries; what is refused is refused without repeating it.
async fn fail(desk: &Desk, badge: &str, heard: &Heard) {
    let mut bad = [canary(), canary(), canary(), canary()];
    bad[0].birth_date = BAD.to_owned();
    bad[1].documents[0].kind = BAD.to_owned();
    bad[2].documents[0].number = format!("{DOCUMENT}é");
    bad[3].profile = BAD.to_owned();
    for (number, person) in bad.iter_mut().enumerate() {
        person.reference = format!("BAD-{number}");
    }
    heard.note(&desk.enrol(&bad).await.unwrap());
    let mut entry = list_entry(2, &canary(), true);
    entry.documents[0].kind = BAD.to_owned();
    entry.birth_dates.push(BAD.to_owned());
    heard.note(&desk.list(vec![entry]).await.unwrap());

    let damaged =
        format!("{}{}", &badge[..badge.len() - 1], if badge.ends_with('A') { "B" } else { "A" });
    for credential in [damaged.as_str(), &badge[1..], BAD] {
        heard.note(&desk.check(credential, "sta-main").await.unwrap());
        let shown = Some(committee::check_badge_request::Shown::BadgeText(credential.to_owned()));
        let request = committee::CheckBadgeRequest { shown };
        heard.refused(desk.committee_desk.committee_desk().unwrap().check_badge(request).await);
        let request = police::CheckBadgeRequest {
            badge_text: credential.to_owned(),
            with_attestations: false,
        };
        heard.refused(desk.police_desk.police_desk().unwrap().check_badge(request).await);
        let request = gate::ExportAttestationsRequest { credential: credential.to_owned() };
        heard.refused(desk.gate_operator.gate().unwrap().export_attestations(request).await);
    }
    heard.refused(desk.check(badge, "no-such-door").await);
    // A badge where a code for the sponsor belongs: the sponsor must not get to see one, and does not keep it.
    let request = sponsor::CheckCodeRequest { code: badge.to_owned() };
    heard.note(&request);
    heard.note(
        &desk.sponsor_desk.sponsor_desk().unwrap().check_code(request).await.unwrap().into_inner(),
    );
    desk.police_say(StatusAction::Suspend, badge).await.unwrap();
    desk.settle().await;
    heard.note(&desk.check(badge, "sta-main").await.unwrap());
}

/// Metrics, health and readiness of every service.
async fn shown(event: &TestEvent, heard: &Heard) {
    for party in ["sponsor", "trustee", "gate-1", "police", "committee"] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let (status, body) = event.ask(party, path).await;
            assert_eq!(status, 200, "{party}{path}: {body}");
            heard.note(&body);
        }
    }
}

/// Screening goes on with another share holder, and says so.
async fn without_trustee(desk: &Desk, heard: &Heard) {
    let mut late = canary();
    late.reference = "KV-2".to_owned();
    late.full_name = format!("{NAME} Junior");
    heard.note(&desk.enrol(&[late]).await.unwrap());
    match desk.screen(0).await {
        Ok(screened) => heard.note(&screened),
        Err(error) => heard.error(&error),
    }
}

/// A reason in free text can name anybody: it belongs in the trail and nowhere else.
async fn panics(desk: &Desk, heard: &Heard) {
    let request = StartEpochRequest { reason: format!("{NAME} has the key") };
    heard.note(&request);
    let mut epochs = desk.registrar.epochs().unwrap();
    heard.note(&epochs.start_epoch(request).await.unwrap().into_inner());
    let request = committee::ListAuditRequest::default();
    let trail = desk.registrar.badges().unwrap().list_audit(request).await.unwrap().into_inner();
    assert!(trail.entries.iter().any(|entry| entry.reason.contains("has the key")));
}

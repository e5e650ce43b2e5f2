//! What must not show does not: neither in the store's files, nor in debug output, errors or logs.

use std::io;
use std::sync::{Arc, Mutex};

use lanyard_core::badge::{BadgeSecret, BadgeText, Presented};
use lanyard_core::ids::EventId;
use lanyard_wire::police::v1 as wire;
use lanyard_wire::screening::v1 as screening;
use tracing_subscriber::fmt::MakeWriter;

use super::world::{OFFICER, World, entry, id, passport, person, pseudonym, seeds, submission};
use crate::changes::change_status;
use crate::states::Verdict;

/// A needle is looked for raw, in hex of both cases, and as a debug list of numbers.
fn writings(needle: &[u8]) -> Vec<Vec<u8>> {
    let numbers: Vec<_> = needle.iter().map(u8::to_string).collect();
    let hex = hex::encode(needle);
    vec![
        needle.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        numbers.join(", ").into_bytes(),
    ]
}

fn finds(haystack: &[u8], needle: &[u8]) -> bool {
    writings(needle)
        .iter()
        .any(|needle| haystack.windows(needle.len()).any(|window| window == needle.as_slice()))
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_store_nor_log_shows_pseudonyms_seeds_or_identities() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish();
    // For all threads, the store's own too; other tests log into it as well, which does no harm.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::info!("the log is read");

    let world = World::new().await;
    let keys = || [passport("CANARYPASS"), person("Canary Birdname")];
    world.import("list", vec![entry("Canary-Label", "Canary Birdname", &["CANARYPASS"])]).await;
    world.submit(&[submission(1, &keys())]).await;
    world.print(1, 1, 0x51).await.unwrap();
    world.release().await;
    world.decide(1, Verdict::Pending).await;
    let disclosed = super::disclosures::identity("Canary Birdname", "CANARYPASS");
    super::disclosures::disclose(&world, 1, disclosed).await;
    super::disclosures::open(&world, 1).await.unwrap();
    change_status(&world.store, true, &[Some(id(1))], "reason", world.act(OFFICER)).await.unwrap();
    let label = world.case(1).await.matches[0].label.clone();
    assert_eq!(label, "Canary-Label", "officers do see it");
    world.store.close().await;

    let files = world.place.everything().await;
    let log = log.0.lock().unwrap().clone();
    assert!(finds(&log, b"the log is read"));
    assert!(finds(&files, id(1).as_slice()), "the search finds what is there");

    let (gate, police) = seeds(0x51);
    let [document, name] = keys();
    for secret in
        [&pseudonym(&document)[..], &pseudonym(&name), &pseudonym(&name)[..32], &gate, &police]
    {
        assert!(!finds(&files, secret) && !finds(&log, secret));
    }
    for identity in ["CANARYPASS", "Birdname", "BIRDNAME"] {
        assert!(!finds(&files, identity.as_bytes()) && !finds(&log, identity.as_bytes()));
    }
    assert!(!finds(&log, b"Canary-Label"));
}

#[test]
fn messages_do_not_print_what_they_carry() {
    let event = EventId::parse("games").unwrap();
    let badge = BadgeText::new(&BadgeSecret::from_bytes([0xCA; 32]), &event);
    let badge = badge.expose_str();
    let key = screening::SubjectKey { kind: 1, pseudonym: vec![0xCA; 64] };
    let subject = screening::Subject { keys: vec![key], ..Default::default() };
    let print = screening::PrintSeeds {
        police_gate_seed: vec![0xCA; 32],
        committee_police_seed: vec![0xCA; 32],
        ..Default::default()
    };
    let entries = wire::ImportEntries { entries: vec![entry("Canary", "Canary", &["CANARY"])] };
    let change =
        wire::ChangeStatusRequest { badge_texts: vec![badge.into()], ..Default::default() };
    let check = wire::CheckBadgeRequest { badge_text: badge.into(), with_attestations: false };
    let matched = wire::Match { list: "Canary".into(), label: "Canary".into(), kind: 1 };
    let state = wire::SubjectState { matches: vec![matched.clone()], ..Default::default() };
    let case = wire::Case {
        subject: Some(state),
        seen: vec![matched],
        disclosure: Some(wire::Disclosure { refusal: "Canary".into(), ..Default::default() }),
        ..Default::default()
    };
    let identity = wire::Identity { full_name: "Canary".into(), ..Default::default() };
    let opened = wire::OpenIdentityResponse { identity: Some(identity) };
    let sealed = screening::disclosure_answer::Decision::SealedIdentity(vec![0xCA; 64]);
    let answer = screening::DisclosureAnswer { decision: Some(sealed), ..Default::default() };
    let answers = screening::AnswerDisclosuresRequest { answers: vec![answer] };
    let asked = screening::DisclosureRequest { legal_basis: "Canary".into(), ..Default::default() };
    for shown in [
        format!("{case:?}"),
        format!("{opened:?}"),
        format!("{answers:?}"),
        format!("{asked:?}"),
        format!("{subject:?}"),
        format!("{print:?}"),
        format!("{entries:?}"),
        format!("{change:?}"),
        format!("{check:?}"),
    ] {
        let lower = shown.to_lowercase();
        let quiet = !lower.contains("canary") && !shown.contains("202") && !shown.contains(badge);
        assert!(quiet, "{shown}");
    }
    // A badge with one wrong character is refused without being repeated.
    let wrong = format!("{}0", &badge[..badge.len() - 1]);
    let error = Presented::parse(&wrong, &event).err().map(|error| format!("{error} {error:?}"));
    assert!(error.is_some_and(|error| !error.contains(&wrong[8..20])));
}

//! The witness as C2SP tlog-witness prescribes it, on the wire and across restarts.

mod support;

use std::sync::{Arc, Mutex};

use lanyard_core::cosignature::verify_cosignature_lines;
use lanyard_core::ids::{Authority, Timestamp};
use lanyard_core::log::ConsistencyProof;
use lanyard_core::note::{Note, NoteSignature};
use lanyard_core::witness_request::{AddCheckpoint, MAX_REQUEST_BYTES, Refused};
use lanyard_env::Mode;
use lanyard_telemetry::{Incident, Telemetry};
use lanyard_transport::policy::ADD_CHECKPOINT;
use lanyard_transport::{Expected, PartyName, http1};
use lanyard_witness::{HeldSource, MemoryError, NotCosigned};
use support::{Mtls, NOW, Serving, TestLog, World, serve};

/// A witness of one log behind a real server, and its caller.
struct Wire {
    world: World,
    log: TestLog,
    mtls: Mtls,
    serving: Serving,
    witness: lanyard_witness::Witness,
}

impl Wire {
    async fn new() -> Self {
        let world = World::new();
        let log = TestLog::new(&world.env, Authority::Police, 12);
        let witness = world.witness("trustee", &[&log]).unwrap();
        let mtls = Mtls::police_and_trustee(&world.env);
        let serving = serve(&world.env, &mtls.server, witness.router()).await;
        Self { world, log, mtls, serving, witness }
    }

    async fn post(&self, body: impl Into<String>) -> http1::Answer {
        let expected = Expected::party(PartyName::Trustee);
        let (tls, address) = (&self.mtls.caller, &self.serving.address);
        let body: String = body.into();
        http1::post(&self.world.env, tls, address, &expected, ADD_CHECKPOINT, body).await.unwrap()
    }

    /// The time of the cosignature in a good answer.
    fn cosigned(&self, answer: &http1::Answer, size: u64) -> Timestamp {
        assert_eq!(answer.status, 200, "{answer:?}");
        let lines = NoteSignature::parse_lines(std::str::from_utf8(&answer.body).unwrap()).unwrap();
        let keys = self.witness.verifying_keys().unwrap();
        let verified = verify_cosignature_lines(&self.log.checkpoint(size), &lines, &keys).unwrap();
        assert_eq!(verified.len(), 1);
        verified[0].time()
    }
}

#[tokio::test]
async fn growth_is_cosigned_and_the_same_size_again_with_a_later_time() {
    let wire = Wire::new().await;
    let log = &wire.log;
    let first = wire.post(log.request(0, 5).to_text()).await;
    assert_eq!(wire.cosigned(&first, 5), NOW);
    let grown = wire.post(log.request(5, 9).to_text()).await;
    assert_eq!(wire.cosigned(&grown, 9), NOW);
    wire.world.clock.advance_millis(3_000);
    let again = wire.post(log.request(9, 9).to_text()).await;
    assert_eq!(wire.cosigned(&again, 9), NOW.plus_millis(3_000));
    assert_eq!(wire.witness.sizes().unwrap(), [(log.origin.to_string(), 9)]);
}

#[tokio::test]
async fn each_refusal_has_the_prescribed_status_and_changes_nothing() {
    let wire = Wire::new().await;
    let log = &wire.log;
    wire.cosigned(&wire.post(log.request(0, 5).to_text()).await, 5);
    let good = log.request(5, 9);

    for (old, size) in [(0, 9), (3, 9), (7, 9), (0, 3)] {
        let answer = wire.post(log.request(old, size).to_text()).await;
        assert_eq!((answer.status, &*answer.body), (409, b"5\n".as_slice()), "from {old}");
        assert_eq!(answer.content_type.as_deref(), Some("text/x.tlog.size"));
    }
    let (telemetry, told) = (Telemetry::new(None), Arc::new(Mutex::new(Vec::new())));
    wire.witness.observe(&telemetry);
    let heard = Arc::clone(&told);
    telemetry.incidents().heard_by(move |incident, about| {
        heard.lock().unwrap().push((incident, about));
    });
    let fork = log.fork(4, 12);
    let answer = wire.post(fork.request(5, 5).to_text()).await;
    assert_eq!((answer.status, &*answer.body), (409, b"5\n".as_slice()));
    let forked = (Incident::ForkRefused, log.origin.to_string());
    assert_eq!(*told.lock().unwrap(), [forked], "and nothing of the refusals before");

    let impostor = TestLog::new(&wire.world.env, Authority::Police, 12);
    let unknown = TestLog::new(&wire.world.env, Authority::Committee, 12);
    let altered = Note::parse(&good.note.to_string().replacen("\n9\n", "\n8\n", 1)).unwrap();
    let unproven = AddCheckpoint { proof: ConsistencyProof::default(), ..good.clone() };
    let other_proof = AddCheckpoint { proof: log.proof(5, 8), ..good.clone() };
    let text = good.to_text();
    for (status, why, body) in [
        (400, "empty", String::new()),
        (400, "old size with leading zero", text.replacen("old 5", "old 05", 1)),
        (400, "cut off", text[..text.len() / 2].to_owned()),
        (400, "old above new", AddCheckpoint { old: 10, ..good.clone() }.to_text()),
        (404, "unknown origin", unknown.request(5, 9).to_text()),
        (403, "another key of that name", impostor.request(5, 9).to_text()),
        (403, "altered size", AddCheckpoint { note: altered, ..good.clone() }.to_text()),
        (422, "no proof", unproven.to_text()),
        (422, "proof of another size", other_proof.to_text()),
        (422, "fork", fork.request(5, 9).to_text()),
        (413, "too large", "a".repeat(MAX_REQUEST_BYTES + 1)),
    ] {
        let answer = wire.post(body).await;
        assert_eq!(answer.status, status, "{why}: {answer:?}");
        assert_ne!(answer.content_type.as_deref(), Some("text/x.tlog.size"), "{why}");
    }
    wire.cosigned(&wire.post(text).await, 9);
}

#[tokio::test]
async fn what_the_mirror_beside_it_lacks_is_not_cosigned() {
    let mut wire = Wire::new().await;
    let held: HeldSource = Arc::new(|_, size| Box::pin(async move { size <= 5 }));
    let beside = wire.witness.clone().beside_mirrors(held);
    wire.serving = serve(&wire.world.env, &wire.mtls.server, beside.router()).await;
    wire.cosigned(&wire.post(wire.log.request(0, 5).to_text()).await, 5);
    let answer = wire.post(wire.log.request(5, 6).to_text()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(wire.witness.sizes().unwrap()[0].1, 5, "nothing is remembered of it");
    assert_eq!(wire.post("nonsense").await.status, 400);
}

#[tokio::test]
async fn another_method_is_not_allowed() {
    let wire = Wire::new().await;
    let request = axum::extract::Request::get(ADD_CHECKPOINT).body(axum::body::Body::empty());
    let mut routes = wire.witness.router().into_service();
    let answer = tower::Service::call(&mut routes, request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 405);
}

#[test]
fn a_restart_keeps_the_memory() {
    let world = World::new();
    let police = TestLog::new(&world.env, Authority::Police, 12);
    let committee = TestLog::new(&world.env, Authority::Committee, 12);
    let logs = [&police, &committee];
    let witness = world.witness("trustee", &logs).unwrap();
    witness.add_checkpoint(police.request(0, 7).to_text().as_bytes()).unwrap();
    witness.add_checkpoint(committee.request(0, 3).to_text().as_bytes()).unwrap();
    drop(witness);

    let witness = world.witness("trustee", &logs).unwrap();
    let fork = police.fork(2, 12).request(0, 8).to_text();
    let refused = witness.add_checkpoint(fork.as_bytes()).unwrap_err();
    assert!(matches!(refused, NotCosigned::Refused(Refused::Conflict { known_size: 7 })));
    witness.add_checkpoint(police.request(7, 8).to_text().as_bytes()).unwrap();
    witness.add_checkpoint(committee.request(3, 3).to_text().as_bytes()).unwrap();
}

#[test]
fn a_damaged_memory_stops_the_witness() {
    let world = World::new();
    let log = TestLog::new(&world.env, Authority::Police, 12);
    let witness = world.witness("trustee", &[&log]).unwrap();
    witness.add_checkpoint(log.request(0, 7).to_text().as_bytes()).unwrap();
    let path = world.path().join("trustee/lanyard_games-2028_police.checkpoint");
    let kept = String::from_utf8(world.env.files.read(&path).unwrap()).unwrap();
    for damaged in ["", &kept[..kept.len() / 2], &kept.replacen("\n7\n", "\n6\n", 1)] {
        world.env.files.write_atomic(&path, damaged.as_bytes(), Mode::Private).unwrap();
        let refused = world.witness("trustee", &[&log]).err().unwrap();
        assert!(matches!(refused, MemoryError::Damaged { .. }), "{refused}");
    }
}

#[test]
fn what_cannot_be_remembered_is_not_cosigned() {
    let world = World::new();
    let log = TestLog::new(&world.env, Authority::Police, 12);
    let witness = world.witness("trustee", &[&log]).unwrap();
    witness.add_checkpoint(log.request(0, 5).to_text().as_bytes()).unwrap();
    world.disk.set_space(Some(0));
    let refused = witness.add_checkpoint(log.request(5, 9).to_text().as_bytes());
    assert!(matches!(refused, Err(NotCosigned::Memory(MemoryError::File(_)))));
    // Had size 9 been cosigned, this would be a fork.
    world.disk.set_space(None);
    let other = log.fork(5, 12);
    witness.add_checkpoint(other.request(5, 9).to_text().as_bytes()).unwrap();
    assert!(witness.add_checkpoint(log.request(9, 9).to_text().as_bytes()).is_err());
}

#[test]
fn of_conflicting_requests_at_once_exactly_one_wins() {
    let world = World::new();
    let log = TestLog::new(&world.env, Authority::Police, 12);
    let witness = world.witness("trustee", &[&log]).unwrap();
    witness.add_checkpoint(log.request(0, 5).to_text().as_bytes()).unwrap();
    let requests: Vec<String> =
        (5..11).map(|size| log.fork(size, 12).request(5, 11).to_text()).collect();
    let won: Vec<_> = std::thread::scope(|scope| {
        let ask = |request: &String| witness.add_checkpoint(request.as_bytes()).is_ok();
        let asking: Vec<_> =
            requests.iter().map(|request| scope.spawn(move || ask(request))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    let winner = won.iter().position(|won| *won).unwrap();
    let again = log.fork(5 + u8::try_from(winner).unwrap(), 12).request(11, 11).to_text();
    witness.add_checkpoint(again.as_bytes()).unwrap();
}

#[test]
fn a_signed_fork_is_kept_as_evidence() {
    let world = World::new();
    let log = TestLog::new(&world.env, Authority::Police, 12);
    let witness = world.witness("trustee", &[&log]).unwrap();
    witness.add_checkpoint(log.request(0, 7).to_text().as_bytes()).unwrap();
    let fork = log.fork(3, 12);
    assert!(witness.add_checkpoint(fork.request(7, 7).to_text().as_bytes()).is_err());
    let folder = world.path().join("trustee/evidence");
    for (name, of) in [("cosigned", &log), ("refused", &fork)] {
        let path = folder.join(format!("lanyard_games-2028_police-7-{name}.note"));
        let kept = String::from_utf8(world.env.files.read(&path).unwrap()).unwrap();
        assert_eq!(kept, of.checkpoint(7).note().to_string());
    }
}

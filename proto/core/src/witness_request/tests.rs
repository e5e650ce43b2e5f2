use super::*;
use crate::ids::{Authority, EventId, Origin};
use crate::note::{KeyName, SigningKey};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

struct Fixture {
    origin: Origin,
    key: SigningKey,
    log: log::Log,
}

impl Fixture {
    fn new(leaves: u8) -> Self {
        let origin = Origin::new(&EventId::parse("games-2028").unwrap(), Authority::Police);
        let name = KeyName::parse(origin.as_str()).unwrap();
        let key = SigningKey::generate(name, &mut ChaCha20Rng::seed_from_u64(1));
        let mut log = log::Log::new();
        for leaf in 0..leaves {
            log.append(log::leaf_hash(&[leaf]));
        }
        Self { origin, key, log }
    }

    fn checkpoint(&self, size: u64) -> VerifiedCheckpoint {
        let root = self.log.root_at(size).unwrap();
        Checkpoint::new(&self.origin, size, root).sign(&self.key).unwrap()
    }

    fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        let proof = self.log.consistency_proof(old, size).unwrap();
        AddCheckpoint { old, proof, note: self.checkpoint(size).note().clone() }
    }

    fn consider(&self, known: u64, request: &AddCheckpoint) -> Result<Accepted, Refused> {
        let memory = WitnessMemory::of(&self.checkpoint(known));
        memory.consider(request, &self.key.verifying_key().clone().into())
    }
}

#[test]
fn a_body_reads_back_and_reads_as_specified() {
    let fixture = Fixture::new(7);
    let request = fixture.request(3, 7);
    let text = request.to_text();
    assert!(text.starts_with("old 3\n"));
    assert_eq!(AddCheckpoint::parse(text.as_bytes()), Ok(request.clone()));
    let first = fixture.request(0, 7);
    assert!(first.to_text().starts_with("old 0\n\nlanyard/games-2028/police\n7\n"));
    assert_eq!(AddCheckpoint::parse(first.to_text().as_bytes()), Ok(first));
}

#[test]
fn malformed_bodies_are_refused() {
    let good = Fixture::new(7).request(3, 7).to_text();
    let line = good.lines().nth(1).unwrap();
    for (expected, bad) in [
        (1, String::new()),
        (1, good.replacen("old 3", "old 03", 1)),
        (1, good.replacen("old 3", "new 3", 1)),
        (1, good.replacen("old 3", "old -3", 1)),
        (2, good.replacen(line, "abc", 1)),
        (2, "old 3\n".to_owned()),
        (65, good.replacen(line, &[line; 64].join("\n"), 1)),
    ] {
        match AddCheckpoint::parse(bad.as_bytes()) {
            Err(RequestError::Line { line, .. }) => assert_eq!(line, expected, "{bad}"),
            other => panic!("{bad:?} gave {other:?}"),
        }
    }
    let parse = AddCheckpoint::parse;
    assert!(matches!(parse(b"old 3\n\nx\n"), Err(RequestError::Note(_))));
    assert!(matches!(parse(b"old \xff"), Err(RequestError::NotUtf8 { offset: 4 })));
    let long = vec![b'a'; MAX_REQUEST_BYTES + 1];
    assert!(matches!(parse(&long), Err(RequestError::TooLong { .. })));
}

#[test]
fn growth_is_accepted_and_repeating_changes_nothing() {
    let fixture = Fixture::new(12);
    for known in 0..12 {
        for size in known..12 {
            let accepted = fixture.consider(known, &fixture.request(known, size)).unwrap();
            assert_eq!(accepted.memory, WitnessMemory::of(&fixture.checkpoint(size)));
            assert_eq!(accepted.checkpoint.size(), size);
        }
    }
    let empty = WitnessMemory::empty();
    let request = fixture.request(0, 5);
    assert!(empty.consider(&request, &fixture.key.verifying_key().clone().into()).is_ok());
}

#[test]
fn every_refusal_has_its_status() {
    let fixture = Fixture::new(9);
    let refused =
        |known, request: &AddCheckpoint| fixture.consider(known, request).map(|_| ()).unwrap_err();
    let good = fixture.request(4, 9);

    let unsigned = Fixture {
        key: SigningKey::generate(
            KeyName::parse(fixture.origin.as_str()).unwrap(),
            &mut ChaCha20Rng::seed_from_u64(2),
        ),
        ..Fixture::new(9)
    };
    assert_eq!(refused(4, &unsigned.request(4, 9)), Refused::BadSignature);

    let text = good.note.to_string();
    let changed = Note::parse(&text.replacen("\n9\n", "\n8\n", 1)).unwrap();
    let changed = AddCheckpoint { note: changed, ..good.clone() };
    assert_eq!(refused(4, &changed), Refused::BadSignature);

    let foreign = Note::parse(&text.replacen("games-2028", "games-2032", 1)).unwrap();
    let foreign = AddCheckpoint { note: foreign, ..good.clone() };
    assert_eq!(refused(4, &foreign), Refused::NotFound);

    let no_checkpoint = Note::sign("hello\n", &[&fixture.key]).unwrap();
    let no_checkpoint = AddCheckpoint { note: no_checkpoint, ..good.clone() };
    assert_eq!(refused(4, &no_checkpoint), Refused::BadRequest);

    let backwards = AddCheckpoint { old: 10, ..good.clone() };
    assert_eq!(refused(4, &backwards), Refused::BadRequest);

    let rollback = fixture.request(4, 5);
    assert_eq!(refused(7, &rollback), Refused::Conflict { known_size: 7 });
    assert_eq!(refused(7, &rollback).body(), "7\n");

    let unproven = AddCheckpoint { proof: ConsistencyProof::default(), ..good.clone() };
    assert_eq!(refused(4, &unproven), Refused::Unprocessable);
    let mut garbled = good.clone();
    let mut hashes = garbled.proof.hashes().to_vec();
    hashes[0] = Hash::new([0; 32]);
    garbled.proof = ConsistencyProof::new(hashes).unwrap();
    assert_eq!(refused(4, &garbled), Refused::Unprocessable);
    let extra = ConsistencyProof::new(vec![Hash::new([0; 32])]).unwrap();
    let surplus = AddCheckpoint { proof: extra.clone(), ..fixture.request(0, 3) };
    assert_eq!(refused(0, &surplus), Refused::Unprocessable);
    let surplus = AddCheckpoint { proof: extra, ..fixture.request(3, 3) };
    assert_eq!(refused(3, &surplus), Refused::Unprocessable);

    let statuses = [
        Refused::BadRequest,
        Refused::BadSignature,
        Refused::NotFound,
        Refused::Conflict { known_size: 1 },
        Refused::Forked { known_size: 1 },
        Refused::Unprocessable,
    ];
    assert_eq!(statuses.map(|refused| refused.status()), [400, 403, 404, 409, 409, 422]);
}

#[test]
fn a_forked_log_is_refused_at_the_same_size_and_beyond() {
    let honest = Fixture::new(6);
    let mut forked = Fixture::new(5);
    forked.log.append(log::leaf_hash(b"another"));
    let same = forked.request(6, 6);
    assert_eq!(honest.consider(6, &same).unwrap_err(), Refused::Forked { known_size: 6 });
    forked.log.append(log::leaf_hash(b"more"));
    let longer = forked.request(6, 7);
    assert_eq!(honest.consider(6, &longer).unwrap_err(), Refused::Unprocessable);
    let memory = WitnessMemory::of(&honest.checkpoint(6));
    assert_eq!(
        memory.advance(&honest.checkpoint(4), &ConsistencyProof::default()),
        Err(Inconsistent::Behind { known: 6, size: 4 })
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = AddCheckpoint::parse(&body);
        let _ = AddCheckpoint::parse(&[b"old 1\n\n".as_slice(), &body].concat());
    }
}

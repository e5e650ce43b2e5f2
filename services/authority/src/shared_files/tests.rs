//! Two instances over one database.

use std::sync::Barrier;

use lanyard_core::checkpoint::Checkpoint;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::ids::{Authority, EventId, Hash, Origin};
use lanyard_core::log::{Log, leaf_hash};
use lanyard_core::manifest::LogKeys;
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_core::witness_request::AddCheckpoint;
use lanyard_shareholder::{Ledger, LedgerError, Purpose};
use lanyard_store::{Owner, Schema, Store};
use lanyard_witness::Witness;

use super::*;

const SCHEMA: Schema = Schema::new(&[]);

fn event() -> EventId {
    EventId::parse("games").unwrap()
}

fn store_key() -> Arc<StoreKey> {
    Arc::new(StoreKey::from_bytes(&[7; 32]))
}

/// The files of two instances, and the store beneath.
fn two() -> Option<([Env; 2], Store, tokio::runtime::Runtime)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(lanyard_test_postgres::database())?;
    let location = Location::parse(&url, Path::new("/")).unwrap();
    let owner = Owner { party: Authority::Police, event: event() };
    let store = runtime.block_on(Store::open(&location, &owner, &SCHEMA)).unwrap();
    let instance = || {
        let env = Env::system();
        let files = SharedFiles::open(env.clone(), &location, store_key()).unwrap();
        Env { files: Arc::new(files), ..env }
    };
    Some(([instance(), instance()], store, runtime))
}

#[test]
fn whoever_is_second_has_to_read_again() {
    let Some(([one, other], ..)) = two() else { return };
    let path = Path::new("store/keys/a");
    let write =
        |env: &Env, text: &str| env.files.write_atomic(path, text.as_bytes(), Mode::Private);
    assert!(one.files.read_if_exists(path).unwrap().is_none());
    write(&one, "one").unwrap();
    assert!(write(&other, "other").unwrap_err().is_replaced());
    assert_eq!(other.files.read(path).unwrap(), b"one");
    write(&other, "other").unwrap();
    assert!(write(&one, "one again").unwrap_err().is_replaced());
    assert_eq!(one.files.read(path).unwrap(), b"other");
    assert_eq!(one.files.list(Path::new("store/keys")).unwrap(), ["a"]);
    one.files.remove(path).unwrap();
    assert!(!other.files.exists(path).unwrap());
}

#[test]
fn a_document_that_was_altered_or_moved_does_not_open() {
    let Some(([one, _], store, runtime)) = two() else { return };
    for name in ["a", "b"] {
        one.files.write_atomic(Path::new(name), b"secret words", Mode::Private).unwrap();
    }
    let documents = runtime.block_on(async {
        let bodies: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT body FROM documents").fetch_all(store.pool()).await.unwrap();
        for statement in [
            "UPDATE documents SET body = (SELECT body FROM documents WHERE name = 'a') WHERE name = 'b'",
            "UPDATE documents SET body = set_byte(body, 20, get_byte(body, 20) # 1) WHERE name = 'a'",
        ] {
            sqlx::query(statement).execute(store.pool()).await.unwrap();
        }
        bodies
    });
    assert!(documents.iter().all(|(body,)| !body.windows(6).any(|bytes| bytes == b"secret")));
    for name in ["a", "b"] {
        assert!(one.files.read(Path::new(name)).is_err(), "{name}");
    }
}

#[test]
fn two_instances_do_not_count_past_a_quota() {
    const QUOTA: u64 = 100;
    let Some((instances, ..)) = two() else { return };
    let open = |env: &Env| {
        let name = KeyName::parse("evaluations").unwrap();
        let key = SigningKey::from_seed(name, &[3; 32]);
        Ledger::open(env, Path::new("store/evaluations.note"), &event(), "police", key)
    };
    let ledgers = instances.each_ref().map(|env| open(env).unwrap());
    let counter = (Authority::Committee, Purpose::Enrolment);
    let counted: Vec<u64> = std::thread::scope(|scope| {
        let count = |place: usize| {
            let ledger = &ledgers[place];
            scope.spawn(move || {
                let mut counted = 0;
                for number in 0..40_u128 {
                    let id = (number * 2 + place as u128).to_be_bytes();
                    match ledger.charge(counter, id, Hash::new([1; 32]), 2, QUOTA) {
                        Ok(_) => counted += 2,
                        Err(LedgerError::QuotaExceeded { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                counted
            })
        };
        [0, 1].map(count).map(|thread| thread.join().unwrap()).to_vec()
    });
    assert_eq!(counted.iter().sum::<u64>(), QUOTA);
    for ledger in &ledgers {
        assert_eq!(ledger.counts().unwrap()[&counter], QUOTA);
    }
}

#[test]
fn two_instances_never_cosign_two_logs() {
    let Some((instances, ..)) = two() else { return };
    let origin = Origin::new(&event(), Authority::Committee);
    let log_key = SigningKey::from_seed(KeyName::parse(origin.as_str()).unwrap(), &[4; 32]);
    let request = |fork: u8, size: u64| {
        let mut log = Log::new();
        for leaf in 0..size {
            log.append(leaf_hash(&[fork, leaf as u8]));
        }
        let root = log.root_at(size).unwrap();
        let signed = Checkpoint::new(&origin, size, root).sign(&log_key).unwrap();
        let proof = log.consistency_proof(0, size).unwrap();
        AddCheckpoint { old: 0, proof, note: signed.note().clone() }.to_text()
    };
    let witnesses = instances.each_ref().map(|env| {
        let key = WitnessKey::generate(KeyName::parse("police").unwrap(), &mut env.rng());
        let key = key.format().to_string();
        let keys = Arc::new(move || Ok(vec![WitnessKey::parse(&key).unwrap()]));
        let log = LogKeys::from(log_key.verifying_key().clone());
        let logs = Arc::new(move || vec![log.clone()]);
        Witness::open(env.clone(), Path::new("store/witness"), keys, logs).unwrap()
    });
    for size in 1..20 {
        // Both know nothing, and are shown two logs at the same moment.
        let memory = Path::new("store/witness/lanyard_games_committee.checkpoint");
        instances[0].files.remove(memory).unwrap();
        let barrier = Barrier::new(2);
        let cosigned = std::thread::scope(|scope| {
            let ask = |fork: u8| {
                let (witness, barrier) = (&witnesses[usize::from(fork)], &barrier);
                let body = request(fork, size);
                scope.spawn(move || {
                    barrier.wait();
                    witness.add_checkpoint(body.as_bytes()).is_ok()
                })
            };
            [0, 1].map(ask).map(|thread| thread.join().unwrap())
        });
        assert_eq!(cosigned.iter().filter(|done| **done).count(), 1, "{cosigned:?} of size {size}");
    }
}

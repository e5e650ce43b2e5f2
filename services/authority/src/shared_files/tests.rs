//! Two instances over one database.

#![allow(clippy::disallowed_methods)] // threads that pass bytes on are the world around the services

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Stands between an instance and the database, and can lose an answer.
struct Wire {
    folder: tempfile::TempDir,
    /// The next answer to a statement that changed something is swallowed, and the connection ends.
    loses: Arc<AtomicBool>,
}

impl Wire {
    /// Before the server on the Unix socket that this URL names; the URL of the way through here.
    fn before(url: &str) -> (Self, String) {
        let (rest, host) = url.split_once("host=%2F").unwrap();
        let (host, _) = host.split_once('&').unwrap_or((host, ""));
        let port = rest.rsplit_once(':').unwrap().1.split('/').next().unwrap();
        let socket = format!(".s.PGSQL.{port}");
        let server = Path::new("/").join(host.replace("%2F", "/")).join(&socket);
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(&socket)).unwrap();
        let here = folder.path().display().to_string().trim_start_matches('/').replace('/', "%2F");
        let url = url.replace(host, &here);
        let wire = Self { folder, loses: Arc::default() };
        let loses = Arc::clone(&wire.loses);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), UnixStream::connect(&server).unwrap());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, |_| false));
                let loses = Arc::clone(&loses);
                std::thread::spawn(move || {
                    pass(server, client, |bytes| {
                        let is_done = [&b"UPDATE 1\0"[..], b"INSERT 0 1\0", b"DELETE 1\0"];
                        let has = |tag: &[u8]| bytes.windows(tag.len()).any(|one| one == tag);
                        is_done.into_iter().any(has) && loses.swap(false, Ordering::SeqCst)
                    });
                });
            }
        });
        (wire, url)
    }

    fn lose_an_answer(&self) {
        assert!(self.folder.path().exists());
        self.loses.store(true, Ordering::SeqCst);
    }

    fn has_lost_it(&self) -> bool {
        !self.loses.load(Ordering::SeqCst)
    }
}

/// Passes bytes on until either end is gone, or until those that `is_lost` says.
fn pass(mut from: UnixStream, mut to: UnixStream, is_lost: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if is_lost(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_write_whose_answer_is_lost_is_known_as_the_own_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(direct) = runtime.block_on(lanyard_test_postgres::database()) else { return };
    if !direct.contains("host=%2F") {
        return println!("skipped: the server is not on a Unix socket");
    }
    let (wire, url) = Wire::before(&direct);
    let open = |url: &str| Location::parse(url, Path::new("/")).unwrap();
    let owner = Owner { party: Authority::Police, event: event() };
    let _store = runtime.block_on(Store::open(&open(&direct), &owner, &SCHEMA)).unwrap();
    let files = |url| SharedFiles::open(Env::system(), &open(url), store_key()).unwrap();
    let (one, other) = (files(&url), files(&direct));
    let path = Path::new("store/signed");
    let lost = |done: Result<(), FileError>| {
        assert!(wire.has_lost_it());
        let error = done.unwrap_err();
        assert!(!error.is_replaced(), "{error}");
    };
    let write =
        |files: &SharedFiles, text: &str| files.write_atomic(path, text.as_bytes(), Mode::Private);

    // The first, a later one, and a removal: each is done, and not known to be.
    wire.lose_an_answer();
    lost(write(&one, "first"));
    assert_eq!(other.read(path).unwrap(), b"first");
    write(&one, "second").unwrap();
    wire.lose_an_answer();
    lost(write(&one, "third"));
    write(&one, "fourth").unwrap();
    assert_eq!(other.read(path).unwrap(), b"fourth");
    wire.lose_an_answer();
    lost(one.remove(path));
    write(&one, "fifth").unwrap();

    // What another has written since is another's.
    wire.lose_an_answer();
    lost(write(&one, "sixth"));
    assert_eq!(other.read(path).unwrap(), b"sixth");
    write(&other, "seventh").unwrap();
    assert!(write(&one, "eighth").unwrap_err().is_replaced());
    assert_eq!(one.read(path).unwrap(), b"seventh");
}

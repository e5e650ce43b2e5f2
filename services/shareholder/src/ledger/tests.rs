use std::sync::atomic::{AtomicU64, Ordering};

use lanyard_env::{Loss, LossyDisk};

use super::*;

const POLICE_CHECK: (Authority, Purpose) = (Authority::Police, Purpose::Check);

struct Fixture {
    env: Env,
    key: String,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let env = Env::system();
        let name = lanyard_core::note::KeyName::parse("trustee/evaluations").unwrap();
        let key = SigningKey::generate(name, &mut env.rng()).format().to_string();
        Self { env, key, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("evaluations.note")
    }

    fn open_as(&self, event: &str, key: &str) -> Result<Ledger, LedgerError> {
        let (event, key) = (EventId::parse(event).unwrap(), SigningKey::parse(key).unwrap());
        Ledger::open(&self.env, &self.path(), &event, "trustee", key)
    }

    fn open(&self) -> Ledger {
        self.open_as("games", &self.key).unwrap()
    }
}

fn id(number: u64) -> BatchId {
    u128::from(number).to_be_bytes()
}

fn digest(number: u8) -> Hash {
    Hash::new([number; 32])
}

#[test]
fn counts_are_apart_by_caller_and_purpose_and_survive_a_restart() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    let watchlist = (Authority::Police, Purpose::Watchlist);
    let charge = |ledger: &Ledger, counter, number| {
        ledger.charge(counter, id(number), digest(1), 64, 1_000).unwrap()
    };
    assert_eq!(charge(&ledger, POLICE_CHECK, 1), Charge { remaining: 936, is_retry: false });
    assert_eq!(charge(&ledger, POLICE_CHECK, 2).remaining, 872);
    assert_eq!(charge(&ledger, watchlist, 1), Charge { remaining: 936, is_retry: false });
    let ledger = fixture.open();
    assert_eq!(ledger.used(Authority::Police, Purpose::Check), 128);
    assert_eq!(ledger.used(Authority::Police, Purpose::Watchlist), 64);
    assert_eq!(ledger.used(Authority::Committee, Purpose::Enrolment), 0);
    assert_eq!(charge(&ledger, POLICE_CHECK, 1), Charge { remaining: 872, is_retry: true });
}

#[test]
fn the_last_evaluation_is_granted_and_one_more_is_not() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    ledger.charge(POLICE_CHECK, id(1), digest(1), 60, 100).unwrap();
    let refused = ledger.charge(POLICE_CHECK, id(2), digest(2), 41, 100).unwrap_err();
    assert!(matches!(refused, LedgerError::QuotaExceeded { asked: 41, remaining: 40, .. }));
    assert_eq!(ledger.charge(POLICE_CHECK, id(2), digest(2), 40, 100).unwrap().remaining, 0);
    // A retry is answered even so, also when the quota has shrunk since.
    assert!(ledger.charge(POLICE_CHECK, id(1), digest(1), 60, 100).unwrap().is_retry);
    let shrunk = ledger.charge(POLICE_CHECK, id(2), digest(2), 40, 10).unwrap();
    assert_eq!(shrunk, Charge { remaining: 0, is_retry: true });
    assert!(ledger.charge(POLICE_CHECK, id(3), digest(3), u64::MAX, u64::MAX).is_err());
}

#[test]
fn a_batch_id_cannot_be_used_for_other_elements() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    ledger.charge(POLICE_CHECK, id(1), digest(1), 64, 1_000).unwrap();
    for (digest, elements) in [(digest(2), 64), (digest(1), 65)] {
        let refused = ledger.charge(POLICE_CHECK, id(1), digest, elements, 1_000);
        assert!(matches!(refused, Err(LedgerError::BatchReused { .. })));
    }
    assert_eq!(ledger.used(Authority::Police, Purpose::Check), 64);
}

#[test]
fn only_recent_batches_are_remembered() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    for number in 0..=RECENT_BATCHES as u64 {
        ledger.charge(POLICE_CHECK, id(number), digest(1), 1, 1_000).unwrap();
    }
    let size = fixture.env.files.read(&fixture.path()).unwrap().len();
    assert!(size < 32 * 1_024, "{size} bytes");
    let ledger = fixture.open();
    let is_retry =
        |number| ledger.charge(POLICE_CHECK, id(number), digest(1), 1, 1_000).unwrap().is_retry;
    assert!(is_retry(1));
    assert!(!is_retry(0));
}

#[test]
fn threads_together_get_no_more_than_the_quota() {
    let fixture = Fixture::new();
    let (ledger, granted) = (fixture.open(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (ledger, granted) = (&ledger, &granted);
            scope.spawn(move || {
                for number in 0..10 {
                    let id = id(100 * thread + number);
                    if ledger.charge(POLICE_CHECK, id, digest(1), 7, 100).is_ok() {
                        granted.fetch_add(7, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 98);
    assert_eq!(ledger.used(Authority::Police, Purpose::Check), 98);
}

#[test]
fn an_edited_or_foreign_ledger_is_refused() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    ledger.charge(POLICE_CHECK, id(1), digest(1), 64, 1_000).unwrap();
    let other_event = fixture.open_as("games-2", &fixture.key).err().unwrap();
    assert!(matches!(other_event, LedgerError::Malformed { line: 1, .. }), "{other_event}");
    let other_key = Fixture::new().key;
    let refused = fixture.open_as("games", &other_key).err().unwrap();
    assert!(matches!(refused, LedgerError::Note { .. }), "{refused}");

    let kept = String::from_utf8(fixture.env.files.read(&fixture.path()).unwrap()).unwrap();
    for edited in ["", &kept[..kept.len() / 2], &kept.replacen("check 64", "check 0", 1)] {
        fixture.env.files.write_atomic(&fixture.path(), edited.as_bytes(), Mode::Private).unwrap();
        let refused = fixture.open_as("games", &fixture.key).err().unwrap();
        assert!(matches!(refused, LedgerError::Note { .. }), "{refused}");
    }
}

#[test]
fn signed_nonsense_is_named_by_line() {
    let fixture = Fixture::new();
    let key = SigningKey::parse(&fixture.key).unwrap();
    let title = "lanyard/games/evaluations/trustee";
    for (line, text) in [
        (1, "hello\n".to_owned()),
        (2, format!("{title}\nx\n")),
        (3, format!("{title}\n1\ncount gate check 1\n")),
        (3, format!("{title}\n1\ncount police fun 1\n")),
        (3, format!("{title}\n1\nbatch police check 1 AAAA AAAA\n")),
        (4, format!("{title}\n1\ncount police check 1\ncount police check 1\n")),
        (4, format!("{title}\n1\ncount police check 1\nbatch police check 1 AAAA AAAA\n")),
        (4, format!("{title}\n1\ncount police check 1\n\n")),
    ] {
        let note = Note::sign(&text, &[&key]).unwrap().to_string();
        fixture.env.files.write_atomic(&fixture.path(), note.as_bytes(), Mode::Private).unwrap();
        match fixture.open_as("games", &fixture.key).err().unwrap() {
            LedgerError::Malformed { line: found, .. } => assert_eq!(found, line, "{text}"),
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_ledger_with_its_own_key_starts_once() {
    let (env, folder) = (Env::system(), tempfile::tempdir().unwrap());
    let folder = folder.path().join("data");
    let open = || Ledger::open_in(&env, &folder, &EventId::parse("games").unwrap(), "trustee");
    let first = open().unwrap();
    first.charge(POLICE_CHECK, id(1), digest(1), 64, 1_000).unwrap();
    let again = open().unwrap();
    assert_eq!(again.verifying_key(), first.verifying_key());
    assert_eq!(again.used(Authority::Police, Purpose::Check), 64);

    let [ledger, key, new_key] = ["evaluations.note", "evaluations.key", "evaluations.key.new"]
        .map(|name| folder.join(name));
    for gone in [&ledger, &key] {
        let kept = env.files.read(gone).unwrap();
        env.files.remove(gone).unwrap();
        assert!(matches!(open(), Err(LedgerError::Lost { path }) if path == *gone));
        env.files.write_atomic(gone, &kept, Mode::Private).unwrap();
    }

    // A first start that was interrupted before or after the ledger was made.
    env.files.rename(&key, &new_key).unwrap();
    assert_eq!(open().unwrap().used(Authority::Police, Purpose::Check), 0);
    env.files.rename(&key, &new_key).unwrap();
    env.files.remove(&ledger).unwrap();
    assert_eq!(open().unwrap().used(Authority::Police, Purpose::Check), 0);
    assert!(env.files.exists(&key).unwrap() && !env.files.exists(&new_key).unwrap());
}

#[test]
fn counts_are_read_beside_a_running_holder_and_verified() {
    let (env, folder) = (Env::system(), tempfile::tempdir().unwrap());
    let event = EventId::parse("games").unwrap();
    let counts = || Ledger::counts_in(&env, folder.path(), &event, "trustee");
    assert!(counts().unwrap().is_empty());
    let ledger = Ledger::open_in(&env, folder.path(), &event, "trustee").unwrap();
    ledger.charge(POLICE_CHECK, id(1), digest(1), 7, 10).unwrap();
    assert_eq!(counts().unwrap(), Counts::from([(POLICE_CHECK, 7)]));
    assert_eq!(counts().unwrap(), ledger.counts().unwrap());
    let other = Ledger::counts_in(&env, folder.path(), &event, "police");
    assert!(matches!(other, Err(LedgerError::Malformed { line: 1, .. })));

    let path = folder.path().join("evaluations.note");
    let text = String::from_utf8(env.files.read(&path).unwrap()).unwrap();
    let fewer = text.replace("count police check 7", "count police check 1");
    env.files.write_atomic(&path, fewer.as_bytes(), Mode::Private).unwrap();
    assert!(matches!(counts(), Err(LedgerError::Note { .. })));
    env.files.remove(&path).unwrap();
    assert!(matches!(counts(), Err(LedgerError::Lost { .. })));
}

/// Whatever the machine loses, what was counted stays counted, and nothing is counted twice.
#[test]
fn no_call_at_which_it_stops_makes_a_holder_forget() {
    let (event, folder) = (EventId::parse("games").unwrap(), Path::new("/data/evaluations"));
    let mut crashes = 0;
    for calls in 0.. {
        let mut ended = true;
        for loss in [Loss::None, Loss::All, Loss::Some(calls)] {
            let disk = LossyDisk::new();
            let env = Env { files: disk.files(), ..Env::system() };
            let open = || Ledger::open_in(&env, folder, &event, "trustee");
            disk.stop_after(calls);
            let mut counted = 0;
            if let Ok(ledger) = open() {
                for number in 0..3 {
                    match ledger.charge(POLICE_CHECK, id(number), digest(1), 64, 1_000) {
                        Ok(_) => counted += 1,
                        Err(error) => {
                            assert!(matches!(error, LedgerError::File(_)), "{error}");
                            break;
                        }
                    }
                }
            }
            let stopped = disk.is_stopped();
            crashes += u32::from(stopped);
            ended &= !stopped;
            disk.restart(loss);
            env.files.settle(Path::new("/")).unwrap();

            let ledger = open().unwrap();
            let used = ledger.used(POLICE_CHECK.0, POLICE_CHECK.1);
            // One more may be counted, whose answer never left: its retry is free.
            assert!(
                used == counted * 64 || used == (counted + 1) * 64,
                "{calls}, {loss:?}: {used}"
            );
            for number in 0..counted {
                let again = ledger.charge(POLICE_CHECK, id(number), digest(1), 64, 1_000);
                assert!(again.unwrap().is_retry, "{calls}, {loss:?}");
            }
            let counts = ledger.counts().unwrap();
            disk.restart(Loss::All);
            assert_eq!(Ledger::counts_in(&env, folder, &event, "trustee").unwrap(), counts);
        }
        if ended {
            break;
        }
    }
    assert!(crashes > 60, "only {crashes} crashes");
}

/// Every byte of ledger and key counts.
#[test]
fn a_flipped_bit_anywhere_stops_the_holder() {
    let (event, folder) = (EventId::parse("games").unwrap(), Path::new("/data/evaluations"));
    let disk = LossyDisk::new();
    let env = Env { files: disk.files(), ..Env::system() };
    let open = || Ledger::open_in(&env, folder, &event, "trustee");
    open().unwrap().charge(POLICE_CHECK, id(1), digest(1), 64, 1_000).unwrap();
    for path in disk.paths() {
        for place in 0..env.files.read(&path).unwrap().len() {
            disk.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
            let Err(refused) = open() else {
                panic!("byte {place} of {} does not count", path.display())
            };
            let text = refused.to_string();
            assert!(text.contains("/data/evaluations/") && text.contains("restore it"), "{text}");
            disk.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
        }
    }
    assert_eq!(open().unwrap().used(POLICE_CHECK.0, POLICE_CHECK.1), 64);
}

//! An authority's publisher over a store and a disk that fail at one moment: nothing that it read once is lost to publication.

#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lanyard_authority::{
    Changes, Entry, Held, OwnAudienceKeys, Registry, Station, StationConfig, StationError,
};
use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Authority, Handle, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::record::{Minutes, ProfileId, Record, SealedRecord, Status};
use lanyard_env::Env;
use lanyard_feed::{Lookup, Mirror};
use lanyard_party::PartyConfig;
use lanyard_store::{Schema, StoreError};
use lanyard_tests::{Call, RefusingDisk, TestEvent, eventually, run_together, sample_plan};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Changes of one page.
const PAGE: usize = 2;
const PRINTS: u64 = 5;

/// A store that can be told not to answer.
#[derive(Clone, Default)]
struct Prints(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Each print's last change.
    changed: HashMap<u64, (u64, Status)>,
    newest: u64,
    /// Which of the coming questions fails, from 1.
    fails: Option<u32>,
}

impl Prints {
    fn set(&self, print: u64, status: Status) {
        let mut state = self.0.lock().unwrap();
        state.newest += 1;
        let newest = state.newest;
        state.changed.insert(print, (newest, status));
    }

    /// The question that comes next but `questions - 1` is not answered.
    fn fail_in(&self, questions: u32) {
        self.0.lock().unwrap().fails = Some(questions);
    }

    fn has_failed(&self) -> bool {
        self.0.lock().unwrap().fails.is_none()
    }
}

fn seed(print: u64) -> Seed {
    Seed::from_bytes([print as u8; 32])
}

impl Registry for Prints {
    type Error = StoreError;

    async fn changes(&self, after: u64, _: u32) -> Result<Changes, StoreError> {
        let mut state = self.0.lock().unwrap();
        // Ticks that find nothing new do not count.
        if let Some(left) = state.fails.filter(|_| after < state.newest) {
            state.fails = left.checked_sub(1).filter(|left| *left > 0);
            if state.fails.is_none() {
                return Err(StoreError::Unavailable { problem: "no answer".to_owned() });
            }
        }
        let mut found: Vec<_> =
            state.changed.iter().filter(|(_, (changed, _))| *changed > after).collect();
        found.sort_unstable_by_key(|(_, (changed, _))| *changed);
        found.truncate(PAGE);
        let cursor = found.last().map_or(after, |(_, (changed, _))| *changed);
        let entry = |(print, (_, status)): (&u64, &(u64, Status))| Entry {
            id: *print,
            seeds: vec![(Audience::Gate, seed(*print))],
            record: Record {
                status: *status,
                profile: ProfileId::UNRESTRICTED,
                not_before: Minutes::MIN,
                not_after: Minutes::MAX,
                binding: Binding::NONE,
            },
        };
        Ok(Changes { entries: found.into_iter().map(entry).collect(), cursor })
    }

    async fn hold(&self, _: &[Held], _: u64, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn profiles(&self) -> Result<ProfileTable, StoreError> {
        Ok(ProfileTable::default())
    }
}

/// The committee's publisher, which nobody witnesses or follows.
struct World {
    event: TestEvent,
    prints: Prints,
    own: Arc<Mirror>,
    keys: OwnAudienceKeys,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), StationError>>,
}

impl World {
    async fn start(disk: RefusingDisk) -> Self {
        let event = TestEvent::make(&sample_plan());
        let env = Env { files: Arc::new(disk), ..Env::system() };
        let path = event.folder("committee").join("config.toml");
        let config: PartyConfig<StationConfig> = PartyConfig::read(&*env.files, &path).unwrap();
        let schema = Schema::new(&[]);
        let station = Station::open(Authority::Committee, config, env, &schema).await.unwrap();
        let (own, keys) = (Arc::clone(station.own()), station.own_audience_keys().unwrap());
        let (prints, shutdown) = (Prints::default(), CancellationToken::new());
        let running = station.run(Default::default(), prints.clone(), shutdown.clone());
        let running = tokio::spawn(running);
        let world = Self { event, prints, own, keys, shutdown, running };
        // An event begins before anybody is there; a store without a log would be one whose log is lost.
        eventually("it publishes", async || (world.own.read().size() > 0).then_some(())).await;
        world.set_all(Status::Valid);
        world.all_say(Status::Valid).await;
        world
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
        drop(self.event);
    }

    fn set_all(&self, status: Status) {
        for print in 1..=PRINTS {
            self.prints.set(print, status);
        }
    }

    /// Waits until the newest signed directory says this of every print.
    async fn all_say(&self, status: Status) {
        for print in 1..=PRINTS {
            eventually(&format!("print {print} is {status:?}"), async || {
                (self.published(print)? == status).then_some(())
            })
            .await;
        }
    }

    fn published(&self, print: u64) -> Option<Status> {
        let view = self.own.read();
        let epoch = view.signed()?.head().live_epoch;
        let key = seed(print).epoch_key(&view.signed()?.head().event, epoch);
        let handle = key.handle();
        let found = view.directory(epoch, Audience::Gate)?.lookup_signed(&handle);
        let Lookup::Found(sealed) = found else { return None };
        let audience_key = self.keys.get(epoch, Audience::Gate).unwrap()?;
        let record_key = key.record_key(&audience_key);
        Some(sealed.open(&record_key, self.own.origin(), epoch, &handle).unwrap().status)
    }

    /// The gates' rows, and the size of the log that they are of.
    fn rows(&self) -> (u64, HashMap<Handle, SealedRecord>) {
        let view = self.own.read();
        let epoch = view.signed().unwrap().head().live_epoch;
        let rows = view.directory(epoch, Audience::Gate).unwrap().rows();
        (view.size(), rows.map(|row| (row.handle, row.record)).collect())
    }
}

#[test]
fn what_was_read_before_the_next_page_failed_is_published() {
    run_together(async {
        let world = World::start(RefusingDisk::new(|_, _| None)).await;
        for (failing, status) in [(2, Status::Suspended), (3, Status::Valid)] {
            world.prints.fail_in(failing);
            world.set_all(status);
            world.all_say(status).await;
            assert!(world.prints.has_failed());
        }
        world.stop().await;
    });
}

/// Refuses to write this file so many times.
fn refusing(name: &'static str) -> (RefusingDisk, Arc<AtomicU32>) {
    let left = Arc::new(AtomicU32::new(0));
    let refuses = Arc::clone(&left);
    let disk = RefusingDisk::new(move |call, path: &Path| {
        let is_it = call == Call::Write && path.ends_with(name);
        let refused = is_it
            && refuses
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        refused.then_some(std::io::ErrorKind::StorageFull)
    });
    (disk, left)
}

#[test]
fn what_was_read_before_the_disk_refused_is_published() {
    run_together(async {
        for name in ["data/signed", "feeds/committee/draft"] {
            let (disk, refuses) = refusing(name);
            let world = World::start(disk).await;
            refuses.store(2, Ordering::SeqCst);
            world.set_all(Status::Suspended);
            world.all_say(Status::Suspended).await;
            assert_eq!(refuses.load(Ordering::SeqCst), 0, "{name}");
            world.stop().await;
        }
    });
}

/// A tick that is on the disk when it is refused goes out later, and the ones that follow begin where it ended: a row that is
/// sealed anew has a version of its own.
#[test]
fn a_tick_that_was_refused_after_it_was_written_is_where_the_next_begins() {
    run_together(async {
        let next = Arc::new(Mutex::new(None));
        let refuses = Arc::clone(&next);
        let disk = RefusingDisk::new(move |call, path: &Path| {
            let mut next = refuses.lock().unwrap();
            let is_it = path.ends_with("feeds/committee/draft") && *next == Some(call);
            match call {
                Call::Write if is_it => *next = Some(Call::Read),
                Call::Read if is_it => *next = None,
                _ => return None,
            }
            (call == Call::Read).then_some(std::io::ErrorKind::StorageFull)
        });
        let world = World::start(disk).await;
        // The next draft is written, and does not read back.
        *next.lock().unwrap() = Some(Call::Write);
        world.set_all(Status::Suspended);
        let mut seen = vec![world.rows()];
        while seen.len() < 6 {
            let rows = world.rows();
            if rows.0 > seen[seen.len() - 1].0 {
                seen.push(rows);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(*next.lock().unwrap(), None);
        for pair in seen.windows(2) {
            let [(before, old), (after, new)] = pair else { continue };
            for (handle, record) in new {
                let is_new = old
                    .get(handle)
                    .is_none_or(|old| old == record || old.version() < record.version());
                assert!(is_new, "a row of {before} was sealed anew under its version at {after}");
            }
        }
        world.all_say(Status::Suspended).await;
        world.stop().await;
    });
}

//! Screening that is killed at every step goes on, and asks for nothing twice.

#[path = "../../../shareholder/tests/support/mod.rs"]
mod holders;
mod police;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use lanyard_core::ids::{EventId, Timestamp};
use lanyard_env::{Env, ManualClock};
use lanyard_party::StoreKey;
use lanyard_shareholder::Purpose;
use lanyard_store::{SealKey, Store};
use lanyard_test_postgres::{TestStore, damage};
use lanyard_wire::committee::v1 as wire;
use tokio::sync::Mutex;

use self::holders::Committee;
use self::police::FakePolice;
use super::{Screening, ScreeningError};
use crate::badges::{SEEDS, seeds_cell};
use crate::import::Import;
use crate::person::{Rules, check};
use crate::profiles::{self, ProfileIndex};
use crate::registry::SEALED;
use crate::states::PrintState;

/// Elements of a batch: one padding's worth, so that few people make several batches.
const BATCH: usize = 64;
const STORE_KEY: [u8; 32] = [5; 32];
/// Enough people for several batches.
const PEOPLE: usize = 12;

struct World {
    holders: Committee,
    police: FakePolice,
    _place: TestStore,
    store: Store,
}

impl World {
    async fn new() -> Self {
        Self::over(TestStore::new().await).await
    }

    async fn over(place: TestStore) -> Self {
        let mut holders = Committee::new();
        (holders.settings.batch, holders.settings.concurrency) = (BATCH, 2);
        let store = crate::tests::open(&place).await;
        let store = store.with_seals(SealKey::from_bytes([5; 32]), SEALED).await.unwrap();
        let profile = wire::Profile {
            code: "village".into(),
            category: "athlete".into(),
            sessions: vec!["daily 06:00-23:00".into()],
            ..Default::default()
        };
        profiles::put(&store, vec![profile]).await.unwrap();
        let world = Self { holders, police: FakePolice::default(), _place: place, store };
        world.import((0..PEOPLE).map(person).collect()).await;
        world
    }

    async fn import(&self, people: Vec<wire::Person>) {
        let index = ProfileIndex::load(&self.store).await.unwrap();
        let mut import = Import::new(event(), vec!["athlete".into()], index);
        (1..).zip(people).for_each(|(line, person)| import.row(line, person));
        let env = Env::for_test(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
        let mode = wire::ImportMode::AllOrNothing;
        import.finish(&self.store, &env, "registrar", mode, false).await.unwrap();
    }

    /// The service after a start.
    fn screening(&self) -> Screening {
        Screening {
            store: self.store.clone(),
            env: Env::system(),
            event: event(),
            store_key: Arc::new(StoreKey::from_bytes(&STORE_KEY)),
            pseudonymiser: self.holders.pseudonymiser(),
            police: self.police.client(),
            running: Mutex::new(()),
        }
    }

    async fn run(&self) -> Result<wire::ScreenResponse, ScreeningError> {
        let mut last = wire::ScreenResponse::default();
        self.screening().run(|progress| last = progress).await?;
        Ok(last)
    }

    /// Runs it to the end; then everyone is screened, and each key was evaluated once.
    async fn finish(&self) {
        // Verdicts are read after a start before anyone asks to go on.
        self.screening().fetch_verdicts().await.unwrap();
        let last = self.run().await.unwrap();
        let needed = needed();
        assert_eq!(last.evaluations, needed);
        assert_eq!(self.holders.holders[0].0.used(Purpose::Enrolment), needed);
        assert_eq!(self.count("SELECT COUNT(*) FROM screening_batches").await, 0);
        // The verdicts came at once, before the batches were closed, and are not lost.
        assert_eq!(
            self.count("SELECT COUNT(*) FROM people WHERE screening = 3").await,
            PEOPLE as i64
        );
        assert_eq!(self.police.subjects(), PEOPLE);
        assert_eq!(self.police.conflicts(), 0);
        assert!(self.police.all_padded());
    }

    /// A print for everyone, as a station registers it.
    async fn issue(&self) {
        let key = StoreKey::from_bytes(&STORE_KEY);
        let mut transaction = self.store.begin().await.unwrap();
        for id in 1..=PEOPLE as i64 {
            let seeds = key.seal(seeds_cell(id), &[7; SEEDS], &mut Env::system().rng());
            sqlx::query("UPDATE prints SET state = $1, seeds = $2 WHERE id = $3")
                .bind(PrintState::Issued.number())
                .bind(seeds)
                .bind(id)
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        transaction.commit().await.unwrap();
    }

    /// As a writer: what was sent to be committed before a kill is seen.
    async fn count(&self, query: &'static str) -> i64 {
        let mut transaction = self.store.begin().await.unwrap();
        let (count,): (i64,) = sqlx::query_as(query).fetch_one(&mut *transaction).await.unwrap();
        count
    }
}

fn event() -> EventId {
    EventId::parse("games").unwrap()
}

fn person(number: usize) -> wire::Person {
    let letter = |digit: usize| char::from(b'a' + (digit % 10) as u8);
    wire::Person {
        reference: format!("A-{number}"),
        full_name: format!("Erika {}{}x", letter(number / 10), letter(number)),
        birth_date: "1990-02-28".into(),
        documents: vec![wire::Document {
            kind: "passport".into(),
            issuer: "UTO".into(),
            number: format!("X{number}"),
        }],
        category: "athlete".into(),
        profile: "village".into(),
        ..Default::default()
    }
}

/// Evaluations that all people take: batches are filled in their order, and padded.
fn needed() -> u64 {
    let profile = |_: &str| Some(1);
    let rules = Rules { categories: &["athlete".to_owned()], profile: &profile };
    let (mut needed, mut batch) = (0, 0);
    for number in 0..PEOPLE {
        let applicant = check(person(number), &rules).unwrap_or_else(|_| panic!("{number}"));
        let keys = applicant.identity.keys(&event()).len();
        if batch + keys > BATCH {
            needed += batch.next_multiple_of(BATCH);
            batch = 0;
        }
        batch += keys;
    }
    (needed + batch.next_multiple_of(BATCH)) as u64
}

/// Runs a future for so many polls, then drops it as a kill would; `None` if it was dropped.
async fn killed_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_nothing_is_asked_twice_or_lost() {
    let mut polls = 1;
    loop {
        let world = World::new().await;
        let done = killed_after(polls, world.run()).await.is_some();
        world.finish().await;
        if done {
            break;
        }
        polls += 1;
    }
    assert!(polls > 10, "it was killed {polls} times only");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_arrives() {
    let world = World::new().await;
    for polls in 1.. {
        if killed_after(polls, world.run()).await.is_some() {
            break;
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_police_away_pseudonyms_are_computed_once() {
    let world = World::new().await;
    world.police.away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(matches!(world.run().await, Err(ScreeningError::Police(_))));
    }
    world.police.away.store(false, Ordering::SeqCst);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changed_meanwhile_is_screened_as_changed() {
    let world = World::new().await;
    world.police.away.store(true, Ordering::SeqCst);
    assert!(world.run().await.is_err());
    world.police.away.store(false, Ordering::SeqCst);
    world.import(vec![wire::Person { full_name: "Someone Else".into(), ..person(0) }]).await;
    let last = world.run().await.unwrap();
    assert_eq!(world.police.subjects(), PEOPLE);
    assert_eq!(world.police.conflicts(), 0, "what was submitted is what stands now");
    assert_eq!(world.count("SELECT COUNT(*) FROM people WHERE screening = 1").await, 0);
    // The keys of one more, in a batch with others or in one of their own.
    let needed = needed();
    assert!((needed..=needed + 64).contains(&last.evaluations), "{}", last.evaluations);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_police_is_sealed() {
    let world = World::new().await;
    world.holders.holders.iter().for_each(|(_, net)| net.set_down(true));
    assert!(world.run().await.is_err());
    let bodies: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT body FROM screening_batches")
        .fetch_all(world.store.pool())
        .await
        .unwrap();
    assert!(!bodies.is_empty());
    for (body,) in bodies {
        assert!(!body.windows(5).any(|bytes| bytes == b"ERIKA"), "a name in clear");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_neither_screened_nor_handed_over_and_all_else_is() {
    let world = World::over(TestStore::sqlite()).await;
    let pool = world.store.pool();
    let flipped = damage(pool, "people", "full_name", "badge_number = 5").await;
    world.run().await.unwrap();
    assert_eq!(world.police.subjects(), PEOPLE - 1);
    flipped.undo(pool).await;
    world.run().await.unwrap();
    assert_eq!(world.police.subjects(), PEOPLE);

    world.issue().await;
    let mut handed_over = 0;
    for (table, column) in [("prints", "seeds"), ("prints", "print_number"), ("people", "status")] {
        let flipped = damage(pool, table, column, "badge_number = 5").await;
        world.screening().hand_over_prints().await.unwrap();
        assert!(world.police.prints() < PEOPLE, "{table}.{column}");
        handed_over = world.police.prints();
        flipped.undo(pool).await;
    }
    assert_eq!(handed_over, PEOPLE - 1);
    assert_eq!(world.screening().hand_over_prints().await.unwrap(), 1);
    assert_eq!(world.police.prints(), PEOPLE);
}

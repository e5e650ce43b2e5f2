//! An import that is killed at every step goes on, and asks for nothing twice.

#[path = "../../../shareholder/tests/support/mod.rs"]
mod holders;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures::StreamExt as _;
use lanyard_core::identity::Facts;
use lanyard_core::ids::Authority;
use lanyard_shareholder::{Holder, Pseudonymiser, Purpose};
use lanyard_transport::PartyName;
use lanyard_wire::police::v1 as wire;
use tonic::Status;

use self::holders::{Dealer, Net, TestHolder, Wrapped, service};
use super::world::{OFFICER, World, entry, event};
use crate::watchlist::{self, Entries, Import, ImportError, Source};

/// Entries for several batches of 64 keys.
const ENTRIES: usize = 12;
/// Elements of a batch: one padding's worth, so that few entries make several batches.
const BATCH: usize = 64;

struct Police {
    world: World,
    dealer: Dealer,
    trustee: TestHolder,
    net: Net,
}

impl Police {
    async fn new() -> Self {
        let dealer = Dealer::new(2, 3);
        let trustee = TestHolder::new(3, PartyName::Trustee);
        let wrapped = Wrapped::honest(trustee.server(&dealer));
        let net = Net::serve(wrapped, service(PartyName::Police));
        Self { world: World::new().await, dealer, trustee, net }
    }

    async fn import(
        &self,
        source: Source<'_>,
        entries: Vec<Result<wire::ListEntry, Status>>,
    ) -> Result<wire::ImportWatchlistResponse, ImportError> {
        let holder = Holder {
            index: lanyard_core::threshold::ShareIndex::new(3).unwrap(),
            name: "trustee".to_owned(),
            channel: self.net.channel(),
        };
        let settings =
            lanyard_shareholder::Settings { batch: BATCH, concurrency: 2, ..Default::default() };
        let (env, own) = (self.dealer.env.clone(), self.dealer.held(2));
        let pseudonymiser = Pseudonymiser::new(env, own, vec![holder], settings).unwrap();
        let import = Import {
            store: &self.world.store,
            lists: &self.world.lists,
            pseudonymiser: &pseudonymiser,
            event: &event(),
            env: &self.world.env,
            act: &|| self.world.act(OFFICER),
        };
        import.run(source, futures::stream::iter(entries).boxed(), &mut |_| {}).await
    }

    async fn list(&self) -> Result<wire::ImportWatchlistResponse, ImportError> {
        self.import(source(), entries()).await
    }

    fn used(&self) -> u64 {
        self.trustee.ledger().unwrap().used(Authority::Police, Purpose::Watchlist)
    }

    /// Imports to the end: then the whole list is there, and each key was evaluated once.
    async fn finish(&self) {
        let last = self.list().await.unwrap();
        let (keys, needed) = needed();
        assert_eq!((last.entries, last.keys), (ENTRIES as u64, keys));
        assert_eq!((last.evaluations, self.used()), (needed, needed));
        self.whole().await;
    }

    /// The list is there with all its keys, and nothing is left beside it.
    async fn whole(&self) {
        let lists = watchlist::list(&self.world.store).await.unwrap();
        assert_eq!((lists[0].entries, lists[0].keys), (ENTRIES as u64, needed().0));
        // The padding of an entry is there, and once.
        let padded: i64 =
            sizes().into_iter().map(|keys| keys.next_multiple_of(Facts::ENTRY_KEYS) as i64).sum();
        assert_eq!(self.count("SELECT COUNT(*) FROM list_keys").await, padded);
        assert_eq!(self.count("SELECT COUNT(*) FROM list_batches").await, 0);
        assert_eq!(self.count("SELECT COUNT(*) FROM list_imports").await, 0);
        assert_eq!(self.count("SELECT COUNT(*) FROM staged_entries").await, 0);
    }

    /// As a writer: what was sent to be committed before a kill is seen.
    async fn count(&self, query: &'static str) -> i64 {
        let mut transaction = self.world.store.begin().await.unwrap();
        let (count,): (i64,) = sqlx::query_as(query).fetch_one(&mut *transaction).await.unwrap();
        count
    }
}

fn source() -> Source<'static> {
    Source { list: "list", content: b"content", announced: ENTRIES as u64 }
}

fn entries() -> Vec<Result<wire::ListEntry, Status>> {
    let letter = |digit: usize| char::from(b'a' + (digit % 10) as u8);
    let name = |number: usize| format!("Erika {}{}x", letter(number / 10), letter(number));
    (0..ENTRIES).map(|n| Ok(entry(&format!("L-{n}"), &name(n), &[&format!("X{n}")]))).collect()
}

/// How many keys each entry gives.
fn sizes() -> Vec<usize> {
    let mut read = Entries::new(event());
    entries().into_iter().map(|entry| read.add(entry.unwrap()).unwrap().keys.len()).collect()
}

/// Keys of all entries, and evaluations that they take: batches are filled in their order, and padded.
fn needed() -> (u64, u64) {
    let (mut needed, mut batch) = (0, 0);
    for keys in sizes() {
        if batch + keys > BATCH {
            needed += batch.next_multiple_of(BATCH);
            batch = 0;
        }
        batch += keys;
    }
    needed += batch.next_multiple_of(BATCH);
    (sizes().into_iter().sum::<usize>() as u64, needed as u64)
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
        let police = Police::new().await;
        if killed_after(polls, police.list()).await.is_some() {
            police.whole().await;
            break;
        }
        // It may have been killed between the end and the answer; then the whole list is imported once more.
        if police.count("SELECT COUNT(*) FROM watchlists").await == 0 {
            police.finish().await;
        }
        polls += 1;
    }
    assert!(polls > 10, "it was killed {polls} times only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_breaks_off_goes_on_and_leaves_the_old_one_until_then() {
    let police = Police::new().await;
    police.world.import("list", vec![entry("old", "Old Sample", &[])]).await;
    let old = watchlist::list(&police.world.store).await.unwrap();
    let mut broken = entries();
    broken.truncate(8);
    broken.push(Err(Status::cancelled("gone")));
    assert!(matches!(police.import(source(), broken).await, Err(ImportError::Entries(_))));
    let mut short = entries();
    short.truncate(10);
    let short = police.import(source(), short).await;
    assert!(matches!(short, Err(ImportError::Count { received: 10, announced: 12 })));
    let lists = watchlist::list(&police.world.store).await.unwrap();
    assert_eq!(lists, old, "the old list stands");
    let last = police.list().await.unwrap();
    assert!(last.resumed >= 8, "{} resumed", last.resumed);
    assert_eq!(last.evaluations, police.used());
    police.whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_another_list_is_settled_first() {
    let police = Police::new().await;
    // Killed when batches are open.
    let mut polls = 1;
    while police.count("SELECT COUNT(*) FROM list_batches").await == 0 {
        assert!(killed_after(polls, police.list()).await.is_none());
        polls += 1;
    }
    let other = vec![Ok(entry("L-1", "Other Sample", &[]))];
    let source = Source { list: "other", content: b"", announced: 0 };
    police.import(source, other).await.unwrap();
    assert_eq!(police.count("SELECT COUNT(*) FROM list_batches").await, 0);
    let last = police.list().await.unwrap();
    assert_eq!(police.used(), last.evaluations + 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_under_the_same_name_begins_anew() {
    let police = Police::new().await;
    let mut broken = entries();
    broken.push(Err(Status::cancelled("gone")));
    assert!(police.import(source(), broken).await.is_err());
    let source = Source { content: b"other content", ..source() };
    let last = police.import(source, entries()).await.unwrap();
    assert_eq!((last.resumed, last.keys), (0, needed().0));
    police.whole().await;
}

//! A police store with a clock of its own.

use std::sync::Arc;

use lanyard_authority::{Entry, Registry as _};
use lanyard_core::identity::{
    BirthDate, BirthDates, Document, DocumentKind, Facts, IdentityKey, Name,
};
use lanyard_core::ids::{Authority, EventId, Timestamp};
use lanyard_core::record::Record;
use lanyard_env::{Env, ManualClock};
use lanyard_party::StoreKey;
use lanyard_store::{AuditEntry, AuditTrail, Location, Owner, Rereads, SealKey, Store};
use lanyard_test_postgres::TestStore;
use lanyard_wire::police::v1 as wire;

use crate::act::Act;
use crate::ids::{LocalHash, SubjectId};
use crate::lists::Lists;
use crate::prints::{self, Print, PrintError, PrintSeeds};
use crate::registry::{PrintRegistry, SEALED};
use crate::release::{self, Released};
use crate::schema::SCHEMA;
use crate::states::Verdict;
use crate::subjects::{self, Submission};
use crate::watchlist::{self, Entries, ImportId, StagedKey};
use crate::{case, cases};

pub(super) const OFFICER: &str = "spiffe://police/operator/o-1";
pub(super) const SECOND: &str = "spiffe://police/operator/o-2";
pub(super) const COMMITTEE: &str = "spiffe://committee/service/committee";
/// How long verdicts wait, in milliseconds.
pub(super) const DELAY: u64 = 10_000;

pub(super) struct World {
    pub(super) env: Env,
    pub(super) clock: ManualClock,
    pub(super) store: Store,
    pub(super) lists: Arc<Lists>,
    pub(super) registry: PrintRegistry,
    /// Of the verdicts.
    rereads: Rereads,
    pub(super) place: TestStore,
    location: Location,
}

pub(super) fn store_key() -> StoreKey {
    StoreKey::from_bytes(&[7; 32])
}

pub(super) fn event() -> EventId {
    EventId::parse("games").unwrap()
}

async fn open(location: &Location) -> Store {
    let owner = Owner { party: Authority::Police, event: event() };
    let store = Store::open(location, &owner, &SCHEMA).await.unwrap();
    let seals = SealKey::from_bytes(store_key().row_key());
    store.with_seals(seals, SEALED).await.unwrap()
}

pub(super) fn passport(number: &str) -> IdentityKey {
    IdentityKey::document(&event(), &Document::new(DocumentKind::Passport, "UTO", number).unwrap())
}

pub(super) fn person(name: &str) -> IdentityKey {
    let birth_date = BirthDate::parse("1990-01-31").unwrap();
    IdentityKey::name_and_birth_date(&event(), &Name::parse(name).unwrap(), birth_date)
}

/// Every key of somebody of that name, born when [`person`]s are.
pub(super) fn keys(name: &str) -> Vec<IdentityKey> {
    let facts = Facts {
        names: vec![Name::parse(name).unwrap()],
        birth_dates: BirthDates::parse("1990-01-31").unwrap(),
        documents: vec![],
    };
    facts.person_keys(&event())
}

/// Stands in for the pseudonym function: as long, and equal for equal keys.
pub(super) fn pseudonym(key: &IdentityKey) -> [u8; 64] {
    let half = store_key().local_hash("stand-in", key.as_bytes());
    [half, half].concat().try_into().unwrap()
}

pub(super) fn hash(key: &IdentityKey) -> LocalHash {
    LocalHash::of(&store_key(), &pseudonym(key))
}

pub(super) fn id(number: u8) -> SubjectId {
    SubjectId::new([number; 16])
}

/// Both seeds of the only print of a subject.
pub(super) fn seeds(number: u8) -> ([u8; 32], [u8; 32]) {
    ([number; 32], [number ^ 0x80; 32])
}

pub(super) fn submission(number: u8, keys: &[IdentityKey]) -> Submission {
    let mut keys: Vec<_> = keys.iter().map(hash).collect();
    keys.sort_unstable();
    Submission { id: id(number), binding: [number; 20], keys }
}

/// An entry with one name, born when [`person`]s are, and passports.
pub(super) fn entry(label: &str, name: &str, passports: &[&str]) -> wire::ListEntry {
    let document = |number: &&str| wire::ListDocument {
        kind: "passport".into(),
        issuer: "UTO".into(),
        number: (*number).into(),
    };
    wire::ListEntry {
        line: 1,
        label: label.into(),
        names: vec![name.into()],
        birth_dates: vec!["1990-01-31".into()],
        documents: passports.iter().map(document).collect(),
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::over(TestStore::new().await).await
    }

    pub(super) async fn over(place: TestStore) -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
        let env = Env::for_test(clock.clone());
        let location = Location::parse(place.url(), place.folder()).unwrap();
        let store = open(&location).await;
        let registry = PrintRegistry::new(store.clone(), store_key().into());
        let lists = Arc::new(Lists::new(store_key().into()));
        let rereads = Rereads::default();
        Self { env, clock, store, lists, registry, rereads, place, location }
    }

    /// The store as another process would open it.
    pub(super) async fn open_again(&self) -> Store {
        open(&self.location).await
    }

    pub(super) fn act<'a>(&self, operator: &'a str) -> Act<'a> {
        Act { operator, now: self.env.now(), delay_millis: DELAY }
    }

    pub(super) async fn submit(&self, submissions: &[Submission]) {
        subjects::submit(&self.store, &self.lists, submissions, self.act(COMMITTEE)).await.unwrap();
    }

    pub(super) async fn import(&self, list: &str, entries: Vec<wire::ListEntry>) -> u64 {
        let import = self.stage(list, entries).await;
        let (lists, act) = (&self.lists, self.act(OFFICER));
        watchlist::switch(&self.store, lists, list, import, act).await.unwrap().matches
    }

    /// All of an import but the last step.
    pub(super) async fn stage(&self, list: &str, entries: Vec<wire::ListEntry>) -> ImportId {
        let mut read = Entries::new(event());
        let entries: Vec<_> = entries.into_iter().filter_map(|entry| read.add(entry)).collect();
        let labels: Vec<&str> = entries.iter().map(|entry| entry.label.as_str()).collect();
        let (import, _) = watchlist::begin(&self.store, list, &[]).await.unwrap();
        let mut transaction = self.store.begin().await.unwrap();
        let key = store_key();
        let staging = watchlist::stage_entries(&mut transaction, &key, import, &labels, 0);
        let first = staging.await.unwrap();
        let keys = (first..).zip(&entries).flat_map(|(id, entry)| {
            let keys = entry.keys.iter();
            keys.map(move |key| StagedKey { entry: id, hash: hash(key), kind: key.kind() })
        });
        let keys: Vec<_> = keys.collect();
        let padding = watchlist::padding(&keys, &mut self.env.rng());
        let staging = watchlist::stage_keys(&mut transaction, &key, import, &keys, &padding, 0);
        staging.await.unwrap();
        transaction.commit().await.unwrap();
        import
    }

    /// Hands over a print with the seeds of `seeds_of`.
    pub(super) async fn print(
        &self,
        subject: u8,
        number: u16,
        seeds_of: u8,
    ) -> Result<(), PrintError> {
        let (gate, police) = seeds(seeds_of);
        let seeds = PrintSeeds::new(&gate, &police);
        let print = Print { subject_id: id(subject), number, seeds };
        prints::register(&self.store, &self.env, &store_key(), &[print]).await
    }

    /// Lets the delay pass, and releases.
    pub(super) async fn release(&self) -> u64 {
        self.clock.advance_millis(DELAY);
        release::release_due(&self.store, self.env.now()).await.unwrap()
    }

    pub(super) async fn released(&self, cursor: u64) -> Vec<Released> {
        release::released_after(&self.store, &self.rereads, cursor, 100).await.unwrap()
    }

    /// The released verdict of one subject.
    pub(super) async fn verdict(&self, number: u8) -> Option<Verdict> {
        let released = self.released(0).await;
        released.into_iter().find(|one| one.subject_id == id(number)).map(|one| one.verdict)
    }

    /// An officer decides.
    pub(super) async fn decide(&self, number: u8, verdict: Verdict) -> wire::Outcome {
        self.decides(OFFICER, number, verdict, false).await
    }

    pub(super) async fn decides(
        &self,
        officer: &str,
        number: u8,
        verdict: Verdict,
        four_eyes: bool,
    ) -> wire::Outcome {
        let act = self.act(officer);
        cases::decide_case(
            &self.store,
            &self.lists,
            &id(number),
            verdict,
            "looked at it",
            four_eyes,
            act,
        )
        .await
        .unwrap()
    }

    /// Where the case of a subject stands.
    pub(super) async fn case_state(&self, number: u8) -> wire::CaseState {
        cases::by_id(&self.store, &self.lists, &id(number)).await.unwrap().unwrap().state()
    }

    pub(super) async fn case(&self, number: u8) -> wire::SubjectState {
        case::by_id(&self.store, &self.lists, &id(number)).await.unwrap().unwrap()
    }

    pub(super) async fn changes(&self, after: u64) -> (Vec<Entry>, u64) {
        let changes = self.registry.changes(after, 100).await.unwrap();
        (changes.entries, changes.cursor)
    }

    /// The record of the print with these seeds.
    pub(super) async fn record(&self, seeds_of: u8) -> Record {
        let (entries, _) = self.changes(0).await;
        let entry =
            entries.iter().find(|entry| *entry.seeds[0].1.expose_bytes() == seeds(seeds_of).0);
        entry.unwrap().record
    }

    pub(super) async fn audit(&self) -> Vec<AuditEntry> {
        AuditTrail::list(self.store.pool(), None, 0, 100).await.unwrap()
    }
}

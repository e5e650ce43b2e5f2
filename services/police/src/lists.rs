//! What stands on watchlists, and that nothing of it is hidden.
//!
//! A key whose hash was damaged matches nobody, and no row is there to show it. So how every hash on a list begins is held
//! in memory, eight bytes each, read when the service starts and whenever a list changed, every row verified and each
//! list's sum compared with what it was when it was imported. What a subject has is looked up there first: nearly all of
//! it is on no list, and costs no statement. What is there must be in the store, as often as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt as _;
use lanyard_party::StoreKey;
use lanyard_store::{DamagedRow, StoreError, Transaction, next_number};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use tokio::sync::Mutex;

use crate::ids::LocalHash;
use crate::tags;

/// Counts changes of lists.
const VERSION: &str = "lists";
/// A list that a damaged row says nothing of.
const UNKNOWN: i64 = 0;

/// The lists as this instance knows them.
pub(crate) struct Lists {
    store_key: Arc<StoreKey>,
    /// Held while they are read.
    guard: Mutex<Option<Arc<Guard>>>,
}

/// What all lists had at one version of them.
pub(crate) struct Guard {
    store_key: Arc<StoreKey>,
    version: i64,
    /// How each hash begins, in order; of equal ones as many as there are rows.
    starts: Vec<u64>,
    /// By list, the first row that is not what was written there.
    damaged: BTreeMap<i64, DamagedRow>,
    /// Whether rows were found damaged since it was read.
    stale: AtomicBool,
}

/// An entry that has a key of a subject.
#[derive(Clone)]
pub(crate) struct Match {
    pub(crate) hash: LocalHash,
    pub(crate) kind: i64,
    pub(crate) entry: i64,
    pub(crate) list_id: i64,
    pub(crate) list: String,
    pub(crate) label: String,
}

impl Lists {
    pub(crate) fn new(store_key: Arc<StoreKey>) -> Self {
        Self { store_key, guard: Mutex::default() }
    }

    pub(crate) fn store_key(&self) -> &StoreKey {
        &self.store_key
    }

    /// What the lists hold, as a transaction sees them.
    pub(crate) async fn guard(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Arc<Guard>, StoreError> {
        let version: Option<(i64,)> = sqlx::query_as("SELECT value FROM counters WHERE name = $1")
            .bind(VERSION)
            .fetch_optional(&mut *connection)
            .await?;
        let version = version.map_or(0, |(version,)| version);
        let mut known = self.guard.lock().await;
        let is_current =
            |guard: &&Arc<Guard>| guard.version == version && !guard.stale.load(Ordering::Relaxed);
        if let Some(guard) = known.as_ref().filter(is_current) {
            return Ok(Arc::clone(guard));
        }
        let guard = Arc::new(self.read(connection, version).await?);
        // Whoever looks at an older state of the store must not make all others read again.
        if known.as_ref().is_none_or(|known| known.version <= version) {
            *known = Some(Arc::clone(&guard));
        }
        Ok(guard)
    }

    /// What the lists hold after a change that is not committed yet: [`Lists::install`] it then.
    pub(crate) async fn changed(
        &self,
        transaction: &mut Transaction,
    ) -> Result<Arc<Guard>, StoreError> {
        let version = next_number(transaction, VERSION).await?;
        Ok(Arc::new(self.read(transaction, version).await?))
    }

    pub(crate) async fn install(&self, guard: Arc<Guard>) {
        *self.guard.lock().await = Some(guard);
    }

    async fn read(
        &self,
        connection: &mut AnyConnection,
        version: i64,
    ) -> Result<Guard, StoreError> {
        let Scan { starts, damaged } = scan(connection, &self.store_key, &IN_FORCE).await?;
        for (list, row) in &damaged {
            tracing::error!(
                list,
                %row,
                "damaged: whoever it may hide is not cleared; import the list again"
            );
        }
        let (store_key, stale) = (Arc::clone(&self.store_key), AtomicBool::new(false));
        Ok(Guard { store_key, version, starts, damaged, stale })
    }
}

impl Guard {
    pub(crate) fn store_key(&self) -> &StoreKey {
        &self.store_key
    }

    /// How hashes on lists begin, in order.
    pub(crate) fn starts(&self) -> &[u64] {
        &self.starts
    }

    pub(crate) fn is_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// The row of this list that is damaged.
    pub(crate) fn damage_of(&self, list_id: i64) -> Option<&DamagedRow> {
        self.damaged.get(&list_id)
    }

    /// Refuses to say that something is on no list while one of them is damaged.
    pub(crate) fn refuse_damaged(&self) -> Result<(), StoreError> {
        match self.damaged.values().next() {
            Some(row) => Err(StoreError::Damaged { row: row.clone() }),
            None => Ok(()),
        }
    }

    /// So many rows have a hash that begins so.
    fn rows(&self, start: u64) -> usize {
        let from = self.starts.partition_point(|one| *one < start);
        self.starts[from..].iter().take_while(|one| **one == start).count()
    }

    /// The entries of these hashes, in their order.
    pub(crate) async fn matches(
        &self,
        connection: &mut AnyConnection,
        hashes: impl IntoIterator<Item = &LocalHash>,
    ) -> Result<Vec<Match>, StoreError> {
        let mut matches = Vec::new();
        for hash in hashes {
            let start = start(hash.as_slice());
            let expected = self.rows(start);
            if expected > 0 {
                let found = self.beginning_with(connection, start, expected).await?;
                matches.extend(found.into_iter().filter(|one| one.hash == *hash));
            }
        }
        Ok(matches)
    }

    /// All rows whose hash begins so. Another hash may begin as one that is looked for; a row that is missing is none of that.
    async fn beginning_with(
        &self,
        connection: &mut AnyConnection,
        start: u64,
        expected: usize,
    ) -> Result<Vec<Match>, StoreError> {
        let lowest = start.to_be_bytes();
        let highest = [&lowest[..], &[0xff; LocalHash::SIZE]].concat();
        let rows = sqlx::query(
            "SELECT k.hash, k.kind, k.entry_id, k.tag, e.list_id, e.label, e.tag AS entry_tag, w.name FROM list_keys k \
             LEFT JOIN list_entries e ON e.id = k.entry_id LEFT JOIN watchlists w ON w.id = e.list_id \
             WHERE k.hash >= $1 AND k.hash <= $2 ORDER BY k.hash, k.entry_id",
        )
        .bind(lowest.as_slice())
        .bind(highest)
        .fetch_all(&mut *connection)
        .await?;
        let (mut found, mut damaged) = (Vec::new(), None);
        for row in &rows {
            match self.read(row) {
                Some(one) => found.push(one),
                None => damaged = row.try_get::<i64, _>("entry_id").ok(),
            }
        }
        if found.len() == expected {
            return Ok(found);
        }
        self.stale.store(true, Ordering::Relaxed);
        let key = damaged.map_or_else(|| "that is missing".to_owned(), |entry| entry.to_string());
        Err(StoreError::Damaged { row: DamagedRow { table: "list_keys", key } })
    }

    /// A row as it was written; `None` if it is not.
    fn read(&self, row: &AnyRow) -> Option<Match> {
        let number = |column| row.try_get::<i64, _>(column).ok();
        let hash: Vec<u8> = row.try_get("hash").ok()?;
        let (kind, entry, list_id) = (number("kind")?, number("entry_id")?, number("list_id")?);
        let label: String = row.try_get("label").ok()?;
        // Its entries match all the same if a list itself is damaged.
        let list = row.try_get("name").unwrap_or_else(|_| "?".to_owned());
        let is_sound = number("tag")? == tags::list_key(&self.store_key, entry, &hash, kind)
            && number("entry_tag")? == tags::list_entry(&self.store_key, entry, list_id, &label);
        let hash = LocalHash::from_slice(&hash)?;
        is_sound.then_some(Match { hash, kind, entry, list_id, list, label })
    }
}

/// How a hash begins, as a number of the same order.
pub(crate) fn start(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|place| bytes.get(place).copied().unwrap_or_default()))
}

/// Where lists, or imports of them, and their entries and keys stand.
pub(crate) struct Place {
    /// Lists with the sum of all tags.
    lists: (&'static str, &'static str),
    /// Entries, the list each belongs to here, and the id of the list for good.
    entries: (&'static str, &'static str),
    keys: (&'static str, &'static str),
}

pub(crate) const IN_FORCE: Place = Place {
    lists: ("watchlists", "SELECT id, digest FROM watchlists"),
    entries: ("list_entries", "SELECT id, list_id AS owner, list_id, label, tag FROM list_entries"),
    keys: (
        "list_keys",
        "SELECT k.hash, k.kind, k.entry_id, k.tag, e.list_id AS owner FROM list_keys k \
         LEFT JOIN list_entries e ON e.id = k.entry_id",
    ),
};

pub(crate) const WAITING: Place = Place {
    lists: ("list_imports", "SELECT id, digest FROM list_imports"),
    entries: (
        "staged_entries",
        "SELECT e.id, e.import_id AS owner, i.list_id, e.label, e.tag FROM staged_entries e \
         LEFT JOIN list_imports i ON i.id = e.import_id",
    ),
    keys: (
        "staged_keys",
        "SELECT k.hash, k.kind, k.entry_id, k.tag, e.import_id AS owner FROM staged_keys k \
         LEFT JOIN staged_entries e ON e.id = k.entry_id",
    ),
};

/// All rows of a place, read once.
pub(crate) struct Scan {
    starts: Vec<u64>,
    /// By list, the first row that is not what was written there.
    pub(crate) damaged: BTreeMap<i64, DamagedRow>,
}

/// Verifies every row, and that none is missing.
pub(crate) async fn scan(
    connection: &mut AnyConnection,
    store_key: &StoreKey,
    place: &Place,
) -> Result<Scan, StoreError> {
    let number = |row: &AnyRow, column: &str| row.try_get::<i64, _>(column).ok();
    let mut sums: HashMap<i64, i64> = HashMap::new();
    let mut damaged = BTreeMap::new();
    let mut found = |table, owner: Option<i64>, key: Option<i64>| {
        let key = key.map_or_else(|| "?".to_owned(), |key| key.to_string());
        damaged.entry(owner.unwrap_or(UNKNOWN)).or_insert(DamagedRow { table, key });
    };
    let mut unsound = HashSet::new();
    let mut rows = sqlx::query(place.entries.1).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let (id, owner, tag) = (number(&row, "id"), number(&row, "owner"), number(&row, "tag"));
        let written = || {
            let label: &str = row.try_get("label").ok()?;
            Some(tags::list_entry(store_key, id?, number(&row, "list_id")?, label))
        };
        match (owner, tag) {
            (Some(owner), Some(tag)) if written() == Some(tag) => add(&mut sums, owner, tag),
            _ => {
                unsound.extend(id);
                found(place.entries.0, owner, id);
            }
        }
    }
    drop(rows);
    let mut starts = Vec::new();
    let mut rows = sqlx::query(place.keys.1).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let (entry, owner, tag) =
            (number(&row, "entry_id"), number(&row, "owner"), number(&row, "tag"));
        let hash: &[u8] = row.try_get("hash").unwrap_or_default();
        let written = || Some(tags::list_key(store_key, entry?, hash, number(&row, "kind")?));
        match (owner, tag) {
            (Some(owner), Some(tag)) if written() == Some(tag) => {
                add(&mut sums, owner, tag);
                // As `Guard::matches` counts them.
                if entry.is_some_and(|entry| !unsound.contains(&entry)) {
                    starts.push(start(hash));
                }
            }
            _ => found(place.keys.0, owner, entry),
        }
    }
    drop(rows);
    for row in sqlx::query(place.lists.1).fetch_all(&mut *connection).await? {
        let list = number(&row, "id");
        let sum = list.and_then(|list| sums.remove(&list)).unwrap_or_default();
        if number(&row, "digest") != Some(sum) {
            found(place.lists.0, list, list);
        }
    }
    for list in sums.into_keys() {
        found(place.lists.0, Some(list), Some(list));
    }
    starts.sort_unstable();
    starts.shrink_to_fit();
    Ok(Scan { starts, damaged })
}

/// The sum of a list's tags, which tells any row that is missing.
fn add(sums: &mut HashMap<i64, i64>, list: i64, tag: i64) {
    let sum = sums.entry(list).or_default();
    *sum = sum.wrapping_add(tag);
}

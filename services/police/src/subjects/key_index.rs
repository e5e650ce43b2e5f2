//! Which subjects have a key: sorted runs of entries, merged as they grow.
//!
//! Keys are random, so in an index of the store's engine each would touch a page of its own, more of them the larger it is.
//! Here the keys of one submission are written together, as a run in blocks of rows; runs of like size are merged into one.
//! So a key is written a few times in its life, and never by itself.
//!
//! An entry is the start of a key's hash and a subject, and a hint: what counts is the table `subject_keys`. Entries of keys
//! that were replaced since stay, and lead to nothing.
//!
//! A damaged entry would hide its subject. So each block has a tag over what it holds, its place and where the next begins,
//! and each run one over all runs: what is not at its place is missed by what is read beside it. A damaged index is made
//! anew from `subject_keys`.

use lanyard_party::StoreKey;
use lanyard_store::{DamagedRow, Store, StoreError, Transaction, next_number, placeholders};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::keys;
use crate::act::Act;
use crate::ids::{LocalHash, SubjectId};
use crate::lists::{Guard, Lists, start};
use crate::{rescreen, tags};

/// Bytes of a hash in an entry: enough that hashes which begin alike are rare among hundreds of millions.
const PREFIX: usize = 8;
/// Bytes of an entry.
const ENTRY: usize = PREFIX + SubjectId::SIZE;
/// Entries of a block: a row that fits a page of either engine.
const BLOCK: usize = 64;
/// So many runs of one level are merged.
const FAN: usize = 8;
/// Runs with so many entries or more stay as they are: a merge holds less than [`FAN`] times as many, 48 MiB.
const FULL: usize = 1 << 18;
/// Blocks that one statement inserts, and that one reads.
const ROWS: usize = 64;
const PAGE: usize = 1_024;

/// The start of a hash, and a subject that has a key with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry([u8; ENTRY]);

impl Entry {
    pub(super) fn new(hash: &LocalHash, subject: &SubjectId) -> Self {
        Self::at(start(hash.as_slice()), *subject)
    }

    fn at(start: u64, subject: SubjectId) -> Self {
        let mut bytes = [0; ENTRY];
        bytes[..PREFIX].copy_from_slice(&start.to_be_bytes());
        bytes[PREFIX..].copy_from_slice(subject.as_slice());
        Self(bytes)
    }

    fn start(&self) -> u64 {
        start(&self.0)
    }

    fn subject(&self) -> Result<SubjectId, StoreError> {
        SubjectId::from_column("key_blocks", &self.0[PREFIX..])
    }
}

/// Runs of one level have up to [`FAN`] times as many entries as those of the level below.
const fn level(entries: usize) -> i64 {
    match entries {
        0 => 0,
        FULL.. => FULL.ilog(FAN) as i64,
        _ => entries.ilog(FAN) as i64,
    }
}

const TOP: i64 = level(FULL);

/// Adds entries as a run, and merges while there are many of one size. An index that is damaged is made anew first: returned
/// are the subjects whose own keys are damaged, if it was.
pub(super) async fn add(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    entries: Vec<Entry>,
) -> Result<Vec<SubjectId>, StoreError> {
    match merge(transaction, store_key, entries).await {
        Ok(()) => Ok(Vec::new()),
        // The new ones are among the keys that it is made of.
        Err(error) if error.is_damaged() => rebuild(transaction, store_key, &error).await,
        Err(error) => Err(error),
    }
}

async fn merge(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    mut entries: Vec<Entry>,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut runs = runs(transaction, store_key).await?;
    while !entries.is_empty() {
        entries.sort_unstable();
        entries.dedup();
        let level = level(entries.len());
        runs.push((put(transaction, store_key, level, &entries).await?, level));
        entries.clear();
        if level < TOP {
            entries = take_if_many(transaction, store_key, level, &mut runs).await?;
        }
    }
    seal_runs(transaction, store_key, &runs).await
}

/// All runs and their levels, in order.
async fn runs(
    connection: &mut AnyConnection,
    store_key: &StoreKey,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let rows = sqlx::query("SELECT id, level, tag FROM key_runs ORDER BY id");
    let runs = verify_runs(store_key, &rows.fetch_all(&mut *connection).await?)?;
    refuse_lost(connection, &runs).await?;
    Ok(runs)
}

/// The last run that is lost has no other to miss it, but its blocks, or else the keys that an index was once made of.
async fn refuse_lost(
    connection: &mut AnyConnection,
    runs: &[(i64, i64)],
) -> Result<(), StoreError> {
    if !runs.is_empty() {
        return Ok(());
    }
    for missed_by in [
        "SELECT run_id FROM key_blocks LIMIT 1",
        "SELECT value FROM counters WHERE name = 'key_run' AND EXISTS (SELECT 1 FROM subject_keys)",
    ] {
        let lost: Option<(i64,)> =
            sqlx::query_as(missed_by).fetch_optional(&mut *connection).await?;
        if let Some((run,)) = lost {
            return Err(damaged("key_runs", run));
        }
    }
    Ok(())
}

/// Reads rows of runs, each at least once, in order.
fn verify_runs(store_key: &StoreKey, rows: &[AnyRow]) -> Result<Vec<(i64, i64)>, StoreError> {
    let number = |row: &AnyRow, column: &str| row.try_get::<i64, _>(column);
    let (mut runs, mut found) = (Vec::new(), Vec::new());
    for row in rows {
        let damaged = |_| damaged("key_runs", number(row, "id").unwrap_or_default());
        runs.push((number(row, "id").map_err(damaged)?, number(row, "level").map_err(damaged)?));
        found.push(number(row, "tag").map_err(damaged)?);
    }
    runs.dedup();
    let tag = tags::runs(store_key, &runs);
    match found.iter().position(|found| *found != tag) {
        Some(place) => Err(damaged("key_runs", number(&rows[place], "id").unwrap_or_default())),
        None => Ok(runs),
    }
}

async fn seal_runs(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    runs: &[(i64, i64)],
) -> Result<(), StoreError> {
    sqlx::query("UPDATE key_runs SET tag = $1")
        .bind(tags::runs(store_key, runs))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn damaged(table: &'static str, key: i64) -> StoreError {
    StoreError::Damaged { row: DamagedRow { table, key: key.to_string() } }
}

/// Stores a run; its blocks begin where their first entries do, the first of all at nothing.
async fn put(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    level: i64,
    entries: &[Entry],
) -> Result<i64, StoreError> {
    let run = next_number(transaction, "key_run").await?;
    sqlx::query("INSERT INTO key_runs (id, level, tag) VALUES ($1, $2, 0)")
        .bind(run)
        .bind(level)
        .execute(&mut **transaction)
        .await?;
    let chunks: Vec<&[Entry]> = entries.chunks(BLOCK).collect();
    let first = |place: usize| match place {
        0 => Some(&[][..]),
        _ => chunks.get(place).map(|block| block[0].0.as_slice()),
    };
    let places: Vec<usize> = (0..chunks.len()).collect();
    for places in places.chunks(ROWS) {
        let statement = format!(
            "INSERT INTO key_blocks (run_id, first, body, tag) VALUES {}",
            placeholders(1, places.len(), 4)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for place in places {
            let body: Vec<u8> = chunks[*place].iter().flat_map(|entry| entry.0).collect();
            let at = first(*place).unwrap_or_default();
            let tag = tags::block(store_key, run, at, &body, first(place + 1));
            query = query.bind(run).bind(at).bind(body).bind(tag);
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(run)
}

/// Takes the runs of a level out, if there are [`FAN`] of them.
async fn take_if_many(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    level: i64,
    runs: &mut Vec<(i64, i64)>,
) -> Result<Vec<Entry>, StoreError> {
    let of_level: Vec<i64> =
        runs.iter().filter(|(_, one)| *one == level).map(|(id, _)| *id).collect();
    let mut entries = Vec::new();
    if of_level.len() < FAN {
        return Ok(entries);
    }
    for run in of_level {
        let mut reader = Reader::new(run);
        while let Some(page) = reader.page(transaction, store_key).await? {
            entries.extend(page);
        }
        for statement in
            ["DELETE FROM key_blocks WHERE run_id = $1", "DELETE FROM key_runs WHERE id = $1"]
        {
            sqlx::query(statement).bind(run).execute(&mut **transaction).await?;
        }
        runs.retain(|(id, _)| *id != run);
    }
    Ok(entries)
}

/// A block as it is stored.
struct Block {
    first: Vec<u8>,
    body: Vec<u8>,
    tag: i64,
}

impl Block {
    fn read(run: i64, row: &AnyRow) -> Result<Self, StoreError> {
        let read = || {
            Some(Self {
                first: row.try_get("first").ok()?,
                body: row.try_get("body").ok()?,
                tag: row.try_get("block_tag").ok()?,
            })
        };
        read().ok_or_else(|| damaged("key_blocks", run))
    }

    /// Its entries, if it is what was written and the block behind it, if any, begins at `next`.
    fn entries(
        &self,
        store_key: &StoreKey,
        run: i64,
        next: Option<&Self>,
    ) -> Result<&[[u8; ENTRY]], StoreError> {
        let next = next.map(|next| next.first.as_slice());
        match self.body.as_chunks() {
            (entries, [])
                if self.tag == tags::block(store_key, run, &self.first, &self.body, next) =>
            {
                Ok(entries)
            }
            _ => Err(damaged("key_blocks", run)),
        }
    }
}

/// Reads a run from its first entry to its last.
struct Reader {
    run: i64,
    /// Where the next block begins; none behind the last.
    next: Option<Vec<u8>>,
}

impl Reader {
    const fn new(run: i64) -> Self {
        Self { run, next: Some(Vec::new()) }
    }

    /// The next entries, in order.
    async fn page(
        &mut self,
        connection: &mut AnyConnection,
        store_key: &StoreKey,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let Some(from) = self.next.take() else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT first, body, tag AS block_tag FROM key_blocks WHERE run_id = $1 AND first >= $2 ORDER BY first LIMIT $3",
        )
        .bind(self.run)
        .bind(from.as_slice())
        .bind(PAGE as i64 + 1)
        .fetch_all(&mut *connection)
        .await?;
        let blocks = rows.iter().map(|row| Block::read(self.run, row));
        let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        if blocks.first().is_none_or(|block| block.first != from) {
            return Err(damaged("key_blocks", self.run));
        }
        let behind = if blocks.len() > PAGE { blocks.pop() } else { None };
        let mut entries = Vec::with_capacity(blocks.len() * BLOCK);
        for (place, block) in blocks.iter().enumerate() {
            let next = blocks.get(place + 1).or(behind.as_ref());
            let read = block.entries(store_key, self.run, next)?;
            entries.extend(read.iter().copied().map(Entry));
        }
        self.next = behind.map(|block| block.first);
        Ok(Some(entries))
    }
}

/// The subjects that have a key with this hash, in the order of their ids, at most `limit`. A damaged index is made anew
/// first.
pub(crate) async fn subjects_with(
    store: &Store,
    lists: &Lists,
    hash: &LocalHash,
    limit: usize,
    act: Act<'_>,
) -> Result<Vec<SubjectId>, StoreError> {
    let subjects = match candidates(store, lists.store_key(), hash).await {
        Err(error) if error.is_damaged() => {
            repair(store, lists, &error, act).await?;
            candidates(store, lists.store_key(), hash).await?
        }
        other => other?,
    };
    let mut connection = store.pool().acquire().await?;
    let mut found = Vec::new();
    for subject in subjects {
        let held = keys::of_subject(&mut connection, lists.store_key(), &subject).await?;
        held.refuse_damaged(&subject)?;
        if held.hashes.binary_search(hash).is_ok() {
            found.push(subject);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// The subjects that had a key which begins as this hash, in the order of their ids.
async fn candidates(
    store: &Store,
    store_key: &StoreKey,
    hash: &LocalHash,
) -> Result<Vec<SubjectId>, StoreError> {
    let wanted = start(hash.as_slice());
    let lowest = Entry::at(wanted, SubjectId::new([0; SubjectId::SIZE]));
    let highest = Entry::at(wanted, SubjectId::new([0xff; SubjectId::SIZE]));
    // One statement: runs that are being merged are seen before or after it, not in between. Of each run the block that
    // `lowest` is in and those up to `highest`, and the one behind, which tells where they end.
    let rows = sqlx::query(
        "SELECT r.id, r.level, r.tag, b.first, b.body, b.tag AS block_tag FROM key_runs r \
         LEFT JOIN key_blocks b ON b.run_id = r.id \
         AND b.first >= COALESCE((SELECT c.first FROM key_blocks c WHERE c.run_id = r.id AND c.first <= $1 \
         ORDER BY c.first DESC LIMIT 1), $1) \
         AND b.first <= COALESCE((SELECT c.first FROM key_blocks c WHERE c.run_id = r.id AND c.first > $2 \
         ORDER BY c.first LIMIT 1), $2) ORDER BY r.id, b.first",
    )
    .bind(lowest.0.as_slice())
    .bind(highest.0.as_slice())
    .fetch_all(store.pool())
    .await?;
    let runs = verify_runs(store_key, &rows)?;
    refuse_lost(&mut *store.pool().acquire().await?, &runs).await?;
    let (mut subjects, mut rest) = (Vec::new(), rows.as_slice());
    for (run, _) in runs {
        let of_run = rest.iter().take_while(|row| row.try_get("id").is_ok_and(|id: i64| id == run));
        let (rows, behind) = rest.split_at(of_run.count());
        rest = behind;
        let blocks = rows.iter().map(|row| Block::read(run, row));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        if blocks.first().is_none_or(|block| block.first.as_slice() > lowest.0.as_slice()) {
            return Err(damaged("key_blocks", run));
        }
        let within = |block: &&Block| block.first.as_slice() <= highest.0.as_slice();
        for (place, block) in blocks.iter().take_while(within).enumerate() {
            for entry in block.entries(store_key, run, blocks.get(place + 1))? {
                let entry = Entry(*entry);
                if entry.start() == wanted {
                    subjects.push(entry.subject()?);
                }
            }
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    Ok(subjects)
}

/// Makes the index anew; who has damaged keys cannot stay cleared.
async fn repair(
    store: &Store,
    lists: &Lists,
    why: &StoreError,
    act: Act<'_>,
) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    let guard = lists.guard(&mut transaction).await?;
    let damaged = rebuild(&mut transaction, lists.store_key(), why).await?;
    rescreen::reconsider(&mut transaction, &guard, &damaged, act).await?;
    transaction.commit().await
}

/// Makes the index anew from the keys of all subjects, and returns those whose keys are damaged: it may not lead to them.
async fn rebuild(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    why: &StoreError,
) -> Result<Vec<SubjectId>, StoreError> {
    tracing::error!(%why, "the index of subjects' keys is damaged and made anew");
    for statement in ["DELETE FROM key_blocks", "DELETE FROM key_runs"] {
        sqlx::query(statement).execute(&mut **transaction).await?;
    }
    let (mut runs, mut damaged) = (Vec::new(), Vec::new());
    let (mut entries, mut after): (Vec<Entry>, Vec<u8>) = (Vec::new(), Vec::new());
    loop {
        let page = keys::page(transaction, store_key, &mut after).await?;
        let is_last = page.is_none();
        for (subject, held) in page.unwrap_or_default() {
            entries.extend(held.hashes.iter().map(|hash| Entry::new(hash, &subject)));
            if held.damaged {
                damaged.push(subject);
            }
        }
        if entries.len() >= FULL || (is_last && !entries.is_empty()) {
            entries.sort_unstable();
            entries.dedup();
            let level = level(entries.len());
            runs.push((put(transaction, store_key, level, &entries).await?, level));
            entries.clear();
        }
        if is_last {
            seal_runs(transaction, store_key, &runs).await?;
            return Ok(damaged);
        }
    }
}

/// Subjects with a key that stands on a list, for all that their entries tell, in the order of their ids. Both sides are
/// read in order, once. A damaged index is made anew first, and whoever has damaged keys is among them then.
pub(crate) async fn listed(
    transaction: &mut Transaction,
    guard: &Guard,
) -> Result<Vec<SubjectId>, StoreError> {
    match listed_in(transaction, guard).await {
        Err(error) if error.is_damaged() => {
            let mut subjects = rebuild(transaction, guard.store_key(), &error).await?;
            subjects.extend(listed_in(transaction, guard).await?);
            subjects.sort_unstable();
            subjects.dedup();
            Ok(subjects)
        }
        other => other,
    }
}

async fn listed_in(
    transaction: &mut Transaction,
    guard: &Guard,
) -> Result<Vec<SubjectId>, StoreError> {
    let mut subjects = Vec::new();
    for (run, _) in runs(transaction, guard.store_key()).await? {
        let mut rest = guard.starts();
        let mut reader = Reader::new(run);
        while let Some(page) = reader.page(transaction, guard.store_key()).await? {
            for entry in page {
                let start = entry.start();
                let smaller = rest.iter().take_while(|listed| **listed < start).count();
                rest = &rest[smaller..];
                if rest.first() == Some(&start) {
                    subjects.push(entry.subject()?);
                }
            }
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    Ok(subjects)
}

/// Reads all of the index, and fails where it is not what was written.
pub(crate) async fn verify(
    connection: &mut AnyConnection,
    store_key: &StoreKey,
) -> Result<(), StoreError> {
    for (run, _) in runs(connection, store_key).await? {
        let mut reader = Reader::new(run);
        while reader.page(connection, store_key).await?.is_some() {}
    }
    Ok(())
}

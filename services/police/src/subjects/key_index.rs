//! Which subjects have a key: sorted runs of entries, merged as they grow.
//!
//! Keys are random, so in an index of the store's engine each would touch a page of its own, more of them the larger it is.
//! Here the keys of one submission are written together, as a run in blocks of rows; runs of like size are merged into one.
//! So a key is written a few times in its life, and never by itself.
//!
//! An entry is the start of a key's hash and a subject, and a hint: what counts is the table `subject_keys`. Entries of keys
//! that were replaced since stay, and lead to nothing.

use lanyard_store::{StoreError, next_number, placeholders};
use sqlx::{Any, AssertSqlSafe, Transaction};

use crate::ids::{LocalHash, SubjectId};

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
        Self::at(&prefix(hash.as_slice()), *subject)
    }

    fn at(prefix: &[u8; PREFIX], subject: SubjectId) -> Self {
        let mut bytes = [0; ENTRY];
        bytes[..PREFIX].copy_from_slice(prefix);
        bytes[PREFIX..].copy_from_slice(subject.as_slice());
        Self(bytes)
    }

    fn prefix(&self) -> [u8; PREFIX] {
        prefix(&self.0)
    }

    fn subject(&self) -> Result<SubjectId, StoreError> {
        SubjectId::from_column("key_blocks", &self.0[PREFIX..])
    }
}

fn prefix(bytes: &[u8]) -> [u8; PREFIX] {
    std::array::from_fn(|place| bytes.get(place).copied().unwrap_or_default())
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

/// Adds entries as a run, and merges while there are many of one size.
pub(super) async fn add(
    transaction: &mut Transaction<'static, Any>,
    mut entries: Vec<Entry>,
) -> Result<(), StoreError> {
    while !entries.is_empty() {
        entries.sort_unstable();
        entries.dedup();
        let level = level(entries.len());
        put(transaction, level, &entries).await?;
        entries.clear();
        if level < TOP {
            entries = take_if_many(transaction, level).await?;
        }
    }
    Ok(())
}

async fn put(
    transaction: &mut Transaction<'static, Any>,
    level: i64,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let run = next_number(transaction, "key_run").await?;
    sqlx::query("INSERT INTO key_runs (id, level) VALUES ($1, $2)")
        .bind(run)
        .bind(level)
        .execute(&mut **transaction)
        .await?;
    let blocks: Vec<(&Entry, Vec<u8>)> = entries
        .chunks(BLOCK)
        .map(|block| (&block[0], block.iter().flat_map(|entry| entry.0).collect()))
        .collect();
    for blocks in blocks.chunks(ROWS) {
        let statement = format!(
            "INSERT INTO key_blocks (run_id, first, body) VALUES {}",
            placeholders(1, blocks.len(), 3)
        );
        let query = sqlx::query(AssertSqlSafe(statement));
        blocks
            .iter()
            .fold(query, |query, (first, body)| {
                query.bind(run).bind(first.0.as_slice()).bind(body.as_slice())
            })
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Takes the runs of a level out, if there are [`FAN`] of them.
async fn take_if_many(
    transaction: &mut Transaction<'static, Any>,
    level: i64,
) -> Result<Vec<Entry>, StoreError> {
    let runs: Vec<(i64,)> = sqlx::query_as("SELECT id FROM key_runs WHERE level = $1 ORDER BY id")
        .bind(level)
        .fetch_all(&mut **transaction)
        .await?;
    let mut entries = Vec::new();
    if runs.len() < FAN {
        return Ok(entries);
    }
    for (run,) in runs {
        let mut after = Vec::new();
        while let Some(page) = page(transaction, run, &mut after).await? {
            entries.extend(page);
        }
        for statement in
            ["DELETE FROM key_blocks WHERE run_id = $1", "DELETE FROM key_runs WHERE id = $1"]
        {
            sqlx::query(statement).bind(run).execute(&mut **transaction).await?;
        }
    }
    Ok(entries)
}

/// The next entries of a run, in order, behind the block that begins with `after`.
async fn page(
    transaction: &mut Transaction<'static, Any>,
    run: i64,
    after: &mut Vec<u8>,
) -> Result<Option<Vec<Entry>>, StoreError> {
    let blocks: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT first, body FROM key_blocks WHERE run_id = $1 AND first > $2 ORDER BY first LIMIT $3",
    )
    .bind(run)
    .bind(after.as_slice())
    .bind(PAGE as i64)
    .fetch_all(&mut **transaction)
    .await?;
    let Some((last, _)) = blocks.last() else { return Ok(None) };
    after.clone_from(last);
    let mut entries = Vec::with_capacity(blocks.len() * BLOCK);
    for (_, body) in &blocks {
        entries.extend_from_slice(&read(body)?);
    }
    Ok(Some(entries))
}

fn read(body: &[u8]) -> Result<Vec<Entry>, StoreError> {
    match body.as_chunks::<ENTRY>() {
        (entries, []) => Ok(entries.iter().copied().map(Entry).collect()),
        _ => Err(StoreError::Corrupt { table: "key_blocks", column: "body" }),
    }
}

/// The subjects that have a key with this hash, in the order of their ids, at most `limit`.
pub(crate) async fn subjects_with(
    store: &lanyard_store::Store,
    hash: &LocalHash,
    limit: usize,
) -> Result<Vec<SubjectId>, StoreError> {
    let prefix = prefix(hash.as_slice());
    let lowest = Entry::at(&prefix, SubjectId::new([0; SubjectId::SIZE]));
    let highest = Entry::at(&prefix, SubjectId::new([0xff; SubjectId::SIZE]));
    // One statement: runs that are being merged are seen before or after it, not in between.
    let blocks: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT b.body FROM key_runs r JOIN key_blocks b ON b.run_id = r.id AND b.first <= $2 \
         AND b.first >= COALESCE((SELECT c.first FROM key_blocks c WHERE c.run_id = r.id AND c.first <= $1 \
         ORDER BY c.first DESC LIMIT 1), $1)",
    )
    .bind(lowest.0.as_slice())
    .bind(highest.0.as_slice())
    .fetch_all(store.pool())
    .await?;
    let mut subjects = Vec::new();
    for (body,) in blocks {
        for entry in read(&body)?.iter().filter(|entry| entry.prefix() == prefix) {
            subjects.push(entry.subject()?);
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    let mut found = Vec::new();
    for subjects in subjects.chunks(ROWS) {
        let statement = format!(
            "SELECT subject_id FROM subject_keys WHERE hash = $1 AND subject_id IN {} ORDER BY subject_id",
            placeholders(2, 1, subjects.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(hash.as_slice());
        let rows: Vec<(Vec<u8>,)> = subjects
            .iter()
            .fold(query, |query, subject| query.bind(subject.as_slice()))
            .fetch_all(store.pool())
            .await?;
        for (id,) in rows {
            found.push(SubjectId::from_column("subject_keys", &id)?);
        }
        if found.len() >= limit {
            found.truncate(limit);
            break;
        }
    }
    Ok(found)
}

/// Subjects with a key that stands on a list, for all that their entries tell, in the order of their ids. Both sides are
/// read in order, once.
pub(crate) async fn listed(
    transaction: &mut Transaction<'static, Any>,
) -> Result<Vec<SubjectId>, StoreError> {
    let prefixes = listed_prefixes(transaction).await?;
    let runs: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM key_runs ORDER BY id").fetch_all(&mut **transaction).await?;
    let mut subjects = Vec::new();
    for (run,) in runs {
        let mut rest = prefixes.as_slice();
        let mut after = Vec::new();
        while let Some(page) = page(transaction, run, &mut after).await? {
            for entry in page {
                let prefix = entry.prefix();
                let smaller = rest.iter().take_while(|listed| **listed < prefix).count();
                rest = &rest[smaller..];
                if rest.first() == Some(&prefix) {
                    subjects.push(entry.subject()?);
                }
            }
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    Ok(subjects)
}

/// How all hashes on lists begin, in order: eight bytes for each.
async fn listed_prefixes(
    transaction: &mut Transaction<'static, Any>,
) -> Result<Vec<[u8; PREFIX]>, StoreError> {
    let (mut prefixes, mut after) = (Vec::new(), Vec::new());
    loop {
        let hashes: Vec<(Vec<u8>,)> = sqlx::query_as(
            "SELECT DISTINCT hash FROM list_keys WHERE hash > $1 ORDER BY hash LIMIT $2",
        )
        .bind(after.as_slice())
        .bind((BLOCK * PAGE) as i64)
        .fetch_all(&mut **transaction)
        .await?;
        let Some((last,)) = hashes.last() else { return Ok(prefixes) };
        after.clone_from(last);
        prefixes.extend(hashes.iter().map(|(hash,)| prefix(hash)));
    }
}

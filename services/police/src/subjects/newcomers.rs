//! Subjects that were never submitted before, stored many at a time.

use std::collections::{HashMap, HashSet};

use lanyard_store::{StoreError, placeholders};
use sqlx::{Any, AssertSqlSafe, Transaction};

use super::Submission;
use crate::act::Act;
use crate::matching::{Found, due_column, next_batch};
use crate::prints;
use crate::states::{is_strong, kind_from_number};

/// Subjects stored together: a few hundred parameters, as binding them takes time in their square.
const SUBJECTS: usize = 32;
/// Ids or keys that one statement names or inserts.
const ROWS: usize = 128;

/// Which of these subjects are stored already.
pub(super) async fn known(
    transaction: &mut Transaction<'static, Any>,
    submissions: &[Submission],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let mut known = HashSet::new();
    for submissions in submissions.chunks(ROWS) {
        known.extend(
            holding("subjects", transaction, &submissions.iter().collect::<Vec<_>>()).await?,
        );
    }
    Ok(known)
}

/// Stores subjects with their keys, and decides on them.
pub(super) async fn store(
    transaction: &mut Transaction<'static, Any>,
    submissions: &[&Submission],
    act: Act<'_>,
) -> Result<(), StoreError> {
    for submissions in submissions.chunks(SUBJECTS) {
        let matches = matches(transaction, submissions).await?;
        put(transaction, submissions, &matches, act).await?;
        let keys: Vec<(&[u8], &[u8])> = submissions
            .iter()
            .flat_map(|one| one.keys.iter().map(|hash| (one.id.as_slice(), hash.as_slice())))
            .collect();
        for keys in keys.chunks(ROWS) {
            let statement = format!(
                "INSERT INTO subject_keys (subject_id, hash) VALUES {}",
                placeholders(1, keys.len(), 2)
            );
            let query = sqlx::query(AssertSqlSafe(statement));
            keys.iter()
                .fold(query, |query, (id, hash)| query.bind(*id).bind(*hash))
                .execute(&mut **transaction)
                .await?;
        }
        // Prints may have come first.
        for id in holding("prints", transaction, submissions).await? {
            prints::mark_changed(transaction, &id).await?;
        }
    }
    Ok(())
}

/// Which of at most [`ROWS`] subjects have a row in a table.
async fn holding(
    table: &str,
    transaction: &mut Transaction<'static, Any>,
    submissions: &[&Submission],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let statement = format!(
        "SELECT DISTINCT subject_id FROM {table} WHERE subject_id IN {}",
        placeholders(1, 1, submissions.len())
    );
    let query = sqlx::query_as(AssertSqlSafe(statement));
    let rows: Vec<(Vec<u8>,)> = submissions
        .iter()
        .fold(query, |query, one| query.bind(one.id.as_slice()))
        .fetch_all(&mut **transaction)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Strong and other matches of each hash with entries of lists; most are on none.
async fn matches(
    transaction: &mut Transaction<'static, Any>,
    submissions: &[&Submission],
) -> Result<HashMap<Vec<u8>, (i64, i64)>, StoreError> {
    let mut matches: HashMap<Vec<u8>, (i64, i64)> = HashMap::new();
    let hashes: Vec<&[u8]> =
        submissions.iter().flat_map(|one| one.keys.iter().map(|hash| hash.as_slice())).collect();
    for hashes in hashes.chunks(ROWS) {
        let statement = format!(
            "SELECT hash, kind, COUNT(*) FROM list_keys WHERE hash IN {} GROUP BY hash, kind",
            placeholders(1, 1, hashes.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(statement));
        let rows: Vec<(Vec<u8>, i64, i64)> = hashes
            .iter()
            .fold(query, |query, hash| query.bind(*hash))
            .fetch_all(&mut **transaction)
            .await?;
        for (hash, kind, count) in rows {
            let (strong, weak) = matches.entry(hash).or_default();
            *(if is_strong(kind_from_number(kind)?) { strong } else { weak }) += count;
        }
    }
    Ok(matches)
}

async fn put(
    transaction: &mut Transaction<'static, Any>,
    submissions: &[&Submission],
    matches: &HashMap<Vec<u8>, (i64, i64)>,
    act: Act<'_>,
) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT INTO subjects (subject_id, binding, verdict, decided_by, reason, due_millis, released, \
         release_sequence, suspended, suspension_reason, withdrawn, mismatch, last_change) VALUES {}",
        placeholders(1, submissions.len(), 13)
    );
    let due = due_column(Some(next_batch(act.now, act.delay_millis)));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for one in submissions {
        let mut found = Found { keys: one.keys.len() as i64, ..Found::default() };
        for hash in &one.keys {
            let (strong, weak) = matches.get(hash.as_slice()).copied().unwrap_or_default();
            found.strong += strong;
            found.weak += weak;
        }
        let ruling = found.ruling();
        query = query
            .bind(one.id.as_slice())
            .bind(one.binding.as_slice())
            .bind(ruling.verdict.number())
            .bind(ruling.by.number())
            .bind(ruling.reason)
            .bind(due)
            .bind(0_i64)
            .bind(0_i64)
            .bind(0_i64)
            .bind("")
            .bind(0_i64)
            .bind(0_i64)
            .bind(0_i64);
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

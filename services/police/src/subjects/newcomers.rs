//! Subjects that were never submitted before, stored many at a time.

use std::collections::HashSet;

use lanyard_store::{StoreError, Transaction, placeholders};
use sqlx::AssertSqlSafe;

use super::Submission;
use crate::act::Act;
use crate::lists::Guard;
use crate::matching::{Found, due_column, next_batch};
use crate::prints;
use crate::states::{is_strong, kind_from_number};

/// Subjects stored together: a few hundred parameters, as binding them takes time in their square.
const SUBJECTS: usize = 32;
/// Ids or keys that one statement names or inserts.
const ROWS: usize = 128;

/// Which of these subjects are stored already.
pub(super) async fn known(
    transaction: &mut Transaction,
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
    transaction: &mut Transaction,
    guard: &Guard,
    submissions: &[&Submission],
    act: Act<'_>,
) -> Result<(), StoreError> {
    for submissions in submissions.chunks(SUBJECTS) {
        put(transaction, guard, submissions, act).await?;
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
    transaction: &mut Transaction,
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

/// What stands on lists against somebody; most match nothing.
async fn found(
    transaction: &mut Transaction,
    guard: &Guard,
    one: &Submission,
) -> Result<Found, StoreError> {
    let mut found = Found { keys: one.keys.len() as i64, ..Found::default() };
    for one in guard.matches(transaction, &one.keys).await? {
        *(if is_strong(kind_from_number(one.kind)?) {
            &mut found.strong
        } else {
            &mut found.weak
        }) += 1;
    }
    Ok(found)
}

async fn put(
    transaction: &mut Transaction,
    guard: &Guard,
    submissions: &[&Submission],
    act: Act<'_>,
) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT INTO subjects (subject_id, binding, verdict, decided_by, reason, due_millis, released, \
         release_sequence, suspended, suspension_reason, withdrawn, mismatch, last_change, keys_tag) VALUES {}",
        placeholders(1, submissions.len(), 14)
    );
    let due = due_column(Some(next_batch(act.now, act.delay_millis)));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for one in submissions {
        let ruling = found(transaction, guard, one).await?.ruling();
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
            .bind(0_i64)
            .bind(one.keys_tag(guard.store_key()));
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

//! Subjects that were never submitted before, stored many at a time.

use std::collections::{HashMap, HashSet};

use lanyard_core::identity::KeyKind;
use lanyard_store::{StoreError, placeholders};
use sqlx::{Any, AssertSqlSafe, Transaction};

use super::Submission;
use crate::act::Act;
use crate::matching::{Matches, due_column};
use crate::prints;
use crate::states::kind_number;

/// Rows that one statement inserts or names.
const ROWS: usize = 256;

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
    for submissions in submissions.chunks(ROWS) {
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

/// What stands on lists against each hash; most are not there.
async fn matches(
    transaction: &mut Transaction<'static, Any>,
    submissions: &[&Submission],
) -> Result<HashMap<Vec<u8>, (i64, i64)>, StoreError> {
    let mut matches = HashMap::new();
    let hashes: Vec<&[u8]> =
        submissions.iter().flat_map(|one| one.keys.iter().map(|hash| hash.as_slice())).collect();
    for hashes in hashes.chunks(ROWS) {
        let statement = format!(
            "SELECT hash, COUNT(CASE WHEN kind = $1 THEN 1 END), COUNT(CASE WHEN kind <> $1 THEN 1 END) \
             FROM list_keys WHERE hash IN {} GROUP BY hash",
            placeholders(2, 1, hashes.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(kind_number(KeyKind::Document));
        let rows: Vec<(Vec<u8>, i64, i64)> = hashes
            .iter()
            .fold(query, |query, hash| query.bind(*hash))
            .fetch_all(&mut **transaction)
            .await?;
        matches.extend(rows.into_iter().map(|(hash, documents, names)| (hash, (documents, names))));
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
        "INSERT INTO subjects (subject_id, binding, verdict, decided_by, document_matches, reason, due_millis, \
         released, release_sequence, suspended, suspension_reason, withdrawn, last_change) VALUES {}",
        placeholders(1, submissions.len(), 13)
    );
    let due = due_column(Some(act.now.plus_millis(act.delay_millis)));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for one in submissions {
        let mut found = Matches { keys: one.keys.len() as i64, ..Matches::default() };
        for hash in &one.keys {
            let (documents, names) = matches.get(hash.as_slice()).copied().unwrap_or_default();
            found.documents += documents;
            found.names += names;
        }
        let ruling = found.ruling();
        query = query
            .bind(one.id.as_slice())
            .bind(one.binding.as_slice())
            .bind(ruling.verdict.number())
            .bind(ruling.by.number())
            .bind(ruling.documents)
            .bind(ruling.reason)
            .bind(due)
            .bind(0_i64)
            .bind(0_i64)
            .bind(0_i64)
            .bind("")
            .bind(0_i64)
            .bind(0_i64);
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

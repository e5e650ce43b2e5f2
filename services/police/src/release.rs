//! Verdicts reach the committee and the gates after a fixed delay, all that are due at once: when one arrives tells nothing
//! of how it was found.

use std::time::Duration;

use lanyard_core::ids::Timestamp;
use lanyard_env::Env;
use lanyard_store::{Rereads, SealValue, Store, StoreError, next_numbers};
use tokio_util::sync::CancellationToken;

use crate::ids::SubjectId;
use crate::states::Verdict;

/// How often verdicts are released.
const INTERVAL: Duration = Duration::from_secs(1);

/// A verdict that the committee may read.
pub(crate) struct Released {
    pub(crate) subject_id: SubjectId,
    pub(crate) verdict: Verdict,
    pub(crate) sequence: u64,
}

/// Releases what is due, in the order of the random ids, and returns how many. The prints' records change with it.
pub(crate) async fn release_due(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let now = now.millis() as i64;
    // Looked up outside of a transaction first: mostly there is nothing, and writers need not wait for that.
    let (waiting,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM subjects WHERE due_millis > 0 AND due_millis <= $1")
            .bind(now)
            .fetch_one(store.pool())
            .await?;
    if waiting == 0 {
        return Ok(0);
    }
    let mut transaction = store.begin().await?;
    let (due,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM subjects WHERE due_millis > 0 AND due_millis <= $1")
            .bind(now)
            .fetch_one(&mut *transaction)
            .await?;
    let first = next_numbers(&mut transaction, "release", due).await?;
    sqlx::query(
        "UPDATE subjects SET released = verdict, release_sequence = $1 + r.place, due_millis = 0 \
         FROM (SELECT subject_id AS id, ROW_NUMBER() OVER (ORDER BY subject_id) - 1 AS place FROM subjects \
               WHERE due_millis > 0 AND due_millis <= $2) AS r \
         WHERE subjects.subject_id = r.id",
    )
    .bind(first)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    let (prints,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM prints i JOIN subjects s ON s.subject_id = i.subject_id WHERE s.release_sequence >= $1",
    )
    .bind(first)
    .fetch_one(&mut *transaction)
    .await?;
    let changed = next_numbers(&mut transaction, "changed", prints).await?;
    sqlx::query(
        "UPDATE prints SET changed = $1 + r.place \
         FROM (SELECT i.id AS print, ROW_NUMBER() OVER (ORDER BY i.id) - 1 AS place FROM prints i \
               JOIN subjects s ON s.subject_id = i.subject_id WHERE s.release_sequence >= $2) AS r \
         WHERE prints.id = r.print",
    )
    .bind(changed)
    .bind(first)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(due as u64)
}

/// Verdicts released after the cursor, oldest release first. A damaged one is not told: it stays pending for the committee.
pub(crate) async fn released_after(
    store: &Store,
    rereads: &Rereads,
    cursor: u64,
    limit: u32,
) -> Result<Vec<Released>, StoreError> {
    let cursor = rereads.from(store, cursor);
    let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(
        "SELECT subject_id, released, release_sequence FROM subjects \
         WHERE release_sequence > $1 AND withdrawn = 0 ORDER BY release_sequence LIMIT $2",
    )
    .bind(i64::try_from(cursor).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(store.pool())
    .await?;
    let last = rows.last().map_or(0, |(_, _, sequence)| *sequence);
    let range =
        [SealValue::Number(i64::try_from(cursor).unwrap_or(i64::MAX)), SealValue::Number(last)];
    let condition = "release_sequence > $1 AND release_sequence <= $2";
    let damaged = store.damaged("subjects", condition, &range).await?;
    for row in &damaged {
        tracing::error!(%row, "damaged: its verdict is not released; restore the store from a backup");
    }
    let is_sound = |id: &[u8]| damaged.iter().all(|row| row.key != hex::encode(id));
    rows.into_iter()
        .filter(|(id, ..)| is_sound(id))
        .map(|(id, released, sequence)| {
            Ok(Released {
                subject_id: SubjectId::from_column("subjects", &id)?,
                verdict: Verdict::from_number("released", released)?,
                sequence: sequence as u64,
            })
        })
        .collect()
}

/// Releases every second until `shutdown`.
pub(crate) async fn keep_releasing(store: Store, env: Env, shutdown: CancellationToken) {
    let mut complained = false;
    while !shutdown.is_cancelled() {
        match release_due(&store, env.now()).await {
            Ok(0) => complained = false,
            Ok(count) => {
                complained = false;
                tracing::info!(count, "verdicts released");
            }
            Err(error) if !complained => {
                tracing::error!(%error, "verdicts wait: they cannot be released");
                complained = true;
            }
            Err(_) => {}
        }
        let _ = shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await;
    }
}

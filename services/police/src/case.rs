//! A subject as officers see it: verdict, stop, and what matches.

use lanyard_store::{Store, StoreError};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::screening::v1::Verdict as WireVerdict;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::ids::SubjectId;
use crate::states::{Verdict, wire_kind};

const COLUMNS: &str = "SELECT s.subject_id, s.verdict, s.reason, s.suspended, s.suspension_reason, s.withdrawn \
    FROM subjects s";

/// One subject, if it is known.
pub(crate) async fn by_id(
    store: &Store,
    subject_id: &SubjectId,
) -> Result<Option<wire::SubjectState>, StoreError> {
    let sql = format!("{COLUMNS} WHERE s.subject_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(subject_id.as_slice())
        .fetch_optional(store.pool())
        .await?;
    match row {
        Some(row) => Ok(Some(read(store, &row).await?)),
        None => Ok(None),
    }
}

/// Subjects after `after` by id; only those that match, if asked.
pub(crate) async fn list(
    store: &Store,
    after: &[u8],
    matched_only: bool,
    limit: u32,
) -> Result<Vec<wire::SubjectState>, StoreError> {
    let matched = if matched_only {
        "AND EXISTS (SELECT 1 FROM subject_keys k JOIN list_keys l ON l.hash = k.hash WHERE k.subject_id = s.subject_id)"
    } else {
        ""
    };
    let sql = format!("{COLUMNS} WHERE s.subject_id > $1 {matched} ORDER BY s.subject_id LIMIT $2");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    let mut cases = Vec::with_capacity(rows.len());
    for row in &rows {
        cases.push(read(store, row).await?);
    }
    Ok(cases)
}

/// How many subjects there are.
pub(crate) async fn count(store: &Store) -> Result<u64, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM subjects").fetch_one(store.pool()).await?;
    Ok(count as u64)
}

async fn read(store: &Store, row: &AnyRow) -> Result<wire::SubjectState, StoreError> {
    let subject_id: Vec<u8> = row.try_get("subject_id")?;
    let verdict = Verdict::from_number("verdict", row.try_get("verdict")?)?;
    let suspended = row.try_get::<i64, _>("suspended")? != 0;
    let withdrawn = row.try_get::<i64, _>("withdrawn")? != 0;
    let why: String = row.try_get(if suspended { "suspension_reason" } else { "reason" })?;
    let reason = if withdrawn { format!("withdrawn by the committee; {why}") } else { why };
    Ok(wire::SubjectState {
        matches: matches(store, &subject_id).await?,
        subject_id,
        verdict: WireVerdict::from(verdict).into(),
        suspended,
        reason,
    })
}

async fn matches(store: &Store, subject_id: &[u8]) -> Result<Vec<wire::Match>, StoreError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT w.name, e.label, MIN(l.kind) FROM subject_keys k JOIN list_keys l ON l.hash = k.hash \
         JOIN list_entries e ON e.id = l.entry_id JOIN watchlists w ON w.id = e.list_id \
         WHERE k.subject_id = $1 GROUP BY w.name, e.id, e.label ORDER BY MIN(l.kind), w.name, e.id",
    )
    .bind(subject_id)
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|(list, label, kind)| Ok(wire::Match { list, label, kind: wire_kind(kind)?.into() }))
        .collect()
}

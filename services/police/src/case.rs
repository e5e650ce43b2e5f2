//! A subject as officers see it: verdict, stop, and what matches.

use std::collections::{BTreeMap, BTreeSet};

use lanyard_store::{DamagedRow, SealValue, Store, StoreError};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::screening::v1::Verdict as WireVerdict;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::ids::SubjectId;
use crate::lists::{Guard, Lists};
use crate::states::{Verdict, wire_kind};
use crate::subjects::keys;

const COLUMNS: &str = "SELECT s.subject_id, s.verdict, s.reason, s.suspended, s.suspension_reason, s.withdrawn \
    FROM subjects s";

/// Tables that have rows of a subject which are shown.
const SHOWN: [&str; 4] = ["subjects", "proposals", "disclosures", "seen_matches"];

/// What officers read in the place of what is damaged.
const DAMAGED: &str = "damaged in the store, and nothing is said from it: `lanyard fsck` names it";

/// What they read beside the reason while a list is damaged.
const HIDDEN: &str = "; a watchlist is damaged in the store, and may match unseen: import it again";

/// One subject, if it is known.
pub(crate) async fn by_id(
    store: &Store,
    lists: &Lists,
    subject_id: &SubjectId,
) -> Result<Option<wire::SubjectState>, StoreError> {
    refuse_damaged(store, subject_id).await?;
    let mut snapshot = store.snapshot().await?;
    let guard = lists.guard(&mut snapshot).await?;
    load(&mut snapshot, &guard, subject_id).await
}

/// Nothing is said of a subject from a damaged row.
pub(crate) async fn refuse_damaged(
    store: &Store,
    subject_id: &SubjectId,
) -> Result<(), StoreError> {
    for table in SHOWN {
        let id = [SealValue::Bytes(subject_id.as_slice())];
        store.refuse_damaged(table, "subject_id = $1", &id).await?;
    }
    Ok(())
}

/// Those of some subjects of which a row is damaged. Mostly there is none, and none is looked at by itself.
pub(crate) async fn damaged(
    store: &Store,
    subjects: &[SubjectId],
) -> Result<BTreeSet<SubjectId>, StoreError> {
    let mut damaged = BTreeSet::new();
    let (Some(first), Some(last)) = (subjects.iter().min(), subjects.iter().max()) else {
        return Ok(damaged);
    };
    let range = [SealValue::Bytes(first.as_slice()), SealValue::Bytes(last.as_slice())];
    for table in SHOWN {
        let condition = "subject_id >= $1 AND subject_id <= $2";
        if store.damaged(table, condition, &range).await?.is_empty() {
            continue;
        }
        for subject in subjects {
            let id = [SealValue::Bytes(subject.as_slice())];
            let found: Vec<DamagedRow> = store.damaged(table, "subject_id = $1", &id).await?;
            damaged.extend(found.first().map(|_| *subject));
        }
    }
    Ok(damaged)
}

/// One subject with what matches it; its rows are known to be sound.
pub(crate) async fn load(
    connection: &mut AnyConnection,
    guard: &Guard,
    subject_id: &SubjectId,
) -> Result<Option<wire::SubjectState>, StoreError> {
    let sql = format!("{COLUMNS} WHERE s.subject_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(subject_id.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let held = keys::of_subject(connection, guard.store_key(), subject_id).await?;
    held.refuse_damaged(subject_id)?;
    let matches = matches(connection, guard, &held).await?;
    Ok(Some(wire::SubjectState { matches, ..read(guard, subject_id, &row)? }))
}

/// Subjects after `after` by id; only those that match, if asked. One that is damaged is there, and nothing is said of it.
pub(crate) async fn list(
    store: &Store,
    lists: &Lists,
    after: &[u8],
    matched_only: bool,
    limit: u32,
) -> Result<Vec<wire::SubjectState>, StoreError> {
    let mut snapshot = store.snapshot().await?;
    let guard = lists.guard(&mut snapshot).await?;
    let (mut after, mut found) = (after.to_vec(), Vec::new());
    let limit = limit as usize;
    while found.len() < limit
        && let Some(page) = keys::page(&mut snapshot, guard.store_key(), &mut after).await?
    {
        for (subject, held) in page {
            let (matches, is_damaged) = match matches(&mut snapshot, &guard, &held).await {
                Err(error) if error.is_damaged() => (Vec::new(), true),
                other => (other?, held.damaged),
            };
            if found.len() < limit && (!matched_only || is_damaged || !matches.is_empty()) {
                found.push((subject, is_damaged, matches));
            }
        }
    }
    let mut states = Vec::with_capacity(found.len());
    for (subject, is_damaged, matches) in found {
        let sql = format!("{COLUMNS} WHERE s.subject_id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(subject.as_slice())
            .fetch_one(&mut *snapshot)
            .await?;
        states.push((subject, is_damaged, read(&guard, &subject, &row), matches));
    }
    drop(snapshot);
    let subjects: Vec<SubjectId> = states.iter().map(|(subject, ..)| *subject).collect();
    let rows = damaged(store, &subjects).await?;
    let shown = states.into_iter().map(|(subject, is_damaged, state, matches)| match state {
        Ok(state) if !is_damaged && !rows.contains(&subject) => {
            Ok(wire::SubjectState { matches, ..state })
        }
        Ok(_) | Err(StoreError::Corrupt { .. }) => Ok(unsaid(&subject)),
        Err(error) => Err(error),
    });
    shown.collect()
}

/// A subject that is damaged: an officer has to look at it, and sees no more.
pub(crate) fn unsaid(subject: &SubjectId) -> wire::SubjectState {
    wire::SubjectState {
        subject_id: subject.as_slice().to_vec(),
        verdict: WireVerdict::Pending.into(),
        reason: DAMAGED.to_owned(),
        ..wire::SubjectState::default()
    }
}

/// How many subjects there are.
pub(crate) async fn count(store: &Store) -> Result<u64, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM subjects").fetch_one(store.pool()).await?;
    Ok(count as u64)
}

fn read(
    guard: &Guard,
    subject: &SubjectId,
    row: &AnyRow,
) -> Result<wire::SubjectState, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "subjects", column };
    let number = |column| row.try_get::<i64, _>(column).map_err(|_| corrupt(column));
    let verdict = Verdict::from_number("verdict", number("verdict")?)?;
    let suspended = number("suspended")? != 0;
    let withdrawn = number("withdrawn")? != 0;
    let column = if suspended { "suspension_reason" } else { "reason" };
    let why: String = row.try_get(column).map_err(|_| corrupt(column))?;
    let mut reason = if withdrawn { format!("withdrawn by the committee; {why}") } else { why };
    if guard.is_damaged() {
        reason.push_str(HIDDEN);
    }
    Ok(wire::SubjectState {
        matches: Vec::new(),
        subject_id: subject.as_slice().to_vec(),
        verdict: WireVerdict::from(verdict).into(),
        suspended,
        reason,
    })
}

/// Each entry that matches, once, by its strongest key; the strongest first.
async fn matches(
    connection: &mut AnyConnection,
    guard: &Guard,
    held: &keys::Held,
) -> Result<Vec<wire::Match>, StoreError> {
    let mut entries: BTreeMap<(String, i64), (i64, String)> = BTreeMap::new();
    for one in guard.matches(connection, &held.hashes).await? {
        let (kind, _) = entries.entry((one.list, one.entry)).or_insert((one.kind, one.label));
        *kind = one.kind.min(*kind);
    }
    let mut entries: Vec<_> = entries.into_iter().collect();
    // Stable: those of one kind stay by list and entry.
    entries.sort_by_key(|(_, (kind, _))| *kind);
    entries
        .into_iter()
        .map(|((list, _), (kind, label))| {
            Ok(wire::Match { list, label, kind: wire_kind(kind)?.into() })
        })
        .collect()
}

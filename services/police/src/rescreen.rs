//! Matches in the store: of one subject, and of everyone when a list changes. Stored keys are enough for it: the committee
//! is not asked, and does not learn that it happened.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lanyard_store::StoreError;
use sqlx::{Any, AssertSqlSafe, Transaction};

use crate::act::Act;
use crate::ids::SubjectId;
use crate::matching::{Found, Standing, decide};
use crate::states::{DecidedBy, Verdict, is_strong, kind_from_number};
use crate::subjects::key_index;

/// Matches by subject and kind, and how many of them the officer who decided last did not see. An entry is known again by
/// its list, its label and the key that matched: each import numbers entries anew.
const MATCHED: &str =
    "SELECT k.subject_id, l.kind, COUNT(*), COUNT(CASE WHEN n.hash IS NULL THEN 1 END)";
const SEEN: &str = "JOIN list_entries e ON e.id = l.entry_id \
    LEFT JOIN seen_matches n ON n.subject_id = k.subject_id AND n.list_id = e.list_id AND n.label = e.label \
        AND n.hash = k.hash";

/// Subjects of whose seen entries one matches no longer, by any key.
const GONE: &str = "SELECT DISTINCT n.subject_id FROM seen_matches n WHERE NOT EXISTS \
    (SELECT 1 FROM subject_keys k JOIN list_keys l ON l.hash = k.hash JOIN list_entries e ON e.id = l.entry_id \
     WHERE k.subject_id = n.subject_id AND e.list_id = n.list_id AND e.label = n.label)";

type MatchedRow = (Vec<u8>, i64, i64, i64);

fn add(found: &mut Found, kind: i64, matches: i64, new: i64) -> Result<(), StoreError> {
    if is_strong(kind_from_number(kind)?) {
        found.strong += matches;
        found.new_strong += new;
    } else {
        found.weak += matches;
        found.new_weak += new;
    }
    Ok(())
}

/// What matches one subject.
pub(crate) async fn of_subject(
    transaction: &mut Transaction<'static, Any>,
    subject_id: &[u8],
) -> Result<Found, StoreError> {
    let (keys,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM subject_keys WHERE subject_id = $1")
        .bind(subject_id)
        .fetch_one(&mut **transaction)
        .await?;
    let sql = format!(
        "{MATCHED} FROM subject_keys k JOIN list_keys l ON l.hash = k.hash {SEEN} \
         WHERE k.subject_id = $1 GROUP BY k.subject_id, l.kind"
    );
    let rows: Vec<MatchedRow> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(subject_id).fetch_all(&mut **transaction).await?;
    let gone: Option<(Vec<u8>,)> =
        sqlx::query_as(AssertSqlSafe(format!("{GONE} AND n.subject_id = $1")))
            .bind(subject_id)
            .fetch_optional(&mut **transaction)
            .await?;
    let mut found = Found { keys, gone: gone.is_some(), ..Found::default() };
    for (_, kind, matches, new) in rows {
        add(&mut found, kind, matches, new)?;
    }
    Ok(found)
}

/// What a changed list has led to.
pub(crate) struct Rescreened {
    /// How many subjects match now.
    pub(crate) matches: u64,
    /// Whose verdict changed, and how, for the audit trail.
    pub(crate) changed: Vec<(String, String)>,
}

/// Decides anew, of everyone, what the lists have changed.
pub(crate) async fn everyone(
    transaction: &mut Transaction<'static, Any>,
    act: Act<'_>,
) -> Result<Rescreened, StoreError> {
    let mut subjects: HashMap<Vec<u8>, Found> = HashMap::new();
    let mut matched = 0;
    for id in key_index::listed(transaction).await? {
        let found = of_subject(transaction, id.as_slice()).await?;
        matched += u64::from(found.strong + found.weak > 0);
        subjects.insert(id.as_slice().to_vec(), found);
    }
    let gone: Vec<(Vec<u8>,)> = sqlx::query_as(GONE).fetch_all(&mut **transaction).await?;
    // Those that matched before, and may match no longer.
    let before: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT subject_id FROM subjects WHERE decided_by = $1 OR (decided_by = $2 AND verdict <> $3)",
    )
    .bind(DecidedBy::Review.number())
    .bind(DecidedBy::Rule.number())
    .bind(Verdict::Cleared.number())
    .fetch_all(&mut **transaction)
    .await?;
    for (id,) in before {
        if let Entry::Vacant(place) = subjects.entry(id) {
            let found = of_subject(transaction, place.key()).await?;
            place.insert(found);
        }
    }
    for (id,) in gone {
        subjects.entry(id).or_default().gone = true;
    }
    let mut changed = Vec::new();
    for (id, found) in subjects {
        let Some(standing) = Standing::load(transaction, &id).await? else { continue };
        if let Some(ruling) = standing.reconsidered(found) {
            decide(transaction, &id, &standing, &ruling, act.now, act.delay_millis).await?;
            let how = format!("was {}; {}", standing.verdict.name(), ruling.reason);
            changed.push((SubjectId::from_column("subjects", &id)?.to_string(), how));
        }
    }
    changed.sort_unstable();
    Ok(Rescreened { matches: matched, changed })
}

/// Keeps what matches now as what an officer saw who decides now.
pub(crate) async fn remember_seen(
    transaction: &mut Transaction<'static, Any>,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    forget_seen(transaction, subject_id).await?;
    sqlx::query(
        "INSERT INTO seen_matches (subject_id, list_id, label, hash, kind) \
         SELECT k.subject_id, e.list_id, e.label, k.hash, MIN(l.kind) FROM subject_keys k \
         JOIN list_keys l ON l.hash = k.hash JOIN list_entries e ON e.id = l.entry_id \
         WHERE k.subject_id = $1 GROUP BY k.subject_id, e.list_id, e.label, k.hash",
    )
    .bind(subject_id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Forgets it: the subject is a new case.
pub(crate) async fn forget_seen(
    transaction: &mut Transaction<'static, Any>,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM seen_matches WHERE subject_id = $1")
        .bind(subject_id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

//! Matches in the store: of one subject, and of everyone when a list changes. Stored keys are enough for it: the committee
//! is not asked, and does not learn that it happened.

use std::collections::BTreeSet;

use lanyard_store::{AuditTrail, NewAuditEntry, StoreError, Transaction};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::act::Act;
use crate::ids::SubjectId;
use crate::lists::{Guard, Match};
use crate::matching::{Found, Standing, decide};
use crate::states::{DecidedBy, Verdict, is_strong, kind_from_number};
use crate::subjects::{key_index, keys};

/// What matches one subject, and how many of it the officer who decided last did not see. An entry is known again by its
/// list, its label and the key that matched: each import numbers entries anew.
pub(crate) async fn of_subject(
    connection: &mut AnyConnection,
    guard: &Guard,
    subject: &SubjectId,
) -> Result<Found, StoreError> {
    let held = keys::of_subject(connection, guard.store_key(), subject).await?;
    let matches = guard.matches(connection, &held.hashes).await?;
    let seen = sqlx::query("SELECT list_id, label, hash FROM seen_matches WHERE subject_id = $1")
        .bind(subject.as_slice())
        .fetch_all(&mut *connection)
        .await?;
    // What does not read was not seen, as what is damaged otherwise is no entry that anybody has seen.
    let seen: Vec<(i64, String, Vec<u8>)> = seen
        .iter()
        .filter_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?)))
        .collect();
    let mut found = Found {
        keys: held.hashes.len() as i64,
        damaged: held.damaged || guard.is_damaged(),
        // By any key.
        gone: seen.iter().any(|(list, label, _)| {
            matches.iter().all(|one| one.list_id != *list || one.label != *label)
        }),
        ..Found::default()
    };
    for one in &matches {
        let is_new = seen.iter().all(|(list, label, hash)| {
            (*list, label, hash.as_slice()) != (one.list_id, &one.label, one.hash.as_slice())
        });
        if is_strong(kind_from_number(one.kind)?) {
            found.strong += 1;
            found.new_strong += i64::from(is_new);
        } else {
            found.weak += 1;
            found.new_weak += i64::from(is_new);
        }
    }
    Ok(found)
}

/// What matches a subject, for somebody who decides on it: nothing while something of it may be hidden.
pub(crate) async fn all_matches(
    connection: &mut AnyConnection,
    guard: &Guard,
    subject: &SubjectId,
) -> Result<Vec<Match>, StoreError> {
    guard.refuse_damaged()?;
    let held = keys::of_subject(connection, guard.store_key(), subject).await?;
    held.refuse_damaged(subject)?;
    guard.matches(connection, &held.hashes).await
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
    transaction: &mut Transaction,
    guard: &Guard,
    act: Act<'_>,
) -> Result<Rescreened, StoreError> {
    let mut subjects: BTreeSet<SubjectId> =
        key_index::listed(transaction, guard).await?.into_iter().collect();
    // Those that matched before, and may match no longer.
    let before = sqlx::query(
        "SELECT subject_id FROM subjects WHERE decided_by = $1 OR (decided_by = $2 AND verdict <> $3) \
         UNION SELECT subject_id FROM seen_matches",
    )
    .bind(DecidedBy::Review.number())
    .bind(DecidedBy::Rule.number())
    .bind(Verdict::Cleared.number())
    .fetch_all(&mut **transaction)
    .await?;
    // An id that is none is that of a damaged row, which the registry closes.
    let id = |row: &AnyRow| row.try_get::<Vec<u8>, _>(0).ok();
    let before = before.iter().filter_map(id);
    subjects.extend(before.filter_map(|id| SubjectId::from_column("subjects", &id).ok()));
    let mut rescreened = Rescreened { matches: 0, changed: Vec::new() };
    for id in subjects {
        let found = of_subject(transaction, guard, &id).await?;
        rescreened.matches += u64::from(found.strong + found.weak > 0);
        rescreened.changed.extend(apply(transaction, &id, found, act).await?);
    }
    Ok(rescreened)
}

/// Decides anew on some subjects, and keeps it in the audit trail.
pub(crate) async fn reconsider(
    transaction: &mut Transaction,
    guard: &Guard,
    subjects: &[SubjectId],
    act: Act<'_>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for id in subjects {
        let found = of_subject(transaction, guard, id).await?;
        changed.extend(apply(transaction, id, found, act).await?);
    }
    if changed.is_empty() {
        return Ok(());
    }
    let entries: Vec<_> = changed.iter().map(|one| audit_entry(one, act)).collect();
    let change = AuditTrail::new_change(transaction).await?;
    AuditTrail::append(transaction, act.now, change, &entries).await
}

/// How the audit trail names a verdict that changed.
pub(crate) fn audit_entry<'a>(
    (subject, reason): &'a (String, String),
    act: Act<'a>,
) -> NewAuditEntry<'a> {
    NewAuditEntry { operator: act.operator, action: "rescreen", subject, reason }
}

/// Stores what the rules change about a subject.
async fn apply(
    transaction: &mut Transaction,
    subject: &SubjectId,
    found: Found,
    act: Act<'_>,
) -> Result<Option<(String, String)>, StoreError> {
    let id = subject.as_slice();
    // A row that does not read is damaged, and closed as such.
    let standing = match Standing::load(transaction, id).await {
        Ok(Some(standing)) => standing,
        Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(ruling) = standing.reconsidered(found) else { return Ok(None) };
    decide(transaction, id, &standing, &ruling, act.now, act.delay_millis).await?;
    Ok(Some((subject.to_string(), format!("was {}; {}", standing.verdict.name(), ruling.reason))))
}

/// Keeps what matches now as what an officer saw who decides now.
pub(crate) async fn remember_seen(
    transaction: &mut Transaction,
    subject: &SubjectId,
    matches: &[Match],
) -> Result<(), StoreError> {
    forget_seen(transaction, subject.as_slice()).await?;
    for one in matches {
        // Of entries of one list with the same label, the strongest.
        sqlx::query(
            "INSERT INTO seen_matches (subject_id, list_id, label, hash, kind) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (subject_id, list_id, label, hash) DO UPDATE SET kind = \
             CASE WHEN seen_matches.kind < $5 THEN seen_matches.kind ELSE $5 END",
        )
        .bind(subject.as_slice())
        .bind(one.list_id)
        .bind(&one.label)
        .bind(one.hash.as_slice())
        .bind(one.kind)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Forgets it: the subject is a new case.
pub(crate) async fn forget_seen(
    transaction: &mut Transaction,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM seen_matches WHERE subject_id = $1")
        .bind(subject_id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

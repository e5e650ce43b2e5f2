//! Subjects as the committee hands them in, and takes them back.

pub(crate) mod key_index;
pub(crate) mod keys;
mod newcomers;

use std::collections::HashSet;

use lanyard_core::binding::Binding;
use lanyard_party::StoreKey;
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, Transaction};

use crate::act::Act;
use crate::ids::{LocalHash, SubjectId};
use crate::lists::Lists;
use crate::matching::{Found, Standing, due_column, next_batch};
use crate::rescreen::{self, forget_seen, of_subject};
use crate::{disclosures, prints, tags};

/// A person as submitted, without padding.
pub(crate) struct Submission {
    pub(crate) id: SubjectId,
    pub(crate) binding: [u8; Binding::SIZE],
    /// Sorted, each once.
    pub(crate) keys: Vec<LocalHash>,
}

impl Submission {
    fn keys_tag(&self, store_key: &StoreKey) -> i64 {
        tags::subject_keys(store_key, &self.id, self.keys.iter().map(LocalHash::as_slice))
    }
}

/// Stores people and decides on them. The same submission again changes nothing; another one for a known subject replaces
/// keys and binding, is a new case, and is kept in the audit trail: changing keys until nothing matches shall show. So do
/// keys that are damaged, which are whole again then. While a list is damaged, nobody can be decided on.
pub(crate) async fn submit(
    store: &Store,
    lists: &Lists,
    submissions: &[Submission],
    act: Act<'_>,
) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    let guard = lists.guard(&mut transaction).await?;
    guard.refuse_damaged()?;
    let known = newcomers::known(&mut transaction, submissions).await?;
    let mut seen = HashSet::new();
    let (new, known): (Vec<&Submission>, Vec<&Submission>) = submissions
        .iter()
        .partition(|one| !known.contains(one.id.as_slice()) && seen.insert(one.id.as_slice()));
    newcomers::store(&mut transaction, &guard, &new, act).await?;
    let mut entries = key_entries(&new);
    let mut replaced = Vec::new();
    for submission in known {
        let before = Standing::load(&mut transaction, submission.id.as_slice()).await?;
        if let Some(standing) = before {
            if !standing.withdrawn
                && is_known(&mut transaction, guard.store_key(), submission).await?
            {
                continue;
            }
            replaced.push((submission.id.to_string(), format!("was {}", standing.verdict.name())));
        }
        store_keys(&mut transaction, guard.store_key(), submission).await?;
        entries.extend(key_entries(&[submission]));
        forget_seen(&mut transaction, submission.id.as_slice()).await?;
        disclosures::end_subject(&mut transaction, submission.id.as_slice()).await?;
        let found = of_subject(&mut transaction, &guard, &submission.id).await?;
        put(&mut transaction, submission, found, act).await?;
        // Prints may have come first.
        prints::mark_changed(&mut transaction, submission.id.as_slice()).await?;
    }
    let damaged = key_index::add(&mut transaction, guard.store_key(), entries).await?;
    rescreen::reconsider(&mut transaction, &guard, &damaged, act).await?;
    let entries: Vec<_> = replaced
        .iter()
        .map(|(subject, reason)| NewAuditEntry {
            operator: act.operator,
            action: "resubmit",
            subject,
            reason,
        })
        .collect();
    if !entries.is_empty() {
        let change = AuditTrail::new_change(&mut transaction).await?;
        AuditTrail::append(&mut transaction, act.now, change, &entries).await?;
    }
    transaction.commit().await
}

fn key_entries(submissions: &[&Submission]) -> Vec<key_index::Entry> {
    let of = |one: &Submission| {
        let id = one.id;
        one.keys.iter().map(move |hash| key_index::Entry::new(hash, &id)).collect::<Vec<_>>()
    };
    submissions.iter().flat_map(|one| of(one)).collect()
}

/// Whether exactly this was submitted before, and is stored as it was.
async fn is_known(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    submission: &Submission,
) -> Result<bool, StoreError> {
    let (binding,): (Vec<u8>,) =
        sqlx::query_as("SELECT binding FROM subjects WHERE subject_id = $1")
            .bind(submission.id.as_slice())
            .fetch_one(&mut **transaction)
            .await?;
    let held = keys::of_subject(transaction, store_key, &submission.id).await?;
    Ok(binding == submission.binding && !held.damaged && held.hashes == submission.keys)
}

async fn put(
    transaction: &mut Transaction,
    submission: &Submission,
    found: Found,
    act: Act<'_>,
) -> Result<(), StoreError> {
    let ruling = found.ruling();
    sqlx::query(
        "UPDATE subjects SET binding = $1, verdict = $2, decided_by = $3, reason = $4, due_millis = $5, released = 0, \
         release_sequence = 0, withdrawn = 0, mismatch = 0 WHERE subject_id = $6",
    )
    .bind(submission.binding.as_slice())
    .bind(ruling.verdict.number())
    .bind(ruling.by.number())
    .bind(ruling.reason)
    .bind(due_column(Some(next_batch(act.now, act.delay_millis))))
    .bind(submission.id.as_slice())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Replaces the keys; a subject that is new gets a row that [`put`] completes.
async fn store_keys(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    submission: &Submission,
) -> Result<(), StoreError> {
    let id = submission.id.as_slice();
    let nothing = Found::default().ruling();
    sqlx::query(
        "INSERT INTO subjects (subject_id, binding, verdict, decided_by, reason, due_millis, released, \
         release_sequence, suspended, suspension_reason, withdrawn, mismatch, last_change, keys_tag) \
         VALUES ($1, $2, $3, $4, '', 0, 0, 0, 0, '', 0, 0, 0, $5) ON CONFLICT (subject_id) DO UPDATE SET keys_tag = $5",
    )
    .bind(id)
    .bind(submission.binding.as_slice())
    .bind(nothing.verdict.number())
    .bind(nothing.by.number())
    .bind(submission.keys_tag(store_key))
    .execute(&mut **transaction)
    .await?;
    sqlx::query("DELETE FROM subject_keys WHERE subject_id = $1")
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    for hash in &submission.keys {
        sqlx::query("INSERT INTO subject_keys (subject_id, hash) VALUES ($1, $2)")
            .bind(id)
            .bind(hash.as_slice())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Takes people back, and returns how many were known and not withdrawn. Their records stop at once; a withdrawal is kept
/// in the audit trail with the verdict that it follows.
pub(crate) async fn withdraw(
    store: &Store,
    subjects: &[SubjectId],
    act: Act<'_>,
) -> Result<u64, StoreError> {
    let mut transaction = store.begin().await?;
    let mut withdrawn = Vec::new();
    for id in subjects {
        let Some(standing) = Standing::load(&mut transaction, id.as_slice()).await? else {
            continue;
        };
        if standing.withdrawn {
            continue;
        }
        sqlx::query("UPDATE subjects SET withdrawn = 1, due_millis = 0 WHERE subject_id = $1")
            .bind(id.as_slice())
            .execute(&mut *transaction)
            .await?;
        disclosures::end_subject(&mut transaction, id.as_slice()).await?;
        prints::mark_changed(&mut transaction, id.as_slice()).await?;
        withdrawn.push((id.to_string(), format!("was {}", standing.verdict.name())));
    }
    let entries: Vec<_> = withdrawn
        .iter()
        .map(|(subject, reason)| NewAuditEntry {
            operator: act.operator,
            action: "withdraw",
            subject,
            reason,
        })
        .collect();
    if !entries.is_empty() {
        let change = AuditTrail::new_change(&mut transaction).await?;
        AuditTrail::append(&mut transaction, act.now, change, &entries).await?;
    }
    transaction.commit().await?;
    Ok(withdrawn.len() as u64)
}

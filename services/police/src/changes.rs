//! What officers do at once: suspend, reinstate, and take a change back. The audit trail is written with the deed.

use lanyard_authority::Held;
use lanyard_core::ids::Timestamp;
use lanyard_store::{
    AuditTrail, NewAuditEntry, SealValue, Store, StoreError, Transaction, next_numbers,
};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::police::v1 as wire;

use crate::act::Act;
use crate::ids::SubjectId;
use crate::prints;
use crate::staff;

/// Whether a subject is stopped, and why.
struct Stop {
    suspended: bool,
    reason: String,
    last_change: i64,
}

impl Stop {
    async fn load(
        transaction: &mut Transaction,
        subject_id: &[u8],
    ) -> Result<Option<Self>, StoreError> {
        let row: Option<(i64, String, i64)> = sqlx::query_as(
            "SELECT suspended, suspension_reason, last_change FROM subjects WHERE subject_id = $1",
        )
        .bind(subject_id)
        .fetch_optional(&mut **transaction)
        .await?;
        Ok(row.map(|(suspended, reason, last_change)| Self {
            suspended: suspended != 0,
            reason,
            last_change,
        }))
    }

    async fn store(
        &self,
        transaction: &mut Transaction,
        subject_id: &[u8],
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE subjects SET suspended = $1, suspension_reason = $2, last_change = $3 WHERE subject_id = $4",
        )
        .bind(i64::from(self.suspended))
        .bind(&self.reason)
        .bind(self.last_change)
        .bind(subject_id)
        .execute(&mut **transaction)
        .await?;
        prints::mark_changed(transaction, subject_id).await
    }

    async fn remember(
        &self,
        transaction: &mut Transaction,
        change_id: i64,
        subject_id: &[u8],
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO status_changes (change_id, subject_id, suspended, suspension_reason, previous_change) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(change_id)
        .bind(subject_id)
        .bind(i64::from(self.suspended))
        .bind(&self.reason)
        .bind(self.last_change)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// Suspends or reinstates; all that is possible of a list, in one transaction. `None` is a badge that nobody knows.
/// Unlike a verdict, this shows at the next tick.
pub(crate) async fn change_status(
    store: &Store,
    suspend: bool,
    subjects: &[Option<SubjectId>],
    reason: &str,
    act: Act<'_>,
) -> Result<wire::ChangeStatusResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut outcomes = Vec::with_capacity(subjects.len());
    let mut changed = Vec::new();
    for subject in subjects {
        let outcome = match subject {
            None => wire::Outcome::NotFound,
            Some(id) => match Stop::load(&mut transaction, id.as_slice()).await? {
                None => wire::Outcome::NotFound,
                Some(before) if before.suspended == suspend => wire::Outcome::Unchanged,
                Some(before) => {
                    before.remember(&mut transaction, change_id, id.as_slice()).await?;
                    let after = Stop {
                        suspended: suspend,
                        reason: if suspend { reason.to_owned() } else { String::new() },
                        last_change: change_id,
                    };
                    after.store(&mut transaction, id.as_slice()).await?;
                    changed.push(id.to_string());
                    wire::Outcome::Done
                }
            },
        };
        let subject_id = subject.map(|id| id.as_slice().to_vec()).unwrap_or_default();
        outcomes.push(wire::SubjectOutcome { subject_id, outcome: outcome.into() });
    }
    let action = if suspend { "suspend" } else { "reinstate" };
    append(&mut transaction, action, &changed, reason, change_id, act).await?;
    transaction.commit().await?;
    Ok(wire::ChangeStatusResponse { outcomes, change_id: change_id as u64 })
}

/// After a restored backup: suspends whoever was published as something else than what the store says, by one change that
/// can be undone, and passes over `lost` numbers of staff badges, which somebody may bear whom the store does not know.
pub(crate) async fn hold(
    store: &Store,
    held: &[Held],
    lost: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    const REASON: &str = "published otherwise after the backup that was restored";
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut changed = Vec::new();
    for Held { id, .. } in held {
        let subject: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT subject_id FROM prints WHERE id = $1")
                .bind(*id as i64)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some((subject,)) = subject else {
            changed.extend(staff::hold(&mut transaction, *id, change_id).await?);
            continue;
        };
        let before = Stop::load(&mut transaction, &subject).await?;
        let Some(before) = before.filter(|before| !before.suspended) else { continue };
        before.remember(&mut transaction, change_id, &subject).await?;
        let after = Stop { suspended: true, reason: REASON.to_owned(), last_change: change_id };
        after.store(&mut transaction, &subject).await?;
        changed.push(SubjectId::from_column("prints", &subject)?.to_string());
    }
    next_numbers(&mut transaction, "staff", i64::try_from(lost).unwrap_or(i64::MAX)).await?;
    let operator = "the service, after a restored backup";
    let act = Act { operator, now, delay_millis: 0 };
    append(&mut transaction, "hold", &changed, REASON, change_id, act).await?;
    transaction.commit().await
}

/// Whether the action suspends; `None` if it is not one of the police's.
pub(crate) const fn suspends(action: StatusAction) -> Option<bool> {
    match action {
        StatusAction::Suspend => Some(true),
        StatusAction::Reinstate => Some(false),
        StatusAction::Revoke | StatusAction::Unspecified => None,
    }
}

async fn append(
    transaction: &mut Transaction,
    action: &str,
    subjects: &[String],
    reason: &str,
    change_id: i64,
    act: Act<'_>,
) -> Result<(), StoreError> {
    let entries: Vec<_> = subjects
        .iter()
        .map(|subject| NewAuditEntry { operator: act.operator, action, subject, reason })
        .collect();
    AuditTrail::append(transaction, act.now, change_id, &entries).await
}

/// Takes a change of status back, for every subject and every badge of the own staff that no later one has changed.
pub(crate) async fn undo(
    store: &Store,
    change_id: i64,
    reason: &str,
    act: Act<'_>,
) -> Result<wire::UndoChangeResponse, StoreError> {
    for table in ["status_changes", "staff_changes"] {
        let of_change = [SealValue::Number(change_id)];
        store.refuse_damaged(table, "change_id = $1", &of_change).await?;
    }
    let mut transaction = store.begin().await?;
    let rows: Vec<(Vec<u8>, i64, String, i64)> = sqlx::query_as(
        "SELECT subject_id, suspended, suspension_reason, previous_change FROM status_changes \
         WHERE change_id = $1 ORDER BY subject_id",
    )
    .bind(change_id)
    .fetch_all(&mut *transaction)
    .await?;
    let mut response = wire::UndoChangeResponse::default();
    let mut restored = Vec::new();
    for (id, suspended, suspension_reason, previous_change) in rows {
        let now = Stop::load(&mut transaction, &id).await?;
        if now.is_none_or(|now| now.last_change != change_id) {
            response.skipped += 1;
            continue;
        }
        let before = Stop {
            suspended: suspended != 0,
            reason: suspension_reason,
            last_change: previous_change,
        };
        before.store(&mut transaction, &id).await?;
        restored.push(SubjectId::from_column("status_changes", &id)?.to_string());
        response.restored += 1;
    }
    let staff = staff::undo(&mut transaction, change_id).await?;
    response.restored += staff.restored.len() as u64;
    response.skipped += staff.skipped;
    restored.extend(staff.restored);
    append(&mut transaction, "undo", &restored, reason, change_id, act).await?;
    transaction.commit().await?;
    Ok(response)
}

//! What officers do to staff badges: suspend, reinstate, revoke, replace a lost one, and take a change back.

use lanyard_core::record::Status;
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, Transaction, next_number};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::staff::v1 as wire;

use super::{Concerns, PrintState, mark_changed, status_from_number};
use crate::act::Act;

/// A badge as changes see it.
struct Badge {
    number: i64,
    status: Status,
    current_print: i64,
    last_change: i64,
}

async fn find(transaction: &mut Transaction, reference: &str) -> Result<Option<Badge>, StoreError> {
    let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT badge_number, status, current_print, last_change FROM staff WHERE reference = $1",
    )
    .bind(reference)
    .fetch_optional(&mut **transaction)
    .await?;
    row.map(|(number, status, current_print, last_change)| {
        Ok(Badge { number, status: status_from_number(status)?, current_print, last_change })
    })
    .transpose()
}

/// The status after an action, if it is possible from where the badge stands.
fn after(action: StatusAction, status: Status) -> Result<Status, wire::Outcome> {
    let target = match action {
        StatusAction::Suspend => Status::Suspended,
        StatusAction::Reinstate => Status::Valid,
        StatusAction::Revoke | StatusAction::Unspecified => Status::Revoked,
    };
    if status == target {
        return Err(wire::Outcome::Unchanged);
    }
    if status == Status::Revoked {
        return Err(wire::Outcome::NotPossible);
    }
    Ok(target)
}

/// The committee hears of revocations and of their end; a suspension is the police's own affair.
fn concerns(before: Status, after: Status) -> Concerns {
    if before == Status::Revoked || after == Status::Revoked {
        Concerns::Both
    } else {
        Concerns::Police
    }
}

/// Suspends, reinstates or revokes; all that is possible of a list, in one transaction.
pub(crate) async fn change_status(
    store: &Store,
    action: StatusAction,
    references: &[String],
    reason: &str,
    act: Act<'_>,
) -> Result<wire::ChangeStatusResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut outcomes = Vec::with_capacity(references.len());
    for reference in references {
        let outcome = match find(&mut transaction, reference).await? {
            None => wire::Outcome::NotFound,
            Some(badge) => match after(action, badge.status) {
                Err(outcome) => outcome,
                Ok(status) => {
                    remember(&mut transaction, change_id, &badge).await?;
                    set_status(&mut transaction, &badge, status, change_id).await?;
                    wire::Outcome::Done
                }
            },
        };
        outcomes.push(outcome_of(reference, outcome));
    }
    let name = match action {
        StatusAction::Suspend => "suspend-staff",
        StatusAction::Reinstate => "reinstate-staff",
        StatusAction::Revoke | StatusAction::Unspecified => "revoke-staff",
    };
    append(&mut transaction, name, &outcomes, reason, change_id, act).await?;
    transaction.commit().await?;
    Ok(wire::ChangeStatusResponse { outcomes, change_id: change_id as u64 })
}

fn outcome_of(reference: &str, outcome: wire::Outcome) -> wire::ReferenceOutcome {
    wire::ReferenceOutcome { reference: reference.to_owned(), outcome: outcome.into() }
}

/// One entry of the audit trail for each that was done.
async fn append(
    transaction: &mut Transaction,
    action: &str,
    outcomes: &[wire::ReferenceOutcome],
    reason: &str,
    change_id: i64,
    act: Act<'_>,
) -> Result<(), StoreError> {
    let done = outcomes.iter().filter(|one| one.outcome() == wire::Outcome::Done);
    let entries: Vec<_> = done
        .map(|one| NewAuditEntry {
            operator: act.operator,
            action,
            subject: &one.reference,
            reason,
        })
        .collect();
    AuditTrail::append(transaction, act.now, change_id, &entries).await
}

async fn remember(
    transaction: &mut Transaction,
    change_id: i64,
    badge: &Badge,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO staff_changes (change_id, badge_number, before, previous_change) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (change_id, badge_number) DO NOTHING",
    )
    .bind(change_id)
    .bind(badge.number)
    .bind(i64::from(badge.status.byte()))
    .bind(badge.last_change)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn set_status(
    transaction: &mut Transaction,
    badge: &Badge,
    status: Status,
    last_change: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE staff SET status = $1, last_change = $2 WHERE badge_number = $3")
        .bind(i64::from(status.byte()))
        .bind(last_change)
        .bind(badge.number)
        .execute(&mut **transaction)
        .await?;
    mark_changed(transaction, badge.number, concerns(badge.status, status)).await
}

/// Suspends the badge of a print, after a restored backup; its reference, if it was good.
pub(crate) async fn hold(
    transaction: &mut Transaction,
    print_id: u64,
    change_id: i64,
) -> Result<Option<String>, StoreError> {
    let reference: Option<(String,)> = sqlx::query_as(
        "SELECT s.reference FROM staff_prints i JOIN staff s ON s.badge_number = i.badge_number WHERE i.id = $1",
    )
    .bind(print_id as i64)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some((reference,)) = reference else { return Ok(None) };
    let badge = find(transaction, &reference).await?;
    let Some(badge) = badge.filter(|badge| badge.status == Status::Valid) else { return Ok(None) };
    remember(transaction, change_id, &badge).await?;
    set_status(transaction, &badge, Status::Suspended, change_id).await?;
    Ok(Some(reference))
}

/// What became of the staff badges of a change that is taken back.
#[derive(Default)]
pub(crate) struct Undone {
    /// References of those that are as before.
    pub(crate) restored: Vec<String>,
    /// How many something later has changed.
    pub(crate) skipped: u64,
}

/// Takes a change of status back, for every badge that nothing has changed since. The audit trail is the caller's.
pub(crate) async fn undo(
    transaction: &mut Transaction,
    change_id: i64,
) -> Result<Undone, StoreError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT s.reference, c.before, c.previous_change FROM staff_changes c \
         JOIN staff s ON s.badge_number = c.badge_number WHERE c.change_id = $1 ORDER BY c.badge_number",
    )
    .bind(change_id)
    .fetch_all(&mut **transaction)
    .await?;
    let mut undone = Undone::default();
    for (reference, before, previous) in rows {
        let badge = find(transaction, &reference).await?;
        let Some(badge) = badge.filter(|badge| badge.last_change == change_id) else {
            undone.skipped += 1;
            continue;
        };
        set_status(transaction, &badge, status_from_number(before)?, previous).await?;
        undone.restored.push(reference);
    }
    Ok(undone)
}

/// Ends the current print of lost badges and puts a new one before the issuing station.
pub(crate) async fn reissue(
    store: &Store,
    references: &[String],
    reason: &str,
    act: Act<'_>,
) -> Result<wire::ReissueBadgesResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut outcomes = Vec::with_capacity(references.len());
    for reference in references {
        let outcome = match find(&mut transaction, reference).await? {
            None => wire::Outcome::NotFound,
            Some(badge) if badge.status == Status::Revoked => wire::Outcome::NotPossible,
            Some(badge) => reprint(&mut transaction, &badge).await?,
        };
        outcomes.push(outcome_of(reference, outcome));
    }
    append(&mut transaction, "reissue-staff", &outcomes, reason, change_id, act).await?;
    transaction.commit().await?;
    Ok(wire::ReissueBadgesResponse { outcomes, change_id: change_id as u64 })
}

async fn reprint(
    transaction: &mut Transaction,
    badge: &Badge,
) -> Result<wire::Outcome, StoreError> {
    if badge.current_print >= i64::from(u16::MAX) {
        return Ok(wire::Outcome::NotPossible);
    }
    let ended = sqlx::query(
        "UPDATE staff_prints SET state = $1 WHERE badge_number = $2 AND print_number = $3 AND state = $4",
    )
    .bind(PrintState::Replaced.number())
    .bind(badge.number)
    .bind(badge.current_print)
    .bind(PrintState::Issued.number())
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if ended == 0 {
        // The new print waits already: there is nothing to lose yet.
        return Ok(wire::Outcome::Unchanged);
    }
    let id = next_number(transaction, "print").await?;
    sqlx::query(
        "INSERT INTO staff_prints (id, badge_number, print_number, state, seeds, gate_tag, changed, handover, taken) \
         VALUES ($1, $2, $3, $4, $5, $5, 0, 0, 0)",
    )
    .bind(id)
    .bind(badge.number)
    .bind(badge.current_print + 1)
    .bind(PrintState::Waiting.number())
    .bind(Vec::<u8>::new())
    .execute(&mut **transaction)
    .await?;
    sqlx::query("UPDATE staff SET current_print = $1 WHERE badge_number = $2")
        .bind(badge.current_print + 1)
        .bind(badge.number)
        .execute(&mut **transaction)
        .await?;
    mark_changed(transaction, badge.number, Concerns::Both).await?;
    Ok(wire::Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_stays_revoked() {
        for action in [StatusAction::Reinstate, StatusAction::Suspend] {
            assert_eq!(after(action, Status::Revoked), Err(wire::Outcome::NotPossible));
        }
        assert_eq!(after(StatusAction::Revoke, Status::Revoked), Err(wire::Outcome::Unchanged));
        assert_eq!(after(StatusAction::Reinstate, Status::Suspended), Ok(Status::Valid));
    }

    #[test]
    fn the_committee_hears_of_revocations_alone() {
        assert_eq!(concerns(Status::Valid, Status::Suspended), Concerns::Police);
        assert_eq!(concerns(Status::Suspended, Status::Valid), Concerns::Police);
        assert_eq!(concerns(Status::Suspended, Status::Revoked), Concerns::Both);
        assert_eq!(concerns(Status::Revoked, Status::Valid), Concerns::Both);
    }
}

//! Prints and statuses of badges: issued, lost, stopped, restored, and who did it.

use lanyard_core::badge::Seed;
use lanyard_core::record::Status;
use lanyard_env::Env;
use lanyard_party::{Cell, StoreKey};
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, next_number};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::common::v1::StatusAction;
use sqlx::{Any, Transaction};
use zeroize::Zeroizing;

use crate::import::mark_changed;
use crate::states::{PrintState, status_from_number};

/// Seeds of one print, as the station derived them.
pub(crate) struct PrintSeeds {
    pub(crate) badge_number: u32,
    pub(crate) print_number: u32,
    /// Committee's for gate, police and sponsor, then the police's for the gate: 4 × 32 bytes.
    pub(crate) seeds: Zeroizing<[u8; SEEDS]>,
}

/// Bytes of the seeds of one print.
pub(crate) const SEEDS: usize = 128;

/// Where sealed seeds stand.
pub(crate) fn seeds_cell(print_id: i64) -> Cell<'static> {
    Cell { table: "prints", column: "seeds", row: print_id as u64 }
}

/// How a badge in hand is found again: a keyed hash of its seed.
pub(crate) fn gate_tag(store_key: &StoreKey, seed: &Seed) -> Vec<u8> {
    store_key.local_hash("gate seed", seed.expose_bytes()).to_vec()
}

/// Who acts, and why.
pub(crate) struct Deed<'a> {
    pub(crate) operator: &'a str,
    pub(crate) reason: &'a str,
}

/// Stores seeds of prints; they are issued then. Returns how many: a print that is not known or was replaced is passed over.
pub(crate) async fn register(
    store: &Store,
    env: &Env,
    store_key: &StoreKey,
    operator: &str,
    prints: &[PrintSeeds],
) -> Result<u64, StoreError> {
    let mut transaction = store.begin().await?;
    let mut registered = 0;
    for print in prints {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT id, state FROM prints WHERE badge_number = $1 AND print_number = $2",
        )
        .bind(i64::from(print.badge_number))
        .bind(i64::from(print.print_number))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((id, state)) = row else { continue };
        if PrintState::from_number(state)? == PrintState::Replaced {
            continue;
        }
        let mut gate = [0; 32];
        gate.copy_from_slice(&print.seeds[..32]);
        let tag = gate_tag(store_key, &Seed::from_bytes(gate));
        let sealed = store_key.seal(seeds_cell(id), print.seeds.as_slice(), &mut env.rng());
        let changed = next_number(&mut transaction, "changed").await?;
        sqlx::query(
            "UPDATE prints SET seeds = $1, gate_tag = $2, state = $3, handed_over = 0, changed = $4 WHERE id = $5",
        )
        .bind(sealed)
        .bind(tag)
        .bind(PrintState::Issued.number())
        .bind(changed)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        registered += 1;
    }
    let change = AuditTrail::new_change(&mut transaction).await?;
    let reason = format!("{registered} prints");
    let entry = NewAuditEntry { operator, action: "issue", subject: "prints", reason: &reason };
    AuditTrail::append(&mut transaction, env.now(), change, &[entry]).await?;
    transaction.commit().await?;
    Ok(registered)
}

/// A badge as changes see it.
struct Badge {
    number: i64,
    status: Status,
    current_print: i64,
    last_change: i64,
}

async fn find(
    transaction: &mut Transaction<'static, Any>,
    reference: &str,
) -> Result<Option<Badge>, StoreError> {
    let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT badge_number, status, current_print, last_change FROM people WHERE reference = $1",
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

/// Suspends, reinstates or revokes; all that is possible of a list, in one transaction.
pub(crate) async fn change_status(
    store: &Store,
    env: &Env,
    action: StatusAction,
    references: &[String],
    deed: &Deed<'_>,
) -> Result<wire::ChangeStatusResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut outcomes = Vec::with_capacity(references.len());
    let mut audit = Vec::new();
    for reference in references {
        let outcome = match find(&mut transaction, reference).await? {
            None => wire::Outcome::NotFound,
            Some(badge) => match after(action, badge.status) {
                Err(outcome) => outcome,
                Ok(status) => {
                    remember(&mut transaction, change_id, &badge).await?;
                    set_status(&mut transaction, &badge, status, change_id).await?;
                    audit.push(NewAuditEntry {
                        operator: deed.operator,
                        action: action_name(action),
                        subject: reference,
                        reason: deed.reason,
                    });
                    wire::Outcome::Done
                }
            },
        };
        outcomes.push(outcome_of(reference, outcome));
    }
    AuditTrail::append(&mut transaction, env.now(), change_id, &audit).await?;
    transaction.commit().await?;
    Ok(wire::ChangeStatusResponse { outcomes, change_id: change_id as u64 })
}

fn outcome_of(reference: &str, outcome: wire::Outcome) -> wire::ReferenceOutcome {
    wire::ReferenceOutcome { reference: reference.to_owned(), outcome: outcome.into() }
}

const fn action_name(action: StatusAction) -> &'static str {
    match action {
        StatusAction::Suspend => "suspend",
        StatusAction::Reinstate => "reinstate",
        StatusAction::Revoke | StatusAction::Unspecified => "revoke",
    }
}

async fn remember(
    transaction: &mut Transaction<'static, Any>,
    change_id: i64,
    badge: &Badge,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO status_changes (change_id, badge_number, before, previous_change) VALUES ($1, $2, $3, $4) \
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
    transaction: &mut Transaction<'static, Any>,
    badge: &Badge,
    status: Status,
    change_id: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE people SET status = $1, last_change = $2 WHERE badge_number = $3")
        .bind(i64::from(status.byte()))
        .bind(change_id)
        .bind(badge.number)
        .execute(&mut **transaction)
        .await?;
    mark_changed(transaction, badge.number).await
}

/// Takes a change of status back, for every badge that nothing has changed since.
pub(crate) async fn undo(
    store: &Store,
    env: &Env,
    change_id: i64,
    deed: &Deed<'_>,
) -> Result<wire::UndoChangeResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let rows: Vec<(i64, i64, i64, String, i64)> = sqlx::query_as(
        "SELECT c.badge_number, c.before, c.previous_change, p.reference, p.last_change FROM status_changes c \
         JOIN people p ON p.badge_number = c.badge_number WHERE c.change_id = $1 ORDER BY c.badge_number",
    )
    .bind(change_id)
    .fetch_all(&mut *transaction)
    .await?;
    let mut response = wire::UndoChangeResponse::default();
    let mut restored = Vec::new();
    for (number, before, previous, reference, last_change) in rows {
        if last_change != change_id {
            response.skipped += 1;
            continue;
        }
        sqlx::query("UPDATE people SET status = $1, last_change = $2 WHERE badge_number = $3")
            .bind(before)
            .bind(previous)
            .bind(number)
            .execute(&mut *transaction)
            .await?;
        mark_changed(&mut transaction, number).await?;
        restored.push(reference);
        response.restored += 1;
    }
    let audit: Vec<_> = restored
        .iter()
        .map(|reference| NewAuditEntry {
            operator: deed.operator,
            action: "undo",
            subject: reference,
            reason: deed.reason,
        })
        .collect();
    AuditTrail::append(&mut transaction, env.now(), change_id, &audit).await?;
    transaction.commit().await?;
    Ok(response)
}

/// Ends the current print of lost badges and puts a new one before the issuing station.
pub(crate) async fn reissue(
    store: &Store,
    env: &Env,
    references: &[String],
    deed: &Deed<'_>,
) -> Result<wire::ReissueBadgesResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut outcomes = Vec::with_capacity(references.len());
    let mut audit = Vec::new();
    for reference in references {
        let outcome = match find(&mut transaction, reference).await? {
            None => wire::Outcome::NotFound,
            Some(badge) if badge.status == Status::Revoked => wire::Outcome::NotPossible,
            Some(badge) => reprint(&mut transaction, &badge).await?,
        };
        if outcome == wire::Outcome::Done {
            audit.push(NewAuditEntry {
                operator: deed.operator,
                action: "reissue",
                subject: reference,
                reason: deed.reason,
            });
        }
        outcomes.push(outcome_of(reference, outcome));
    }
    AuditTrail::append(&mut transaction, env.now(), change_id, &audit).await?;
    transaction.commit().await?;
    Ok(wire::ReissueBadgesResponse { outcomes, change_id: change_id as u64 })
}

async fn reprint(
    transaction: &mut Transaction<'static, Any>,
    badge: &Badge,
) -> Result<wire::Outcome, StoreError> {
    let ended = sqlx::query(
        "UPDATE prints SET state = $1 WHERE badge_number = $2 AND print_number = $3 AND state = $4",
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
    if badge.current_print >= i64::from(u16::MAX) {
        return Ok(wire::Outcome::NotPossible);
    }
    let id = next_number(transaction, "print").await?;
    sqlx::query(
        "INSERT INTO prints (id, badge_number, print_number, state, seeds, gate_tag, handed_over, changed) \
         VALUES ($1, $2, $3, $4, $5, $5, 0, 0)",
    )
    .bind(id)
    .bind(badge.number)
    .bind(badge.current_print + 1)
    .bind(PrintState::Waiting.number())
    .bind(Vec::<u8>::new())
    .execute(&mut **transaction)
    .await?;
    sqlx::query("UPDATE people SET current_print = $1 WHERE badge_number = $2")
        .bind(badge.current_print + 1)
        .bind(badge.number)
        .execute(&mut **transaction)
        .await?;
    mark_changed(transaction, badge.number).await?;
    Ok(wire::Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_stays_revoked() {
        assert_eq!(
            after(StatusAction::Reinstate, Status::Revoked),
            Err(wire::Outcome::NotPossible)
        );
        assert_eq!(after(StatusAction::Suspend, Status::Revoked), Err(wire::Outcome::NotPossible));
        assert_eq!(after(StatusAction::Revoke, Status::Revoked), Err(wire::Outcome::Unchanged));
        assert_eq!(after(StatusAction::Reinstate, Status::Suspended), Ok(Status::Valid));
    }
}

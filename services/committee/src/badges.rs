//! Prints and statuses of badges: issued, lost, stopped, restored, and who did it.

use lanyard_core::badge::Seed;
use lanyard_core::ids::{Authority, BadgeNumber};
use lanyard_core::record::Status;
use lanyard_env::Env;
use lanyard_party::{Cell, StoreKey};
use lanyard_store::{
    AuditTrail, NewAuditEntry, SealValue, Store, StoreError, Transaction, next_number,
};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::common::v1::StatusAction;
use zeroize::Zeroizing;

use crate::import::mark_changed;
use crate::police_badges;
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
        let police_tag = store_key.local_hash("police seed", &print.seeds[32..64]).to_vec();
        let sealed = store_key.seal(seeds_cell(id), print.seeds.as_slice(), &mut env.rng());
        let changed = next_number(&mut transaction, "changed").await?;
        sqlx::query(
            "UPDATE prints SET seeds = $1, gate_tag = $2, police_tag = $3, state = $4, handed_over = 0, changed = $5 \
             WHERE id = $6",
        )
        .bind(sealed)
        .bind(tag)
        .bind(police_tag)
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
pub(crate) struct Badge {
    pub(crate) number: i64,
    pub(crate) status: Status,
    pub(crate) current_print: i64,
    last_change: i64,
}

async fn find(transaction: &mut Transaction, reference: &str) -> Result<Option<Badge>, StoreError> {
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

/// The badge of a number, whoever issued it, and what it is called in the audit trail.
pub(crate) async fn find_number(
    transaction: &mut Transaction,
    number: u32,
) -> Result<Option<(String, Badge)>, StoreError> {
    if !is_police(number.into()) {
        let reference: Option<(String,)> =
            sqlx::query_as("SELECT reference FROM people WHERE badge_number = $1")
                .bind(i64::from(number))
                .fetch_optional(&mut **transaction)
                .await?;
        let Some((reference,)) = reference else { return Ok(None) };
        let badge = find(transaction, &reference).await?;
        return Ok(badge.map(|badge| (reference, badge)));
    }
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT status, last_change FROM police_badges WHERE badge_number = $1")
            .bind(i64::from(number))
            .fetch_optional(&mut **transaction)
            .await?;
    let Some((status, last_change)) = row else { return Ok(None) };
    let status = status_from_number(status)?;
    // Prints of police badges are the police's to replace.
    let badge = Badge { number: number.into(), status, current_print: 0, last_change };
    Ok(Some((police_subject(number.into()), badge)))
}

/// What a police badge is called in the audit trail.
fn police_subject(number: i64) -> String {
    format!("police badge {number}")
}

fn is_police(number: i64) -> bool {
    let number = u32::try_from(number).map(BadgeNumber::new);
    number.is_ok_and(|number| number.issuer() == Authority::Police)
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

/// Which badges to stop or restore: references first, then numbers.
pub(crate) struct Targets<'a> {
    pub(crate) references: &'a [String],
    pub(crate) numbers: &'a [u32],
}

/// Suspends, reinstates or revokes; all that is possible of a list, in one transaction.
pub(crate) async fn change_status(
    store: &Store,
    env: &Env,
    action: StatusAction,
    targets: &Targets<'_>,
    deed: &Deed<'_>,
) -> Result<wire::ChangeStatusResponse, StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut found = Vec::with_capacity(targets.references.len() + targets.numbers.len());
    for reference in targets.references {
        let badge = find(&mut transaction, reference).await?;
        found.push((reference.clone(), badge.map(|badge| (reference.clone(), badge))));
    }
    for number in targets.numbers {
        found.push((number.to_string(), find_number(&mut transaction, *number).await?));
    }
    let mut outcomes = Vec::with_capacity(found.len());
    let mut changed = Vec::new();
    for (named, badge) in found {
        let outcome = match badge {
            None => wire::Outcome::NotFound,
            Some((subject, badge)) => match after(action, badge.status) {
                Err(outcome) => outcome,
                Ok(status) => {
                    remember(&mut transaction, change_id, &badge).await?;
                    store_status(&mut transaction, badge.number, status.byte().into(), change_id)
                        .await?;
                    changed.push(subject);
                    wire::Outcome::Done
                }
            },
        };
        outcomes.push(outcome_of(&named, outcome));
    }
    let audit: Vec<_> = changed
        .iter()
        .map(|subject| NewAuditEntry {
            operator: deed.operator,
            action: action_name(action),
            subject,
            reason: deed.reason,
        })
        .collect();
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

pub(crate) async fn remember(
    transaction: &mut Transaction,
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

/// Stores a status and the change that made it, and puts the badge before the publisher.
pub(crate) async fn store_status(
    transaction: &mut Transaction,
    number: i64,
    status: i64,
    last_change: i64,
) -> Result<(), StoreError> {
    let police = is_police(number);
    let statement = if police {
        "UPDATE police_badges SET status = $1, last_change = $2 WHERE badge_number = $3"
    } else {
        "UPDATE people SET status = $1, last_change = $2 WHERE badge_number = $3"
    };
    sqlx::query(statement)
        .bind(status)
        .bind(last_change)
        .bind(number)
        .execute(&mut **transaction)
        .await?;
    if police {
        police_badges::mark_changed(transaction, number).await
    } else {
        mark_changed(transaction, number).await
    }
}

/// Takes a change of status back, for every badge that nothing has changed since.
pub(crate) async fn undo(
    store: &Store,
    env: &Env,
    change_id: i64,
    deed: &Deed<'_>,
) -> Result<wire::UndoChangeResponse, StoreError> {
    let of_change = [SealValue::Number(change_id)];
    store.refuse_damaged("status_changes", "change_id = $1", &of_change).await?;
    let mut transaction = store.begin().await?;
    let rows: Vec<(i64, i64, i64, String, i64)> = sqlx::query_as(
        "SELECT c.badge_number, c.before, c.previous_change, COALESCE(p.reference, ''), \
         COALESCE(p.last_change, b.last_change, 0) FROM status_changes c \
         LEFT JOIN people p ON p.badge_number = c.badge_number \
         LEFT JOIN police_badges b ON b.badge_number = c.badge_number WHERE c.change_id = $1 ORDER BY c.badge_number",
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
        store_status(&mut transaction, number, before, previous).await?;
        restored.push(if is_police(number) { police_subject(number) } else { reference });
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
            Some(badge) => reprint(&mut transaction, &badge, 1).await?,
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

/// Ends the current print and puts one before the issuing station whose number is greater by `step`.
pub(crate) async fn reprint(
    transaction: &mut Transaction,
    badge: &Badge,
    step: i64,
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
    if badge.current_print + step > i64::from(u16::MAX) {
        return Ok(wire::Outcome::NotPossible);
    }
    let id = next_number(transaction, "print").await?;
    sqlx::query(
        "INSERT INTO prints (id, badge_number, print_number, state, seeds, gate_tag, police_tag, handed_over, changed) \
         VALUES ($1, $2, $3, $4, $5, $5, $5, 0, 0)",
    )
    .bind(id)
    .bind(badge.number)
    .bind(badge.current_print + step)
    .bind(PrintState::Waiting.number())
    .bind(Vec::<u8>::new())
    .execute(&mut **transaction)
    .await?;
    sqlx::query("UPDATE people SET current_print = $1 WHERE badge_number = $2")
        .bind(badge.current_print + step)
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

//! After a restored backup: who was stopped since stays stopped, and no number is given twice.

use lanyard_authority::Held;
use lanyard_core::ids::Timestamp;
use lanyard_core::record::Status;
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, next_numbers};

use crate::badges::{find_number, remember, reprint, store_status};

/// Who acts in the audit trail.
const OPERATOR: &str = "the service, after a restored backup";
/// So many prints of one badge may have been issued since the backup; their numbers are passed over.
const PRINTS: i64 = 16;

/// Stops the badges of these prints, by one change that an operator can undo as a whole or badge by badge: those that were
/// revoked are revoked, replaced prints are replaced, all others suspended. Then passes over `lost` badge numbers: a badge that
/// was issued since the backup must never become somebody else's.
pub(crate) async fn hold(
    store: &Store,
    held: &[Held],
    lost: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    let change_id = AuditTrail::new_change(&mut transaction).await?;
    let mut done = Vec::new();
    for Held { id, published } in held {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT badge_number, print_number FROM prints WHERE id = $1 \
             UNION ALL SELECT badge_number, -1 FROM police_prints WHERE id = $1",
        )
        .bind(*id as i64)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((number, print)) = row else { continue };
        let number = u32::try_from(number)
            .map_err(|_| StoreError::Corrupt { table: "prints", column: "badge_number" })?;
        let Some((subject, badge)) = find_number(&mut transaction, number).await? else { continue };
        if *published == Status::Reprinted && print == badge.current_print {
            reprint(&mut transaction, &badge, PRINTS).await?;
        } else if badge.status == Status::Valid {
            let status =
                if *published == Status::Revoked { Status::Revoked } else { Status::Suspended };
            remember(&mut transaction, change_id, &badge).await?;
            store_status(&mut transaction, badge.number, status.byte().into(), change_id).await?;
        }
        done.push((subject, format!("published as {published:?} after the backup")));
    }
    next_numbers(&mut transaction, "badge", i64::try_from(lost).unwrap_or(i64::MAX)).await?;
    let audit: Vec<_> = done
        .iter()
        .map(|(subject, reason)| NewAuditEntry {
            operator: OPERATOR,
            action: "hold",
            subject,
            reason,
        })
        .collect();
    AuditTrail::append(&mut transaction, now, change_id, &audit).await?;
    transaction.commit().await
}

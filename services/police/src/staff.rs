//! The police's own staff: enrolled and issued here. The committee attests their badges by profile and binding, and is
//! never told whose they are.

mod changes;
mod handover;
mod import;
mod member;
mod prints;
mod views;

pub(crate) use changes::{change_status, hold, reissue, undo};
#[cfg(test)]
pub(crate) use handover::Handed;
pub(crate) use handover::{OfferedProfile, offer, offered, take};
pub(crate) use import::{Import, Writer};
pub(crate) use member::{document, key_hash};
pub(crate) use prints::{
    DerivedPrint, Held, StaffSeeds, WaitingPrint, by_id, by_seed, entries, gate_seed, index_page,
    of_badge, register, waiting,
};
pub(crate) use views::{by_number, by_reference, count, list};

use lanyard_core::record::Status;
use lanyard_store::{StoreError, Transaction, next_number};

/// Where one print of a badge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrintState {
    /// Waits for the issuing station.
    Waiting = 1,
    /// Issued.
    Issued = 2,
    /// A later print took its place.
    Replaced = 3,
}

impl PrintState {
    const fn number(self) -> i64 {
        self as i64
    }

    fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Waiting),
            2 => Ok(Self::Issued),
            3 => Ok(Self::Replaced),
            _ => Err(StoreError::Corrupt { table: "staff_prints", column: "state" }),
        }
    }
}

/// A member's status: valid, suspended or revoked.
fn status_from_number(number: i64) -> Result<Status, StoreError> {
    u8::try_from(number)
        .ok()
        .and_then(Status::from_byte)
        .filter(|status| matches!(status, Status::Valid | Status::Suspended | Status::Revoked))
        .ok_or(StoreError::Corrupt { table: "staff", column: "status" })
}

/// Whom a change of a badge concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concerns {
    /// The own publisher alone.
    Police,
    /// The committee too.
    Both,
}

/// Puts what was issued of a badge before the publisher again, and before the committee if it is concerned.
async fn mark_changed(
    transaction: &mut Transaction,
    badge_number: i64,
    concerns: Concerns,
) -> Result<(), StoreError> {
    let prints: Vec<(i64,)> = sqlx::query_as(
        "SELECT id FROM staff_prints WHERE badge_number = $1 AND state <> $2 ORDER BY id",
    )
    .bind(badge_number)
    .bind(PrintState::Waiting.number())
    .fetch_all(&mut **transaction)
    .await?;
    for (id,) in prints {
        let changed = next_number(transaction, "changed").await?;
        sqlx::query("UPDATE staff_prints SET changed = $1 WHERE id = $2")
            .bind(changed)
            .bind(id)
            .execute(&mut **transaction)
            .await?;
        if concerns == Concerns::Both {
            let handover = next_number(transaction, "handover").await?;
            sqlx::query("UPDATE staff_prints SET handover = $1, taken = 0 WHERE id = $2")
                .bind(handover)
                .bind(id)
                .execute(&mut **transaction)
                .await?;
        }
    }
    Ok(())
}

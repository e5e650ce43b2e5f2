//! What the committee takes over of staff badges: seeds, profile, validity and binding, never a name nor a suspension.

use std::collections::BTreeSet;

use lanyard_core::record::Status;
use lanyard_party::StoreKey;
use lanyard_store::{DamagedRow, Rereads, SealValue, Store, StoreError, without};
use lanyard_wire::staff::v1 as wire;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::prints::{Held, by_id};
use super::{PrintState, status_from_number};
use crate::prints::PrintError;

/// A profile under which the committee attests police badges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedProfile {
    pub(crate) code: String,
    pub(crate) category: String,
}

/// The profiles that the committee offers, by code.
pub(crate) async fn offered(store: &Store) -> Result<Vec<OfferedProfile>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT code, category FROM staff_profiles ORDER BY code")
            .fetch_all(store.pool())
            .await?;
    Ok(rows.into_iter().map(|(code, category)| OfferedProfile { code, category }).collect())
}

/// Puts the profiles of an offer in the place of those of the one before.
pub(crate) async fn offer(
    store: &Store,
    mut profiles: Vec<OfferedProfile>,
) -> Result<(), StoreError> {
    profiles.sort_by(|one, other| one.code.cmp(&other.code));
    profiles.dedup_by(|one, other| one.code == other.code);
    // Repeated every few seconds; mostly there is nothing to write.
    if offered(store).await? == profiles {
        return Ok(());
    }
    let mut transaction = store.begin().await?;
    sqlx::query("DELETE FROM staff_profiles").execute(&mut *transaction).await?;
    for OfferedProfile { code, category } in &profiles {
        sqlx::query("INSERT INTO staff_profiles (code, category) VALUES ($1, $2)")
            .bind(code)
            .bind(category)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// A print for the committee, and its place in the order of changes.
pub(crate) struct Handed {
    pub(crate) print: wire::HandedPrint,
    pub(crate) sequence: u64,
}

/// Prints changed after the cursor, oldest change first, but for those of a damaged row: nothing is attested from it. All up to
/// the cursor is with the committee.
pub(crate) async fn take(
    store: &Store,
    store_key: &StoreKey,
    rereads: &Rereads,
    cursor: u64,
    limit: u32,
) -> Result<Vec<Handed>, PrintError> {
    acknowledge(store, i64::try_from(cursor).unwrap_or(i64::MAX)).await?;
    let cursor = i64::try_from(rereads.from(store, cursor)).unwrap_or(i64::MAX);
    let after = [SealValue::Number(cursor)];
    let mut damaged: BTreeSet<DamagedRow> = BTreeSet::new();
    damaged.extend(store.damaged("staff_prints", "handover > $1", &after).await?);
    let of = "badge_number IN (SELECT badge_number FROM staff_prints WHERE handover > $1)";
    damaged.extend(store.damaged("staff", of, &after).await?);
    for row in &damaged {
        tracing::error!(%row, "damaged: not handed over; restore the store from a backup");
    }
    let statement = format!(
        "SELECT i.id, i.state, i.handover, s.profile, s.not_before, s.not_after, s.binding, s.status FROM staff_prints i \
         JOIN staff s ON s.badge_number = i.badge_number WHERE i.handover > $1{}{} ORDER BY i.handover LIMIT $2",
        without("i.id", "staff_prints", &damaged),
        without("i.badge_number", "staff", &damaged),
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(cursor)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    let mut handed = Vec::with_capacity(rows.len());
    for row in &rows {
        // What has a place in this order was issued, and is never deleted.
        if let Some(held) = by_id(store, store_key, row.try_get("id")?).await? {
            handed.push(read(row, &held)?);
        }
    }
    Ok(handed)
}

async fn acknowledge(store: &Store, cursor: i64) -> Result<(), StoreError> {
    let (new,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM staff_prints WHERE taken = 0 AND handover > 0 AND handover <= $1",
    )
    .bind(cursor)
    .fetch_one(store.pool())
    .await?;
    if new == 0 {
        return Ok(());
    }
    let mut transaction = store.begin().await?;
    sqlx::query(
        "UPDATE staff_prints SET taken = 1 WHERE taken = 0 AND handover > 0 AND handover <= $1",
    )
    .bind(cursor)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

fn read(row: &AnyRow, held: &Held) -> Result<Handed, PrintError> {
    let number = |column| row.try_get::<i64, _>(column);
    let [gate, police, sponsor] = held.seeds.of_committee().map(|seed| seed.to_vec());
    let not_after = number("not_after")?;
    let print = wire::HandedPrint {
        badge_number: held.badge_number as u32,
        print_number: held.print_number,
        committee_gate_seed: gate,
        committee_police_seed: police,
        committee_sponsor_seed: sponsor,
        profile: row.try_get("profile")?,
        not_before_minutes: number("not_before")? as u32,
        not_after_minutes: if not_after == i64::from(u32::MAX) { 0 } else { not_after as u32 },
        binding: row.try_get("binding")?,
        replaced: PrintState::from_number(number("state")?)? == PrintState::Replaced,
        revoked: status_from_number(number("status")?)? == Status::Revoked,
    };
    Ok(Handed { print, sequence: number("handover")? as u64 })
}

//! Police badges as RPCs show them.

use lanyard_core::record::Status;
use lanyard_store::{Store, StoreError};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::common::v1::RecordStatus;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::states::status_from_number;

const SELECT: &str = "SELECT b.badge_number, b.profile, b.not_before, b.not_after, b.status, b.revoked, \
    COALESCE(f.police, 0) AS offered, \
    COALESCE((SELECT MAX(i.print_number) FROM police_prints i WHERE i.badge_number = b.badge_number), 0) AS print_number \
    FROM police_badges b LEFT JOIN profiles f ON f.code = b.profile";

/// Badges after a number, in its order.
pub(crate) async fn list(
    store: &Store,
    after: i64,
    limit: u32,
) -> Result<Vec<wire::PoliceBadge>, StoreError> {
    let sql = format!("{SELECT} WHERE b.badge_number > $1 ORDER BY b.badge_number LIMIT $2");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// The badge whose seed for the gates has this tag, and which print it is.
pub(crate) async fn by_gate_tag(
    store: &Store,
    tag: &[u8],
) -> Result<Option<(wire::PoliceBadge, u32)>, StoreError> {
    let found: Option<(i64, i64)> =
        sqlx::query_as("SELECT badge_number, print_number FROM police_prints WHERE gate_tag = $1")
            .bind(tag.to_vec())
            .fetch_optional(store.pool())
            .await?;
    let Some((badge_number, print_number)) = found else { return Ok(None) };
    let sql = format!("{SELECT} WHERE b.badge_number = $1");
    let row =
        sqlx::query(AssertSqlSafe(sql)).bind(badge_number).fetch_optional(store.pool()).await?;
    let badge = row.as_ref().map(read).transpose()?;
    Ok(badge.map(|badge| (badge, print_number as u32)))
}

/// How many police badges there are.
pub(crate) async fn count(store: &Store) -> Result<u64, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM police_badges").fetch_one(store.pool()).await?;
    Ok(count as u64)
}

fn read(row: &AnyRow) -> Result<wire::PoliceBadge, StoreError> {
    let number = |column| row.try_get::<i64, _>(column);
    let not_after = number("not_after")?;
    let status = match status_from_number(number("status")?)? {
        Status::Suspended => RecordStatus::Suspended,
        Status::Revoked => RecordStatus::Revoked,
        _ => RecordStatus::Valid,
    };
    Ok(wire::PoliceBadge {
        badge_number: number("badge_number")? as u32,
        print_number: number("print_number")? as u32,
        profile: row.try_get("profile")?,
        offered: number("offered")? != 0,
        not_before_minutes: number("not_before")? as u32,
        not_after_minutes: if not_after == i64::from(u32::MAX) { 0 } else { not_after as u32 },
        status: status.into(),
        revoked_by_police: number("revoked")? != 0,
    })
}

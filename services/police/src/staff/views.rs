//! Staff as RPCs show them.

use lanyard_core::record::Status;
use lanyard_store::{Store, StoreError};
use lanyard_wire::common::v1::RecordStatus;
use lanyard_wire::staff::v1 as wire;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::member::wire_documents;
use super::{PrintState, status_from_number};

const SELECT: &str = "SELECT s.badge_number, s.reference, s.full_name, s.birth_date, s.documents, s.portrait_hash, \
    s.function, s.profile, s.not_before, s.not_after, s.status, s.current_print, i.state, i.taken FROM staff s \
    JOIN staff_prints i ON i.badge_number = s.badge_number AND i.print_number = s.current_print";

/// Members after a badge number, in its order.
pub(crate) async fn list(
    store: &Store,
    after: i64,
    limit: u32,
) -> Result<Vec<wire::MemberState>, StoreError> {
    let sql = format!("{SELECT} WHERE s.badge_number > $1 ORDER BY s.badge_number LIMIT $2");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// The member of a reference.
pub(crate) async fn by_reference(
    store: &Store,
    reference: &str,
) -> Result<Option<wire::MemberState>, StoreError> {
    let sql = format!("{SELECT} WHERE s.reference = $1");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(reference).fetch_optional(store.pool()).await?;
    row.as_ref().map(read).transpose()
}

/// The member whose badge has this number.
pub(crate) async fn by_number(
    store: &Store,
    badge_number: i64,
) -> Result<Option<wire::MemberState>, StoreError> {
    let sql = format!("{SELECT} WHERE s.badge_number = $1");
    let row =
        sqlx::query(AssertSqlSafe(sql)).bind(badge_number).fetch_optional(store.pool()).await?;
    row.as_ref().map(read).transpose()
}

/// How many members there are.
pub(crate) async fn count(store: &Store) -> Result<u64, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM staff").fetch_one(store.pool()).await?;
    Ok(count as u64)
}

fn read(row: &AnyRow) -> Result<wire::MemberState, StoreError> {
    let number = |column| row.try_get::<i64, _>(column);
    let not_after = number("not_after")?;
    let member = wire::Member {
        reference: row.try_get("reference")?,
        full_name: row.try_get("full_name")?,
        birth_date: row.try_get("birth_date")?,
        documents: wire_documents(row.try_get("documents")?),
        function: row.try_get("function")?,
        profile: row.try_get("profile")?,
        not_before_minutes: number("not_before")? as u32,
        not_after_minutes: if not_after == i64::from(u32::MAX) { 0 } else { not_after as u32 },
        portrait_hash: row.try_get("portrait_hash")?,
    };
    let print_state = match (PrintState::from_number(number("state")?)?, number("taken")? != 0) {
        (PrintState::Waiting, _) => wire::PrintState::Waiting,
        (_, false) => wire::PrintState::Issued,
        (_, true) => wire::PrintState::HandedOver,
    };
    let status = match status_from_number(number("status")?)? {
        Status::Suspended => RecordStatus::Suspended,
        Status::Revoked => RecordStatus::Revoked,
        _ => RecordStatus::Valid,
    };
    Ok(wire::MemberState {
        member: Some(member),
        badge_number: number("badge_number")? as u32,
        print_number: number("current_print")? as u32,
        print_state: print_state.into(),
        status: status.into(),
    })
}

//! People as RPCs show them.

use lanyard_core::record::Status as BadgeStatus;
use lanyard_store::{Store, StoreError};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::common::v1::RecordStatus;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::person::StoredDocument;
use crate::states::{PrintState, Screening, status_from_number};

const COLUMNS: &str = "p.badge_number, p.reference, p.subject_id, p.full_name, p.latin_name, p.birth_date, p.documents, p.category, \
    p.function, p.organisation, p.not_before, p.not_after, p.portrait_hash, p.status, p.screening, p.current_print, \
    f.code, i.state AS print_state";

const TABLES: &str = "people p JOIN profiles f ON f.id = p.profile_id \
    JOIN prints i ON i.badge_number = p.badge_number AND i.print_number = p.current_print";

/// People after a badge number, in its order.
pub(super) async fn list(
    store: &Store,
    after: i64,
    limit: u32,
) -> Result<Vec<wire::PersonState>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE p.badge_number > $1 ORDER BY p.badge_number LIMIT $2"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(person_state).collect()
}

/// The person of a reference.
pub(super) async fn by_reference(
    store: &Store,
    reference: &str,
) -> Result<Option<wire::PersonState>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM {TABLES} WHERE p.reference = $1");
    let row =
        sqlx::query(AssertSqlSafe(statement)).bind(reference).fetch_optional(store.pool()).await?;
    row.as_ref().map(person_state).transpose()
}

/// The person whose badge has this tag, and which print it is.
pub(super) async fn by_gate_tag(
    store: &Store,
    tag: &[u8],
) -> Result<Option<(wire::PersonState, u32)>, StoreError> {
    let found: Option<(String, i64)> = sqlx::query_as(
        "SELECT p.reference, i.print_number FROM prints i JOIN people p ON p.badge_number = i.badge_number \
         WHERE i.gate_tag = $1",
    )
    .bind(tag.to_vec())
    .fetch_optional(store.pool())
    .await?;
    let Some((reference, print_number)) = found else { return Ok(None) };
    let person = by_reference(store, &reference).await?;
    Ok(person.map(|person| (person, print_number as u32)))
}

fn person_state(row: &AnyRow) -> Result<wire::PersonState, StoreError> {
    let number = |column| row.try_get::<i64, _>(column);
    let text = |column| row.try_get::<String, _>(column);
    let documents: Vec<StoredDocument> = serde_json::from_str(&text("documents")?)
        .map_err(|_| StoreError::Corrupt { table: "people", column: "documents" })?;
    let documents = documents.into_iter().map(|document| wire::Document {
        kind: document.kind,
        issuer: document.issuer,
        number: document.number,
    });
    let not_after = number("not_after")?;
    let person = wire::Person {
        reference: text("reference")?,
        full_name: text("full_name")?,
        latin_name: text("latin_name")?,
        birth_date: text("birth_date")?,
        documents: documents.collect(),
        category: text("category")?,
        function: text("function")?,
        organisation: text("organisation")?,
        profile: text("code")?,
        not_before_minutes: number("not_before")? as u32,
        not_after_minutes: if not_after == i64::from(u32::MAX) { 0 } else { not_after as u32 },
        portrait_hash: row.try_get("portrait_hash")?,
    };
    let status = match status_from_number(number("status")?)? {
        BadgeStatus::Suspended => RecordStatus::Suspended,
        BadgeStatus::Revoked => RecordStatus::Revoked,
        _ => RecordStatus::Valid,
    };
    let print_state = PrintState::from_number(number("print_state")?)?;
    let screening = Screening::from_number(number("screening")?)?;
    Ok(wire::PersonState {
        person: Some(person),
        badge_number: number("badge_number")? as u32,
        print_number: number("current_print")? as u32,
        print_state: wire::PrintState::from(print_state).into(),
        status: status.into(),
        screening: wire::ScreeningState::from(screening).into(),
        subject_id: row.try_get("subject_id")?,
    })
}

/// How many people are enrolled.
pub(super) async fn count(store: &Store) -> Result<u64, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM people").fetch_one(store.pool()).await?;
    Ok(count as u64)
}

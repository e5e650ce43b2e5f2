//! How far something of the police was read.

use lanyard_store::{SealValue, Store, StoreError};

/// How far it was read; `None` if it never was. What is damaged is read from the start: all of it can be read twice.
pub(crate) async fn read(store: &Store, name: &str) -> Result<Option<u64>, StoreError> {
    let damaged = store.damaged("cursors", "name = $1", &[SealValue::Text(name)]).await?;
    if let Some(row) = damaged.first() {
        tracing::error!(%row, "damaged: it is read from the start");
        sqlx::query("DELETE FROM cursors WHERE name = $1").bind(name).execute(store.pool()).await?;
    }
    let cursor: Option<(i64,)> = sqlx::query_as("SELECT value FROM cursors WHERE name = $1")
        .bind(name)
        .fetch_optional(store.pool())
        .await?;
    Ok(cursor.map(|(value,)| value as u64))
}

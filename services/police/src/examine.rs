//! Looking over what the police's rows carry tags for: see `tags`.

use lanyard_party::StoreKey;
use lanyard_store::{DamagedRow, Store, StoreError};

use crate::lists::{IN_FORCE, WAITING, scan};
use crate::subjects::{key_index, keys};

/// Verifies entries and keys of all lists, those of imports that are not done, the keys of all subjects and their index, on
/// either engine; returns what is damaged, of each list and of the index the first row.
///
/// # Errors
/// [`StoreError`] if the store does not answer.
pub async fn examine(store: &Store, store_key: &StoreKey) -> Result<Vec<DamagedRow>, StoreError> {
    let mut snapshot = store.snapshot().await?;
    let mut damaged = Vec::new();
    for place in [&IN_FORCE, &WAITING] {
        damaged.extend(scan(&mut snapshot, store_key, place).await?.damaged.into_values());
    }
    let mut after = Vec::new();
    while let Some(page) = keys::page(&mut snapshot, store_key, &mut after).await? {
        for (subject, held) in page {
            if let Err(StoreError::Damaged { row }) = held.refuse_damaged(&subject) {
                damaged.push(row);
            }
        }
    }
    match key_index::verify(&mut snapshot, store_key).await {
        Ok(()) => {}
        Err(StoreError::Damaged { row }) => damaged.push(row),
        Err(error) => return Err(error),
    }
    Ok(damaged)
}

//! Finds the badge of a code scoped to the police: the code carries no more than handles.

use std::collections::HashMap;

use lanyard_core::ids::{Epoch, EventId, Handle};
use lanyard_party::StoreKey;
use lanyard_store::Store;
use tokio::sync::Mutex;

use crate::prints::{PrintError, PrintSeeds};
use crate::staff;

/// Prints read from the store at once.
const PAGE: i64 = 4_096;

/// The prints, the own staff's too, by their handles in the committee's directory for the police, of the epoch that was last asked for. It is
/// built when a first code is shown, and brought up to date with each.
#[derive(Default)]
pub(crate) struct HandleIndex {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    epoch: Option<Epoch>,
    /// How often the store's indexes had been made anew.
    index_mends: u64,
    /// Prints changed up to here are in.
    cursor: i64,
    /// Those of the own staff.
    staff_cursor: i64,
    prints: HashMap<Handle, i64>,
}

impl HandleIndex {
    /// The print with this handle.
    pub(crate) async fn find(
        &self,
        store: &Store,
        store_key: &StoreKey,
        event: &EventId,
        epoch: Epoch,
        handle: &Handle,
    ) -> Result<Option<i64>, PrintError> {
        let mut known = self.known.lock().await;
        let index_mends = store.index_mends();
        if known.epoch != Some(epoch) || known.index_mends != index_mends {
            *known = Known { epoch: Some(epoch), index_mends, ..Known::default() };
        }
        loop {
            let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
                "SELECT id, seeds, changed FROM prints WHERE changed > $1 ORDER BY changed LIMIT $2",
            )
            .bind(known.cursor)
            .bind(PAGE)
            .fetch_all(store.pool())
            .await?;
            let Some((.., cursor)) = rows.last() else { break };
            known.cursor = *cursor;
            for (id, sealed, _) in &rows {
                let seeds = PrintSeeds::open(store_key, *id, sealed)?;
                let handle = seeds.committee_police().epoch_key(event, epoch).handle();
                known.prints.insert(handle, *id);
            }
        }
        loop {
            let page = staff::index_page(store, store_key, known.staff_cursor, PAGE).await?;
            let Some((.., cursor)) = page.last() else { break };
            known.staff_cursor = *cursor;
            for (id, seed, _) in &page {
                known.prints.insert(seed.epoch_key(event, epoch).handle(), *id);
            }
        }
        Ok(known.prints.get(handle).copied())
    }
}

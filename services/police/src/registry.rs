//! What the publisher is to say of each print: good, not good or not yet, and nothing else.

use std::sync::Arc;

use lanyard_authority::{Changes, Entry, Held, Registry};
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_party::StoreKey;
use lanyard_store::{Store, StoreError};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::prints::{PrintError, PrintSeeds};
use crate::states::Verdict;
use crate::{changes, staff};

/// The police's store as its publisher sees it.
pub(crate) struct PrintRegistry {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
}

impl Registry for PrintRegistry {
    type Error = PrintError;

    async fn changes(&self, after: u64, limit: u32) -> Result<Changes, PrintError> {
        // A print whose subject was not submitted yet reads as one whose verdict was not released.
        let rows = sqlx::query(
            "SELECT i.id, i.seeds, i.replaced, i.changed, COALESCE(s.released, 0) AS released, \
             COALESCE(s.suspended, 0) AS suspended, COALESCE(s.withdrawn, 0) AS withdrawn, s.binding \
             FROM prints i LEFT JOIN subjects s ON s.subject_id = i.subject_id \
             WHERE i.changed > $1 ORDER BY i.changed LIMIT $2",
        )
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(self.store.pool())
        .await?;
        let mut found = staff::entries(&self.store, &self.store_key, after, limit).await?;
        for row in &rows {
            let changed: i64 = row.try_get("changed")?;
            found.push((changed as u64, self.entry(row)?));
        }
        // Both kinds draw their numbers from one counter; what does not fit in this page comes with the next.
        found.sort_unstable_by_key(|(changed, _)| *changed);
        found.truncate(limit as usize);
        let cursor = found.last().map_or(after, |(changed, _)| *changed);
        Ok(Changes { entries: found.into_iter().map(|(_, entry)| entry).collect(), cursor })
    }

    async fn hold(&self, held: &[Held], lost: u64, now: Timestamp) -> Result<(), PrintError> {
        Ok(changes::hold(&self.store, held, lost, now).await?)
    }

    async fn profiles(&self) -> Result<ProfileTable, PrintError> {
        // The police restrict nothing: their records carry profile 0, which has no row.
        Ok(ProfileTable::default())
    }
}

impl PrintRegistry {
    fn entry(&self, row: &AnyRow) -> Result<Entry, PrintError> {
        let number = |column| row.try_get::<i64, _>(column);
        let id = number("id")?;
        let seeds = PrintSeeds::open(&self.store_key, id, row.try_get("seeds")?)?;
        let stopped = number("suspended")? != 0 || number("withdrawn")? != 0;
        let replaced = number("replaced")? != 0;
        let released = Verdict::from_released("released", number("released")?)?;
        let status = match released {
            _ if stopped || replaced => Status::NotGood,
            Some(Verdict::Cleared) => Status::Valid,
            Some(Verdict::Refused) => Status::NotGood,
            Some(Verdict::Pending) | None => Status::NotYet,
        };
        let binding: Option<Vec<u8>> = row.try_get("binding")?;
        let binding = match binding {
            None => Binding::NONE,
            Some(bytes) => Binding::new(
                <[u8; Binding::SIZE]>::try_from(bytes.as_slice())
                    .map_err(|_| StoreError::Corrupt { table: "subjects", column: "binding" })?,
            ),
        };
        let record = Record {
            status,
            profile: ProfileId::UNRESTRICTED,
            not_before: Minutes::MIN,
            not_after: Minutes::MAX,
            binding,
        };
        Ok(Entry { id: id as u64, seeds: vec![(Audience::Gate, seeds.police_gate())], record })
    }
}

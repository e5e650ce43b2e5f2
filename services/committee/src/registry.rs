//! What the publisher is to say of each print.

use std::sync::Arc;

use lanyard_authority::{Changes, Entry, Held, Registry};
use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_party::{SealedBlobError, StoreKey};
use lanyard_store::{Store, StoreError};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use thiserror::Error;

use crate::badges::{SEEDS, seeds_cell};
use crate::states::{PrintState, status_from_number};
use crate::{hold, police_badges, profiles};

/// The committee's store as its publisher sees it.
pub(crate) struct PrintRegistry {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
}

/// Why the registry cannot answer.
#[derive(Debug, Error)]
pub(crate) enum RegistryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Seeds do not open: nothing may be published over them.
    #[error(transparent)]
    Seeds(#[from] SealedBlobError),
}

impl Registry for PrintRegistry {
    type Error = RegistryError;

    async fn changes(&self, after: u64, limit: u32) -> Result<Changes, RegistryError> {
        let rows = sqlx::query(
            "SELECT i.id, i.seeds, i.state, i.changed, p.status, p.profile_id, p.not_before, p.not_after, p.binding \
             FROM prints i JOIN people p ON p.badge_number = i.badge_number \
             WHERE i.changed > $1 AND i.state <> $2 ORDER BY i.changed LIMIT $3",
        )
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(PrintState::Waiting.number())
        .bind(i64::from(limit))
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let mut found = police_badges::entries(&self.store, &self.store_key, after, limit).await?;
        for row in &rows {
            let changed: i64 = row.try_get("changed").map_err(StoreError::from)?;
            found.push((changed as u64, self.entry(row)?));
        }
        // Both kinds draw their numbers from one counter; what does not fit in this page comes with the next.
        found.sort_unstable_by_key(|(changed, _)| *changed);
        found.truncate(limit as usize);
        let cursor = found.last().map_or(after, |(changed, _)| *changed);
        Ok(Changes { entries: found.into_iter().map(|(_, entry)| entry).collect(), cursor })
    }

    async fn hold(&self, held: &[Held], lost: u64, now: Timestamp) -> Result<(), RegistryError> {
        Ok(hold::hold(&self.store, held, lost, now).await?)
    }

    async fn profiles(&self) -> Result<ProfileTable, RegistryError> {
        Ok(profiles::table(&self.store).await?)
    }
}

impl PrintRegistry {
    fn entry(&self, row: &AnyRow) -> Result<Entry, RegistryError> {
        let number = |column| row.try_get::<i64, _>(column).map_err(StoreError::from);
        let id = number("id")?;
        let sealed: Vec<u8> = row.try_get("seeds").map_err(StoreError::from)?;
        let opened = self.store_key.open(seeds_cell(id), &sealed)?;
        let seeds = opened.as_chunks::<32>().0;
        let corrupt = |column| StoreError::Corrupt { table: "prints", column };
        if opened.len() != SEEDS {
            return Err(corrupt("seeds").into());
        }
        let audiences = Audience::published_by(lanyard_core::ids::Authority::Committee);
        let seeds = audiences
            .iter()
            .copied()
            .zip(seeds.iter().map(|seed| Seed::from_bytes(*seed)))
            .collect();
        let status = match PrintState::from_number(number("state")?)? {
            PrintState::Replaced => Status::Reprinted,
            PrintState::Waiting | PrintState::Issued => status_from_number(number("status")?)?,
        };
        let binding: Vec<u8> = row.try_get("binding").map_err(StoreError::from)?;
        let binding = <[u8; Binding::SIZE]>::try_from(binding.as_slice())
            .map_err(|_| StoreError::Corrupt { table: "people", column: "binding" })?;
        let record = Record {
            status,
            profile: ProfileId::new(number("profile_id")? as u16),
            not_before: Minutes::new(number("not_before")? as u32),
            not_after: Minutes::new(number("not_after")? as u32),
            binding: Binding::new(binding),
        };
        Ok(Entry { id: id as u64, seeds, record })
    }
}

//! What the publisher is to say of each print.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lanyard_authority::{Changes, Entry, Held, Registry};
use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Authority, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_env::StartError;
use lanyard_party::{SealedBlobError, StoreKey};
use lanyard_store::{DamagedRow, SealValue, Store, StoreError, without};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use thiserror::Error;

use crate::badges::{SEEDS, seeds_cell};
use crate::states::{PrintState, status_from_number};
use crate::{hold, police_badges, profiles};

/// Tables with seals over their rows: all that a signature or an answer comes from.
pub const SEALED: &[&str] = &[
    "people",
    "prints",
    "profiles",
    "police_badges",
    "police_prints",
    "status_changes",
    "disclosures",
    "cursors",
];

/// The committee's store as its publisher sees it.
pub(crate) struct PrintRegistry {
    store: Store,
    store_key: Arc<StoreKey>,
    /// Rows that are damaged: the publisher was told to close what depends on them.
    closed: Mutex<BTreeSet<DamagedRow>>,
    /// How often indexes were made anew when a page was read last.
    index_mends: AtomicU64,
}

/// Changes of one page.
const RANGE: &str = "changed > $1 AND changed <= $2";

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

impl StartError for RegistryError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Store(error) => error.is_permanent(),
            Self::Seeds(_) => true,
        }
    }
}

impl Registry for PrintRegistry {
    type Error = RegistryError;

    async fn changes(&self, after: u64, limit: u32) -> Result<Changes, RegistryError> {
        // What was read by an index that was damaged may have missed a change.
        let mends = self.store.index_mends();
        let after = if mends == self.index_mends.load(Ordering::Relaxed) { after } else { 0 };
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let end = self.page_end(after, limit).await?;
        let told = self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let newly = self.newly_damaged(after, end, &told).await?;
        let damaged: BTreeSet<_> = told.into_iter().chain(newly.iter().cloned()).collect();
        let mut closed = Vec::new();
        for row in &newly {
            closed.extend(self.closed_entries(row, &damaged).await?);
        }
        let statement = format!(
            "SELECT i.id, i.seeds, i.state, i.changed, p.status, p.profile_id, p.not_before, p.not_after, p.binding \
             FROM prints i JOIN people p ON p.badge_number = i.badge_number \
             WHERE i.changed > $1 AND i.changed <= $2 AND i.state <> $3{}{} ORDER BY i.changed",
            without("i.id", "prints", &damaged),
            without("i.badge_number", "people", &damaged),
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(after)
            .bind(end)
            .bind(PrintState::Waiting.number())
            .fetch_all(self.store.pool())
            .await
            .map_err(StoreError::from)?;
        let range = (after, end);
        let mut found =
            police_badges::entries(&self.store, &self.store_key, range, &damaged).await?;
        for row in &rows {
            let changed: i64 = row.try_get("changed").map_err(StoreError::from)?;
            found.push((changed as u64, self.entry(row)?));
        }
        // Both kinds draw their numbers from one counter.
        found.sort_unstable_by_key(|(changed, _)| *changed);
        let entries = found.into_iter().map(|(_, entry)| entry).chain(closed).collect();
        // Told with this answer and not before: whatever failed above would have kept it back.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).extend(newly);
        self.index_mends.store(mends, Ordering::Relaxed);
        Ok(Changes { entries, cursor: end as u64 })
    }

    async fn hold(&self, held: &[Held], lost: u64, now: Timestamp) -> Result<(), RegistryError> {
        Ok(hold::hold(&self.store, held, lost, now).await?)
    }

    async fn profiles(&self) -> Result<ProfileTable, RegistryError> {
        let damaged = self.store.damaged("profiles", "1 = 1", &[]).await?;
        Ok(profiles::table(&self.store, &damaged.into_iter().collect()).await?)
    }
}

impl PrintRegistry {
    pub(crate) fn new(store: Store, store_key: Arc<StoreKey>) -> Self {
        let index_mends = AtomicU64::new(store.index_mends());
        Self { store, store_key, closed: Mutex::default(), index_mends }
    }

    /// The number of the last of `limit` changes after `after`; `after` itself if there is none.
    async fn page_end(&self, after: i64, limit: u32) -> Result<i64, RegistryError> {
        // No damage takes the cursor past what was ever drawn, where it would miss what comes.
        let newest = self.store.last_number("changed").await?;
        let changes: Vec<(i64,)> = sqlx::query_as(
            "SELECT changed FROM prints WHERE changed > $1 UNION ALL SELECT changed FROM police_prints WHERE changed > $1 \
             ORDER BY changed LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let was_drawn = |changed: &i64| newest.is_none_or(|newest| *changed <= newest);
        let mut drawn = changes.into_iter().map(|(changed,)| changed).filter(was_drawn);
        Ok(drawn.next_back().unwrap_or(after))
    }

    /// Looks for damage in what is about to be read: the rows that the publisher has not been told of yet. At the start it is
    /// looked for in everything, and told again, as a publisher that starts anew knows nothing. Before the first print there
    /// is no start: each tick would look at everybody who was ever imported.
    async fn newly_damaged(
        &self,
        after: i64,
        end: i64,
        told: &BTreeSet<DamagedRow>,
    ) -> Result<Vec<DamagedRow>, RegistryError> {
        let is_start = after == 0 && end > 0;
        let mut found = if is_start {
            self.store.all_damaged().await?
        } else {
            let range = [SealValue::Number(after), SealValue::Number(end)];
            // Few, and each attests many badges: looked at whatever has changed.
            let mut found = self.store.damaged("profiles", "1 = 1", &[]).await?;
            for (prints, badges) in [("prints", "people"), ("police_prints", "police_badges")] {
                found.extend(self.store.damaged(prints, RANGE, &range).await?);
                let of =
                    format!("badge_number IN (SELECT badge_number FROM {prints} WHERE {RANGE})");
                found.extend(self.store.damaged(badges, &of, &range).await?);
            }
            found
        };
        found.retain(|row| is_start || !told.contains(row));
        for row in found.iter().filter(|row| !told.contains(row)) {
            tracing::error!(%row, "damaged: what depends on it is closed; restore the store from a backup");
        }
        Ok(found)
    }

    /// The prints that depend on a damaged row, as far as their seeds still open.
    async fn closed_entries(
        &self,
        row: &DamagedRow,
        damaged: &BTreeSet<DamagedRow>,
    ) -> Result<Vec<Entry>, RegistryError> {
        if row.table == "profiles" {
            // Which code it bore is not known: whoever has none that is sound.
            let orphans = police_badges::without_sound_profile(damaged);
            return self.closed_prints("police_prints", &orphans, None).await;
        }
        let (prints, column) = match row.table {
            "prints" | "police_prints" => (row.table, "id"),
            "people" => ("prints", "badge_number"),
            "police_badges" => ("police_prints", "badge_number"),
            _ => return Ok(Vec::new()),
        };
        let Some(number) = row.number() else { return Ok(Vec::new()) };
        self.closed_prints(prints, &format!("{column} = $1"), Some(number)).await
    }

    /// The prints for which a condition holds, closed.
    async fn closed_prints(
        &self,
        prints: &str,
        condition: &str,
        bound: Option<i64>,
    ) -> Result<Vec<Entry>, RegistryError> {
        let statement = format!("SELECT id, seeds FROM {prints} WHERE {condition}");
        let mut query = sqlx::query_as(AssertSqlSafe(statement));
        if let Some(number) = bound {
            query = query.bind(number);
        }
        let rows: Vec<(i64, Vec<u8>)> =
            query.fetch_all(self.store.pool()).await.map_err(StoreError::from)?;
        let cell = if prints == "prints" { seeds_cell } else { police_badges::seeds_cell };
        let opened = rows.iter().filter_map(|(id, sealed)| {
            let seeds = self.store_key.open(cell(*id), sealed).ok()?;
            let seeds = seeds.as_chunks::<32>().0.iter().map(|seed| Seed::from_bytes(*seed));
            let audiences = Audience::published_by(Authority::Committee).iter().copied();
            Some(Entry::closed(*id as u64, audiences.zip(seeds).collect(), Status::Suspended))
        });
        Ok(opened.collect())
    }

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
        let audiences = Audience::published_by(Authority::Committee);
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

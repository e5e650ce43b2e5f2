//! What the publisher is to say of each print: good, not good or not yet, and nothing else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lanyard_authority::{Changes, Entry, Held, Registry};
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_party::StoreKey;
use lanyard_store::{DamagedRow, SealValue, Store, StoreError, without};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::ids::SubjectId;
use crate::prints::{PrintError, PrintSeeds};
use crate::states::Verdict;
use crate::{changes, staff};

/// Tables with seals over their rows: what a signature, a verdict or an answer comes from, but for entries and keys of lists
/// and keys of subjects, in the millions, which carry tags: see `tags`.
pub const SEALED: &[&str] = &[
    "subjects",
    "prints",
    "status_changes",
    "watchlists",
    "list_imports",
    "seen_matches",
    "proposals",
    "disclosures",
    "staff",
    "staff_keys",
    "staff_prints",
    "staff_profiles",
    "staff_changes",
];

/// Changes of one page.
const RANGE: &str = "changed > $1 AND changed <= $2";

/// The police's store as its publisher sees it.
pub(crate) struct PrintRegistry {
    store: Store,
    store_key: Arc<StoreKey>,
    /// Rows that are damaged: the publisher was told to close what depends on them.
    closed: Mutex<BTreeSet<DamagedRow>>,
    /// How often indexes were made anew when a page was read last.
    index_mends: AtomicU64,
}

impl Registry for PrintRegistry {
    type Error = PrintError;

    async fn changes(&self, after: u64, limit: u32) -> Result<Changes, PrintError> {
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
            for print in self.prints_of(row).await? {
                closed.extend(self.closed_entry(row, print).await?);
            }
        }
        // A print whose subject was not submitted yet reads as one whose verdict was not released.
        let statement = format!(
            "SELECT i.id, i.seeds, i.replaced, i.changed, COALESCE(s.released, 0) AS released, \
             COALESCE(s.suspended, 0) AS suspended, COALESCE(s.withdrawn, 0) AS withdrawn, s.binding \
             FROM prints i LEFT JOIN subjects s ON s.subject_id = i.subject_id \
             WHERE i.changed > $1 AND i.changed <= $2{}{} ORDER BY i.changed",
            without("i.id", "prints", &damaged),
            self.without_prints_of(&damaged).await?,
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(after)
            .bind(end)
            .fetch_all(self.store.pool())
            .await?;
        let mut found =
            staff::entries(&self.store, &self.store_key, (after, end), &damaged).await?;
        for row in &rows {
            let changed: i64 = row.try_get("changed")?;
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

    async fn hold(&self, held: &[Held], lost: u64, now: Timestamp) -> Result<(), PrintError> {
        Ok(changes::hold(&self.store, held, lost, now).await?)
    }

    async fn profiles(&self) -> Result<ProfileTable, PrintError> {
        // The police restrict nothing: their records carry profile 0, which has no row.
        Ok(ProfileTable::default())
    }
}

impl PrintRegistry {
    pub(crate) fn new(store: Store, store_key: Arc<StoreKey>) -> Self {
        let index_mends = AtomicU64::new(store.index_mends());
        Self { store, store_key, closed: Mutex::default(), index_mends }
    }

    /// The number of the last of `limit` changes after `after`; `after` itself if there is none.
    async fn page_end(&self, after: i64, limit: u32) -> Result<i64, PrintError> {
        // No damage takes the cursor past what was ever drawn, where it would miss what comes.
        let newest = self.store.last_number("changed").await?;
        let changes: Vec<(i64,)> = sqlx::query_as(
            "SELECT changed FROM prints WHERE changed > $1 UNION ALL SELECT changed FROM staff_prints WHERE changed > $1 \
             ORDER BY changed LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(self.store.pool())
        .await?;
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
    ) -> Result<Vec<DamagedRow>, PrintError> {
        let is_start = after == 0 && end > 0;
        let mut found = if is_start {
            self.store.all_damaged().await?
        } else {
            let range = [SealValue::Number(after), SealValue::Number(end)];
            let mut found = Vec::new();
            for (prints, badges, key) in
                [("prints", "subjects", "subject_id"), ("staff_prints", "staff", "badge_number")]
            {
                found.extend(self.store.damaged(prints, RANGE, &range).await?);
                let of = format!("{key} IN (SELECT {key} FROM {prints} WHERE {RANGE})");
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

    /// The prints that depend on a damaged row.
    async fn prints_of(&self, row: &DamagedRow) -> Result<Vec<i64>, PrintError> {
        let (statement, number) = match (row.table, row.number()) {
            ("prints" | "staff_prints", Some(number)) => return Ok(vec![number]),
            ("staff", Some(number)) => {
                ("SELECT id FROM staff_prints WHERE badge_number = $1", number)
            }
            ("subjects", _) => {
                let Some(id) = SubjectId::from_hex(&row.key) else { return Ok(Vec::new()) };
                let ids: Vec<(i64,)> =
                    sqlx::query_as("SELECT id FROM prints WHERE subject_id = $1")
                        .bind(id.as_slice())
                        .fetch_all(self.store.pool())
                        .await?;
                return Ok(ids.into_iter().map(|(id,)| id).collect());
            }
            _ => return Ok(Vec::new()),
        };
        let ids: Vec<(i64,)> =
            sqlx::query_as(statement).bind(number).fetch_all(self.store.pool()).await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }

    /// Leaves out the prints of damaged subjects.
    async fn without_prints_of(
        &self,
        damaged: &BTreeSet<DamagedRow>,
    ) -> Result<String, PrintError> {
        let mut left_out = Vec::new();
        for row in damaged.iter().filter(|row| row.table == "subjects") {
            left_out.extend(self.prints_of(row).await?.iter().map(i64::to_string));
        }
        if left_out.is_empty() {
            return Ok(String::new());
        }
        Ok(format!(" AND i.id NOT IN ({})", left_out.join(", ")))
    }

    /// What is said of a print that depends on a damaged row, as far as its seeds still open.
    async fn closed_entry(&self, row: &DamagedRow, id: i64) -> Result<Option<Entry>, PrintError> {
        let is_staff = row.table.starts_with("staff");
        let statement = if is_staff {
            "SELECT seeds FROM staff_prints WHERE id = $1"
        } else {
            "SELECT seeds FROM prints WHERE id = $1"
        };
        let sealed: Option<(Vec<u8>,)> =
            sqlx::query_as(statement).bind(id).fetch_optional(self.store.pool()).await?;
        let Some((sealed,)) = sealed else { return Ok(None) };
        let seed = if is_staff {
            staff::gate_seed(&self.store_key, id, &sealed)
        } else {
            PrintSeeds::open(&self.store_key, id, &sealed).ok().map(|seeds| seeds.police_gate())
        };
        Ok(seed.map(|seed| Entry::closed(id as u64, vec![(Audience::Gate, seed)], Status::NotGood)))
    }

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

//! Indexes of SQLite. Rows carry seals, indexes do not: a bit that flips in one makes no row wrong, but a look-up may miss a
//! row, and so a publisher a stop. So they are compared with their rows, at the start and again and again, and made anew from
//! them where they do not agree.
//!
//! PostgreSQL has checksums of its own over its pages.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use crate::{Store, StoreError};

/// How long after one comparison the next begins, and how many times as long as it took: 2 % of one core at most.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_FACTOR: u32 = 50;

/// What SQLite says of a table that could not be mended: it is said once.
type Said = BTreeMap<&'static str, Vec<String>>;

impl Store {
    /// Compares the indexes of sealed tables with their rows, and makes them anew where they do not agree.
    ///
    /// # Errors
    /// [`StoreError`]: with [`StoreError::DamagedPage`], a table cannot be looked at, or its indexes not be made anew.
    pub async fn mend_indexes(&self) -> Result<(), StoreError> {
        self.mend(&mut Said::new()).await
    }

    /// Does so again and again, until `stop`.
    pub async fn keep_indexes(self, stop: CancellationToken) {
        let mut said = Said::new();
        let mut pause = PAUSE;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let began = Instant::now();
            let mended = stop.run_until_cancelled(self.mend(&mut said)).await;
            if let Some(Err(error)) = mended {
                tracing::error!(%error, "indexes could not be compared with their rows");
            }
            pause = PAUSE.max(began.elapsed() * PAUSE_FACTOR);
        }
    }

    /// How often indexes were made anew: what was looked up before may have missed rows.
    #[must_use]
    pub fn index_mends(&self) -> u64 {
        self.seals.as_ref().map_or(0, |seals| seals.index_mends().load(Ordering::Acquire))
    }

    async fn mend(&self, said: &mut Said) -> Result<(), StoreError> {
        let Some(seals) = &self.seals else { return Ok(()) };
        for table in seals.decisive_tables() {
            let problems = self.index_problems(table).await?;
            if problems.is_empty() || said.get(table) == Some(&problems) {
                continue;
            }
            let mut transaction = self.begin().await?;
            sqlx::query(AssertSqlSafe(format!("REINDEX {table}")))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            seals.index_mends().fetch_add(1, Ordering::Release);
            let left = self.index_problems(table).await?;
            let problem = problems.first();
            if left.is_empty() {
                tracing::error!(table, problem, "indexes did not agree with their rows: made anew");
            } else {
                tracing::error!(table, problem, "damaged: restore the store from a backup");
            }
            said.insert(table, left);
        }
        Ok(())
    }

    /// What SQLite finds in a table and its indexes, in its words, without what they hold.
    async fn index_problems(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let select = format!("SELECT integrity_check FROM pragma_integrity_check('{table}')");
        let found: Vec<(String,)> =
            sqlx::query_as(AssertSqlSafe(select)).fetch_all(self.pool()).await?;
        Ok(found.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests do to files what a failing disk does
mod tests {
    use tempfile::TempDir;

    use crate::seals::SealKey;
    use crate::{Schema, Store, StoreError};

    const STEPS: Schema = Schema::new(&[
        "CREATE TABLE things (id BIGINT PRIMARY KEY, changed BIGINT NOT NULL)",
        "CREATE INDEX things_changed ON things (changed)",
    ]);
    const THINGS: i64 = 20;
    const PAGE_BYTES: usize = 4_096;

    async fn open(folder: &TempDir) -> Result<Store, StoreError> {
        let store = crate::tests::open(folder.path(), &STEPS).await;
        store.with_seals(SealKey::from_bytes([7; 32]), &["things"]).await
    }

    /// How many things are found by either index.
    async fn found(store: &Store) -> usize {
        let mut found = 0;
        for thing in 1..=THINGS {
            let by: (i64, i64) = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM things WHERE id = $1 AND changed > 0), \
                 (SELECT COUNT(*) FROM things WHERE changed = $1 AND id > 0)",
            )
            .bind(thing)
            .fetch_one(store.pool())
            .await
            .unwrap();
            found += usize::from(by == (1, 1));
        }
        let since: Vec<(i64,)> =
            sqlx::query_as("SELECT changed FROM things WHERE changed > 0 ORDER BY changed")
                .fetch_all(store.pool())
                .await
                .unwrap();
        found.min(since.len())
    }

    /// One bit in five of what the pages of the indexes hold: whatever it does, no row is missed, or the start is refused.
    #[tokio::test]
    async fn a_flipped_bit_in_an_index_hides_no_row() {
        let folder = TempDir::new().unwrap();
        let store = open(&folder).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        for id in 1..=THINGS {
            sqlx::query("INSERT INTO things (id, changed) VALUES ($1, $1)")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        transaction.commit().await.unwrap();
        let pages: Vec<(i64,)> = sqlx::query_as(
            "SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'things'",
        )
        .fetch_all(store.pool())
        .await
        .unwrap();
        assert_eq!(pages.len(), 2);
        store.close().await;
        let path = folder.path().join("test.db");
        let whole = std::fs::read(&path).unwrap();
        let starts = pages.iter().map(|(page,)| (*page as usize - 1) * PAGE_BYTES);
        let used = starts.flat_map(|start| start..start + PAGE_BYTES).filter(|at| whole[*at] != 0);
        let (mut mended, mut refused) = (0, 0);
        for (byte, bit) in used.flat_map(|byte| (0..8).map(move |bit| (byte, bit))).step_by(5) {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            std::fs::write(&path, bytes).unwrap();
            match open(&folder).await {
                Ok(store) => {
                    mended += store.index_mends();
                    assert_eq!(found(&store).await, THINGS as usize, "bit {bit} of byte {byte}");
                    store.close().await;
                }
                Err(error) => {
                    assert!(error.is_damaged_page(), "bit {bit} of byte {byte}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(mended > 100 && refused > 0, "{mended} mended, {refused} refused");
    }
}

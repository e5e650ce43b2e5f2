//! Indexes of SQLite. Rows carry seals, indexes do not: a bit that flips in one makes no row wrong, but a look-up may miss a
//! row, and so a publisher a stop. So they are compared with their rows, at the start and again and again, and made anew from
//! them where they do not agree and the rows are sound: an index must not take over what is damaged.
//!
//! PostgreSQL has checksums of its own over its pages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Store, StoreError};

/// How long after one comparison the next begins, and how many times as long as it took: 2 % of one core at most.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_FACTOR: u32 = 50;

/// What does not agree in a table and could not be mended: it is said once.
type Said = BTreeMap<&'static str, String>;

/// Sends a reader that keeps its cursor elsewhere back to the beginning after indexes were made anew, as it may have missed rows.
/// All that is read so can be read twice. It is sent back once: should it not get that page, it goes on from where it was.
#[derive(Debug, Default)]
pub struct Rereads(AtomicU64);

impl Rereads {
    /// Where to read from.
    #[must_use]
    pub fn from(&self, store: &Store, cursor: u64) -> u64 {
        let mends = store.index_mends();
        if self.0.swap(mends, Ordering::Relaxed) == mends { cursor } else { 0 }
    }
}

impl Store {
    /// Compares the indexes of sealed tables with their rows, and makes them anew where they do not agree. What cannot be
    /// mended is logged.
    ///
    /// # Errors
    /// [`StoreError::DamagedPage`]: a table cannot be looked at, or an index not be made anew.
    pub async fn mend_indexes(&self) -> Result<(), StoreError> {
        match self.mend(&mut Said::new()).await.1 {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Does so again and again, until `stop`.
    pub async fn keep_indexes(self, stop: CancellationToken) {
        let mut said = Said::new();
        let mut pause = PAUSE;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let Some((took, _)) = stop.run_until_cancelled(self.mend(&mut said)).await else {
                return;
            };
            pause = PAUSE.max(took * PAUSE_FACTOR);
        }
    }

    /// How often indexes were made anew: what was looked up before may have missed rows.
    #[must_use]
    pub fn index_mends(&self) -> u64 {
        self.seals.as_ref().map_or(0, |seals| seals.index_mends().load(Ordering::Acquire))
    }

    /// Returns for how long tables were looked at, and a page that is damaged.
    async fn mend(&self, said: &mut Said) -> (Duration, Option<StoreError>) {
        let (mut took, mut damaged) = (Duration::ZERO, None);
        for table in self.seals.iter().flat_map(|seals| seals.decisive_tables()) {
            let began = Instant::now();
            let problem = self.index_problem(table).await;
            took += began.elapsed();
            let mended = match problem {
                Ok(None) => {
                    said.remove(table);
                    continue;
                }
                Ok(Some(problem)) if said.get(table) == Some(&problem) => continue,
                Ok(Some(problem)) => self.mend_table(table, problem, said).await,
                Err(error) => Err(error),
            };
            let Err(error) = mended else { continue };
            let problem = error.to_string();
            if said.get(table) != Some(&problem) {
                tracing::error!(table, %error, "indexes could not be compared with their rows, or made anew");
            }
            said.insert(table, problem);
            damaged = damaged.or(Some(error).filter(StoreError::is_damaged_page));
        }
        (took, damaged)
    }

    async fn mend_table(
        &self,
        table: &'static str,
        problem: String,
        said: &mut Said,
    ) -> Result<(), StoreError> {
        // Nobody writes meanwhile.
        let mut transaction = self.begin().await?;
        let row = self.damaged(table, "1 = 1", &[]).await?.into_iter().next();
        if row.is_some() || lost_rows(&mut transaction, table).await? {
            let row = row.map(|row| row.to_string());
            tracing::error!(
                table,
                row,
                problem,
                "damaged: its indexes stay as they are; restore the store from a backup"
            );
            said.insert(table, problem);
            return Ok(());
        }
        let reindex = format!("REINDEX {table}");
        sqlx::query(AssertSqlSafe(reindex)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        if let Some(seals) = &self.seals {
            seals.index_mends().fetch_add(1, Ordering::Release);
        }
        tracing::error!(table, problem, "indexes did not agree with their rows: made anew");
        // What is left is not for a new index to mend.
        if let Some(problem) = self.index_problem(table).await? {
            tracing::error!(table, problem, "damaged: restore the store from a backup");
            said.insert(table, problem);
        }
        Ok(())
    }

    /// What SQLite finds first in a table and its indexes, in its words, without what they hold.
    async fn index_problem(&self, table: &str) -> Result<Option<String>, StoreError> {
        let select =
            format!("SELECT integrity_check FROM pragma_integrity_check('{table}') LIMIT 1");
        let found: (String,) = sqlx::query_as(AssertSqlSafe(select)).fetch_one(self.pool()).await?;
        Ok(Some(found.0).filter(|line| line != "ok"))
    }
}

/// Whether all indexes of a table know more rows than it has. One alone is wrong itself.
async fn lost_rows(connection: &mut AnyConnection, table: &str) -> Result<bool, StoreError> {
    let list = format!("SELECT name FROM pragma_index_list('{table}')");
    let indexes: Vec<(String,)> =
        sqlx::query_as(AssertSqlSafe(list)).fetch_all(&mut *connection).await?;
    let by = indexes.iter().map(|(index,)| format!("INDEXED BY {index}"));
    let mut counts = Vec::new();
    for by in std::iter::once("NOT INDEXED".to_owned()).chain(by) {
        // COUNT would choose an index for itself.
        let count = format!("SELECT COALESCE(SUM(1), 0) FROM {table} {by}");
        let (rows,): (i64,) =
            sqlx::query_as(AssertSqlSafe(count)).fetch_one(&mut *connection).await?;
        counts.push(rows);
    }
    Ok(counts[1..].iter().min() > counts.first())
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
    async fn found(store: &Store) -> Result<usize, sqlx::Error> {
        let mut found = 0;
        for thing in 1..=THINGS {
            let by: (i64, i64) = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM things WHERE id = $1 AND changed > 0), \
                 (SELECT COUNT(*) FROM things WHERE changed = $1 AND id > 0)",
            )
            .bind(thing)
            .fetch_one(store.pool())
            .await?;
            found += usize::from(by == (1, 1));
        }
        let since: Vec<(i64,)> =
            sqlx::query_as("SELECT changed FROM things WHERE changed > 0 ORDER BY changed")
                .fetch_all(store.pool())
                .await?;
        Ok(found.min(since.len()))
    }

    /// With so many things.
    async fn filled(folder: &TempDir) {
        let store = open(folder).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        for id in 1..=THINGS {
            sqlx::query("INSERT INTO things (id, changed) VALUES ($1, $1)")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        transaction.commit().await.unwrap();
        store.close().await;
    }

    /// Opens the store over and over, each time with one bit flipped of what the pages of such a kind hold, and every `step`th bit;
    /// returns how often it was mended, and how often the start was refused.
    async fn flip(kind: &str, step: usize, look: impl AsyncFn(&Store, &str)) -> (u64, u64) {
        let folder = TempDir::new().unwrap();
        filled(&folder).await;
        let store = open(&folder).await.unwrap();
        let pages: Vec<(i64,)> = sqlx::query_as(
            "SELECT rootpage FROM sqlite_schema WHERE type = $1 AND tbl_name = 'things'",
        )
        .bind(kind)
        .fetch_all(store.pool())
        .await
        .unwrap();
        store.close().await;
        let path = folder.path().join("test.db");
        let whole = std::fs::read(&path).unwrap();
        let starts = pages.iter().map(|(page,)| (*page as usize - 1) * PAGE_BYTES);
        let used = starts.flat_map(|start| start..start + PAGE_BYTES).filter(|at| whole[*at] != 0);
        let (mut mended, mut refused) = (0, 0);
        for (byte, bit) in used.flat_map(|byte| (0..8).map(move |bit| (byte, bit))).step_by(step) {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            std::fs::write(&path, bytes).unwrap();
            match open(&folder).await {
                Ok(store) => {
                    mended += store.index_mends();
                    look(&store, &format!("bit {bit} of byte {byte}")).await;
                    store.close().await;
                }
                Err(error) => {
                    assert!(error.is_damaged_page(), "bit {bit} of byte {byte}: {error}");
                    refused += 1;
                }
            }
        }
        (mended, refused)
    }

    /// Whatever it does, no row is missed, or the store says that it is damaged.
    #[tokio::test]
    async fn a_flipped_bit_in_an_index_hides_no_row() {
        let (mended, refused) = flip("index", 5, async |store, place| match found(store).await {
            Ok(found) => assert_eq!(found, THINGS as usize, "{place}"),
            Err(error) => assert!(crate::error::is_damage(&error), "{place}: {error}"),
        })
        .await;
        assert!(mended > 100 && refused > 0, "{mended} mended, {refused} refused");
    }

    /// What the index knows would be lost with the row, and a cursor be taken past what comes.
    #[tokio::test]
    async fn no_index_takes_over_what_flipped_in_a_row() {
        flip("table", 3, async |store, place| {
            let known: Result<Vec<(i64,)>, _> = sqlx::query_as(
                "SELECT changed FROM things INDEXED BY things_changed ORDER BY changed",
            )
            .fetch_all(store.pool())
            .await;
            let known: Vec<i64> = known.unwrap().into_iter().map(|(changed,)| changed).collect();
            assert_eq!(known, (1..=THINGS).collect::<Vec<_>>(), "{place}");
        })
        .await;
    }
}

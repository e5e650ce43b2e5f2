//! A party's SQL store: SQLite by default, in the SQL that PostgreSQL speaks too.
//!
//! Trust: the store is the party's own and trusted to keep what it acknowledged. SQLite runs with `synchronous = FULL`, so a
//! committed transaction survives a kill and a power loss.
//!
//! Rules for one code path: parameters are `$1`, `$2`, …; integers are `BIGINT`, bytes are written `BYTES` in schema steps and
//! become the engine's own type; no engine's own functions; upserts as `INSERT … ON CONFLICT (…) DO UPDATE`.

mod audit;
mod error;
mod observe;
mod schema;

use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use lanyard_telemetry::metrics;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, ConnectOptions as _, Transaction};

pub use audit::{AuditEntry, AuditTrail, NewAuditEntry};
pub use error::StoreError;
pub use observe::trail_source;
pub use schema::Schema;

/// Connections that a service opens at most. SQLite has one writer at a time, whatever this says.
const CONNECTIONS: u32 = 8;

static DRIVERS: Once = Once::new();

/// Has `install` install the drivers of this process instead of sqlx's own: for simulations, which keep SQLite on their one
/// thread. Without effect once a store was opened.
pub fn install_drivers(install: impl FnOnce()) {
    DRIVERS.call_once(install);
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    engine: Engine,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub(crate) fn bytes_type(self) -> &'static str {
        match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        }
    }
}

impl Store {
    /// Opens the store at `url` and brings its schema up to date. A relative `sqlite://` path lies under `folder`.
    ///
    /// # Errors
    /// [`StoreError`]: an URL of no known kind, a store that cannot be reached, or one made by a newer version.
    pub async fn open(url: &str, folder: &Path, schema: &Schema) -> Result<Self, StoreError> {
        let (engine, url) = resolve(url, folder)?;
        let store = Self { pool: Self::connect(engine, &url).await?, engine };
        schema.apply(&store).await?;
        Ok(store)
    }

    async fn connect(engine: Engine, url: &str) -> Result<AnyPool, StoreError> {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let failed = |source| StoreError::Open { source };
        let options: AnyConnectOptions = url.parse().map_err(failed)?;
        // Statements can carry personal data as parameters and errors: nothing of them is logged.
        let options = options.disable_statement_logging();
        AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if engine == Engine::Sqlite {
                        for pragma in PRAGMAS {
                            sqlx::query(pragma).execute(&mut *connection).await?;
                        }
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(failed)
    }

    /// The pool, for reads.
    #[must_use]
    pub const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a writing transaction. Dropping it without `commit` undoes it.
    ///
    /// # Errors
    /// [`StoreError::Query`] if the store is busy for too long or gone.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        // SQLite takes the write lock here, where waiting is safe, and not at the first write, where it is not.
        let statement = match self.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let asked = Instant::now();
        let begun = self.pool.begin_with(statement).await?;
        metrics::STORE_WAIT.of([]).record(asked.elapsed());
        Ok(begun)
    }

    pub(crate) const fn engine(&self) -> Engine {
        self.engine
    }

    /// Closes all connections; a SQLite store folds its write-ahead log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A writer waits up to 20 seconds for another before it gives up.
const PRAGMAS: [&str; 4] = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 20000",
];

fn resolve(url: &str, folder: &Path) -> Result<(Engine, String), StoreError> {
    if let Some(path) = url.strip_prefix("sqlite://") {
        let path = folder.join(path);
        let path = path.to_str().ok_or(StoreError::Path)?;
        return Ok((Engine::Sqlite, format!("sqlite://{path}?mode=rwc")));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Engine::Postgres, url.to_owned()));
    }
    Err(StoreError::Url)
}

/// Draws the next number of a named counter, from 1.
///
/// # Errors
/// [`StoreError::Query`].
pub async fn next_number(
    transaction: &mut Transaction<'static, Any>,
    counter: &str,
) -> Result<i64, StoreError> {
    next_numbers(transaction, counter, 1).await
}

/// Draws `count` consecutive numbers of a named counter and returns the first.
///
/// # Errors
/// [`StoreError::Query`].
pub async fn next_numbers(
    transaction: &mut Transaction<'static, Any>,
    counter: &str,
    count: i64,
) -> Result<i64, StoreError> {
    let (last,): (i64,) = sqlx::query_as(
        "INSERT INTO counters (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = counters.value + $2 RETURNING value",
    )
    .bind(counter)
    .bind(count)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(last - count + 1)
}

/// Parameters of a statement that names several rows, from `$first` on: `($2, $3), ($4, $5)` for two rows of two columns.
/// One row of several columns is a list for `IN`.
#[must_use]
pub fn placeholders(first: usize, rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let from = first + row * columns;
        let row: Vec<String> = (from..from + columns).map(|number| format!("${number}")).collect();
        format!("({})", row.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Schema = Schema::new(&["CREATE TABLE things (id BIGINT PRIMARY KEY, body BYTES)"]);

    #[tokio::test]
    async fn a_store_keeps_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open("sqlite://test.db", folder.path(), &STEPS).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        assert_eq!(next_number(&mut transaction, "things").await.unwrap(), 1);
        assert_eq!(next_numbers(&mut transaction, "things", 5).await.unwrap(), 2);
        sqlx::query("INSERT INTO things (id, body) VALUES ($1, $2)")
            .bind(1_i64)
            .bind(vec![1_u8, 2, 3])
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let mut dropped = store.begin().await.unwrap();
        assert_eq!(next_number(&mut dropped, "things").await.unwrap(), 7);
        drop(dropped);
        store.close().await;

        let store = Store::open("sqlite://test.db", folder.path(), &STEPS).await.unwrap();
        let (body,): (Vec<u8>,) = sqlx::query_as("SELECT body FROM things WHERE id = 1")
            .fetch_one(store.pool())
            .await
            .unwrap();
        assert_eq!(body, [1, 2, 3]);
        let mut transaction = store.begin().await.unwrap();
        assert_eq!(next_number(&mut transaction, "things").await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_store_of_a_newer_version_is_refused() {
        const NEWER: Schema =
            Schema::new(&["CREATE TABLE a (id BIGINT)", "CREATE TABLE b (id BIGINT)"]);
        const OLDER: Schema = Schema::new(&["CREATE TABLE a (id BIGINT)"]);
        let folder = tempfile::tempdir().unwrap();
        Store::open("sqlite://test.db", folder.path(), &NEWER).await.unwrap().close().await;
        let refused = Store::open("sqlite://test.db", folder.path(), &OLDER).await.err();
        assert!(matches!(refused, Some(StoreError::Newer { found: 3, known: 2 })), "{refused:?}");
    }

    #[test]
    fn placeholders_count_on_from_row_to_row() {
        assert_eq!(placeholders(2, 2, 2), "($2, $3), ($4, $5)");
        assert_eq!(placeholders(1, 1, 3), "($1, $2, $3)");
    }

    #[tokio::test]
    async fn other_urls_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Store::open("mysql://x", folder.path(), &STEPS).await.err();
        assert!(matches!(refused, Some(StoreError::Url)));
    }
}

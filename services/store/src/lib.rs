//! A party's SQL store: SQLite by default, PostgreSQL by URL, in the SQL that both speak.
//!
//! Trust: the store is the party's own and trusted to keep what it acknowledged. A committed transaction is on the disk:
//! SQLite runs with `synchronous = FULL`, PostgreSQL with `synchronous_commit` on.
//!
//! Rules for one code path: parameters are `$1`, `$2`, …; integers are `BIGINT`, bytes are written `BYTES` in schema steps and
//! become the engine's own type; text sorts by its bytes; no engine's own functions; sums of numbers are cast to `BIGINT`;
//! upserts as `INSERT … ON CONFLICT (…) DO UPDATE`. One transaction writes at a time, on either engine: see [`Store::begin`].

mod audit;
mod copy;
mod documents;
mod engine;
mod error;
mod examine;
mod indexes;
mod location;
mod observe;
mod owner;
mod schema;
mod seals;
mod succession;
mod transaction;

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use lanyard_telemetry::metrics;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _};

use crate::engine::Engine;

pub use audit::{AuditEntry, AuditTrail, NewAuditEntry};
pub use documents::{Document, Documents};
pub use error::StoreError;
pub use examine::Flaw;
pub use indexes::Rereads;
pub use location::Location;
pub use observe::trail_source;
pub use owner::Owner;
pub use schema::Schema;
pub use seals::{DamagedRow, SealKey, SealValue, without};
pub use succession::{Publishing, Recorded, RecordedTick, Succession, Term};
pub use transaction::Transaction;

/// Connections that a service opens at most. There is one writer at a time, whatever this says.
const CONNECTIONS: u32 = 8;

/// How long a caller waits for one of them, a start for the store, and whoever keeps a lease for anything.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const QUICK_TIMEOUT: Duration = Duration::from_secs(3);
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
    seals: Option<Arc<seals::Seals>>,
}

/// Work that one instance does at a time, until this is dropped: the session that holds the lock ends then.
#[must_use = "others may do the work once this is dropped"]
pub struct Exclusive {
    _connection: Option<AnyConnection>,
}

impl Location {
    /// Statements can carry personal data as parameters and errors: nothing of them is logged.
    fn quiet_options(&self) -> Result<AnyConnectOptions, StoreError> {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        Ok(self.options()?.disable_statement_logging())
    }

    /// Connects once, and says why if that fails; a pool would try again until its time is out, and say only that.
    pub(crate) async fn reach(&self) -> Result<(), StoreError> {
        self.check_folder()?;
        let failed = |problem: String, passing: bool| {
            Err(StoreError::Open { place: self.to_string(), problem, passing })
        };
        let options = self.quiet_options()?;
        let reached = async {
            let mut connection = AnyConnection::connect_with(&options).await?;
            self.engine.prepare(self.access, &mut connection).await?;
            connection.close().await
        };
        match tokio::time::timeout(OPEN_TIMEOUT, reached).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error::is_damage(&error) => return Err(error.into()),
            Ok(Err(error)) => {
                return failed(error::describe(&error), error::may_connect_later(&error));
            }
            Err(_) => return failed("it does not answer within 10 seconds".to_owned(), true),
        }
        Ok(())
    }

    /// Connections to the store, none of them open yet.
    pub(crate) fn pool(&self, connections: u32, wait: Duration) -> Result<AnyPool, StoreError> {
        let (engine, access, options) = (self.engine, self.access, self.quiet_options()?);
        Ok(AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(wait)
            .after_connect(move |connection, _| Box::pin(engine.prepare(access, connection)))
            // SQLite undoes the whole transaction when its disk is full. sqlx, whose own ROLLBACK fails then, takes the
            // connection to be in it for ever and begins no other.
            .before_acquire(|connection, _| {
                let is_free = !connection.is_in_transaction();
                Box::pin(std::future::ready(Ok(is_free)))
            })
            .connect_lazy_with(options))
    }
}

impl Store {
    /// Opens a store, makes sure that it is `owner`'s, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]: a store that cannot be reached, is another's, was made by a newer version, or does not keep what it
    /// acknowledges.
    pub async fn open(
        location: &Location,
        owner: &Owner,
        schema: &Schema,
    ) -> Result<Self, StoreError> {
        let engine = location.engine;
        location.reach().await?;
        let pool = location.pool(CONNECTIONS, ACQUIRE_TIMEOUT)?;
        engine.refuse_unguarded(&pool).await?;
        let store = Self { pool, engine, seals: None };
        let mut transaction = store.begin().await?;
        owner.claim(&mut transaction).await?;
        schema.apply(engine, &mut transaction).await?;
        transaction.commit().await?;
        Ok(store)
    }

    pub(crate) const fn engine(&self) -> Engine {
        self.engine
    }

    /// The pool, for reads.
    #[must_use]
    pub const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a writing transaction, when no other writes, here or in another instance of the service. Dropping it without
    /// `commit` undoes it. It must not wait for a caller: on PostgreSQL it ends after ten seconds of doing nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store is busy for too long or gone.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let asked = Instant::now();
        let mut transaction = self.pool.begin_with(self.engine.begin()).await?;
        self.engine.lock_writers(&mut transaction).await?;
        metrics::STORE_WAIT.of([]).record(asked.elapsed());
        Ok(Transaction::new(transaction, self.seals.clone()))
    }

    /// Begins a transaction for reads that belong together: all see the store at one moment, and no writer waits for it.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not answer.
    pub async fn snapshot(&self) -> Result<sqlx::Transaction<'static, Any>, StoreError> {
        Ok(self.pool.begin_with(self.engine.snapshot()).await?)
    }

    /// Waits until no other instance of the service does `work`, and keeps them from it until the result is dropped. With
    /// SQLite there is no other.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exclusive(&self, work: &str) -> Result<Exclusive, StoreError> {
        if self.engine == Engine::Sqlite {
            return Ok(Exclusive { _connection: None });
        }
        let mut connection = self.pool.acquire().await?.detach();
        sqlx::query("SELECT set_config('lock_timeout', '0', false)")
            .execute(&mut connection)
            .await?;
        sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
            .bind(work)
            .execute(&mut connection)
            .await?;
        Ok(Exclusive { _connection: Some(connection) })
    }

    /// Closes all connections; a SQLite store folds its write-ahead log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Draws the next number of a named counter, from 1.
///
/// # Errors
/// [`StoreError::Query`].
pub async fn next_number(transaction: &mut Transaction, counter: &str) -> Result<i64, StoreError> {
    next_numbers(transaction, counter, 1).await
}

impl Store {
    /// The last number that was drawn of a counter; `None` if none was, or if the counter is damaged.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn last_number(&self, counter: &str) -> Result<Option<i64>, StoreError> {
        let named = [SealValue::Text(counter)];
        if !self.damaged("counters", "name = $1", &named).await?.is_empty() {
            return Ok(None);
        }
        let last: Option<(i64,)> = sqlx::query_as("SELECT value FROM counters WHERE name = $1")
            .bind(counter)
            .fetch_optional(self.pool())
            .await?;
        Ok(last.map(|(last,)| last))
    }
}

/// Draws `count` consecutive numbers of a named counter and returns the first.
///
/// # Errors
/// [`StoreError::Query`].
pub async fn next_numbers(
    transaction: &mut Transaction,
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
mod tests;

//! SQLite on the simulation's one thread.
//!
//! sqlx gives each SQLite connection a thread, and knows no other way. This driver stands before it and waits, without
//! giving the thread away, until that other thread has answered: simulated time stands still meanwhile, and what follows
//! does not depend on who was quicker. Waiting for another connection's transaction is the one thing that may take
//! simulated time, so that is waited for here and not in SQLite.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use sqlx::any::{
    AnyArguments, AnyConnectOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Database, Either, Error, SqlSafeStr as _, SqlStr};
use sqlx_core::Url;
use sqlx_core::any::AnyConnectionBackend;
use sqlx_core::any::driver::AnyDriver;
use sqlx_core::transaction::{Transaction, TransactionManager};

mod never;

use never::{Never, NoArguments};

/// How often a busy database is asked again, and how often at most, as the store's `busy_timeout` says.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
const BUSY_TRIES: u32 = 2_000;

static DRIVERS: [AnyDriver; 1] = [AnyDriver::without_migrate::<InThread>()];

/// Has all stores of this process opened through this driver.
pub(crate) fn install() {
    lanyard_store::install_drivers(|| {
        // It fails only where others were installed before, and then nothing of the simulation is repeatable.
        sqlx::any::install_drivers(&DRIVERS).expect("no other drivers are installed");
    });
}

/// The database kind.
#[derive(Debug)]
struct InThread;

impl Database for InThread {
    type Connection = InThreadConnection;
    type TransactionManager = Manager;
    type Row = Never;
    type QueryResult = ();
    type Column = Never;
    type TypeInfo = Never;
    type Value = Never;
    type ValueRef<'r> = Never;
    type Arguments = NoArguments;
    type ArgumentBuffer = ();
    type Statement = Never;

    const NAME: &'static str = "SQLite in thread";
    const URL_SCHEMES: &'static [&'static str] = &["sqlite"];
}

/// Databases under this folder say that they have committed, and have not.
static LOSES_COMMITS: OnceLock<PathBuf> = OnceLock::new();

/// From now on databases under `folder` lose what is committed.
pub(crate) fn lose_commits(folder: &Path) {
    // A process has one defect.
    let _ = LOSES_COMMITS.set(folder.to_owned());
}

#[derive(Debug)]
struct InThreadConnection {
    /// `None` once it is closed.
    connection: Option<SqliteConnection>,
    file: PathBuf,
}

impl InThreadConnection {
    fn inner(&mut self) -> &mut SqliteConnection {
        self.connection
            .as_mut()
            .expect("only closing takes the connection away, and consumes this one")
    }

    fn close_now(&mut self) -> Result<(), Error> {
        self.connection.take().map_or(Ok(()), |connection| block_on(Connection::close(connection)))
    }
}

/// A machine that stops lets go of its files at once.
impl Drop for InThreadConnection {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        let _ = self.close_now();
    }
}

fn is_busy(error: &Error) -> bool {
    // SQLITE_BUSY, whatever the extended code says of it.
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

impl AnyConnectionBackend for InThreadConnection {
    fn name(&self) -> &str {
        InThread::NAME
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        ready(self.close_now()).boxed()
    }

    fn close_hard(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        ready(self.close_now()).boxed()
    }

    fn ping(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        ready(block_on(Connection::ping(self.inner()))).boxed()
    }

    fn begin(&mut self, statement: Option<SqlStr>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let mut tries = 0;
            loop {
                let begun = AnyConnectionBackend::begin(self.inner(), statement.clone());
                match block_on(begun) {
                    Err(error) if is_busy(&error) && tries < BUSY_TRIES => {
                        tries += 1;
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                    begun => return begun,
                }
            }
        }
        .boxed()
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        if LOSES_COMMITS.get().is_some_and(|folder| self.file.starts_with(folder)) {
            return self.rollback();
        }
        ready(block_on(AnyConnectionBackend::commit(self.inner()))).boxed()
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        ready(block_on(AnyConnectionBackend::rollback(self.inner()))).boxed()
    }

    fn start_rollback(&mut self) {
        // Done at once: what sqlx puts off until the next call would keep the lock for as long.
        let _ = block_on(AnyConnectionBackend::rollback(self.inner()));
    }

    fn get_transaction_depth(&self) -> usize {
        self.connection.as_ref().map_or(0, AnyConnectionBackend::get_transaction_depth)
    }

    fn shrink_buffers(&mut self) {
        AnyConnectionBackend::shrink_buffers(self.inner());
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        ready(block_on(AnyConnectionBackend::flush(self.inner()))).boxed()
    }

    fn should_flush(&self) -> bool {
        self.connection.as_ref().is_some_and(AnyConnectionBackend::should_flush)
    }

    fn fetch_many(
        &mut self,
        query: SqlStr,
        persistent: bool,
        arguments: Option<AnyArguments>,
    ) -> BoxStream<'_, Result<Either<AnyQueryResult, AnyRow>, Error>> {
        let query = if query.as_str().starts_with("PRAGMA busy_timeout") {
            "PRAGMA busy_timeout = 0".into_sql_str()
        } else {
            query
        };
        let rows = self.inner().fetch_many(query, persistent, arguments);
        stream::iter(block_on(rows.collect::<Vec<_>>())).boxed()
    }

    fn fetch_optional(
        &mut self,
        query: SqlStr,
        persistent: bool,
        arguments: Option<AnyArguments>,
    ) -> BoxFuture<'_, Result<Option<AnyRow>, Error>> {
        ready(block_on(self.inner().fetch_optional(query, persistent, arguments))).boxed()
    }

    fn prepare_with<'c, 'q: 'c>(
        &'c mut self,
        sql: SqlStr,
        parameters: &[AnyTypeInfo],
    ) -> BoxFuture<'c, Result<AnyStatement, Error>> {
        let prepared = block_on(AnyConnectionBackend::prepare_with(self.inner(), sql, parameters));
        ready(prepared).boxed()
    }
}

impl Connection for InThreadConnection {
    type Database = InThread;
    type Options = Options;

    async fn close(mut self) -> Result<(), Error> {
        self.close_now()
    }

    async fn close_hard(mut self) -> Result<(), Error> {
        self.close_now()
    }

    async fn ping(&mut self) -> Result<(), Error> {
        AnyConnectionBackend::ping(self).await
    }

    fn begin(
        &mut self,
    ) -> impl Future<Output = Result<Transaction<'_, InThread>, Error>> + Send + '_ {
        Transaction::begin(self, None)
    }

    fn shrink_buffers(&mut self) {
        AnyConnectionBackend::shrink_buffers(self);
    }

    async fn flush(&mut self) -> Result<(), Error> {
        AnyConnectionBackend::flush(self).await
    }

    fn should_flush(&self) -> bool {
        AnyConnectionBackend::should_flush(self)
    }
}

#[derive(Debug)]
struct Manager;

impl TransactionManager for Manager {
    type Database = InThread;

    async fn begin(
        connection: &mut InThreadConnection,
        statement: Option<SqlStr>,
    ) -> Result<(), Error> {
        AnyConnectionBackend::begin(connection, statement).await
    }

    async fn commit(connection: &mut InThreadConnection) -> Result<(), Error> {
        AnyConnectionBackend::commit(connection).await
    }

    async fn rollback(connection: &mut InThreadConnection) -> Result<(), Error> {
        AnyConnectionBackend::rollback(connection).await
    }

    fn start_rollback(connection: &mut InThreadConnection) {
        AnyConnectionBackend::start_rollback(connection);
    }

    fn get_transaction_depth(connection: &InThreadConnection) -> usize {
        AnyConnectionBackend::get_transaction_depth(connection)
    }
}

#[derive(Clone)]
struct Options(SqliteConnectOptions);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Options {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Ok(Self(url.parse()?))
    }
}

impl TryFrom<&AnyConnectOptions> for Options {
    type Error = Error;

    fn try_from(options: &AnyConnectOptions) -> Result<Self, Error> {
        Ok(Self(SqliteConnectOptions::try_from(options)?))
    }
}

impl ConnectOptions for Options {
    type Connection = InThreadConnection;

    fn from_url(url: &Url) -> Result<Self, Error> {
        Ok(Self(SqliteConnectOptions::from_url(url)?))
    }

    async fn connect(&self) -> Result<InThreadConnection, Error> {
        let file = self.0.get_filename().to_owned();
        Ok(InThreadConnection { connection: Some(block_on(self.0.connect())?), file })
    }

    fn log_statements(self, level: log::LevelFilter) -> Self {
        Self(self.0.log_statements(level))
    }

    fn log_slow_statements(self, level: log::LevelFilter, duration: Duration) -> Self {
        Self(self.0.log_slow_statements(level, duration))
    }
}

//! What differs between the engines, in one place.

use sqlx::{AnyConnection, AnyPool};

use crate::StoreError;

/// The engines that a store runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
}

/// A writer waits up to 20 seconds for another before it gives up.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 20000";

const SQLITE_WRITER: [&str; 4] = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    BUSY_TIMEOUT,
];

/// A session that may not write.
const POSTGRES_READER: &str = "SELECT set_config('default_transaction_read_only', 'on', false)";

/// A writer waits as long as on SQLite. A service that stops in the middle of a transaction, or a machine that vanishes,
/// holds the others up for ten seconds at most. What is acknowledged is on the disk, whatever the server's default says;
/// a stricter default, such as `remote_apply`, stays. Settings of TCP are no error on a Unix socket.
const POSTGRES_SESSION: &str = "SELECT set_config('lock_timeout', '20s', false), \
    set_config('idle_in_transaction_session_timeout', '10s', false), \
    set_config('tcp_keepalives_idle', '3', false), \
    set_config('tcp_keepalives_interval', '2', false), \
    set_config('tcp_keepalives_count', '3', false), \
    set_config('client_min_messages', 'warning', false), \
    set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') \
        THEN 'on' ELSE current_setting('synchronous_commit') END, false)";

/// Settings of a PostgreSQL server that must be on, what happens otherwise, and what to do.
const GUARDS: [(&str, &str, &str); 3] = [
    (
        "data_checksums",
        "a flipped bit goes unnoticed and is signed",
        "stop the server, run `pg_checksums --enable` (a new cluster: `initdb --data-checksums`)",
    ),
    ("fsync", "a power cut takes what was acknowledged", "set it to on in postgresql.conf"),
    (
        "full_page_writes",
        "a power cut leaves pages that are half written",
        "set it to on in postgresql.conf",
    ),
];

/// Held by the one transaction that writes.
const WRITER: &str = "SELECT pg_advisory_xact_lock(7021790427348321134)";

impl Engine {
    /// A schema step in the engine's own types. Text sorts and compares by its bytes on both.
    pub(crate) fn dialect(self, step: &str) -> String {
        match self {
            Self::Sqlite => step.replace("BYTES", "BLOB"),
            Self::Postgres => step.replace("BYTES", "BYTEA").replace("TEXT", "TEXT COLLATE \"C\""),
        }
    }

    /// Begins a transaction that writes. SQLite takes the write lock here, where waiting is safe, and not at the first
    /// write, where it is not.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Begins a transaction that reads, and sees the store as it is at its first statement.
    pub(crate) const fn snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Makes sure that one transaction writes at a time, on PostgreSQL as on SQLite: writers draw their numbers from the
    /// same counters and would wait for each other anyway, and with the lock taken first none of them sees half of another,
    /// none fails because of another, and a number that was drawn later is never committed earlier. So publishers that go
    /// on after a number miss nothing, and code that writes need not be ready to run twice.
    pub(crate) async fn lock_writers(
        self,
        connection: &mut AnyConnection,
    ) -> Result<(), sqlx::Error> {
        if self == Self::Postgres {
            sqlx::query(WRITER).execute(connection).await?;
        }
        Ok(())
    }

    /// Refuses a server that loses what it acknowledged, or does not notice what a disk changed: rows carry no seals there.
    /// With SQLite, the session's own settings and the seals of rows see to both.
    pub(crate) async fn refuse_unguarded(self, pool: &AnyPool) -> Result<(), StoreError> {
        if self == Self::Sqlite {
            return Ok(());
        }
        for (setting, risk, remedy) in GUARDS {
            let (found,): (String,) =
                sqlx::query_as("SELECT current_setting($1)").bind(setting).fetch_one(pool).await?;
            if found != "on" {
                return Err(StoreError::Unguarded { setting, risk, remedy });
            }
        }
        Ok(())
    }

    /// Prepares a new connection.
    pub(crate) async fn prepare(
        self,
        access: Access,
        connection: &mut AnyConnection,
    ) -> Result<(), sqlx::Error> {
        let statements: &[&'static str] = match (self, access) {
            (Self::Sqlite, Access::Write) => &SQLITE_WRITER,
            (Self::Sqlite, Access::Read) => &[BUSY_TIMEOUT],
            (Self::Postgres, Access::Write) => &[POSTGRES_SESSION],
            (Self::Postgres, Access::Read) => &[POSTGRES_SESSION, POSTGRES_READER],
        };
        for statement in statements {
            sqlx::query(*statement).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

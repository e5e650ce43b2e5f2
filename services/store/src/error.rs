//! Why the store refuses or fails.

use thiserror::Error;

/// Why the store refuses or fails. Messages never carry values of rows.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An URL of no known kind.
    #[error("store: use sqlite://FILE or postgres://HOST/DATABASE")]
    Url,
    /// A path that cannot be written in an URL.
    #[error("store: the path of a SQLite store must be UTF-8")]
    Path,
    /// The store cannot be opened.
    #[error("store: cannot open it: {source}; check its URL, that it runs, and permissions")]
    Open {
        /// What the engine said.
        source: sqlx::Error,
    },
    /// Made by a newer version of Lanyard.
    #[error(
        "store: its schema is version {found}, this program knows {known}; use a newer program"
    )]
    Newer {
        /// Version of the store.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// A statement failed.
    #[error("store: {}", describe(.0))]
    Query(#[from] sqlx::Error),
    /// A row that this program cannot have written.
    #[error("store: table {table} holds an invalid {column}; restore the store from a backup")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A row that is not what was written there.
    #[error(
        "store: {row} is damaged and nothing is said from it; restore the store from a backup (lanyard fsck lists all)"
    )]
    Damaged {
        /// Which.
        row: crate::DamagedRow,
    },
}

impl StoreError {
    /// Whether there is no space left. Nothing was changed then.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Query(sqlx::Error::Database(database)) = self else { return false };
        // SQLITE_FULL, and PostgreSQL's disk_full.
        database.code().is_some_and(|code| code == "13" || code == "53100")
    }

    /// Whether a row is not what was written there.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// What the engine said without values: PostgreSQL puts the offending row into `detail`, never into the message.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if code == "13" || code == "53100" {
                format!("the disk is full (code {code}); free space and try again")
            } else {
                format!("the engine refused a statement (code {code}): {}", database.message())
            }
        }
        sqlx::Error::PoolTimedOut => "all connections stayed busy; try again".to_owned(),
        other => other.to_string(),
    }
}

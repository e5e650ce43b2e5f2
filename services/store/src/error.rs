//! Why the store refuses or fails.

use std::path::PathBuf;

use lanyard_core::ids::{Authority, EventId};
use lanyard_env::StartError;
use thiserror::Error;

/// Why the store refuses or fails. Neither messages nor `Debug` carry values of rows or a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An URL that is none, or of no known kind.
    #[error(
        "config.toml: store: {problem}; use sqlite://FILE or postgres://USER@HOST/DATABASE, with / ? # @ : and % in a \
         password written %2F %3F %23 %40 %3A %25"
    )]
    Url {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The store cannot be opened.
    #[error(
        "store: cannot open {place}: {problem}; check that it runs, `store` in config.toml, user, password and permissions"
    )]
    Open {
        /// Where it is, without a password.
        place: String,
        /// What the engine said.
        problem: String,
        /// Whether it may pass: the engine does not answer, or not yet.
        passing: bool,
    },
    /// The folder of a SQLite file is not there.
    #[error("config.toml: store: there is no folder {}; make it for the service's user, or correct `store`", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A server that a power cut or a failing disk can take committed rows from, or change them, without anybody's noticing.
    #[error("store: PostgreSQL runs with {setting} = off: {risk}; {remedy}, and start it again")]
    Unguarded {
        /// The setting of the server.
        setting: &'static str,
        /// What can happen.
        risk: &'static str,
        /// What to do about it.
        remedy: &'static str,
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
    /// Its list of schema versions has gaps or is no list of versions.
    #[error(
        "store: this program did not make its schema; use an empty database, or restore this one from a backup"
    )]
    UnknownSchema,
    /// The store of another party or event.
    #[error(
        "store: it is that of {found_party} of event {found_event}, not of {party} of event {event}; name another store in \
         config.toml"
    )]
    Foreign {
        /// Whose it is.
        found_party: String,
        /// Of which event.
        found_event: String,
        /// Who opened it.
        party: Authority,
        /// Of which event.
        event: EventId,
    },
    /// The store does not answer, or not now: try again.
    #[error("store: {problem}; try again")]
    Unavailable {
        /// What is the matter.
        problem: String,
    },
    /// There is no space left.
    #[error("store: {problem}")]
    Full {
        /// What the engine said.
        problem: String,
    },
    /// A page, or the whole file, is not what the engine wrote there.
    #[error(
        "store: {problem}; a disk or a file is damaged and nothing is built on it: stop the service, restore the store from a \
         backup, and start it: it catches up from mirrors before it signs"
    )]
    DamagedPage {
        /// What the engine said.
        problem: String,
    },
    /// A statement failed.
    #[error("store: {problem}")]
    Query {
        /// What the engine said.
        problem: String,
    },
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
        "store: {row} is damaged and nothing is built on it; restore the store from a backup (lanyard fsck lists all)"
    )]
    Damaged {
        /// Which.
        row: crate::DamagedRow,
    },
}

impl StoreError {
    /// Whether there is no space left. Nothing was changed then.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether a page is not what the engine wrote there. Unlike a damaged row, it fails what else is done in its transaction.
    #[must_use]
    pub const fn is_damaged_page(&self) -> bool {
        matches!(self, Self::DamagedPage { .. })
    }

    /// Whether a row is not what was written there.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl StartError for StoreError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Open { passing, .. } => !passing,
            Self::Unavailable { .. } | Self::Full { .. } | Self::Query { .. } => false,
            Self::Url { .. }
            | Self::NoFolder { .. }
            | Self::Unguarded { .. }
            | Self::Newer { .. }
            | Self::UnknownSchema
            | Self::Foreign { .. }
            | Self::DamagedPage { .. }
            | Self::Corrupt { .. }
            | Self::Damaged { .. } => true,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let problem = describe(&error);
        match error {
            error if is_damage(&error) => Self::DamagedPage { problem },
            error if is_full(&error) => Self::Full { problem },
            error if is_passing(&error) => Self::Unavailable { problem },
            _ => Self::Query { problem },
        }
    }
}

/// `SQLITE_FULL`, and PostgreSQL's `disk_full`.
fn is_full(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    database.code().is_some_and(|code| code == "13" || code == "53100")
}

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`, and PostgreSQL's `data_corrupted` and `index_corrupted`.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    let code = database.code().unwrap_or_default();
    ["XX001", "XX002"].contains(&&*code)
        || sqlite_code(&code).is_some_and(|code| [11, 26].contains(&code))
}

/// Whether connecting may succeed later: not if the server refuses the user or has no such database (SQLSTATE classes 28, 3D
/// and 42), and not if the file may not be opened (`SQLITE_PERM`, `SQLITE_READONLY`, `SQLITE_CANTOPEN`).
pub(crate) fn may_connect_later(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Configuration(_) => false,
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            match sqlite_code(&code) {
                Some(code) => ![3, 8, 14].contains(&code),
                None => !["28", "3D", "42"].iter().any(|class| code.starts_with(class)),
            }
        }
        _ => true,
    }
}

/// SQLite's primary code, from an extended one too. SQLSTATE has five characters, which none of these has.
fn sqlite_code(code: &str) -> Option<u32> {
    let number: u32 = code.parse().ok().filter(|_| code.len() < 5)?;
    Some(number & 0xFF)
}

/// Whether the engine is gone, busy, starting or stopping.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(database) => {
            // SQLSTATE: connections, a lock not given in time, the server stopping or starting, a session ended for
            // having been idle; SQLite: busy.
            let code = database.code().unwrap_or_default();
            code.starts_with("08")
                || ["55P03", "57P01", "57P02", "57P03", "57P05", "25P03", "53300", "5"]
                    .contains(&&*code)
        }
        _ => false,
    }
}

/// What the engine said without values: PostgreSQL puts the offending row into `detail`, never into the message.
pub(crate) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if is_full(error) {
                format!("the disk is full (code {code}); free space and try again")
            } else {
                format!("the engine refused a statement (code {code}): {}", database.message())
            }
        }
        sqlx::Error::PoolTimedOut => {
            "it does not answer, or all connections stayed busy".to_owned()
        }
        sqlx::Error::Io(source) => format!("no connection: {source}"),
        other => other.to_string(),
    }
}

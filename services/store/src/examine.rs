//! Looking a store over without changing it.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::engine::Engine;
use crate::seals::{SealKey, Seals};
use crate::{ACQUIRE_TIMEOUT, CONNECTIONS, Location, Store, StoreError};

/// What does not hold, of the store as a whole. Rows are [`Store::all_damaged`]'s.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// The engine's own check of its pages, indexes and references, in its words.
    Engine(String),
    /// A table whose rows carry no seals yet: the service has not run since they are made.
    Unsealed(&'static str),
    /// The audit trail has gaps.
    Audit {
        /// Entries that should be there.
        expected: i64,
        /// Entries that are.
        found: i64,
    },
}

impl Store {
    /// Opens a store that must be there, for reading only: its service may be running. Of PostgreSQL only the audit trail is
    /// looked at, as it checks its own pages.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_unchanged(
        location: &Location,
        key: SealKey,
        tables: &[&'static str],
    ) -> Result<Self, StoreError> {
        let location = location.read_only();
        location.reach().await?;
        let pool = location.pool(CONNECTIONS, ACQUIRE_TIMEOUT)?;
        let mut store = Self { pool, engine: location.engine, seals: None };
        if store.engine() == Engine::Sqlite {
            store.seals = Some(Arc::new(Seals::unchanged(&store, key, tables).await?));
        }
        Ok(store)
    }

    /// The flaws of the store as a whole.
    ///
    /// # Errors
    /// [`StoreError`] if it is too damaged to be looked at.
    pub async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        let mut flaws = Vec::new();
        if self.engine() == Engine::Sqlite {
            for pragma in ["integrity_check", "foreign_key_check"] {
                let select = match pragma {
                    "integrity_check" => "SELECT integrity_check FROM pragma_integrity_check",
                    _ => {
                        "SELECT 'a row of ' || \"table\" || ' refers to none of ' || \"parent\" FROM pragma_foreign_key_check"
                    }
                };
                let said: Vec<(String,)> =
                    sqlx::query_as(AssertSqlSafe(select)).fetch_all(self.pool()).await?;
                let said = said.into_iter().map(|(line,)| line).filter(|line| line != "ok");
                flaws.extend(said.map(Flaw::Engine));
            }
        }
        if let Some(seals) = &self.seals {
            flaws.extend(seals.unsealed().map(Flaw::Unsealed));
        }
        let (found, last): (i64, i64) =
            sqlx::query_as("SELECT COUNT(*), COALESCE(MAX(sequence), 0) FROM audit")
                .fetch_one(self.pool())
                .await?;
        let counted: Option<(i64,)> =
            sqlx::query_as("SELECT value FROM counters WHERE name = 'audit'")
                .fetch_optional(self.pool())
                .await?;
        let expected = counted.map_or(0, |(counted,)| counted).max(last);
        if found != expected {
            flaws.push(Flaw::Audit { expected, found });
        }
        Ok(flaws)
    }
}

//! Schema steps: applied in order, once each, all in one transaction.

use sqlx::{Any, AnyPool, AssertSqlSafe, Executor};

use crate::engine::Engine;
use crate::{StoreError, Transaction};

/// Every store has these.
const COMMON: &str = "
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    time_millis BIGINT NOT NULL,
    operator TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    change_id BIGINT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject)";

/// What several instances of a service share beside the rows: see [`Documents`](crate::Documents) and
/// [`Succession`](crate::Succession).
const SHARED: &str = "
CREATE TABLE documents (name TEXT PRIMARY KEY, version BIGINT NOT NULL, body BYTES NOT NULL);
CREATE TABLE succession (
    id BIGINT PRIMARY KEY,
    term BIGINT NOT NULL,
    address TEXT NOT NULL,
    expires_millis BIGINT NOT NULL,
    size BIGINT NOT NULL,
    root BYTES NOT NULL,
    waiting BIGINT NOT NULL
);
CREATE TABLE recorded_ticks (
    size BIGINT NOT NULL,
    part BIGINT NOT NULL,
    root BYTES NOT NULL,
    name TEXT NOT NULL,
    body BYTES NOT NULL,
    PRIMARY KEY (size, part)
)";

/// The steps of one party's schema. Steps are only ever appended.
pub struct Schema {
    steps: &'static [&'static str],
}

impl Schema {
    /// A schema; each step is one or more statements separated by `;`.
    #[must_use]
    pub const fn new(steps: &'static [&'static str]) -> Self {
        Self { steps }
    }

    /// The version that all steps make.
    pub(crate) const fn version(&self) -> i64 {
        self.steps.len() as i64 + 1
    }

    /// The version of a store; 0 if it has none of this program's tables yet.
    ///
    /// # Errors
    /// [`StoreError::Newer`] and [`StoreError::UnknownSchema`].
    pub(crate) async fn known_version(&self, pool: &AnyPool) -> Result<i64, StoreError> {
        // No catalogue of tables is common to both engines: a store without the table is one without a version.
        match self.versions(pool).await {
            Ok(versions) => self.known(&versions),
            Err(sqlx::Error::Database(error)) if is_missing_table(&*error) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The steps that were applied, in order.
    async fn versions<'c>(
        &self,
        connection: impl Executor<'c, Database = Any>,
    ) -> Result<Vec<(i64,)>, sqlx::Error> {
        sqlx::query_as("SELECT version FROM schema_version ORDER BY version")
            .fetch_all(connection)
            .await
    }

    /// The last of these versions, if they are this program's.
    fn known(&self, versions: &[(i64,)]) -> Result<i64, StoreError> {
        let (found, known) = (versions.last().map_or(0, |(version,)| *version), self.version());
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        if (1..).zip(versions).any(|(expected, (version,))| *version != expected) {
            return Err(StoreError::UnknownSchema);
        }
        Ok(found)
    }

    pub(crate) async fn apply(
        &self,
        engine: Engine,
        transaction: &mut Transaction,
    ) -> Result<(), StoreError> {
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
            .execute(&mut **transaction)
            .await?;
        let versions = self.versions(&mut **transaction).await?;
        self.known(&versions)?;
        let common = match engine {
            Engine::Sqlite => COMMON.to_owned(),
            Engine::Postgres => format!("{COMMON};{SHARED}"),
        };
        let steps = || [common.as_str()].into_iter().chain(self.steps.iter().copied());
        for (version, step) in (1..).zip(steps()).skip(versions.len()) {
            let step = engine.dialect(step);
            for statement in step.split(';').map(str::trim).filter(|s| !s.is_empty()) {
                sqlx::query(AssertSqlSafe(statement)).execute(&mut **transaction).await?;
            }
            sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
                .bind(version)
                .execute(&mut **transaction)
                .await?;
        }
        Ok(())
    }
}

/// Whether a statement failed because its table is not there.
pub(crate) fn is_missing_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    // PostgreSQL's undefined_table; SQLite has one code for whatever is wrong with a statement.
    error.code().is_some_and(|code| code == "42P01") || error.message().starts_with("no such table")
}

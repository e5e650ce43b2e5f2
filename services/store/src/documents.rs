//! Small documents that a party keeps once, however many instances of its service there are. PostgreSQL only: with SQLite
//! there is one instance, which keeps files.

use sqlx::AnyPool;

use crate::{Location, QUICK_TIMEOUT, StoreError};

/// A document as it was read.
pub struct Document {
    /// Grows with each replacement, from 1.
    pub version: i64,
    /// What it says.
    pub body: Vec<u8>,
}

/// The documents of a shared store, on a connection of their own: they do not wait for those who write rows.
pub struct Documents {
    pool: AnyPool,
}

impl Documents {
    /// Connects when first used; the schema must be there.
    ///
    /// # Errors
    /// [`StoreError::Url`].
    pub fn new(location: &Location) -> Result<Self, StoreError> {
        Ok(Self { pool: location.pool(1, QUICK_TIMEOUT)? })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(&self, name: &str) -> Result<Option<Document>, StoreError> {
        let row: Option<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, body FROM documents WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(version, body)| Document { version, body }))
    }

    /// Replaces version `replaced` of a document, 0 for none, and returns the new version, durable then; `None` if there is
    /// another version by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace(
        &self,
        name: &str,
        replaced: i64,
        body: &[u8],
    ) -> Result<Option<i64>, StoreError> {
        let statement = match replaced {
            0 => {
                "INSERT INTO documents (name, version, body) VALUES ($1, $2 + 1, $3) \
                 ON CONFLICT (name) DO NOTHING"
            }
            _ => {
                "UPDATE documents SET version = $2 + 1, body = $3 WHERE name = $1 AND version = $2"
            }
        };
        let done =
            sqlx::query(statement).bind(name).bind(replaced).bind(body).execute(&self.pool).await?;
        Ok((done.rows_affected() == 1).then_some(replaced + 1))
    }

    /// Removes a document, which need not be there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM documents WHERE name = $1").bind(name).execute(&self.pool).await?;
        Ok(())
    }

    /// The names that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM documents WHERE name >= $1 ORDER BY name")
                .bind(prefix)
                .fetch_all(&self.pool)
                .await?;
        let names = rows.into_iter().map(|(name,)| name);
        Ok(names.take_while(|name| name.starts_with(prefix)).collect())
    }
}

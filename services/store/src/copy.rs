//! A copy of a store for a backup.

use std::path::Path;

use crate::{ACQUIRE_TIMEOUT, Location, StoreError};

impl Location {
    /// Copies a SQLite store as it is at one moment, while its service may be running, into a file that is there and empty.
    ///
    /// # Errors
    /// [`StoreError`]: a store that cannot be read, a full disk, or an engine that is backed up by its own means.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let failed = |problem: &str| StoreError::Open {
            place: self.to_string(),
            problem: problem.to_owned(),
            passing: false,
        };
        let into = file.to_str().ok_or_else(|| failed("a copy's path must be UTF-8"))?;
        if self.is_shared() {
            return Err(failed("PostgreSQL is backed up with pg_dump"));
        }
        let location = self.read_only();
        location.reach().await?;
        let pool = location.pool(1, ACQUIRE_TIMEOUT)?;
        let copied = sqlx::query("VACUUM INTO $1").bind(into).execute(&pool).await;
        pool.close().await;
        copied.map(drop).map_err(StoreError::from)
    }
}

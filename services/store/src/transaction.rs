//! A transaction that writes.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Any, AnyConnection};

use crate::StoreError;
use crate::seals::Seals;

/// A transaction that writes, begun by [`Store::begin`](crate::Store::begin) and undone by dropping it. Statements run on
/// the connection that it stands for.
pub struct Transaction {
    inner: sqlx::Transaction<'static, Any>,
    seals: Option<Arc<Seals>>,
}

impl Transaction {
    pub(crate) const fn new(
        inner: sqlx::Transaction<'static, Any>,
        seals: Option<Arc<Seals>>,
    ) -> Self {
        Self { inner, seals }
    }

    /// Seals the rows that were written so far. [`Transaction::commit`] does so anyway: earlier it is done while they are
    /// still in memory, which matters to whoever writes more than SQLite keeps there.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn seal(&mut self) -> Result<(), StoreError> {
        match &self.seals {
            Some(seals) => seals.seal_written(&mut self.inner).await,
            None => Ok(()),
        }
    }

    /// Seals what was written, and has all of it last.
    ///
    /// # Errors
    /// [`StoreError::Query`]; then nothing was written.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.seal().await?;
        Ok(self.inner.commit().await?)
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

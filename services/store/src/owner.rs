//! Whose store it is: recorded in the store itself, so that a wrong URL does not mix two parties or two events.

use lanyard_core::ids::{Authority, EventId};
use sqlx::{Any, Executor};

use crate::schema::is_missing_table;
use crate::{StoreError, Transaction};

/// The party and the event that a store belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Whose store.
    pub party: Authority,
    /// Of which event.
    pub event: EventId,
}

impl Owner {
    /// Compares with what is recorded; records it if the store is new.
    pub(crate) async fn claim(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        let Self { party, event } = self;
        sqlx::query("CREATE TABLE IF NOT EXISTS owner (party TEXT NOT NULL, event TEXT NOT NULL)")
            .execute(&mut **transaction)
            .await?;
        match self.recorded(&mut **transaction).await? {
            true => Ok(()),
            false => {
                sqlx::query("INSERT INTO owner (party, event) VALUES ($1, $2)")
                    .bind(party.name())
                    .bind(event.as_str())
                    .execute(&mut **transaction)
                    .await?;
                Ok(())
            }
        }
    }

    /// Whether the store's table says that it is this owner's; `false` if it says nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if it is another's.
    pub(crate) async fn recorded<'c>(
        &self,
        connection: impl Executor<'c, Database = Any>,
    ) -> Result<bool, StoreError> {
        let found = sqlx::query_as::<_, (String, String)>("SELECT party, event FROM owner")
            .fetch_optional(connection)
            .await;
        let (found_party, found_event) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(sqlx::Error::Database(error)) if is_missing_table(&*error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if found_party == self.party.name() && found_event == self.event.as_str() {
            return Ok(true);
        }
        let (party, event) = (self.party, self.event.clone());
        Err(StoreError::Foreign { found_party, found_event, party, event })
    }
}

//! Whose store it is: recorded in the store itself, so that a wrong URL does not mix two parties or two events.

use lanyard_core::ids::{Authority, EventId};

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
        let found: Option<(String, String)> = sqlx::query_as("SELECT party, event FROM owner")
            .fetch_optional(&mut **transaction)
            .await?;
        match found {
            Some((found_party, found_event)) => {
                if found_party == party.name() && found_event == event.as_str() {
                    return Ok(());
                }
                let (party, event) = (*party, event.clone());
                Err(StoreError::Foreign { found_party, found_event, party, event })
            }
            None => {
                sqlx::query("INSERT INTO owner (party, event) VALUES ($1, $2)")
                    .bind(party.name())
                    .bind(event.as_str())
                    .execute(&mut **transaction)
                    .await?;
                Ok(())
            }
        }
    }
}

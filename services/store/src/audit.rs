//! Who did what to whom, when and why. Written in the transaction of the deed, so neither is there without the other.

use lanyard_core::ids::Timestamp;
use sqlx::AnyPool;

use crate::{StoreError, Transaction, next_number, next_numbers};

/// What is to be written.
pub struct NewAuditEntry<'a> {
    /// The operator, as `spiffe://PARTY/ROLE/NAME`.
    pub operator: &'a str,
    /// What was done, such as `suspend`.
    pub action: &'a str,
    /// To whom: the party's own word.
    pub subject: &'a str,
    /// Why, as the operator gave it.
    pub reason: &'a str,
}

/// A row of the trail.
pub struct AuditEntry {
    /// Position, from 1.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// The operator, as `spiffe://PARTY/ROLE/NAME`.
    pub operator: String,
    /// What was done.
    pub action: String,
    /// To whom.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// The change that it belongs to.
    pub change_id: u64,
}

/// The trail of a store.
pub struct AuditTrail;

impl AuditTrail {
    /// Draws the id of a change.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn new_change(transaction: &mut Transaction) -> Result<i64, StoreError> {
        next_number(transaction, "change").await
    }

    /// Appends entries that belong to one change.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn append(
        transaction: &mut Transaction,
        time: Timestamp,
        change_id: i64,
        entries: &[NewAuditEntry<'_>],
    ) -> Result<(), StoreError> {
        let first = next_numbers(transaction, "audit", entries.len() as i64).await?;
        for (sequence, entry) in (first..).zip(entries) {
            sqlx::query(
                "INSERT INTO audit (sequence, time_millis, operator, action, subject, reason, change_id) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(sequence)
            .bind(time.millis() as i64)
            .bind(entry.operator)
            .bind(entry.action)
            .bind(entry.subject)
            .bind(entry.reason)
            .bind(change_id)
            .execute(&mut **transaction)
            .await?;
        }
        Ok(())
    }

    /// Entries after `after`, oldest first, at most `limit`; only those of `subject` if one is given.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn list(
        pool: &AnyPool,
        subject: Option<&str>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        type Columns = (i64, i64, String, String, String, String, i64);
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT sequence, time_millis, operator, action, subject, reason, change_id FROM audit \
             WHERE sequence > $1 AND ($2 = '' OR subject = $2) ORDER BY sequence LIMIT $3",
        )
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(subject.unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(sequence, time, operator, action, subject, reason, change_id)| AuditEntry {
                sequence: sequence as u64,
                time: Timestamp::from_millis(time as u64),
                operator,
                action,
                subject,
                reason,
                change_id: change_id as u64,
            })
            .collect())
    }
}

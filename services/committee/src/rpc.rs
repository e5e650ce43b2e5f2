//! The committee's RPCs: each parses its request, calls one function, and words the answer.

mod badges;
mod desk;
mod disclosures;
mod enrolment;
mod people;

pub(crate) use badges::Badges;
pub(crate) use desk::Desk;
pub(crate) use disclosures::Disclosures;
pub(crate) use enrolment::Enrolment;

use lanyard_store::{AuditTrail, Store, StoreError};
use lanyard_transport::status;
use lanyard_wire::common::v1 as common;
use tonic::Status;

/// Rows in a page when the caller does not say, and at most.
const PAGE: u32 = 1_000;

fn store_error(error: &StoreError) -> Status {
    match error {
        error if error.is_full() => status::store_full(error),
        error if error.is_damaged() || error.is_damaged_page() => status::store_damaged(error),
        StoreError::Unavailable { .. } => status::store_unavailable(error),
        error => status::internal(error),
    }
}

fn page_size(asked: u32) -> u32 {
    if asked == 0 { PAGE } else { asked.min(PAGE) }
}

/// A reason that people can read later.
fn reason(text: &str) -> Result<&str, Status> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 500 {
        return Err(status::malformed("reason: say why, in 1 to 500 characters"));
    }
    Ok(text)
}

async fn audit(
    store: &Store,
    subject: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<common::AuditEntry>, Status> {
    let subject = (!subject.is_empty()).then_some(subject);
    let entries = AuditTrail::list(store.pool(), subject, after, page_size(limit))
        .await
        .map_err(|error| store_error(&error))?;
    Ok(entries
        .into_iter()
        .map(|entry| common::AuditEntry {
            sequence: entry.sequence,
            time_millis: entry.time.millis(),
            operator: entry.operator,
            action: entry.action,
            subject: entry.subject,
            reason: entry.reason,
            change_id: entry.change_id,
        })
        .collect())
}

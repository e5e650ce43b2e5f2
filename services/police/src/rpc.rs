//! The police's RPCs: each parses its request, calls one function, and words the answer.

mod answers;
mod cases;
mod desk;
mod screening;
mod staff;
mod subjects;
mod watchlist;

pub(crate) use cases::CaseRpc;
pub(crate) use desk::DeskRpc;
pub(crate) use screening::ScreeningRpc;
pub(crate) use staff::StaffRpc;
pub(crate) use subjects::SubjectRpc;
pub(crate) use watchlist::WatchlistRpc;

use std::fmt::Display;

use lanyard_store::{AuditEntry, StoreError};
use lanyard_transport::status;
use lanyard_wire::common::v1 as common;
use lanyard_wire::convert::array;
use tonic::Status;

use crate::ids::SubjectId;

/// Rows in a page when the caller does not say, and at most.
const PAGE: u32 = 1_000;

/// Longest reason in characters.
const MAX_REASON: usize = 500;

fn store_error(error: &StoreError) -> Status {
    match error {
        error if error.is_full() => status::store_full(error),
        error if error.is_damaged() || error.is_damaged_page() => status::store_damaged(error),
        StoreError::Unavailable { .. } => status::store_unavailable(error),
        error => status::internal(error),
    }
}

fn malformed(problem: impl Display) -> Status {
    status::malformed(problem.to_string())
}

fn page_size(asked: u32) -> u32 {
    if asked == 0 { PAGE } else { asked.min(PAGE) }
}

/// A reason that people can read later.
fn reason(given: &str) -> Result<&str, Status> {
    text("reason", given)
}

/// Words that people can read later.
fn text<'a>(field: &'static str, given: &'a str) -> Result<&'a str, Status> {
    let given = given.trim();
    if given.is_empty() || given.chars().count() > MAX_REASON {
        return Err(malformed(format_args!("{field}: give 1 to {MAX_REASON} characters")));
    }
    Ok(given)
}

fn audit_entry(entry: AuditEntry) -> common::AuditEntry {
    common::AuditEntry {
        sequence: entry.sequence,
        time_millis: entry.time.millis(),
        operator: entry.operator,
        action: entry.action,
        subject: entry.subject,
        reason: entry.reason,
        change_id: entry.change_id,
    }
}

fn subject_id(bytes: &[u8]) -> Result<SubjectId, Status> {
    array("subject_id", bytes).map(SubjectId::new).map_err(malformed)
}

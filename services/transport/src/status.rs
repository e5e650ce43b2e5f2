//! gRPC errors with a stable reason (`google.rpc.ErrorInfo`, domain `lanyard`), made and read.
//!
//! Only transport, authorisation and malformed requests are errors; domain answers travel in responses.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of all reasons.
pub const DOMAIN: &str = "lanyard";

/// The caller may not do this.
pub const NOT_ALLOWED: &str = "NOT_ALLOWED";
/// The service, or the caller's share of it, is busy: wait and try again.
pub const OVERLOADED: &str = "OVERLOADED";
/// The request took too long.
pub const TIMED_OUT: &str = "TIMED_OUT";
/// The request does not parse.
pub const MALFORMED: &str = "MALFORMED";
/// The service's store does not answer; its log says why.
pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
/// The service failed; its log says why.
pub const INTERNAL: &str = "INTERNAL";

/// The service is stopping: its next start, or another instance, answers.
pub const STOPPING: &str = "STOPPING";
/// The party's disk is full: nothing new is taken on until there is space.
pub const STORE_FULL: &str = "STORE_FULL";
/// What would be answered from is damaged on the party's disk.
pub const STORE_DAMAGED: &str = "STORE_DAMAGED";

/// An error with a stable `reason`, in SCREAMING_SNAKE_CASE.
#[must_use]
pub fn error(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// `INVALID_ARGUMENT` with reason [`MALFORMED`]; say which field, and never echo secrets.
#[must_use]
pub fn malformed(message: impl Into<String>) -> Status {
    error(Code::InvalidArgument, MALFORMED, message)
}

/// `UNAVAILABLE` with reason [`STOPPING`].
#[must_use]
pub fn stopping() -> Status {
    error(Code::Unavailable, STOPPING, "the service is stopping; try again in a moment")
}

/// `INTERNAL` with reason [`INTERNAL`]: logs the cause, and tells the caller nothing of it.
#[must_use]
pub fn internal(cause: &dyn std::fmt::Display) -> Status {
    tracing::error!(%cause, "internal error");
    error(Code::Internal, INTERNAL, "internal error; the service's log says more")
}

/// `RESOURCE_EXHAUSTED` with reason [`STORE_FULL`]: nothing was changed, and the same will do once there is space.
#[must_use]
pub fn store_full(cause: &dyn std::fmt::Display) -> Status {
    tracing::error!(%cause, "the disk is full");
    let message = "the service's disk is full: nothing was changed; free space there and try again";
    error(Code::ResourceExhausted, STORE_FULL, message)
}

/// `DATA_LOSS` with reason [`STORE_DAMAGED`]; `cause` says which row or file, and goes to the log and the caller.
#[must_use]
pub fn store_damaged(cause: &dyn std::fmt::Display) -> Status {
    tracing::error!(%cause, "damaged on the disk");
    error(Code::DataLoss, STORE_DAMAGED, cause.to_string())
}

/// `UNAVAILABLE` with reason [`STORE_UNAVAILABLE`]: logs the cause, and tells the caller to try again.
#[must_use]
pub fn store_unavailable(cause: &dyn std::fmt::Display) -> Status {
    tracing::error!(%cause, "the store does not answer");
    let message = "the service's store does not answer; whether the request took effect is not known; try again";
    error(Code::Unavailable, STORE_UNAVAILABLE, message)
}

/// The reason of an error from a Lanyard service.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.domain == DOMAIN).then_some(info.reason)
}

/// Whether the service was not reached or could not take the request on, so that another one may be asked, or the
/// same later. A request that changes something may have been carried out all the same.
#[must_use]
pub fn is_unreachable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => true,
        // A connection that breaks reads as one of these, with nothing from the service in it.
        Code::Cancelled | Code::Unknown | Code::Internal => reason(status).is_none(),
        _ => false,
    }
}

/// What to tell a person about a failed call: the service's message, or what happened to the connection.
#[must_use]
pub fn explain(status: &Status) -> String {
    match status.code() {
        Code::Cancelled | Code::Unknown if reason(status).is_none() => format!(
            "the connection broke before the service answered ({}); if it does so each time, the service refuses \
             this certificate or is restarting",
            status.message()
        ),
        Code::Unimplemented => {
            "the service does not offer this call: its version is older, or the address is \
                                that of another service"
                .to_owned()
        }
        _ => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_back_and_foreign_ones_do_not() {
        assert_eq!(reason(&malformed("no")).as_deref(), Some(MALFORMED));
        assert_eq!(reason(&Status::invalid_argument("no")), None);
        let foreign = ErrorDetails::with_error_info("MALFORMED", "example.org", HashMap::new());
        assert_eq!(reason(&Status::with_error_details(Code::Aborted, "no", foreign)), None);
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        assert!(!internal(&"secret path").message().contains("secret"));
    }

    #[test]
    fn a_broken_connection_may_be_tried_elsewhere_a_refusal_may_not() {
        assert!(is_unreachable(&Status::cancelled("operation was canceled")));
        assert!(is_unreachable(&error(Code::ResourceExhausted, OVERLOADED, "busy")));
        assert!(!is_unreachable(&error(Code::PermissionDenied, NOT_ALLOWED, "no")));
        assert!(!is_unreachable(&internal(&"x")));
    }
}

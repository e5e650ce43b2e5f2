//! `DeskService`.

use lanyard_core::record::{Minutes, Record, Status as RecordStatus};
use lanyard_transport::status;
use lanyard_wire::common::v1 as common;
use lanyard_wire::police::v1 as wire;
use lanyard_wire::police::v1::desk_service_server::DeskService;
use tonic::{Code, Request, Response, Status};

use super::{malformed, store_error};
use crate::case;
use crate::desk::{Desk, DeskError};

/// A directory, or what proves it, has not arrived.
const NOT_READY: &str = "NOT_READY";

pub(crate) struct DeskRpc {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl DeskService for DeskRpc {
    async fn check_badge(
        &self,
        request: Request<wire::CheckBadgeRequest>,
    ) -> Result<Response<wire::CheckBadgeResponse>, Status> {
        let request = request.into_inner();
        let failed = |error: DeskError| refused(&error);
        let checked = self.desk.check(&request.badge_text).await.map_err(failed)?;
        let subject = match &checked.subject_id {
            Some(id) => {
                case::by_id(&self.desk.store, id).await.map_err(|error| store_error(&error))?
            }
            None => None,
        };
        let mut attestations = Vec::new();
        if request.with_attestations {
            let encoded = self.desk.attest(&checked).await.map_err(failed)?;
            attestations.extend(encoded.iter().map(|bytes| bytes.to_vec()));
        }
        let bindings_match = match (&checked.committee.record, &checked.police.record) {
            (Some(committee), Some(police)) => committee.binding.agrees_with(&police.binding),
            _ => false,
        };
        Ok(Response::new(wire::CheckBadgeResponse {
            committee: checked.committee.record.as_ref().map(record),
            police: checked.police.record.as_ref().map(record),
            subject,
            bindings_match,
            committee_age_seconds: checked.committee.age_seconds,
            police_age_seconds: checked.police.age_seconds,
            attestations,
        }))
    }
}

fn refused(error: &DeskError) -> Status {
    match error {
        DeskError::Text(_) | DeskError::OtherAudience { .. } => malformed(error),
        DeskError::Missing { .. } | DeskError::Empty { .. } | DeskError::Proof { .. } => {
            status::error(Code::Unavailable, NOT_READY, error.to_string())
        }
        DeskError::Record { .. } => {
            status::error(Code::DataLoss, "UNREADABLE_RECORD", error.to_string())
        }
        DeskError::Store(_) | DeskError::Print(_) | DeskError::Key(_) => status::internal(error),
    }
}

fn record(record: &Record) -> common::Record {
    let status = match record.status {
        RecordStatus::Valid => common::RecordStatus::Valid,
        RecordStatus::Suspended => common::RecordStatus::Suspended,
        RecordStatus::Revoked => common::RecordStatus::Revoked,
        RecordStatus::Reprinted => common::RecordStatus::Reprinted,
        RecordStatus::NotYet => common::RecordStatus::NotYet,
        RecordStatus::NotGood => common::RecordStatus::NotGood,
        RecordStatus::Invalid => common::RecordStatus::Invalid,
    };
    // On the wire, 0 is no limit.
    let not_after = if record.not_after == Minutes::MAX { 0 } else { record.not_after.get() };
    common::Record {
        status: status.into(),
        not_before_minutes: record.not_before.get(),
        not_after_minutes: not_after,
        binding: record.binding.as_bytes().to_vec(),
    }
}

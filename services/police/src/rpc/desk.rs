//! `DeskService`.

use lanyard_core::identity::{IdentityKey, KeyKind, Mrz, Name, PartialDate};
use lanyard_core::ids::{EventId, Timestamp};
use lanyard_core::record::{Minutes, Record, Status as RecordStatus};
use lanyard_transport::{caller, status};
use lanyard_wire::common::v1 as common;
use lanyard_wire::police::v1 as wire;
use lanyard_wire::police::v1::check_document_request::Shown;
use lanyard_wire::police::v1::desk_service_server::DeskService;
use lanyard_wire::screening::v1 as screening;
use lanyard_wire::staff::v1::MemberState;
use tonic::{Code, Request, Response, Status};
use zeroize::Zeroizing;

use super::{malformed, reason, store_error};
use crate::act::Acting;
use crate::desk::{Checked, Desk, DeskError, Found, FoundPrint, Person, Side};
use crate::prints::PrintError;
use crate::{case, staff};

/// A directory, or what proves it, has not arrived.
const NOT_READY: &str = "NOT_READY";

pub(crate) struct DeskRpc {
    pub(crate) desk: Desk,
    pub(crate) acting: Acting,
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
        let (subject, staff) = match checked.person {
            Some(person) => self.person(person).await?,
            None => (None, None),
        };
        let Checked { committee, police, .. } = &checked;
        let attestations = self.attestations(committee, police, request.with_attestations).await?;
        Ok(Response::new(wire::CheckBadgeResponse {
            committee: committee.record.as_ref().map(record),
            police: police.record.as_ref().map(record),
            subject,
            bindings_match: bindings_match(committee, police),
            committee_age_seconds: committee.age_seconds,
            police_age_seconds: police.age_seconds,
            attestations,
            staff,
        }))
    }

    async fn check_document(
        &self,
        request: Request<wire::CheckDocumentRequest>,
    ) -> Result<Response<wire::CheckDocumentResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let reason = reason(&request.reason)?;
        let act = self.acting.by(&operator);
        let event = &self.acting.manifests.current().event;
        let keys = shown_keys(request.shown, event, act.now)?;
        let found = self.desk.check_document(&keys, reason, act).await;
        let found = found.map_err(|error| refused(&error))?;
        let mut people = Vec::with_capacity(found.len());
        for one in found {
            people.push(self.found(one, request.with_attestations).await?);
        }
        let (committee_age_seconds, police_age_seconds) = self.desk.ages();
        let response =
            wire::CheckDocumentResponse { people, committee_age_seconds, police_age_seconds };
        Ok(Response::new(response))
    }
}

impl DeskRpc {
    /// The own file on whoever has the badge.
    async fn person(
        &self,
        person: Person,
    ) -> Result<(Option<wire::SubjectState>, Option<MemberState>), Status> {
        let failed = |error| store_error(&error);
        let store = &self.desk.store;
        Ok(match person {
            Person::Subject(id) => {
                (case::by_id(store, &self.desk.lists, &id).await.map_err(failed)?, None)
            }
            Person::Staff(number) => (None, staff::by_number(store, number).await.map_err(failed)?),
        })
    }

    async fn attestations(
        &self,
        committee: &Side,
        police: &Side,
        wanted: bool,
    ) -> Result<Vec<Vec<u8>>, Status> {
        if !wanted {
            return Ok(Vec::new());
        }
        let encoded = self.desk.attest(committee, police).await.map_err(|error| refused(&error))?;
        Ok(encoded.iter().map(|bytes| bytes.to_vec()).collect())
    }

    async fn found(
        &self,
        found: Found,
        with_attestations: bool,
    ) -> Result<wire::FoundPerson, Status> {
        let (subject, staff) = self.person(found.person).await?;
        let found_by = match found.found_by {
            KeyKind::Document => screening::KeyKind::Document,
            _ => screening::KeyKind::NameBirthDate,
        };
        let mut prints = Vec::with_capacity(found.prints.len());
        for FoundPrint { number, committee, police } in &found.prints {
            prints.push(wire::FoundPrint {
                print_number: *number,
                committee: committee.record.as_ref().map(record),
                police: police.record.as_ref().map(record),
                bindings_match: bindings_match(committee, police),
                attestations: self.attestations(committee, police, with_attestations).await?,
            });
        }
        Ok(wire::FoundPerson { subject, staff, found_by: found_by.into(), prints })
    }
}

fn bindings_match(committee: &Side, police: &Side) -> bool {
    match (&committee.record, &police.record) {
        (Some(committee), Some(police)) => committee.binding.agrees_with(&police.binding),
        _ => false,
    }
}

/// The identity keys of what is shown.
fn shown_keys(
    shown: Option<Shown>,
    event: &EventId,
    now: Timestamp,
) -> Result<Vec<IdentityKey>, Status> {
    match shown {
        None => Err(malformed("shown: give a document or its machine-readable zone")),
        Some(Shown::Document(document)) => {
            let document = staff::document(&document)
                .map_err(|(column, problem)| malformed(format_args!("{column}: {problem}")))?;
            Ok(vec![IdentityKey::document(event, &document)])
        }
        Some(Shown::Mrz(text)) => {
            let text = Zeroizing::new(text);
            let mrz =
                Mrz::parse(&text, now).map_err(|error| malformed(format_args!("mrz: {error}")))?;
            let mut keys = vec![IdentityKey::document(event, mrz.document())];
            let name = Name::parse(&mrz.full_name()).ok();
            let birth_date = mrz.birth_date().and_then(PartialDate::day);
            if let (Some(name), Some(birth_date)) = (name, birth_date) {
                keys.push(IdentityKey::name_and_birth_date(event, &name, birth_date));
            }
            Ok(keys)
        }
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
        DeskError::Pseudonym(_) => {
            status::error(Code::FailedPrecondition, "PSEUDONYMS_UNAVAILABLE", error.to_string())
        }
        DeskError::Store(error) | DeskError::Print(PrintError::Store(error)) => store_error(error),
        DeskError::Print(_) | DeskError::Key(_) => status::internal(error),
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

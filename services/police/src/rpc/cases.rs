//! `CaseService`.

use std::sync::Arc;

use lanyard_core::disclosure::DisclosedIdentity;
use lanyard_party::StoreKey;
use lanyard_store::{AuditTrail, Store};
use lanyard_transport::{caller, status};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::police::v1::case_service_server::CaseService;
use tonic::{Request, Response, Status};

use super::{audit_entry, malformed, page_size, reason, store_error, subject_id, text};
use crate::act::Acting;
use crate::disclosures::OpenError;
use crate::lists::Lists;
use crate::states::Verdict;
use crate::{cases, disclosures};

/// Subjects in one sample at most.
const MAX_SAMPLE: u32 = 1_000;

pub(crate) struct CaseRpc {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) acting: Acting,
    pub(crate) four_eyes: bool,
}

#[tonic::async_trait]
impl CaseService for CaseRpc {
    async fn list_cases(
        &self,
        request: Request<wire::ListCasesRequest>,
    ) -> Result<Response<wire::ListCasesResponse>, Status> {
        let request = request.into_inner();
        let after = hex::decode(&request.page_token)
            .map_err(|_| malformed("page_token: not one of ours"))?;
        let limit = page_size(request.page_size);
        let cases = cases::list(&self.store, &self.lists, &after, request.undecided_only, limit)
            .await
            .map_err(|error| store_error(&error))?;
        let last = cases.last().filter(|_| cases.len() == limit as usize);
        let last = last.and_then(|case| case.subject.as_ref());
        let next_page_token = last.map(|last| hex::encode(&last.subject_id)).unwrap_or_default();
        Ok(Response::new(wire::ListCasesResponse { cases, next_page_token }))
    }

    async fn get_case(
        &self,
        request: Request<wire::GetCaseRequest>,
    ) -> Result<Response<wire::GetCaseResponse>, Status> {
        let id = subject_id(&request.into_inner().subject_id)?;
        let failed = |error| store_error(&error);
        let case = cases::by_id(&self.store, &self.lists, &id).await.map_err(failed)?;
        let name = id.to_string();
        let entries = AuditTrail::list(self.store.pool(), Some(&name), 0, page_size(0))
            .await
            .map_err(failed)?;
        let entries = entries.into_iter().map(audit_entry).collect();
        Ok(Response::new(wire::GetCaseResponse { case, entries }))
    }

    async fn request_disclosure(
        &self,
        request: Request<wire::RequestDisclosureRequest>,
    ) -> Result<Response<wire::RequestDisclosureResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let id = subject_id(&request.subject_id)?;
        let basis = text("legal_basis", &request.legal_basis)?;
        let (outcome, request) =
            disclosures::ask(&self.store, &id, basis, self.acting.by(&operator))
                .await
                .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::RequestDisclosureResponse {
            outcome: outcome.into(),
            request_id: request as u64,
        }))
    }

    async fn open_identity(
        &self,
        request: Request<wire::OpenIdentityRequest>,
    ) -> Result<Response<wire::OpenIdentityResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let id = subject_id(&request.into_inner().subject_id)?;
        let act = self.acting.by(&operator);
        let opened =
            disclosures::open(&self.store, &self.store_key, &id, act).await.map_err(|error| {
                match error {
                    OpenError::Store(error) => store_error(&error),
                    error @ OpenError::Sealed(_) => status::internal(&error),
                }
            })?;
        let identity = opened.map(|(identity, holds)| shown(&identity, holds));
        Ok(Response::new(wire::OpenIdentityResponse { identity }))
    }

    async fn decide_case(
        &self,
        request: Request<wire::DecideCaseRequest>,
    ) -> Result<Response<wire::DecideCaseResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let verdict = Verdict::try_from(request.verdict())
            .map_err(|()| malformed("verdict: cleared, refused or pending"))?;
        let id = subject_id(&request.subject_id)?;
        let reason = reason(&request.reason)?;
        let act = self.acting.by(&operator);
        let outcome =
            cases::decide_case(&self.store, &self.lists, &id, verdict, reason, self.four_eyes, act)
                .await
                .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::DecideCaseResponse { outcome: outcome.into() }))
    }

    async fn draw_sample(
        &self,
        request: Request<wire::DrawSampleRequest>,
    ) -> Result<Response<wire::DrawSampleResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        if !(1..=MAX_SAMPLE).contains(&request.count) {
            return Err(malformed(format_args!("count: 1 to {MAX_SAMPLE}")));
        }
        let basis = text("legal_basis", &request.legal_basis)?;
        let (act, count) = (self.acting.by(&operator), request.count as usize);
        let drawn = disclosures::draw(&self.store, &self.acting.env, count, basis, act)
            .await
            .map_err(|error| store_error(&error))?;
        let request_ids = drawn.into_iter().map(|id| id as u64).collect();
        Ok(Response::new(wire::DrawSampleResponse { request_ids }))
    }

    async fn list_samples(
        &self,
        request: Request<wire::ListSamplesRequest>,
    ) -> Result<Response<wire::ListSamplesResponse>, Status> {
        let wire::ListSamplesRequest { after, limit } = request.into_inner();
        let samples = disclosures::samples_after(&self.store, after, page_size(limit))
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::ListSamplesResponse { samples }))
    }
}

fn shown(identity: &DisclosedIdentity, binding_holds: bool) -> wire::Identity {
    let documents = identity.documents.iter().map(|document| wire::ListDocument {
        kind: document.kind.clone(),
        issuer: document.issuer.clone(),
        number: document.number.clone(),
    });
    wire::Identity {
        full_name: identity.full_name.to_string(),
        latin_name: identity.latin_name.to_string(),
        birth_date: identity.birth_date.to_string(),
        documents: documents.collect(),
        portrait_hash: identity.portrait.map_or_else(Vec::new, |hash| hash.as_bytes().to_vec()),
        badge_number: identity.badge_number.get(),
        binding_holds,
    }
}

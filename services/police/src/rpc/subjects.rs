//! `SubjectService`.

use std::sync::Arc;

use lanyard_authority::PublicationStatus;
use lanyard_core::badge::Presented;
use lanyard_core::ids::{Audience, Authority};
use lanyard_party::StoreKey;
use lanyard_store::{AuditTrail, Store};
use lanyard_transport::{caller, status};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::police::v1::subject_service_server::SubjectService;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{audit_entry, malformed, page_size, reason, store_error, subject_id};
use crate::act::Acting;
use crate::ids::SubjectId;
use crate::lists::Lists;
use crate::{case, changes, prints};

/// Subjects in one request at most.
const MAX_SUBJECTS: usize = 10_000;

pub(crate) struct SubjectRpc {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) acting: Acting,
    pub(crate) publication: watch::Receiver<PublicationStatus>,
}

#[tonic::async_trait]
impl SubjectService for SubjectRpc {
    async fn list_subjects(
        &self,
        request: Request<wire::ListSubjectsRequest>,
    ) -> Result<Response<wire::ListSubjectsResponse>, Status> {
        let request = request.into_inner();
        let failed = |error| store_error(&error);
        let total = case::count(&self.store).await.map_err(failed)?;
        let mut response = wire::ListSubjectsResponse { total, ..Default::default() };
        let limit = page_size(request.page_size);
        if request.subject_ids.is_empty() {
            let after = hex::decode(&request.page_token)
                .map_err(|_| malformed("page_token: not one of ours"))?;
            let page = case::list(&self.store, &self.lists, &after, request.matched_only, limit);
            response.subjects = page.await.map_err(failed)?;
            if let Some(last) = response.subjects.last()
                && response.subjects.len() == limit as usize
            {
                response.next_page_token = hex::encode(&last.subject_id);
            }
        } else {
            if request.subject_ids.len() > page_size(0) as usize {
                return Err(malformed(format_args!("subject_ids: at most {}", page_size(0))));
            }
            for id in &request.subject_ids {
                let found = case::by_id(&self.store, &self.lists, &subject_id(id)?).await;
                let found = found.map_err(failed)?;
                let wanted =
                    |case: &wire::SubjectState| !request.matched_only || !case.matches.is_empty();
                response.subjects.extend(found.filter(wanted));
            }
        }
        Ok(Response::new(response))
    }

    async fn change_status(
        &self,
        request: Request<wire::ChangeStatusRequest>,
    ) -> Result<Response<wire::ChangeStatusResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let suspend = changes::suspends(request.action()).ok_or_else(|| {
            malformed("action: suspend or reinstate; what the police stop can be reinstated")
        })?;
        let reason = reason(&request.reason)?;
        let subjects = self.subjects(&request).await?;
        let act = self.acting.by(&operator);
        changes::change_status(&self.store, suspend, &subjects, reason, act)
            .await
            .map(Response::new)
            .map_err(|error| store_error(&error))
    }

    async fn undo_change(
        &self,
        request: Request<wire::UndoChangeRequest>,
    ) -> Result<Response<wire::UndoChangeResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let change = i64::try_from(request.change_id).unwrap_or(i64::MAX);
        let reason = reason(&request.reason)?;
        changes::undo(&self.store, change, reason, self.acting.by(&operator))
            .await
            .map(Response::new)
            .map_err(|error| store_error(&error))
    }

    async fn list_audit(
        &self,
        request: Request<wire::ListAuditRequest>,
    ) -> Result<Response<wire::ListAuditResponse>, Status> {
        let wire::ListAuditRequest { after, limit } = request.into_inner();
        let entries = AuditTrail::list(self.store.pool(), None, after, page_size(limit))
            .await
            .map_err(|error| store_error(&error))?;
        let entries = entries.into_iter().map(audit_entry).collect();
        Ok(Response::new(wire::ListAuditResponse { entries }))
    }

    async fn get_publication(
        &self,
        _request: Request<wire::GetPublicationRequest>,
    ) -> Result<Response<wire::GetPublicationResponse>, Status> {
        let status = *self.publication.borrow();
        Ok(Response::new(wire::GetPublicationResponse {
            log_size: status.log_size,
            quorum_size: status.quorum_size,
            waiting: status.waiting,
            epoch: status.epoch.get(),
            records: status.records,
        }))
    }
}

impl SubjectRpc {
    /// The subjects of a request, ids first; `None` for a badge of this event that nobody knows.
    async fn subjects(
        &self,
        request: &wire::ChangeStatusRequest,
    ) -> Result<Vec<Option<SubjectId>>, Status> {
        match request.subject_ids.len() + request.badge_texts.len() {
            0 => return Err(malformed("subject_ids, badge_texts: give at least one")),
            1..=MAX_SUBJECTS => {}
            _ => {
                return Err(malformed(format_args!("at most {MAX_SUBJECTS} subjects at once")));
            }
        }
        let mut subjects =
            Vec::with_capacity(request.subject_ids.len() + request.badge_texts.len());
        for id in &request.subject_ids {
            subjects.push(Some(subject_id(id)?));
        }
        let manifest = self.acting.manifests.current();
        for (index, text) in request.badge_texts.iter().enumerate() {
            let presented = Presented::parse(text, &manifest.event)
                .map_err(|error| malformed(format_args!("badge_texts[{index}]: {error}")))?;
            let Presented::Badge(secret) = presented else {
                return Err(malformed(format_args!(
                    "badge_texts[{index}]: a code names nobody here; scan the badge itself"
                )));
            };
            let seed = secret.seed(Authority::Police, Audience::Gate);
            let held = prints::by_seed(&self.store, &self.store_key, &seed).await;
            let held = held.map_err(|error| status::internal(&error))?;
            subjects.push(held.map(|held| held.subject_id));
        }
        Ok(subjects)
    }
}

//! `DisclosureService`.

use std::sync::Arc;

use lanyard_transport::caller;
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::committee::v1::disclosure_service_server::DisclosureService;
use tonic::{Request, Response, Status};

use super::{page_size, reason, store_error};
use crate::badges::Deed;
use crate::disclosures;

pub(crate) struct Disclosures {
    pub(crate) disclosures: Arc<disclosures::Disclosures>,
}

#[tonic::async_trait]
impl DisclosureService for Disclosures {
    async fn list_disclosures(
        &self,
        request: Request<wire::ListDisclosuresRequest>,
    ) -> Result<Response<wire::ListDisclosuresResponse>, Status> {
        let wire::ListDisclosuresRequest { all, after, limit } = request.into_inner();
        let disclosures = disclosures::list(&self.disclosures.store, all, after, page_size(limit))
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::ListDisclosuresResponse { disclosures }))
    }

    async fn decide_disclosure(
        &self,
        request: Request<wire::DecideDisclosureRequest>,
    ) -> Result<Response<wire::DecideDisclosureResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let wire::DecideDisclosureRequest { request_id, approve, reason: why } =
            request.into_inner();
        let deed = Deed { operator: &operator, reason: reason(&why)? };
        let id = i64::try_from(request_id).unwrap_or(i64::MAX);
        let (store, env) = (&self.disclosures.store, &self.disclosures.env);
        let outcome = disclosures::decide(store, env, id, approve, &deed)
            .await
            .map_err(|error| store_error(&error))?;
        self.disclosures.decided.notify_one();
        Ok(Response::new(wire::DecideDisclosureResponse { outcome: outcome.into() }))
    }
}

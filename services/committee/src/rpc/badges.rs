//! `BadgeService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use lanyard_authority::PublicationStatus;
use lanyard_env::Env;
use lanyard_party::StoreKey;
use lanyard_store::Store;
use lanyard_transport::{caller, status};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::committee::v1::badge_service_server::BadgeService;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::convert::array;
use sqlx::Row as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::{audit, page_size, reason, store_error};
use crate::badges::{self, Deed, PrintSeeds, SEEDS, Targets};
use crate::police_badges;
use crate::states::{PrintState, Screening};

/// References in one request at most.
const MAX_REFERENCES: usize = 10_000;
/// Prints in one message of a stream.
const MESSAGE: usize = 500;

pub(crate) struct Badges {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) publication: watch::Receiver<PublicationStatus>,
}

#[tonic::async_trait]
impl BadgeService for Badges {
    type ListPrintsStream =
        Pin<Box<dyn Stream<Item = Result<wire::ListPrintsResponse, Status>> + Send>>;

    async fn list_prints(
        &self,
        request: Request<wire::ListPrintsRequest>,
    ) -> Result<Response<Self::ListPrintsStream>, Status> {
        let request = request.into_inner();
        let (sender, receiver) = mpsc::channel(4);
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(status) = send_prints(&store, &request, &sender).await {
                // Whoever asked may be gone.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn register_prints(
        &self,
        request: Request<Streaming<wire::RegisterPrintsRequest>>,
    ) -> Result<Response<wire::RegisterPrintsResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let mut stream = request.into_inner();
        let mut prints = Vec::new();
        while let Some(message) = stream.message().await? {
            for print in &message.prints {
                prints.push(print_seeds(print)?);
            }
        }
        let registered =
            badges::register(&self.store, &self.env, &self.store_key, &operator, &prints)
                .await
                .map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::RegisterPrintsResponse { registered }))
    }

    async fn reissue_badges(
        &self,
        request: Request<wire::ReissueBadgesRequest>,
    ) -> Result<Response<wire::ReissueBadgesResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let deed = Deed { operator: &operator, reason: reason(&request.reason)? };
        let response =
            badges::reissue(&self.store, &self.env, references(&request.references)?, &deed).await;
        response.map(Response::new).map_err(|error| store_error(&error))
    }

    async fn change_status(
        &self,
        request: Request<wire::ChangeStatusRequest>,
    ) -> Result<Response<wire::ChangeStatusResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let action = request.action();
        if action == StatusAction::Unspecified {
            return Err(status::malformed("action: suspend, reinstate or revoke"));
        }
        let deed = Deed { operator: &operator, reason: reason(&request.reason)? };
        if request.badge_numbers.len() > MAX_REFERENCES {
            return Err(status::malformed(format!(
                "badge_numbers: at most {MAX_REFERENCES} at once"
            )));
        }
        let references = match request.references.as_slice() {
            [] if !request.badge_numbers.is_empty() => &[],
            given => references(given)?,
        };
        let targets = Targets { references, numbers: &request.badge_numbers };
        let response = badges::change_status(&self.store, &self.env, action, &targets, &deed).await;
        response.map(Response::new).map_err(|error| store_error(&error))
    }

    async fn list_police_badges(
        &self,
        request: Request<wire::ListPoliceBadgesRequest>,
    ) -> Result<Response<wire::ListPoliceBadgesResponse>, Status> {
        let request = request.into_inner();
        let failed = |error| store_error(&error);
        let after = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| status::malformed("page_token: not one of ours"))?,
        };
        let limit = page_size(request.page_size);
        let mut response = wire::ListPoliceBadgesResponse {
            badges: police_badges::list(&self.store, after, limit).await.map_err(failed)?,
            next_page_token: String::new(),
            total: police_badges::count(&self.store).await.map_err(failed)?,
        };
        if let Some(last) = response.badges.last()
            && response.badges.len() == limit as usize
        {
            response.next_page_token = last.badge_number.to_string();
        }
        Ok(Response::new(response))
    }

    async fn undo_change(
        &self,
        request: Request<wire::UndoChangeRequest>,
    ) -> Result<Response<wire::UndoChangeResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let deed = Deed { operator: &operator, reason: reason(&request.reason)? };
        let change = i64::try_from(request.change_id).unwrap_or(i64::MAX);
        let response = badges::undo(&self.store, &self.env, change, &deed).await;
        response.map(Response::new).map_err(|error| store_error(&error))
    }

    async fn list_audit(
        &self,
        request: Request<wire::ListAuditRequest>,
    ) -> Result<Response<wire::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let entries = audit(&self.store, &request.reference, request.after, request.limit).await?;
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

fn references(references: &[String]) -> Result<&[String], Status> {
    match references.len() {
        0 => Err(status::malformed("references: give at least one")),
        1..=MAX_REFERENCES => Ok(references),
        _ => Err(status::malformed(format!("references: at most {MAX_REFERENCES} at once"))),
    }
}

fn print_seeds(print: &wire::PrintSeeds) -> Result<PrintSeeds, Status> {
    let parts = [
        ("committee_gate", &print.committee_gate),
        ("committee_police", &print.committee_police),
        ("committee_sponsor", &print.committee_sponsor),
        ("police_gate", &print.police_gate),
    ];
    let mut seeds = Zeroizing::new([0; SEEDS]);
    for (place, (field, bytes)) in seeds.as_chunks_mut::<32>().0.iter_mut().zip(parts) {
        *place = array(field, bytes).map_err(|error| status::malformed(error.to_string()))?;
    }
    Ok(PrintSeeds { badge_number: print.badge_number, print_number: print.print_number, seeds })
}

async fn send_prints(
    store: &Store,
    request: &wire::ListPrintsRequest,
    sender: &mpsc::Sender<Result<wire::ListPrintsResponse, Status>>,
) -> Result<(), Status> {
    let failed = |error: sqlx::Error| store_error(&error.into());
    let mut after = 0_i64;
    loop {
        let rows = sqlx::query(
            "SELECT p.reference, p.full_name, p.category, p.badge_number, i.print_number, i.state, p.screening \
             FROM people p JOIN prints i ON i.badge_number = p.badge_number AND i.print_number = p.current_print \
             WHERE p.badge_number > $1 ORDER BY p.badge_number LIMIT $2",
        )
        .bind(after)
        .bind(MESSAGE as i64)
        .fetch_all(store.pool())
        .await
        .map_err(failed)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.try_get("badge_number").map_err(failed)?;
        let mut prints = Vec::new();
        for row in &rows {
            let number = |column| row.try_get::<i64, _>(column).map_err(failed);
            let reference: String = row.try_get("reference").map_err(failed)?;
            let waits = number("state")? == PrintState::Waiting.number();
            let cleared = number("screening")? == Screening::Cleared.number();
            let wanted = (waits || request.include_issued)
                && (cleared || !request.cleared_only)
                && (request.references.is_empty() || request.references.contains(&reference));
            if wanted {
                prints.push(wire::Print {
                    reference,
                    full_name: row.try_get("full_name").map_err(failed)?,
                    category: row.try_get("category").map_err(failed)?,
                    badge_number: number("badge_number")? as u32,
                    print_number: number("print_number")? as u32,
                });
            }
        }
        if !prints.is_empty() && sender.send(Ok(wire::ListPrintsResponse { prints })).await.is_err()
        {
            return Ok(());
        }
    }
}

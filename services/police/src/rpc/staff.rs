//! `StaffService`, and `HandoverService` through which the committee comes by what it attests.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use lanyard_party::StoreKey;
use lanyard_store::{Rereads, Store};
use lanyard_transport::{caller, status};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::convert::array;
use lanyard_wire::staff::v1 as wire;
use lanyard_wire::staff::v1::handover_service_server::HandoverService;
use lanyard_wire::staff::v1::staff_service_server::StaffService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::{malformed, page_size, reason, store_error};
use crate::act::Acting;
use crate::staff::{self, DerivedPrint, Import, OfferedProfile, StaffSeeds, Writer};

/// References in one request at most.
const MAX_REFERENCES: usize = 10_000;
/// Rows or prints in one call at most: all of a call is stored together.
const MAX_PER_CALL: usize = 100_000;
/// Prints in one message of a stream.
const MESSAGE: usize = 500;
/// Profiles of one offer at most.
const MAX_PROFILES: usize = 1_000;
/// Longest code or category of a profile in bytes.
const MAX_CODE: usize = 64;

/// Both services. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct StaffRpc {
    pub(crate) store: Store,
    pub(crate) store_key: Arc<StoreKey>,
    pub(crate) acting: Acting,
    /// Of the prints for the committee.
    pub(crate) rereads: Arc<Rereads>,
}

#[tonic::async_trait]
impl StaffService for StaffRpc {
    type ListPrintsStream =
        Pin<Box<dyn Stream<Item = Result<wire::ListPrintsResponse, Status>> + Send>>;

    async fn import_staff(
        &self,
        request: Request<Streaming<wire::ImportStaffRequest>>,
    ) -> Result<Response<wire::ImportStaffResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let mut stream = request.into_inner();
        let first = stream.message().await?.and_then(|message| message.step);
        let Some(wire::import_staff_request::Step::Start(start)) = first else {
            return Err(malformed("step: the first message must be `start`"));
        };
        if start.mode() == wire::ImportMode::Unspecified {
            return Err(malformed("mode: say all or nothing, or valid rows"));
        }
        let profiles = staff::offered(&self.store).await.map_err(|error| store_error(&error))?;
        let mut import = Import::new(profiles);
        while let Some(message) = stream.message().await? {
            let Some(wire::import_staff_request::Step::Rows(rows)) = message.step else {
                return Err(malformed("step: `start` comes once, then only rows"));
            };
            for row in rows.rows {
                import.row(row.line, row.member.ok_or_else(|| malformed("member: missing"))?);
            }
            not_too_many(import.rows())?;
        }
        let manifest = self.acting.manifests.current();
        let writer = Writer {
            store: &self.store,
            store_key: &self.store_key,
            env: &self.acting.env,
            event: &manifest.event,
        };
        import
            .finish(&writer, start.mode(), start.dry_run, self.acting.by(&operator))
            .await
            .map(Response::new)
            .map_err(|error| store_error(&error))
    }

    async fn list_staff(
        &self,
        request: Request<wire::ListStaffRequest>,
    ) -> Result<Response<wire::ListStaffResponse>, Status> {
        let request = request.into_inner();
        let failed = |error| store_error(&error);
        let profiles = staff::offered(&self.store).await.map_err(failed)?;
        let profiles = profiles.into_iter();
        let mut response = wire::ListStaffResponse {
            total: staff::count(&self.store).await.map_err(failed)?,
            profiles: profiles
                .map(|OfferedProfile { code, category }| wire::Profile { code, category })
                .collect(),
            ..Default::default()
        };
        if request.references.is_empty() {
            let after = match request.page_token.as_str() {
                "" => 0,
                token => token.parse().map_err(|_| malformed("page_token: not one of ours"))?,
            };
            let limit = page_size(request.page_size);
            response.members = staff::list(&self.store, after, limit).await.map_err(failed)?;
            if let Some(last) = response.members.last()
                && response.members.len() == limit as usize
            {
                response.next_page_token = last.badge_number.to_string();
            }
        } else {
            for reference in request.references.iter().take(page_size(0) as usize) {
                let found = staff::by_reference(&self.store, reference).await.map_err(failed)?;
                response.members.extend(found);
            }
        }
        Ok(Response::new(response))
    }

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
            for print in message.prints {
                prints.push(derived_print(print)?);
            }
            not_too_many(prints.len())?;
        }
        let act = self.acting.by(&operator);
        let registered =
            staff::register(&self.store, &self.acting.env, &self.store_key, &prints, act)
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
        let (reason, references) = (reason(&request.reason)?, references(&request.references)?);
        staff::reissue(&self.store, references, reason, self.acting.by(&operator))
            .await
            .map(Response::new)
            .map_err(|error| store_error(&error))
    }

    async fn change_status(
        &self,
        request: Request<wire::ChangeStatusRequest>,
    ) -> Result<Response<wire::ChangeStatusResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let request = request.into_inner();
        let action = request.action();
        if action == StatusAction::Unspecified {
            return Err(malformed("action: suspend, reinstate or revoke"));
        }
        let (reason, references) = (reason(&request.reason)?, references(&request.references)?);
        staff::change_status(&self.store, action, references, reason, self.acting.by(&operator))
            .await
            .map(Response::new)
            .map_err(|error| store_error(&error))
    }
}

#[tonic::async_trait]
impl HandoverService for StaffRpc {
    async fn offer_profiles(
        &self,
        request: Request<wire::OfferProfilesRequest>,
    ) -> Result<Response<wire::OfferProfilesResponse>, Status> {
        let profiles = request.into_inner().profiles;
        if profiles.len() > MAX_PROFILES {
            return Err(malformed(format_args!("profiles: at most {MAX_PROFILES}")));
        }
        let fits = |text: &str| (1..=MAX_CODE).contains(&text.len());
        if !profiles.iter().all(|profile| fits(&profile.code) && fits(&profile.category)) {
            return Err(malformed(format_args!(
                "profiles: code and category have 1 to {MAX_CODE} bytes"
            )));
        }
        let profiles = profiles
            .into_iter()
            .map(|wire::Profile { code, category }| OfferedProfile { code, category });
        staff::offer(&self.store, profiles.collect()).await.map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::OfferProfilesResponse {}))
    }

    async fn take_prints(
        &self,
        request: Request<wire::TakePrintsRequest>,
    ) -> Result<Response<wire::TakePrintsResponse>, Status> {
        let wire::TakePrintsRequest { cursor, limit } = request.into_inner();
        let (store, limit) = (&self.store, page_size(limit));
        let handed = staff::take(store, &self.store_key, &self.rereads, cursor, limit)
            .await
            .map_err(|error| status::internal(&error))?;
        let cursor = handed.last().map_or(cursor, |last| last.sequence);
        let prints = handed.into_iter().map(|one| one.print).collect();
        Ok(Response::new(wire::TakePrintsResponse { prints, cursor }))
    }
}

fn references(references: &[String]) -> Result<&[String], Status> {
    match references.len() {
        0 => Err(malformed("references: give at least one")),
        1..=MAX_REFERENCES => Ok(references),
        _ => Err(malformed(format_args!("references: at most {MAX_REFERENCES} at once"))),
    }
}

fn not_too_many(count: usize) -> Result<(), Status> {
    if count > MAX_PER_CALL {
        return Err(malformed(format_args!("at most {MAX_PER_CALL} in one call; make several")));
    }
    Ok(())
}

fn derived_print(print: wire::PrintSeeds) -> Result<DerivedPrint, Status> {
    let seed = |field, bytes: Vec<u8>| -> Result<Zeroizing<[u8; 32]>, Status> {
        array(field, &Zeroizing::new(bytes)).map(Zeroizing::new).map_err(malformed)
    };
    let police_gate = seed("police_gate", print.police_gate)?;
    let gate = seed("committee_gate", print.committee_gate)?;
    let police = seed("committee_police", print.committee_police)?;
    let sponsor = seed("committee_sponsor", print.committee_sponsor)?;
    Ok(DerivedPrint {
        badge_number: print.badge_number,
        print_number: print.print_number,
        seeds: StaffSeeds::new([&police_gate, &gate, &police, &sponsor]),
    })
}

async fn send_prints(
    store: &Store,
    request: &wire::ListPrintsRequest,
    sender: &mpsc::Sender<Result<wire::ListPrintsResponse, Status>>,
) -> Result<(), Status> {
    let mut after = 0;
    loop {
        let page = staff::waiting(store, after, MESSAGE as i64).await;
        let page = page.map_err(|error| store_error(&error))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.badge_number;
        let wanted = |print: &staff::WaitingPrint| {
            (!print.issued || request.include_issued)
                && (request.references.is_empty() || request.references.contains(&print.reference))
        };
        let prints: Vec<_> = page
            .into_iter()
            .filter(wanted)
            .map(|print| wire::Print {
                reference: print.reference,
                full_name: print.full_name,
                category: print.category,
                badge_number: print.badge_number as u32,
                print_number: print.print_number as u32,
            })
            .collect();
        if !prints.is_empty() && sender.send(Ok(wire::ListPrintsResponse { prints })).await.is_err()
        {
            return Ok(());
        }
    }
}

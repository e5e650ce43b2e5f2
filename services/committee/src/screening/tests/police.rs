//! Police that keep what they are told and clear everyone at once.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use lanyard_core::identity::Facts;
use lanyard_wire::screening::v1 as wire;
use lanyard_wire::screening::v1::screening_service_client::ScreeningServiceClient;
use lanyard_wire::screening::v1::screening_service_server::{
    ScreeningService, ScreeningServiceServer,
};
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status, Streaming};

/// A subject's binding, and its pseudonyms with their padding.
type Told = (Vec<u8>, Vec<Vec<u8>>);

#[derive(Clone, Default)]
pub(super) struct FakePolice {
    pub(super) away: Arc<AtomicBool>,
    subjects: Arc<Mutex<HashMap<Vec<u8>, Told>>>,
    order: Arc<Mutex<Vec<Vec<u8>>>>,
    conflicts: Arc<Mutex<usize>>,
    prints: Arc<Mutex<usize>>,
}

impl FakePolice {
    pub(super) fn client(&self) -> ScreeningServiceClient<Channel> {
        let police = self.clone();
        let connect = move |_: Uri| {
            let police = police.clone();
            async move {
                let (client, server) = tokio::io::duplex(64 * 1024);
                let incoming = tokio_stream::once(Ok::<_, io::Error>(server));
                let service = ScreeningServiceServer::new(police);
                tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
                Ok::<_, io::Error>(TokioIo::new(client))
            }
        };
        let endpoint = Endpoint::from_static("http://police.invalid");
        ScreeningServiceClient::new(
            endpoint.connect_with_connector_lazy(tower::service_fn(connect)),
        )
    }

    pub(super) fn subjects(&self) -> usize {
        self.subjects.lock().unwrap().len()
    }

    /// Whether every subject came with the same number of keys, padding included.
    pub(super) fn all_padded(&self) -> bool {
        let subjects = self.subjects.lock().unwrap();
        subjects.values().all(|(_, keys)| keys.len() == Facts::PERSON_KEYS)
    }

    /// Times that a subject came again with the same binding and other pseudonyms.
    pub(super) fn conflicts(&self) -> usize {
        *self.conflicts.lock().unwrap()
    }

    /// Prints that were handed over.
    pub(super) fn prints(&self) -> usize {
        *self.prints.lock().unwrap()
    }

    fn here(&self) -> Result<(), Status> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Status::unavailable("away")),
            false => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl ScreeningService for FakePolice {
    async fn submit_subjects(
        &self,
        request: Request<Streaming<wire::SubmitSubjectsRequest>>,
    ) -> Result<Response<wire::SubmitSubjectsResponse>, Status> {
        self.here()?;
        let mut stream = request.into_inner();
        let mut accepted = 0;
        while let Some(message) = stream.message().await? {
            for subject in message.subjects {
                let keys = subject.keys.into_iter();
                let told = (subject.binding, keys.map(|key| key.pseudonym).collect());
                let mut subjects = self.subjects.lock().unwrap();
                match subjects.insert(subject.subject_id.clone(), told.clone()) {
                    Some(before) if before == told => {}
                    Some(before) if before.0 == told.0 => *self.conflicts.lock().unwrap() += 1,
                    _ => self.order.lock().unwrap().push(subject.subject_id),
                }
                accepted += 1;
            }
        }
        Ok(Response::new(wire::SubmitSubjectsResponse { accepted }))
    }

    async fn register_prints(
        &self,
        request: Request<Streaming<wire::RegisterPrintsRequest>>,
    ) -> Result<Response<wire::RegisterPrintsResponse>, Status> {
        let mut stream = request.into_inner();
        while let Some(message) = stream.message().await? {
            *self.prints.lock().unwrap() += message.prints.len();
        }
        Ok(Response::new(wire::RegisterPrintsResponse::default()))
    }

    async fn withdraw_subjects(
        &self,
        _request: Request<wire::WithdrawSubjectsRequest>,
    ) -> Result<Response<wire::WithdrawSubjectsResponse>, Status> {
        Ok(Response::new(wire::WithdrawSubjectsResponse::default()))
    }

    async fn list_verdicts(
        &self,
        request: Request<wire::ListVerdictsRequest>,
    ) -> Result<Response<wire::ListVerdictsResponse>, Status> {
        self.here()?;
        let from = request.into_inner().cursor as usize;
        let order = self.order.lock().unwrap();
        let page: Vec<_> = order.iter().skip(from).take(16).cloned().collect();
        let cursor = (from + page.len()) as u64;
        let verdict = wire::Verdict::Cleared.into();
        let verdicts =
            page.into_iter().map(|subject_id| wire::SubjectVerdict { subject_id, verdict });
        Ok(Response::new(wire::ListVerdictsResponse { verdicts: verdicts.collect(), cursor }))
    }

    async fn list_disclosure_requests(
        &self,
        _request: Request<wire::ListDisclosureRequestsRequest>,
    ) -> Result<Response<wire::ListDisclosureRequestsResponse>, Status> {
        Ok(Response::new(wire::ListDisclosureRequestsResponse::default()))
    }

    async fn answer_disclosures(
        &self,
        _request: Request<wire::AnswerDisclosuresRequest>,
    ) -> Result<Response<wire::AnswerDisclosuresResponse>, Status> {
        Ok(Response::new(wire::AnswerDisclosuresResponse::default()))
    }
}

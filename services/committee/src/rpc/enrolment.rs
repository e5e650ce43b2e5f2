//! `EnrolmentService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use lanyard_env::Env;
use lanyard_party::ManifestStore;
use lanyard_shareholder::FaultCount;
use lanyard_store::Store;
use lanyard_transport::{caller, status};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::committee::v1::enrolment_service_server::EnrolmentService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{page_size, people, store_error};
use crate::import::Import;
use crate::profiles::{self, ProfileIndex};
use crate::screening::{Screening, ScreeningError};

/// Profiles in one request at most.
const MAX_PROFILES: usize = 1_000;
/// How long an import that has begun to write waits for more rows.
const MAX_SILENCE: Duration = Duration::from_secs(10);

pub(crate) struct Enrolment {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) manifests: Arc<ManifestStore>,
    pub(crate) screening: Arc<Screening>,
}

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn import_people(
        &self,
        request: Request<Streaming<wire::ImportPeopleRequest>>,
    ) -> Result<Response<wire::ImportPeopleResponse>, Status> {
        let operator = caller(&request)?.to_string();
        let mut stream = request.into_inner();
        let first = stream.message().await?.and_then(|message| message.step);
        let Some(wire::import_people_request::Step::Start(start)) = first else {
            return Err(status::malformed("step: the first message must be `start`"));
        };
        if start.mode() == wire::ImportMode::Unspecified {
            return Err(status::malformed("mode: say all or nothing, or valid rows"));
        }
        let manifest = self.manifests.current();
        let profiles = ProfileIndex::load(&self.store).await.map_err(|e| store_error(&e))?;
        let mut import = Import::new(manifest.event.clone(), manifest.categories.clone(), profiles);
        let mode = start.mode();
        loop {
            let message = if import.is_writing() {
                // Others who write wait for this import: it must not wait for long itself.
                let message = tokio::time::timeout(MAX_SILENCE, stream.message()).await;
                message.map_err(|_| {
                    let message = "the rows stopped coming; nothing was imported";
                    status::error(Code::DeadlineExceeded, status::TIMED_OUT, message)
                })?
            } else {
                stream.message().await
            };
            let Some(message) = message? else { break };
            let Some(wire::import_people_request::Step::Rows(rows)) = message.step else {
                return Err(status::malformed("step: `start` comes once, then only rows"));
            };
            for row in rows.rows {
                let person = row.person.ok_or_else(|| status::malformed("person: missing"))?;
                import.row(row.line, person);
            }
            import.flush(&self.store, &self.env, mode).await.map_err(|e| store_error(&e))?;
        }
        let response = import
            .finish(&self.store, &self.env, &operator, mode, start.dry_run)
            .await
            .map_err(|error| store_error(&error))?;
        Ok(Response::new(response))
    }

    type ScreenStream = Pin<Box<dyn Stream<Item = Result<wire::ScreenResponse, Status>> + Send>>;

    async fn screen(
        &self,
        request: Request<wire::ScreenRequest>,
    ) -> Result<Response<Self::ScreenStream>, Status> {
        let wait = Duration::from_secs(request.into_inner().wait_seconds.into());
        let (sender, receiver) = mpsc::channel(8);
        let screening = Arc::clone(&self.screening);
        tokio::spawn(async move {
            // Whoever asked may go: then it stops, wherever it is, and goes on from there when asked again.
            let last = tokio::select! {
                last = run(&screening, &sender, wait) => last,
                () = sender.closed() => return,
            };
            let _ = sender.send(last.map_err(|error| screening_status(&error))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_people(
        &self,
        request: Request<wire::ListPeopleRequest>,
    ) -> Result<Response<wire::ListPeopleResponse>, Status> {
        let request = request.into_inner();
        let failed = |error| store_error(&error);
        let mut response = wire::ListPeopleResponse {
            total: people::count(&self.store).await.map_err(failed)?,
            ..Default::default()
        };
        if request.references.is_empty() {
            let after = match request.page_token.as_str() {
                "" => 0,
                token => {
                    token.parse().map_err(|_| status::malformed("page_token: not one of ours"))?
                }
            };
            let limit = page_size(request.page_size);
            response.people = people::list(&self.store, after, limit).await.map_err(failed)?;
            if let Some(last) =
                response.people.last().filter(|_| response.people.len() == limit as usize)
            {
                response.next_page_token = last.badge_number.to_string();
            }
        } else {
            for reference in request.references.iter().take(page_size(0) as usize) {
                let person = people::by_reference(&self.store, reference).await.map_err(failed)?;
                response.people.extend(person);
            }
        }
        Ok(Response::new(response))
    }

    async fn put_profiles(
        &self,
        request: Request<wire::PutProfilesRequest>,
    ) -> Result<Response<wire::PutProfilesResponse>, Status> {
        let profiles = request.into_inner().profiles;
        if profiles.len() > MAX_PROFILES {
            return Err(status::malformed(format!("profiles: at most {MAX_PROFILES} at once")));
        }
        profiles::check(&profiles, &self.manifests.current()).map_err(status::malformed)?;
        let total = profiles::put(&self.store, profiles).await.map_err(|e| store_error(&e))?;
        Ok(Response::new(wire::PutProfilesResponse { total }))
    }
}

async fn run(
    screening: &Screening,
    sender: &mpsc::Sender<Result<wire::ScreenResponse, Status>>,
    wait: Duration,
) -> Result<wire::ScreenResponse, ScreeningError> {
    let before = screening.pseudonymiser.faults_since(&[]);
    let mut last = wire::ScreenResponse::default();
    screening
        .run(|progress| {
            last = progress.clone();
            // Progress that nobody takes in time is made up for by the next.
            let _ = sender.try_send(Ok(progress));
        })
        .await?;
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        screening.fetch_verdicts().await?;
        let totals = screening.totals().await?;
        last = wire::ScreenResponse {
            cleared: totals.cleared,
            refused: totals.refused,
            pending: totals.pending,
            ..last
        };
        if totals.pending == 0 || tokio::time::Instant::now() >= deadline {
            let faults = screening.pseudonymiser.faults_since(&before);
            last.holder_faults = faults.iter().map(FaultCount::to_wire).collect();
            last.finished = true;
            return Ok(last);
        }
        let _ = sender.send(Ok(last.clone())).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Quotas and cheating holders have stable reasons; the police being away is not this service's failure.
fn screening_status(error: &ScreeningError) -> Status {
    match error {
        ScreeningError::Pseudonym(problem) => {
            status::error(Code::FailedPrecondition, problem.reason(), error.to_string())
        }
        ScreeningError::Police(_) => {
            status::error(Code::Unavailable, "POLICE_UNAVAILABLE", error.to_string())
        }
        ScreeningError::Store(_) | ScreeningError::Seeds(_) => status::internal(error),
    }
}

//! Epochs out of turn, for people: what one costs, and starting it.
//!
//! Numbers. An authority's epochs follow the manifest's plan, and never go back. A new epoch out of turn takes the first
//! number whose keys nobody was given: the one after the live epoch, or after the next if that is published ahead already. It
//! lives until the plan has caught up: with number 8 begun during the plan's 7, epoch 8 also is the plan's 8, and 9 begins on
//! time. So no number is ever used twice, nothing but the signed heads needs to remember how the numbers went, what was
//! attested under a number stays verifiable, and the plan itself need not change. The price is that handles live longer than
//! planned, by as much as the epoch began early.

use std::path::PathBuf;

use lanyard_core::ids::{Audience, Authority, Epoch};
use lanyard_env::{Env, FileError, Mode, checked_body, with_checksum};
use lanyard_store::StoreError;
use lanyard_transport::{caller, status};
use lanyard_wire::epoch::v1 as wire;
use lanyard_wire::epoch::v1::epoch_service_server::{EpochService, EpochServiceServer};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Request, Response, Status};

use crate::error::PublishError;

/// Stable reason: the publisher has nothing published yet, or waits for mirrors and witnesses.
const NOT_PUBLISHING: &str = "NOT_PUBLISHING";
/// Longest reason in bytes.
const MAX_REASON: usize = 1_024;
/// Questions that wait for the publisher, which answers between two ticks.
const QUEUE: usize = 16;

/// What one directory of a new epoch costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectoryCost {
    pub(crate) audience: Audience,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) verifiers: Vec<String>,
}

/// What a new epoch costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) live: Epoch,
    pub(crate) next: Epoch,
    pub(crate) directories: Vec<DirectoryCost>,
    pub(crate) sealing_millis: u64,
    pub(crate) ticks_millis: u64,
    pub(crate) under_way: bool,
}

/// What people ask of the publisher.
pub(crate) enum Ask {
    Cost(oneshot::Sender<Cost>),
    Start(Order, oneshot::Sender<Result<Epoch, PublishError>>),
}

/// Who wants a new epoch, and why: for the audit trail.
pub(crate) struct Order {
    /// As `spiffe://PARTY/ROLE/NAME`.
    pub(crate) operator: String,
    /// Free text, which reaches neither log nor audit stream.
    pub(crate) reason: String,
}

/// Where the publisher hears what people ask.
pub struct Asked(mpsc::Receiver<Ask>);

impl Asked {
    /// The next question; waits forever once nobody can ask any more.
    pub(crate) async fn next(&mut self) -> Ask {
        match self.0.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }
}

/// The epoch that was decided on, on disk until it is live: a crash in between loses nothing.
pub(crate) struct Decided {
    env: Env,
    path: PathBuf,
}

/// Its name among the kept files.
pub(crate) const DECIDED: &str = "epoch-out-of-turn";

const HEADER: &str = "lanyard epoch out of turn v2\n";

impl Decided {
    pub(crate) fn at(env: Env, path: PathBuf) -> Self {
        Self { env, path }
    }

    /// The epoch, if one is decided on.
    ///
    /// # Errors
    /// [`PublishError::Decided`] if it is damaged, or [`PublishError::File`].
    pub(crate) fn read(&self) -> Result<Option<Epoch>, PublishError> {
        let Some(bytes) = self.env.files.read_if_exists(&self.path)? else { return Ok(None) };
        let text = checked_body(&bytes).and_then(|body| std::str::from_utf8(body).ok());
        let number = text.and_then(|text| text.strip_prefix(HEADER));
        let number = number.and_then(|number| number.trim_end().parse().ok());
        let damaged = || PublishError::Decided { path: self.path.clone() };
        Ok(Some(Epoch::new(number.ok_or_else(damaged)?)))
    }

    pub(crate) fn write(&self, epoch: Epoch) -> Result<(), FileError> {
        let text = format!("{HEADER}{epoch}\n");
        self.env.files.write_atomic(&self.path, &with_checksum(text.as_bytes()), Mode::Private)
    }

    pub(crate) fn remove(&self) -> Result<(), FileError> {
        self.env.files.remove(&self.path)
    }
}

/// The gRPC service; the publisher does the work.
#[derive(Clone)]
pub(crate) struct EpochServer {
    authority: Authority,
    publisher: mpsc::Sender<Ask>,
}

impl EpochServer {
    pub(crate) fn new(authority: Authority) -> (Self, Asked) {
        let (publisher, asked) = mpsc::channel(QUEUE);
        (Self { authority, publisher }, Asked(asked))
    }

    pub(crate) fn into_service(self) -> EpochServiceServer<Self> {
        EpochServiceServer::new(self)
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let refused = || {
            let message = "this authority publishes nothing now; see its log for what it waits for";
            status::error(Code::Unavailable, NOT_PUBLISHING, message)
        };
        self.publisher.try_send(ask(answer)).map_err(|_| refused())?;
        answered.await.map_err(|_| refused())
    }
}

#[tonic::async_trait]
impl EpochService for EpochServer {
    async fn get_epoch_cost(
        &self,
        _: Request<wire::GetEpochCostRequest>,
    ) -> Result<Response<wire::GetEpochCostResponse>, Status> {
        let cost = self.ask(Ask::Cost).await?;
        let directory = |one: DirectoryCost| wire::DirectoryCost {
            audience: lanyard_wire::common::v1::Audience::from(one.audience).into(),
            rows: one.rows,
            bytes: one.bytes,
            verifiers: one.verifiers,
        };
        Ok(Response::new(wire::GetEpochCostResponse {
            authority: lanyard_wire::common::v1::Authority::from(self.authority).into(),
            live_epoch: cost.live.get(),
            next_epoch: cost.next.get(),
            directories: cost.directories.into_iter().map(directory).collect(),
            sealing_millis: cost.sealing_millis,
            ticks_millis: cost.ticks_millis,
            under_way: cost.under_way,
        }))
    }

    async fn start_epoch(
        &self,
        request: Request<wire::StartEpochRequest>,
    ) -> Result<Response<wire::StartEpochResponse>, Status> {
        let operator = caller(&request)?.clone();
        let reason = request.into_inner().reason;
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON {
            return Err(status::malformed(format!("reason: 1 to {MAX_REASON} bytes expected")));
        }
        let order = Order { operator: operator.to_string(), reason: reason.to_owned() };
        let started = self.ask(|answer| Ask::Start(order, answer)).await?;
        let epoch = started.map_err(|error| refused(&error))?;
        // The reason is free text, which a log must not show: the audit trail has it.
        tracing::warn!(%operator, %epoch, "a new epoch starts out of turn");
        Ok(Response::new(wire::StartEpochResponse { epoch: epoch.get() }))
    }
}

fn refused(error: &PublishError) -> Status {
    match error {
        PublishError::File(FileError::DiskFull { .. }) => status::store_full(error),
        PublishError::Trail(source) if source.is_full() => status::store_full(error),
        error if error.is_damage() => status::store_damaged(error),
        PublishError::Trail(StoreError::Unavailable { .. }) => status::store_unavailable(error),
        error => status::internal(error),
    }
}

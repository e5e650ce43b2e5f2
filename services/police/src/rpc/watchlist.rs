//! `WatchlistService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use lanyard_shareholder::{FaultCount, Pseudonymiser};
use lanyard_store::Store;
use lanyard_transport::{caller, status};
use lanyard_wire::police::v1 as wire;
use lanyard_wire::police::v1::import_watchlist_request::Step;
use lanyard_wire::police::v1::watchlist_service_server::WatchlistService;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{malformed, store_error};
use crate::act::Acting;
use crate::lists::Lists;
use crate::watchlist::{self, Import, ImportError, Source};

/// Longest name of a list in characters.
const MAX_NAME: usize = 64;
/// Longest name of a content in bytes: a hash, and room for others.
const MAX_CONTENT: usize = 64;
/// Progress messages that wait for a slow caller; further ones are left out.
const WAITING: usize = 8;

type Answer = Result<wire::ImportWatchlistResponse, Status>;

/// The service. Clones are the same one.
#[derive(Clone)]
pub(crate) struct WatchlistRpc {
    pub(crate) store: Store,
    pub(crate) lists: Arc<Lists>,
    pub(crate) pseudonymiser: Pseudonymiser,
    pub(crate) acting: Acting,
    /// One import at a time: each takes all cores.
    pub(crate) importing: Arc<Mutex<()>>,
}

#[tonic::async_trait]
impl WatchlistService for WatchlistRpc {
    type ImportWatchlistStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn import_watchlist(
        &self,
        request: Request<Streaming<wire::ImportWatchlistRequest>>,
    ) -> Result<Response<Self::ImportWatchlistStream>, Status> {
        let operator = caller(&request)?.to_string();
        let (sender, receiver) = mpsc::channel(WAITING);
        let service = self.clone();
        tokio::spawn(async move {
            let last = service.import(&operator, request.into_inner(), &sender).await;
            // Whoever asked may be gone; what was imported is, all the same.
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_watchlists(
        &self,
        _request: Request<wire::ListWatchlistsRequest>,
    ) -> Result<Response<wire::ListWatchlistsResponse>, Status> {
        let lists = watchlist::list(&self.store).await.map_err(|error| store_error(&error))?;
        Ok(Response::new(wire::ListWatchlistsResponse { lists }))
    }
}

impl WatchlistRpc {
    async fn import(
        &self,
        operator: &str,
        mut stream: Streaming<wire::ImportWatchlistRequest>,
        sender: &mpsc::Sender<Answer>,
    ) -> Answer {
        let first = stream.message().await?.and_then(|message| message.step);
        let Some(Step::Start(start)) = first else {
            return Err(malformed("step: the first message must be `start`"));
        };
        let list = list_name(&start.list)?;
        if start.content.len() > MAX_CONTENT {
            return Err(malformed(format_args!("content: at most {MAX_CONTENT} bytes")));
        }
        let source = Source { list, content: &start.content, announced: start.entries };
        let batches = futures::stream::try_unfold(stream, |mut stream| async {
            match stream.message().await?.map(|message| message.step) {
                None => Ok(None),
                Some(Some(Step::Entries(batch))) => Ok(Some((batch.entries, stream))),
                Some(_) => Err(malformed("step: `start` comes once, then only entries")),
            }
        });
        let entries =
            batches.map_ok(|batch| futures::stream::iter(batch).map(Ok)).try_flatten().boxed();
        let _importing = self.importing.lock().await;
        let alone = self.store.exclusive("import of a list").await;
        let _alone = alone.map_err(|error| store_error(&error))?;
        let manifest = self.acting.manifests.current();
        let import = Import {
            store: &self.store,
            lists: &self.lists,
            pseudonymiser: &self.pseudonymiser,
            event: &manifest.event,
            env: &self.acting.env,
            act: &|| self.acting.by(operator),
        };
        let mut report = |progress: wire::ImportWatchlistResponse| {
            // A caller that reads slowly misses steps, never the end.
            let _ = sender.try_send(Ok(progress));
        };
        let before = self.pseudonymiser.faults_since(&[]);
        let mut finished = import.run(source, entries, &mut report).await.map_err(failed)?;
        let faults = self.pseudonymiser.faults_since(&before);
        finished.holder_faults = faults.iter().map(FaultCount::to_wire).collect();
        tracing::info!(
            entries = finished.entries,
            resumed = finished.resumed,
            keys = finished.keys,
            without_key = finished.without_key,
            matches = finished.matches,
            "watchlist imported"
        );
        Ok(finished)
    }
}

fn list_name(name: &str) -> Result<&str, Status> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(malformed(format_args!("list: name it, in 1 to {MAX_NAME} characters")));
    }
    Ok(name)
}

/// Quotas and cheating holders are no failure of this service.
fn failed(error: ImportError) -> Status {
    match &error {
        ImportError::Entries(status) => (**status).clone(),
        ImportError::Count { .. } => malformed(&error),
        ImportError::Sealed(error) => status::internal(error),
        ImportError::Pseudonym(problem) => {
            status::error(Code::FailedPrecondition, problem.reason(), error.to_string())
        }
        ImportError::Store(error) => store_error(error),
    }
}

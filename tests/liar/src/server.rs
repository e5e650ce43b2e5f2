//! The liar's service: the feed, and nothing else that the sponsor offers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_core::ids::{Authority, EventId, Origin};
use lanyard_env::Env;
use lanyard_feed::MAX_MESSAGE_BYTES;
use lanyard_party::{
    Folder, IdentityFileError, ManifestStore, ManifestStoreError, PeerError, expected,
    trust_anchors,
};
use lanyard_transport::{
    Acceptor, AcceptorError, AnchorError, ConnectError, Limits, Tls, connect, serve,
};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse, LookupRequest, LookupResponse};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::tamper::{Memory, Mode};

/// Messages on their way to a follower.
const QUEUE: usize = 8;

/// Why a liar cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiarError {
    /// The sponsor's certificate.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// The sponsor's manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestStoreError),
    /// The certificate authorities in it.
    #[error(transparent)]
    Anchors(#[from] AnchorError),
    /// The upstream's name.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The upstream's channel.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The listening side.
    #[error(transparent)]
    Listen(#[from] AcceptorError),
}

/// A sponsor that lies.
pub struct Liar;

/// A running liar; it stops when this is dropped.
pub struct LiarHandle {
    address: SocketAddr,
    event: EventId,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    upstream: FeedServiceClient<Channel>,
    memory: Mutex<HashMap<String, Memory>>,
    /// Ends the streams that run.
    streams: Mutex<CancellationToken>,
    shutdown: CancellationToken,
}

impl Liar {
    /// Listens on `listen` (port 0 takes a free one) with the certificate in the sponsor's folder, and passes on the
    /// feeds of `upstream`: its name (`sponsor`, `committee` or `police`) and `HOST:PORT`.
    ///
    /// # Errors
    /// [`LiarError`].
    pub async fn start(
        env: &Env,
        sponsor: &Path,
        upstream: (&str, &str),
        listen: SocketAddr,
    ) -> Result<LiarHandle, LiarError> {
        let folder = Folder::open(sponsor, env);
        let manifest = ManifestStore::open(&folder)?.current();
        let anchors = trust_anchors(&manifest)?;
        let tls = Tls::new(env, folder.service_identity()?, anchors);
        let (name, address) = upstream;
        let channel = connect(env, &tls, address, &expected(name)?)?;
        let upstream = FeedServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let acceptor = Acceptor::bind(env, listen, &tls, Limits::default()).await?;
        let address = acceptor.local_addr();
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            upstream,
            memory: Mutex::default(),
            streams: Mutex::new(shutdown.child_token()),
            shutdown: shutdown.clone(),
        });
        let service = FeedServiceServer::new(Feed(Arc::clone(&shared)));
        let routes = Routes::new(service).into_axum_router();
        tokio::spawn(serve(routes, acceptor, shutdown.clone()));
        let event = manifest.event.clone();
        Ok(LiarHandle { address, event, shared, _stop: shutdown.drop_guard() })
    }
}

impl LiarHandle {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to treat an authority's feed from its next tick on.
    pub fn set_mode(&self, authority: Authority, mode: Mode) {
        let origin = Origin::new(&self.event, authority);
        self.shared.memory().entry(origin.as_str().to_owned()).or_default().set_mode(mode);
    }

    /// How many ticks of an authority's feed were altered or withheld so far.
    #[must_use]
    pub fn lies(&self, authority: Authority) -> u64 {
        let origin = Origin::new(&self.event, authority);
        self.shared.memory().get(origin.as_str()).map_or(0, Memory::lies)
    }

    /// Ends the streams of all followers; they may come back.
    pub fn cut(&self) {
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.cancel();
        *streams = self.shared.shutdown.child_token();
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> CancellationToken {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes a feed on, altered, until either side ends it.
    async fn relay(
        &self,
        origin: String,
        mut from: Streaming<FollowResponse>,
        to: mpsc::Sender<Result<FollowResponse, Status>>,
    ) {
        loop {
            let steps = match from.message().await {
                Ok(Some(step)) => self.memory().entry(origin.clone()).or_default().pass(step),
                Ok(None) => return,
                Err(status) => {
                    // Whoever follows may be gone.
                    let _ = to.send(Err(status)).await;
                    return;
                }
            };
            for step in steps {
                if to.send(Ok(step)).await.is_err() {
                    return;
                }
            }
        }
    }
}

struct Feed(Arc<Shared>);

#[tonic::async_trait]
impl FeedService for Feed {
    type FollowStream = ReceiverStream<Result<FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        let origin = request.origin.clone();
        let from = self.0.upstream.clone().follow(request).await?.into_inner();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let cut = shared.streams();
            let gone = sender.clone();
            tokio::select! {
                () = shared.relay(origin, from, sender) => {}
                () = gone.closed() => {}
                () = cut.cancelled() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<LookupResponse>, Status> {
        self.0.upstream.clone().lookup(request.into_inner()).await
    }
}

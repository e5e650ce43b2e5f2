//! The gRPC service over the mirrors of a party.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, header};
use lanyard_core::ids::Hash;
use lanyard_core::map::Prefix;
use lanyard_telemetry::metrics;
use lanyard_transport::{Hangup, status};
use lanyard_wire::convert::{WireError, array, audience};
use lanyard_wire::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse, LookupRequest, LookupResponse};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::server::NamedService;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::frame::{Frames, frames};
use crate::intake::directory_key;
use crate::mirror::Mirror;
use crate::plan::Position;
use crate::serve::{Follower, PATIENCE, QUEUE, Serving};
use crate::{DirectoryKey, FeedError};

/// Records that one lookup may return.
pub const MAX_LOOKUP_ROWS: usize = 4_096;

/// The log or directory asked for is not mirrored here.
const NOT_MIRRORED: &str = "NOT_MIRRORED";
/// Too many records lie under the prefix.
const PREFIX_TOO_SHORT: &str = "PREFIX_TOO_SHORT";
/// The newest state has no quorum yet.
const NO_QUORUM: &str = "NO_QUORUM";

/// Directories that a follower may say that it holds.
const MAX_HELD: usize = 64;

/// Bytes of the largest request.
const MAX_REQUEST: usize = 64 * 1_024;

const FOLLOW: &str = "/lanyard.feed.v1.FeedService/Follow";

/// Serves `Follow` and `Lookup` from verified mirrors. Who may call is the transport's policy.
#[derive(Clone)]
pub struct FeedServer {
    mirrors: Arc<[Arc<Mirror>]>,
    patience: Duration,
    shutdown: CancellationToken,
}

impl FeedServer {
    /// Over these mirrors; streams end when `shutdown` is cancelled.
    #[must_use]
    pub fn new(
        mirrors: impl IntoIterator<Item = Arc<Mirror>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { mirrors: mirrors.into_iter().collect(), patience: PATIENCE, shutdown }
    }

    /// Lets a follower go that takes nothing for so long; a minute by default.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_service(self) -> FeedRoutes {
        let others = FeedServiceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST);
        FeedRoutes { feed: self, others }
    }

    /// Begins to serve a follower. `hangup` ends its connection.
    fn begin(&self, request: &FollowRequest, hangup: Option<Hangup>) -> Result<Frames, Status> {
        let mirror = self.mirror(&request.origin)?;
        let (sender, frames) = frames(QUEUE);
        let (patience, shutdown) = (self.patience, self.shutdown.clone());
        let serving = mirror.serving(request, Follower { sender, patience, hangup, shutdown })?;
        let following = metrics::FEED_FOLLOWERS.hold([mirror.authority().name()]);
        tokio::spawn(async move {
            let _following = following;
            serving.run().await;
        });
        Ok(frames)
    }

    fn mirror(&self, origin: &str) -> Result<Arc<Mirror>, Status> {
        let found = self.mirrors.iter().find(|mirror| mirror.origin().as_str() == origin);
        found.cloned().ok_or_else(|| {
            status::error(Code::NotFound, NOT_MIRRORED, "that log is not mirrored here")
        })
    }
}

#[tonic::async_trait]
impl FeedService for FeedServer {
    type FollowStream = Frames;

    /// For callers within the process; over the wire, [`FeedRoutes`] sends frames as they are.
    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        self.begin(request.get_ref(), None).map(Response::new)
    }

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<LookupResponse>, Status> {
        let request = request.into_inner();
        let mirror = self.mirror(&request.origin)?;
        let key = directory_key(request.directory.as_ref()).map_err(refuse)?;
        let prefix = parse_prefix(&request)?;
        let tick = Duration::from_millis(u64::from(mirror.manifests.current().tick_millis));
        let found = mirror
            .when_provable(tick, |view| view.prove_prefix(key, prefix, request.known_size))
            .await;
        let proven = found.map_err(|error| lookup_refused(error, request.known_size))?;
        Ok(Response::new(proven))
    }
}

/// The service on the wire. Its `Follow` sends bytes that are shared by all followers; tonic's own would encode each message
/// for each of them.
#[derive(Clone)]
pub struct FeedRoutes {
    feed: FeedServer,
    others: FeedServiceServer<FeedServer>,
}

impl NamedService for FeedRoutes {
    const NAME: &'static str = FeedServiceServer::<FeedServer>::NAME;
}

impl Service<http::Request<Body>> for FeedRoutes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.others, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != FOLLOW {
            return self.others.call(request);
        }
        let feed = self.feed.clone();
        async move { Ok(feed.answer(request).await.unwrap_or_else(Status::into_http)) }.boxed()
    }
}

impl FeedServer {
    /// Answers a `Follow` on the wire.
    async fn answer(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let hangup = request.extensions().get::<Hangup>().cloned();
        let decoder = ProstCodec::<FollowResponse, FollowRequest>::default().decoder();
        let body = request.into_body();
        let mut requests = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST));
        let request = requests.message().await?;
        let request = request.ok_or_else(|| status::malformed("there is no request"))?;
        let mut response = http::Response::new(Body::new(self.begin(&request, hangup)?));
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, grpc);
        Ok(response)
    }
}

impl Mirror {
    /// What a follower with this request gets, within this process and at the receiver's pace: nothing waits for it. Ends
    /// with `shutdown`, when nothing was taken for a minute, or when the stream is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// The status that a follower would get.
    pub fn stream(
        self: &Arc<Self>,
        request: &FollowRequest,
        shutdown: CancellationToken,
    ) -> Result<Frames, Status> {
        let (sender, frames) = frames(QUEUE);
        let follower = Follower { sender, patience: PATIENCE, hangup: None, shutdown };
        tokio::spawn(self.serving(request, follower)?.run());
        Ok(frames)
    }

    fn serving(
        self: &Arc<Self>,
        request: &FollowRequest,
        follower: Follower,
    ) -> Result<Serving, Status> {
        let position = position(self, request)?;
        Ok(Serving::new(Arc::clone(self), position, request.manifest_version, follower))
    }
}

fn lookup_refused(error: FeedError, known_size: u64) -> Status {
    match error {
        FeedError::UnknownDirectory { .. } => {
            status::error(Code::NotFound, NOT_MIRRORED, "that directory is not mirrored here")
        }
        FeedError::TooMuch { .. } => {
            let message = format!("more than {MAX_LOOKUP_ROWS} records; use a longer prefix");
            status::error(Code::OutOfRange, PREFIX_TOO_SHORT, message)
        }
        FeedError::NotProvable { .. } => {
            status::error(Code::Unavailable, NO_QUORUM, "not cosigned yet; ask again")
        }
        FeedError::Log(_) => {
            let message = format!("known_size: {known_size} is ahead of this mirror's quorum");
            status::error(Code::FailedPrecondition, crate::serve::BEHIND, message)
        }
        error => status::internal(&error),
    }
}

fn refuse(error: impl std::fmt::Display) -> Status {
    status::malformed(error.to_string())
}

fn position(mirror: &Mirror, request: &FollowRequest) -> Result<Position, Status> {
    let audiences = request.audiences.iter().map(|value| audience(*value));
    let mut audiences = audiences.collect::<Result<Vec<_>, _>>().map_err(refuse)?;
    if audiences.is_empty() {
        audiences = mirror.audiences().to_vec();
    }
    if let Some(other) = audiences.iter().find(|one| !mirror.audiences().contains(one)) {
        let message = format!("directories for {other} are not mirrored here");
        return Err(status::error(Code::NotFound, NOT_MIRRORED, message));
    }
    let root = match (request.log_size, request.log_root.as_slice()) {
        (0, []) => None,
        (0, root) => {
            let found = root.len();
            return Err(refuse(WireError::Size { field: "log_root", expected: 0, found }));
        }
        (_, root) => Some(Hash::new(array("log_root", root).map_err(refuse)?)),
    };
    if request.directories.len() > MAX_HELD {
        return Err(refuse(format_args!("directories: more than {MAX_HELD}")));
    }
    let directories = request.directories.iter().map(|id| directory_key(Some(id)));
    let directories = directories.collect::<Result<BTreeSet<DirectoryKey>, _>>().map_err(refuse)?;
    Ok(Position { audiences, size: request.log_size, root, directories })
}

fn parse_prefix(request: &LookupRequest) -> Result<Prefix, Status> {
    let bits = u8::try_from(request.prefix_bits).ok().filter(|bits| *bits <= Prefix::MAX_BITS);
    let bits = bits.ok_or_else(|| refuse("prefix_bits: at most 64"))?;
    let expected = usize::from(bits).div_ceil(8);
    let found = request.prefix.len();
    if found != expected {
        return Err(refuse(WireError::Size { field: "prefix", expected, found }));
    }
    let mut top = [0; 8];
    top[..found].copy_from_slice(&request.prefix);
    Prefix::new(bits, u64::from_be_bytes(top)).map_err(refuse)
}

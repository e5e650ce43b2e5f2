//! The gRPC service over the mirrors of a party.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::Hash;
use lanyard_core::map::Prefix;
use lanyard_telemetry::metrics;
use lanyard_transport::status;
use lanyard_wire::convert::{WireError, array, audience};
use lanyard_wire::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse, LookupRequest, LookupResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use crate::intake::directory_key;
use crate::mirror::Mirror;
use crate::plan::Position;
use crate::serve::{QUEUE, Serving};
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

/// Serves `Follow` and `Lookup` from verified mirrors. Who may call is the transport's policy.
#[derive(Clone)]
pub struct FeedServer {
    mirrors: Arc<[Arc<Mirror>]>,
    shutdown: CancellationToken,
}

impl FeedServer {
    /// Over these mirrors; streams end when `shutdown` is cancelled.
    #[must_use]
    pub fn new(
        mirrors: impl IntoIterator<Item = Arc<Mirror>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { mirrors: mirrors.into_iter().collect(), shutdown }
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_service(self) -> FeedServiceServer<Self> {
        FeedServiceServer::new(self)
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
    type FollowStream = ReceiverStream<Result<FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        let mirror = self.mirror(&request.origin)?;
        let position = position(&mirror, &request)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (version, authority) = (request.manifest_version, mirror.authority());
        let serving = Serving::new(mirror, position, version, sender, self.shutdown.clone());
        let following = metrics::FEED_FOLLOWERS.hold([authority.name()]);
        tokio::spawn(async move {
            let _following = following;
            serving.run().await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
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

//! Followers that ask for what gates ask for, and read it, or do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::StreamExt as _;
use lanyard_ceremony::Member;
use lanyard_core::ids::{Audience, Authority, Origin};
use lanyard_feed::MAX_MESSAGE_BYTES;
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_transport::{Tls, connect};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Streaming;
use tonic::transport::Channel;

use super::event::{World, gate_name};
use super::{Failure, Threads};

/// Handshakes under way: the mirror takes no more of one address.
const CONNECTING: usize = 32;

/// How many there are, and how many of them stop to read.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) total: usize,
    pub(crate) stalled: usize,
}

#[derive(Default)]
struct Counters {
    ticks: AtomicU64,
    ended: AtomicUsize,
}

/// All followers, on a thread of their own.
pub(crate) struct Followers {
    counters: Arc<Counters>,
    _stop: DropGuard,
    _threads: Threads,
}

/// One of them before it is connected.
struct Follower {
    channel: Channel,
    origins: [String; 2],
    reads: bool,
}

impl Followers {
    /// Connects all of them, spread over the sources, under the certificates of the gates; each follows both authorities.
    pub(crate) async fn connect(
        world: &World,
        gates: usize,
        sources: &[Member],
        reading: Reading,
    ) -> Result<Self, Failure> {
        let threads = Threads::elsewhere()?;
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let mut identities = Vec::new();
        for number in 1..=gates {
            let folder = Folder::open(world.folder(&gate_name(number))?, world.env());
            let manifest = ManifestStore::open(&folder)?.current();
            identities.push(Tls::new(
                world.env(),
                folder.service_identity()?,
                trust_anchors(&manifest)?,
            ));
        }
        let origins = Authority::ALL
            .map(|authority| Origin::new(world.event(), authority).as_str().to_owned());
        let mut followers = Vec::with_capacity(reading.total);
        for number in 0..reading.total {
            let source = &sources[number % sources.len()];
            let tls = &identities[number % identities.len()];
            let address = world.address(source)?.to_string();
            let channel = connect(world.env(), tls, &address, &expected(source.name())?)?;
            followers.push(Follower {
                channel,
                origins: origins.clone(),
                reads: number >= reading.stalled,
            });
        }
        let connecting = connect_all(followers, Arc::clone(&counters), stop.clone());
        threads.spawn(connecting)?.await??;
        Ok(Self { counters, _stop: stop.drop_guard(), _threads: threads })
    }

    /// Ticks that followers have read, each counted for itself.
    pub(crate) fn ticks(&self) -> u64 {
        self.counters.ticks.load(Ordering::Relaxed)
    }

    /// Whether nobody who reads was let go.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.counters.ended.load(Ordering::Relaxed) {
            0 => Ok(()),
            ended => Err(format!("{ended} streams of followers that read have ended").into()),
        }
    }
}

async fn connect_all(
    followers: Vec<Follower>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let begin = |follower: Follower| {
        let (counters, stop) = (Arc::clone(&counters), stop.clone());
        async move {
            for origin in &follower.origins {
                let stream = begin(follower.channel.clone(), origin).await?;
                let counters = Arc::clone(&counters);
                if follower.reads {
                    tokio::spawn(stop.clone().run_until_cancelled_owned(read(stream, counters)));
                } else {
                    // It holds the stream and reads nothing more.
                    let held = async move {
                        std::future::pending::<()>().await;
                        drop(stream);
                    };
                    tokio::spawn(stop.clone().run_until_cancelled_owned(held));
                }
            }
            Ok::<(), Failure>(())
        }
    };
    let mut begun =
        futures::stream::iter(followers.into_iter().map(begin)).buffer_unordered(CONNECTING);
    while let Some(begun) = begun.next().await {
        begun?;
    }
    Ok(())
}

/// Follows, and reads until the first tick.
async fn begin(channel: Channel, origin: &str) -> Result<Streaming<FollowResponse>, Failure> {
    let mut client = FeedServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let audience = lanyard_wire::common::v1::Audience::from(Audience::Gate);
    let request = FollowRequest {
        origin: origin.to_owned(),
        audiences: vec![audience.into()],
        ..FollowRequest::default()
    };
    let mut stream = client.follow(request).await?.into_inner();
    loop {
        let response = stream.message().await?.ok_or("a stream ended before its first tick")?;
        if matches!(response.update, Some(Update::Tick(_))) {
            return Ok(stream);
        }
    }
}

async fn read(mut stream: Streaming<FollowResponse>, counters: Arc<Counters>) {
    while let Ok(Some(response)) = stream.message().await {
        if matches!(response.update, Some(Update::Tick(_))) {
            counters.ticks.fetch_add(1, Ordering::Relaxed);
        }
    }
    counters.ended.fetch_add(1, Ordering::Relaxed);
}

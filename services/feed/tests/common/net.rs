//! Mirrors over TCP, and what stands between them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lanyard_core::map::Delta;
use lanyard_core::note::Note;
use lanyard_feed::{FeedServer, Mirror, Standing, SyncState, Upstream, UpstreamState, follow};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse, LookupRequest, LookupResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use super::{World, row};

pub fn world() -> World {
    let mut world = World::new();
    // Five ticks are half a second here.
    world.manifest.tick_millis = 200;
    world
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves a mirror's feed until the guard is dropped.
pub async fn serve(server: FeedServer) -> (SocketAddr, DropGuard) {
    let (listener, address) = listen().await;
    (address, serve_on(listener, server.into_service()))
}

/// Serves what a proxy makes of it.
pub async fn serve_proxy(proxy: Proxy) -> (SocketAddr, DropGuard) {
    let (listener, address) = listen().await;
    (address, serve_on(listener, feed_service(proxy)))
}

/// Serves until the guard is dropped; open connections end with it.
pub fn serve_on<S>(listener: TcpListener, service: S) -> DropGuard
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let token = CancellationToken::new();
    let router = Server::builder().add_service(service);
    let incoming = TcpListenerStream::new(listener);
    let stop = token.clone();
    // A runtime of its own: tonic's tasks for connections would outlive a task.
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                served = router.serve_with_incoming(incoming) => served.unwrap(),
                () = stop.cancelled() => {}
            }
        });
        runtime.shutdown_background();
    });
    token.drop_guard()
}

pub fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

pub fn upstream(name: &str, address: SocketAddr) -> Upstream {
    Upstream { name: name.into(), channel: channel(address) }
}

/// A mirror that follows until this is dropped.
pub struct Following {
    pub sync: watch::Receiver<SyncState>,
    _stop: DropGuard,
}

impl Following {
    /// How an upstream does.
    pub fn of(&self, name: &str) -> UpstreamState {
        let sync = self.sync.borrow();
        let known = sync.upstreams.iter().find(|state| state.name == name).cloned();
        // Before following began.
        known.unwrap_or_else(|| UpstreamState {
            name: name.into(),
            standing: Standing::Waiting,
            problem: None,
            times_left: 0,
        })
    }

    pub fn uses(&self, name: &str) -> bool {
        let used = self.sync.borrow().upstream.as_deref() == Some(name);
        used && self.of(name).standing == Standing::InUse
    }

    /// What was wrong with an upstream when it was left last.
    pub fn problem(&self, name: &str) -> String {
        self.of(name).problem.map(|last| last.problem).unwrap_or_default()
    }
}

/// Passes connections on, and what the server sends at so many bytes a second, which can be changed.
pub async fn throttled(to: SocketAddr, rate: &Arc<AtomicU64>) -> (SocketAddr, DropGuard) {
    let (listener, address) = listen().await;
    let token = CancellationToken::new();
    let (stop, rate) = (token.clone(), Arc::clone(rate));
    tokio::spawn(async move {
        while let Some(Ok((client, _))) = stop.run_until_cancelled(listener.accept()).await {
            let (stop, rate) = (stop.clone(), Arc::clone(&rate));
            tokio::spawn(async move {
                stop.run_until_cancelled(pass_on(client, to, &rate)).await;
            });
        }
    });
    (address, token.drop_guard())
}

async fn pass_on(client: TcpStream, to: SocketAddr, rate: &AtomicU64) {
    const STEP: Duration = Duration::from_millis(20);
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = tokio::io::copy(&mut from_client, &mut to_server);
    let answering = async {
        let mut buffer = vec![0; 1 << 20];
        loop {
            tokio::time::sleep(STEP).await;
            // At full speed, a buffer a step.
            let bytes = (rate.load(Ordering::Relaxed) / 50).min(1 << 20) as usize;
            if bytes == 0 {
                continue;
            }
            match from_server.read(&mut buffer[..bytes]).await {
                Ok(0) | Err(_) => return,
                Ok(read) if to_client.write_all(&buffer[..read]).await.is_err() => return,
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        _ = asking => {}
        () = answering => {}
    }
}

pub fn start(mirror: &Arc<Mirror>, upstreams: Vec<Upstream>) -> Following {
    let (sender, sync) = watch::channel(SyncState::default());
    let token = CancellationToken::new();
    tokio::spawn(follow(Arc::clone(mirror), upstreams, sender, token.clone()));
    Following { sync, _stop: token.drop_guard() }
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// Lies about whatever passes, as a test's proxy does.
pub struct Proxy {
    pub inner: FeedServer,
    pub lie: Lie,
}

/// Keeps `to` up to date with what `from` had so long ago, until the guard is dropped.
pub fn delayed(from: &Arc<Mirror>, to: &Arc<Mirror>, by: Duration) -> DropGuard {
    let (server, request) = (super::server(from), Request::new(to.follow_request()));
    let mut intake = to.intake("delayed");
    let token = CancellationToken::new();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut stream = server.follow(request).await.unwrap().into_inner();
        while let Some(response) = stream.next().await {
            if sender.send((Instant::now(), response.unwrap())).is_err() {
                return;
            }
        }
    });
    let stop = token.clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        while let Some((came, response)) = receiver.recv().await {
            tokio::time::sleep_until(came + by).await;
            intake.apply(response).unwrap();
        }
    }));
    token.drop_guard()
}

/// How.
#[derive(Clone, Copy)]
pub enum Lie {
    ForgeDeltas,
    Stall,
    WithholdKeys,
    Garbage,
    Dawdle,
    WithholdDirectory,
    WithholdCosignatures,
    Chatter,
}

#[tonic::async_trait]
impl FeedService for Proxy {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowResponse, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let lie = self.lie;
        let stream = self.inner.follow(request).await?.into_inner();
        let stream = stream.then(move |response| async move {
            let is_tick =
                matches!(&response, Ok(one) if matches!(one.update, Some(Update::Tick(_))));
            if matches!(lie, Lie::Dawdle) && is_tick {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            response
        });
        let stream = stream.filter_map(move |response| {
            let mut response = response.ok()?;
            match (lie, &mut response.update) {
                (Lie::ForgeDeltas, Some(Update::Tick(tick))) => {
                    for delta in &mut tick.deltas {
                        let forged = Delta::new(vec![], vec![row(1, 77)]).unwrap();
                        delta.delta = forged.to_bytes().into();
                    }
                }
                (Lie::Garbage, Some(Update::Tick(tick))) => tick.head = vec![7; 900].into(),
                (Lie::WithholdKeys, Some(Update::Key(_))) => return None,
                (Lie::WithholdCosignatures, Some(Update::Cosigned(_))) => return None,
                (Lie::WithholdCosignatures, Some(Update::Tick(tick))) => {
                    tick.checkpoint = uncosigned(&tick.checkpoint);
                }
                (Lie::WithholdDirectory, Some(Update::Snapshot(_))) => return None,
                // Says something all the time, and never anything new.
                (Lie::Chatter, Some(Update::Tick(_))) => return None,
                (Lie::Stall, _) => return None,
                _ => {}
            }
            Some(Ok(response))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<LookupResponse>, Status> {
        self.inner.lookup(request).await
    }
}

/// A checkpoint with the signature of its log alone.
fn uncosigned(checkpoint: &str) -> String {
    let signed = Note::parse(checkpoint).unwrap();
    let mut bare = Note::unsigned(signed.text()).unwrap();
    bare.add(signed.signatures()[0].clone()).unwrap();
    bare.to_string()
}

pub fn feed_service(proxy: Proxy) -> FeedServiceServer<Proxy> {
    FeedServiceServer::new(proxy)
}

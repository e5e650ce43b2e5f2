//! Parties with their authorities, and a service with a few routes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use futures::future::BoxFuture;
use http::Response;
use http::uri::PathAndQuery;
use lanyard_core::ids::Timestamp;
use lanyard_env::{Env, ManualClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::certificates::{CertificateAuthority, make_csr};
use crate::policy::{Caller, Kind, Policy, Rule};
use crate::serve::serve_with;
use crate::{
    Acceptor, CallObserver, Expected, Identity, Limits, PartyName, PeerId, Role, Tls, TrustAnchors,
    caller, connect,
};

pub(super) const FROM: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_100_000);
pub(super) const UNTIL: Timestamp = Timestamp::from_seconds(1_900_000_000);

/// Replies with what was sent and who sent it.
pub(super) const SAY: &str = "/test.Echo/Say";
/// Takes half a second.
pub(super) const SLOW: &str = "/test.Echo/Slow";
/// The same, but of the streaming kind.
pub(super) const SLOW_STREAM: &str = "/test.Echo/SlowStream";
/// Plain HTTP: replies with what was sent, a hundred thousand times if that is `large`.
pub(super) const HTTP: &str = "/echo";

const CALLERS: &[Caller] = &[
    Caller { party: PartyName::Committee, role: Role::Service },
    Caller { party: PartyName::Police, role: Role::Service },
];

const RULES: &[Rule] = &[
    Rule { rpc: SAY, kind: Kind::Unary, callers: CALLERS, own_party_only: false },
    Rule { rpc: SLOW, kind: Kind::Unary, callers: CALLERS, own_party_only: false },
    Rule { rpc: SLOW_STREAM, kind: Kind::Stream, callers: CALLERS, own_party_only: false },
    Rule { rpc: HTTP, kind: Kind::Http, callers: CALLERS, own_party_only: false },
];

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(RULES));

pub(super) struct World {
    pub(super) env: Env,
    pub(super) clock: ManualClock,
    pub(super) anchors: TrustAnchors,
    authorities: HashMap<PartyName, CertificateAuthority>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = ManualClock::new(NOW);
        let authorities: HashMap<_, _> =
            PartyName::ALL.iter().map(|&party| (party, authority(party))).collect();
        let pems = authorities.iter().map(|(&party, ca)| (party, ca.certificate_pem()));
        let anchors = TrustAnchors::from_pem(pems).unwrap();
        Self { env: Env::for_test(clock.clone()), clock, anchors, authorities }
    }

    pub(super) fn identity(&self, peer: &PeerId) -> Identity {
        let (chain, key) = issue(&self.authorities[&peer.party()], peer, FROM, UNTIL);
        Identity::from_pem(&chain, &key).unwrap()
    }

    pub(super) fn authority(&self, party: PartyName) -> &CertificateAuthority {
        &self.authorities[&party]
    }

    pub(super) fn tls(&self, identity: Identity) -> Tls {
        Tls::new(&self.env, identity, self.anchors.clone())
    }

    /// The committee's service as a client of the police.
    pub(super) fn committee(&self) -> Tls {
        self.tls(self.identity(&peer("spiffe://committee/service/main")))
    }

    /// Starts the police's service.
    pub(super) async fn serve(&self, limits: Limits) -> Server {
        self.serve_as(self.identity(&peer("spiffe://police/service/main")), limits).await
    }

    pub(super) async fn serve_as(&self, identity: Identity, limits: Limits) -> Server {
        let tls = self.tls(identity);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let acceptor = Acceptor::bind(&self.env, loopback, &tls, limits).await.unwrap();
        self.serve_on(acceptor)
    }

    /// Starts the police's service with somebody who hears of calls.
    pub(super) async fn serve_observed(&self, observer: Arc<dyn CallObserver>) -> Server {
        let tls = self.tls(self.identity(&peer("spiffe://police/service/main")));
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Acceptor::bind(&self.env, loopback, &tls, Limits::default()).await;
        self.serve_on(bound.unwrap().observed_by(observer))
    }

    fn serve_on(&self, acceptor: Acceptor) -> Server {
        let address = acceptor.local_addr().to_string();
        let shutdown = CancellationToken::new();
        let serving = serve_with(&POLICY, routes(), acceptor, shutdown.clone());
        Server { address, shutdown, task: tokio::spawn(serving) }
    }

    pub(super) fn channel(&self, tls: &Tls, server: &Server) -> Channel {
        connect(&self.env, tls, &server.address, &Expected::party(PartyName::Police)).unwrap()
    }
}

pub(super) struct Server {
    pub(super) address: String,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

pub(super) fn authority(party: PartyName) -> CertificateAuthority {
    CertificateAuthority::generate(party, FROM, UNTIL).unwrap()
}

pub(super) fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

/// Certificate and key of `peer`.
pub(super) fn issue(
    authority: &CertificateAuthority,
    peer: &PeerId,
    from: Timestamp,
    until: Timestamp,
) -> (Vec<u8>, Vec<u8>) {
    let request = make_csr(peer).unwrap();
    let chain = authority.issue(peer, &request.csr_pem, from, until).unwrap();
    (chain.into_bytes(), request.key_pem.as_bytes().to_vec())
}

/// One unary call.
pub(super) async fn call(channel: Channel, path: &'static str) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = tonic::Request::new("hello".to_owned());
    let codec = ProstCodec::<String, String>::default();
    Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
}

/// The code and Lanyard reason of a failed call.
pub(super) fn refusal(result: Result<String, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), crate::status::reason(&status).unwrap_or_default())
}

fn routes() -> Router {
    async fn grpc(request: Request, delay: Duration) -> Response<tonic::body::Body> {
        let codec = ProstCodec::<String, String>::default();
        tonic::server::Grpc::new(codec).unary(Echo(delay), request).await
    }
    let slow = |request: Request| grpc(request, Duration::from_millis(500));
    Router::new()
        .route(SAY, post(|request: Request| grpc(request, Duration::ZERO)))
        .route(SLOW, post(slow))
        .route(SLOW_STREAM, post(slow))
        .route(
            HTTP,
            post(async |body: String| if body == "large" { body.repeat(100_000) } else { body }),
        )
}

#[derive(Clone)]
struct Echo(Duration);

impl tonic::server::UnaryService<String> for Echo {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let delay = self.0;
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            let reply = format!("{} from {}", request.get_ref(), caller(&request)?);
            Ok(tonic::Response::new(reply))
        })
    }
}

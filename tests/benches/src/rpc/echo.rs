//! A bare tonic server under mTLS that answers every request with the same response.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use lanyard_transport::PartyName;
use lanyard_wire::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use lanyard_wire::feed::v1::{FollowRequest, FollowResponse, LookupRequest, LookupResponse};
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::gate::v1::gate_service_server::{GateService, GateServiceServer};
use prost::Message as _;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use super::server::{Kind, announce};
use super::{Failure, pki, response_file};

pub(crate) async fn serve(kind: Kind, dir: &Path) -> Result<(), Failure> {
    let response = std::fs::read(response_file(dir, kind))?;
    let acceptor = TlsAcceptor::from(Arc::new(config(dir, kind.party())?));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    announce(listener.local_addr()?);
    let incoming = futures::stream::unfold((listener, acceptor), |(listener, acceptor)| async {
        let accepted = accept(&listener, &acceptor).await;
        Some((accepted, (listener, acceptor)))
    });
    let incoming = incoming.filter(|accepted| std::future::ready(accepted.is_ok()));
    let mut server = Server::builder();
    let router = match kind {
        Kind::GateEcho => {
            let response = gate::CheckResponse::decode(response.as_slice())?;
            server.add_service(GateServiceServer::new(GateEcho(response)))
        }
        _ => {
            let response = LookupResponse::decode(response.as_slice())?;
            server.add_service(FeedServiceServer::new(FeedEcho(response)))
        }
    };
    Ok(router.serve_with_incoming(incoming).await?)
}

fn config(dir: &Path, party: PartyName) -> Result<rustls::ServerConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pki::callers_authority(dir)?)?)?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let [chain, key] = pki::files(dir, party)?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients.build()?)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> io::Result<Io> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(Io(acceptor.accept(stream).await?))
}

/// A TLS stream as tonic wants it.
struct Io(TlsStream<TcpStream>);

impl Connected for Io {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct GateEcho(gate::CheckResponse);

#[tonic::async_trait]
impl GateService for GateEcho {
    type CheckStreamStream = ResponseStream<gate::CheckStreamResponse>;
    type ExportReceiptsStream = ResponseStream<gate::ExportReceiptsResponse>;

    async fn check(
        &self,
        _: Request<gate::CheckRequest>,
    ) -> Result<Response<gate::CheckResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn check_stream(
        &self,
        request: Request<Streaming<gate::CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let response = self.0.clone();
        let answers = request.into_inner().map(move |message| {
            let results = vec![response.clone(); message?.checks.len()];
            Ok(gate::CheckStreamResponse { results })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn r#override(
        &self,
        _: Request<gate::OverrideRequest>,
    ) -> Result<Response<gate::OverrideResponse>, Status> {
        Err(other())
    }

    async fn get_sync_state(
        &self,
        _: Request<gate::GetSyncStateRequest>,
    ) -> Result<Response<gate::GetSyncStateResponse>, Status> {
        Err(other())
    }

    async fn export_receipts(
        &self,
        _: Request<gate::ExportReceiptsRequest>,
    ) -> Result<Response<Self::ExportReceiptsStream>, Status> {
        Err(other())
    }

    async fn export_attestations(
        &self,
        _: Request<gate::ExportAttestationsRequest>,
    ) -> Result<Response<gate::ExportAttestationsResponse>, Status> {
        Err(other())
    }
}

struct FeedEcho(LookupResponse);

#[tonic::async_trait]
impl FeedService for FeedEcho {
    type FollowStream = ResponseStream<FollowResponse>;

    async fn follow(
        &self,
        _: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        Err(other())
    }

    async fn lookup(&self, _: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

fn other() -> Status {
    Status::unimplemented("the echo answers what is measured")
}

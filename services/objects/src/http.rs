//! The HTTP client of the object store crate, over this process's own network: `lanyard_env::Network` connects, so that
//! what cuts, delays or simulates the network reaches object stores, too.
//!
//! What is not behind the seam: the crate signs requests with the system's time and draws the jitter of its retries itself,
//! and it reads and writes folders itself. Nothing that a verdict stands on depends on either.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http_body_util::BodyExt as _;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lanyard_env::{Env, Files, Stream};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_rustls::TlsConnector;

use crate::error::ObjectsError;

/// How long it may take until a connection stands, and until the answer to a request begins.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections that wait for their next request are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a store was not reached. Says the address and no more.
#[derive(Debug, Error)]
enum HttpProblem {
    #[error("{0}")]
    Connect(String),
    #[error(
        "{authority} did not answer within {seconds} s; check the address, and that the store is not overloaded"
    )]
    TimedOut { authority: String, seconds: u64 },
    #[error("{authority} broke the connection: {problem}")]
    Broken { authority: String, problem: String },
}

/// Makes the store crate's clients.
#[derive(Clone)]
pub(crate) struct EnvConnector {
    env: Env,
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for EnvConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnvConnector")
    }
}

impl EnvConnector {
    /// Trusts the certificate authorities of a file, or the system's.
    pub(crate) fn new(env: &Env, ca: Option<&Path>) -> Result<Self, ObjectsError> {
        let roots = match ca {
            Some(path) => roots_of(&*env.files, path)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { env: env.clone(), tls: Arc::new(tls) })
    }
}

fn roots_of(files: &dyn Files, path: &Path) -> Result<RootCertStore, ObjectsError> {
    let refused = |problem: String| ObjectsError::Authority { path: PathBuf::from(path), problem };
    let pem = files.read(path).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("it holds no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}

impl HttpConnector for EnvConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(Dial { env: self.env.clone(), tls: Arc::clone(&self.tls) });
        Ok(HttpClient::new(Service { client }))
    }
}

#[derive(Debug)]
struct Service {
    client: Client<Dial, HttpRequestBody>,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let authority = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, self.client.request(request)).await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(explain(authority, &error)),
            Err(_) => {
                let seconds = ANSWER_TIMEOUT.as_secs();
                let problem = HttpProblem::TimedOut { authority, seconds };
                return Err(HttpError::new(HttpErrorKind::Timeout, problem));
            }
        };
        Ok(answer.map(|body| {
            HttpResponseBody::new(body.map_err(move |error| {
                let (authority, problem) = (authority.clone(), error.to_string());
                HttpError::new(
                    HttpErrorKind::Interrupted,
                    HttpProblem::Broken { authority, problem },
                )
            }))
        }))
    }
}

fn explain(authority: String, error: &ClientError) -> HttpError {
    if error.is_connect() {
        // Ours, which names the address.
        let cause = std::error::Error::source(error);
        let problem =
            HttpProblem::Connect(cause.map_or_else(|| error.to_string(), ToString::to_string));
        return HttpError::new(HttpErrorKind::Connect, problem);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let problem = HttpProblem::Broken { authority, problem: cause.to_string() };
    HttpError::new(HttpErrorKind::Interrupted, problem)
}

/// Connects, with TLS for `https`.
#[derive(Clone)]
struct Dial {
    env: Env,
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dial")
    }
}

impl Dial {
    async fn dial(self, uri: Uri) -> io::Result<Connecting> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().to_owned();
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }));
        let connecting = async {
            let stream = self.env.connect(&address).await.map_err(io::Error::other)?;
            if !is_tls {
                return Ok(Connecting(TokioIo::new(stream)));
            }
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare).map_err(io::Error::other)?;
            let secure = TlsConnector::from(self.tls).connect(name, stream).await;
            let secure = secure.map_err(|error| {
                let advice = "check the address, and that [objects] ca names the store's certificate authority";
                io::Error::other(format!("{address}: {error}; {advice}"))
            })?;
            Ok(Connecting(TokioIo::new(Box::new(secure) as Stream)))
        };
        let limit = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        limit.unwrap_or_else(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            Err(io::Error::other(HttpProblem::TimedOut { authority: address.clone(), seconds }))
        })
    }
}

impl tower::Service<Uri> for Dial {
    type Response = Connecting;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Connecting>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A connection, as hyper wants it.
struct Connecting(TokioIo<Stream>);

impl Connection for Connecting {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Connecting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Connecting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

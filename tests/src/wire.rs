//! Callers that send any bytes under any certificate or none.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;

use crate::identities::Certified;

/// Longest wait for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer's body may stay open before it counts as a stream that goes on.
const STREAM_PATIENCE: Duration = Duration::from_millis(1_500);
/// Bytes of an answer that are kept.
const KEPT: usize = 64 * 1024;

/// Whoever calls: with a certificate or without.
#[derive(Clone)]
pub struct Caller(Arc<ClientConfig>);

/// A connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// By a TLS alert: the certificate.
    Alert(AlertDescription),
    /// By closing it without a word.
    Closed,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub http: u16,
    /// The gRPC code; `None` if the answer is a stream that goes on, or no gRPC.
    pub code: Option<Code>,
    /// The gRPC message.
    pub message: String,
    /// The beginning of the answer's bytes.
    pub body: Bytes,
}

impl Reply {
    /// Whether policy refused the call.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.http == 403
            || matches!(self.code, Some(Code::PermissionDenied | Code::Unauthenticated))
    }
}

impl Caller {
    /// Without a certificate.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(None)
    }

    /// With a certificate.
    #[must_use]
    pub fn with(certified: &Certified) -> Self {
        Self::new(Some(certified))
    }

    fn new(certified: Option<&Certified>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3 is there")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
        let mut config = match certified {
            None => builder.with_no_client_auth(),
            Some(Certified { chain_pem, key_pem }) => {
                let chain = CertificateDer::from_pem_slice(chain_pem.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(vec![chain], key).expect("they go together")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.enable_sni = false;
        Self(Arc::new(config))
    }

    /// Connects, and waits for the service's first bytes: only they tell that the certificate was accepted.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// # Panics
    /// If nothing listens there, or it neither accepts nor refuses in time.
    pub async fn connect(&self, address: SocketAddr) -> Result<Connection, Refused> {
        let connecting = async {
            let stream = TcpStream::connect(address).await.expect("the service listens");
            stream.set_nodelay(true).expect("a socket");
            let name = ServerName::try_from("lanyard.invalid").expect("a name");
            let stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await;
            let mut stream = BufReader::with_capacity(64, stream.map_err(|error| refusal(&error))?);
            match stream.fill_buf().await {
                Ok([]) => return Err(Refused::Closed),
                Ok(_) => {}
                Err(error) => return Err(refusal(&error)),
            }
            let handshake =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await.map_err(|_| Refused::Closed)?;
            tokio::spawn(connection);
            Ok(Connection { sender })
        };
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        connected.unwrap_or_else(|_| panic!("{address} neither accepts nor refuses"))
    }
}

fn refusal(error: &std::io::Error) -> Refused {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::AlertReceived(alert)) => Refused::Alert(*alert),
        _ => Refused::Closed,
    }
}

/// A connection that was accepted.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

/// Why no answer came.
#[derive(Debug)]
pub struct NoReply(String);

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Connection {
    /// Calls an RPC with these bytes as the whole body, frames and all.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn call(&self, path: &str, body: Bytes) -> Result<Reply, NoReply> {
        self.post(path, "application/grpc", body).await
    }

    /// Posts bytes of any type.
    ///
    /// # Errors
    /// If no answer comes.
    ///
    /// # Panics
    /// If `path` is none.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Reply, NoReply> {
        let request = Request::post(format!("http://lanyard.invalid{path}"))
            .header(header::CONTENT_TYPE, content_type)
            .header(header::TE, "trailers")
            .body(Full::new(body))
            .expect("a request");
        let mut sender = self.sender.clone();
        let answering = async {
            let failed = |error: hyper::Error| NoReply(format!("{path}: {error:?}"));
            sender.ready().await.map_err(failed)?;
            let response = sender.send_request(request).await.map_err(failed)?;
            read(response).await.map_err(|error| NoReply(format!("{path}: {error}")))
        };
        let answered = tokio::time::timeout(PATIENCE, answering).await;
        answered.unwrap_or_else(|_| Err(NoReply(format!("{path}: no answer in time"))))
    }
}

async fn read(response: http::Response<Incoming>) -> Result<Reply, hyper::Error> {
    let (parts, mut incoming) = response.into_parts();
    let mut reply = Reply {
        http: parts.status.as_u16(),
        code: code(&parts.headers),
        message: message(&parts.headers),
        body: Bytes::new(),
    };
    let mut kept = BytesMut::new();
    let reading = async {
        while let Some(frame) = incoming.frame().await {
            let frame = frame?;
            if let Some(trailers) = frame.trailers_ref() {
                reply.code = code(trailers).or(reply.code);
                reply.message = message(trailers);
            } else if let Ok(data) = frame.into_data()
                && kept.len() < KEPT
            {
                kept.extend_from_slice(&data);
            }
        }
        Ok::<(), hyper::Error>(())
    };
    // A stream that goes on has said enough.
    tokio::time::timeout(STREAM_PATIENCE, reading).await.unwrap_or(Ok(()))?;
    reply.body = kept.freeze();
    Ok(reply)
}

fn code(headers: &http::HeaderMap) -> Option<Code> {
    let code = headers.get("grpc-status")?;
    Some(Code::from_bytes(code.as_bytes()))
}

fn message(headers: &http::HeaderMap) -> String {
    let message = headers.get("grpc-message").map(|message| message.to_str().unwrap_or_default());
    message.unwrap_or_default().to_owned()
}

/// One message in its gRPC frame.
///
/// # Panics
/// If it has 4 GiB or more.
#[must_use]
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a small message"));
    frame.put_slice(message);
    frame.freeze()
}

/// Believes every server: what is tested here is what servers believe.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

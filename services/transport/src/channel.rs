//! gRPC channels to a party's service.

use std::io::{self, ErrorKind};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use lanyard_env::{Env, NetworkError, Stream};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::tls::{H2, Tls};
use crate::verify::{CertificateRefused, Expected};

/// How long it may take until the server has let us in.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take until the response begins; of a stream, until its first headers.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server may send ahead of its being read, in bytes: snapshots are large.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The server's name in TLS, which has to be there and is not sent.
const TLS_NAME: &str = "lanyard.invalid";

/// Why a service was not reached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No TCP connection.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Not in time.
    #[error("{address} ({expected}) did not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut {
        /// The address.
        address: String,
        /// Who was expected there.
        expected: Expected,
    },
    /// The server refused our certificate.
    #[error("{address} ({expected}) refuses this party's certificate: {}", refusal(*.alert))]
    Refused {
        /// The address.
        address: String,
        /// Who was expected there.
        expected: Expected,
        /// The server's TLS alert.
        alert: AlertDescription,
    },
    /// We refuse the server's certificate.
    #[error("{address} is not {expected}: {problem}")]
    WrongServer {
        /// The address.
        address: String,
        /// Who was expected there.
        expected: Expected,
        /// What is wrong with its certificate.
        problem: String,
    },
    /// The connection broke before the server let us in.
    #[error(
        "{address} ({expected}) closed the connection at once: it is overloaded or stopping: {source}"
    )]
    Closed {
        /// The address.
        address: String,
        /// Who was expected there.
        expected: Expected,
        /// The system's reason.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

fn refusal(alert: AlertDescription) -> String {
    let advice = match alert {
        AlertDescription::CertificateRequired => "none was sent; configure certificate and key",
        AlertDescription::CertificateExpired => "it has expired, or a clock is wrong; renew it",
        // The second is sent for an authority of the same name with another key.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is not signed by the authority that the manifest names for this party"
        }
        AlertDescription::CertificateUnknown | AlertDescription::BadCertificate => {
            "it names no party or gate known there, is revoked, or is not valid yet; check both sides' manifests"
        }
        AlertDescription::ProtocolVersion => "TLS 1.3 is needed",
        other => return format!("TLS alert {other:?}"),
    };
    advice.to_owned()
}

/// A channel to the service `expected` at `address` (`HOST:PORT`). Connects on the first call and again whenever the
/// connection is lost; calls meanwhile fail as `UNAVAILABLE` with the message of a [`ConnectError`].
///
/// # Errors
/// [`ConnectError::Tls`].
pub fn connect(
    env: &Env,
    tls: &Tls,
    address: &str,
    expected: &Expected,
) -> Result<Channel, ConnectError> {
    connect_within(env, tls, address, expected, CALL_TIMEOUT)
}

/// As [`connect`], with a limit of one's own on how long a call may take until its response begins: for calls that send
/// a whole file before they are answered.
///
/// # Errors
/// [`ConnectError::Tls`].
pub fn connect_within(
    env: &Env,
    tls: &Tls,
    address: &str,
    expected: &Expected,
    call_timeout: Duration,
) -> Result<Channel, ConnectError> {
    let connector = Connector::new(env, tls, address, expected, H2)?;
    // Connections are made by the connector; the URI only has to be one.
    Ok(Endpoint::from_static("http://lanyard.invalid")
        .timeout(call_timeout)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| connector.clone().let_in())))
}

/// Makes TLS connections to one service.
#[derive(Clone)]
pub(crate) struct Connector {
    env: Env,
    tls: TlsConnector,
    address: String,
    expected: Expected,
}

impl Connector {
    pub(crate) fn new(
        env: &Env,
        tls: &Tls,
        address: &str,
        expected: &Expected,
        alpn: &[u8],
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            env: env.clone(),
            tls: TlsConnector::from(tls.client_config(expected, alpn)?),
            address: address.to_owned(),
            expected: expected.clone(),
        })
    }

    /// A connection over which the server has sent its first bytes. In TLS 1.3 a client's handshake ends before the
    /// server has looked at its certificate: without this wait, a refused certificate would show as a cancelled call.
    fn let_in(
        self,
    ) -> BoxFuture<'static, Result<TokioIo<BufReader<TlsStream<Stream>>>, ConnectError>> {
        Box::pin(async move {
            let waiting = async {
                let mut stream = BufReader::with_capacity(64, self.handshake().await?);
                match stream.fill_buf().await {
                    Ok([]) => Err(self.explain(ErrorKind::UnexpectedEof.into())),
                    Ok(_) => Ok(TokioIo::new(stream)),
                    Err(error) => Err(self.explain(error)),
                }
            };
            let waited = tokio::time::timeout(CONNECT_TIMEOUT, waiting).await;
            waited.unwrap_or_else(|_| Err(self.timed_out()))
        })
    }

    /// A connection to the right server, which has not yet let us in.
    pub(crate) async fn handshake(&self) -> Result<TlsStream<Stream>, ConnectError> {
        let name = ServerName::try_from(TLS_NAME).expect("the constant is a DNS name");
        let stream = self.env.connect(&self.address).await?;
        self.tls.connect(name, stream).await.map_err(|error| self.explain(error))
    }

    pub(crate) fn timed_out(&self) -> ConnectError {
        let (address, expected) = (self.address.clone(), self.expected.clone());
        ConnectError::TimedOut { address, expected }
    }

    /// What an I/O error of a TLS connection means.
    pub(crate) fn explain(&self, error: io::Error) -> ConnectError {
        let (address, expected) = (self.address.clone(), self.expected.clone());
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => {
                ConnectError::Refused { address, expected, alert: *alert }
            }
            Some(rustls::Error::InvalidCertificate(problem)) => {
                ConnectError::WrongServer { address, expected, problem: describe(problem) }
            }
            _ => ConnectError::Closed { address, expected, source: error },
        }
    }
}

fn describe(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Other(other) => match other.0.downcast_ref::<CertificateRefused>() {
            Some(refused) => refused.to_string(),
            None => other.to_string(),
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or a clock is wrong".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not signed by the authority that the manifest names".to_owned()
        }
        other => other.to_string(),
    }
}

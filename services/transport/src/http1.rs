//! Small HTTP/1.1 requests, for the witness protocol (C2SP tlog-witness).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lanyard_env::{Env, NetworkError, Stream};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::channel::{ConnectError, Connector};
use crate::tls::{HTTP_1_1, Tls};
use crate::verify::Expected;

/// How long a request may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Size of an answer in bytes; a witness answers with a few lines.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a request had no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostError {
    /// The server was not reached, or one side refuses the other.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No TCP connection.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The address or path does not fit into a request.
    #[error("cannot post to {address}{path}: {source}")]
    Request {
        /// The address.
        address: String,
        /// The path.
        path: String,
        /// The library's reason.
        source: http::Error,
    },
    /// The connection broke.
    #[error("posting to {address}: {source}")]
    Http {
        /// The address.
        address: String,
        /// The library's reason.
        source: hyper::Error,
    },
    /// The answer is too large.
    #[error("the answer of {address} has more than {MAX_ANSWER} bytes")]
    TooLarge {
        /// The address.
        address: String,
    },
    /// No answer in time.
    #[error("{address} did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut {
        /// The address.
        address: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The content type, if there is one in ASCII.
    pub content_type: Option<String>,
    /// The body, at most 64 KiB.
    pub body: Bytes,
}

/// Posts to a party's service over TLS, both sides with certificates.
///
/// # Errors
/// [`PostError`].
pub async fn post(
    env: &Env,
    tls: &Tls,
    address: &str,
    expected: &Expected,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Answer, PostError> {
    let connector = Connector::new(env, tls, address, expected, HTTP_1_1)?;
    let posting = async {
        let stream = connector.handshake().await?;
        exchange(stream, address, path, body.into()).await.map_err(|error| match error {
            // A refused certificate shows only here (see `Connector::let_in`).
            PostError::Http { source, address } => match tls_error(&source) {
                Some(error) => connector.explain(error).into(),
                None => PostError::Http { source, address },
            },
            other => other,
        })
    };
    let posted = tokio::time::timeout(TIMEOUT, posting).await;
    posted.unwrap_or_else(|_| Err(connector.timed_out().into()))
}

/// Posts over plain TCP, to a witness that is no party of the event and whose cosignature is all that counts.
///
/// # Errors
/// [`PostError`].
pub async fn post_plain(
    env: &Env,
    address: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Answer, PostError> {
    let posting = async {
        let stream: Stream = env.connect(address).await?;
        exchange(stream, address, path, body.into()).await
    };
    let posted = tokio::time::timeout(TIMEOUT, posting).await;
    posted.unwrap_or_else(|_| Err(PostError::TimedOut { address: address.to_owned() }))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: &str,
    path: &str,
    body: Bytes,
) -> Result<Answer, PostError> {
    let failed = |source| PostError::Http { address: address.to_owned(), source };
    let request = Request::post(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|source| {
            let (address, path) = (address.to_owned(), path.to_owned());
            PostError::Request { address, path, source }
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(error) => failed(*error),
                Err(error) => {
                    debug_assert!(error.is::<LengthLimitError>());
                    PostError::TooLarge { address: address.to_owned() }
                }
            }
        })?;
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|text| Some(text.to_str().ok()?.to_owned()));
        Ok(Answer { status: head.status.as_u16(), content_type, body: body.to_bytes() })
    };
    // The connection ends in an error also where the exchange gets one, which says more.
    let drive = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = drive => never,
    }
}

/// The TLS error behind an HTTP error.
fn tls_error(error: &hyper::Error) -> Option<io::Error> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        let tls = io.and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            return Some(io::Error::other(tls.clone()));
        }
        next = error.source();
    }
    None
}

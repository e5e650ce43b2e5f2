//! Asking a service that runs how it does, as an orchestrator's probe would.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lanyard_env::{Env, NetworkError};
use thiserror::Error;

use crate::address::TelemetryAddress;

/// How long a service has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Size of an answer in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens there.
    #[error("{0}; the service does not run, or with another configuration")]
    Connect(#[from] NetworkError),
    /// Whoever listens there is not the service.
    #[error("{address}: no answer in HTTP: {problem}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What is wrong.
        problem: String,
    },
    /// No answer in time.
    #[error("{address}: no answer within {} s", PATIENCE.as_secs())]
    TimedOut {
        /// The address.
        address: SocketAddr,
    },
}

/// Whether the service that listens at `address` of this machine is ready, and its own words for it, in JSON.
///
/// # Errors
/// [`AskError`].
pub async fn ask_ready(env: &Env, address: TelemetryAddress) -> Result<(bool, String), AskError> {
    let address = reachable(address.listen());
    let asked = tokio::time::timeout(PATIENCE, get(env, address, "/readyz")).await;
    asked.unwrap_or(Err(AskError::TimedOut { address }))
}

/// Where on this machine whoever listens on all addresses is reached.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

async fn get(env: &Env, address: SocketAddr, path: &str) -> Result<(bool, String), AskError> {
    let failed = |problem: &dyn ToString| AskError::Http { address, problem: problem.to_string() };
    let stream = env.connect(&address.to_string()).await?;
    let request = Request::get(path).header(header::HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let is_good = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    connection.abort();
    Ok((is_good, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_asked_on_this_machine() {
        for (listen, asked) in [
            ("127.0.0.1:9101", "127.0.0.1:9101"),
            ("10.0.0.5:9101", "10.0.0.5:9101"),
            ("0.0.0.0:9101", "127.0.0.1:9101"),
            ("[::]:9101", "[::1]:9101"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}

//! Listening and connecting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// How long a silent TCP connection is left alone before the kernel probes it, and how often it then does.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// A byte stream between two processes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connected byte stream.
pub type Stream = Box<dyn Io>;

/// Why the network did not do as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Listening failed.
    #[error("cannot listen on {address}: {}", bind_advice(.source))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Connecting failed.
    #[error("cannot connect to {address}: {source}; check the address and that the service runs")]
    Connect {
        /// The address asked for.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
}

fn bind_advice(source: &io::Error) -> String {
    let advice = match source.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; stop it or choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        io::ErrorKind::PermissionDenied => "not permitted; choose a port above 1023",
        _ => return source.to_string(),
    };
    advice.to_owned()
}

/// Listens and connects.
pub trait Network: Send + Sync + 'static {
    /// Listens on `address`; port 0 takes a free one.
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Listener>, NetworkError>>;

    /// Connects to `HOST:PORT`, without delaying small writes. Sets no time limit: the caller does.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Stream, NetworkError>>;
}

/// Accepts connections.
pub trait Listener: Send {
    /// The next connection and where it comes from. An error concerns one connection or is passing (such as too
    /// many open files): back off and call again.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;

    /// The address listened on, with the port that was taken.
    ///
    /// # Errors
    /// As the system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNetwork;

impl Network for TcpNetwork {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Listener>, NetworkError>> {
        async move {
            match TcpListener::bind(address).await {
                Ok(listener) => Ok(Box::new(Tcp(listener)) as Box<dyn Listener>),
                Err(source) => Err(NetworkError::Bind { address, source }),
            }
        }
        .boxed()
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Stream, NetworkError>> {
        async move {
            let connected = async {
                let stream = TcpStream::connect(address).await?;
                tune(&stream)?;
                Ok(Box::new(stream) as Stream)
            };
            let address = || address.to_owned();
            connected.await.map_err(|source| NetworkError::Connect { address: address(), source })
        }
        .boxed()
    }
}

struct Tcp(TcpListener);

impl Listener for Tcp {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        async move {
            let (stream, address) = self.0.accept().await?;
            tune(&stream)?;
            Ok((Box::new(stream) as Stream, address))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn bytes_arrive() {
        let mut listener = TcpNetwork.bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (client, server) = tokio::join!(TcpNetwork.connect(&address), listener.accept());
        client.unwrap().write_all(b"ping").await.unwrap();
        let mut received = Vec::new();
        server.unwrap().0.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"ping");
    }

    #[tokio::test]
    async fn errors_name_the_address() {
        let listener = TcpNetwork.bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = TcpNetwork.bind(address).await.err().unwrap().to_string();
        assert!(taken.contains(&address.to_string()) && taken.contains("another port"), "{taken}");
        drop(listener);
        let refused = TcpNetwork.connect(&address.to_string()).await.err().unwrap().to_string();
        assert!(refused.contains(&address.to_string()), "{refused}");
    }
}

//! turmoil's network behind [`lanyard_env::Network`]: a port is a machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lanyard_env::{Listener, Network, NetworkError, Stream};
use turmoil::net::{TcpListener, TcpStream};

/// Which machine has which port. Configurations name loopback addresses, as for an event on one machine; here each port
/// is reached at the machine that it belongs to.
#[derive(Clone)]
pub(crate) struct Wires(Arc<BTreeMap<u16, String>>);

impl Wires {
    /// Ports and their machines.
    #[must_use]
    pub(crate) fn new(ports: BTreeMap<u16, String>) -> Self {
        Self(Arc::new(ports))
    }

    fn machine(&self, address: &str) -> io::Result<(String, u16)> {
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        let found = port.and_then(|port| Some((self.0.get(&port)?.clone(), port)));
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no machine has this port"))
    }
}

impl Network for Wires {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Listener>, NetworkError>> {
        async move {
            let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            match TcpListener::bind(everywhere).await {
                Ok(listener) => Ok(Box::new(Simulated(listener)) as Box<dyn Listener>),
                Err(source) => Err(NetworkError::Bind { address, source }),
            }
        }
        .boxed()
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Stream, NetworkError>> {
        async move {
            let connected = async {
                let (machine, port) = self.machine(address)?;
                Ok(Box::new(TcpStream::connect((machine.as_str(), port)).await?) as Stream)
            };
            let address = || address.to_owned();
            connected.await.map_err(|source| NetworkError::Connect { address: address(), source })
        }
        .boxed()
    }
}

struct Simulated(TcpListener);

impl Listener for Simulated {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        async move {
            let (stream, address) = self.0.accept().await?;
            Ok((Box::new(stream) as Stream, address))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

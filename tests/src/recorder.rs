//! A network that writes down what goes out: to whom, in which order, how much at a time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lanyard_env::{Listener, Network, NetworkError, Stream, TcpNetwork};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One thing that went out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    /// The other end: where a connection of one's own leads, or whence one was accepted.
    pub peer: SocketAddr,
    /// Bytes of one write; 0 is an attempt to connect.
    pub bytes: usize,
}

/// The network. Clones share what they recorded.
#[derive(Clone, Default)]
pub struct Recorder {
    sent: Arc<Mutex<Vec<Sent>>>,
    /// Own ends of connections made.
    own: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Recorder {
    /// Everything that went out so far.
    ///
    /// # Panics
    /// Not unless a thread did that held the lock.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("not poisoned").clone()
    }

    /// How much was recorded.
    ///
    /// # Panics
    /// As [`Recorder::sent`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.sent.lock().expect("not poisoned").len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a connection that was made through this network has this address at the near end.
    ///
    /// # Panics
    /// As [`Recorder::sent`].
    #[must_use]
    pub fn made(&self, address: SocketAddr) -> bool {
        self.own.lock().expect("not poisoned").contains(&address)
    }

    fn note(&self, peer: SocketAddr, bytes: usize) {
        self.sent.lock().expect("not poisoned").push(Sent { peer, bytes });
    }
}

impl Network for Recorder {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Listener>, NetworkError>> {
        async move {
            let inner = TcpNetwork.bind(address).await?;
            Ok(Box::new(Recorded { inner, recorder: self.clone() }) as Box<dyn Listener>)
        }
        .boxed()
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Stream, NetworkError>> {
        async move {
            let peer: SocketAddr = address.parse().expect("an address and a port");
            self.note(peer, 0);
            let failed = |source| NetworkError::Connect { address: address.to_owned(), source };
            let stream = TcpStream::connect(peer).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let own = stream.local_addr().map_err(failed)?;
            self.own.lock().expect("not poisoned").push(own);
            let inner = Box::new(stream) as Stream;
            Ok(Box::new(Tapped { inner, peer, recorder: self.clone() }) as Stream)
        }
        .boxed()
    }
}

struct Recorded {
    inner: Box<dyn Listener>,
    recorder: Recorder,
}

impl Listener for Recorded {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        async move {
            let (inner, peer) = self.inner.accept().await?;
            let recorder = self.recorder.clone();
            Ok((Box::new(Tapped { inner, peer, recorder }) as Stream, peer))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

struct Tapped {
    inner: Stream,
    peer: SocketAddr,
    recorder: Recorder,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.recorder.note(self.peer, *count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

//! Accepts TCP connections and turns them into connections with a verified caller.
//!
//! Strangers can do no more than open connections, so these are bounded in number, in time and per address
//! ([`crate::pending`]), and at the limit of file descriptors the oldest make room.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanyard_env::{Env, Listener, NetworkError, StartError, Stream};
use lanyard_telemetry::metrics;
use rand::Rng as _;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::limits::{CallerShare, Capacity, Limits, Permit};
use crate::observe::{
    ACCEPTED, CallObserver, MADE_ROOM, Observing, TIMED_OUT, TOO_MANY, handshake_failure,
};
use crate::peer::{PartyName, PeerId};
use crate::pending::Pending;
use crate::tls::{H2, Tls};
use crate::verify::{claimed_peer, verify_client};

/// Back-off after errors of `accept` that would repeat at once.
const BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// How often an open connection's certificate is checked again.
const RECHECK: Duration = Duration::from_secs(60);

/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Why a service cannot accept connections.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptorError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] NetworkError),
    /// The listener has no address.
    #[error("cannot tell the address listened on: {0}")]
    Address(io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl StartError for AcceptorError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Bind(error) if error.is_permanent())
    }
}

/// A listening service.
pub struct Acceptor {
    address: SocketAddr,
    limits: Limits,
    observing: Arc<Observing>,
    connections: mpsc::Receiver<Connection>,
    _stop: DropGuard,
}

/// A connection with a verified caller.
pub struct Connection {
    pub(crate) stream: TlsStream<Stream>,
    pub(crate) share: Arc<CallerShare>,
    peer: PeerId,
    address: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    tls: Tls,
    _permit: Permit,
}

impl Acceptor {
    /// Listens on `address` (port 0 takes a free one) and starts accepting.
    ///
    /// # Errors
    /// [`AcceptorError`].
    pub async fn bind(
        env: &Env,
        address: SocketAddr,
        tls: &Tls,
        limits: Limits,
    ) -> Result<Self, AcceptorError> {
        let listener = env.bind(address).await?;
        let address = listener.local_addr().map_err(AcceptorError::Address)?;
        let (sender, connections) = mpsc::channel(64);
        let observing = Observing::new(env.rng().next_u32());
        let shaker = Arc::new(Shaker {
            acceptor: TlsAcceptor::from(tls.server_config()?),
            tls: tls.clone(),
            capacity: Capacity::new(&limits),
            timeout: limits.handshake_timeout,
            observing: Arc::clone(&observing),
            sender,
        });
        let pending = Pending::new(limits.handshakes, limits.handshakes_per_address);
        let stop = CancellationToken::new();
        let accepting = accept(listener, pending, shaker, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self { address, limits, observing, connections, _stop: stop.drop_guard() })
    }

    /// Has `observer` hear of calls and refused handshakes.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn CallObserver>) -> Self {
        self.observing.set(observer);
        self
    }

    /// The address listened on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) const fn observing(&self) -> &Arc<Observing> {
        &self.observing
    }

    /// The next connection.
    pub async fn next(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

/// Accepts for ever.
async fn accept(
    mut listener: Box<dyn Listener>,
    pending: Arc<Pending>,
    shaker: Arc<Shaker>,
    stop: CancellationToken,
) {
    let mut back_off = BACK_OFF;
    loop {
        let error = match listener.accept().await {
            Ok((stream, address)) => {
                back_off = BACK_OFF;
                let (slot, shaker) = (pending.admit(address.ip()), Arc::clone(&shaker));
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = slot.dropped() => {
                            shaker.observing.handshake(MADE_ROOM);
                            tracing::debug!(%address, "dropped to make room");
                        }
                        () = stop.cancelled() => {}
                        () = shaker.shake(stream, address) => {}
                    }
                });
                continue;
            }
            Err(error) => error,
        };
        if concerns_one_connection(&error) {
            continue;
        }
        metrics::ACCEPT_ERRORS.of([]).increment(1);
        tracing::warn!(%error, "cannot accept connections; raise the limit of open files if this stays");
        pending.drop_oldest_quarter();
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

/// Whether the client went away before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::InvalidInput
    )
}

/// Does handshakes.
struct Shaker {
    acceptor: TlsAcceptor,
    tls: Tls,
    capacity: Arc<Capacity>,
    timeout: Duration,
    observing: Arc<Observing>,
    sender: mpsc::Sender<Connection>,
}

impl Shaker {
    async fn shake(&self, stream: Stream, address: SocketAddr) {
        let handshake = self.acceptor.accept(stream).into_fallible();
        let stream = match tokio::time::timeout(self.timeout, handshake).await {
            Err(_) => {
                self.observing.handshake(TIMED_OUT);
                return tracing::debug!(%address, "handshake timed out");
            }
            Ok(Err((error, stream))) => {
                self.observing.handshake(handshake_failure(&error));
                tracing::info!(%address, %error, "handshake refused");
                // Best effort, as the client may have gone.
                let _ = tokio::time::timeout(LINGER, linger(stream)).await;
                return;
            }
            Ok(Ok(stream)) => stream,
        };
        let chain = match stream.get_ref().1.peer_certificates() {
            Some(chain) => {
                chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
            }
            None => Vec::new(),
        };
        let Some(Ok(peer)) = chain.first().map(claimed_peer) else {
            return tracing::error!(%address, "handshake without a caller");
        };
        let share = self.capacity.share_of(&peer);
        let Some(permit) = share.connection() else {
            self.observing.handshake(TOO_MANY);
            return tracing::warn!(%peer, %address, "connection refused: too many are open");
        };
        self.observing.handshake(ACCEPTED);
        let tls = self.tls.clone();
        let connection = Connection { stream, share, peer, address, chain, tls, _permit: permit };
        // Fails only when the service has stopped.
        let _ = self.sender.send(connection).await;
    }
}

/// Closes after an alert, reading on meanwhile: closing with bytes unread would reset the connection, and the client
/// would never see the alert.
async fn linger(mut stream: Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut discarded = [0; 1024];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}

impl Connection {
    /// The verified caller.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// Where it comes from.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The party of the server itself.
    pub(crate) fn own_party(&self) -> PartyName {
        self.tls.identity().peer().party()
    }

    /// Whether the caller speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(H2)
    }

    /// Splits off the stream; the rest keeps the connection counted.
    pub(crate) fn into_parts(self) -> (TlsStream<Stream>, Trust) {
        let Self { stream, chain, tls, peer, _permit, .. } = self;
        (stream, Trust { chain, tls, peer, _permit })
    }
}

/// What the trust in an open connection rests on.
pub(crate) struct Trust {
    chain: Vec<CertificateDer<'static>>,
    tls: Tls,
    peer: PeerId,
    _permit: Permit,
}

impl Trust {
    /// Resolves when the certificate has expired or its authority is no longer trusted.
    pub(crate) async fn lost(&self) {
        let mut changes = self.tls.anchors().changes();
        loop {
            if let Err(error) = verify_client(self.tls.anchors(), &self.chain, self.tls.now()) {
                tracing::info!(peer = %self.peer, %error, "connection closed: no longer trusted");
                return;
            }
            // The sender lives in the anchors held here, so only a change or the time ends the wait.
            let _ = tokio::time::timeout(RECHECK, changes.changed()).await;
        }
    }
}

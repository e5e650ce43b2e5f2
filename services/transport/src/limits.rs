//! How much one service takes on, in all and for one caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::peer::PeerId;

/// Limits of one service. What is above them is refused at once, so that what is below them keeps its pace. No caller
/// gets more than half of anything: one alone cannot keep the others out.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that have not yet shown a certificate; past it, the oldest is dropped.
    pub handshakes: usize,
    /// The same for one address (one /64 of IPv6).
    pub handshakes_per_address: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Connections with a verified caller.
    pub connections: usize,
    /// How long a connection may stay without a request in progress.
    pub idle_timeout: Duration,
    /// HTTP/2 streams of one connection.
    pub streams_per_connection: u32,
    /// Unary requests in progress.
    pub requests: usize,
    /// Streaming requests in progress.
    pub streams: usize,
    /// How long a unary request may take.
    pub request_timeout: Duration,
    /// How long requests in progress may go on after shutdown was asked for.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 512,
            handshakes_per_address: 64,
            handshake_timeout: Duration::from_secs(5),
            connections: 8_192,
            idle_timeout: Duration::from_secs(300),
            streams_per_connection: 256,
            requests: 1_024,
            streams: 8_192,
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Something of which there is so much in all and half as much for one caller.
struct Shares {
    total: Arc<Semaphore>,
    half: usize,
}

impl Shares {
    fn new(total: usize) -> Self {
        Self { total: Arc::new(Semaphore::new(total)), half: total.div_ceil(2) }
    }
}

/// One unit of a share, given back on drop.
pub(crate) struct Permit {
    _total: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

/// What is shared among all callers.
pub(crate) struct Capacity {
    connections: Shares,
    requests: Shares,
    streams: Shares,
    callers: Mutex<HashMap<PeerId, Weak<CallerShare>>>,
}

/// What one caller may take of it.
pub(crate) struct CallerShare {
    capacity: Arc<Capacity>,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Capacity {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections: Shares::new(limits.connections),
            requests: Shares::new(limits.requests),
            streams: Shares::new(limits.streams),
            callers: Mutex::new(HashMap::new()),
        })
    }

    /// The share of `peer`, one for all its connections.
    pub(crate) fn share_of(self: &Arc<Self>, peer: &PeerId) -> Arc<CallerShare> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = callers.get(peer).and_then(Weak::upgrade) {
            return share;
        }
        // Certificates are few, connections are many: clearing out on each new caller costs little.
        callers.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(CallerShare {
            capacity: Arc::clone(self),
            connections: Arc::new(Semaphore::new(self.connections.half)),
            requests: Arc::new(Semaphore::new(self.requests.half)),
            streams: Arc::new(Semaphore::new(self.streams.half)),
        });
        callers.insert(peer.clone(), Arc::downgrade(&share));
        share
    }
}

impl CallerShare {
    pub(crate) fn connection(&self) -> Option<Permit> {
        take(&self.connections, &self.capacity.connections)
    }

    pub(crate) fn request(&self) -> Option<Permit> {
        take(&self.requests, &self.capacity.requests)
    }

    pub(crate) fn stream(&self) -> Option<Permit> {
        take(&self.streams, &self.capacity.streams)
    }
}

fn take(own: &Arc<Semaphore>, shares: &Shares) -> Option<Permit> {
    Some(Permit {
        _own: Arc::clone(own).try_acquire_owned().ok()?,
        _total: Arc::clone(&shares.total).try_acquire_owned().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use crate::peer::{PartyName, Role};

    use super::*;

    #[test]
    fn one_caller_gets_half_and_all_together_the_whole() {
        let capacity = Capacity::new(&Limits { requests: 6, ..Limits::default() });
        let share =
            |name| capacity.share_of(&PeerId::new(PartyName::Gate, Role::Service, name).unwrap());
        let [one, again, two, three] = ["one", "one", "two", "three"].map(share);
        let mut taken = vec![one.request(), again.request(), one.request()];
        assert!(taken.iter().all(Option::is_some));
        assert!(again.request().is_none(), "half of it is taken by this caller");
        taken.extend([two.request(), two.request(), two.request()]);
        assert!(taken.iter().all(Option::is_some));
        assert!(three.request().is_none(), "all of it is taken");
        taken.clear();
        assert!(three.request().is_some());
    }
}

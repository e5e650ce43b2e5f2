//! Through whom a feed comes. Each mirror draws a number, and tells its followers the numbers from its own to the
//! authority's. Whoever finds its own among them would follow itself: mirrors in a circle pass nothing on, and would notice
//! only by the silence.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lanyard_env::Env;
use lanyard_wire::feed::v1::Route as WireRoute;
use rand::Rng as _;

use crate::FeedError;

/// Mirrors between a follower and the authority, at most.
const MAX_MIRRORS: usize = 32;

/// How a feed comes to this mirror.
pub(crate) struct Route {
    own: u64,
    /// From the upstream in use to the authority.
    upstream: Mutex<Vec<u64>>,
}

impl Route {
    pub(crate) fn draw(env: &Env) -> Self {
        Self { own: env.rng().next_u64(), upstream: Mutex::default() }
    }

    /// From this mirror to the authority.
    pub(crate) fn wire(&self) -> WireRoute {
        let own = std::iter::once(self.own);
        WireRoute { mirrors: own.chain(self.upstream().iter().copied()).collect() }
    }

    /// Whether the feed may come that way.
    pub(crate) fn check(&self, upstream: &[u64]) -> Result<(), FeedError> {
        if upstream.contains(&self.own) {
            return Err(FeedError::Circle);
        }
        if upstream.len() > MAX_MIRRORS {
            return Err(FeedError::TooMuch {
                what: "mirrors of a route",
                limit: MAX_MIRRORS as u64,
            });
        }
        Ok(())
    }

    /// It comes that way now; true if it came another way before.
    pub(crate) fn comes_by(&self, upstream: &[u64]) -> bool {
        let mut before = self.upstream();
        let changed = *before != upstream;
        if changed {
            *before = upstream.to_vec();
        }
        changed
    }

    fn upstream(&self) -> MutexGuard<'_, Vec<u64>> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

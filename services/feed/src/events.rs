//! What has just happened, for followers that are up to date. They pull at their own pace: one that falls too far behind
//! reads the disk again, and slows nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_wire::feed::v1::{Cosigned, ManifestUpdate, SealedKey, SealedProfiles, Tick};
use tokio::sync::watch;

use crate::DirectoryKey;

/// Ticks and what came with them that are kept in memory.
const MAX_EVENTS: usize = 256;

/// Bytes of deltas that are kept in memory.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// One thing that happened.
pub(crate) enum Event {
    /// A tick was committed, bringing these directories as snapshots.
    Tick {
        size: u64,
        tick: Tick,
        brought: Vec<DirectoryKey>,
    },
    /// The mirror jumped: followers have to look for what they need.
    Jumped,
    Cosigned(Cosigned),
    Key(DirectoryKey, SealedKey),
    Profiles(DirectoryKey, SealedProfiles),
    Manifest(ManifestUpdate),
}

impl Event {
    fn bytes(&self) -> usize {
        match self {
            Self::Tick { tick, .. } => tick.deltas.iter().map(|delta| delta.delta.len()).sum(),
            _ => 0,
        }
    }
}

#[derive(Default)]
struct Ring {
    /// The number of the oldest event kept.
    first: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

/// The newest events, numbered from 0.
pub(crate) struct Events {
    ring: Mutex<Ring>,
    next: watch::Sender<u64>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { ring: Mutex::default(), next: watch::Sender::new(0) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing panics while holding it.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, event: Event) {
        let mut ring = self.ring();
        ring.bytes += event.bytes();
        ring.events.push_back(Arc::new(event));
        while ring.events.len() > MAX_EVENTS || (ring.bytes > MAX_BYTES && ring.events.len() > 1) {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.bytes();
            ring.first += 1;
        }
        self.next.send_replace(ring.first + ring.events.len() as u64);
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        *self.next.borrow()
    }

    /// Event `number`, if it has happened; `Err` if it is not kept any more.
    pub(crate) fn get(&self, number: u64) -> Result<Option<Arc<Event>>, Lost> {
        let ring = self.ring();
        let offset = number.checked_sub(ring.first).ok_or(Lost)?;
        let index = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(ring.events.get(index).cloned())
    }

    /// Shows the number of the next event, whenever it grows.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }
}

/// The event is not kept any more.
pub(crate) struct Lost;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_learns_that_it_lost_something() {
        let events = Events::new();
        for _ in 0..MAX_EVENTS + 3 {
            events.push(Event::Jumped);
        }
        assert!(events.get(2).is_err());
        assert!(events.get(3).is_ok_and(|event| event.is_some()));
        assert!(events.get(events.next()).is_ok_and(|event| event.is_none()));
    }

    #[test]
    fn large_ticks_are_not_kept_in_number() {
        let delta = bytes::Bytes::from(vec![0; MAX_BYTES / 2]);
        let tick = || Tick {
            deltas: vec![lanyard_wire::feed::v1::DirectoryDelta {
                directory: None,
                delta: delta.clone(),
            }],
            ..Tick::default()
        };
        let events = Events::new();
        for size in 1..=5 {
            events.push(Event::Tick { size, tick: tick(), brought: Vec::new() });
        }
        assert!(events.get(2).is_err());
        assert!(events.get(3).is_ok());
    }
}

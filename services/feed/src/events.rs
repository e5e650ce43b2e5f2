//! What has just happened, for followers that are up to date. They pull at their own pace: one that falls too far behind
//! reads the disk again, and slows nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use lanyard_core::ids::Audience;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{Cosigned, ManifestUpdate, Route, SealedKey, SealedProfiles, Tick};
use tokio::sync::watch;

use crate::DirectoryKey;
use crate::frame::frame;
use crate::intake::directory_key;

/// Ticks and what came with them that are kept in memory.
const MAX_EVENTS: usize = 256;

/// Bytes of deltas and frames that are kept in memory; a tick's frames may take as much again.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// One thing that happened, framed for followers.
pub(crate) enum Event {
    /// A tick was committed.
    Tick(Box<TickEvent>),
    /// The mirror jumped: followers have to look for what they need.
    Jumped,
    /// Something that belongs to one directory.
    Beside(DirectoryKey, Bytes),
    /// Something that all followers get.
    ForAll(Bytes),
}

/// A tick, and the directories that it brings as snapshots.
pub(crate) struct TickEvent {
    pub(crate) size: u64,
    pub(crate) tick: Tick,
    pub(crate) brought: Vec<DirectoryKey>,
    /// By set of audiences; made when the first follower of those audiences asks.
    frames: [OnceLock<Bytes>; 1 << Audience::ALL.len()],
}

impl TickEvent {
    /// Its frame for a follower of these audiences.
    pub(crate) fn frame(&self, audiences: &[Audience]) -> Bytes {
        let bits = Audience::ALL.iter().enumerate();
        let bits = bits.filter(|(_, audience)| audiences.contains(audience));
        let set = bits.fold(0, |set, (place, _)| set | 1 << place);
        self.frames[set].get_or_init(|| tick_frame(&self.tick, audiences)).clone()
    }
}

/// A tick without the deltas of other audiences, framed.
pub(crate) fn tick_frame(tick: &Tick, audiences: &[Audience]) -> Bytes {
    let mut tick = tick.clone();
    tick.deltas.retain(|delta| {
        directory_key(delta.directory.as_ref()).is_ok_and(|key| audiences.contains(&key.audience))
    });
    frame(Update::Tick(tick))
}

impl Event {
    pub(crate) fn tick(size: u64, tick: Tick, brought: Vec<DirectoryKey>) -> Self {
        Self::Tick(Box::new(TickEvent { size, tick, brought, frames: Default::default() }))
    }

    pub(crate) fn cosigned(cosigned: Cosigned) -> Self {
        Self::ForAll(frame(Update::Cosigned(cosigned)))
    }

    pub(crate) fn manifest(manifest: ManifestUpdate) -> Self {
        Self::ForAll(frame(Update::Manifest(manifest)))
    }

    pub(crate) fn route(route: Route) -> Self {
        Self::ForAll(frame(Update::Route(route)))
    }

    pub(crate) fn key(directory: DirectoryKey, key: SealedKey) -> Self {
        Self::Beside(directory, frame(Update::Key(key)))
    }

    pub(crate) fn profiles(directory: DirectoryKey, profiles: SealedProfiles) -> Self {
        Self::Beside(directory, frame(Update::Profiles(profiles)))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Tick(event) => event.tick.deltas.iter().map(|delta| delta.delta.len()).sum(),
            Self::Beside(_, frame) | Self::ForAll(frame) => frame.len(),
            Self::Jumped => 0,
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

    /// The tick of a size, if it is kept.
    pub(crate) fn tick(&self, size: u64) -> Option<Arc<Event>> {
        let ring = self.ring();
        let is_it =
            |event: &&Arc<Event>| matches!(&***event, Event::Tick(tick) if tick.size == size);
        ring.events.iter().rev().find(is_it).cloned()
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
            events.push(Event::tick(size, tick(), Vec::new()));
        }
        assert!(events.get(2).is_err());
        assert!(events.get(3).is_ok());
    }
}

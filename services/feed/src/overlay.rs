//! What a directory's rows were before the newest ticks: older states are read through it.

use std::collections::VecDeque;

use lanyard_core::ids::Handle;
use lanyard_core::map::{Delta, Map};
use lanyard_core::record::SealedRecord;

/// A row as it was, or `None` where there was none.
type Old = (Handle, Option<SealedRecord>);

/// Rows as they were before each tick, oldest tick first: 68 bytes a changed row.
#[derive(Default)]
pub(crate) struct Overlay {
    ticks: VecDeque<Changed>,
}

struct Changed {
    /// The size of the log with the tick that changed them.
    size: u64,
    /// By ascending handle.
    old: Vec<Old>,
}

impl Overlay {
    /// Keeps what `delta`, part of the tick of `size`, is about to change in `map`.
    pub(crate) fn record(&mut self, size: u64, map: &Map, delta: &Delta) {
        let upserts = delta.upserts().iter().map(|row| row.handle);
        let handles = delta.removed().iter().copied().chain(upserts);
        let mut old: Vec<Old> = handles.map(|handle| (handle, map.get(&handle))).collect();
        old.sort_unstable_by_key(|(handle, _)| *handle);
        self.ticks.push_back(Changed { size, old });
    }

    /// What the tick after `size` or a later one changed first; `None` if none of them touched the handle.
    #[inline]
    pub(crate) fn before(&self, size: u64, handle: &Handle) -> Option<Option<SealedRecord>> {
        if self.ticks.back()?.size <= size {
            return None;
        }
        self.ticks.iter().filter(|tick| tick.size > size).find_map(|tick| {
            let index = tick.old.binary_search_by_key(handle, |(handle, _)| *handle).ok()?;
            Some(tick.old[index].1)
        })
    }

    /// Forgets states before `size`.
    pub(crate) fn forget_before(&mut self, size: u64) {
        while self.ticks.front().is_some_and(|tick| tick.size <= size) {
            self.ticks.pop_front();
        }
    }

    /// Forgets the ticks after `size`, which are being taken back.
    pub(crate) fn forget_after(&mut self, size: u64) {
        while self.ticks.back().is_some_and(|tick| tick.size > size) {
            self.ticks.pop_back();
        }
    }

    /// Makes one of all ticks up to `size`: the states between them can no longer be read.
    pub(crate) fn squash(&mut self, size: u64) {
        let count = self.ticks.iter().take_while(|tick| tick.size <= size).count();
        if count < 2 {
            return;
        }
        // A stable sort keeps the oldest value of each handle first.
        let mut old: Vec<Old> = self.ticks.drain(..count).flat_map(|tick| tick.old).collect();
        old.sort_by_key(|(handle, _)| *handle);
        old.dedup_by_key(|(handle, _)| *handle);
        old.shrink_to_fit();
        self.ticks.push_front(Changed { size, old });
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.ticks.iter().map(|tick| tick.old.capacity() * size_of::<Old>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use lanyard_core::map::Row;

    use super::*;

    fn handle(byte: u8) -> Handle {
        Handle::new([byte; 16])
    }

    fn record(version: u32) -> SealedRecord {
        SealedRecord::new(version, [7; 48]).unwrap()
    }

    fn put(byte: u8, version: u32) -> Delta {
        Delta::new(vec![], vec![Row { handle: handle(byte), record: record(version) }]).unwrap()
    }

    fn versions(overlay: &Overlay, map: &Map, size: u64, byte: u8) -> Option<u32> {
        let current = || map.get(&handle(byte));
        let found = overlay.before(size, &handle(byte)).unwrap_or_else(current);
        found.map(|record| record.version())
    }

    #[test]
    fn older_states_are_read_until_they_are_forgotten() {
        let mut map = Map::build(0, []).unwrap();
        let mut overlay = Overlay::default();
        let remove = Delta::new(vec![handle(1)], vec![]).unwrap();
        for (size, delta) in [(1, put(1, 1)), (2, put(1, 2)), (3, put(2, 1)), (4, remove)] {
            overlay.record(size, &map, &delta);
            let _ = map.apply(&delta).unwrap();
        }
        let seen = |overlay: &Overlay, byte| {
            (0..5).map(|size| versions(overlay, &map, size, byte)).collect::<Vec<_>>()
        };
        assert_eq!(seen(&overlay, 1), [None, Some(1), Some(2), Some(2), None]);
        assert_eq!(seen(&overlay, 2), [None, None, None, Some(1), Some(1)]);
        overlay.squash(3);
        assert_eq!(versions(&overlay, &map, 0, 1), None);
        assert_eq!(versions(&overlay, &map, 3, 1), Some(2));
        assert_eq!(versions(&overlay, &map, 0, 2), None);
        overlay.forget_before(3);
        assert_eq!(versions(&overlay, &map, 3, 1), Some(2));
        overlay.forget_after(3);
        assert_eq!(overlay.memory_bytes(), 0);
    }
}

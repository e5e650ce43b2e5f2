//! The rows of a map, sorted by handle in one array with gaps.
//!
//! Handles are uniform, so a row's place is nearly known: its home is the handle's top 64 bits scaled to the table's
//! capacity. Rows stand at their home or, when that is taken, as soon after it as their order allows (sorted linear
//! probing). The table is thus a hash table and a sorted array at once. Nothing wraps around: rows pushed past the last
//! home go to a tail. The layout follows from rows and capacity alone, whatever the order of insertion.

use std::cmp::Ordering;

use super::{Prefix, Row};
use crate::ids::Handle;

/// A row farther from its home than this can only come from handles that were chosen, not derived: ten million uniform
/// handles at the greatest load stay below 40, and their clusters below 400. The bound keeps every operation short.
const MAX_DISPLACEMENT: usize = 4_096;

/// Homes of the smallest table.
const MIN_CAPACITY: usize = 16;

/// Slots by which the tail grows.
const TAIL: usize = 32;

/// Slots that a search reads at once: nine rows of ten stand that near to their homes.
const WINDOW: usize = 4;

/// A row as it stands in the table and on the wire; version 0 marks a gap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot([u8; Row::SIZE]);

impl Slot {
    const GAP: Self = Self([0; Row::SIZE]);

    pub(super) const fn new(bytes: [u8; Row::SIZE]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Row::SIZE] {
        &self.0
    }

    /// The handle, and the record with its version in front.
    pub(super) fn split(&self) -> (&[u8; 16], &[u8; 52]) {
        let (handle, rest) = self.0.split_first_chunk().expect("a row is longer than a handle");
        let record = rest.first_chunk().expect("a row is a handle and a record");
        (handle, record)
    }

    pub(super) fn handle(&self) -> Handle {
        Handle::new(*self.split().0)
    }

    fn is_gap(&self) -> bool {
        self.0[16..20] == [0; 4]
    }

    fn top(&self) -> u64 {
        self.handle().top()
    }
}

/// What [`Table::put`] did.
pub(super) struct Put {
    /// The row that stood there before, if there was one.
    pub(super) replaced: Option<Slot>,
    /// Whether rows are now farther from their homes than uniform handles would be.
    pub(super) crowded: bool,
}

#[derive(Clone)]
pub(super) struct Table {
    /// Homes first, then the tail.
    slots: Vec<Slot>,
    capacity: usize,
    count: usize,
}

impl Table {
    /// An empty table that takes `count` rows at a load of 3/4.
    pub(super) fn for_count(count: usize) -> Self {
        Self::with_capacity(count + count / 3)
    }

    fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(MIN_CAPACITY);
        Self { slots: vec![Slot::GAP; capacity + TAIL], capacity, count: 0 }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    fn home(&self, top: u64) -> usize {
        // Less than `capacity`, so it fits.
        ((u128::from(top) * self.capacity as u128) >> 64) as usize
    }

    /// Where the handle stands, or where it would have to be inserted.
    fn find(&self, handle: &Handle) -> Result<usize, usize> {
        let wanted = u128::from_be_bytes(*handle.as_bytes());
        let home = self.home(handle.top());
        let start = home + self.passed(home, handle.top());
        for (offset, slot) in self.slots[start..].iter().enumerate() {
            if slot.is_gap() {
                return Err(start + offset);
            }
            match u128::from_be_bytes(*slot.split().0).cmp(&wanted) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(start + offset),
                Ordering::Greater => return Err(start + offset),
            }
        }
        Err(self.slots.len())
    }

    /// How many of the first slots from a home hold rows with a lesser top; they stand before all others.
    ///
    /// They are read side by side: no branch waits for one of them before the next is fetched.
    fn passed(&self, home: usize, top: u64) -> usize {
        let window = self.slots[home..].first_chunk::<WINDOW>();
        let passed = |slot: &Slot| usize::from(!slot.is_gap() & (slot.top() < top));
        window.map_or(0, |window| window.iter().map(passed).sum())
    }

    pub(super) fn get(&self, handle: &Handle) -> Option<&Slot> {
        self.find(handle).ok().map(|index| &self.slots[index])
    }

    /// Makes room for `count` rows in all. A table that has to grow is rebuilt at a load of 0.64.
    pub(super) fn reserve(&mut self, count: usize) {
        if count * 5 <= self.capacity * 4 {
            return;
        }
        let mut filler = Filler::new(Self::with_capacity(count + count / 16 * 9 + count % 16));
        for slot in self.slots() {
            filler.push(slot);
        }
        *self = filler.table;
    }

    /// Adds gaps to the tail, without doubling the memory held; returns the first.
    fn extend_tail(&mut self) -> usize {
        let end = self.slots.len();
        self.slots.reserve_exact(TAIL);
        self.slots.resize(end + TAIL, Slot::GAP);
        end
    }

    /// Inserts or replaces a row. The caller has reserved room.
    pub(super) fn put(&mut self, row: &Slot) -> Put {
        let index = match self.find(&row.handle()) {
            Ok(index) => {
                let replaced = std::mem::replace(&mut self.slots[index], *row);
                return Put { replaced: Some(replaced), crowded: false };
            }
            Err(index) => index,
        };
        let gap = match self.slots[index..].iter().position(Slot::is_gap) {
            Some(offset) => index + offset,
            None => self.extend_tail(),
        };
        self.slots.copy_within(index..gap, index + 1);
        self.slots[index] = *row;
        self.count += 1;
        let displacement = index - self.home(row.top());
        Put { replaced: None, crowded: displacement.max(gap - index) > MAX_DISPLACEMENT }
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, handle: &Handle) -> Option<Slot> {
        let index = self.find(handle).ok()?;
        let removed = self.slots[index];
        // The rows after it move one back, up to a gap or a row that stands at its home.
        let follows = |(offset, slot): (usize, &Slot)| {
            slot.is_gap() || self.home(slot.top()) == index + 1 + offset
        };
        let end = match self.slots[index + 1..].iter().enumerate().position(follows) {
            Some(offset) => index + 1 + offset,
            None => self.slots.len(),
        };
        self.slots.copy_within(index + 1..end, index);
        self.slots[end - 1] = Slot::GAP;
        self.count -= 1;
        Some(removed)
    }

    /// All rows in the order of their handles.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_gap())
    }

    /// The rows under a prefix, in the order of their handles.
    pub(super) fn slots_under(&self, prefix: Prefix) -> impl Iterator<Item = &Slot> {
        let (first, last) = (prefix.first(), prefix.last());
        let start = self.home(first);
        let end = self.home(last);
        self.slots[start..]
            .iter()
            .enumerate()
            // After the last home, the first gap ends the cluster.
            .take_while(
                move |(offset, slot)| {
                    if slot.is_gap() { start + offset < end } else { slot.top() <= last }
                },
            )
            .map(|(_, slot)| slot)
            .filter(move |slot| !slot.is_gap() && slot.top() >= first)
    }
}

/// Fills an empty table with rows in the order of their handles, without searching.
pub(super) struct Filler {
    table: Table,
    next: usize,
}

impl Filler {
    pub(super) const fn new(empty: Table) -> Self {
        Self { table: empty, next: 0 }
    }

    /// Whether a table of this capacity takes one row more.
    pub(super) const fn has_room(&self) -> bool {
        (self.table.count + 1) * 5 <= self.table.capacity * 4
    }

    /// Adds a row whose handle is greater than all before it. Returns whether the table is now crowded.
    pub(super) fn push(&mut self, row: &Slot) -> bool {
        let table = &mut self.table;
        let home = table.home(row.top());
        let index = home.max(self.next);
        if index == table.slots.len() {
            table.extend_tail();
        }
        table.slots[index] = *row;
        table.count += 1;
        self.next = index + 1;
        index - home > MAX_DISPLACEMENT
    }

    pub(super) fn finish(self) -> Table {
        self.table
    }
}

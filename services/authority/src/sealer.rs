//! One directory being published: which rows it has, which of them wait for a change, and what the next tick re-seals.
//!
//! A tick must look the same whether it stops a person or nothing at all (DESIGN §6): it re-seals a fixed number of rows,
//! drawn uniformly, the real changes among them, and replaces a fixed share of the decoys, the new badges among them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::{panic, thread};

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::Seed;
use lanyard_core::ids::{Audience, Epoch, EventId, Handle, Origin, Timestamp};
use lanyard_core::manifest::Padding;
use lanyard_core::map::{Delta, Row};
use lanyard_core::record::{Record, RecordError, SealedRecord, Status};
use rand::seq::index;
use rand::{CryptoRng, RngExt as _};

use crate::error::PublishError;
use crate::registry::Entry;

/// One replaced decoy stands beside this many re-sealed rows.
const RESEALS_PER_REPLACEMENT: usize = 16;

/// From this many rows on, sealing is shared by the cores.
const PARALLEL_FROM: usize = 2_048;

/// All that an authority wants to publish, by entry id.
pub(crate) type Desired = HashMap<u64, Entry>;

/// Stops go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Stop,
    Other,
}

/// A row as last sealed.
#[derive(Clone, Copy)]
struct Slot {
    handle: Handle,
    version: u32,
    content: Content,
}

#[derive(Clone, Copy, PartialEq)]
enum Content {
    Decoy,
    Entry { id: u64, record: Record },
}

/// Names the directory and holds what seals it.
pub(crate) struct Binder {
    pub(crate) event: EventId,
    pub(crate) origin: Origin,
    pub(crate) epoch: Epoch,
    pub(crate) audience: Audience,
    pub(crate) key: AudienceKey,
}

impl Binder {
    fn handle(&self, entry: &Entry) -> Option<Handle> {
        Some(entry.seed(self.audience)?.epoch_key(&self.event, self.epoch).handle())
    }

    fn seal(&self, seed: &Seed, slot: &Slot, record: &Record) -> Result<SealedRecord, RecordError> {
        let key = seed.epoch_key(&self.event, self.epoch).record_key(&self.key);
        SealedRecord::seal(&key, &self.origin, self.epoch, &slot.handle, slot.version, record)
    }

    /// What a sealed row of `entry` says.
    fn open(&self, entry: &Entry, row: &Row) -> Option<Record> {
        let key = entry.seed(self.audience)?.epoch_key(&self.event, self.epoch);
        let key = key.record_key(&self.key);
        row.record.open(&key, &self.origin, self.epoch, &row.handle).ok()
    }
}

/// A directory's rows and what waits.
pub(crate) struct Sealer {
    binder: Binder,
    slots: Vec<Slot>,
    by_entry: HashMap<u64, u32>,
    decoys: Vec<u32>,
    waiting: BTreeSet<(Urgency, u64)>,
    urgency: HashMap<u64, Urgency>,
    /// The next row of a whole re-seal that is under way.
    sweep: Option<usize>,
}

/// What a tick will write; nothing has changed until [`Sealer::commit`].
pub(crate) struct Rows {
    /// Slots to write, by index; an index past the end appends.
    writes: Vec<(u32, Slot)>,
    /// Entries that stop waiting.
    done: Vec<u64>,
    sweep: Option<usize>,
}

/// How much a tick re-seals.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// The smallest of the manifest's steps that holds all that waits.
    Step,
    /// All that waits, and at least this many rows: the first tick of an epoch. A stop that did not fit would be good again
    /// until the next.
    CatchUp(usize),
}

impl Sealer {
    /// A new directory with every entry and its share of decoys, and its rows in no particular order.
    pub(crate) fn build(
        binder: Binder,
        desired: &Desired,
        padding: &Padding,
        now: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Vec<Row>), RecordError> {
        let mut slots = Vec::with_capacity(desired.len());
        for entry in desired.values() {
            let Some(handle) = binder.handle(entry) else { continue };
            let record = entry.record_for(binder.audience, now);
            slots.push(Slot {
                handle,
                version: 1,
                content: Content::Entry { id: entry.id, record },
            });
        }
        for _ in 0..decoys_wanted(padding, slots.len()) {
            slots.push(Slot::decoy(rng));
        }
        let rows = seal_all(&binder, desired, &slots, rng)?;
        let mut sealer = Self::empty(binder);
        for (index, slot) in slots.iter().enumerate() {
            sealer.track(index as u32, slot);
        }
        sealer.slots = slots;
        Ok((sealer, rows))
    }

    /// A directory as it was published: rows that open for an entry are its, all others are decoys.
    pub(crate) fn recover(
        binder: Binder,
        desired: &Desired,
        rows: impl Iterator<Item = Row>,
        now: Timestamp,
    ) -> Self {
        let owners: HashMap<Handle, &Entry> = desired
            .values()
            .filter_map(|entry| binder.handle(entry).map(|handle| (handle, entry)))
            .collect();
        let mut sealer = Self::empty(binder);
        for row in rows {
            let content = owners.get(&row.handle).and_then(|entry| {
                let record = sealer.binder.open(entry, &row)?;
                Some(Content::Entry { id: entry.id, record })
            });
            let slot = Slot {
                handle: row.handle,
                version: row.record.version(),
                content: content.unwrap_or(Content::Decoy),
            };
            sealer.track(sealer.slots.len() as u32, &slot);
            sealer.slots.push(slot);
        }
        for entry in desired.values() {
            sealer.consider(entry, now);
        }
        sealer
    }

    fn empty(binder: Binder) -> Self {
        Self {
            binder,
            slots: Vec::new(),
            by_entry: HashMap::new(),
            decoys: Vec::new(),
            waiting: BTreeSet::new(),
            urgency: HashMap::new(),
            sweep: None,
        }
    }

    pub(crate) fn binder(&self) -> &Binder {
        &self.binder
    }

    pub(crate) fn rows(&self) -> usize {
        self.slots.len()
    }

    /// What the rows say, by entry.
    pub(crate) fn published(&self) -> impl Iterator<Item = (u64, Record)> {
        self.slots.iter().filter_map(|slot| match slot.content {
            Content::Entry { id, record } => Some((id, record)),
            Content::Decoy => None,
        })
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Puts the entry among those that wait if its row does not say what it should.
    pub(crate) fn consider(&mut self, entry: &Entry, now: Timestamp) {
        let wanted = entry.record_for(self.binder.audience, now);
        let published = self.by_entry.get(&entry.id).map(|index| self.slots[*index as usize]);
        let current = published.and_then(|slot| match slot.content {
            Content::Entry { record, .. } => Some(record),
            Content::Decoy => None,
        });
        self.settle(entry.id);
        if current != Some(wanted) && entry.seed(self.binder.audience).is_some() {
            let stops = current.is_some() && wanted.status != Status::Valid;
            let urgency = if stops { Urgency::Stop } else { Urgency::Other };
            self.waiting.insert((urgency, entry.id));
            self.urgency.insert(entry.id, urgency);
        }
    }

    /// Begins to re-seal every row; the following drafts go on until the last.
    pub(crate) fn begin_sweep(&mut self) {
        self.sweep = Some(0);
    }

    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// What the next tick changes in this directory.
    pub(crate) fn draft(
        &self,
        desired: &Desired,
        padding: &Padding,
        amount: Amount,
        now: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<(Delta, Rows), PublishError> {
        let [first, second, largest] = padding.reseals.map(|step| step as usize);
        let step = [first, second].into_iter().find(|step| self.waiting.len() <= *step);
        let step = match amount {
            Amount::Step => step.unwrap_or(largest),
            Amount::CatchUp(rows) => {
                let needed = with_replacements(self.waiting.len());
                let step = [first, second].into_iter().find(|step| needed <= *step);
                step.unwrap_or_else(|| needed.next_multiple_of(largest)).max(rows)
            }
        };
        let chosen: Vec<&Entry> =
            self.waiting.iter().take(step).filter_map(|(_, id)| desired.get(id)).collect();
        let mut plan = Plan { now, writes: Vec::with_capacity(step), taken: HashSet::new() };
        let mut removed = Vec::new();
        let (known, new): (Vec<&Entry>, Vec<&Entry>) =
            chosen.iter().partition(|entry| self.by_entry.contains_key(&entry.id));
        self.replace_decoys(&mut plan, &mut removed, &new, padding, step, rng);
        // Replacements count among the rows of the tick: what does not fit waits for the next.
        for entry in known.iter().take(step.saturating_sub(plan.writes.len())) {
            let index = self.by_entry[&entry.id];
            plan.reseal(
                index,
                &self.slots[index as usize],
                entry.record_for(self.binder.audience, now),
            );
        }
        let sweep = match self.sweep {
            Some(from) => self.sweep_from(&mut plan, desired, from, largest),
            None => {
                self.fill(&mut plan, desired, step, rng);
                None
            }
        };
        self.seal_draft(plan, removed, sweep, desired, rng)
    }

    /// New badges take the place of decoys; other decoys make way for fresh ones, so that new badges do not stand out.
    fn replace_decoys(
        &self,
        plan: &mut Plan,
        removed: &mut Vec<Handle>,
        new: &[&Entry],
        padding: &Padding,
        step: usize,
        rng: &mut impl CryptoRng,
    ) {
        let replacements = (step / RESEALS_PER_REPLACEMENT).max(new.len()).min(self.decoys.len());
        let mut places = index::sample(rng, self.decoys.len(), replacements)
            .into_iter()
            .map(|place| self.decoys[place]);
        let mut end = self.slots.len() as u32;
        for entry in new {
            let Some(handle) = self.binder.handle(entry) else { continue };
            let record = entry.record_for(self.binder.audience, plan.now);
            let content = Content::Entry { id: entry.id, record };
            let index =
                places.next().inspect(|index| removed.push(self.slots[*index as usize].handle));
            let index = index.unwrap_or_else(|| {
                end += 1;
                end - 1
            });
            plan.write(index, Slot { handle, version: 1, content });
        }
        for index in places {
            removed.push(self.slots[index as usize].handle);
            plan.write(index, Slot::decoy(rng));
        }
        // When badges have used up half of the decoys, a whole share of them is added at once.
        let real = self.by_entry.len() + new.len();
        let left = self.decoys.len().saturating_sub(new.len());
        let wanted = decoys_wanted(padding, real);
        if left < wanted / 2 {
            for index in end..end + (wanted - left) as u32 {
                plan.write(index, Slot::decoy(rng));
            }
        }
    }

    /// Fills the tick up to `step` rows, drawn uniformly from those not taken.
    fn fill(&self, plan: &mut Plan, desired: &Desired, step: usize, rng: &mut impl CryptoRng) {
        let rows = self.slots.len();
        let missing = step.saturating_sub(plan.writes.len());
        if plan.writes.len() + missing >= rows / 2 {
            // So many that drawing without repetition is a shuffle.
            for index in index::sample(rng, rows, rows) {
                if plan.writes.len() >= step {
                    break;
                }
                self.reseal_as_it_should_be(plan, desired, index as u32);
            }
            return;
        }
        let goal = plan.writes.len() + missing;
        while plan.writes.len() < goal {
            self.reseal_as_it_should_be(plan, desired, rng.random_range(0..rows as u32));
        }
    }

    fn sweep_from(
        &self,
        plan: &mut Plan,
        desired: &Desired,
        from: usize,
        most: usize,
    ) -> Option<usize> {
        let end = (from + most).min(self.slots.len());
        for index in from..end {
            self.reseal_as_it_should_be(plan, desired, index as u32);
        }
        (end < self.slots.len()).then_some(end)
    }

    /// A row drawn by chance is re-sealed with what its entry should say, so it may settle one that waits.
    fn reseal_as_it_should_be(&self, plan: &mut Plan, desired: &Desired, index: u32) {
        let slot = &self.slots[index as usize];
        match slot.content {
            Content::Decoy => {
                plan.write_if_free(index, Slot { version: slot.version + 1, ..*slot })
            }
            Content::Entry { id, record } => {
                let wanted = desired
                    .get(&id)
                    .map_or(record, |entry| entry.record_for(self.binder.audience, plan.now));
                plan.reseal(index, slot, wanted);
            }
        }
    }

    fn seal_draft(
        &self,
        plan: Plan,
        removed: Vec<Handle>,
        sweep: Option<usize>,
        desired: &Desired,
        rng: &mut impl CryptoRng,
    ) -> Result<(Delta, Rows), PublishError> {
        let slots: Vec<Slot> = plan.writes.iter().map(|(_, slot)| *slot).collect();
        let upserts = seal_all(&self.binder, desired, &slots, rng)?;
        let done = slots.iter().filter_map(|slot| match slot.content {
            Content::Entry { id, .. } => Some(id),
            Content::Decoy => None,
        });
        let done = done.collect();
        let delta = Delta::new(removed, upserts)?;
        Ok((delta, Rows { writes: plan.writes, done, sweep }))
    }

    /// The draft is in the feed's hands: rows and what waits move on.
    pub(crate) fn commit(&mut self, draft: Rows) {
        let gone: HashSet<u32> = draft
            .writes
            .iter()
            .filter(|(_, slot)| slot.content != Content::Decoy)
            .map(|(index, _)| *index)
            .collect();
        self.decoys.retain(|index| !gone.contains(index));
        for (index, slot) in draft.writes {
            let place = index as usize;
            if place < self.slots.len() {
                self.slots[place] = slot;
                if let Content::Entry { id, .. } = slot.content {
                    self.by_entry.insert(id, index);
                }
            } else {
                self.track(index, &slot);
                self.slots.push(slot);
            }
        }
        for id in draft.done {
            self.settle(id);
        }
        self.sweep = draft.sweep;
    }

    fn settle(&mut self, id: u64) {
        if let Some(urgency) = self.urgency.remove(&id) {
            self.waiting.remove(&(urgency, id));
        }
    }

    fn track(&mut self, index: u32, slot: &Slot) {
        match slot.content {
            Content::Decoy => self.decoys.push(index),
            Content::Entry { id, .. } => {
                self.by_entry.insert(id, index);
            }
        }
    }
}

impl Slot {
    fn decoy(rng: &mut impl CryptoRng) -> Self {
        let mut handle = [0; Handle::SIZE];
        rng.fill_bytes(&mut handle);
        Self { handle: Handle::new(handle), version: 1, content: Content::Decoy }
    }
}

/// Slots that a tick will write, each index once.
struct Plan {
    now: Timestamp,
    writes: Vec<(u32, Slot)>,
    taken: HashSet<u32>,
}

impl Plan {
    fn write(&mut self, index: u32, slot: Slot) {
        self.taken.insert(index);
        self.writes.push((index, slot));
    }

    fn write_if_free(&mut self, index: u32, slot: Slot) {
        if !self.taken.contains(&index) {
            self.write(index, slot);
        }
    }

    fn reseal(&mut self, index: u32, slot: &Slot, record: Record) {
        if let Content::Entry { id, .. } = slot.content {
            let content = Content::Entry { id, record };
            self.write_if_free(
                index,
                Slot { handle: slot.handle, version: slot.version + 1, content },
            );
        }
    }
}

/// The least step that holds so many changes and its own replaced decoys.
fn with_replacements(changes: usize) -> usize {
    (changes * RESEALS_PER_REPLACEMENT).div_ceil(RESEALS_PER_REPLACEMENT - 1)
}

/// Seals some of the entries, and throws them away; returns how many.
pub(crate) fn seal_sample(binder: &Binder, desired: &Desired) -> Result<usize, RecordError> {
    let slots: Vec<Slot> = desired
        .values()
        .take(PARALLEL_FROM)
        .filter_map(|entry| {
            let record = entry.record;
            let content = Content::Entry { id: entry.id, record };
            Some(Slot { handle: binder.handle(entry)?, version: 1, content })
        })
        .collect();
    Ok(seal_real(binder, desired, &slots)?.len())
}

pub(crate) fn decoys_wanted(padding: &Padding, real: usize) -> usize {
    (padding.decoy_floor as usize).max(real * usize::from(padding.decoy_percent) / 100)
}

/// Seals slots into rows, on all cores when there are many.
fn seal_all(
    binder: &Binder,
    desired: &Desired,
    slots: &[Slot],
    rng: &mut impl CryptoRng,
) -> Result<Vec<Row>, RecordError> {
    let mut rows = seal_real(binder, desired, slots)?;
    for slot in slots.iter().filter(|slot| slot.content == Content::Decoy) {
        let record = SealedRecord::decoy(slot.version, rng)?;
        rows.push(Row { handle: slot.handle, record });
    }
    Ok(rows)
}

fn seal_real(binder: &Binder, desired: &Desired, slots: &[Slot]) -> Result<Vec<Row>, RecordError> {
    let seal = |slots: &[Slot]| -> Result<Vec<Row>, RecordError> {
        slots
            .iter()
            .filter_map(|slot| match slot.content {
                Content::Entry { id, record } => {
                    Some((slot, desired.get(&id)?.seed(binder.audience)?, record))
                }
                Content::Decoy => None,
            })
            .map(|(slot, seed, record)| {
                Ok(Row { handle: slot.handle, record: binder.seal(seed, slot, &record)? })
            })
            .collect()
    };
    if slots.len() < PARALLEL_FROM {
        return seal(slots);
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = slots
            .chunks(slots.len().div_ceil(cores))
            .map(|chunk| scope.spawn(move || seal(chunk)))
            .collect();
        let mut rows = Vec::with_capacity(slots.len());
        for worker in workers {
            rows.extend(worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause))?);
        }
        Ok(rows)
    })
}

#[cfg(test)]
mod tests;

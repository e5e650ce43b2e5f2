//! Innocent people against a list: who would become a case.

use std::collections::HashMap;

use lanyard_core::identity::{Facts, IdentityKey, Strength};
use lanyard_core::ids::EventId;

/// A list's keys, in clear.
pub(super) struct Index {
    event: EventId,
    keys: HashMap<Vec<u8>, Strength>,
    pub(super) counts: Counts,
}

/// How many keys there are of whom.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// People or entries.
    pub(super) of: u64,
    pub(super) keys: u64,
    pub(super) most: u64,
    pub(super) without: u64,
}

impl Counts {
    fn add(&mut self, keys: &[IdentityKey]) {
        self.of += 1;
        self.keys += keys.len() as u64;
        self.most = self.most.max(keys.len() as u64);
        self.without += u64::from(keys.is_empty());
    }

    pub(super) fn average(&self) -> f64 {
        self.keys as f64 / self.of.max(1) as f64
    }
}

/// How many people match, by their strongest key.
#[derive(Clone, Copy, Default)]
pub(super) struct Cases {
    pub(super) strong: u64,
    pub(super) medium: u64,
    pub(super) weak: u64,
}

impl Cases {
    pub(super) const fn total(&self) -> u64 {
        self.strong + self.medium + self.weak
    }

    pub(super) const fn count(&mut self, strength: Strength) {
        match strength {
            Strength::Strong => self.strong += 1,
            Strength::Medium => self.medium += 1,
            Strength::Weak => self.weak += 1,
        }
    }
}

/// The strongest key that a person and an entry share.
pub(super) fn matched(event: &EventId, person: &Facts, entry: &Facts) -> Option<Strength> {
    let entry = entry.entry_keys(event);
    let keys = person.person_keys(event);
    let shared = keys.iter().filter(|key| entry.iter().any(|one| one.as_bytes() == key.as_bytes()));
    shared.map(|key| key.kind().strength()).max()
}

impl Index {
    pub(super) fn new<'a>(event: &EventId, entries: impl Iterator<Item = &'a Facts>) -> Self {
        let mut index =
            Self { event: event.clone(), keys: HashMap::new(), counts: Counts::default() };
        for entry in entries {
            let keys = entry.entry_keys(event);
            index.counts.add(&keys);
            for key in &keys {
                index.keys.insert(key.as_bytes().to_vec(), key.kind().strength());
            }
        }
        index
    }

    /// Who matches, and how many keys all have.
    pub(super) fn screen<'a>(&self, people: impl Iterator<Item = &'a Facts>) -> (Cases, Counts) {
        let (mut cases, mut counts) = (Cases::default(), Counts::default());
        for person in people {
            let keys = person.person_keys(&self.event);
            counts.add(&keys);
            let found = keys.iter().filter_map(|key| self.keys.get(key.as_bytes()).copied());
            if let Some(strongest) = found.max() {
                cases.count(strongest);
            }
        }
        (cases, counts)
    }
}

//! Which machine reaches which: what an invariant may ask of a gate depends on it.

mod reach;

use std::collections::{BTreeMap, BTreeSet};

use lanyard_core::ids::Authority;

use crate::clocks::Clocks;
use crate::event::LIAR;
use crate::op::{Lie, MACHINES};

pub(crate) use self::reach::{BOUND_MILLIS, FAILOVER_MILLIS, RECOVERY_MILLIS};
use self::reach::{Quorum, Way};

/// Longest delay of a message on a way that counts as good, in milliseconds.
const GOOD_DELAY: u64 = 100;

/// The state of machines, links and clocks, and since when.
pub(crate) struct Links {
    down: BTreeSet<&'static str>,
    /// When a machine was last started again.
    started: BTreeMap<&'static str, u64>,
    /// Authorities that went on from an old copy: they wait until everybody has said what is known of their log.
    restored: BTreeSet<&'static str>,
    cut: BTreeSet<(&'static str, &'static str)>,
    delays: BTreeMap<(&'static str, &'static str), u64>,
    lies: [Lie; 2],
    clocks: Clocks,
    /// By gate, authority and upstream.
    ways: BTreeMap<(&'static str, usize, &'static str), Way>,
    quorums: [Quorum; 2],
    /// When what a machine may know was attested, at the latest.
    known: BTreeMap<(&'static str, usize), u64>,
    /// When what a gate knows for certain was attested, at the earliest.
    certain: BTreeMap<(&'static str, usize), u64>,
}

/// An authority's place in arrays.
#[must_use]
pub(crate) const fn index(authority: Authority) -> usize {
    match authority {
        Authority::Committee => 0,
        Authority::Police => 1,
    }
}

fn pair(a: &'static str, b: &'static str) -> (&'static str, &'static str) {
    if a < b { (a, b) } else { (b, a) }
}

impl Default for Links {
    fn default() -> Self {
        Self {
            down: BTreeSet::new(),
            started: BTreeMap::new(),
            restored: BTreeSet::new(),
            cut: BTreeSet::new(),
            delays: BTreeMap::new(),
            lies: [Lie::Honest; 2],
            clocks: Clocks::default(),
            ways: Way::all(),
            quorums: [Quorum::default(); 2],
            known: BTreeMap::new(),
            certain: BTreeMap::new(),
        }
    }
}

impl Links {
    /// How the mirror that may lie treats an authority's feed.
    #[must_use]
    pub(crate) const fn lie(&self, authority: Authority) -> Lie {
        self.lies[index(authority)]
    }

    /// The machines' clocks.
    #[must_use]
    pub(crate) const fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Whether a machine runs.
    #[must_use]
    pub(crate) fn is_up(&self, machine: &str) -> bool {
        !self.down.contains(machine)
    }

    /// When a machine was last started; 0 if it was never stopped.
    #[must_use]
    pub(crate) fn started(&self, machine: &str) -> u64 {
        self.started.get(machine).copied().unwrap_or_default()
    }

    /// A machine stops or starts.
    pub(crate) fn set_up(&mut self, machine: &'static str, up: bool, now: u64) {
        self.before_change(now);
        if up {
            self.down.remove(machine);
            self.started.insert(machine, now);
        } else {
            self.down.insert(machine);
        }
        self.changed(now);
    }

    /// An authority will go on from an old copy of its disk.
    pub(crate) fn restore(&mut self, machine: &'static str, now: u64) {
        self.before_change(now);
        self.restored.insert(machine);
        self.changed(now);
    }

    /// A link is cut or mended.
    pub(crate) fn set_cut(&mut self, a: &'static str, b: &'static str, cut: bool, now: u64) {
        self.before_change(now);
        if cut {
            self.cut.insert(pair(a, b));
        } else {
            self.cut.remove(&pair(a, b));
        }
        self.changed(now);
    }

    /// A link gets slow, or quick again.
    pub(crate) fn set_delay(&mut self, a: &'static str, b: &'static str, millis: u64, now: u64) {
        self.before_change(now);
        self.delays.insert(pair(a, b), millis);
        self.changed(now);
    }

    /// The mirror lies in another way.
    pub(crate) fn set_lie(&mut self, authority: Authority, lie: Lie, now: u64) {
        self.before_change(now);
        self.lies[index(authority)] = lie;
        self.changed(now);
    }

    /// A clock is set.
    pub(crate) fn set_offset(&mut self, machine: &'static str, millis: i64, now: u64) {
        self.before_change(now);
        self.clocks.set(machine, millis, now);
        self.changed(now);
    }

    fn linked(&self, a: &'static str, b: &'static str) -> bool {
        self.is_up(a) && self.is_up(b) && !self.cut.contains(&pair(a, b))
    }

    /// Whether what one sends, the other has at once, and takes by its clock.
    fn is_fine(&self, a: &'static str, b: &'static str) -> bool {
        let delay = self.delays.get(&pair(a, b)).copied().unwrap_or_default();
        self.linked(a, b) && delay <= GOOD_DELAY
    }
}

/// All that have a place in the network.
fn everybody() -> impl Iterator<Item = &'static str> {
    MACHINES.into_iter().chain([LIAR])
}

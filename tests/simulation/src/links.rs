//! Which machine reaches which: what an invariant may ask of a gate depends on it.

use std::collections::{BTreeMap, BTreeSet};

use lanyard_core::ids::Authority;

use crate::event::{GATES, LIAR, SKEW_MILLIS};
use crate::op::{Lie, MACHINES};

/// Longest delay of a message on a way that counts as good, in milliseconds.
const GOOD_DELAY: u64 = 100;

/// The state of machines, links and clocks, and since when.
pub(crate) struct Links {
    down: BTreeSet<&'static str>,
    cut: BTreeSet<(&'static str, &'static str)>,
    delays: BTreeMap<(&'static str, &'static str), u64>,
    lies: [Lie; 2],
    /// Machine, since when, how far off.
    offsets: Vec<(&'static str, u64, i64)>,
    /// Since when each gate has had nothing but good ways to each authority.
    good_since: BTreeMap<(&'static str, usize), u64>,
    /// When what a machine may know was attested, at the latest.
    known: BTreeMap<(&'static str, usize), u64>,
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

/// Whom a gate follows.
fn upstreams(gate: &str) -> &'static [&'static str] {
    match gate {
        "gate-1" => &["sponsor", "committee"],
        "gate-2" => &[LIAR, "police"],
        _ => &["sponsor"],
    }
}

/// Whom a mirror follows.
fn sources(machine: &str) -> &'static [&'static str] {
    match machine {
        LIAR => &["sponsor"],
        "sponsor" => &["committee", "police"],
        "committee" => &["sponsor", "police"],
        "police" => &["sponsor", "committee"],
        _ => &[],
    }
}

const WITNESSES: [&str; 4] = ["trustee", "committee", "police", "sponsor"];

impl Default for Links {
    fn default() -> Self {
        let all = || GATES.iter().flat_map(|gate| [(*gate, 0), (*gate, 1)]);
        Self {
            down: BTreeSet::new(),
            cut: BTreeSet::new(),
            delays: BTreeMap::new(),
            lies: [Lie::Honest; 2],
            offsets: Vec::new(),
            good_since: all().map(|key| (key, 0)).collect(),
            known: BTreeMap::new(),
        }
    }
}

impl Links {
    /// How the mirror that may lie treats an authority's feed.
    #[must_use]
    pub(crate) const fn lie(&self, authority: Authority) -> Lie {
        self.lies[index(authority)]
    }

    /// Whether a machine runs.
    #[must_use]
    pub(crate) fn is_up(&self, machine: &str) -> bool {
        !self.down.contains(machine)
    }

    /// A machine stops or starts.
    pub(crate) fn set_up(&mut self, machine: &'static str, up: bool, now: u64) {
        self.spread(now);
        if up {
            self.down.remove(machine);
        } else {
            self.down.insert(machine);
        }
        self.changed(now);
    }

    /// A link is cut or mended.
    pub(crate) fn set_cut(&mut self, a: &'static str, b: &'static str, cut: bool, now: u64) {
        self.spread(now);
        if cut {
            self.cut.insert(pair(a, b));
        } else {
            self.cut.remove(&pair(a, b));
        }
        self.changed(now);
    }

    /// A link gets slow, or quick again.
    pub(crate) fn set_delay(&mut self, a: &'static str, b: &'static str, millis: u64, now: u64) {
        self.spread(now);
        self.delays.insert(pair(a, b), millis);
        self.changed(now);
    }

    /// The mirror lies in another way.
    pub(crate) fn set_lie(&mut self, authority: Authority, lie: Lie, now: u64) {
        self.spread(now);
        self.lies[index(authority)] = lie;
        self.changed(now);
    }

    /// A clock is set.
    pub(crate) fn set_offset(&mut self, machine: &'static str, millis: i64, now: u64) {
        self.spread(now);
        self.offsets.push((machine, now, millis));
        self.changed(now);
    }

    fn offset(&self, machine: &str) -> i64 {
        let of_it = self.offsets.iter().rev().find(|(name, ..)| *name == machine);
        of_it.map_or(0, |(.., millis)| *millis)
    }

    /// The farthest that any clock was off between two times.
    #[must_use]
    pub(crate) fn farthest_off(&self, from: u64, to: u64) -> u64 {
        let mut farthest = 0;
        for (place, (machine, since, millis)) in self.offsets.iter().enumerate() {
            let later = self.offsets[place + 1..].iter().find(|(name, ..)| name == machine);
            let until = later.map_or(u64::MAX, |(_, until, _)| *until);
            if *since <= to && until >= from {
                farthest = farthest.max(millis.unsigned_abs());
            }
        }
        farthest
    }

    /// Since when a gate has had nothing but good ways to an authority.
    #[must_use]
    pub(crate) fn good_since(&self, gate: &str, authority: Authority) -> Option<u64> {
        let found = self.good_since.iter().find(|(key, _)| *key == &(gate, index(authority)));
        found.map(|(_, since)| *since)
    }

    /// When the newest that a gate may know of an authority was attested; `None` if what is attested now can come to it.
    #[must_use]
    pub(crate) fn known_until(&self, gate: &'static str, authority: Authority) -> Option<u64> {
        let known = self.known.get(&(gate, index(authority))).copied().unwrap_or_default();
        (!self.is_reached(gate, authority)).then_some(known)
    }

    /// What was attested until now comes wherever there is a way.
    fn spread(&mut self, now: u64) {
        for authority in Authority::ALL {
            let place = index(authority);
            if self.is_attested(authority) {
                self.known.insert((authority.name(), place), now);
            }
            for machine in MACHINES.into_iter().chain([LIAR]) {
                let ways = self.ways(machine).into_iter();
                let newest = ways.filter_map(|from| self.known.get(&(from, place))).max().copied();
                let known = self.known.entry((machine, place)).or_default();
                *known = newest.unwrap_or_default().max(*known);
            }
        }
    }

    fn changed(&mut self, now: u64) {
        self.spread(now);
        for gate in GATES {
            for authority in Authority::ALL {
                let key = (gate, index(authority));
                if self.is_good(gate, authority) {
                    // Whatever changes elsewhere: a way that was good and is, stays so.
                    self.good_since.entry(key).or_insert(now);
                } else {
                    self.good_since.remove(&key);
                }
            }
        }
    }

    fn linked(&self, a: &'static str, b: &'static str) -> bool {
        self.is_up(a) && self.is_up(b) && !self.cut.contains(&pair(a, b))
    }

    fn is_fine(&self, a: &'static str, b: &'static str) -> bool {
        let delay = self.delays.get(&pair(a, b)).copied().unwrap_or_default();
        self.linked(a, b) && delay <= GOOD_DELAY
    }

    fn is_good(&self, gate: &'static str, authority: Authority) -> bool {
        let own = authority.name();
        let clocks_right =
            self.offsets.iter().all(|(machine, ..)| self.offset(machine).unsigned_abs() == 0);
        let way = |upstream: &'static str| match upstream {
            LIAR => {
                self.is_fine(gate, LIAR)
                    && self.is_fine(LIAR, "sponsor")
                    && self.is_fine("sponsor", own)
                    && self.lies == [Lie::Honest; 2]
            }
            upstream => {
                self.is_fine(gate, upstream) && (upstream == own || self.is_fine(upstream, own))
            }
        };
        clocks_right && upstreams(gate).iter().all(|upstream| way(upstream))
    }

    /// Whether what an authority signs now finds its quorum.
    fn is_attested(&self, authority: Authority) -> bool {
        let own = authority.name();
        let witnesses = WITNESSES.into_iter().filter(|name| *name != own && self.linked(own, name));
        self.is_up(own) && witnesses.count() >= 2
    }

    /// Whether an attestation that is made now can come to the gate by any way.
    fn is_reached(&self, gate: &'static str, authority: Authority) -> bool {
        self.is_attested(authority) && self.ways(gate).contains(&authority.name())
    }

    /// From which machines a feed can come to one, by any number of others.
    fn ways(&self, to: &'static str) -> Vec<&'static str> {
        let from =
            |machine| if GATES.contains(&machine) { upstreams(machine) } else { sources(machine) };
        let (mut reached, mut next) = (vec![to], 0);
        while let Some(machine) = reached.get(next).copied() {
            next += 1;
            for source in from(machine) {
                if self.linked(machine, source) && !reached.contains(source) {
                    reached.push(source);
                }
            }
        }
        reached
    }

    /// How much longer than by a right clock knowledge may look fresh.
    #[must_use]
    pub(crate) fn slack(&self, from: u64, to: u64) -> u64 {
        SKEW_MILLIS + 2 * self.farthest_off(from, to)
    }
}

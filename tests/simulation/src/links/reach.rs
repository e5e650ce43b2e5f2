//! What follows from the links for what a gate can know, and what it must.

use std::collections::BTreeMap;

use lanyard_core::ids::Authority;

use super::{Links, everybody, index};
use crate::event::{GATES, LIAR, LIMIT_MILLIS, QUORUM, SKEW_MILLIS, TICK_MILLIS};
use crate::op::Lie;

/// After which all is as if nothing had been cut, a mirror that lied being left alone the longest.
pub(crate) const RECOVERY_MILLIS: u64 = 75_000;

/// After which a way that was bad, but by no lie, serves: its mirror and then the gate have left it alone for 15 s at most each,
/// and one of them is busy with another that does not answer.
const SETTLED_MILLIS: u64 = 45_000;

/// How old what a gate has is at most while nothing is wrong: a tick, its cosignatures, and the way.
const STEADY_MILLIS: u64 = 4_000;

/// The same while one way is good, and two witnesses are well: that the gate leaves another upstream, that the mirror does, and
/// that the mirror's witness waits for it meanwhile.
const TURNING_MILLIS: u64 = 25_000;

/// What arrives may have been on its way for so long: three links with the longest delay.
const LATE_MILLIS: u64 = 10_000;

const WITNESSES: [&str; 4] = ["trustee", "committee", "police", "sponsor"];

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

/// The witnesses of an authority's log.
fn witnesses(authority: Authority) -> impl Iterator<Item = &'static str> {
    WITNESSES.into_iter().filter(move |name| *name != authority.name())
}

/// From when on something serves that has been good since `since`, the beginning being as good as any time.
fn settled(since: u64, millis: u64) -> u64 {
    if since == 0 { 0 } else { since + millis }
}

/// One way from an authority to a gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Since when it has been good.
    since: Option<u64>,
    /// When somebody on it was last taken for a liar.
    lied: Option<u64>,
}

impl Way {
    /// All of them, good from the beginning.
    pub(super) fn all() -> BTreeMap<(&'static str, usize, &'static str), Self> {
        let gates = GATES.into_iter().flat_map(|gate| [(gate, 0), (gate, 1)]);
        let keys = gates.flat_map(|(gate, place)| {
            upstreams(gate).iter().map(move |upstream| (gate, place, *upstream))
        });
        keys.map(|key| (key, Self { since: Some(0), lied: None })).collect()
    }

    /// From when on it serves for certain, if it was left for `millis` at most.
    fn serves_from(self, millis: u64) -> Option<u64> {
        let forgiven = self.lied.map_or(0, |time| time + RECOVERY_MILLIS);
        Some(settled(self.since?, millis).max(forgiven))
    }
}

/// Since when an authority finds witnesses that are well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quorum {
    enough: Option<u64>,
    all: Option<u64>,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { enough: Some(0), all: Some(0) }
    }
}

impl Links {
    /// From when on a gate has had nothing but ways to an authority that serve.
    #[must_use]
    pub(crate) fn steady_from(&self, gate: &str, authority: Authority) -> Option<u64> {
        let ways = self.ways_of(gate, authority).map(|way| way.serves_from(RECOVERY_MILLIS));
        ways.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    /// From when on a gate has had one way to an authority that serves, whatever the others do.
    #[must_use]
    pub(crate) fn connected_from(&self, gate: &str, authority: Authority) -> Option<u64> {
        self.ways_of(gate, authority).filter_map(|way| way.serves_from(SETTLED_MILLIS)).min()
    }

    fn ways_of(&self, gate: &str, authority: Authority) -> impl Iterator<Item = Way> {
        let place = index(authority);
        let of_gate = self.ways.iter().filter(move |(key, _)| key.0 == gate && key.1 == place);
        of_gate.map(|(_, way)| *way)
    }

    /// When the newest that a gate may know of an authority was attested; `None` if what is attested now can come to it.
    #[must_use]
    pub(crate) fn known_until(&self, gate: &'static str, authority: Authority) -> Option<u64> {
        let known = self.known.get(&(gate, index(authority))).copied().unwrap_or_default();
        (!self.is_reached(gate, authority)).then_some(known)
    }

    /// When the newest that a gate has of an authority for certain was attested.
    #[must_use]
    pub(crate) fn certain(&self, gate: &'static str, authority: Authority, now: u64) -> u64 {
        let kept = self.certain.get(&(gate, index(authority))).copied().unwrap_or_default();
        let until = now.saturating_sub(STEADY_MILLIS);
        kept.max(self.certain_now(gate, authority, now)).min(until)
    }

    fn certain_now(&self, gate: &'static str, authority: Authority, now: u64) -> u64 {
        let quorum = self.quorums[index(authority)];
        let holds = |ways: Option<u64>, witnesses: Option<u64>| {
            ways.zip(witnesses).is_some_and(|(ways, witnesses)| {
                ways.max(settled(witnesses, SETTLED_MILLIS)) <= now
            })
        };
        if holds(self.steady_from(gate, authority), quorum.all) {
            return now.saturating_sub(STEADY_MILLIS);
        }
        // An upstream without cosignatures is compared with another one; but not soon after that one was left, or did not bring
        // them either.
        let withheld = self.lies[index(authority)] == Lie::Withhold;
        let serves = match withheld && upstreams(gate).contains(&LIAR) {
            true => holds(self.undisturbed(gate, authority), quorum.all),
            false => holds(self.connected_from(gate, authority), quorum.enough),
        };
        if serves { now.saturating_sub(TURNING_MILLIS) } else { 0 }
    }

    /// From when on a gate has had a way that was never bad: always or never.
    fn undisturbed(&self, gate: &str, authority: Authority) -> Option<u64> {
        let always = |way: &Way| way.since == Some(0) && way.lied.is_none();
        self.ways_of(gate, authority).find(always).map(|_| 0)
    }

    /// How much older than it is, at most, a gate may take what was attested at some time to be, by clocks that are off.
    #[must_use]
    pub(crate) fn looks_older(
        &self,
        gate: &str,
        authority: Authority,
        attested: u64,
        now: u64,
    ) -> u64 {
        let (_, ahead) = self.clocks.extremes(gate, attested, now);
        let behind =
            |name| self.clocks.extremes(name, attested.saturating_sub(LIMIT_MILLIS), now).0;
        let attesting = witnesses(authority).chain([authority.name()]).map(behind).max();
        // Those that are farther off do not count as well.
        ahead + attesting.unwrap_or_default().min(SKEW_MILLIS)
    }

    /// How much younger than it is, at most, a gate may take what was attested at some time to be, by clocks that are off.
    ///
    /// The gate's own counts if it is behind; but time that passes while it runs is counted whatever its clock says. The
    /// witnesses' count if so many of them are ahead that no quorum is without one: the age is that of the newest time that a
    /// quorum has reached, and not of more than the authority's, which refuses witnesses that are ahead by more than is allowed.
    #[must_use]
    pub(crate) fn looks_younger(
        &self,
        gate: &str,
        authority: Authority,
        attested: u64,
        now: u64,
    ) -> u64 {
        let from = attested.saturating_sub(LIMIT_MILLIS);
        let (behind, _) = self.clocks.extremes(gate, from, now);
        let counted = self.started(gate) <= attested;
        let behind = if counted { behind.min(LATE_MILLIS) } else { behind };
        let ahead = |name| self.clocks.extremes(name, from, now).1;
        let mut of_witnesses: Vec<u64> = witnesses(authority).map(ahead).collect();
        of_witnesses.sort_unstable();
        let of_quorum = of_witnesses.iter().rev().nth(QUORUM - 1).copied().unwrap_or_default();
        behind + of_quorum.min(SKEW_MILLIS + ahead(authority.name()))
    }

    /// What was until now, before something changes.
    pub(super) fn before_change(&mut self, now: u64) {
        self.spread(now);
        for gate in GATES {
            for authority in Authority::ALL {
                let certain = self.certain_now(gate, authority, now);
                let kept = self.certain.entry((gate, index(authority))).or_default();
                *kept = certain.max(*kept);
            }
        }
        self.note_lies(now);
    }

    /// What was attested until now comes wherever there is a way.
    fn spread(&mut self, now: u64) {
        for authority in Authority::ALL {
            let place = index(authority);
            if self.is_attested(authority) {
                self.known.insert((authority.name(), place), now);
            }
            for machine in everybody() {
                let ways = self.sources_of(machine).into_iter();
                let newest = ways.filter_map(|from| self.known.get(&(from, place))).max().copied();
                let known = self.known.entry((machine, place)).or_default();
                *known = newest.unwrap_or_default().max(*known);
            }
        }
    }

    /// After something has changed.
    pub(super) fn changed(&mut self, now: u64) {
        self.spread(now);
        self.note_lies(now);
        let good: Vec<_> = self
            .ways
            .keys()
            .copied()
            .filter(|(gate, place, by)| self.is_good(gate, *place, by))
            .collect();
        for (key, way) in &mut self.ways {
            // Whatever changes elsewhere: a way that was good and is, stays so.
            way.since = good.contains(key).then(|| way.since.unwrap_or(now));
        }
        for authority in Authority::ALL {
            let well = self.well_witnesses(authority);
            let quorum = &mut self.quorums[index(authority)];
            quorum.enough = (well >= QUORUM).then(|| quorum.enough.unwrap_or(now));
            quorum.all = (well > QUORUM).then(|| quorum.all.unwrap_or(now));
        }
    }

    /// Who lies is left alone for longer, and so is who is taken for a liar because two clocks differ.
    fn note_lies(&mut self, now: u64) {
        let lies = |links: &Self, (gate, place, by): (&'static str, usize, &'static str)| {
            let own = Authority::ALL[place].name();
            let machines = [gate, if by == LIAR { "sponsor" } else { by }];
            let disagree = machines.iter().any(|one| !links.clocks.agree(one, own));
            disagree || (by == LIAR && links.lies != [Lie::Honest; 2])
        };
        let lied: Vec<_> = self.ways.keys().copied().filter(|key| lies(self, *key)).collect();
        for key in lied {
            if let Some(way) = self.ways.get_mut(&key) {
                way.lied = Some(now);
            }
        }
    }

    fn is_good(&self, gate: &'static str, place: usize, upstream: &'static str) -> bool {
        let authority = Authority::ALL[place];
        let own = authority.name();
        let agrees = |machine| self.clocks.agree(machine, own);
        let from_sponsor = || self.is_fine("sponsor", own) && agrees("sponsor");
        let by_way = match upstream {
            LIAR => {
                let honest = self.lies == [Lie::Honest; 2];
                honest
                    && self.is_fine(gate, LIAR)
                    && self.is_fine(LIAR, "sponsor")
                    && from_sponsor()
            }
            "sponsor" => self.is_fine(gate, "sponsor") && from_sponsor(),
            mirror if mirror == own => self.is_fine(gate, own),
            mirror => self.is_fine(gate, mirror) && self.is_fine(mirror, own) && agrees(mirror),
        };
        let publishes = self.publishes(authority);
        by_way && publishes && agrees(gate) && !self.clocks.may_have_led_astray()
    }

    /// Whether an authority that runs goes on with its log: one that was started again asks mirrors and witnesses first.
    fn publishes(&self, authority: Authority) -> bool {
        let own = authority.name();
        let well = self.well_witnesses(authority);
        if self.restored.contains(own) {
            return well == witnesses(authority).count();
        }
        self.started(own) == 0 || well >= QUORUM
    }

    /// Witnesses that an authority reaches at once, and whose clocks agree with its own.
    fn well_witnesses(&self, authority: Authority) -> usize {
        let own = authority.name();
        let is_well = |name: &&'static str| self.is_fine(own, name) && self.clocks.agree(own, name);
        witnesses(authority).filter(is_well).count()
    }

    /// Whether what an authority signs now finds its quorum.
    fn is_attested(&self, authority: Authority) -> bool {
        let own = authority.name();
        let reached = witnesses(authority).filter(|name| self.linked(own, name));
        self.is_up(own) && reached.count() >= QUORUM
    }

    /// Whether an attestation that is made now can come to the gate by any way.
    fn is_reached(&self, gate: &'static str, authority: Authority) -> bool {
        self.is_attested(authority) && self.sources_of(gate).contains(&authority.name())
    }

    /// From which machines a feed can come to one, by any number of others.
    fn sources_of(&self, to: &'static str) -> Vec<&'static str> {
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
}

/// From the acknowledgement of a stop to its refusal at a gate with nothing but good ways: the tick that is under way, the next
/// one, and the way.
pub(crate) const BOUND_MILLIS: u64 = 2 * TICK_MILLIS + 500;

/// The same at a gate with one good way, whatever another upstream is: five ticks until the gate leaves that one, five more if
/// the mirror on the good way has to leave one of its own, and connections.
pub(crate) const FAILOVER_MILLIS: u64 = BOUND_MILLIS + 2 * 5 * TICK_MILLIS + 2_500;

#[cfg(test)]
mod tests {
    use super::*;

    const POLICE: Authority = Authority::Police;

    #[test]
    fn a_gate_with_one_of_two_ways_is_connected_and_not_steady() {
        let mut links = Links::default();
        assert_eq!(links.steady_from("gate-1", POLICE), Some(0));
        links.set_cut("committee", "gate-1", true, 10_000);
        assert_eq!(links.steady_from("gate-1", POLICE), None);
        assert_eq!(links.connected_from("gate-1", POLICE), Some(0));
        links.set_cut("sponsor", "gate-1", true, 20_000);
        assert_eq!(links.connected_from("gate-1", POLICE), None);
        links.set_cut("committee", "gate-1", false, 30_000);
        assert_eq!(links.connected_from("gate-1", POLICE), Some(30_000 + SETTLED_MILLIS));
        links.set_cut("sponsor", "gate-1", false, 40_000);
        assert_eq!(links.steady_from("gate-1", POLICE), Some(40_000 + RECOVERY_MILLIS));
    }

    #[test]
    fn what_a_gate_has_for_certain_stays_when_it_is_cut_off() {
        let mut links = Links::default();
        assert_eq!(links.certain("gate-3", POLICE, 50_000), 50_000 - STEADY_MILLIS);
        links.set_cut("sponsor", "gate-3", true, 50_000);
        assert_eq!(links.certain("gate-3", POLICE, 70_000), 50_000 - STEADY_MILLIS);
        assert_eq!(links.known_until("gate-3", POLICE), Some(50_000));
        // With one way less and one witness less, it has something, and later.
        links.set_cut("committee", "gate-1", true, 60_000);
        links.set_up("trustee", false, 60_000);
        assert_eq!(links.certain("gate-1", POLICE, 90_000), 90_000 - TURNING_MILLIS);
        links.set_cut("committee", "police", true, 90_000);
        assert_eq!(links.certain("gate-1", POLICE, 99_000), 90_000 - TURNING_MILLIS);
    }

    #[test]
    fn one_clock_that_is_off_matters_if_it_is_the_gates() {
        let hours = 3 * 3_600_000;
        let mut links = Links::default();
        links.set_offset("trustee", hours, 1_000);
        assert_eq!(links.looks_younger("gate-1", POLICE, 5_000, 9_000), 0, "of three, one is off");
        links.set_offset("sponsor", hours, 2_000);
        assert_eq!(links.looks_younger("gate-1", POLICE, 5_000, 9_000), SKEW_MILLIS);
        links.set_offset("gate-1", -hours, 3_000);
        assert_eq!(links.looks_younger("gate-2", POLICE, 5_000, 9_000), SKEW_MILLIS);
        let counted = SKEW_MILLIS + LATE_MILLIS;
        assert_eq!(links.looks_younger("gate-1", POLICE, 5_000, 9_000), counted);
        links.set_up("gate-1", true, 6_000);
        let lost = SKEW_MILLIS + hours.unsigned_abs();
        assert_eq!(links.looks_younger("gate-1", POLICE, 5_000, 9_000), lost);
    }
}

//! The check: one badge, two authorities, the newest signed and the newest quorum state of each.
//!
//! - A stop counts as soon as it is signed, an improvement once a quorum of witnesses stands behind it: both states
//!   are decided on, and the worse answer is given.
//! - The clock never runs behind the highest quorum time seen of either authority, and what passed since.
//! - Each authority is looked up in its own live epoch: one of them may have begun a new one out of turn.
//! - A state whose head is of an earlier epoch than the clock's lacks that epoch's first tick, the catch-up: the
//!   directory published ahead has been frozen since, so the earlier one is never older. While the tick may be on its
//!   way, the earlier directory decides. Once it is missed, the badge is looked up in both epochs, and the worse answer
//!   is given; only a record counts, as a badge that is not in the frozen directory may have been issued since. A scoped
//!   code has the keys of both epochs then, if it was derived by the plan; else it is undetermined.
//! - What is too old or absent by a clock that is known to be wrong is the clock's fault, and is said to be.

use std::sync::Arc;

use lanyard_core::badge::Presented;
use lanyard_core::decision::{Decision, Finding, Knowledge, Question, Verdict, decide};
use lanyard_core::freshness::ClockError;
use lanyard_core::ids::{Audience, Epoch, Timestamp};
use lanyard_core::profile::ProfileTable;
use lanyard_core::receipt::Consulted;
use lanyard_env::{Env, Files};
use lanyard_feed::Mirror;
use rand::Rng as _;

use crate::rules::{Door, Rules};

mod sighting;
#[cfg(test)]
mod tests;

use sighting::{Sighting, Source, State};

/// Decides at a gate, on two mirrors of the gates' directories.
pub struct Checker {
    env: Env,
    committee: Arc<Mirror>,
    police: Arc<Mirror>,
    no_profiles: ProfileTable,
}

/// A decision, and what it was made on.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The decision.
    pub decision: Decision,
    /// The time that it was made for.
    pub time: Timestamp,
    /// Where the committee was consulted.
    pub committee: Consulted,
    /// Where the police were consulted.
    pub police: Consulted,
}

impl Checked {
    /// The worse of two.
    fn worse(self, other: Self) -> Self {
        let worse = self.decision.clone().worse(other.decision.clone());
        if worse == self.decision { self } else { other }
    }
}

/// The time of one check.
#[derive(Clone, Copy)]
struct Moment {
    /// Never behind what witnesses prove.
    now: Timestamp,
    /// The epoch that the manifest's plan has then.
    planned: Epoch,
}

/// Both mirrors at one moment, and what holds for one check.
struct Scene<'a> {
    rules: &'a Rules,
    door: &'a Door,
    presented: &'a Presented,
    moment: Moment,
    secondary_check: bool,
    committee: Source<'a>,
    police: Source<'a>,
}

/// What both authorities' directories say of the badge, each in one epoch.
struct Pair<'a> {
    committee: Sighting<'a>,
    police: Sighting<'a>,
}

impl Checker {
    /// A checker on the committee's and the police's mirrors.
    #[must_use]
    pub fn new(env: Env, committee: Arc<Mirror>, police: Arc<Mirror>) -> Self {
        Self { env, committee, police, no_profiles: ProfileTable::default() }
    }

    /// The mirrors, the committee's first.
    #[must_use]
    pub fn mirrors(&self) -> [&Arc<Mirror>; 2] {
        [&self.committee, &self.police]
    }

    /// The time here, and where the gate stands with both authorities while nobody is looked up.
    #[must_use]
    pub fn stand(&self, rules: &Rules) -> (Timestamp, [Consulted; 2]) {
        let (committee, police) = (Source::of(&self.committee), Source::of(&self.police));
        let moment = self.moment(rules, &committee, &police);
        let [in_committee, in_police] = [&committee, &police]
            .map(|source| source.live_epoch(State::Signed).unwrap_or(moment.planned));
        (moment.now, [committee.not_consulted(in_committee), police.not_consulted(in_police)])
    }

    /// What is wrong with this machine's clock, if anything is known to be. An authority whose time alone is refused, while
    /// the other's agrees with the clock here, is wrong itself.
    #[must_use]
    pub fn clock_error(&self, rules: &Rules) -> Option<ClockError> {
        let allowed = rules.manifest().allowed_millis();
        let errors = self.mirrors().map(|mirror| mirror.clock_error());
        match errors {
            [Some(ClockError::Behind { .. }), None] if self.agrees(&self.police, allowed) => None,
            [None, Some(ClockError::Behind { .. })] if self.agrees(&self.committee, allowed) => {
                None
            }
            [committee, police] => committee.or(police),
        }
    }

    /// Whether the clock here is where the witnesses of an authority's log are.
    fn agrees(&self, mirror: &Mirror, allowed: u64) -> bool {
        let wall = self.env.now();
        let proven = mirror.read().clock_floor().proven(self.env.elapsed_millis());
        wall.millis_since(proven).max(proven.millis_since(wall)) <= allowed
    }

    /// The files of this gate.
    pub(crate) fn files(&self) -> &dyn Files {
        &*self.env.files
    }

    fn moment(&self, rules: &Rules, committee: &Source<'_>, police: &Source<'_>) -> Moment {
        let (wall, elapsed) = (self.env.now(), self.env.elapsed_millis());
        let now = committee.now(wall, elapsed).max(police.now(wall, elapsed));
        Moment { now, planned: rules.manifest().epoch_at(now) }
    }

    /// Decides on a credential held before a door: a badge's text or a scoped code. Reads memory only.
    #[must_use]
    pub fn check(&self, rules: &Rules, door: &Door, credential: &str) -> Checked {
        let mut checked = self.check_by_the_clock(rules, door, credential);
        // Nothing else than a refusal to say is worth asking whose fault it is.
        if checked.decision.verdict() == Verdict::Undetermined && self.clock_error(rules).is_some()
        {
            checked.decision = checked.decision.by_a_wrong_clock();
        }
        checked
    }

    fn check_by_the_clock(&self, rules: &Rules, door: &Door, credential: &str) -> Checked {
        let presented = Presented::parse(credential, &rules.manifest().event);
        let (committee, police) = (Source::of(&self.committee), Source::of(&self.police));
        let moment = self.moment(rules, &committee, &police);
        let live = [&committee, &police]
            .map(|source| source.live_epoch(State::Signed).unwrap_or(moment.planned));
        let unseen = |decision| Checked {
            decision,
            time: moment.now,
            committee: committee.not_consulted(live[0]),
            police: police.not_consulted(live[1]),
        };
        let presented = match presented {
            Err(_) => return unseen(Decision::malformed()),
            Ok(Presented::Scoped(code)) if code.audience() != Audience::Gate => {
                return unseen(Decision::malformed());
            }
            Ok(presented) => presented,
        };
        if let Presented::Scoped(code) = &presented {
            // A code may be of any epoch that somebody lives in now; what of it cannot be read is undetermined.
            let newest = live[0].max(live[1]).max(moment.planned);
            let live = live[0].min(live[1])..=newest;
            if let Some(decision) = Decision::on_code_of(code.epochs(), &live) {
                return unseen(decision);
            }
        }
        let secondary_check = self.draw(rules.manifest().screening.secondary_check_per_10k);
        let presented = &presented;
        let scene = Scene { rules, door, presented, moment, secondary_check, committee, police };
        self.decide(&scene)
    }

    /// Decides on both states, each in the epochs that it lives in.
    fn decide(&self, scene: &Scene<'_>) -> Checked {
        let (quorum, signed) = (scene.live(State::Quorum), scene.live(State::Signed));
        let pair = scene.look(quorum);
        let mut worst = self.decide_on(scene, &pair, State::Quorum);
        // Nearly always both states are of one epoch and say the same of one badge.
        if quorum != signed {
            worst = worst.worse(self.decide_on(scene, &scene.look(signed), State::Signed));
        } else if !pair.is_same_in_both_states() {
            worst = worst.worse(self.decide_on(scene, &pair, State::Signed));
        }
        for (state, live) in [(State::Quorum, quorum), (State::Signed, signed)] {
            if let Some(frozen) = scene.missed_catch_up(live) {
                let frozen = scene.look(frozen).or_where_absent(scene.look(live), state);
                worst = worst.worse(self.decide_on(scene, &frozen, state));
            }
        }
        worst
    }

    fn decide_on(&self, scene: &Scene<'_>, pair: &Pair<'_>, state: State) -> Checked {
        let question = Question {
            access_point: &scene.door.point,
            now: scene.moment.now,
            time_zone: &scene.rules.manifest().time_zone,
            tier: scene.door.tier,
            profiles: pair.committee.profiles(state).unwrap_or(&self.no_profiles),
            secondary_check: scene.secondary_check,
        };
        let knowledge = |source: &Source<'_>, sighting: &Sighting<'_>| Knowledge {
            finding: sighting.finding(state),
            freshness: source.freshness(),
        };
        let committee = knowledge(&scene.committee, &pair.committee);
        let police = knowledge(&scene.police, &pair.police);
        Checked {
            decision: decide(&question, &committee, &police),
            time: scene.moment.now,
            committee: scene.committee.consulted(&pair.committee, state),
            police: scene.police.consulted(&pair.police, state),
        }
    }

    /// Whether chance picks this check; drawn once for all states.
    fn draw(&self, per_10k: u16) -> bool {
        per_10k > 0 && {
            let draw = u64::from(self.env.rng().next_u32());
            (draw * 10_000) >> 32 < u64::from(per_10k)
        }
    }
}

impl Scene<'_> {
    /// Looks into the committee's and the police's directories of these epochs: step by step in both, so that both lookups
    /// wait for memory together.
    fn look(&self, epochs: [Epoch; 2]) -> Pair<'_> {
        let event = &self.rules.manifest().event;
        let [in_committee, in_police] = epochs;
        let committee_key = self.committee.key(event, self.presented, in_committee);
        let police_key = self.police.key(event, self.presented, in_police);
        let committee = self.committee.find(committee_key, in_committee);
        let police = self.police.find(police_key, in_police);
        Pair { committee: self.committee.open(committee), police: self.police.open(police) }
    }

    /// The committee's and the police's epochs in a state.
    fn live(&self, state: State) -> [Epoch; 2] {
        [&self.committee, &self.police]
            .map(|source| source.live_epoch(state).unwrap_or(self.moment.planned))
    }

    /// The committee's and the police's epochs to look into too, if the first tick of one is missed.
    fn missed_catch_up(&self, live: [Epoch; 2]) -> Option<[Epoch; 2]> {
        let Moment { now, planned } = self.moment;
        if live.iter().all(|live| *live >= planned) {
            return None;
        }
        let is_missed = |live| self.rules.manifest().has_missed_first_tick(live, now);
        let frozen = live.map(|live| if is_missed(live) { planned } else { live });
        (frozen != live).then_some(frozen)
    }
}

impl<'a> Pair<'a> {
    /// With `other` in place of what a frozen directory does not have.
    fn or_where_absent(self, other: Self, state: State) -> Self {
        let or = |frozen: Sighting<'a>, other| match frozen.finding(state) {
            Finding::Absent => other,
            _ => frozen,
        };
        Self {
            committee: or(self.committee, other.committee),
            police: or(self.police, other.police),
        }
    }

    fn is_same_in_both_states(&self) -> bool {
        let Self { committee, police } = self;
        let same = |one: &Sighting<'_>| one.finding(State::Signed) == one.finding(State::Quorum);
        let profiles = |state| committee.profiles(state).map(std::ptr::from_ref);
        same(committee) && same(police) && profiles(State::Signed) == profiles(State::Quorum)
    }
}

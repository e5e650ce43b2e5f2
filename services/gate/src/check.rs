//! The check: one badge, two authorities, the newest signed and the newest quorum state of each.
//!
//! - A stop counts as soon as it is signed, an improvement once a quorum of witnesses stands behind it: both states
//!   are decided on, and the worse answer is given.
//! - The clock never runs behind the highest quorum time seen of either authority.
//! - A state whose head is of an earlier epoch than the clock's lacks that epoch's first tick, the catch-up: the
//!   directory published ahead has been frozen since. The badge is then looked up in both epochs, and the worse answer
//!   is given. A scoped code has the keys of one epoch only, so in that moment it is undetermined.

use std::sync::Arc;

use lanyard_core::badge::Presented;
use lanyard_core::decision::{Decision, Knowledge, Question, decide};
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

/// Both mirrors at one moment, and what holds for one check.
struct Scene<'a> {
    rules: &'a Rules,
    door: &'a Door,
    presented: &'a Presented,
    now: Timestamp,
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
        let (now, epoch) = self.moment(rules, &committee, &police);
        (now, [committee.not_consulted(epoch), police.not_consulted(epoch)])
    }

    /// The files of this gate.
    pub(crate) fn files(&self) -> &dyn Files {
        &*self.env.files
    }

    /// The time, never behind the highest quorum time seen, and the epoch that is live.
    fn moment(
        &self,
        rules: &Rules,
        committee: &Source<'_>,
        police: &Source<'_>,
    ) -> (Timestamp, Epoch) {
        let wall = self.env.now();
        let now = committee.now(wall).max(police.now(wall));
        // An authority that is ahead of this clock, or of a manifest on its way here, has begun the next epoch already.
        let epoch = [committee, police]
            .into_iter()
            .filter_map(|source| source.live_epoch(State::Signed))
            .fold(rules.manifest().epoch_at(now), Epoch::max);
        (now, epoch)
    }

    /// Decides on a credential held before a door: a badge's text or a scoped code. Reads memory only.
    #[must_use]
    pub fn check(&self, rules: &Rules, door: &Door, credential: &str) -> Checked {
        let presented = Presented::parse(credential, &rules.manifest().event);
        let (committee, police) = (Source::of(&self.committee), Source::of(&self.police));
        let (now, epoch) = self.moment(rules, &committee, &police);
        let unseen = |decision| Checked {
            decision,
            time: now,
            committee: committee.not_consulted(epoch),
            police: police.not_consulted(epoch),
        };
        let presented = match presented {
            Err(_) => return unseen(Decision::malformed()),
            Ok(Presented::Scoped(code)) if code.audience() != Audience::Gate => {
                return unseen(Decision::malformed());
            }
            Ok(presented) => presented,
        };
        if let Presented::Scoped(code) = &presented
            && let Some(decision) = Decision::on_code_of(code.epoch(), epoch)
        {
            return unseen(decision);
        }
        let secondary_check = self.draw(rules.manifest().screening.secondary_check_per_10k);
        let presented = &presented;
        let scene = Scene { rules, door, presented, now, secondary_check, committee, police };
        self.decide(&scene, epoch)
    }

    /// Decides on both states of the directories of `epoch`.
    fn decide(&self, scene: &Scene<'_>, epoch: Epoch) -> Checked {
        let pair = scene.look([epoch, epoch]);
        let mut worst = self.decide_on(scene, &pair, State::Quorum);
        // Nearly always both states say the same of one badge.
        if !pair.is_same_in_both_states() {
            worst = worst.worse(self.decide_on(scene, &pair, State::Signed));
        }
        for state in [State::Quorum, State::Signed] {
            if let Some(earlier) = scene.lacking_catch_up(state, epoch) {
                worst = worst.worse(self.decide_on(scene, &scene.look(earlier), state));
            }
        }
        worst
    }

    fn decide_on(&self, scene: &Scene<'_>, pair: &Pair<'_>, state: State) -> Checked {
        let question = Question {
            access_point: &scene.door.point,
            now: scene.now,
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
            time: scene.now,
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

    /// The committee's and the police's epochs to look into too, if a state lacks the first tick of `epoch`.
    fn lacking_catch_up(&self, state: State, epoch: Epoch) -> Option<[Epoch; 2]> {
        let live =
            [&self.committee, &self.police].map(|one| one.live_epoch(state).unwrap_or(epoch));
        live.iter().any(|live| *live < epoch).then_some(live)
    }
}

impl Pair<'_> {
    fn is_same_in_both_states(&self) -> bool {
        let Self { committee, police } = self;
        let same = |one: &Sighting<'_>| one.finding(State::Signed) == one.finding(State::Quorum);
        let profiles = |state| committee.profiles(state).map(std::ptr::from_ref);
        same(committee) && same(police) && profiles(State::Signed) == profiles(State::Quorum)
    }
}

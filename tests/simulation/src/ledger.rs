//! What was asked for, what was acknowledged and when, what gates showed of themselves; and what follows from it for the
//! next answer of a gate.

use std::collections::BTreeMap;

use lanyard_core::ids::{Authority, Timestamp};

use crate::checkpoints::Checkpoints;
use crate::event::{EPOCH_MILLIS, LIMIT_MILLIS, TICK_MILLIS, start};
use crate::links::{Links, index};
use crate::op::{Change, PEOPLE};

/// From the acknowledgement of a stop to its refusal at a gate with good ways: the tick that is under way, the next one,
/// and the way.
pub(crate) const BOUND_MILLIS: u64 = 2 * TICK_MILLIS + 500;

/// After which all is as if nothing had been cut, a mirror that lied being left alone the longest.
pub(crate) const RECOVERY_MILLIS: u64 = 75_000;

/// Ticks after a change was acknowledged at some size until it is in a checkpoint for certain: the one that was being
/// made at that moment, and the next.
const TICKS_TO_SHOW: u64 = 2;

/// What an authority says of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has said nothing that counts.
    Good,
    /// Stopped: acknowledged at this time, and in every checkpoint from this size on, if it could be asked.
    Stopped {
        /// Milliseconds.
        since: u64,
        /// Size of the log.
        shows_at: Option<u64>,
        /// Whether for good.
        for_good: bool,
    },
    /// An answer did not come: it may have been done or not.
    Unknown,
}

/// A person.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Whether the import was acknowledged.
    pub(crate) enrolled: bool,
    /// The badge, once issuing it was acknowledged.
    pub(crate) badge: Option<String>,
    /// Whether the police's list has them, so that they are never good.
    pub(crate) listed: bool,
    /// Whether an enrolment is under way.
    pub(crate) enrolling: bool,
    /// By authority.
    pub(crate) standing: [Standing; 2],
    /// Whether a change is under way, by authority.
    pub(crate) changing: [bool; 2],
    /// Sizes of the authority's log at which the last stop certainly stood: the first that shows it, and the last before it
    /// was to end. What is better waits for a quorum past these.
    pub(crate) stood: [Option<(u64, u64)>; 2],
}

/// What a gate last showed of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Observed {
    /// When it was asked.
    pub(crate) time: u64,
    /// Sizes of the newest signed state.
    pub(crate) signed: [u64; 2],
    /// Sizes of the newest state with a quorum.
    pub(crate) quorum: [u64; 2],
    /// Milliseconds of age, with the keys of the live epoch there.
    pub(crate) age: [Option<u64>; 2],
}

/// All that the invariants are judged by.
pub(crate) struct Ledger {
    /// By number.
    pub(crate) people: Vec<Person>,
    /// Links and clocks.
    pub(crate) links: Links,
    /// By gate.
    pub(crate) observed: BTreeMap<&'static str, Observed>,
    /// Checkpoints seen anywhere.
    pub(crate) checkpoints: Checkpoints,
    /// By gate and number of the receipt, the nonce that it was given for.
    pub(crate) receipts: BTreeMap<(&'static str, u64), [u8; 16]>,
    /// What gates admitted after a stop had ended: gate, authority, the sizes among which its quorum must not be, and when.
    pub(crate) claims: Vec<(&'static str, Authority, (u64, u64), u64)>,
    /// How often a gate answered what.
    pub(crate) answers: BTreeMap<String, u64>,
}

/// What a gate answered.
pub(crate) struct Answer<'a> {
    /// Which gate.
    pub(crate) gate: &'static str,
    /// About whom.
    pub(crate) person: usize,
    /// When it was asked.
    pub(crate) asked: u64,
    /// The person's standing then.
    pub(crate) standing: [Standing; 2],
    /// What the gate had shown of itself until then.
    pub(crate) observed: Observed,
    /// `ADMIT` and so on.
    pub(crate) verdict: &'a str,
    /// `STALE` and so on.
    pub(crate) reason: &'a str,
}

impl Ledger {
    /// Nothing has happened. The last two people stand on the police's list.
    #[must_use]
    pub(crate) fn new(checkpoints: Checkpoints) -> Self {
        let person = |number| Person {
            enrolled: false,
            badge: None,
            listed: number + 2 >= PEOPLE,
            enrolling: false,
            standing: [Standing::Good; 2],
            changing: [false; 2],
            stood: [None; 2],
        };
        Self {
            people: (0..PEOPLE).map(person).collect(),
            links: Links::default(),
            observed: BTreeMap::new(),
            checkpoints,
            receipts: BTreeMap::new(),
            claims: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Whether somebody may be asked to change a person's status now, and what they are told to do makes sense.
    pub(crate) fn begin(&mut self, authority: Authority, change: Change, person: usize) -> bool {
        let person = &mut self.people[person];
        let place = index(authority);
        let for_good = matches!(person.standing[place], Standing::Stopped { for_good: true, .. });
        let possible = person.badge.is_some() && !person.changing[place] && !for_good;
        if !possible {
            return false;
        }
        person.changing[place] = true;
        // Until the answer is there, all may be.
        if change == Change::Reinstate {
            person.standing[place] = Standing::Unknown;
        }
        true
    }

    /// A change was acknowledged.
    pub(crate) fn done(
        &mut self,
        authority: Authority,
        change: Change,
        person: usize,
        (now, size): (u64, Option<u64>),
    ) {
        let person = &mut self.people[person];
        let place = index(authority);
        person.changing[place] = false;
        let for_good = change == Change::Revoke;
        person.standing[place] = match change {
            Change::Reinstate => Standing::Good,
            Change::Suspend | Change::Revoke => Standing::Stopped {
                since: now,
                shows_at: size.map(|size| size + TICKS_TO_SHOW),
                for_good,
            },
        };
    }

    /// A change was refused as not possible, so that nothing was done.
    pub(crate) fn refused(&mut self, authority: Authority, person: usize, before: Standing) {
        let person = &mut self.people[person];
        person.changing[index(authority)] = false;
        person.standing[index(authority)] = before;
    }

    /// No answer came to a change.
    pub(crate) fn unanswered(&mut self, authority: Authority, person: usize) {
        let person = &mut self.people[person];
        person.changing[index(authority)] = false;
        person.standing[index(authority)] = Standing::Unknown;
    }

    /// A gate shows what it knows.
    ///
    /// # Errors
    /// It has gone back.
    pub(crate) fn observe(&mut self, gate: &'static str, new: Observed) -> Result<(), String> {
        let before = self.observed.get(gate).copied().unwrap_or_default();
        for place in [0, 1] {
            let newer = new.signed[place] >= before.signed[place]
                && new.quorum[place] >= before.quorum[place];
            if !newer {
                return Err(format!("{gate} went from {before:?} to {new:?}"));
            }
        }
        self.observed.insert(gate, new);
        Ok(())
    }

    /// What was admitted after a stop had ended, and the quorum that was needed for it is still not there.
    #[must_use]
    pub(crate) fn hasty(&mut self, gate: &'static str) -> Option<String> {
        let observed = self.observed.get(gate).copied().unwrap_or_default();
        let (now, later) = self.claims.drain(..).partition(|claim| claim.0 == gate);
        self.claims = later;
        let now: Vec<(&'static str, Authority, (u64, u64), u64)> = now;
        now.into_iter().find_map(|(gate, authority, (from, to), asked)| {
            let quorum = observed.quorum[index(authority)];
            (from..=to).contains(&quorum).then(|| {
                let name = authority.name();
                format!(
                    "{gate} admitted at {asked} whom the {name} had stopped in sizes {from} to {to}, with a quorum up to {quorum}"
                )
            })
        })
    }

    /// What is wrong with an answer, and which invariant says so.
    #[must_use]
    pub(crate) fn judge(
        &mut self,
        answer: &Answer<'_>,
        now: u64,
    ) -> Option<(&'static str, String)> {
        *self.answers.entry(format!("{}/{}", answer.verdict, answer.reason)).or_default() += 1;
        match answer.verdict {
            "ADMIT" => self.judge_admitted(answer, now),
            "UNDETERMINED" => self.judge_undetermined(answer, now),
            _ => None,
        }
    }

    fn judge_admitted(&mut self, answer: &Answer<'_>, now: u64) -> Option<(&'static str, String)> {
        let Answer { gate, person, asked, .. } = *answer;
        let found = |invariant, why: String| {
            Some((invariant, format!("{gate} admitted person {person} at {asked}: {why}")))
        };
        if self.people[person].listed {
            return found("two-attestations", "the police's list has them".to_owned());
        }
        let slack = self.links.slack(asked.saturating_sub(2 * LIMIT_MILLIS), now) + (now - asked);
        for authority in Authority::ALL {
            let (place, name) = (index(authority), authority.name());
            let known = self.links.known_until(gate, authority);
            if known.is_some_and(|until| asked > until + LIMIT_MILLIS + slack) {
                return found(
                    "two-attestations",
                    format!("what it can know of the {name} was attested at {known:?} or before"),
                );
            }
            if let Some(stood) = self.people[person].stood[place]
                && answer.observed.quorum[place] >= stood.0
            {
                self.claims.push((gate, authority, stood, asked));
            }
            let Standing::Stopped { since, shows_at, .. } = answer.standing[place] else {
                continue;
            };
            // A stop that is being taken back meanwhile binds nobody.
            if self.people[person].standing[place] != answer.standing[place] {
                continue;
            }
            let stopped = format!("the {name} stopped them, acknowledged at {since}");
            if shows_at.is_some_and(|size| answer.observed.signed[place] >= size) {
                let held = answer.observed.signed[place];
                return found("stops-bind", format!("{stopped}, and it holds size {held}"));
            }
            if asked > since + LIMIT_MILLIS + slack {
                return found("two-attestations", format!("{stopped}, longer ago than the limit"));
            }
            let good = self.links.good_since(gate, authority);
            let connected = good.map(|good| if good == 0 { 0 } else { good + RECOVERY_MILLIS });
            if connected.is_some_and(|good| asked > since.max(good) + BOUND_MILLIS) {
                return found("stops-arrive", format!("{stopped}, with a good way since {good:?}"));
            }
        }
        None
    }

    fn judge_undetermined(&self, answer: &Answer<'_>, now: u64) -> Option<(&'static str, String)> {
        let Answer { gate, asked, observed, .. } = *answer;
        // What the gate itself said of its knowledge, with no clock set since. Across the end of an epoch it may lack the next.
        let same_epoch = epoch(observed.time) == epoch(now);
        let off = self.links.farthest_off(observed.time.saturating_sub(1), now) > 0;
        let known = observed.age.iter().all(|age| {
            age.is_some_and(|age| age + (now - observed.time) + TICK_MILLIS < LIMIT_MILLIS)
        });
        if same_epoch && known && !off {
            let why = format!(
                "{gate} answered {} at {asked}, and at {} its knowledge was {:?} ms old",
                answer.reason, observed.time, observed.age
            );
            return Some(("gates-go-on", why));
        }
        None
    }
}

fn epoch(time: u64) -> u64 {
    let start: Timestamp = start();
    // The first second of the simulation is the second of its epoch.
    (start.millis() % 86_400_000 + time) / EPOCH_MILLIS
}

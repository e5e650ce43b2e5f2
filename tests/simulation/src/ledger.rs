//! What was asked for, what was acknowledged and when, what gates showed of themselves; and what follows from it for the
//! next answer of a gate.

mod judge;

use std::collections::BTreeMap;

use lanyard_core::ids::Authority;

use crate::checkpoints::Checkpoints;
use crate::judged::{self, Judged};
use crate::links::{Links, index};
use crate::op::{Change, PEOPLE};

pub(crate) use self::judge::Answer;

/// Ticks after a change was acknowledged at some size until it is in a checkpoint for certain: the one that was being
/// made at that moment, and the next.
const TICKS_TO_SHOW: u64 = 2;

/// Until what was acknowledged of an enrolment is with the other authority too.
const HANDED_OVER_MILLIS: u64 = 10_000;

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
        /// Whether for good; `None` if nobody knows: an old copy that has them suspended keeps them so, whatever came after.
        for_good: Option<bool>,
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
    /// When that was.
    pub(crate) badge_since: u64,
    /// Whether the police's list has them, so that they are never good.
    pub(crate) listed: bool,
    /// Whether an enrolment is under way, or was when a copy was restored: nobody enrols them again then.
    pub(crate) enrolling: bool,
    /// By authority.
    pub(crate) standing: [Standing; 2],
    /// When it last changed, by authority.
    changed: [u64; 2],
    /// Whether a change is under way, by authority.
    pub(crate) changing: [bool; 2],
    /// Sizes of the authority's log at which the last stop certainly stood: the first that shows it, and the last before it
    /// was to end. What is better waits for a quorum past these.
    pub(crate) stood: [Option<(u64, u64)>; 2],
    /// When a gate first admitted them.
    admitted: Option<u64>,
    /// When a gate admitted them while nobody was changing anything about them, and nobody has since.
    seen_good: Option<u64>,
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
    /// Evaluations of pseudonyms that a share holder has counted, at most.
    pub(crate) counted: BTreeMap<&'static str, u64>,
    /// By gate and number of the receipt, the nonce that it was given for.
    pub(crate) receipts: BTreeMap<(&'static str, u64), [u8; 16]>,
    /// When changes were acknowledged that an authority's audit trail must have, by authority.
    pub(crate) acknowledged: [Vec<u64>; 2],
    /// How often an authority was put back to an old copy of itself.
    pub(crate) restored: [u32; 2],
    /// What gates admitted after a stop had ended: gate, authority, the sizes among which its quorum must not be, and when.
    claims: Vec<Claim>,
    /// Once everybody was let in, gates are held to what they know.
    pub(crate) is_ready: bool,
    /// How often a gate answered what.
    pub(crate) answers: BTreeMap<String, u64>,
    /// How often each invariant was looked at.
    pub(crate) judged: Judged,
}

/// Somebody was admitted after a stop had ended.
struct Claim {
    gate: &'static str,
    authority: Authority,
    stood: (u64, u64),
    asked: u64,
}

impl Ledger {
    /// Nothing has happened. The last two people stand on the police's list.
    #[must_use]
    pub(crate) fn new(checkpoints: Checkpoints) -> Self {
        let person = |number| Person {
            enrolled: false,
            badge: None,
            badge_since: 0,
            listed: number + 2 >= PEOPLE,
            enrolling: false,
            standing: [Standing::Good; 2],
            changed: [0; 2],
            changing: [false; 2],
            stood: [None; 2],
            admitted: None,
            seen_good: None,
        };
        Self {
            people: (0..PEOPLE).map(person).collect(),
            links: Links::default(),
            observed: BTreeMap::new(),
            checkpoints,
            counted: BTreeMap::new(),
            receipts: BTreeMap::new(),
            acknowledged: Default::default(),
            restored: [0; 2],
            claims: Vec::new(),
            is_ready: false,
            answers: BTreeMap::new(),
            judged: Judged::default(),
        }
    }

    /// Whether somebody may be asked to change a person's status now, and what they are told to do makes sense.
    pub(crate) fn begin(&mut self, authority: Authority, change: Change, person: usize) -> bool {
        let person = &mut self.people[person];
        let place = index(authority);
        let may_end = !matches!(
            person.standing[place],
            Standing::Stopped { for_good: Some(true) | None, .. }
        );
        let possible = person.badge.is_some() && !person.changing[place] && may_end;
        if !possible {
            return false;
        }
        person.changing[place] = true;
        person.seen_good = None;
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
        person.changed[place] = now;
        let for_good = Some(change == Change::Revoke);
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

    /// An authority was put back to a copy of itself from `copied`; its log goes on from `size`, which mirrors have.
    ///
    /// Whom it stopped since stays stopped, as that is published; all else that changed since is as may be. People whom it did
    /// not have then are left alone.
    pub(crate) fn restored(&mut self, authority: Authority, copied: u64, size: u64) {
        let place = index(authority);
        self.restored[place] += 1;
        self.acknowledged[place].retain(|time| *time <= copied);
        for person in &mut self.people {
            let known_since = match person.listed {
                true => person.badge.as_ref().map(|_| person.badge_since + HANDED_OVER_MILLIS),
                false => person.admitted,
            };
            let begun = person.enrolled || person.enrolling || person.badge.is_some();
            if begun && known_since.is_none_or(|time| time > copied) {
                (person.enrolled, person.enrolling, person.badge) = (false, true, None);
            }
            if person.changed[place] > copied {
                person.standing[place] = match person.standing[place] {
                    Standing::Stopped { since, shows_at: Some(shown), for_good }
                        if shown <= size =>
                    {
                        let for_good = for_good.filter(|for_good| !for_good);
                        Standing::Stopped { since, shows_at: Some(shown), for_good }
                    }
                    _ => Standing::Unknown,
                };
            }
            (person.stood, person.seen_good) = ([None; 2], None);
        }
    }

    /// A gate shows what it knows.
    ///
    /// # Errors
    /// It has gone back.
    pub(crate) fn observe(&mut self, gate: &'static str, new: Observed) -> Result<(), String> {
        let before = self.observed.get(gate).copied().unwrap_or_default();
        if self.links.started(gate) > before.time {
            self.judged.count(judged::STARTED_AGAIN);
        }
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
        let (now, later) = self.claims.drain(..).partition(|claim| claim.gate == gate);
        self.claims = later;
        let now: Vec<Claim> = now;
        now.iter().for_each(|_| self.judged.count(judged::QUORUM_SHOWN));
        now.into_iter().find_map(|Claim { gate, authority, stood: (from, to), asked }| {
            let quorum = observed.quorum[index(authority)];
            (from..=to).contains(&quorum).then(|| {
                let name = authority.name();
                format!(
                    "{gate} admitted at {asked} whom the {name} had stopped in sizes {from} to {to}, with a quorum up to {quorum}"
                )
            })
        })
    }
}

//! What is wrong with an answer of a gate.

use lanyard_core::ids::{Authority, Timestamp};

use super::{Claim, Ledger, Observed, Standing};
use crate::event::{EPOCH_MILLIS, LIMIT_MILLIS, QUORUM, TICK_MILLIS, start};
use crate::judged::{self, Case};
use crate::links::{BOUND_MILLIS, FAILOVER_MILLIS, index};

/// A gate that was started serves after so long at most, and whoever has a connection to it knows of its end.
const STARTING_MILLIS: u64 = 5_000;

/// Certificates are valid from an hour before the ceremony on: a gate whose clock is behind by more believes nobody's.
const VALID_BEFORE_MILLIS: u64 = 3_600_000;

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

/// Why somebody must not be admitted.
type Ban = (Case, String);

impl Ledger {
    /// What is wrong with an answer, and which invariant says so.
    #[must_use]
    pub(crate) fn judge(
        &mut self,
        answer: &Answer<'_>,
        now: u64,
    ) -> Option<(&'static str, String)> {
        let Answer { gate, person, asked, verdict, reason, .. } = *answer;
        *self.answers.entry(format!("{verdict}/{reason}")).or_default() += 1;
        if self.must_answer(gate, asked, now) {
            self.judged.count(judged::ANSWERS);
        }
        let mut wrong = self.bans(answer, now);
        wrong.iter().for_each(|(case, _)| self.judged.count(*case));
        let is_admitted = verdict == "ADMIT";
        if is_admitted {
            wrong.extend(self.hasty_admission(answer));
            self.note_admitted(answer);
        } else {
            wrong.clear();
        }
        let due = self.due(answer, now);
        due.iter().for_each(|(case, _)| self.judged.count(*case));
        let refused = due.into_iter().filter(|(case, _)| match *case {
            judged::GOOD => !is_admitted,
            _ => verdict == "UNDETERMINED",
        });
        wrong.extend(refused);
        let ((invariant, case), why) = wrong.into_iter().next()?;
        let what = format!("{gate} answered {verdict} {reason} about person {person} at {asked}");
        Some((invariant, format!("{what} ({case}): {why}")))
    }

    /// A gate did not answer, or with an error: whether it had to.
    #[must_use]
    pub(crate) fn must_answer(&self, gate: &str, asked: u64, now: u64) -> bool {
        let from = asked.saturating_sub(STARTING_MILLIS);
        let (behind, _) = self.links.clocks().extremes(gate, from, now);
        let runs = self.links.is_up(gate) && settled_by(self.links.started(gate)) <= asked;
        runs && behind < VALID_BEFORE_MILLIS
    }

    /// All that forbids to admit.
    fn bans(&self, answer: &Answer<'_>, now: u64) -> Vec<Ban> {
        let Answer { gate, person, asked, .. } = *answer;
        let mut bans = Vec::new();
        if self.people[person].listed {
            bans.push((judged::LISTED, "the police's list has them".to_owned()));
        }
        for authority in Authority::ALL {
            let (place, name) = (index(authority), authority.name());
            // What is acknowledged is attested two ticks later at the latest; so much is granted to all that is attested.
            let too_old = |time: u64| {
                let younger = self.links.looks_younger(gate, authority, time, now);
                asked > time + LIMIT_MILLIS + BOUND_MILLIS + younger
            };
            if let Some(until) =
                self.links.known_until(gate, authority).filter(|time| too_old(*time))
            {
                let why = format!("what it can know of the {name} was attested until {until}");
                bans.push((judged::STALE, why));
            }
            let Standing::Stopped { since, shows_at, .. } = answer.standing[place] else {
                continue;
            };
            // A stop that is being taken back meanwhile binds nobody.
            if self.people[person].standing[place] != answer.standing[place] {
                continue;
            }
            let stopped = format!("the {name} stopped them, acknowledged at {since}");
            let held = answer.observed.signed[place];
            if shows_at.is_some_and(|size| held >= size) {
                bans.push((judged::HELD, format!("{stopped}, and it holds size {held}")));
            }
            if too_old(since) {
                bans.push((judged::STOPPED, format!("{stopped}, longer ago than the limit")));
            }
            let arrives = |from: u64, bound| asked > since.max(from) + bound;
            let steady = self.links.steady_from(gate, authority);
            let connected = self.links.connected_from(gate, authority);
            if let Some(from) = steady.filter(|from| arrives(*from, BOUND_MILLIS)) {
                bans.push((judged::STEADY, format!("{stopped}, with good ways since {from}")));
            } else if let Some(from) = connected.filter(|from| arrives(*from, FAILOVER_MILLIS)) {
                bans.push((judged::ONE_WAY, format!("{stopped}, with a good way since {from}")));
            }
        }
        bans
    }

    /// Who was stopped and is good again has been admitted: what the gate shows of its quorum is looked at later, what
    /// witnesses remember now.
    fn hasty_admission(&mut self, answer: &Answer<'_>) -> Vec<Ban> {
        let Answer { gate, person, asked, observed, .. } = *answer;
        let mut bans = Vec::new();
        for authority in Authority::ALL {
            let place = index(authority);
            let Some(stood) = self.people[person].stood[place] else { continue };
            if observed.quorum[place] < stood.0 {
                continue;
            }
            self.claims.push(Claim { gate, authority, stood, asked });
            self.judged.count(judged::QUORUM_REMEMBERED);
            let remembered = self.checkpoints.witnesses_past(authority, stood.1);
            if remembered < QUORUM {
                let name = authority.name();
                let why = format!(
                    "the {name} had stopped them up to size {}, and {remembered} witnesses remember a greater one",
                    stood.1
                );
                bans.push((judged::QUORUM_REMEMBERED, why));
            }
        }
        bans
    }

    fn note_admitted(&mut self, answer: &Answer<'_>) {
        let person = &mut self.people[answer.person];
        person.admitted.get_or_insert(answer.asked);
        let is_good = |standing| standing == [Standing::Good; 2];
        let quiet = person.changing == [false; 2];
        if quiet && is_good(person.standing) && is_good(answer.standing) {
            person.seen_good.get_or_insert(answer.asked);
        }
    }

    /// What a gate has to say, by what it knows for certain: something, within the limit; and that who is good is good.
    fn due(&self, answer: &Answer<'_>, now: u64) -> Vec<Ban> {
        let Answer { gate, person, asked, .. } = *answer;
        let mut due = Vec::new();
        let certain = Authority::ALL.map(|one| self.links.certain(gate, one, asked));
        let is_young = |(authority, certain): (Authority, u64)| {
            let older = self.links.looks_older(gate, authority, certain, now);
            // Across the end of an epoch it may lack the next.
            let same_epoch = epoch(certain.saturating_sub(TICK_MILLIS)) == epoch(now);
            same_epoch && now + TICK_MILLIS + older < certain + LIMIT_MILLIS
        };
        let decides = self.is_ready
            && self.must_answer(gate, asked, now)
            && Authority::ALL.into_iter().zip(certain).all(is_young);
        if !decides {
            return due;
        }
        let why = || format!("it has what was attested at {certain:?}");
        if Authority::ALL.iter().any(|one| self.links.known_until(gate, *one).is_some()) {
            due.push((judged::CUT_OFF, why()));
        } else {
            due.push((judged::CONNECTED, why()));
        }
        let person = &self.people[person];
        let is_good = person.changing == [false; 2]
            && person.standing == [Standing::Good; 2]
            && answer.standing == [Standing::Good; 2];
        let seen = person.seen_good.filter(|_| is_good);
        if let Some(seen) =
            seen.filter(|seen| certain.iter().all(|time| *time > seen + BOUND_MILLIS))
        {
            due.push((judged::GOOD, format!("they were good at {seen}, and {}", why())));
        }
        due
    }
}

/// From when on a machine that was started is held to its answers.
const fn settled_by(started: u64) -> u64 {
    if started == 0 { 0 } else { started + STARTING_MILLIS }
}

fn epoch(time: u64) -> u64 {
    let start: Timestamp = start();
    // The first second of the simulation is the second of its epoch.
    (start.millis() % 86_400_000 + time) / EPOCH_MILLIS
}

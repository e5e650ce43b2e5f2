//! The decision: one piece of code for gates, desks and every SDK.
//!
//! [`decide`] takes what is known from each authority and answers one question; the first condition that holds wins, in
//! the order of DESIGN §8. Whoever holds two states, as a gate does with the newest signed and the newest quorum
//! state, decides on both and takes [`Decision::worse`]: a stop does not wait for a quorum.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::badge::CodeEpochs;
use crate::ids::{Epoch, Timestamp};
use crate::profile::{EventTimeZone, ProfileTable};
use crate::record::{Minutes, ProfileId, Record, Status};

mod outcome;

pub use outcome::{Cause, Decision, Reason, Shown, Verdict};

/// A door, gate or desk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessPoint {
    /// Its id, unique at the event.
    pub id: String,
    /// The code of the venue that it stands at.
    pub venue: String,
    /// The code of the zone that it leads into.
    pub zone: String,
}

/// Which way someone passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the zone.
    In,
    /// Out of it.
    Out,
}

impl Direction {
    /// Its byte in fixed encodings: 1 or 2.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::In => 1,
            Self::Out => 2,
        }
    }

    /// Reads the byte of a fixed encoding.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::In),
            2 => Some(Self::Out),
            _ => None,
        }
    }
}

/// How old knowledge may be in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StalenessTier {
    /// Up to this age in seconds, knowledge is fresh.
    pub fresh_seconds: u32,
    /// Up to this age in seconds, admit and mark; beyond it, undetermined.
    pub limit_seconds: u32,
}

/// What one authority's directory says of a badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// There is no directory of this epoch, or no key to open it.
    Missing,
    /// The directory has no record of the badge.
    Absent,
    /// The directory has a record that does not open or decode.
    Unreadable,
    /// The record.
    Found(Record),
}

/// What is known from one authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knowledge {
    /// What its directory says.
    pub finding: Finding,
    /// When a quorum last vouched for that directory, see [`crate::freshness`]; `None` if never.
    pub freshness: Option<Timestamp>,
}

/// Everything else that a decision depends on.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Where.
    pub access_point: &'a AccessPoint,
    /// When, by a clock that never runs behind the highest quorum time seen.
    pub now: Timestamp,
    /// The event's time zone.
    pub time_zone: &'a EventTimeZone,
    /// The tier of the access point's zone.
    pub tier: StalenessTier,
    /// The committee's profiles for gates in this epoch.
    pub profiles: &'a ProfileTable,
    /// Whether chance picked this person for a second look.
    pub secondary_check: bool,
}

/// Answers the question. Admits only on two fresh, valid records with equal bindings.
#[must_use]
pub fn decide(question: &Question<'_>, committee: &Knowledge, police: &Knowledge) -> Decision {
    let age_millis = match (committee.freshness, police.freshness) {
        (Some(committee), Some(police)) => Some(question.now.millis_since(committee.min(police))),
        _ => None,
    };
    match judge(question, committee.finding, police.finding, age_millis) {
        Err(cause) => Decision::new(cause, age_millis),
        Ok(profile) => {
            let category = question.profiles.get(profile).map(|profile| profile.category.clone());
            let marked = is_older(age_millis, question.tier.fresh_seconds);
            Decision::admit(age_millis, marked, category)
        }
    }
}

/// The table of DESIGN §8, in its order; `Ok` admits, with the committee's profile.
fn judge(
    question: &Question<'_>,
    committee: Finding,
    police: Finding,
    age_millis: Option<u64>,
) -> Result<ProfileId, Cause> {
    if is_older(age_millis, question.tier.limit_seconds) {
        return Err(Cause::Stale);
    }
    match committee {
        Finding::Missing => return Err(Cause::CommitteeMissing),
        Finding::Unreadable => return Err(Cause::CommitteeUnreadable),
        Finding::Absent | Finding::Found(_) => {}
    }
    match police {
        Finding::Missing => return Err(Cause::PoliceMissing),
        Finding::Unreadable => return Err(Cause::PoliceUnreadable),
        Finding::Absent | Finding::Found(_) => {}
    }
    let Finding::Found(committee) = committee else {
        return Err(Cause::Unknown);
    };
    match committee.status {
        Status::Revoked => return Err(Cause::Revoked),
        Status::Reprinted => return Err(Cause::Reprinted),
        _ => {}
    }
    let police = refer_or_police(question, &committee, police)?;

    let now = Minutes::from(question.now);
    if now < committee.not_before.max(police.not_before) {
        return Err(Cause::NotYetValid);
    }
    if now > committee.not_after.min(police.not_after) {
        return Err(Cause::Expired);
    }
    // The police's records carry no restriction; there is no table to read another number in.
    if police.profile != ProfileId::UNRESTRICTED {
        return Err(Cause::ProfileMissing);
    }
    if committee.profile != ProfileId::UNRESTRICTED {
        let profile = question.profiles.get(committee.profile).ok_or(Cause::ProfileMissing)?;
        profile.check(question.access_point, question.now, question.time_zone)?;
    }
    Ok(committee.profile)
}

/// What sends a person to the desk. All conditions are evaluated, so that time does not tell which one held.
fn refer_or_police(
    question: &Question<'_>,
    committee: &Record,
    police: Finding,
) -> Result<Record, Cause> {
    let no_record = Record::bare(Status::Invalid);
    let record = if let Finding::Found(record) = police { record } else { no_record };
    let causes = [
        (committee.status == Status::Suspended, Cause::CommitteeSuspended),
        (committee.status != Status::Valid, Cause::CommitteeNotGood),
        (!matches!(police, Finding::Found(_)), Cause::PoliceAbsent),
        (record.status == Status::NotYet, Cause::PoliceNotYet),
        (record.status != Status::Valid, Cause::PoliceNotGood),
        (!committee.binding.agrees_with(&record.binding), Cause::BindingsDiffer),
        (question.secondary_check, Cause::SecondaryCheck),
    ];
    match causes.into_iter().find(|(holds, _)| *holds) {
        Some((_, cause)) => Err(cause),
        None => Ok(record),
    }
}

/// Whether knowledge is older than this; knowledge of no age is.
fn is_older(age_millis: Option<u64>, seconds: u32) -> bool {
    age_millis.is_none_or(|age| age > u64::from(seconds) * 1_000)
}

impl Decision {
    /// On a text that does not parse, or of another event.
    #[must_use]
    pub const fn malformed() -> Self {
        Self::new(Cause::Malformed, None)
    }

    /// On a scoped code that is for none of the epochs which may be live; `None` if it is for one.
    #[must_use]
    pub fn on_code_of(epochs: CodeEpochs, live: &RangeInclusive<Epoch>) -> Option<Self> {
        if epochs.newest() < *live.start() {
            Some(Self::new(Cause::Expired, None))
        } else if epochs.oldest() > *live.end() {
            Some(Self::new(Cause::NotYetValid, None))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;

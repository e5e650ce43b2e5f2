//! Profiles: where and when a badge is good. A record names one by number; the table travels sealed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::CodecError;
use crate::decision::{AccessPoint, Cause};
use crate::ids::{Epoch, Timestamp};
use crate::record::ProfileId;

mod session;
mod table;
mod zone;

pub use session::{Days, MinuteOfDay, Session, Weekdays};
pub use table::{ProfileTable, SealedProfiles};
pub use zone::EventTimeZone;

/// Why a profile, a table or one of their texts is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not a time zone of the tz database.
    #[error("time zone {given:?}: not in the tz database; use a name such as Europe/Paris")]
    TimeZone {
        /// What was given.
        given: String,
    },
    /// Not a time of day.
    #[error("time of day {given:?}: use HH:MM from 00:00 to 23:59")]
    TimeOfDay {
        /// What was given.
        given: String,
    },
    /// Not days.
    #[error("days {given:?}: use daily, mon-fri, mon,wed or dates such as 2028-07-14,2028-07-15")]
    Days {
        /// What was given.
        given: String,
    },
    /// Not a session.
    #[error("session {given:?}: use days and times, for example: fri-sat 22:00-02:30")]
    Session {
        /// What was given.
        given: String,
    },
    /// Profile 0 is no restriction and has no row.
    #[error("profile 0 means no restriction and cannot be defined; number profiles from 1")]
    Unrestricted,
    /// Two rows of one number.
    #[error("profile {id} is defined twice")]
    Duplicate {
        /// The number.
        id: ProfileId,
    },
    /// More than the table holds.
    #[error("profile {id}: {what} has {given}, at most {limit} are allowed")]
    Limit {
        /// The profile's number.
        id: ProfileId,
        /// Which part of it.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Sealed under another key, origin or epoch, or altered.
    #[error("profile table of epoch {epoch}: does not open with this audience key")]
    Sealed {
        /// The epoch asked for.
        epoch: Epoch,
    },
    /// The table does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Where and when the badges of one kind are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The number that records name it by; not 0.
    pub id: ProfileId,
    /// The category shown at the gate, for example `Athlete`.
    pub category: Arc<str>,
    /// Codes of the venues; none means all.
    #[serde(default)]
    pub venues: BTreeSet<String>,
    /// Codes of the zones; none means all.
    #[serde(default)]
    pub zones: BTreeSet<String>,
    /// Days and hours in the event's time zone; none means any time.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

impl Profile {
    /// Whether it lets its badges in here and now.
    ///
    /// # Errors
    /// The first of [`Cause::WrongVenue`], [`Cause::WrongZone`] and [`Cause::WrongTime`] that holds.
    pub fn check(
        &self,
        access_point: &AccessPoint,
        now: Timestamp,
        time_zone: &EventTimeZone,
    ) -> Result<(), Cause> {
        if !self.venues.is_empty() && !self.venues.contains(&access_point.venue) {
            return Err(Cause::WrongVenue);
        }
        if !self.zones.is_empty() && !self.zones.contains(&access_point.zone) {
            return Err(Cause::WrongZone);
        }
        if self.sessions.is_empty() {
            return Ok(());
        }
        let local = time_zone.local(now);
        if self.sessions.iter().any(|session| session.contains(local)) {
            Ok(())
        } else {
            Err(Cause::WrongTime)
        }
    }
}

#[cfg(test)]
mod tests;

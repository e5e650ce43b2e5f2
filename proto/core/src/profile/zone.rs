//! The event's time zone, from the tz database that is compiled in: no file of the machine is read.

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::ProfileError;
use crate::ids::Timestamp;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone of the tz database, for example `Europe/Paris`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventTimeZone {
    name: String,
    zone: TimeZone,
}

impl EventTimeZone {
    /// Finds the zone by name.
    ///
    /// # Errors
    /// [`ProfileError::TimeZone`].
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        let unknown = || ProfileError::TimeZone { given: name.to_owned() };
        let zone = DATABASE.get(name).map_err(|_| unknown())?;
        let name = zone.iana_name().ok_or_else(unknown)?.to_owned();
        Ok(Self { name, zone })
    }

    /// Its name, spelled as in the tz database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the clock on the wall shows; times after the year 9999 count as its last moment.
    #[must_use]
    pub fn local(&self, time: Timestamp) -> DateTime {
        let time = i64::try_from(time.millis())
            .ok()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .unwrap_or(jiff::Timestamp::MAX);
        self.zone.to_datetime(time)
    }
}

impl PartialEq for EventTimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for EventTimeZone {}

impl fmt::Debug for EventTimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventTimeZone({})", self.name)
    }
}

impl fmt::Display for EventTimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl TryFrom<String> for EventTimeZone {
    type Error = ProfileError;
    fn try_from(name: String) -> Result<Self, ProfileError> {
        Self::parse(&name)
    }
}

impl From<EventTimeZone> for String {
    fn from(zone: EventTimeZone) -> Self {
        zone.name
    }
}

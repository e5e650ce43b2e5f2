//! Times in plans, as people write them: RFC 3339, to the millisecond.

use lanyard_core::ids::Timestamp;
use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

/// Writes a time.
pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let millis = i64::try_from(time.millis()).map_err(ser::Error::custom)?;
    let time = jiff::Timestamp::from_millisecond(millis).map_err(ser::Error::custom)?;
    to.collect_str(&time)
}

/// Reads a time.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    let refused =
        || de::Error::custom(format_args!("{text:?} is no time; write it as 2027-07-03T18:30:00Z"));
    let time: jiff::Timestamp = text.parse().map_err(|_| refused())?;
    u64::try_from(time.as_millisecond()).map(Timestamp::from_millis).map_err(|_| refused())
}

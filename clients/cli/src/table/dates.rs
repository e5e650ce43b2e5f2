//! Dates as files write them.

use jiff::civil::{Date, DateTime};
use lanyard_core::identity::BirthDate;
use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;

/// The form that is read without a mapping.
pub(super) const ISO: &str = "%Y-%m-%d";

/// A full birth date in one of the formats, as `YYYY-MM-DD`; `None` for partial and uncertain ones.
pub(super) fn birth_date(text: &str, formats: &[String]) -> Option<String> {
    let date = formats.iter().find_map(|format| Date::strptime(format, text.trim()).ok())?;
    let (year, month, day) = (
        u16::try_from(date.year()).ok()?,
        u8::try_from(date.month()).ok()?,
        u8::try_from(date.day()).ok()?,
    );
    Some(BirthDate::new(year, month, day).ok()?.to_string())
}

/// Which end of a validity a day without an hour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Its first minute.
    From,
    /// Its last minute.
    Until,
}

/// A day, or a day and time, in the event's time zone, as whole minutes since the Unix epoch.
pub(super) fn minute(
    text: &str,
    formats: &[String],
    bound: Bound,
    zone: &EventTimeZone,
) -> Option<u32> {
    let text = text.trim();
    let local = match text.parse::<DateTime>() {
        // `2027-07-01` alone parses as midnight: it means the day.
        Ok(time) if text.len() > "YYYY-MM-DD".len() => time,
        _ => {
            let date = formats.iter().find_map(|format| Date::strptime(format, text).ok())?;
            match bound {
                Bound::From => date.at(0, 0, 0, 0),
                Bound::Until => date.at(23, 59, 0, 0),
            }
        }
    };
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone.name()).ok()?;
    let millis = local.to_zoned(zone).ok()?.timestamp().as_millisecond();
    Some(Timestamp::from_millis(u64::try_from(millis).ok()?).minutes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(formats: &[&str]) -> Vec<String> {
        formats.iter().map(|format| (*format).to_owned()).collect()
    }

    #[test]
    fn full_dates_in_the_formats_given_and_nothing_else() {
        let list = formats(&["%d %b %Y"]);
        assert_eq!(birth_date("10 Dec 1948", &list).as_deref(), Some("1948-12-10"));
        assert_eq!(birth_date(" 3 May 1938 ", &list).as_deref(), Some("1938-05-03"));
        for partial in [
            "1946",
            "circa 1951",
            "Sep 1938",
            "circa 07 Jul 1966",
            "01 Jan 1953 to 31 Dec 1954",
            "31 Feb 1950",
            "10 Dec 48",
            "1948-12-10",
            "",
        ] {
            assert_eq!(birth_date(partial, &list), None, "{partial:?}");
        }
        assert!(birth_date("1948-12-10", &formats(&[ISO, "%d %b %Y"])).is_some());
    }

    #[test]
    fn validity_is_meant_in_the_events_time_zone() {
        let zone = EventTimeZone::parse("Europe/Zurich").unwrap();
        let iso = formats(&[ISO]);
        let from = minute("2027-07-01", &iso, Bound::From, &zone).unwrap();
        let until = minute("2027-07-01", &iso, Bound::Until, &zone).unwrap();
        assert_eq!(until - from, 23 * 60 + 59);
        // Summer time is two hours ahead of UTC.
        assert_eq!(from % (24 * 60), 22 * 60);
        let at = minute("2027-07-01T08:30", &iso, Bound::From, &zone).unwrap();
        assert_eq!(at - from, 8 * 60 + 30);
        assert_eq!(minute("2027-07-01 08:30", &iso, Bound::Until, &zone), Some(at));
        for bad in ["", "tomorrow", "2027-13-01", "2027-07-01T25:00", "1950-01-01"] {
            assert_eq!(minute(bad, &iso, Bound::From, &zone), None, "{bad:?}");
        }
    }
}

//! Dates as files write them.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::BrokenDownTime;
use lanyard_core::identity::{BirthDate, BirthDates, PartialDate};
use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;

/// The forms that are read without a mapping.
pub(super) const ISO: [&str; 3] = ["%Y-%m-%d", "%Y-%m", "%Y"];
/// Words before a date that is not sure.
const CIRCA: [&str; 4] = ["circa ", "ca. ", "c. ", "approximately "];
/// What stands between the ends of a range; the last between two years only, as others write days with it.
const RANGE: [&str; 4] = ["/", " to ", " - ", "-"];

/// Birth dates in the notation that people and lists are stored with, if all can be read: dates in one of the formats, which
/// may lack the day or the month too, after `circa`, or as the ends of a range; several separated by `;`.
pub(super) fn birth_dates(text: &str, formats: &[String]) -> Option<String> {
    let read = text.split(';').map(str::trim).filter(|one| !one.is_empty()).map(|one| {
        let date = |text: &str| partial_date(text.trim(), formats);
        if let Some(date) = date(one) {
            return Some(date.to_string());
        }
        let lower = one.to_lowercase();
        let sure = CIRCA.iter().find_map(|word| lower.strip_prefix(word));
        // `to` and months are read in small letters too.
        let rest = sure.unwrap_or(&lower);
        if let (Some(_), Some(date)) = (sure, date(rest)) {
            return Some(format!("circa {date}"));
        }
        RANGE.iter().find_map(|between| {
            let (from, to) = rest.split_once(between)?;
            let to = CIRCA.iter().find_map(|word| to.trim().strip_prefix(word)).unwrap_or(to);
            Some(format!("{}/{}", date(from)?, date(to)?))
        })
    });
    let notation = read.collect::<Option<Vec<_>>>()?.join("; ");
    BirthDates::parse(&notation).ok().map(|dates| dates.to_string())
}

/// A date as far as one of the formats says it.
fn partial_date(text: &str, formats: &[String]) -> Option<PartialDate> {
    formats.iter().find_map(|format| {
        let read = BrokenDownTime::parse(format, text).ok()?;
        let year = u16::try_from(read.year()?).ok()?;
        let part = |part: i8| u8::try_from(part).ok();
        match (read.month(), read.day()) {
            (Some(month), Some(day)) => {
                BirthDate::new(year, part(month)?, part(day)?).ok().map(PartialDate::Day)
            }
            (Some(month), None) => PartialDate::parse(&format!("{year:04}-{month:02}")).ok(),
            (None, None) => PartialDate::parse(&format!("{year:04}")).ok(),
            (None, Some(_)) => None,
        }
    })
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
    fn dates_as_far_as_they_are_known_in_the_formats_given() {
        let list = formats(&["%d %b %Y", "%b %Y", "%Y"]);
        for (text, expected) in [
            ("10 Dec 1948", "1948-12-10"),
            (" 3 May 1938 ", "1938-05-03"),
            ("1946", "1946"),
            ("Sep 1938", "1938-09"),
            ("circa 1951", "circa 1951"),
            ("circa 07 Jul 1966", "circa 1966-07-07"),
            ("01 Jan 1953 to 31 Dec 1954", "1953-01-01/1954-12-31"),
            ("circa 1979-1982", "1979/1982"),
            ("1960 to circa 1962", "1960/1962"),
            ("1946; Sep 1938;", "1946; 1938-09"),
            ("", ""),
        ] {
            assert_eq!(birth_dates(text, &list).as_deref(), Some(expected), "{text:?}");
        }
        for bad in
            ["31 Feb 1950", "10 Dec 48", "1948-12-10", "about 1950", "1950; soon", "1960 to 1950"]
        {
            assert_eq!(birth_dates(bad, &list), None, "{bad:?}");
        }
        let own = formats(&ISO);
        for text in [
            "1964-08-12",
            "1964-08",
            "1964",
            "circa 1962",
            "1960/1965",
            "1960-01-01/1961-03",
            "1964-08-12; 1963",
        ] {
            assert_eq!(birth_dates(text, &own).as_deref(), Some(text));
        }
        for bad in ["12.08.1964", "64", "1964-13", "1964-08-32", "964"] {
            assert_eq!(birth_dates(bad, &own), None, "{bad:?}");
        }
    }

    #[test]
    fn validity_is_meant_in_the_events_time_zone() {
        let zone = EventTimeZone::parse("Europe/Zurich").unwrap();
        let iso = formats(&ISO);
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

//! Birth dates of which a part may be missing.

use std::fmt;

use super::{BirthDate, IdentityError};

/// A birth date as far as it is known: the day, the month or the year.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartialDate {
    /// The year alone.
    Year(u16),
    /// Year and month.
    Month(u16, u8),
    /// In full.
    Day(BirthDate),
}

impl PartialDate {
    /// Parses `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, nothing else.
    ///
    /// # Errors
    /// [`IdentityError::BirthDateForm`] or [`IdentityError::BirthDateCalendar`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let (year, rest) = text.split_at_checked(4).ok_or(IdentityError::BirthDateForm)?;
        // What is missing is taken as the first, which every year and month has.
        match rest.len() {
            0 => BirthDate::parse(&format!("{year}-01-01")).map(|date| Self::Year(date.year())),
            3 => BirthDate::parse(&format!("{text}-01"))
                .map(|date| Self::Month(date.year(), date.month())),
            _ => BirthDate::parse(text).map(Self::Day),
        }
    }

    /// The year, 1850 to 2199.
    #[must_use]
    pub fn year(self) -> u16 {
        match self {
            Self::Year(year) | Self::Month(year, _) => year,
            Self::Day(date) => date.year(),
        }
    }

    /// The month, 1 to 12, if it is known.
    #[must_use]
    pub fn month(self) -> Option<u8> {
        match self {
            Self::Year(_) => None,
            Self::Month(_, month) => Some(month),
            Self::Day(date) => Some(date.month()),
        }
    }

    /// The whole date, if it is known.
    #[must_use]
    pub const fn day(self) -> Option<BirthDate> {
        match self {
            Self::Year(_) | Self::Month(..) => None,
            Self::Day(date) => Some(date),
        }
    }
}

impl fmt::Display for PartialDate {
    /// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Year(year) => write!(f, "{year:04}"),
            Self::Month(year, month) => write!(f, "{year:04}-{month:02}"),
            Self::Day(date) => date.fmt(f),
        }
    }
}

impl fmt::Debug for PartialDate {
    /// Without the date: it is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartialDate(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_known_and_writes_it_back() {
        for text in ["1964", "1964-08", "1964-08-12"] {
            assert_eq!(PartialDate::parse(text).unwrap().to_string(), text);
        }
        let month = PartialDate::parse("1964-08").unwrap();
        assert_eq!((month.year(), month.month(), month.day()), (1964, Some(8), None));
    }

    #[test]
    fn refuses_other_forms() {
        for text in ["", "64", "196", "1964-", "1964-8", "196é", "1964-08-", "é964", "1964-08-1é"]
        {
            assert_eq!(PartialDate::parse(text), Err(IdentityError::BirthDateForm), "{text:?}");
        }
        for text in ["1849", "2200-01", "1964-13", "1964-00", "1964-02-30"] {
            assert_eq!(PartialDate::parse(text), Err(IdentityError::BirthDateCalendar), "{text:?}");
        }
    }
}

//! Birth dates.

use std::fmt;

use jiff::civil::Date;

use super::IdentityError;

/// A full birth date of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BirthDate(Date);

impl BirthDate {
    /// A date that the calendar has, in a year from 1850 to 2199.
    ///
    /// # Errors
    /// [`IdentityError::BirthDateCalendar`].
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, IdentityError> {
        let date = match (i16::try_from(year), i8::try_from(month), i8::try_from(day)) {
            (Ok(year @ 1850..=2199), Ok(month), Ok(day)) => Date::new(year, month, day).ok(),
            _ => None,
        };
        date.map(Self).ok_or(IdentityError::BirthDateCalendar)
    }

    /// Parses `YYYY-MM-DD`, nothing else.
    ///
    /// # Errors
    /// [`IdentityError::BirthDateForm`] or [`IdentityError::BirthDateCalendar`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let digits = |range: std::ops::Range<usize>| {
            let part = text.get(range)?;
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse::<u16>().ok() } else { None }
        };
        let separated = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
        match (text.len(), separated, digits(0..4), digits(5..7), digits(8..10)) {
            (10, true, Some(year), Some(month), Some(day)) => {
                Self::new(year, month as u8, day as u8) // two digits each
            }
            _ => Err(IdentityError::BirthDateForm),
        }
    }

    /// The year, 1850 to 2199.
    #[must_use]
    pub fn year(self) -> u16 {
        self.0.year().unsigned_abs()
    }

    /// The month, 1 to 12.
    #[must_use]
    pub fn month(self) -> u8 {
        self.0.month().unsigned_abs()
    }

    /// The day, 1 to 31.
    #[must_use]
    pub fn day(self) -> u8 {
        self.0.day().unsigned_abs()
    }

    /// The date with day and month swapped, if that is another day of the calendar.
    #[must_use]
    pub fn swapped(self) -> Option<Self> {
        Self::new(self.year(), self.day(), self.month()).ok().filter(|swapped| *swapped != self)
    }
}

impl fmt::Display for BirthDate {
    /// `YYYY-MM-DD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year(), self.month(), self.day())
    }
}

impl fmt::Debug for BirthDate {
    /// Without the date: it is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BirthDate(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_calendar_has() {
        for text in ["1964-08-12", "2000-02-29", "1904-02-29", "1850-01-01", "2199-12-31"] {
            assert_eq!(BirthDate::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_other_forms() {
        for text in [
            "",
            "1964",
            "1964-08",
            "1964-8-12",
            "64-08-12",
            "12-08-1964",
            "1964/08/12",
            "1964-08-12 ",
            " 1964-08-12",
            "+964-08-12",
            "1964-+8-12",
            "1964-08-1é",
            "１９６４-０８-１２",
            "circa 1962",
            "1964-08-012",
        ] {
            assert_eq!(BirthDate::parse(text), Err(IdentityError::BirthDateForm), "{text:?}");
        }
    }

    #[test]
    fn refuses_days_that_do_not_exist() {
        for text in [
            "1900-02-29",
            "2001-02-29",
            "1999-04-31",
            "1999-00-10",
            "1999-13-01",
            "1999-01-00",
            "1999-01-32",
            "1849-12-31",
            "2200-01-01",
            "0000-00-00",
        ] {
            assert_eq!(BirthDate::parse(text), Err(IdentityError::BirthDateCalendar), "{text:?}");
        }
    }
}

//! What is said of a birth date: exact, partial, circa, a range, or several of these.

use std::fmt;
use std::ops::RangeInclusive;

use super::{BirthDate, IdentityError, PartialDate};

/// The longest range in years: a longer one tells nothing.
const LONGEST_RANGE: u16 = 20;
/// How far off a date said to be circa may be, in years.
const CIRCA: u16 = 1;
/// Dates that one person or entry can have.
const LIMIT: usize = 100;

/// One statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Claim {
    Known(PartialDate),
    Circa(PartialDate),
    Range(PartialDate, PartialDate),
}

/// Birth dates as files say them, each once, in their order; empty if nothing is known.
///
/// Written `1964-08-12`, `1964-08`, `1964`, `circa 1962`, `1960/1965` (from and to), several separated by `;`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BirthDates(Vec<Claim>);

impl BirthDates {
    /// Parses the notation; an empty text is no date.
    ///
    /// # Errors
    /// [`IdentityError::BirthDateForm`], [`IdentityError::BirthDateCalendar`], [`IdentityError::BirthDateRange`] or, for more
    /// than 100 dates, [`IdentityError::TooLong`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let mut dates = Self::default();
        for claim in text.split(';').map(str::trim).filter(|claim| !claim.is_empty()) {
            let claim = Claim::parse(claim)?;
            if !dates.0.contains(&claim) {
                dates.0.push(claim);
            }
        }
        if dates.0.len() > LIMIT {
            return Err(IdentityError::TooLong { field: "birth date", limit: LIMIT });
        }
        Ok(dates)
    }

    /// Whether nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those known in full, each once.
    #[must_use]
    pub fn days(&self) -> Vec<BirthDate> {
        self.known().filter_map(PartialDate::day).collect()
    }

    /// Whether any is not known in full.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.0.iter().any(|claim| !matches!(claim, Claim::Known(PartialDate::Day(_))))
    }

    /// The months of those known to the month only.
    pub(super) fn months(&self) -> impl Iterator<Item = (u16, u8)> {
        self.known().filter_map(|date| match date {
            PartialDate::Month(year, month) => Some((year, month)),
            _ => None,
        })
    }

    /// Years that those not known in full may be of, each once, ascending.
    pub(super) fn partial_years(&self) -> Vec<u16> {
        years(self.0.iter().filter(|claim| !matches!(claim, Claim::Known(PartialDate::Day(_)))))
    }

    /// Years that any may be of, each once, ascending.
    pub(super) fn years(&self) -> Vec<u16> {
        years(self.0.iter())
    }

    fn known(&self) -> impl Iterator<Item = PartialDate> {
        self.0.iter().filter_map(|claim| match claim {
            Claim::Known(date) => Some(*date),
            _ => None,
        })
    }

    /// Whether both may say the same: equal as far as both are known, day and month perhaps swapped; or one says nothing.
    #[must_use]
    pub fn may_agree(&self, other: &Self) -> bool {
        if self.is_empty() || other.is_empty() {
            return true;
        }
        self.0.iter().any(|one| other.0.iter().any(|two| one.may_agree(two)))
    }
}

impl FromIterator<Self> for BirthDates {
    /// All of them, each once.
    fn from_iter<I: IntoIterator<Item = Self>>(several: I) -> Self {
        let mut dates = Self::default();
        for claim in several.into_iter().flat_map(|one| one.0) {
            if !dates.0.contains(&claim) {
                dates.0.push(claim);
            }
        }
        dates
    }
}

impl From<PartialDate> for BirthDates {
    fn from(date: PartialDate) -> Self {
        Self(vec![Claim::Known(date)])
    }
}

fn years<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<u16> {
    let mut years: Vec<u16> = claims.flat_map(Claim::years).collect();
    years.sort_unstable();
    years.dedup();
    years
}

impl Claim {
    fn parse(text: &str) -> Result<Self, IdentityError> {
        if let Some(date) = text.strip_prefix("circa ") {
            return PartialDate::parse(date.trim()).map(Self::Circa);
        }
        let Some((from, to)) = text.split_once('/') else {
            return PartialDate::parse(text).map(Self::Known);
        };
        let (from, to) = (PartialDate::parse(from.trim())?, PartialDate::parse(to.trim())?);
        if from.year() > to.year() || to.year() - from.year() > LONGEST_RANGE {
            return Err(IdentityError::BirthDateRange);
        }
        Ok(Self::Range(from, to))
    }

    fn years(&self) -> RangeInclusive<u16> {
        match self {
            Self::Known(date) => date.year()..=date.year(),
            Self::Circa(date) => date.year() - CIRCA..=date.year() + CIRCA,
            Self::Range(from, to) => from.year()..=to.year(),
        }
    }

    fn may_agree(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(PartialDate::Day(one)), Self::Known(PartialDate::Day(two))) => {
                one == two || one.swapped() == Some(*two)
            }
            (Self::Known(one), Self::Known(two)) => {
                let months = one.month().zip(two.month());
                one.year() == two.year() && months.is_none_or(|(one, two)| one == two)
            }
            _ => {
                let (one, two) = (self.years(), other.years());
                one.start() <= two.end() && two.start() <= one.end()
            }
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(date) => date.fmt(f),
            Self::Circa(date) => write!(f, "circa {date}"),
            Self::Range(from, to) => write!(f, "{from}/{to}"),
        }
    }
}

impl fmt::Display for BirthDates {
    /// The notation that [`BirthDates::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, claim) in self.0.iter().enumerate() {
            write!(f, "{}{claim}", if place > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for BirthDates {
    /// Without the dates: they are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BirthDates({} …)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(text: &str) -> BirthDates {
        BirthDates::parse(text).unwrap()
    }

    #[test]
    fn every_notation_reads_back() {
        for text in [
            "",
            "1964-08-12",
            "1964-08",
            "1964",
            "circa 1962",
            "circa 1962-07-01",
            "1960/1965",
            "1953-01-01/1954-12-31",
            "1964-08-12; 1963; circa 1962; 1960/1965",
        ] {
            assert_eq!(dates(text).to_string(), text);
        }
        assert_eq!(dates(" 1964 ;1964; ").to_string(), "1964");
    }

    #[test]
    fn refuses_other_forms() {
        for (text, error) in [
            ("about 1962", IdentityError::BirthDateForm),
            ("circa", IdentityError::BirthDateForm),
            ("1964-8-1", IdentityError::BirthDateForm),
            ("1964/08/12", IdentityError::BirthDateForm),
            ("1964; 1964-02-30", IdentityError::BirthDateCalendar),
            ("1965/1960", IdentityError::BirthDateRange),
            ("1960/1981", IdentityError::BirthDateRange),
        ] {
            assert_eq!(BirthDates::parse(text), Err(error), "{text:?}");
        }
        let many: Vec<String> = (1850..=1950).map(|year: u16| year.to_string()).collect();
        assert!(matches!(BirthDates::parse(&many.join(";")), Err(IdentityError::TooLong { .. })));
    }

    #[test]
    fn years_of_what_is_not_known_in_full() {
        let several = dates("1964-08-12; 1970-01; circa 1962; 1960/1962");
        assert_eq!(several.partial_years(), [1960, 1961, 1962, 1963, 1970]);
        assert_eq!(several.years(), [1960, 1961, 1962, 1963, 1964, 1970]);
        assert_eq!(several.days(), [BirthDate::parse("1964-08-12").unwrap()]);
        assert_eq!(several.months().collect::<Vec<_>>(), [(1970, 1)]);
    }

    #[test]
    fn dates_agree_as_far_as_they_are_known() {
        for (one, two, agree) in [
            ("1964-08-12", "1964-08-12", true),
            ("1964-08-12", "1964-12-08", true),
            ("1964-08-12", "1964-08-13", false),
            ("1964-08-12", "1964-08", true),
            ("1964-08-12", "1964-09", false),
            ("1964-08-12", "1964", true),
            ("1964-08-12", "1965", false),
            ("1964-08-12", "circa 1965", true),
            ("1964-08-12", "1950/1963", false),
            ("1964-08-12", "1950; 1964", true),
            ("1964-08-12", "", true),
        ] {
            assert_eq!(dates(one).may_agree(&dates(two)), agree, "{one} {two}");
            assert_eq!(dates(two).may_agree(&dates(one)), agree, "{two} {one}");
        }
    }
}

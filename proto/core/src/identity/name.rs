//! Names.

use std::fmt;

use super::IdentityError;
use super::sound::{self, Part};
use super::translit::words;

/// A full name: its normal form, and how its parts sound.
///
/// The normal form is the transliteration with the parts in alphabetical order, so that `SURNAME, Given` equals
/// `Given Surname`. Particles and titles stay in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    normal: String,
    parts: Vec<Part>,
}

impl Name {
    /// Normalises a full name.
    ///
    /// # Errors
    /// As [`transliterate`](super::transliterate).
    pub fn parse(full: &str) -> Result<Self, IdentityError> {
        let words = words(full)?;
        let mut sorted: Vec<_> = words.iter().map(|word| word.latin.as_str()).collect();
        sorted.sort_unstable();
        Ok(Self { normal: sorted.join(" "), parts: sound::parts(&words) })
    }

    /// The normal form: `A` to `Z` and single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// The parts that tell something, in the order given, as they sound.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl fmt::Debug for Name {
    /// Without the name: it is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_punctuation_do_not_matter() {
        let name = Name::parse("Anne-Marie O'Connor").unwrap();
        assert_eq!(name.as_str(), "ANNE MARIE OCONNOR");
        for same in
            ["O’CONNOR, Anne Marie", "OCONNOR<<ANNE<MARIE", "  anne   marie\tO\u{2bc}Connor. "]
        {
            assert_eq!(Name::parse(same).unwrap().as_str(), name.as_str(), "{same:?}");
        }
        assert_ne!(Name::parse("Anne O'Connor").unwrap(), name);
    }

    #[test]
    fn a_part_that_stands_twice_counts_twice() {
        assert_eq!(Name::parse("Ali Hassan Ali").unwrap().as_str(), "ALI ALI HASSAN");
    }

    #[test]
    fn debug_output_hides_the_name() {
        assert_eq!(format!("{:?}", Name::parse("Erika").unwrap()), "Name(…)");
    }
}

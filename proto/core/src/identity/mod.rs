//! Identity keys: what the pseudonym function is evaluated on.
//!
//! Two parties that know the same person must arrive at the same bytes, however each wrote the person down. So names go
//! through the transliteration that passports use, documents through a normal form, and every field is length-prefixed
//! under a version byte, the event and the kind. A person has several identity keys; any of them can match.

mod birth_date;
mod birth_dates;
mod document;
mod facts;
mod issuer;
mod mrz;
mod name;
mod partial_date;
mod person;
mod sound;
mod translit;
mod variants;

use thiserror::Error;
use zeroize::ZeroizeOnDrop;

pub use birth_date::BirthDate;
pub use birth_dates::BirthDates;
pub use document::{Document, DocumentKind};
pub use facts::Facts;
pub use mrz::{Mrz, MrzError, MrzFormat};
pub use name::Name;
pub use partial_date::PartialDate;
pub use person::person_keys;
pub use translit::{is_standard, transliterate};

use self::variants::Variant;
use crate::codec::join;
use crate::ids::EventId;

/// Version of the encoding and of the normal forms: another version yields other pseudonyms.
const VERSION: u8 = 2;

/// Why personal data is refused. No variant repeats the data: errors end up in logs.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// Nothing is left of a field.
    #[error("{field}: empty, or nothing but punctuation")]
    Empty {
        /// Which field.
        field: &'static str,
    },
    /// A field is too long.
    #[error("{field}: longer than {limit} characters")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Characters allowed.
        limit: usize,
    },
    /// A letter of a script that has no transliteration.
    #[error(
        "character {}: a letter of a script that cannot be transliterated; give the Latin spelling of the travel document",
        index + 1
    )]
    UnsupportedScript {
        /// Its place, counted in characters from 0.
        index: usize,
    },
    /// A digit, symbol or control character.
    #[error("character {}: neither a letter nor punctuation of names", index + 1)]
    UnsupportedCharacter {
        /// Its place, counted in characters from 0.
        index: usize,
    },
    /// A document number with letters other than A to Z, or signs that no document carries.
    #[error("document number, character {}: only letters A to Z, digits and separators", index + 1)]
    DocumentNumber {
        /// Its place, counted in characters from 0.
        index: usize,
    },
    /// Not a kind of document.
    #[error("document kind: use passport, national-id, residence or other")]
    DocumentKind,
    /// Not a date in the notation.
    #[error(
        "birth date: write it as 1964-08-12, or 1964-08, 1964, circa 1962, 1960/1965 as far as it is known"
    )]
    BirthDateForm,
    /// A range that ends before it begins, or is too long.
    #[error("birth date: a range goes from an earlier to a later year, at most 20 years")]
    BirthDateRange,
    /// A date that the calendar does not have, or a year outside 1850 to 2199.
    #[error("birth date: no such day, or a year outside 1850 to 2199")]
    BirthDateCalendar,
}

/// Which facts an identity key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// An identity document.
    Document,
    /// A name and a full birth date.
    NameBirthDate,
    /// Parts of a name as they sound, with what is known of the birth date.
    Variant,
}

/// What a match of identity keys is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Namesakes, relatives and strangers with alike names match too: a reason to look.
    Weak,
    /// The same name and birth date: a namesake is rare.
    Medium,
    /// The same document.
    Strong,
}

impl KeyKind {
    /// Its byte in the encoding.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Document => 1,
            Self::NameBirthDate => 2,
            Self::Variant => 3,
        }
    }

    /// What a match is worth.
    #[must_use]
    pub const fn strength(self) -> Strength {
        match self {
            Self::Document => Strength::Strong,
            Self::NameBirthDate => Strength::Medium,
            Self::Variant => Strength::Weak,
        }
    }

    /// Reads the byte of the encoding.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Document),
            2 => Some(Self::NameBirthDate),
            3 => Some(Self::Variant),
            _ => None,
        }
    }
}

/// One encoded identity key of a person, secret: version ‖ event ‖ kind ‖ fields, each length-prefixed.
#[derive(ZeroizeOnDrop)]
pub struct IdentityKey {
    #[zeroize(skip)]
    kind: KeyKind,
    bytes: Vec<u8>,
}

impl IdentityKey {
    /// The key of an identity document: its kind, issuer and number.
    #[must_use]
    pub fn document(event: &EventId, document: &Document) -> Self {
        let kind = [document.kind().byte()];
        let fields = [&kind, document.issuer().as_bytes(), document.number().as_bytes()];
        Self::new(event, KeyKind::Document, &fields)
    }

    /// The key of a name and a birth date.
    #[must_use]
    pub fn name_and_birth_date(event: &EventId, name: &Name, birth_date: BirthDate) -> Self {
        let date = birth_date.to_string();
        Self::new(event, KeyKind::NameBirthDate, &[name.as_str().as_bytes(), date.as_bytes()])
    }

    fn variant(event: &EventId, variant: &Variant) -> Self {
        variant.with_fields(|fields| Self::new(event, KeyKind::Variant, fields))
    }

    fn new(event: &EventId, kind: KeyKind, fields: &[&[u8]]) -> Self {
        let head: [&[u8]; 3] = [&[VERSION], event.as_bytes(), &[kind.byte()]];
        Self { kind, bytes: join(&[&head, fields].concat()) }
    }

    /// What it is made of.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The input of the pseudonym function.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> EventId {
        EventId::parse(id).unwrap()
    }

    fn name_key(event: &EventId, name: &str, date: &str) -> IdentityKey {
        let name = Name::parse(name).unwrap();
        IdentityKey::name_and_birth_date(event, &name, BirthDate::parse(date).unwrap())
    }

    #[test]
    fn the_encoding_is_fixed() {
        let games = event("games");
        let document = Document::new(DocumentKind::Passport, "d", "c01x 00t47").unwrap();
        let key = IdentityKey::document(&games, &document);
        assert_eq!(key.kind(), KeyKind::Document);
        assert_eq!(
            key.as_bytes(),
            b"\0\0\0\x01\x02\0\0\0\x05games\0\0\0\x01\x01\0\0\0\x01\x01\0\0\0\x03DEU\0\0\0\x09C01X00T47"
        );
        let key = name_key(&games, "Erika Müller", "1964-08-12");
        assert_eq!(key.kind(), KeyKind::NameBirthDate);
        assert_eq!(
            key.as_bytes(),
            b"\0\0\0\x01\x02\0\0\0\x05games\0\0\0\x01\x02\0\0\0\x0dERIKA MUELLER\0\0\0\x0a1964-08-12"
                .as_slice()
        );
    }

    #[test]
    fn spellings_of_one_person_agree_and_others_do_not() {
        let games = event("games");
        let key = name_key(&games, "Erika Müller", "1964-08-12");
        let same = name_key(&games, "MU\u{308}LLER, erika", "1964-08-12");
        assert!(key.as_bytes() == same.as_bytes());
        for other in [
            name_key(&event("games-2"), "Erika Müller", "1964-08-12"),
            name_key(&games, "Erika Möller", "1964-08-12"),
            name_key(&games, "Erika Müller", "1964-08-13"),
        ] {
            assert!(key.as_bytes() != other.as_bytes());
        }
    }
}

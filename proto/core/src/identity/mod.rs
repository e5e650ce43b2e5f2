//! Identity keys: what the pseudonym function is evaluated on.
//!
//! Two parties that know the same person must arrive at the same bytes, however each wrote the person down. So names go
//! through the transliteration that passports use, documents through a normal form, and every field is length-prefixed
//! under a version byte, the event and the kind. A person has several identity keys; any of them can match.

mod birth_date;
mod document;
mod issuer;
mod mrz;
mod name;
mod partial_date;
mod person;
mod translit;

use thiserror::Error;
use zeroize::ZeroizeOnDrop;

pub use birth_date::BirthDate;
pub use document::{Document, DocumentKind};
pub use mrz::{Mrz, MrzError, MrzFormat};
pub use name::Name;
pub use partial_date::PartialDate;
pub use person::person_keys;
pub use translit::transliterate;

use crate::codec::join;
use crate::ids::EventId;

/// Version of the encoding and of the normal forms: another version yields other pseudonyms.
const VERSION: u8 = 1;

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
    /// A letter that is not Latin, or one that has no transliteration.
    #[error(
        "character {}: not a letter that ICAO 9303-3 transliterates; give the Latin spelling of the travel document",
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
    /// Not a date of the form `YYYY-MM-DD`.
    #[error("birth date: write it as YYYY-MM-DD, all parts known")]
    BirthDateForm,
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
    /// A name and a birth date.
    NameBirthDate,
}

impl KeyKind {
    /// Its byte in the encoding.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Document => 1,
            Self::NameBirthDate => 2,
        }
    }

    /// Reads the byte of the encoding.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Document),
            2 => Some(Self::NameBirthDate),
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
            b"\0\0\0\x01\x01\0\0\0\x05games\0\0\0\x01\x01\0\0\0\x01\x01\0\0\0\x03DEU\0\0\0\x09C01X00T47"
        );
        let key = name_key(&games, "Erika Müller", "1964-08-12");
        assert_eq!(key.kind(), KeyKind::NameBirthDate);
        assert_eq!(
            key.as_bytes(),
            b"\0\0\0\x01\x01\0\0\0\x05games\0\0\0\x01\x02\0\0\0\x0dERIKA MUELLER\0\0\0\x0a1964-08-12"
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

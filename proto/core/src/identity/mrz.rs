//! Machine-readable zones of travel documents: ICAO Doc 9303 part 5 (TD1), part 6 (TD2) and part 4 (TD3).

use std::fmt;

use thiserror::Error;

use super::{BirthDate, Document, DocumentKind, IdentityError, PartialDate};
use crate::ids::Timestamp;

/// Why a machine-readable zone is refused. Positions count from 1; nothing of the zone is repeated.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MrzError {
    /// Not the length of any format.
    #[error(
        "machine-readable zone: {found} characters; a card has 3 lines of 30 (TD1) or 2 of 36 (TD2), a passport 2 of 44 (TD3)"
    )]
    Length {
        /// Characters found, line ends and blanks apart.
        found: usize,
    },
    /// A character that no such zone holds, or not in this place.
    #[error(
        "machine-readable zone, line {line}, character {character}: {expected} expected; read the document again"
    )]
    Character {
        /// Line, from 1.
        line: usize,
        /// Place in the line, from 1.
        character: usize,
        /// What may stand there.
        expected: &'static str,
    },
    /// A field and its check digit disagree.
    #[error(
        "machine-readable zone, line {line}, character {character}: wrong check digit of the {field}; read the document again"
    )]
    CheckDigit {
        /// The field that it covers.
        field: &'static str,
        /// Line of the digit, from 1.
        line: usize,
        /// Its place in the line, from 1.
        character: usize,
    },
    /// A visa: it has the size of a passport's or card's zone, and is no document of identity.
    #[error("machine-readable zone: of a visa; read the passport's own")]
    Visa,
    /// A birth date that the calendar does not have.
    #[error("machine-readable zone: the birth date is no day of the calendar, or lies ahead")]
    BirthDate,
    /// A field that does not make a document.
    #[error("machine-readable zone: {0}")]
    Document(#[from] IdentityError),
}

/// The format of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MrzFormat {
    /// Cards of credit-card size: three lines of 30.
    Td1,
    /// Larger cards: two lines of 36.
    Td2,
    /// Passports: two lines of 44.
    Td3,
}

/// A machine-readable zone whose check digits hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Mrz {
    format: MrzFormat,
    document: Document,
    surname: String,
    given_names: String,
    nationality: String,
    birth_date: Option<PartialDate>,
}

/// Where a field stands: line and first character from 0, and the length.
type Field = (usize, usize, usize);

/// What the formats differ in.
struct Layout {
    lines: usize,
    width: usize,
    name: Field,
    number: Field,
    /// Optional data, where a long document number goes on (9303-5 4.2.4, 9303-6 4.2.4); passports have no long numbers.
    overflow: Option<Field>,
    /// Optional data with a check digit of its own, behind it.
    personal_number: Option<Field>,
    nationality: Field,
    birth_date: Field,
    expiry: Field,
    /// What the last check digit covers, and where it stands.
    composite: (&'static [Field], (usize, usize)),
}

const TD1: Layout = Layout {
    lines: 3,
    width: 30,
    name: (2, 0, 30),
    number: (0, 5, 9),
    overflow: Some((0, 15, 15)),
    personal_number: None,
    nationality: (1, 15, 3),
    birth_date: (1, 0, 6),
    expiry: (1, 8, 6),
    composite: (&[(0, 5, 25), (1, 0, 7), (1, 8, 7), (1, 18, 11)], (1, 29)),
};

const TD2: Layout = Layout {
    lines: 2,
    width: 36,
    name: (0, 5, 31),
    number: (1, 0, 9),
    overflow: Some((1, 28, 7)),
    personal_number: None,
    nationality: (1, 10, 3),
    birth_date: (1, 13, 6),
    expiry: (1, 21, 6),
    composite: (&[(1, 0, 10), (1, 13, 7), (1, 21, 14)], (1, 35)),
};

const TD3: Layout = Layout {
    lines: 2,
    width: 44,
    name: (0, 5, 39),
    number: (1, 0, 9),
    overflow: None,
    personal_number: Some((1, 28, 14)),
    nationality: (1, 10, 3),
    birth_date: (1, 13, 6),
    expiry: (1, 21, 6),
    composite: (&[(1, 0, 10), (1, 13, 7), (1, 21, 22)], (1, 43)),
};

impl Mrz {
    /// Reads a zone and verifies all its check digits. Lines may be separated by line ends or blanks, or not at all; small
    /// letters count as capitals. A birth year is the last with its two digits that is not after `now`.
    ///
    /// # Errors
    /// [`MrzError`]; it never repeats what was read.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, MrzError> {
        let characters: Vec<char> = text.chars().filter(|one| !one.is_whitespace()).collect();
        let (format, layout) = match characters.len() {
            90 => (MrzFormat::Td1, &TD1),
            72 => (MrzFormat::Td2, &TD2),
            88 => (MrzFormat::Td3, &TD3),
            found => return Err(MrzError::Length { found }),
        };
        let zone = Zone::new(&characters, layout)?;
        let code = zone.text((0, 0, 2));
        if code.starts_with('V') {
            return Err(MrzError::Visa);
        }
        let number = zone.document_number()?;
        zone.verify("birth date", layout.birth_date)?;
        zone.verify("expiry date", layout.expiry)?;
        if let Some(field) = layout.personal_number {
            zone.verify_optional("personal number", field)?;
        }
        zone.verify_composite()?;
        let (surname, given_names) = zone.names()?;
        Ok(Self {
            format,
            document: Document::new(document_kind(code), zone.text((0, 2, 3)), &number)?,
            surname,
            given_names,
            nationality: zone.text(layout.nationality).trim_end_matches('<').to_owned(),
            birth_date: zone.birth_date(now)?,
        })
    }

    /// Which format it has.
    #[must_use]
    pub const fn format(&self) -> MrzFormat {
        self.format
    }

    /// The document: kind, issuer, number.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The primary identifier: `A` to `Z` and single spaces. The zone cuts what is too long.
    #[must_use]
    pub fn surname(&self) -> &str {
        &self.surname
    }

    /// The secondary identifier, empty if there is none.
    #[must_use]
    pub fn given_names(&self) -> &str {
        &self.given_names
    }

    /// `SURNAME, GIVEN NAMES`, as [`Name::parse`](super::Name::parse) reads it.
    #[must_use]
    pub fn full_name(&self) -> String {
        match (self.surname.as_str(), self.given_names.as_str()) {
            (one, "") | ("", one) => one.to_owned(),
            (surname, given) => format!("{surname}, {given}"),
        }
    }

    /// The nationality's code as it stands there.
    #[must_use]
    pub fn nationality(&self) -> &str {
        &self.nationality
    }

    /// The birth date as far as the document says it.
    #[must_use]
    pub const fn birth_date(&self) -> Option<PartialDate> {
        self.birth_date
    }
}

impl fmt::Debug for Mrz {
    /// Without its content: it is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mrz({:?}, …)", self.format)
    }
}

/// The kind by the document code (9303-3, 4.4; residence permits of the EU: Regulation 1030/2002).
fn document_kind(code: &str) -> DocumentKind {
    match code.as_bytes() {
        [b'P', _] => DocumentKind::Passport,
        [b'A' | b'C' | b'I', b'R'] => DocumentKind::Residence,
        [b'A', b'C'] => DocumentKind::Other, // crew member
        [b'A' | b'C' | b'I', _] => DocumentKind::NationalId,
        _ => DocumentKind::Other,
    }
}

/// The characters of a zone, all of the permitted set.
struct Zone<'a> {
    layout: &'a Layout,
    text: String,
}

impl<'a> Zone<'a> {
    fn new(characters: &[char], layout: &'a Layout) -> Result<Self, MrzError> {
        debug_assert_eq!(characters.len(), layout.lines * layout.width);
        let mut text = String::with_capacity(characters.len());
        for (place, character) in characters.iter().enumerate() {
            match character.to_ascii_uppercase() {
                kept @ ('A'..='Z' | '0'..='9' | '<') => text.push(kept),
                _ => {
                    let (line, character) = (place / layout.width + 1, place % layout.width + 1);
                    let expected = "a letter A to Z, a digit or <";
                    return Err(MrzError::Character { line, character, expected });
                }
            }
        }
        Ok(Self { layout, text })
    }

    fn text(&self, (line, first, length): Field) -> &str {
        let start = line * self.layout.width + first;
        &self.text[start..start + length]
    }

    /// Compares a check digit with what it covers.
    fn check(
        &self,
        name: &'static str,
        covered: &str,
        (line, place): (usize, usize),
    ) -> Result<(), MrzError> {
        if self.text((line, place, 1)).as_bytes() == [check_digit(covered)] {
            return Ok(());
        }
        Err(MrzError::CheckDigit { field: name, line: line + 1, character: place + 1 })
    }

    /// Verifies the check digit right behind a field.
    fn verify(&self, name: &'static str, field: Field) -> Result<(), MrzError> {
        let (line, first, length) = field;
        self.check(name, self.text(field), (line, first + length))
    }

    /// The same for a field that may be empty: then a filler may stand for the digit (9303-4, 4.2.2.2).
    fn verify_optional(&self, name: &'static str, field: Field) -> Result<(), MrzError> {
        let (line, first, length) = field;
        let empty = self.text(field).bytes().all(|byte| byte == b'<');
        match empty && self.text((line, first + length, 1)) == "<" {
            true => Ok(()),
            false => self.verify(name, field),
        }
    }

    fn verify_composite(&self) -> Result<(), MrzError> {
        let (fields, place) = self.layout.composite;
        let covered: String = fields.iter().map(|field| self.text(*field)).collect();
        self.check("whole zone", &covered, place)
    }

    /// The document number. Cards with one of more than nine characters have a filler for the check digit, and the number
    /// goes on in the optional data, up to its check digit and a filler.
    fn document_number(&self) -> Result<String, MrzError> {
        const NAME: &str = "document number";
        let (line, first, length) = self.layout.number;
        let number = self.text(self.layout.number);
        let goes_on = self.text((line, first + length, 1)) == "<";
        let Some(overflow) = self.layout.overflow.filter(|_| goes_on) else {
            self.verify(NAME, self.layout.number)?;
            return Ok(number.trim_end_matches('<').to_owned());
        };
        let rest = self.text(overflow);
        let end = rest.find('<').unwrap_or(rest.len());
        let Some(digit) = end.checked_sub(1) else {
            return Err(MrzError::CheckDigit {
                field: NAME,
                line: line + 1,
                character: first + length + 1,
            });
        };
        let whole = format!("{number}{}", &rest[..digit]);
        self.check(NAME, &whole, (overflow.0, overflow.1 + digit))?;
        Ok(whole)
    }

    /// Primary and secondary identifier; a document of one name has the first only.
    fn names(&self) -> Result<(String, String), MrzError> {
        let (line, first, _) = self.layout.name;
        let field = self.text(self.layout.name);
        if let Some(digit) = field.bytes().position(|byte| byte.is_ascii_digit()) {
            let (line, character) = (line + 1, first + digit + 1);
            return Err(MrzError::Character { line, character, expected: "a letter A to Z or <" });
        }
        let (primary, secondary) = field.split_once("<<").unwrap_or((field, ""));
        let words = |part: &str| {
            let words: Vec<_> = part.split('<').filter(|word| !word.is_empty()).collect();
            words.join(" ")
        };
        Ok((words(primary), words(secondary)))
    }

    /// `YYMMDD`, with fillers for what is unknown (9303-3, 4.8); some states write zeros instead.
    fn birth_date(&self, now: Timestamp) -> Result<Option<PartialDate>, MrzError> {
        let (line, first, _) = self.layout.birth_date;
        let field = self.text(self.layout.birth_date);
        let mut parts = [None; 3];
        for (place, part) in parts.iter_mut().enumerate() {
            *part = match &field[2 * place..2 * place + 2] {
                "<<" => None,
                "00" if place > 0 => None,
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
                _ => {
                    let (line, character) = (line + 1, first + 2 * place + 1);
                    let expected = "two digits or <<";
                    return Err(MrzError::Character { line, character, expected });
                }
            };
        }
        let [Some(year), month, day] = parts else { return Ok(None) };
        let today = today(now).ok_or(MrzError::BirthDate)?;
        let of_century = |century: u16| {
            let year = century + u16::from(year);
            let date = match (month, day) {
                (Some(month), Some(day)) => {
                    PartialDate::Day(BirthDate::new(year, month, day).ok()?)
                }
                (Some(month), None) => {
                    BirthDate::new(year, month, 1).ok()?;
                    PartialDate::Month(year, month)
                }
                (None, _) => PartialDate::Year(year),
            };
            let first =
                (date.year(), date.month().unwrap_or(1), date.day().map_or(1, BirthDate::day));
            (first <= (today.year(), today.month(), today.day())).then_some(date)
        };
        of_century(2000).or_else(|| of_century(1900)).map(Some).ok_or(MrzError::BirthDate)
    }
}

/// The date of `now`, UTC.
fn today(now: Timestamp) -> Option<BirthDate> {
    let millis = i64::try_from(now.millis()).ok()?;
    let date = jiff::Timestamp::from_millisecond(millis).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    BirthDate::parse(&date.date().to_string()).ok()
}

/// The check digit of a text (9303-3, 4.9): weights 7, 3, 1; A is 10, Z is 35, the filler 0.
fn check_digit(text: &str) -> u8 {
    let values = text.bytes().map(|byte| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'Z' => u32::from(byte - b'A') + 10,
        _ => 0,
    });
    let sum: u32 =
        values.zip([7, 3, 1].into_iter().cycle()).map(|(value, weight)| value * weight).sum();
    b'0' + (sum % 10) as u8 // below 10
}

#[cfg(test)]
mod tests;

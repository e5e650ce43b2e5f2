//! Identity documents.

use std::fmt;

use super::{IdentityError, issuer, translit, transliterate};

const ISSUER_LIMIT: usize = 64;
const NUMBER_LIMIT: usize = 64;

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// A passport.
    Passport,
    /// A national identity card.
    NationalId,
    /// A residence permit.
    Residence,
    /// Anything else that has an issuer and a number.
    Other,
}

impl DocumentKind {
    /// All kinds, in the order of their encodings.
    pub const ALL: [Self; 4] = [Self::Passport, Self::NationalId, Self::Residence, Self::Other];

    /// `passport`, `national-id`, `residence` or `other`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passport => "passport",
            Self::NationalId => "national-id",
            Self::Residence => "residence",
            Self::Other => "other",
        }
    }

    /// Parses the name.
    ///
    /// # Errors
    /// [`IdentityError::DocumentKind`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(IdentityError::DocumentKind)
    }

    /// Its byte in identity keys, 1 to 4.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Passport => 1,
            Self::NationalId => 2,
            Self::Residence => 3,
            Self::Other => 4,
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A document in normal form: kind, issuer, number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Document {
    kind: DocumentKind,
    issuer: String,
    number: String,
}

impl Document {
    /// Normalises a document. The issuer may be a code of two or three letters, or a state's English name, and becomes the
    /// three-letter code of ISO 3166-1; any other issuer is transliterated as it is, so both sides must write it alike.
    /// Of the number, letters A to Z (in capitals) and digits are kept, separators are dropped.
    ///
    /// # Errors
    /// [`IdentityError`]; nothing of the document is repeated in it.
    pub fn new(kind: DocumentKind, issuer: &str, number: &str) -> Result<Self, IdentityError> {
        Ok(Self { kind, issuer: normalise_issuer(issuer)?, number: normalise_number(number)? })
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The issuer: `A` to `Z` and single spaces.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The number: `A` to `Z` and digits.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }
}

impl fmt::Debug for Document {
    /// Without issuer and number: they are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, …)", self.kind)
    }
}

fn normalise_issuer(issuer: &str) -> Result<String, IdentityError> {
    const FIELD: &str = "document issuer";
    if issuer.chars().count() > ISSUER_LIMIT {
        return Err(IdentityError::TooLong { field: FIELD, limit: ISSUER_LIMIT });
    }
    // A state's name in its own script would become another issuer than its code.
    if let Some(index) = translit::first_foreign(issuer) {
        return Err(IdentityError::UnsupportedScript { index });
    }
    match transliterate(issuer) {
        Err(IdentityError::Empty { .. }) => Err(IdentityError::Empty { field: FIELD }),
        other => other.map(|latin| issuer::code(&latin).map_or(latin, str::to_owned)),
    }
}

fn normalise_number(number: &str) -> Result<String, IdentityError> {
    const FIELD: &str = "document number";
    let mut kept = String::with_capacity(number.len());
    for (index, character) in number.chars().enumerate() {
        if index >= NUMBER_LIMIT {
            return Err(IdentityError::TooLong { field: FIELD, limit: NUMBER_LIMIT });
        }
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => kept.push(character.to_ascii_uppercase()),
            ' '
            | '\t'
            | '\u{a0}'
            | '-'
            | '\u{2010}'..='\u{2015}'
            | '.'
            | ','
            | '/'
            | '\\'
            | '<'
            | '_'
            | '#'
            | ':'
            | '('
            | ')'
            | '\'' => {}
            // A letter that only looks like A to Z must not vanish and leave someone else's number.
            _ => return Err(IdentityError::DocumentNumber { index }),
        }
    }
    if kept.is_empty() { Err(IdentityError::Empty { field: FIELD }) } else { Ok(kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passport(issuer: &str, number: &str) -> Result<Document, IdentityError> {
        Document::new(DocumentKind::Passport, issuer, number)
    }

    #[test]
    fn writings_of_one_document_agree() {
        let document = passport("DEU", "C01X00T47").unwrap();
        assert_eq!((document.issuer(), document.number()), ("DEU", "C01X00T47"));
        for (issuer, number) in [
            ("deu", "c01x00t47"),
            (" D<<", "C 01X-00T.47"),
            ("Germany", "C01X00T47<<<"),
            ("de", "(C01X00T47)"),
        ] {
            assert_eq!(passport(issuer, number).unwrap(), document, "{issuer:?} {number:?}");
        }
        assert_ne!(Document::new(DocumentKind::NationalId, "DEU", "C01X00T47").unwrap(), document);
        assert_eq!(passport("Côte d’Ivoire", "1").unwrap().issuer(), "CIV");
        assert_eq!(passport("Iran, Islamic Republic of", "1").unwrap().issuer(), "IRN");
        assert_eq!(passport("Order of Malta", "1").unwrap().issuer(), "ORDER OF MALTA");
        assert_eq!(passport("UTO", "1").unwrap().issuer(), "UTO");
    }

    #[test]
    fn leading_zeros_are_part_of_the_number() {
        assert_ne!(passport("USA", "0012").unwrap(), passport("USA", "12").unwrap());
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        let empty = |field| Err(IdentityError::Empty { field });
        assert_eq!(passport("USA", " -- "), empty("document number"));
        assert_eq!(passport("-", "1"), empty("document issuer"));
        let cyrillic = passport("RUS", "7\u{410}123");
        assert_eq!(cyrillic, Err(IdentityError::DocumentNumber { index: 1 }));
        assert_eq!(passport("Россия", "1"), Err(IdentityError::UnsupportedScript { index: 0 }));
        let long = "9".repeat(65);
        assert!(matches!(passport("USA", &long), Err(IdentityError::TooLong { limit: 64, .. })));
        assert!(matches!(passport(&"A".repeat(65), "1"), Err(IdentityError::TooLong { .. })));
    }

    #[test]
    fn kinds_read_back() {
        for kind in DocumentKind::ALL {
            assert_eq!(DocumentKind::parse(kind.name()), Ok(kind));
        }
        assert_eq!(DocumentKind::parse("Passport"), Err(IdentityError::DocumentKind));
    }

    #[test]
    fn debug_output_hides_the_number() {
        assert_eq!(format!("{:?}", passport("USA", "12345").unwrap()), "Document(passport, …)");
    }
}

//! A person as the committee keeps it, to identity keys: committee and police must arrive at the same ones.

use super::{BirthDates, Document, DocumentKind, Facts, IdentityKey, Name};
use crate::ids::EventId;

/// The keys that screening works on, see [`Facts::person_keys`]: of a name in the letters of a travel document, which may be
/// empty, the full name, birth dates and documents, given as kind, issuer and number. What gives no key is passed over.
#[must_use]
pub fn person_keys<'a>(
    event: &EventId,
    latin_name: &str,
    full_name: &str,
    birth_dates: &str,
    documents: impl IntoIterator<Item = [&'a str; 3]>,
) -> Vec<IdentityKey> {
    let documents = documents.into_iter().filter_map(|[kind, issuer, number]| {
        Document::new(DocumentKind::parse(kind).ok()?, issuer, number).ok()
    });
    // The document's own name tells more than a transliteration, so it comes first.
    let names = [latin_name, full_name].into_iter().filter_map(|name| Name::parse(name).ok());
    let facts = Facts {
        names: names.collect(),
        birth_dates: BirthDates::parse(birth_dates).unwrap_or_default(),
        documents: documents.collect(),
    };
    facts.person_keys(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_no_key_is_passed_over() {
        let event = EventId::parse("games").unwrap();
        let count = |latin, name, date, documents: &[[&'static str; 3]]| {
            person_keys(&event, latin, name, date, documents.iter().copied()).len()
        };
        let passport = ["passport", "UTO", "P1"];
        let exact = count("", "Zoë Ångström", "1990-02-28", &[passport]);
        assert!(exact > 2, "{exact}");
        assert_eq!(count("", "?", "1990-02-28", &[passport]), 1);
        assert_eq!(count("", "Zoë Ångström", "", &[["library card", "UTO", "P1"]]), 0);
        assert!(count("Huseyn", "?", "1990-02-28", &[]) > 0);
    }
}

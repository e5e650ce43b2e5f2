//! A person's identity keys: committee and police must arrive at the same ones.

use super::{BirthDate, Document, DocumentKind, IdentityKey, Name};
use crate::ids::EventId;

/// The keys that screening works on: one a document, given as kind, issuer and number, and one of name and birth date
/// where the name has a Latin form. What gives no key is passed over.
#[must_use]
pub fn person_keys<'a>(
    event: &EventId,
    full_name: &str,
    birth_date: &str,
    documents: impl IntoIterator<Item = [&'a str; 3]>,
) -> Vec<IdentityKey> {
    let mut keys: Vec<IdentityKey> = documents
        .into_iter()
        .filter_map(|[kind, issuer, number]| {
            let kind = DocumentKind::parse(kind).ok()?;
            let document = Document::new(kind, issuer, number).ok()?;
            Some(IdentityKey::document(event, &document))
        })
        .collect();
    let name = Name::parse(full_name).ok();
    let birth_date = BirthDate::parse(birth_date).ok();
    if let (Some(name), Some(birth_date)) = (name, birth_date) {
        keys.push(IdentityKey::name_and_birth_date(event, &name, birth_date));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_no_key_is_passed_over() {
        let event = EventId::parse("games").unwrap();
        let count = |name, date, documents: &[[&'static str; 3]]| {
            person_keys(&event, name, date, documents.iter().copied()).len()
        };
        let passport = ["passport", "UTO", "P1"];
        assert_eq!(count("Zoë Ångström", "1990-02-28", &[passport]), 2);
        assert_eq!(count("حسین", "1990-02-28", &[passport]), 1);
        assert_eq!(count("Zoë Ångström", "", &[["library card", "UTO", "P1"]]), 0);
    }
}

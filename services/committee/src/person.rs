//! A row of an import, checked: what may be enrolled and what it yields for screening.

use lanyard_core::binding::{Binding, BindingSalt};
use lanyard_core::identity::{BirthDates, Document, DocumentKind, IdentityKey, Name, person_keys};
use lanyard_core::ids::{BadgeNumber, EventId, Hash};
use lanyard_wire::committee::v1 as wire;
use serde::{Deserialize, Serialize};

/// Longest free text in characters.
const MAX_TEXT: usize = 200;
/// Longest reference in characters.
const MAX_REFERENCE: usize = 64;
/// Documents that one person can have.
const MAX_DOCUMENTS: usize = 8;

/// A document as the store keeps it.
#[derive(Serialize, Deserialize, PartialEq, Eq, Clone)]
pub(crate) struct StoredDocument {
    pub(crate) kind: String,
    pub(crate) issuer: String,
    pub(crate) number: String,
}

/// What identifies a person: a change of any of it calls for screening anew.
#[derive(PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) full_name: String,
    /// As the travel document has it; empty if the full name is all there is.
    pub(crate) latin_name: String,
    pub(crate) birth_date: String,
    pub(crate) documents: Vec<StoredDocument>,
    pub(crate) portrait_hash: Vec<u8>,
}

/// What a person may do, and until when.
#[derive(PartialEq, Eq)]
pub(crate) struct Accreditation {
    pub(crate) category: String,
    pub(crate) function: String,
    pub(crate) organisation: String,
    pub(crate) profile_id: i64,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// A row that may be enrolled.
pub(crate) struct Applicant {
    pub(crate) reference: String,
    pub(crate) identity: Identity,
    pub(crate) accreditation: Accreditation,
}

/// Which column is bad, and why; never the value.
pub(crate) type Problem = (&'static str, String);

/// What rows are checked against.
pub(crate) struct Rules<'a> {
    pub(crate) categories: &'a [String],
    /// Profile ids by code.
    pub(crate) profile: &'a dyn Fn(&str) -> Option<i64>,
}

/// Checks a row.
pub(crate) fn check(person: wire::Person, rules: &Rules<'_>) -> Result<Applicant, Problem> {
    let reference = person.reference;
    if reference.is_empty() || reference.len() > MAX_REFERENCE {
        return Err(("reference", format!("give 1 to {MAX_REFERENCE} characters")));
    }
    if !reference.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(("reference", "use printable ASCII without spaces".to_owned()));
    }
    let full_name = text("full_name", &person.full_name)?;
    if full_name.is_empty() {
        return Err(("full_name", "missing".to_owned()));
    }
    let latin_name = text("latin_name", &person.latin_name)?;
    // Screening must know how a name reads, or say that it does not.
    for (column, name) in [("full_name", &full_name), ("latin_name", &latin_name)] {
        if !name.is_empty() && (column == "latin_name" || latin_name.is_empty()) {
            Name::parse(name).map_err(|error| (column, error.to_string()))?;
        }
    }
    let birth_date = BirthDates::parse(&person.birth_date)
        .map_err(|error| ("birth_date", error.to_string()))?
        .to_string();
    if person.documents.len() > MAX_DOCUMENTS {
        return Err(("document_number", format!("at most {MAX_DOCUMENTS} documents")));
    }
    let documents = person.documents.iter().map(document).collect::<Result<_, _>>()?;
    if !rules.categories.contains(&person.category) {
        return Err(("category", "not a category of the manifest".to_owned()));
    }
    let profile_id = (rules.profile)(&person.profile)
        .ok_or_else(|| ("profile", "no such profile; define it first".to_owned()))?;
    let not_before = i64::from(person.not_before_minutes);
    let not_after = match person.not_after_minutes {
        0 => i64::from(u32::MAX),
        minutes => i64::from(minutes),
    };
    if not_before > not_after {
        return Err(("valid_until", "before valid_from".to_owned()));
    }
    if !matches!(person.portrait_hash.len(), 0 | Hash::SIZE) {
        return Err(("portrait_hash", "32 bytes of BLAKE3, or nothing".to_owned()));
    }
    Ok(Applicant {
        reference,
        identity: Identity {
            full_name,
            latin_name,
            birth_date,
            documents,
            portrait_hash: person.portrait_hash,
        },
        accreditation: Accreditation {
            category: person.category,
            function: text("function", &person.function)?,
            organisation: text("organisation", &person.organisation)?,
            profile_id,
            not_before,
            not_after,
        },
    })
}

fn text(column: &'static str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    if value.chars().count() > MAX_TEXT {
        return Err((column, format!("longer than {MAX_TEXT} characters")));
    }
    if value.chars().any(char::is_control) {
        return Err((column, "contains a control character".to_owned()));
    }
    Ok(value.to_owned())
}

fn document(document: &wire::Document) -> Result<StoredDocument, Problem> {
    let kind = DocumentKind::parse(&document.kind)
        .map_err(|error| ("document_kind", error.to_string()))?;
    let parsed = Document::new(kind, &document.issuer, &document.number)
        .map_err(|error| ("document_number", error.to_string()))?;
    Ok(StoredDocument {
        kind: kind.name().to_owned(),
        issuer: parsed.issuer().to_owned(),
        number: parsed.number().to_owned(),
    })
}

impl Identity {
    /// The keys that screening works on.
    pub(crate) fn keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let documents = self.documents.iter();
        let documents = documents.map(|stored| [&*stored.kind, &*stored.issuer, &*stored.number]);
        person_keys(event, &self.latin_name, &self.full_name, &self.birth_date, documents)
    }

    /// What is submitted for clearance, fixed.
    pub(crate) fn binding(
        &self,
        event: &EventId,
        salt: &BindingSalt,
        badge_number: BadgeNumber,
    ) -> Binding {
        let keys = self.keys(event);
        let keys: Vec<&[u8]> = keys.iter().map(IdentityKey::as_bytes).collect();
        let portrait =
            <[u8; Hash::SIZE]>::try_from(self.portrait_hash.as_slice()).ok().map(Hash::new);
        Binding::compute(salt, &keys, portrait.as_ref(), badge_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> wire::Person {
        wire::Person {
            reference: "A-1".into(),
            full_name: "Zoë Ångström".into(),
            birth_date: "1990-02-28".into(),
            category: "athlete".into(),
            profile: "village".into(),
            ..Default::default()
        }
    }

    fn checked(person: wire::Person) -> Result<Applicant, Problem> {
        let categories = ["athlete".to_owned()];
        let profile = |code: &str| (code == "village").then_some(1);
        check(person, &Rules { categories: &categories, profile: &profile })
    }

    #[test]
    fn a_bad_value_is_named_by_its_column_and_never_repeated() {
        let cases: [(&str, wire::Person); 6] = [
            ("reference", wire::Person { reference: "a b".into(), ..person() }),
            ("full_name", wire::Person { full_name: " ".into(), ..person() }),
            ("birth_date", wire::Person { birth_date: "1990-02-30".into(), ..person() }),
            ("category", wire::Person { category: "canary".into(), ..person() }),
            ("profile", wire::Person { profile: "canary".into(), ..person() }),
            (
                "valid_until",
                wire::Person { not_before_minutes: 9, not_after_minutes: 8, ..person() },
            ),
        ];
        for (column, bad) in cases {
            let Err((found, problem)) = checked(bad) else { panic!("{column} passed") };
            assert_eq!(found, column);
            assert!(!problem.contains("canary"), "{problem}");
        }
        assert!(checked(person()).is_ok());
    }

    #[test]
    fn every_script_gives_keys_and_the_documents_name_more() {
        let event = EventId::parse("games").unwrap();
        let keys = |person| checked(person).map(|applicant| applicant.identity.keys(&event).len());
        let thai = wire::Person {
            full_name: "พชรภรณ์ นาถะพินธุ".into(), ..person()
        };
        let with_latin =
            wire::Person { latin_name: "Patcharaporn Nathapin".into(), ..thai.clone() };
        assert!(keys(thai.clone()).is_ok_and(|count| count > 1));
        assert!(keys(with_latin).is_ok_and(|count| count > keys(thai).unwrap()));
        assert!(keys(person()).is_ok_and(|count| (2..=16).contains(&count)));
        let partly = wire::Person { birth_date: "1990-02; circa 1991".into(), ..person() };
        assert!(keys(partly).is_ok_and(|count| count > 1));
    }

    #[test]
    fn a_name_that_nothing_reads_is_refused_unless_the_document_has_another() {
        let cuneiform = wire::Person { full_name: "\u{12000}\u{12001}".into(), ..person() };
        assert!(checked(cuneiform.clone()).is_err_and(|(column, _)| column == "full_name"));
        assert!(checked(wire::Person { latin_name: "A Ash".into(), ..cuneiform }).is_ok());
        let bad = wire::Person { latin_name: "A 4".into(), ..person() };
        assert!(checked(bad).is_err_and(|(column, _)| column == "latin_name"));
    }
}

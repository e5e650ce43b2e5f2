//! Entries of a list, read: what gives a key, what is skipped, and what is refused.
//!
//! A value that gives no key is skipped and counted; the others of its entry still count. An entry is refused only if it
//! cannot be meant: without a label to show to an officer, or too large. Nothing repeats a value.

use std::collections::BTreeMap;

use lanyard_core::identity::{
    BirthDates, Document, DocumentKind, Facts, IdentityError, IdentityKey, Name,
};
use lanyard_core::ids::EventId;
use lanyard_shareholder::MAX_ELEMENTS;
use lanyard_wire::police::v1 as wire;

/// Errors that a response carries.
const MAX_ERRORS: usize = 1_000;
/// Longest label in characters.
const MAX_LABEL: usize = 500;
/// Values of one kind that one entry can have.
const MAX_VALUES: usize = 1_000;
/// Keys that one entry can give. They are evaluated in one batch.
const MAX_KEYS: usize = MAX_ELEMENTS;

/// What one entry gives.
pub(crate) struct Entry {
    /// What officers know it by.
    pub(crate) label: String,
    /// At least one.
    pub(crate) keys: Vec<IdentityKey>,
}

/// Reads entries one by one and counts what they give.
#[derive(Clone)]
pub(crate) struct Entries {
    event: EventId,
    received: u64,
    without_key: u64,
    skipped: BTreeMap<&'static str, u64>,
    errors: Vec<wire::RowError>,
}

impl Entries {
    pub(crate) const fn new(event: EventId) -> Self {
        Self { event, received: 0, without_key: 0, skipped: BTreeMap::new(), errors: Vec::new() }
    }

    /// Entries so far.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Reads one entry; `None` if it gives no key or is refused.
    pub(crate) fn add(&mut self, entry: wire::ListEntry) -> Option<Entry> {
        self.received += 1;
        let line = entry.line;
        self.read(entry).unwrap_or_else(|(column, problem)| {
            if self.errors.len() < MAX_ERRORS {
                self.errors.push(wire::RowError { line, column: column.to_owned(), problem });
            }
            None
        })
    }

    fn read(&mut self, entry: wire::ListEntry) -> Result<Option<Entry>, (&'static str, String)> {
        let label = entry.label.trim();
        if label.is_empty() || label.chars().count() > MAX_LABEL {
            return Err((
                "label",
                format!("give 1 to {MAX_LABEL} characters that officers know it by"),
            ));
        }
        if label.chars().any(char::is_control) {
            return Err(("label", "contains a control character".to_owned()));
        }
        for (column, count) in [
            ("name", entry.names.len()),
            ("birth_date", entry.birth_dates.len()),
            ("document_number", entry.documents.len()),
        ] {
            if count > MAX_VALUES {
                return Err((column, format!("at most {MAX_VALUES} in one entry; split it")));
            }
        }
        let birth_dates =
            self.values("birth date", &entry.birth_dates, |date| BirthDates::parse(date));
        let documents = self.values("document", &entry.documents, |document| {
            let kind = DocumentKind::parse(&document.kind)?;
            Document::new(kind, &document.issuer, &document.number)
        });
        let names = self.values("name", &entry.names, |name| Name::parse(name));
        let facts = Facts { names, birth_dates: birth_dates.into_iter().collect(), documents };
        let keys = facts.entry_keys(&self.event);
        if keys.len() > MAX_KEYS {
            let problem = format!("gives more than {MAX_KEYS} keys with its birth dates; split it");
            return Err(("name", problem));
        }
        if keys.is_empty() {
            self.without_key += 1;
            return Ok(None);
        }
        Ok(Some(Entry { label: label.to_owned(), keys }))
    }

    /// Each value that parses, once; the others are counted.
    fn values<T: PartialEq, V>(
        &mut self,
        what: &'static str,
        values: &[V],
        parse: impl Fn(&V) -> Result<T, IdentityError>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for value in values {
            match parse(value) {
                Ok(value) if parsed.contains(&value) => {}
                Ok(value) => parsed.push(value),
                Err(error) => *self.skipped.entry(skipped_as(what, &error)).or_default() += 1,
            }
        }
        parsed
    }

    /// Where the import stands.
    pub(crate) fn progress(&self) -> wire::ImportWatchlistResponse {
        wire::ImportWatchlistResponse {
            without_key: self.without_key,
            skipped: self
                .skipped
                .iter()
                .map(|(reason, count)| wire::SkippedValues {
                    reason: (*reason).to_owned(),
                    count: *count,
                })
                .collect(),
            errors: self.errors.clone(),
            ..Default::default()
        }
    }
}

/// Stable words for why a value gives no key.
fn skipped_as(what: &'static str, error: &IdentityError) -> &'static str {
    match (what, error) {
        (_, IdentityError::BirthDateForm) => "birth date: not in the notation",
        (_, IdentityError::BirthDateCalendar) => "birth date: no such day",
        (_, IdentityError::BirthDateRange) => "birth date: not a range of at most 20 years",
        (_, IdentityError::DocumentKind) => "document: unknown kind",
        (_, IdentityError::DocumentNumber { .. }) => {
            "document: unsupported character in its number"
        }
        ("document", IdentityError::Empty { .. }) => "document: issuer or number missing",
        ("document", IdentityError::TooLong { .. }) => "document: issuer or number too long",
        ("document", IdentityError::UnsupportedScript { .. }) => "document: unsupported script",
        ("document", _) => "document: unsupported character",
        (_, IdentityError::Empty { .. }) => "name: empty",
        (_, IdentityError::TooLong { .. }) => "name: too long",
        (_, IdentityError::UnsupportedScript { .. }) => "name: unsupported script",
        _ => "name: unsupported character",
    }
}

#[cfg(test)]
mod tests {
    use lanyard_core::identity::KeyKind;

    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn entry(
        names: &[&str],
        birth_dates: &[&str],
        documents: &[(&str, &str, &str)],
    ) -> wire::ListEntry {
        wire::ListEntry {
            line: 3,
            label: "L-1".into(),
            names: strings(names),
            birth_dates: strings(birth_dates),
            documents: documents
                .iter()
                .map(|(kind, issuer, number)| wire::ListDocument {
                    kind: (*kind).into(),
                    issuer: (*issuer).into(),
                    number: (*number).into(),
                })
                .collect(),
        }
    }

    /// What was read, the kinds of the keys that it gives, and what was skipped.
    fn read(entry: wire::ListEntry) -> (Entries, Vec<KeyKind>, BTreeMap<String, u64>) {
        let mut entries = Entries::new(EventId::parse("games").unwrap());
        let keys = entries.add(entry).map_or_else(Vec::new, |entry| entry.keys);
        let kinds = keys.iter().map(IdentityKey::kind).collect();
        let skipped = entries.progress().skipped;
        (entries, kinds, skipped.into_iter().map(|one| (one.reason, one.count)).collect())
    }

    fn count(kinds: &[KeyKind], kind: KeyKind) -> usize {
        kinds.iter().filter(|one| **one == kind).count()
    }

    #[test]
    fn every_name_meets_every_birth_date() {
        let (_, kinds, skipped) = read(entry(
            &["Erika Mustermann", "MUSTERMANN, Erika", "Erika Gabler"],
            &["1964-08-12", "1963-08-12; circa 1962"],
            &[("passport", "DEU", "C01X00T47"), ("passport", "D", "c01x 00t47")],
        ));
        assert!(skipped.is_empty(), "{skipped:?}");
        assert_eq!(count(&kinds, KeyKind::NameBirthDate), 2 * 2);
        assert_eq!(count(&kinds, KeyKind::Document), 1);
        assert!(count(&kinds, KeyKind::Variant) > 10);
    }

    #[test]
    fn a_bad_value_is_skipped_counted_and_leaves_the_others() {
        let (_, kinds, skipped) = read(entry(
            &["\u{12000}", "Agent 47", "Erika Gabler"],
            &["1964-02-31", "1964-08-12", "about 1964", "1960/1990"],
            &[("library card", "DEU", "1"), ("passport", "", "1"), ("passport", "RUS", "7А1")],
        ));
        assert_eq!(count(&kinds, KeyKind::NameBirthDate), 1);
        for reason in [
            "name: unsupported script",
            "name: unsupported character",
            "birth date: no such day",
            "birth date: not in the notation",
            "birth date: not a range of at most 20 years",
            "document: unknown kind",
            "document: issuer or number missing",
            "document: unsupported character in its number",
        ] {
            assert_eq!(skipped.get(reason), Some(&1), "{reason}: {skipped:?}");
        }
    }

    #[test]
    fn a_short_name_without_a_date_gives_no_key_and_is_counted() {
        let (entries, kinds, _) = read(entry(&["Erika Gabler"], &[], &[]));
        assert_eq!((entries.progress().without_key, kinds.len()), (1, 0));
        let (entries, kinds, _) = read(entry(&["Erika Gabler"], &["1964"], &[]));
        assert_eq!(entries.progress().without_key, 0);
        assert!(!kinds.is_empty());
    }

    #[test]
    fn an_entry_is_refused_by_line_and_column_without_its_values() {
        let (entries, ..) =
            read(wire::ListEntry { label: " ".into(), ..entry(&["canary"], &[], &[]) });
        let errors = entries.progress().errors;
        assert_eq!((errors[0].line, errors[0].column.as_str()), (3, "label"));
        let many = vec!["canary".to_owned(); MAX_VALUES + 1];
        let (entries, ..) = read(wire::ListEntry { names: many, ..entry(&[], &[], &[]) });
        let errors = entries.progress().errors;
        assert_eq!(errors[0].column, "name");
        assert!(!errors[0].problem.contains("canary"));
    }
}

//! Entries of a list, read: what gives a key, what is skipped, and what is refused.
//!
//! A value that gives no key is skipped and counted; the others of its entry still count. An entry is refused only if it
//! cannot be meant: without a label to show to an officer, or too large. Nothing repeats a value.

use std::collections::{BTreeMap, BTreeSet};

use lanyard_core::identity::{BirthDate, Document, DocumentKind, IdentityError, IdentityKey, Name};
use lanyard_core::ids::EventId;
use lanyard_shareholder::MAX_ELEMENTS;
use lanyard_wire::police::v1 as wire;

/// Errors that a response carries.
const MAX_ERRORS: usize = 1_000;
/// Longest label in characters.
const MAX_LABEL: usize = 500;
/// Values of one kind that one entry can have.
const MAX_VALUES: usize = 1_000;
/// Keys that one entry can give: names times birth dates, and documents. They are evaluated in one batch.
const MAX_KEYS: usize = 10_000;
const _: () = assert!(MAX_KEYS <= MAX_ELEMENTS);

/// What one entry gives: at least one key.
pub(crate) struct Entry {
    label: String,
    names: BTreeSet<Name>,
    birth_dates: BTreeSet<BirthDate>,
    documents: BTreeSet<Document>,
}

/// Reads entries one by one and counts what they give.
#[derive(Default, Clone)]
pub(crate) struct Entries {
    received: u64,
    without_key: u64,
    skipped: BTreeMap<&'static str, u64>,
    errors: Vec<wire::RowError>,
}

impl Entry {
    /// What officers know it by.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Its keys: each document, and each name with each birth date.
    pub(crate) fn keys(&self, event: &EventId) -> Vec<IdentityKey> {
        let documents = self.documents.iter();
        let mut keys: Vec<_> =
            documents.map(|document| IdentityKey::document(event, document)).collect();
        for name in &self.names {
            for birth_date in &self.birth_dates {
                keys.push(IdentityKey::name_and_birth_date(event, name, *birth_date));
            }
        }
        keys
    }
}

impl Entries {
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
            self.values("birth date", &entry.birth_dates, |date| BirthDate::parse(date.trim()));
        let documents = self.values("document", &entry.documents, |document| {
            let kind = DocumentKind::parse(&document.kind)?;
            Document::new(kind, &document.issuer, &document.number)
        });
        let mut names = self.values("name", &entry.names, |name| Name::parse(name));
        if birth_dates.is_empty() && !names.is_empty() {
            *self.skipped.entry("name: no full birth date beside it").or_default() +=
                names.len() as u64;
            names.clear();
        }
        let keys = names.len() * birth_dates.len() + documents.len();
        if keys > MAX_KEYS {
            let problem = format!("gives more than {MAX_KEYS} keys with its birth dates; split it");
            return Err(("name", problem));
        }
        if keys == 0 {
            self.without_key += 1;
            return Ok(None);
        }
        Ok(Some(Entry { label: label.to_owned(), names, birth_dates, documents }))
    }

    /// Each value that parses, once; the others are counted.
    fn values<T: Ord, V>(
        &mut self,
        what: &'static str,
        values: &[V],
        parse: impl Fn(&V) -> Result<T, IdentityError>,
    ) -> BTreeSet<T> {
        let mut parsed = BTreeSet::new();
        for value in values {
            match parse(value) {
                Ok(value) => {
                    parsed.insert(value);
                }
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
        (_, IdentityError::BirthDateForm) => "birth date: not in full (YYYY-MM-DD)",
        (_, IdentityError::BirthDateCalendar) => "birth date: no such day",
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

    /// What was read, how many keys it gives, and what was skipped.
    fn read(entry: wire::ListEntry) -> (Entries, usize, BTreeMap<String, u64>) {
        let event = EventId::parse("games").unwrap();
        let mut entries = Entries::default();
        let keys = entries.add(entry).map_or(0, |entry| entry.keys(&event).len());
        let skipped = entries.progress().skipped;
        (entries, keys, skipped.into_iter().map(|one| (one.reason, one.count)).collect())
    }

    #[test]
    fn every_name_meets_every_full_birth_date() {
        let (_, keys, skipped) = read(entry(
            &["Erika Mustermann", "MUSTERMANN, Erika", "Erika Gabler"],
            &["1964-08-12", "1963-08-12", "circa 1962"],
            &[("passport", "DEU", "C01X00T47"), ("passport", "D", "c01x 00t47")],
        ));
        assert_eq!(keys, 2 * 2 + 1);
        assert_eq!(skipped["birth date: not in full (YYYY-MM-DD)"], 1);
    }

    #[test]
    fn a_bad_value_is_skipped_counted_and_leaves_the_others() {
        let (_, keys, skipped) = read(entry(
            &["حسین", "Agent 47", "Erika Gabler"],
            &["1964-02-31", "1964-08-12"],
            &[("library card", "DEU", "1"), ("passport", "", "1"), ("passport", "RUS", "7А1")],
        ));
        assert_eq!(keys, 1);
        for reason in [
            "name: unsupported script",
            "name: unsupported character",
            "birth date: no such day",
            "document: unknown kind",
            "document: issuer or number missing",
            "document: unsupported character in its number",
        ] {
            assert_eq!(skipped.get(reason), Some(&1), "{reason}: {skipped:?}");
        }
    }

    #[test]
    fn without_full_birth_date_or_document_there_is_no_key() {
        let (entries, keys, skipped) = read(entry(&["Erika Gabler"], &["1964"], &[]));
        assert_eq!((entries.progress().without_key, keys), (1, 0));
        assert_eq!(skipped["name: no full birth date beside it"], 1);
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

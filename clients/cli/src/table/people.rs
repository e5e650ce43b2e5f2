//! A roster's rows as people.

use lanyard_core::identity::{self, BirthDates, DocumentKind, Mrz};
use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;
use lanyard_wire::committee::v1::{Document, Person};

use super::dates::{Bound, birth_dates, minute};
use super::documents::{Documents, RawDocument};
use super::error::{MappingError, TableError};
use super::mapping::{ColumnRef, DocumentMapping, Filters, Mapping, PeopleMapping, Place};
use super::sheet::{Head, Row, Sheet};
use super::source::{Resolved, Source};
use super::stream::Plan;
use super::{Read, RowProblem};

/// The columns of an own format, beside documents and portrait.
pub(super) struct OwnColumns {
    known: &'static [&'static str],
    required: &'static [&'static str],
}

/// Of people.
const PEOPLE: OwnColumns = OwnColumns {
    known: &[
        "reference",
        "full_name",
        "latin_name",
        "birth_date",
        "mrz",
        "category",
        "function",
        "organisation",
        "profile",
        "valid_from",
        "valid_until",
    ],
    required: &["reference", "full_name", "category", "profile"],
};

/// Of the police's own staff: the profile says the category.
pub(super) const STAFF: OwnColumns = OwnColumns {
    known: &[
        "reference",
        "full_name",
        "birth_date",
        "function",
        "profile",
        "valid_from",
        "valid_until",
    ],
    required: &["reference", "full_name", "profile"],
};
const PORTRAIT: &str = "portrait_hash";
/// Documents that a row of the own format can have.
const MAX_DOCUMENTS: usize = 8;

/// Reads a roster: without a mapping in the own format, whose header names the columns. `now` says of which century the birth
/// dates of machine-readable zones are.
///
/// # Errors
/// [`MappingError`] if mapping and file do not go together; bad rows are in the result.
pub fn people(
    sheet: &Sheet,
    mapping: Option<&Mapping>,
    zone: &EventTimeZone,
    now: Timestamp,
) -> Result<Read<Person>, MappingError> {
    let plan = PeoplePlan::new(sheet.head(), mapping, zone, now)?;
    let mut read = Read::default();
    read.problems.extend_from_slice(sheet.ragged());
    sheet.rows().iter().for_each(|row| plan.read(row, &mut read));
    read.problems.sort_by_key(|problem| problem.line);
    Ok(read)
}

/// How a roster's rows are read.
pub(super) struct PeoplePlan {
    columns: Columns,
    filters: Filters,
    formats: Vec<String>,
    zone: EventTimeZone,
    now: Timestamp,
}

impl PeoplePlan {
    pub(super) fn new(
        head: &Head,
        mapping: Option<&Mapping>,
        zone: &EventTimeZone,
        now: Timestamp,
    ) -> Result<Self, MappingError> {
        let own;
        let mapping = match mapping {
            Some(mapping) => mapping,
            None => {
                own = own_format(head, &PEOPLE)?;
                &own
            }
        };
        Ok(Self {
            columns: Columns::resolve(mapping.for_people()?, &mapping.place(head))?,
            filters: mapping.filters(head)?,
            formats: mapping.date_formats.clone(),
            zone: zone.clone(),
            now,
        })
    }
}

impl Plan for PeoplePlan {
    type Item = Person;

    fn read(&self, row: &Row, read: &mut Read<Person>) {
        if !self.filters.take(row) {
            read.skip("row: left out by the mapping");
            return;
        }
        match self.columns.person(row, &self.formats, &self.zone, self.now) {
            Ok(person) => read.rows.push((row.line, person)),
            Err((column, problem)) => {
                let (line, column) = (row.line, column.to_owned());
                read.problems.push(RowProblem { line, column, problem });
            }
        }
    }
}

/// The mapping that the header of a file in the own format amounts to.
pub(super) fn own_format(head: &Head, columns: &OwnColumns) -> Result<Mapping, TableError> {
    let header = head.header.as_deref().unwrap_or_default();
    let has = |name: &str| header.iter().any(|one| one == name);
    let refused = |problem: String| TableError::Header { path: head.path.clone(), problem };
    if let Some(missing) = columns.required.iter().find(|name| !has(name)) {
        return Err(refused(format!("the header has no column {missing:?}")));
    }
    let documents: Vec<DocumentMapping> = (1..=MAX_DOCUMENTS)
        .map(document_columns)
        .filter(|columns| columns.iter().any(|name| has(name)))
        .map(|[kind, issuer, number]| {
            for name in [&kind, &issuer, &number] {
                if !has(name) {
                    return Err(refused(format!(
                        "the header has no column {name:?}, which goes with the others"
                    )));
                }
            }
            Ok(DocumentMapping {
                kind: None,
                kind_from: Some(named(&kind)),
                issuer: Some(named(&issuer)),
                number: Some(named(&number)),
                column: None,
                split: None,
                pattern: None,
            })
        })
        .collect::<Result<_, _>>()?;
    let known = |name: &String| {
        let name = name.as_str();
        columns.known.contains(&name)
            || name == PORTRAIT
            || (1..=MAX_DOCUMENTS)
                .any(|number| document_columns(number).iter().any(|one| one == name))
    };
    if let Some(unknown) = header.iter().find(|name| !known(name)) {
        return Err(refused(format!("unknown column {unknown:?}")));
    }
    let optional = |name: &str| has(name).then(|| named(name));
    Ok(Mapping::own(PeopleMapping {
        reference: named("reference"),
        full_name: named("full_name"),
        latin_name: optional("latin_name"),
        birth_date: optional("birth_date"),
        documents,
        mrz: optional("mrz"),
        category: optional("category").unwrap_or_else(|| Source::constant("none")),
        function: optional("function"),
        organisation: optional("organisation"),
        profile: named("profile"),
        valid_from: optional("valid_from"),
        valid_until: optional("valid_until"),
        portrait_hash: optional(PORTRAIT),
    }))
}

/// `document_kind`, `document_issuer`, `document_number`; those of the second document end in `_2`, and so on.
fn document_columns(number: usize) -> [String; 3] {
    let suffix = if number == 1 { String::new() } else { format!("_{number}") };
    ["kind", "issuer", "number"].map(|part| format!("document_{part}{suffix}"))
}

fn named(name: &str) -> Source {
    Source::column(ColumnRef::Name(name.to_owned()))
}

/// A roster's columns, found.
struct Columns {
    reference: Resolved,
    full_name: Resolved,
    latin_name: Option<Resolved>,
    birth_date: Option<Resolved>,
    documents: Vec<Documents>,
    mrz: Option<Resolved>,
    category: Resolved,
    function: Option<Resolved>,
    organisation: Option<Resolved>,
    profile: Resolved,
    valid_from: Option<Resolved>,
    valid_until: Option<Resolved>,
    portrait_hash: Option<Resolved>,
}

impl Columns {
    fn resolve(mapping: &PeopleMapping, place: &Place<'_>) -> Result<Self, MappingError> {
        let find = |field: &str, source: &Source| source.resolve(field, place);
        let optional = |field: &str, source: &Option<Source>| {
            source.as_ref().map(|source| source.resolve(field, place)).transpose()
        };
        Ok(Self {
            reference: find("reference", &mapping.reference)?,
            full_name: find("full_name", &mapping.full_name)?,
            latin_name: optional("latin_name", &mapping.latin_name)?,
            birth_date: optional("birth_date", &mapping.birth_date)?,
            documents: Documents::resolve(&mapping.documents, place)?,
            mrz: optional("mrz", &mapping.mrz)?,
            category: find("category", &mapping.category)?,
            function: optional("function", &mapping.function)?,
            organisation: optional("organisation", &mapping.organisation)?,
            profile: find("profile", &mapping.profile)?,
            valid_from: optional("valid_from", &mapping.valid_from)?,
            valid_until: optional("valid_until", &mapping.valid_until)?,
            portrait_hash: optional("portrait_hash", &mapping.portrait_hash)?,
        })
    }

    /// A person, or which column is bad and why.
    fn person(
        &self,
        row: &Row,
        formats: &[String],
        zone: &EventTimeZone,
        now: Timestamp,
    ) -> Result<Person, (&'static str, String)> {
        let required = |column: &'static str, source: &Resolved| match source.value(row) {
            value if value.is_empty() => Err((column, "missing".to_owned())),
            value => Ok(value),
        };
        let optional = |source: &Option<Resolved>| {
            source.as_ref().map(|source| source.value(row)).unwrap_or_default()
        };
        let bound = |column: &'static str, source: &Option<Resolved>, bound| match optional(source)
        {
            value if value.is_empty() => Ok(0),
            value => minute(&value, formats, bound, zone).ok_or_else(|| {
                (
                    column,
                    "not a day such as 2027-07-01, or a day and time such as 2027-07-01T08:30"
                        .to_owned(),
                )
            }),
        };
        let birth_date = match optional(&self.birth_date) {
            value if value.is_empty() => value,
            value => birth_dates(&value, formats).ok_or_else(|| {
                let problem = format!(
                    "not a date in the form {}, nor circa, a range or several of these",
                    formats.join(" or ")
                );
                ("birth_date", problem)
            })?,
        };
        let portrait_hash = hex::decode(optional(&self.portrait_hash)).ok();
        let portrait_hash = portrait_hash.filter(|hash| matches!(hash.len(), 0 | 32));
        let mut person = Person {
            reference: required("reference", &self.reference)?,
            full_name: self.full_name.value(row),
            latin_name: optional(&self.latin_name),
            birth_date,
            documents: self.documents(row)?,
            category: required("category", &self.category)?,
            function: optional(&self.function),
            organisation: optional(&self.organisation),
            profile: required("profile", &self.profile)?,
            not_before_minutes: bound("valid_from", &self.valid_from, Bound::From)?,
            not_after_minutes: bound("valid_until", &self.valid_until, Bound::Until)?,
            portrait_hash: portrait_hash
                .ok_or_else(|| ("portrait_hash", "not 64 hexadecimal digits".to_owned()))?,
        };
        let zone = optional(&self.mrz);
        if !zone.is_empty() {
            add_machine_readable_zone(&mut person, &zone, now)?;
        }
        if person.full_name.is_empty() {
            return Err(("full_name", "missing".to_owned()));
        }
        Ok(person)
    }

    fn documents(&self, row: &Row) -> Result<Vec<Document>, (&'static str, String)> {
        let read = self.documents.iter().flat_map(|documents| documents.read(row));
        read.map(|RawDocument { kind, issuer, number }| {
            for (column, value) in [
                ("document_number", &number),
                ("document_issuer", &issuer),
                ("document_kind", &kind),
            ] {
                if value.is_empty() {
                    let problem = "missing, and other columns of the document are not".to_owned();
                    return Err((column, problem));
                }
            }
            Ok(Document { kind, issuer, number })
        })
        .collect()
    }
}

/// Adds what a document's machine-readable zone says; what the row says itself goes before, and must not contradict.
fn add_machine_readable_zone(
    person: &mut Person,
    text: &str,
    now: Timestamp,
) -> Result<(), (&'static str, String)> {
    let zone = Mrz::parse(text, now).map_err(|error| ("mrz", error.to_string()))?;
    let document = Document {
        kind: zone.document().kind().name().to_owned(),
        issuer: zone.document().issuer().to_owned(),
        number: zone.document().number().to_owned(),
    };
    let is_it = |one: &Document| {
        DocumentKind::parse(&one.kind)
            .and_then(|kind| identity::Document::new(kind, &one.issuer, &one.number))
            .is_ok_and(|one| one == *zone.document())
    };
    if !person.documents.iter().any(is_it) {
        person.documents.push(document);
    }
    if person.full_name.is_empty() {
        person.full_name = zone.full_name();
    }
    if person.latin_name.is_empty() {
        person.latin_name = zone.full_name();
    }
    if let Some(date) = zone.birth_date() {
        if person.birth_date.is_empty() {
            person.birth_date = date.to_string();
        } else if BirthDates::parse(&person.birth_date)
            .is_ok_and(|dates| !dates.may_agree(&BirthDates::from(date)))
        {
            let problem = "not the birth date of the machine-readable zone in this row".to_owned();
            return Err(("birth_date", problem));
        }
    }
    Ok(())
}

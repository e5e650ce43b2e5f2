//! What is measured: pairs, people and lists, read and turned into facts.

use std::path::Path;

use lanyard_core::identity::{BirthDates, Document, DocumentKind, Facts, Name};
use lanyard_core::profile::EventTimeZone;
use lanyard_env::Files;
use lanyard_wire::committee::v1::Person;
use lanyard_wire::police::v1::ListEntry;

use crate::context::Context;
use crate::error::CliError;
use crate::table::{self, Mapping, MappingError, Read, RowProblem, Sheet, TableError};

const COLUMNS: [&str; 6] =
    ["left_name", "left_birth_date", "right_name", "right_birth_date", "same", "kind"];

/// Mappings of files that are tried where a file is not in the own format.
const KNOWN: [(&str, &str); 2] = [
    ("people_synthetic_50k.toml", include_str!("../../samples/columns/people_synthetic_50k.toml")),
    ("ofac_sdn.toml", include_str!("../../samples/columns/ofac_sdn.toml")),
];

/// A pair of names with dates: the left one a person's, the right one a list's.
pub(super) struct Pair {
    pub(super) left: Facts,
    pub(super) right: Facts,
    /// Whether both are one person.
    pub(super) same: bool,
    pub(super) kind: String,
}

/// Reads pairs; bad rows are problems.
pub(super) fn pairs(files: &dyn Files, path: &Path) -> Result<Read<Pair>, CliError> {
    let sheet = Sheet::read(files, path, ',', true)?;
    let header = sheet.header().unwrap_or_default();
    let place = |name: &str| {
        header.iter().position(|one| one == name).ok_or_else(|| TableError::Header {
            path: path.to_owned(),
            problem: format!("the header has no column {name:?}; it needs {}", COLUMNS.join(", ")),
        })
    };
    let places = COLUMNS.iter().map(|name| place(name)).collect::<Result<Vec<_>, _>>()?;
    let mut read = Read::default();
    read.problems.extend_from_slice(sheet.ragged());
    for row in sheet.rows() {
        let field = |column: usize| row.fields.get(places[column]).map_or("", String::as_str);
        match pair(field) {
            Ok(pair) => read.rows.push((row.line, pair)),
            Err((column, problem)) => {
                let column = COLUMNS[column].to_owned();
                read.problems.push(RowProblem { line: row.line, column, problem });
            }
        }
    }
    read.problems.sort_by_key(|problem| problem.line);
    Ok(read)
}

/// A row as a pair, or which column is bad and why.
fn pair<'a>(field: impl Fn(usize) -> &'a str) -> Result<Pair, (usize, String)> {
    let side = |name: usize, date: usize| {
        Ok(Facts {
            names: vec![Name::parse(field(name)).map_err(|error| (name, error.to_string()))?],
            birth_dates: BirthDates::parse(field(date))
                .map_err(|error| (date, error.to_string()))?,
            documents: Vec::new(),
        })
    };
    let same = match field(4).to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => true,
        "0" | "false" | "no" => false,
        _ => return Err((4, "say 1 (one person) or 0 (two people)".to_owned())),
    };
    let kind = if field(5).is_empty() { "unnamed" } else { field(5) };
    Ok(Pair { left: side(0, 1)?, right: side(2, 3)?, same, kind: kind.to_owned() })
}

/// Reads people in the own format, under a mapping, or under one that the samples have.
pub(super) fn people(
    context: &Context,
    path: &Path,
    columns: Option<&Path>,
) -> Result<Read<Facts>, CliError> {
    let files = &*context.env.files;
    let zone = EventTimeZone::parse("Etc/UTC").map_err(|error| CliError::content(path, error))?;
    let read = under_a_mapping(files, path, columns, |sheet, mapping| {
        table::people(sheet, mapping, &zone, context.env.now())
    })?;
    let mut people = Read { problems: read.problems, skipped: read.skipped, rows: Vec::new() };
    for (line, person) in read.rows {
        match person_facts(&person) {
            Ok(facts) => people.rows.push((line, facts)),
            Err((column, problem)) => {
                let column = column.to_owned();
                people.problems.push(RowProblem { line, column, problem });
            }
        }
    }
    Ok(people)
}

/// Reads a list, likewise.
pub(super) fn list(
    context: &Context,
    path: &Path,
    columns: Option<&Path>,
    join_dir: Option<&Path>,
) -> Result<Read<ListEntry>, CliError> {
    let files = &*context.env.files;
    under_a_mapping(files, path, columns, |sheet, mapping| {
        table::watchlist(files, sheet, mapping, join_dir)
    })
}

fn under_a_mapping<T>(
    files: &dyn Files,
    path: &Path,
    columns: Option<&Path>,
    read: impl Fn(&Sheet, Option<&Mapping>) -> Result<Read<T>, MappingError>,
) -> Result<Read<T>, CliError> {
    let under = |mapping: Option<&Mapping>| -> Result<Read<T>, CliError> {
        let (delimiter, header) =
            mapping.map_or((',', true), |mapping| (mapping.delimiter, mapping.header));
        let sheet = Sheet::read(files, path, delimiter, header)?;
        Ok(read(&sheet, mapping)?)
    };
    if let Some(columns) = columns {
        return under(Some(&Mapping::read(files, columns)?));
    }
    let own = match under(None) {
        Err(error @ (CliError::Table(_) | CliError::Mapping(_))) => error,
        other => return other,
    };
    let known = KNOWN.iter().find_map(|(name, text)| {
        let mapping = Mapping::parse(Path::new(name), text).ok()?;
        under(Some(&mapping)).ok().filter(|read| !read.rows.is_empty())
    });
    known.ok_or(own)
}

fn person_facts(person: &Person) -> Result<Facts, (&'static str, String)> {
    let mut names = Vec::new();
    for (column, name) in [("latin_name", &person.latin_name), ("full_name", &person.full_name)] {
        match Name::parse(name) {
            Ok(name) => names.push(name),
            Err(_) if column == "latin_name" && name.is_empty() => {}
            Err(_) if !names.is_empty() => {}
            Err(error) => return Err((column, error.to_string())),
        }
    }
    let birth_dates = BirthDates::parse(&person.birth_date);
    let birth_dates = birth_dates.map_err(|error| ("birth_date", error.to_string()))?;
    let documents = person.documents.iter();
    let documents = documents.map(|one| document(&one.kind, &one.issuer, &one.number));
    Ok(Facts { names, birth_dates, documents: documents.collect::<Result<_, _>>()? })
}

/// The facts of a list's entry; what cannot be read was reported when the list was.
pub(super) fn entry_facts(entry: &ListEntry) -> Facts {
    let documents = entry.documents.iter();
    let documents = documents.filter_map(|one| document(&one.kind, &one.issuer, &one.number).ok());
    Facts {
        names: entry.names.iter().filter_map(|name| Name::parse(name).ok()).collect(),
        birth_dates: entry
            .birth_dates
            .iter()
            .filter_map(|date| BirthDates::parse(date).ok())
            .collect(),
        documents: documents.collect(),
    }
}

fn document(kind: &str, issuer: &str, number: &str) -> Result<Document, (&'static str, String)> {
    let document = DocumentKind::parse(kind).and_then(|kind| Document::new(kind, issuer, number));
    document.map_err(|error| ("document_number", error.to_string()))
}

//! A watchlist's rows as entries.
//!
//! Lists are messy. A value that cannot be read is reported with line and column and left out; a document without issuer or
//! number, which gives no key, is left out and counted. The entry's other values stay.

use std::collections::HashMap;
use std::path::Path;

use lanyard_core::identity::{self, DocumentKind, Name};
use lanyard_env::Files;
use lanyard_wire::police::v1::{ListDocument, ListEntry};

use super::dates::birth_dates;
use super::documents::Documents;
use super::error::{MappingError, TableError};
use super::mapping::{
    ColumnRef, DocumentMapping, Filters, JoinMapping, Mapping, Place, WatchlistMapping,
};
use super::sheet::{Head, Row, Sheet};
use super::source::{Resolved, Source};
use super::stream::Plan;
use super::{Read, RowProblem};

/// The columns of the own format.
const OWN: [&str; 6] =
    ["label", "name", "birth_date", "document_kind", "document_issuer", "document_number"];

/// Reads a watchlist: without a mapping in the own format. Joined files lie in `join_dir`, or beside the list.
///
/// # Errors
/// [`MappingError`] if mapping and files do not go together; bad rows are in the result.
pub fn watchlist(
    files: &dyn Files,
    sheet: &Sheet,
    mapping: Option<&Mapping>,
    join_dir: Option<&Path>,
) -> Result<Read<ListEntry>, MappingError> {
    let mut read = Read::default();
    read.problems.extend_from_slice(sheet.ragged());
    let plan = ListPlan::new(files, sheet.head(), mapping, join_dir, &mut read)?;
    sheet.rows().iter().for_each(|row| plan.read(row, &mut read));
    read.problems.sort_by_key(|problem| problem.line);
    Ok(read)
}

/// How a list's rows are read. Joined files are in memory.
pub(super) struct ListPlan {
    label: Resolved,
    columns: Columns,
    joins: Vec<Joined>,
    filters: Filters,
    formats: Vec<String>,
}

impl ListPlan {
    pub(super) fn new(
        files: &dyn Files,
        head: &Head,
        mapping: Option<&Mapping>,
        join_dir: Option<&Path>,
        read: &mut Read<ListEntry>,
    ) -> Result<Self, MappingError> {
        let own;
        let mapping = match mapping {
            Some(mapping) => mapping,
            None => {
                own = own_format(head)?;
                &own
            }
        };
        let fields = mapping.for_watchlist()?;
        let place = mapping.place(head);
        let dir = join_dir.or_else(|| head.path.parent()).unwrap_or_else(|| Path::new("."));
        let joins = fields
            .join
            .iter()
            .map(|join| Joined::read(files, dir, join, mapping, &place))
            .collect::<Result<Vec<_>, _>>()?;
        for join in &joins {
            join.sheet
                .ragged()
                .iter()
                .for_each(|_| read.skip("row of a joined file: wrong number of columns"));
        }
        Ok(Self {
            label: fields.label.resolve("label", &place)?,
            columns: Columns::resolve(fields.into(), &place)?,
            joins,
            filters: mapping.filters(head)?,
            formats: mapping.date_formats.clone(),
        })
    }
}

impl Plan for ListPlan {
    type Item = ListEntry;

    fn read(&self, row: &Row, read: &mut Read<ListEntry>) {
        if !self.filters.take(row) {
            read.skip("row: left out by the mapping");
            return;
        }
        let label = self.label.value(row);
        if label.is_empty() {
            let (line, column) = (row.line, "label".to_owned());
            read.problems.push(RowProblem { line, column, problem: "missing".to_owned() });
            return;
        }
        let mut entry = ListEntry { line: row.line, label, ..ListEntry::default() };
        self.columns.add(row, None, &self.formats, &mut entry, read);
        for join in &self.joins {
            for joined in join.rows_of(row) {
                let file = Some(join.file.as_str());
                join.columns.add(joined, file, &self.formats, &mut entry, read);
            }
        }
        read.rows.push((row.line, entry));
    }
}

fn own_format(head: &Head) -> Result<Mapping, TableError> {
    let header = head.header.as_deref().unwrap_or_default();
    let has = |name: &str| header.iter().any(|one| one == name);
    let refused = |problem: String| TableError::Header { path: head.path.clone(), problem };
    if let Some(missing) = ["label", "name"].iter().find(|name| !has(name)) {
        return Err(refused(format!("the header has no column {missing:?}")));
    }
    if let Some(unknown) = header.iter().find(|name| !OWN.contains(&name.as_str())) {
        return Err(refused(format!("unknown column {unknown:?}")));
    }
    let named = |name: &str| Source::column(ColumnRef::Name(name.to_owned()));
    let list = |name: &str| Source::list(ColumnRef::Name(name.to_owned()), ";");
    let document_columns = OWN[3..].iter().filter(|name| has(name)).count();
    if !matches!(document_columns, 0 | 3) {
        return Err(refused(
            "document_kind, document_issuer and document_number go together".to_owned(),
        ));
    }
    let document = DocumentMapping {
        kind: None,
        kind_from: Some(named("document_kind")),
        issuer: Some(named("document_issuer")),
        number: Some(named("document_number")),
        column: None,
        split: None,
        pattern: None,
    };
    Ok(Mapping::own_watchlist(WatchlistMapping {
        label: named("label"),
        names: vec![list("name")],
        birth_dates: if has("birth_date") { vec![list("birth_date")] } else { Vec::new() },
        documents: if document_columns == 3 { vec![document] } else { Vec::new() },
        join: Vec::new(),
    }))
}

/// Where values of an entry come from, in the list or in a joined file.
struct Fields<'a> {
    names: &'a [Source],
    birth_dates: &'a [Source],
    documents: &'a [DocumentMapping],
}

impl<'a> From<&'a WatchlistMapping> for Fields<'a> {
    fn from(mapping: &'a WatchlistMapping) -> Self {
        let WatchlistMapping { names, birth_dates, documents, .. } = mapping;
        Self { names, birth_dates, documents }
    }
}

impl<'a> From<&'a JoinMapping> for Fields<'a> {
    fn from(mapping: &'a JoinMapping) -> Self {
        let JoinMapping { names, birth_dates, documents, .. } = mapping;
        Self { names, birth_dates, documents }
    }
}

/// The same, found.
struct Columns {
    names: Vec<Resolved>,
    birth_dates: Vec<Resolved>,
    documents: Vec<Documents>,
}

impl Columns {
    fn resolve(fields: Fields<'_>, place: &Place<'_>) -> Result<Self, MappingError> {
        let find = |field: &str, sources: &[Source]| {
            sources.iter().map(|source| source.resolve(field, place)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            names: find("names", fields.names)?,
            birth_dates: find("birth_dates", fields.birth_dates)?,
            documents: Documents::resolve(fields.documents, place)?,
        })
    }

    /// Adds the row's values to an entry, each once. `file` is where the row stands, unless in the list itself.
    fn add(
        &self,
        row: &Row,
        file: Option<&str>,
        formats: &[String],
        entry: &mut ListEntry,
        read: &mut Read<ListEntry>,
    ) {
        let problem = |read: &mut Read<ListEntry>, column: &str, problem: String| {
            let column = file.map_or_else(|| column.to_owned(), |file| format!("{file}: {column}"));
            read.problems.push(RowProblem { line: row.line, column, problem });
        };
        for name in self.names.iter().flat_map(|source| source.values(row)) {
            match Name::parse(&name) {
                Ok(_) if entry.names.contains(&name) => {}
                Ok(_) => entry.names.push(name),
                Err(error) => problem(read, "name", error.to_string()),
            }
        }
        for text in self.birth_dates.iter().flat_map(|source| source.values(row)) {
            match birth_dates(&text, formats) {
                Some(date) if entry.birth_dates.contains(&date) => {}
                Some(date) => entry.birth_dates.push(date),
                None => {
                    let formats = formats.join(" or ");
                    let text = format!("not a date in the form {formats}, nor circa, nor a range");
                    problem(read, "birth_date", text);
                }
            }
        }
        for document in self.documents.iter().flat_map(|documents| documents.read(row)) {
            if document.issuer.is_empty() || document.number.is_empty() {
                read.skip("document: no issuer or no number");
                continue;
            }
            let parsed = DocumentKind::parse(&document.kind)
                .and_then(|kind| identity::Document::new(kind, &document.issuer, &document.number));
            if let Err(error) = parsed {
                problem(read, "document_number", error.to_string());
                continue;
            }
            let document = ListDocument {
                kind: document.kind,
                issuer: document.issuer,
                number: document.number,
            };
            if !entry.documents.contains(&document) {
                entry.documents.push(document);
            }
        }
    }
}

/// A joined file: its rows by key.
struct Joined {
    file: String,
    sheet: Sheet,
    columns: Columns,
    list_key: usize,
    rows: HashMap<String, Vec<usize>>,
}

impl Joined {
    fn read(
        files: &dyn Files,
        dir: &Path,
        join: &JoinMapping,
        mapping: &Mapping,
        list: &Place<'_>,
    ) -> Result<Self, MappingError> {
        let list_key = list.find("join.list_key", &join.list_key)?;
        let sheet = Sheet::read(files, &dir.join(&join.file), mapping.delimiter, join.header)?;
        let place = mapping.place(sheet.head());
        let key = place.find("join.key", &join.key)?;
        let columns = Columns::resolve(join.into(), &place)?;
        let mut rows: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, row) in sheet.rows().iter().enumerate() {
            if let Some(key) = row.fields.get(key) {
                rows.entry(key.clone()).or_default().push(index);
            }
        }
        Ok(Self { file: join.file.clone(), sheet, columns, list_key, rows })
    }

    fn rows_of<'a>(&'a self, row: &Row) -> impl Iterator<Item = &'a Row> {
        let places = row.fields.get(self.list_key).and_then(|key| self.rows.get(key));
        places.into_iter().flatten().filter_map(|place| self.sheet.rows().get(*place))
    }
}

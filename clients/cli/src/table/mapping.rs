//! Mappings: which column of a foreign file is what. `docs/FORMATS.md` describes them for their authors.

use std::fmt;
use std::path::{Path, PathBuf};

use lanyard_env::Files;
use lanyard_party::{parse_toml, read_toml};
use regex::{Regex, RegexBuilder};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::dates::ISO;
use super::error::MappingError;
use super::sheet::{Head, Row};
use super::source::Source;

/// The most bytes of a compiled pattern.
const PATTERN_LIMIT: usize = 1 << 20;

/// A mapping file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What separates columns.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Whether the first line names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Values that mean nothing.
    #[serde(default)]
    pub null: Vec<String>,
    /// How dates are written, in the words of strptime; those of partial dates too.
    #[serde(default = "iso")]
    pub date_formats: Vec<String>,
    /// Rows to take: all of these hold.
    #[serde(default)]
    pub only: Vec<Filter>,
    /// Rows to leave out: any of these holds.
    #[serde(default)]
    pub skip: Vec<Filter>,
    /// If the file holds people.
    pub people: Option<PeopleMapping>,
    /// If the file holds a watchlist.
    pub watchlist: Option<WatchlistMapping>,
    #[serde(skip)]
    path: PathBuf,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The column looked at.
    pub column: ColumnRef,
    /// The values that count; an empty text counts for a column without a value.
    pub is: Vec<String>,
}

/// Where the fields of a person come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeopleMapping {
    /// The committee's own reference.
    pub reference: Source,
    /// Full name.
    pub full_name: Source,
    /// Name in Latin letters, as the travel document has it.
    pub latin_name: Option<Source>,
    /// Birth date.
    pub birth_date: Option<Source>,
    /// Documents.
    #[serde(default)]
    pub documents: Vec<DocumentMapping>,
    /// Machine-readable zone of a document: gives the document, and names and birth date if these are not there.
    pub mrz: Option<Source>,
    /// Category.
    pub category: Source,
    /// What the person does.
    pub function: Option<Source>,
    /// For whom.
    pub organisation: Option<Source>,
    /// Code of the access profile.
    pub profile: Source,
    /// Start of validity.
    pub valid_from: Option<Source>,
    /// End of validity.
    pub valid_until: Option<Source>,
    /// BLAKE3 of the portrait, 64 hexadecimal digits.
    pub portrait_hash: Option<Source>,
}

/// Where the fields of a list's entry come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchlistMapping {
    /// The list's own label of the entry; better a number than a name: it is stored.
    pub label: Source,
    /// Names.
    #[serde(default)]
    pub names: Vec<Source>,
    /// Birth dates.
    #[serde(default)]
    pub birth_dates: Vec<Source>,
    /// Documents.
    #[serde(default)]
    pub documents: Vec<DocumentMapping>,
    /// Further files whose rows belong to entries.
    #[serde(default)]
    pub join: Vec<JoinMapping>,
}

/// Where documents come from: from sources of their own, or out of one column by a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentMapping {
    /// `passport`, `national-id`, `residence` or `other`; or where that stands.
    pub kind: Option<String>,
    /// Where the kind stands.
    pub kind_from: Option<Source>,
    /// Where the issuer stands.
    pub issuer: Option<Source>,
    /// Where the number stands.
    pub number: Option<Source>,
    /// The column that holds documents among other things.
    pub column: Option<ColumnRef>,
    /// What separates things in that column.
    pub split: Option<String>,
    /// What a document looks like there: with groups `number` and `issuer`.
    pub pattern: Option<String>,
}

/// A further file whose rows belong to entries.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinMapping {
    /// Its name; it lies beside the list unless told otherwise.
    pub file: String,
    /// Whether its first line names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Its column that says to which entry a row belongs.
    pub key: ColumnRef,
    /// The list's column that `key` refers to.
    pub list_key: ColumnRef,
    /// Names.
    #[serde(default)]
    pub names: Vec<Source>,
    /// Birth dates.
    #[serde(default)]
    pub birth_dates: Vec<Source>,
    /// Documents.
    #[serde(default)]
    pub documents: Vec<DocumentMapping>,
}

/// A column, by its name in the header or by its place from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnRef {
    /// By name.
    Name(String),
    /// By place, from 1.
    Number(usize),
}

impl ColumnRef {
    pub(super) fn number(number: i64) -> Result<Self, String> {
        match usize::try_from(number) {
            Ok(number @ 1..) => Ok(Self::Number(number)),
            _ => Err("columns are counted from 1".to_owned()),
        }
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ColumnVisitor;
        impl Visitor<'_> for ColumnVisitor {
            type Value = ColumnRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name in the header, or its number from 1")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<ColumnRef, E> {
                Ok(ColumnRef::Name(name.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<ColumnRef, E> {
                ColumnRef::number(number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(ColumnVisitor)
    }
}

const fn comma() -> char {
    ','
}

const fn yes() -> bool {
    true
}

fn iso() -> Vec<String> {
    ISO.map(str::to_owned).to_vec()
}

impl Default for Mapping {
    /// CSV with a header and ISO dates; nothing said of the columns yet.
    fn default() -> Self {
        Self {
            delimiter: comma(),
            header: yes(),
            null: Vec::new(),
            date_formats: iso(),
            only: Vec::new(),
            skip: Vec::new(),
            people: None,
            watchlist: None,
            path: PathBuf::from("the own format"),
        }
    }
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// [`MappingError`], naming file, line and column, or the field.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Self, MappingError> {
        Self::checked(read_toml(files, path)?, path)
    }

    /// Parses a mapping; `path` stands in errors only.
    ///
    /// # Errors
    /// As [`Mapping::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, MappingError> {
        Self::checked(parse_toml(path, text)?, path)
    }

    /// The mapping of a roster in the own format.
    pub(super) fn own(people: PeopleMapping) -> Self {
        Self { people: Some(people), ..Self::default() }
    }

    /// The mapping of a watchlist in the own format.
    pub(super) fn own_watchlist(watchlist: WatchlistMapping) -> Self {
        Self { watchlist: Some(watchlist), ..Self::default() }
    }

    fn checked(mut mapping: Self, path: &Path) -> Result<Self, MappingError> {
        mapping.path = path.to_owned();
        let wrong = |problem: &str| {
            Err(MappingError::Wrong { path: path.to_owned(), problem: problem.to_owned() })
        };
        if !mapping.delimiter.is_ascii() || matches!(mapping.delimiter, '"' | '\r' | '\n') {
            return wrong("delimiter: one ASCII character, such as \",\", \";\" or \"\\t\"");
        }
        match (&mapping.people, &mapping.watchlist) {
            (Some(_), Some(_)) => wrong("say [people] or [watchlist], not both"),
            (None, None) => wrong("say what the columns are in [people] or [watchlist]"),
            _ => Ok(mapping),
        }
    }

    /// The part for people.
    ///
    /// # Errors
    /// [`MappingError::Wrong`] if this is a watchlist's mapping.
    pub fn for_people(&self) -> Result<&PeopleMapping, MappingError> {
        self.people.as_ref().ok_or_else(|| self.other_kind("a watchlist; give one with [people]"))
    }

    /// The part for a watchlist.
    ///
    /// # Errors
    /// [`MappingError::Wrong`] if this is a mapping for people.
    pub fn for_watchlist(&self) -> Result<&WatchlistMapping, MappingError> {
        self.watchlist.as_ref().ok_or_else(|| self.other_kind("people; give one with [watchlist]"))
    }

    fn other_kind(&self, problem: &str) -> MappingError {
        let problem = format!("this mapping is for {problem}");
        MappingError::Wrong { path: self.path.clone(), problem }
    }

    pub(super) fn place<'a>(&'a self, head: &'a Head) -> Place<'a> {
        Place { path: &self.path, head, nulls: &self.null }
    }

    /// Finds the filters' columns.
    pub(super) fn filters(&self, head: &Head) -> Result<Filters, MappingError> {
        let place = self.place(head);
        let find = |name: &str, filters: &[Filter]| {
            let found = filters
                .iter()
                .map(|filter| Ok((place.find(name, &filter.column)?, filter.is.clone())));
            found.collect::<Result<Vec<_>, MappingError>>()
        };
        let (only, skip) = (find("only", &self.only)?, find("skip", &self.skip)?);
        Ok(Filters { only, skip, nulls: self.null.clone() })
    }
}

/// Filters whose columns are found.
pub(super) struct Filters {
    only: Vec<(usize, Vec<String>)>,
    skip: Vec<(usize, Vec<String>)>,
    nulls: Vec<String>,
}

impl Filters {
    /// Whether the row is to be read.
    pub(super) fn take(&self, row: &Row) -> bool {
        let holds = |(column, values): &(usize, Vec<String>)| {
            let value = row.fields.get(*column).map_or("", String::as_str);
            let value = if self.nulls.iter().any(|null| null == value) { "" } else { value };
            values.iter().any(|counts| counts == value)
        };
        self.only.iter().all(holds) && !self.skip.iter().any(holds)
    }
}

/// A mapping before a sheet: where columns are looked for.
pub(super) struct Place<'a> {
    path: &'a Path,
    head: &'a Head,
    pub(super) nulls: &'a [String],
}

impl Place<'_> {
    pub(super) fn wrong(&self, field: &str, problem: &str) -> MappingError {
        let (field, problem) = (field.to_owned(), problem.to_owned());
        MappingError::Source { path: self.path.to_owned(), field, problem }
    }

    /// The column's place from 0.
    pub(super) fn find(&self, field: &str, column: &ColumnRef) -> Result<usize, MappingError> {
        let found = match column {
            ColumnRef::Number(number) => (*number <= self.head.width).then(|| number - 1),
            ColumnRef::Name(name) => {
                self.head.header.as_ref().and_then(|names| names.iter().position(|one| one == name))
            }
        };
        found.ok_or_else(|| MappingError::NoColumn {
            path: self.path.to_owned(),
            field: field.to_owned(),
            table: self.head.path.clone(),
            column: column.clone(),
            has: match &self.head.header {
                Some(names) => names.join(", "),
                None => format!("{} columns without names", self.head.width),
            },
        })
    }

    pub(super) fn pattern(&self, field: &str, pattern: &str) -> Result<Regex, MappingError> {
        RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT).build().map_err(|source| {
            let (path, field) = (self.path.to_owned(), field.to_owned());
            MappingError::Pattern { path, field, source: Box::new(source) }
        })
    }
}

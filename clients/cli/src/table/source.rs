//! Where a field's value comes from.

use std::fmt;

use regex::Regex;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::mapping::{ColumnRef, Place};
use super::{MappingError, Row};

/// Where a field's value comes from, as a mapping says it: a column's name or number alone, or a table of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    parts: Parts,
}

/// The table form; what contradicts is refused when the mapping meets a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    /// One column.
    column: Option<ColumnRef>,
    /// Several, joined by `separator`.
    columns: Option<Vec<ColumnRef>>,
    separator: Option<String>,
    /// The same for every row.
    constant: Option<String>,
    /// The row's line, after this text.
    line_number: Option<String>,
    /// The column holds several values, separated by this.
    split: Option<String>,
    /// Only values that match; the group `value` counts, or else the whole match.
    pattern: Option<String>,
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a column's name or number, or a table with column, columns, constant or line_number",
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Source, E> {
        Ok(Source::column(ColumnRef::Name(name.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Source, E> {
        ColumnRef::number(number).map(Source::column).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
        Ok(Source { parts: Parts::deserialize(MapAccessDeserializer::new(map))? })
    }
}

impl Source {
    /// The value of one column.
    #[must_use]
    pub fn column(column: ColumnRef) -> Self {
        Self { parts: Parts { column: Some(column), ..Parts::default() } }
    }

    /// The values of one column, separated by `separator`.
    #[must_use]
    pub fn list(column: ColumnRef, separator: &str) -> Self {
        let (column, split) = (Some(column), Some(separator.to_owned()));
        Self { parts: Parts { column, split, ..Parts::default() } }
    }

    /// The same value for every row.
    #[must_use]
    pub fn constant(value: &str) -> Self {
        Self { parts: Parts { constant: Some(value.to_owned()), ..Parts::default() } }
    }

    /// Finds the columns in a sheet.
    pub(super) fn resolve(&self, field: &str, place: &Place<'_>) -> Result<Resolved, MappingError> {
        let Parts { column, columns, separator, constant, line_number, split, pattern } =
            &self.parts;
        let wrong = |problem: &str| place.wrong(field, problem);
        let given =
            [column.is_some(), columns.is_some(), constant.is_some(), line_number.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(wrong("say exactly one of column, columns, constant and line_number"));
        }
        if separator.is_some() && columns.is_none() {
            return Err(wrong("separator goes with columns only"));
        }
        if (split.is_some() || pattern.is_some()) && column.is_none() {
            return Err(wrong("split and pattern go with column only"));
        }
        if split.as_deref() == Some("") {
            return Err(wrong("split is empty; give what separates the values"));
        }
        let kind = if let Some(constant) = constant {
            Kind::Constant(constant.clone())
        } else if let Some(prefix) = line_number {
            Kind::LineNumber(prefix.clone())
        } else if let Some(columns) = columns {
            let found = columns.iter().map(|column| place.find(field, column));
            let found = found.collect::<Result<_, _>>()?;
            Kind::Columns(found, separator.clone().unwrap_or_else(|| " ".to_owned()))
        } else if let Some(column) = column {
            let pattern = pattern.as_ref().map(|pattern| place.pattern(field, pattern));
            Kind::Column(Extract {
                column: place.find(field, column)?,
                split: split.clone(),
                pattern: pattern.transpose()?,
            })
        } else {
            return Err(wrong("nothing said"));
        };
        Ok(Resolved { kind, nulls: place.nulls.to_vec() })
    }
}

/// Values in one column, found.
#[derive(Debug, Clone)]
pub(super) struct Extract {
    pub(super) column: usize,
    pub(super) split: Option<String>,
    pub(super) pattern: Option<Regex>,
}

impl Extract {
    /// The parts of the column's text.
    pub(super) fn parts<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = &'r str> {
        let text = row.fields.get(self.column).map_or("", String::as_str);
        let whole = self.split.is_none().then_some(text);
        let pieces = self.split.as_deref().map(|separator| text.split(separator));
        whole.into_iter().chain(pieces.into_iter().flatten()).map(str::trim)
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Column(Extract),
    Columns(Vec<usize>, String),
    Constant(String),
    LineNumber(String),
}

/// A source whose columns are found.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    kind: Kind,
    nulls: Vec<String>,
}

impl Resolved {
    /// All values of the row; empty ones and those that mean nothing are left out.
    pub(super) fn values(&self, row: &Row) -> Vec<String> {
        let values: Vec<String> = match &self.kind {
            Kind::Constant(constant) => vec![constant.clone()],
            Kind::LineNumber(prefix) => vec![format!("{prefix}{}", row.line)],
            Kind::Columns(columns, separator) => {
                let parts: Vec<&str> = columns
                    .iter()
                    .filter_map(|column| row.fields.get(*column))
                    .map(String::as_str)
                    .filter(|value| self.means_something(value))
                    .collect();
                vec![parts.join(separator)]
            }
            Kind::Column(extract) => match &extract.pattern {
                None => extract.parts(row).map(str::to_owned).collect(),
                Some(pattern) => extract
                    .parts(row)
                    .filter_map(|part| {
                        let found = pattern.captures(part)?;
                        let value = found.name("value").or_else(|| found.get(0))?;
                        Some(value.as_str().trim().to_owned())
                    })
                    .collect(),
            },
        };
        values.into_iter().filter(|value| self.means_something(value)).collect()
    }

    /// The first value of the row, or nothing.
    pub(super) fn value(&self, row: &Row) -> String {
        self.values(row).into_iter().next().unwrap_or_default()
    }

    fn means_something(&self, value: &str) -> bool {
        !value.is_empty() && !self.nulls.iter().any(|null| null == value)
    }
}

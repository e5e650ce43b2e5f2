//! Documents in rows: from columns of their own, or out of a column that holds other things too.

use regex::Regex;

use super::mapping::{DocumentMapping, Place};
use super::source::{Extract, Resolved, Source};
use super::{MappingError, Row};

/// A document as a file has it, not normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawDocument {
    pub(super) kind: String,
    pub(super) issuer: String,
    pub(super) number: String,
}

/// A document's columns, found.
pub(super) struct Documents {
    kind: Resolved,
    from: From,
}

enum From {
    /// Columns of their own.
    Columns { issuer: Resolved, number: Resolved },
    /// A pattern with the groups `number` and `issuer`.
    Pattern { extract: Extract, pattern: Regex, issuer: Option<Resolved> },
}

impl Documents {
    /// Finds the columns of all documents of a mapping.
    pub(super) fn resolve(
        mappings: &[DocumentMapping],
        place: &Place<'_>,
    ) -> Result<Vec<Self>, MappingError> {
        let numbered = mappings.iter().enumerate();
        numbered.map(|(index, mapping)| Self::one(index + 1, mapping, place)).collect()
    }

    fn one(
        number: usize,
        mapping: &DocumentMapping,
        place: &Place<'_>,
    ) -> Result<Self, MappingError> {
        let field = format!("documents, number {number}");
        let wrong = |problem: &str| place.wrong(&field, problem);
        let kind = match (&mapping.kind, &mapping.kind_from) {
            (Some(kind), None) => Source::constant(kind).resolve(&field, place)?,
            (None, Some(source)) => source.resolve(&field, place)?,
            _ => return Err(wrong("say one of kind and kind_from")),
        };
        let from = match (&mapping.column, &mapping.pattern, &mapping.number) {
            (None, None, Some(number)) if mapping.split.is_none() => {
                let issuer = mapping.issuer.as_ref();
                let issuer = issuer.ok_or_else(|| wrong("say where the issuer stands"))?;
                From::Columns {
                    issuer: issuer.resolve(&field, place)?,
                    number: number.resolve(&field, place)?,
                }
            }
            (Some(column), Some(pattern), None) => {
                let pattern = place.pattern(&field, pattern)?;
                let has = |group| pattern.capture_names().flatten().any(|name| name == group);
                if !has("number") || !(has("issuer") || mapping.issuer.is_some()) {
                    return Err(wrong(
                        "the pattern needs the groups (?<number>…) and (?<issuer>…)",
                    ));
                }
                let issuer = mapping.issuer.as_ref();
                let issuer = issuer.map(|source| source.resolve(&field, place)).transpose()?;
                let column = place.find(&field, column)?;
                let extract = Extract { column, split: mapping.split.clone(), pattern: None };
                From::Pattern { extract, pattern, issuer }
            }
            _ => return Err(wrong("say number and issuer, or column and pattern")),
        };
        Ok(Self { kind, from })
    }

    /// The documents of a row; those without a number are none.
    pub(super) fn read(&self, row: &Row) -> Vec<RawDocument> {
        let kind = self.kind.value(row);
        match &self.from {
            From::Columns { issuer, number } => {
                let document =
                    RawDocument { kind, issuer: issuer.value(row), number: number.value(row) };
                let there = !document.number.is_empty() || !document.issuer.is_empty();
                there.then_some(document).into_iter().collect()
            }
            From::Pattern { extract, pattern, issuer } => {
                let fixed = issuer.as_ref().map(|issuer| issuer.value(row)).unwrap_or_default();
                let found = extract.parts(row).filter_map(|part| pattern.captures(part));
                let group = |captures: &regex::Captures<'_>, name| {
                    captures.name(name).map(|found| found.as_str().trim().to_owned())
                };
                found
                    .map(|captures| RawDocument {
                        kind: kind.clone(),
                        issuer: group(&captures, "issuer").unwrap_or_else(|| fixed.clone()),
                        number: group(&captures, "number").unwrap_or_default(),
                    })
                    .collect()
            }
        }
    }
}

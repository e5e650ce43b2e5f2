//! People and watchlists from CSV files.
//!
//! [`Sheet::read`] turns a file into rows, or says why it is none; a [`Mapping`] says which column is what;
//! [`people`], [`staff`] and [`watchlist`] apply it row by row; [`Stream`] does the same without holding the file. Bad
//! rows become [`RowProblem`]s with line and column, never with the
//! value. `docs/FORMATS.md` describes files and mappings for their authors.

mod dates;
mod documents;
mod error;
mod mapping;
mod people;
mod scan;
mod sheet;
mod source;
mod staff;
mod stream;
#[cfg(test)]
mod tests;
mod watchlist;

use std::collections::BTreeMap;

pub use error::{MappingError, TableError};
pub use mapping::{
    ColumnRef, DocumentMapping, Filter, JoinMapping, Mapping, PeopleMapping, WatchlistMapping,
};
pub use people::people;
pub use sheet::{Row, Sheet};
pub use source::Source;
pub use staff::staff;
pub use stream::Stream;
pub use watchlist::watchlist;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The field that is bad, as the import names it; empty if it is the row as a whole.
    pub column: String,
    /// What is wrong and what to do; never the value.
    pub problem: String,
}

/// What a file gives.
#[derive(Debug, Clone)]
pub struct Read<T> {
    /// The good rows, with their lines.
    pub rows: Vec<(u64, T)>,
    /// The bad ones.
    pub problems: Vec<RowProblem>,
    /// Rows and values left out, by reason.
    pub skipped: BTreeMap<String, u64>,
}

impl<T> Default for Read<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), problems: Vec::new(), skipped: BTreeMap::new() }
    }
}

impl<T> Read<T> {
    fn skip(&mut self, reason: &str) {
        match self.skipped.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(self.skipped.insert(reason.to_owned(), 1)),
        }
    }
}

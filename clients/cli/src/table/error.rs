//! Why a file or a mapping cannot be used at all; bad rows are not among it.

use std::path::PathBuf;

use lanyard_env::FileError;
use lanyard_party::TomlError;
use thiserror::Error;

use super::mapping::ColumnRef;
use super::sheet::{MAX_FIELD_BYTES, MAX_FILE_BYTES};

/// Why a file is no table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TableError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is too large.
    #[error("{}: {length} bytes, at most {MAX_FILE_BYTES} are allowed; split it", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        length: usize,
    },
    /// It has a mark of UTF-16.
    #[error("{}: written in UTF-16; save it as CSV in UTF-8", path.display())]
    Utf16 {
        /// The file.
        path: PathBuf,
    },
    /// It is in another encoding.
    #[error("{}:{line}: not UTF-8; save it as UTF-8, for example with: iconv -f WINDOWS-1252 -t UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first bad byte, from 1.
        line: usize,
    },
    /// It is no text.
    #[error("{}:{line}: a zero byte: this is no text; export the table as CSV", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A Ctrl-Z stands before the end.
    #[error("{}:{line}: a Ctrl-Z (0x1A), which ends a file, with more text after it; remove one of them", path.display())]
    EndInside {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// There is nothing in it.
    #[error("{}: no rows in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Its first line has another delimiter.
    #[error(
        "{}:1: one column only, and the line looks as if another character separated columns; say so in the mapping \
         (--columns): delimiter = {:?}",
        path.display(), looks_like.to_string()
    )]
    Delimiter {
        /// The file.
        path: PathBuf,
        /// What probably separates.
        looks_like: char,
    },
    /// A field is longer than any value.
    #[error("{}:{line}: a field of more than {MAX_FIELD_BYTES} bytes; is a quotation mark never closed?", path.display())]
    LongField {
        /// The file.
        path: PathBuf,
        /// The line where the row begins, from 1.
        line: u64,
    },
    /// The CSV reader gave up.
    #[error("{}: {source}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: csv::Error,
    },
    /// A header names a column twice.
    #[error("{}:1: the header has {name:?} twice; rename one", path.display())]
    HeaderTwice {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Two fields of the file's own format miss or exceed what there should be.
    #[error("{}:1: {problem}; see docs/FORMATS.md, or map the file's columns with --columns", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is missing or unknown.
        problem: String,
    },
}

/// Why a mapping cannot be used with a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The file is malformed.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// It does not say what is needed.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The mapping.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A field's source is contradictory.
    #[error("{}: {field}: {problem}", path.display())]
    Source {
        /// The mapping.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// The table has no such column.
    #[error("{}: {field}: {} has no column {column}; it has {has}", path.display(), table.display())]
    NoColumn {
        /// The mapping.
        path: PathBuf,
        /// The field.
        field: String,
        /// The table.
        table: PathBuf,
        /// The column.
        column: ColumnRef,
        /// What the table has.
        has: String,
    },
    /// A pattern is no regular expression.
    #[error("{}: {field}: {source}", path.display())]
    Pattern {
        /// The mapping.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// A table that the mapping joins.
    #[error(transparent)]
    Table(#[from] TableError),
}

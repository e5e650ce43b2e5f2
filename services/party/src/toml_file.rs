//! TOML files whose errors say where: file, line and column.

use std::path::{Path, PathBuf};

use lanyard_env::{FileError, Files, StartError};
use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::de::DeTable;

/// The most bytes of a TOML file: 1 MiB.
pub const MAX_TOML_BYTES: usize = 1024 * 1024;

/// Why a TOML file is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TomlError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is too large to be what it should be.
    #[error("{}: {length} bytes, at most {MAX_TOML_BYTES} are allowed", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        length: usize,
    },
    /// Not UTF-8.
    #[error("{}: not UTF-8 at byte {offset}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The offset of the first bad byte.
        offset: usize,
    },
    /// Malformed, or a field is unknown, missing or out of its domain.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
}

impl StartError for TomlError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::File(error) if !error.is_permanent())
    }
}

/// A TOML text and the file that it is from.
pub(crate) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(crate) const fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    pub(crate) fn table(&self) -> Result<toml::Spanned<DeTable<'a>>, TomlError> {
        DeTable::parse(self.text).map_err(|error| self.located(&error))
    }

    pub(crate) fn value<T: DeserializeOwned>(
        &self,
        table: toml::Spanned<DeTable<'a>>,
    ) -> Result<T, TomlError> {
        T::deserialize(toml::Deserializer::from(table)).map_err(|error| self.located(&error))
    }

    fn located(&self, error: &toml::de::Error) -> TomlError {
        let offset = error.span().map_or(0, |span| span.start).min(self.text.len());
        let before = &self.text.as_bytes()[..offset];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        TomlError::Malformed {
            path: self.path.to_owned(),
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            problem: error.message().to_owned(),
        }
    }
}

/// Reads a TOML file as a `T`, which denies unknown fields for typing errors to be found.
///
/// # Errors
/// [`TomlError`], naming file, line and column.
pub fn read_toml<T: DeserializeOwned>(files: &dyn Files, path: &Path) -> Result<T, TomlError> {
    parse_toml(path, &read_text(files, path)?)
}

/// Parses the text of a TOML file; `path` stands in errors only.
///
/// # Errors
/// [`TomlError::Malformed`].
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, TomlError> {
    let source = Source::new(path, text);
    source.value(source.table()?)
}

pub(crate) fn read_text(files: &dyn Files, path: &Path) -> Result<String, TomlError> {
    let bytes = files.read(path)?;
    if bytes.len() > MAX_TOML_BYTES {
        return Err(TomlError::TooLong { path: path.to_owned(), length: bytes.len() });
    }
    String::from_utf8(bytes).map_err(|error| TomlError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

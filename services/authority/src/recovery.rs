//! What a restored backup must not do: sign a second history, or make good again in silence whom somebody stopped since.
//!
//! [`SignedUpTo`] remembers beside the feed how far this machine signed, and which changes of the store were in it. A feed
//! that is longer, or a store that is older, was restored. Then the own published records are opened, which nobody but this
//! authority can, and compared with the store: whoever is good there and was not published so is held ([`Held`]), until
//! somebody decides. What the directory has and the store has not cannot be read back, but counted ([`Report`]).
//!
//! A backup whose log is as long as its memory says looks like a machine that was merely stopped. So the copy is marked
//! ([`mark_restored`]).

use std::path::{Path, PathBuf};

use lanyard_core::record::Status;
use lanyard_env::{Env, FileError, Mode, checked_body, with_checksum};
use serde::Serialize;

use crate::error::PublishError;

/// An entry that reads as good in the store, while the newest published record does not, or says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// [`crate::Entry::id`].
    pub id: u64,
    /// What was published.
    pub published: Status,
}

/// What the newest published directory for gates says beside the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The size of the log compared with.
    pub(crate) log_size: u64,
    /// Rows of the directory.
    pub(crate) rows: u64,
    /// Entries whose record opens.
    pub(crate) opened: u64,
    /// Entries held: stopped or changed after the backup, and good in it.
    pub(crate) held: u64,
    /// Entries that the backup stops and the directory did not: reinstated since, and stopped again now.
    pub(crate) stopped_again: u64,
    /// Entries of the store that were not published.
    pub(crate) unpublished: u64,
    /// Rows that open for nobody, and how many of them are decoys at least and at most: the rest are prints that the store
    /// has lost, whose badges are good no more.
    pub(crate) unknown: u64,
    pub(crate) decoys: [u64; 2],
}

/// What this machine signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The log's size, perhaps one more than was signed.
    pub(crate) size: u64,
    /// The newest change of the store in it.
    pub(crate) cursor: u64,
    /// A restored backup was found, and is not dealt with yet.
    pub(crate) is_restored: bool,
}

/// Its name among the kept files.
pub(crate) const SIGNED: &str = "signed";

const HEADER: &str = "lanyard signed v2\n";

/// The file that remembers it.
pub(crate) struct SignedUpTo {
    env: Env,
    path: PathBuf,
}

impl SignedUpTo {
    pub(crate) fn at(env: Env, path: PathBuf) -> Self {
        Self { env, path }
    }

    /// What is remembered; `None` if nothing is.
    ///
    /// # Errors
    /// [`PublishError::Signed`] if it is damaged, or [`PublishError::File`].
    pub(crate) fn read(&self) -> Result<Option<Signed>, PublishError> {
        let Some(bytes) = self.env.files.read_if_exists(&self.path)? else { return Ok(None) };
        let damaged = || PublishError::Signed { path: self.path.clone() };
        let text = checked_body(&bytes).and_then(|body| std::str::from_utf8(body).ok());
        let text = text.and_then(|text| text.strip_prefix(HEADER)).ok_or_else(damaged)?;
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
        match numbers.map_err(|_| damaged())?.as_slice() {
            [size, cursor, restored @ (0 | 1)] => {
                Ok(Some(Signed { size: *size, cursor: *cursor, is_restored: *restored == 1 }))
            }
            _ => Err(damaged()),
        }
    }

    pub(crate) fn write(&self, signed: Signed) -> Result<(), FileError> {
        let Signed { size, cursor, is_restored } = signed;
        let text = format!("{HEADER}{size} {cursor} {}\n", u8::from(is_restored));
        self.env.files.write_atomic(&self.path, &with_checksum(text.as_bytes()), Mode::Private)
    }
}

/// Marks the copy of an authority's data folder as a backup: whoever starts from it signs nothing until a quorum of
/// witnesses has said that it knows no more of the log, and compares what was published with the store. A copy without a
/// memory of what was signed is left as it is.
///
/// # Errors
/// [`PublishError::Signed`] if the memory is damaged, or [`PublishError::File`].
pub fn mark_restored(env: &Env, data: &Path) -> Result<(), PublishError> {
    let memory = SignedUpTo::at(env.clone(), data.join(SIGNED));
    let Some(signed) = memory.read()? else { return Ok(()) };
    Ok(memory.write(Signed { is_restored: true, ..signed })?)
}

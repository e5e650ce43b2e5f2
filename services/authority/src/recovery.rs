//! What a restored backup must not do: sign a second history, or make good again in silence whom somebody stopped since.
//!
//! [`SignedUpTo`] remembers beside the feed how far this machine signed, and which changes of the store were in it. A feed
//! that is longer, or a store that is older, was restored. Then the own published records are opened, which nobody but this
//! authority can, and compared with the store: whoever is good there and was not published so is held ([`Held`]), until
//! somebody decides. What the directory has and the store has not cannot be read back, but counted ([`Report`]).

use std::path::PathBuf;

use lanyard_core::record::Status;
use lanyard_env::{Env, FileError, Mode};
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

const HEADER: &str = "lanyard signed v1\n";

/// The file that remembers it.
pub(crate) struct SignedUpTo {
    env: Env,
    path: PathBuf,
}

impl SignedUpTo {
    pub(crate) fn at(env: Env, path: PathBuf) -> Self {
        Self { env, path }
    }

    pub(crate) fn read(&self) -> Result<Option<Signed>, PublishError> {
        let Some(bytes) = self.env.files.read_if_exists(&self.path)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix(HEADER));
        let numbers: Vec<u64> = text
            .into_iter()
            .flat_map(|text| text.split_whitespace().map(str::parse))
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        match numbers.as_slice() {
            [size, cursor, restored @ (0 | 1)] => {
                Ok(Some(Signed { size: *size, cursor: *cursor, is_restored: *restored == 1 }))
            }
            // As if it were not there: then all is compared.
            _ => Ok(None),
        }
    }

    pub(crate) fn write(&self, signed: Signed) -> Result<(), FileError> {
        let Signed { size, cursor, is_restored } = signed;
        let text = format!("{HEADER}{size} {cursor} {}\n", u8::from(is_restored));
        self.env.files.write_atomic(&self.path, text.as_bytes(), Mode::Private)
    }
}

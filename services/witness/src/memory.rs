//! What a witness remembers: for each log, the last checkpoint that it cosigned, as a file.
//!
//! Where several instances of a service share it, it is read anew for each request, and what another has replaced
//! meanwhile is not replaced but considered again: see [`Files::is_shared`].
//!
//! A crash leaves the old file or the new one. The new one may hold a checkpoint whose cosignature never left: the log
//! asks again and gets it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::checkpoint::{CheckpointError, VerifiedCheckpoint};
use lanyard_core::manifest::LogKeys;
use lanyard_core::note::{MAX_NOTE_BYTES, Note};
use lanyard_core::witness_request::WitnessMemory;
use lanyard_env::{FileError, Files, Mode, StartError};
use thiserror::Error;

/// Evidence of forks is kept up to this many files: a log that forks all the time shall not fill the disk.
const MAX_EVIDENCE: usize = 64;

/// What the name of a remembered checkpoint's file ends with.
const SUFFIX: &str = ".checkpoint";

/// Why the memory cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A remembered checkpoint is damaged, or not signed by the log's key.
    #[error(
        "{}: {source}; without it this witness could cosign a fork: restore it, or have the log's newest checkpoint \
         put there",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        source: CheckpointError,
    },
    /// A log is remembered that this witness does not know: the folder is another event's, and what was cosigned of this one's
    /// logs is elsewhere.
    #[error(
        "{}: it is of a log that the manifest does not name, as of another event: without its own memory this witness could \
         cosign a fork; put that back in the place of the folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

impl StartError for MemoryError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::File(error) if !error.is_permanent())
    }
}

/// The checkpoints last cosigned, in a folder of their own. Not shared: whoever holds it compares and persists.
pub struct Memory {
    files: Arc<dyn Files>,
    folder: PathBuf,
    known: HashMap<String, VerifiedCheckpoint>,
}

impl Memory {
    /// Opens the folder, made if it is not there.
    ///
    /// # Errors
    /// [`MemoryError::File`].
    pub fn open(files: Arc<dyn Files>, folder: &Path) -> Result<Self, MemoryError> {
        files.create_dir_all(folder)?;
        Ok(Self { files, folder: folder.to_owned(), known: HashMap::new() })
    }

    /// The checkpoint last cosigned of the log with these keys.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn checkpoint(
        &mut self,
        log: &LogKeys,
    ) -> Result<Option<&VerifiedCheckpoint>, MemoryError> {
        let origin = log.current().name().as_str();
        if self.files.is_shared() {
            self.known.remove(origin);
        }
        if !self.known.contains_key(origin) {
            let path = self.path(origin);
            let Some(bytes) = self.files.read_if_exists(&path)? else { return Ok(None) };
            let read = Note::parse_bytes(&bytes, MAX_NOTE_BYTES).map_err(CheckpointError::from);
            let read = read.and_then(|note| log.verify(&note));
            let read = read.map_err(|source| MemoryError::Damaged { path, source })?;
            self.known.insert(origin.to_owned(), read);
        }
        Ok(self.known.get(origin))
    }

    /// Makes sure that no log is remembered but those with these keys, and that what is remembered of them holds.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn check(&mut self, logs: &[LogKeys]) -> Result<(), MemoryError> {
        for log in logs {
            self.checkpoint(log)?;
        }
        let origins = logs.iter().map(|log| log.current().name().as_str());
        let known: Vec<PathBuf> = origins.map(|origin| self.path(origin)).collect();
        let there = self.files.list(&self.folder)?;
        let there = there.iter().filter(|name| name.ends_with(SUFFIX));
        match there.map(|name| self.folder.join(name)).find(|path| !known.contains(path)) {
            Some(path) => Err(MemoryError::Foreign { path }),
            None => Ok(()),
        }
    }

    /// The size and root last cosigned of the log with these keys.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn of(&mut self, log: &LogKeys) -> Result<WitnessMemory, MemoryError> {
        let known = self.checkpoint(log)?;
        Ok(known.map_or_else(WitnessMemory::empty, |known| WitnessMemory::of(known)))
    }

    /// Remembers a checkpoint, durably when this returns.
    ///
    /// # Errors
    /// [`MemoryError::File`]; the memory is then as before.
    pub fn remember(&mut self, checkpoint: &VerifiedCheckpoint) -> Result<(), MemoryError> {
        let note = checkpoint.note().to_string();
        let path = self.path(checkpoint.origin());
        self.files.write_atomic(&path, note.as_bytes(), Mode::Private)?;
        self.known.insert(checkpoint.origin().to_owned(), checkpoint.clone());
        Ok(())
    }

    /// Keeps two checkpoints of one size with two roots, both signed by their log, for people to look at.
    ///
    /// # Errors
    /// [`MemoryError::File`].
    pub fn keep_evidence(
        &self,
        known: &VerifiedCheckpoint,
        other: &VerifiedCheckpoint,
    ) -> Result<(), MemoryError> {
        let folder = self.folder.join("evidence");
        self.files.create_dir_all(&folder)?;
        if self.files.list(&folder)?.len() >= MAX_EVIDENCE {
            return Ok(());
        }
        let name = format!("{}-{}", file_name(known.origin()), known.size());
        for (suffix, checkpoint) in [("cosigned", known), ("refused", other)] {
            let path = folder.join(format!("{name}-{suffix}.note"));
            if !self.files.exists(&path)? {
                let note = checkpoint.note().to_string();
                self.files.write_atomic(&path, note.as_bytes(), Mode::Private)?;
            }
        }
        Ok(())
    }

    fn path(&self, origin: &str) -> PathBuf {
        self.folder.join(file_name(origin) + SUFFIX)
    }
}

/// A file name for an origin, different for different origins.
fn file_name(origin: &str) -> String {
    let mut name = String::new();
    for byte in origin.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            b'/' => name.push('_'),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_in_the_folder_and_apart() {
        assert_eq!(file_name("lanyard/games-2028/police"), "lanyard_games-2028_police");
        let names = ["a/b", "a_b", "a%b", "a.b", "..", "a%2fb"].map(file_name);
        for (place, name) in names.iter().enumerate() {
            assert!(!name.contains(['/', '.']), "{name}");
            assert!(!names[..place].contains(name), "{name}");
        }
    }
}

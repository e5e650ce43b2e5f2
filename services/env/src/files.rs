//! Durable files: what a service may rely on after kill -9 and power loss.
//!
//! | call | after it returns `Ok` | if it fails or the power goes |
//! | --- | --- | --- |
//! | [`Files::write_atomic`] | the new content is on the disk | the old content, whole, or the new |
//! | [`AppendFile::write_all`] | in the file, not yet durable | a prefix of it may follow the last synced byte |
//! | [`AppendFile::sync`] | everything appended is on the disk | the handle refuses further use |
//! | [`Files::rename`], [`Files::remove`], [`Files::create_dir_all`] | the directory entry is on the disk | done or not done |

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The service's user only: 0600.
    Private,
    /// Everyone: 0644.
    Public,
}

/// Why a file operation failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file or directory.
    #[error("cannot {action} {}: it does not exist", path.display())]
    NotFound {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The user may not.
    #[error(
        "cannot {action} {}: permission denied; give the service's user access to it and its folder",
        path.display()
    )]
    PermissionDenied {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// No space, inodes or quota left.
    #[error(
        "cannot {action} {}: the disk is full; free space there, nothing was half written",
        path.display()
    )]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("{} is in use by another process; stop that one first", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Another instance of the service replaced it since it was read here.
    #[error("{} was replaced by another instance of this service meanwhile; try again", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// An earlier write or sync failed in a way that leaves the end of the file unknown.
    #[error("{} had a failed write; restart the service to recover it", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl FileError {
    /// Sorts a system error.
    #[must_use]
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let path = path.to_owned();
        match source.kind() {
            Kind::NotFound => Self::NotFound { action, path },
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
                Self::PermissionDenied { action, path }
            }
            Kind::StorageFull | Kind::QuotaExceeded => Self::DiskFull { action, path },
            _ => Self::Io { action, path, source },
        }
    }

    /// Whether the file or directory does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether another instance of the service was faster: read it again and decide anew.
    #[must_use]
    pub const fn is_replaced(&self) -> bool {
        matches!(self, Self::Replaced { .. })
    }
}

/// Durable files. Calls block: from async code, make them in [`blocking`](crate::blocking) unless they are rare and small.
pub trait Files: Send + Sync + 'static {
    /// The whole content of a file.
    ///
    /// # Errors
    /// [`FileError::NotFound`] and others.
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError>;

    /// Replaces a file: readers and crashes see the old content or the new, never a mixture. Durable on return.
    ///
    /// # Errors
    /// [`FileError`]; the old content is then still there.
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError>;

    /// Opens a file for appending, made with [`Mode::Private`] if it is not there.
    ///
    /// # Errors
    /// [`FileError`].
    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError>;

    /// Opens a file for reading at positions.
    ///
    /// # Errors
    /// [`FileError`].
    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError>;

    /// Renames a file, replacing `to`. Durable on return.
    ///
    /// # Errors
    /// [`FileError`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError>;

    /// Removes a file if it is there. Durable on return.
    ///
    /// # Errors
    /// [`FileError`].
    fn remove(&self, path: &Path) -> Result<(), FileError>;

    /// The names in a directory, sorted, without the leftovers of interrupted writes.
    ///
    /// # Errors
    /// [`FileError`].
    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError>;

    /// Makes a directory and its missing parents, each for the service's user only (0700). Durable on return.
    ///
    /// # Errors
    /// [`FileError`].
    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError>;

    /// Whether a file or directory is there.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be told.
    fn exists(&self, path: &Path) -> Result<bool, FileError>;

    /// The permission bits of a file, for example `0o600`. Where files have none, `0o600`.
    ///
    /// # Errors
    /// [`FileError::NotFound`] and others.
    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.exists(path)?;
        Ok(0o600)
    }

    /// Makes all that is under a directory durable: a process that was killed may have left what it had written and not
    /// synced, and a power cut would still take it. To be called before anything that is found there is built upon.
    ///
    /// # Errors
    /// [`FileError`].
    fn settle(&self, dir: &Path) -> Result<(), FileError> {
        let _ = dir;
        Ok(())
    }

    /// Takes a folder for this process until the lock is dropped or the process ends, and removes the leftovers of
    /// interrupted writes in it.
    ///
    /// # Errors
    /// [`FileError::Locked`] if another process has it.
    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError>;

    /// Whether other instances of the service write here too. Then nothing that was read may be kept for long, and a file
    /// is replaced only if it still is what was last read here, or else refused with [`FileError::Replaced`].
    fn is_shared(&self) -> bool {
        false
    }

    /// The whole content of a file, or `None` if it is not there.
    ///
    /// # Errors
    /// [`FileError`].
    fn read_if_exists(&self, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
        match self.read(path) {
            Err(error) if error.is_not_found() => Ok(None),
            read => read.map(Some),
        }
    }
}

/// A file open for appending.
pub trait AppendFile: Send + Sync {
    /// Appends bytes; not durable before [`AppendFile::sync`].
    ///
    /// # Errors
    /// [`FileError`]; the file then ends where it did before, or the handle is poisoned.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// [`FileError`]; the handle is then poisoned, as the system may have dropped what it could not write.
    fn sync(&mut self) -> Result<(), FileError>;

    /// The file's length in bytes.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the file to `length` bytes and syncs. A longer `length` than the file's changes nothing.
    ///
    /// # Errors
    /// [`FileError`]; the handle is then poisoned.
    fn truncate(&mut self, length: u64) -> Result<(), FileError>;
}

/// A file open for reading at positions, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`FileError`], also if the file ends before the buffer is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError>;

    /// The file's length in bytes, as of now.
    ///
    /// # Errors
    /// [`FileError`].
    fn len(&self) -> Result<u64, FileError>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// [`FileError`].
    fn is_empty(&self) -> Result<bool, FileError> {
        Ok(self.len()? == 0)
    }
}

/// A folder held by this process; dropping it lets go.
#[must_use = "the folder is free again once this is dropped"]
pub struct FolderLock {
    _guard: Box<dyn Send + Sync>,
}

impl FolderLock {
    /// A lock that lasts as long as `guard`, for implementations of [`Files`].
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

/// Whether a file name is that of a write in progress or interrupted.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

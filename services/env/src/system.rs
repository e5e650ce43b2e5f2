//! What a POSIX file system does, call by call. [`crate::DiskFiles`] decides which calls are made and what is synced; a
//! test puts a system below it that loses what was not.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::files::FolderLock;

/// Calls on paths. Nothing is durable before it is synced: content by the file, names by their directory.
pub trait System: Send + Sync + 'static {
    /// An open file.
    type File: SystemFile;

    /// Makes a file that must not be there, for writing, with exactly these permissions.
    ///
    /// # Errors
    /// The system's.
    fn create_new(&self, path: &Path, permissions: u32) -> io::Result<Self::File>;

    /// Opens a file for appending, made with these permissions if it is not there.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, path: &Path, permissions: u32) -> io::Result<Self::File>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// The whole content of a file.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Renames a file, replacing `to`.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory for the user only (0700).
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, and whether each is a directory.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>>;

    /// Whether there is a file or directory.
    ///
    /// # Errors
    /// The system's.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Whether there is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// The permission bits of a file.
    ///
    /// # Errors
    /// The system's.
    fn permissions(&self, path: &Path) -> io::Result<u32>;

    /// Locks a file, made with these permissions if it is not there; `None` if another process holds it.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, path: &Path, permissions: u32) -> io::Result<Option<FolderLock>>;
}

/// Calls on an open file.
pub trait SystemFile: Send + Sync + 'static {
    /// Writes at the end.
    ///
    /// # Errors
    /// The system's; a part may be written then.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content, length and permissions durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_all(&self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// The system's, also if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl System for Os {
    type File = File;

    fn create_new(&self, path: &Path, permissions: u32) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(permissions).open(path)?;
        // Again, as the umask may have taken bits away.
        file.set_permissions(Permissions::from_mode(permissions))?;
        Ok(file)
    }

    fn append(&self, path: &Path, permissions: u32) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(permissions).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let entries = fs::read_dir(path)?;
        entries
            .map(|entry| entry.and_then(|e| Ok((e.file_name(), e.file_type()?.is_dir()))))
            .collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn permissions(&self, path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    fn lock(&self, path: &Path, permissions: u32) -> io::Result<Option<FolderLock>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(permissions).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FolderLock::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl SystemFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

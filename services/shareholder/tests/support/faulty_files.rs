//! The disk, or a full one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lanyard_env::{AppendFile, DiskFiles, FileError, Files, FolderLock, Mode, ReadAt};

/// A disk that is full while `full` is set.
#[derive(Default)]
pub(crate) struct FaultyFiles {
    disk: DiskFiles,
    pub(crate) full: AtomicBool,
}

impl Files for FaultyFiles {
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(FileError::DiskFull { action: "write", path: path.to_owned() });
        }
        self.disk.write_atomic(path, bytes, mode)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        self.disk.append(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        self.disk.create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.disk.exists(path)
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.disk.lock(dir)
    }
}

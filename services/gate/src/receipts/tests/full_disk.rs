//! A disk that fills up in the middle of a group.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lanyard_env::{AppendFile, DiskFiles, FileError, Files, FolderLock, Mode, ReadAt};

/// A disk that can be full.
#[derive(Default)]
pub(super) struct FullDisk {
    disk: DiskFiles,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    /// The disk, and whether it is full.
    pub(super) fn new() -> (Self, Arc<AtomicBool>) {
        let disk = Self::default();
        let full = Arc::clone(&disk.full);
        (disk, full)
    }
}

struct FullFile {
    file: Box<dyn AppendFile>,
    full: Arc<AtomicBool>,
    path: PathBuf,
}

impl AppendFile for FullFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        // The last of a group's files: the others have taken theirs.
        if self.full.load(Ordering::SeqCst) && self.path.ends_with("chain") {
            let (action, path) = ("append to", self.path.clone());
            return Err(FileError::DiskFull { action, path });
        }
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn truncate(&mut self, length: u64) -> Result<(), FileError> {
        self.file.truncate(length)
    }
}

impl Files for FullDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        self.disk.write_atomic(path, bytes, mode)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let file = self.disk.append(path)?;
        Ok(Box::new(FullFile { file, full: Arc::clone(&self.full), path: path.to_owned() }))
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

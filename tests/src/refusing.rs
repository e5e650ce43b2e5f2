//! A disk that refuses some calls.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_env::{AppendFile, DiskFiles, FileError, Files, FolderLock, Mode, ReadAt};

/// A call that may be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Of a whole file.
    Read,
    /// Of a file or a folder: what needs space.
    Write,
}

type Refuses = Arc<dyn Fn(Call, &Path) -> Option<ErrorKind> + Send + Sync>;

/// The disk, but for the calls that are refused.
pub struct RefusingDisk {
    files: DiskFiles,
    refuses: Refuses,
}

impl RefusingDisk {
    /// Asks `refuses` before each call; with a kind of error that call fails and changes nothing.
    pub fn new(refuses: impl Fn(Call, &Path) -> Option<ErrorKind> + Send + Sync + 'static) -> Self {
        Self { files: DiskFiles::new(), refuses: Arc::new(refuses) }
    }

    fn takes(&self, call: Call, action: &'static str, path: &Path) -> Result<(), FileError> {
        takes(&self.refuses, call, action, path)
    }
}

fn takes(
    refuses: &Refuses,
    call: Call,
    action: &'static str,
    path: &Path,
) -> Result<(), FileError> {
    match refuses(call, path) {
        Some(kind) => Err(FileError::new(action, path, kind.into())),
        None => Ok(()),
    }
}

struct Appending {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    refuses: Refuses,
}

impl AppendFile for Appending {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        takes(&self.refuses, Call::Write, "append to", &self.path)?;
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

impl Files for RefusingDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.takes(Call::Read, "read", path)?;
        self.files.read(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        self.takes(Call::Write, "write", path)?;
        self.files.write_atomic(path, bytes, mode)
    }
    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let (file, refuses) = (self.files.append(path)?, Arc::clone(&self.refuses));
        Ok(Box::new(Appending { file, path: path.to_owned(), refuses }))
    }
    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.files.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.files.remove(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        self.files.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        if !self.files.exists(dir)? {
            self.takes(Call::Write, "create", dir)?;
        }
        self.files.create_dir_all(dir)
    }
    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.files.exists(path)
    }
    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.files.permissions(path)
    }
    fn settle(&self, dir: &Path) -> Result<(), FileError> {
        self.files.settle(dir)
    }
    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.files.lock(dir)
    }
}

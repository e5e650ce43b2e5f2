//! The disk, unchanged by whoever looks at it: what is written, removed or made is only said to be.

use std::path::Path;

use lanyard_env::{AppendFile, DiskFiles, FileError, Files, FolderLock, Mode, ReadAt};

/// Reads the disk and changes nothing.
#[derive(Default)]
pub(super) struct Unchanging {
    disk: DiskFiles,
}

impl Files for Unchanging {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }

    fn write_atomic(&self, _: &Path, _: &[u8], _: Mode) -> Result<(), FileError> {
        Ok(())
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        Ok(Box::new(NotAppended { length: self.disk.open(path)?.len()? }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.disk.open(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        match self.disk.list(dir) {
            // It was only said to be made.
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create_dir_all(&self, _: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.disk.exists(path)
    }

    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.disk.permissions(path)
    }

    fn lock(&self, _: &Path) -> Result<FolderLock, FileError> {
        Ok(FolderLock::new(()))
    }
}

struct NotAppended {
    length: u64,
}

impl AppendFile for NotAppended {
    fn write_all(&mut self, _: &[u8]) -> Result<(), FileError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn len(&self) -> u64 {
        self.length
    }

    fn truncate(&mut self, _: u64) -> Result<(), FileError> {
        Ok(())
    }
}

//! Files, unchanged by whoever looks at them: what is written, removed or made is only said to be.

use std::path::Path;
use std::sync::Arc;

use crate::{AppendFile, FileError, Files, FolderLock, Mode, ReadAt};

/// Reads files and changes nothing. What one has "written" here is not there when one reads it back.
pub struct UnchangingFiles {
    files: Arc<dyn Files>,
}

impl UnchangingFiles {
    /// These files, to be looked at.
    #[must_use]
    pub fn over(files: Arc<dyn Files>) -> Self {
        Self { files }
    }
}

impl Files for UnchangingFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.files.read(path)
    }

    fn write_atomic(&self, _: &Path, _: &[u8], _: Mode) -> Result<(), FileError> {
        Ok(())
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let length = match self.files.open(path) {
            // It was only said to be made.
            Err(error) if error.is_not_found() => 0,
            opened => opened?.len()?,
        };
        Ok(Box::new(NotAppended { length }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        self.files.open(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        match self.files.list(dir) {
            // It was only said to be made.
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create_dir_all(&self, _: &Path) -> Result<(), FileError> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.files.exists(path)
    }

    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.files.permissions(path)
    }

    fn lock(&self, _: &Path) -> Result<FolderLock, FileError> {
        Ok(FolderLock::new(()))
    }

    fn is_shared(&self) -> bool {
        self.files.is_shared()
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

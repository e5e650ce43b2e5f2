//! Snapshots on their way to the disk and from it, in chunks: none is held in memory whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_env::{AppendFile, Files};

use crate::FeedError;

/// Bytes of a snapshot that are read or written at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A snapshot being received; removed unless it is kept.
pub(crate) struct Incoming {
    files: Arc<dyn Files>,
    path: PathBuf,
    file: Box<dyn AppendFile>,
}

impl Incoming {
    pub(crate) fn new(files: Arc<dyn Files>, path: PathBuf, file: Box<dyn AppendFile>) -> Self {
        Self { files, path, file }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), FeedError> {
        Ok(self.file.write_all(chunk)?)
    }

    pub(crate) fn len(&self) -> u64 {
        self.file.len()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it durable under its final name.
    pub(crate) fn keep(&mut self, path: &Path) -> Result<(), FeedError> {
        self.file.sync()?;
        Ok(self.files.rename(&self.path, path)?)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Best effort: opening the store sweeps the folder. Not there any more once it was kept.
        let _ = self.files.remove(&self.path);
    }
}

/// A part of a file.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) offset: u64,
    pub(crate) length: usize,
    pub(crate) last: bool,
}

/// The parts of at most `size` bytes of a file of `length` bytes, at least one.
pub(crate) fn chunks(length: u64, size: usize) -> impl Iterator<Item = Chunk> {
    let step = size as u64;
    let count = length.div_ceil(step).max(1);
    (0..count).map(move |index| {
        let offset = index * step;
        // At most `size`.
        Chunk { offset, length: (length - offset).min(step) as usize, last: index + 1 == count }
    })
}

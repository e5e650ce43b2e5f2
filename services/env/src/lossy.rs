//! A machine for tests that stops at a given call, loses what was not synced, fills up, and whose bits flip.
//!
//! It is strict, as POSIX is: a file's content is durable once the file was synced, its name once its directory was, and
//! neither stands for the other.

mod model;
mod system;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::model::{Model, Node};
use crate::disk::DiskFiles;

pub use system::LossyFile;

/// What becomes of what was not synced when the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost, as by kill -9.
    None,
    /// All of it is lost.
    All,
    /// Some of it is lost, as this seed decides: of each directory, of each file, and where in what was appended.
    Some(u64),
}

/// The machine's disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct LossyDisk {
    model: Arc<Mutex<Model>>,
}

impl LossyDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let disk = Self::default();
        let mut model = disk.lock();
        model.names.insert(PathBuf::from("/"), Node::Directory);
        model.durable_names.insert(PathBuf::from("/"), Node::Directory);
        drop(model);
        disk
    }

    /// Its files, for an environment.
    #[must_use]
    pub fn files(&self) -> Arc<DiskFiles<Self>> {
        Arc::new(DiskFiles::on(self.clone()))
    }

    /// Changing calls so far; a sync of what is durable is none.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// The machine stops at the call after `more` further changing ones: of that call a part is done, and every later call
    /// fails until [`LossyDisk::restart`].
    pub fn stop_after(&self, more: u64) {
        let mut model = self.lock();
        model.stop_after = Some(model.calls + more);
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Starts the machine again after it stopped, or was stopped by this. Nothing that was open or locked is any more.
    pub fn restart(&self, loss: Loss) {
        let mut model = self.lock();
        model.life += 1;
        model.stopped = false;
        model.stop_after = None;
        model.locks.clear();
        model.lose(loss);
    }

    /// Lets `bytes` more be written, or any number; then the disk is full.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.lock().space = bytes;
    }

    /// All files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let model = self.lock();
        let files = model.names.iter().filter(|(_, node)| matches!(node, Node::File { .. }));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Exchanges a file's content for what `change` makes of it, on the disk and unnoticed.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut model = self.lock();
        let Some(Node::File { inode, .. }) = model.names.get(path).copied() else {
            panic!("{} is not on the disk", path.display());
        };
        let inode = &mut model.inodes[inode];
        change(&mut inode.content);
        inode.durable.clone_from(&inode.content);
    }

    /// Another disk with the same files.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = self.lock().copy();
        Self { model: Arc::new(Mutex::new(copy)) }
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        // Nothing that holds it leaves it half changed.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A machine for tests that stops at a given call, loses what was not synced, fills up, and whose bits flip.
//!
//! It is strict, as POSIX is: a file's content is durable once the file was synced, its name once its directory was, and
//! neither stands for the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::DiskFiles;
use crate::files::FolderLock;
use crate::system::{System, SystemFile};

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
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    locks: BTreeSet<PathBuf>,
    /// Counts restarts: what was open before is closed.
    life: u64,
    /// Changing calls so far.
    calls: u64,
    /// The machine stops at the call after so many.
    stop_after: Option<u64>,
    stopped: bool,
    /// Bytes that still fit.
    space: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File { inode: usize, permissions: u32 },
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
}

/// An open file of a [`LossyDisk`].
pub struct LossyFile {
    disk: LossyDisk,
    path: PathBuf,
    inode: usize,
    life: u64,
}

impl LossyDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let disk = Self::default();
        let mut inner = disk.lock();
        inner.names.insert(PathBuf::from("/"), Node::Directory);
        inner.durable_names.insert(PathBuf::from("/"), Node::Directory);
        drop(inner);
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
        let mut inner = self.lock();
        inner.stop_after = Some(inner.calls + more);
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Starts the machine again after it stopped, or was stopped by this. Nothing that was open or locked is any more.
    pub fn restart(&self, loss: Loss) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.stopped = false;
        inner.stop_after = None;
        inner.locks.clear();
        inner.lose(loss);
    }

    /// Lets `bytes` more be written, or any number; then the disk is full.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.lock().space = bytes;
    }

    /// All files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let inner = self.lock();
        let files = inner.names.iter().filter(|(_, node)| matches!(node, Node::File { .. }));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Exchanges a file's content for what `change` makes of it, on the disk and unnoticed.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let Some(Node::File { inode, .. }) = inner.names.get(path).copied() else {
            panic!("{} is not on the disk", path.display());
        };
        let inode = &mut inner.inodes[inode];
        change(&mut inode.content);
        inode.durable.clone_from(&inode.content);
    }

    /// Another disk with the same files.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = self.lock();
        let inodes = inner
            .inodes
            .iter()
            .map(|inode| Inode { content: inode.content.clone(), durable: inode.durable.clone() });
        let copy = Inner {
            inodes: inodes.collect(),
            names: inner.names.clone(),
            durable_names: inner.durable_names.clone(),
            ..Inner::default()
        };
        Self { inner: Arc::new(Mutex::new(copy)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds it leaves it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, path: &Path, inode: usize, life: u64) -> LossyFile {
        LossyFile { disk: self.clone(), path: path.to_owned(), inode, life }
    }
}

impl Inner {
    fn running(&self) -> io::Result<()> {
        if self.stopped { Err(io::Error::other("the machine has stopped")) } else { Ok(()) }
    }

    /// Counts a changing call; fails if the machine stops at it.
    fn call(&mut self) -> io::Result<()> {
        self.running()?;
        self.stopped = self.stop_after == Some(self.calls);
        self.calls += 1;
        self.running()
    }

    fn take_space(&mut self, bytes: usize) -> io::Result<()> {
        let Some(space) = &mut self.space else { return Ok(()) };
        match space.checked_sub(bytes as u64) {
            Some(left) => *space = left,
            None => return Err(io::ErrorKind::StorageFull.into()),
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<(usize, u32)> {
        self.running()?;
        match self.names.get(path) {
            Some(Node::File { inode, permissions }) => Ok((*inode, *permissions)),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File { .. }) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn make_file(&mut self, path: &Path, permissions: u32) -> io::Result<usize> {
        self.parent(path)?;
        self.call()?;
        // A name takes space, too.
        self.take_space(1)?;
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.names.insert(path.to_owned(), Node::File { inode, permissions });
        Ok(inode)
    }

    fn lose(&mut self, loss: Loss) {
        let mut dice = Dice(match loss {
            Loss::None => return,
            Loss::All => 0,
            Loss::Some(seed) => seed,
        });
        let mut keeps =
            |one_in_two: bool| loss != Loss::All && dice.roll(2) == u64::from(one_in_two);
        let all: BTreeSet<PathBuf> =
            self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        // A directory is written whole: of a rename in it, both halves stay or go.
        let mut kept = BTreeMap::new();
        let mut left = BTreeMap::new();
        for path in all {
            let (now, durable) = (self.names.get(&path), self.durable_names.get(&path));
            let parent = path.parent().unwrap_or(&path).to_owned();
            let is_kept = now != durable && *kept.entry(parent).or_insert_with(|| keeps(true));
            let node = if is_kept { now } else { durable };
            // In order, so that its parent was looked at before.
            let is_reachable = path.parent().is_none_or(|parent| left.contains_key(parent));
            if let Some(node) = node.filter(|_| is_reachable) {
                left.insert(path, *node);
            }
        }
        for inode in &mut self.inodes {
            let appended = inode.content.len().saturating_sub(inode.durable.len());
            let is_appended = inode.content.starts_with(&inode.durable);
            inode.content = match loss {
                Loss::Some(_) if is_appended => {
                    let kept = dice.roll(appended as u64 + 1) as usize;
                    inode.content[..inode.durable.len() + kept].to_vec()
                }
                Loss::Some(_) if dice.roll(2) == 0 => std::mem::take(&mut inode.content),
                _ => inode.durable.clone(),
            };
            inode.durable.clone_from(&inode.content);
        }
        self.names.clone_from(&left);
        self.durable_names = left;
    }
}

/// A few bits that a seed decides (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % sides
    }
}

impl System for LossyDisk {
    type File = LossyFile;

    fn create_new(&self, path: &Path, permissions: u32) -> io::Result<LossyFile> {
        let mut inner = self.lock();
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = inner.make_file(path, permissions)?;
        Ok(self.file(path, inode, inner.life))
    }

    fn append(&self, path: &Path, permissions: u32) -> io::Result<LossyFile> {
        let mut inner = self.lock();
        let inode = match inner.find(path) {
            Ok((inode, _)) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                inner.make_file(path, permissions)?
            }
            Err(error) => return Err(error),
        };
        Ok(self.file(path, inode, inner.life))
    }

    fn open(&self, path: &Path) -> io::Result<LossyFile> {
        let inner = self.lock();
        let (inode, _) = inner.find(path)?;
        Ok(self.file(path, inode, inner.life))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.lock();
        let (inode, _) = inner.find(path)?;
        Ok(inner.inodes[inode].content.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let (inode, permissions) = inner.find(from)?;
        if inner.names.get(to) == Some(&Node::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        inner.parent(to)?;
        inner.call()?;
        inner.names.remove(from);
        inner.names.insert(to.to_owned(), Node::File { inode, permissions });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.find(path)?;
        inner.call()?;
        inner.names.remove(path);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.parent(path)?;
        inner.call()?;
        inner.names.insert(path.to_owned(), Node::Directory);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.running()?;
        if inner.names.get(path) != Some(&Node::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_in = |name: &PathBuf| name.parent() == Some(path);
        let within = |names: &BTreeMap<PathBuf, Node>| -> Vec<(PathBuf, Node)> {
            let names = names.iter().filter(|(name, _)| is_in(name));
            names.map(|(name, node)| (name.clone(), *node)).collect()
        };
        let now = within(&inner.names);
        if now == within(&inner.durable_names) {
            return Ok(());
        }
        inner.call()?;
        inner.durable_names.retain(|name, _| !is_in(name));
        inner.durable_names.extend(now);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let inner = self.lock();
        inner.running()?;
        if inner.names.get(path) != Some(&Node::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = inner.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(entries
            .filter_map(|(name, node)| {
                Some((name.file_name()?.to_owned(), *node == Node::Directory))
            })
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.lock();
        inner.running()?;
        Ok(inner.names.contains_key(path))
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.lock().names.get(path) == Some(&Node::Directory)
    }

    fn permissions(&self, path: &Path) -> io::Result<u32> {
        Ok(self.lock().find(path)?.1)
    }

    fn lock(&self, path: &Path, _: u32) -> io::Result<Option<FolderLock>> {
        let mut inner = Self::lock(self);
        inner.running()?;
        if !inner.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        let (disk, life) = (self.clone(), inner.life);
        Ok(Some(FolderLock::new(Held { disk, path: path.to_owned(), life })))
    }
}

struct Held {
    disk: LossyDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.disk.lock();
        if inner.life == self.life {
            inner.locks.remove(&self.path);
        }
    }
}

impl LossyFile {
    fn inner(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        if inner.life != self.life {
            let problem = format!("{} was open before the machine stopped", self.path.display());
            return Err(io::Error::other(problem));
        }
        inner.running()?;
        Ok(inner)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner()?;
        let inode = &inner.inodes[self.inode];
        if inode.content == inode.durable {
            return Ok(());
        }
        inner.call()?;
        let inode = &mut inner.inodes[self.inode];
        inode.durable.clone_from(&inode.content);
        Ok(())
    }
}

impl SystemFile for LossyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner()?;
        let called = inner.call();
        // A machine that stops in the middle of it has written half.
        let written = if called.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let fits = inner.space.map_or(written.len(), |space| {
            usize::try_from(space).unwrap_or(usize::MAX).min(written.len())
        });
        inner.take_space(fits)?;
        inner.inodes[self.inode].content.extend_from_slice(&written[..fits]);
        called?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.inner()?;
        inner.call()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let content = &mut inner.inodes[self.inode].content;
        let freed = content.len().saturating_sub(length);
        content.truncate(length);
        if let Some(space) = &mut inner.space {
            *space += freed as u64;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inner()?.inodes[self.inode].content.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.inner()?;
        let content = &inner.inodes[self.inode].content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = start.checked_add(buffer.len()).and_then(|end| content.get(start..end));
        let there = there.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(there);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Files as _, Mode};

    const OLD: &[u8] = b"old";
    const NEW: &[u8] = b"new content";

    fn with_old() -> (LossyDisk, PathBuf) {
        let disk = LossyDisk::new();
        let path = PathBuf::from("/party/data/state");
        disk.files().create_dir_all(Path::new("/party/data")).unwrap();
        disk.files().write_atomic(&path, OLD, Mode::Private).unwrap();
        (disk, path)
    }

    /// Runs `operation` with the machine stopping at each of its calls in turn, and under each loss; `check` sees what is
    /// left and whether the operation had returned.
    fn at_every_call(
        operation: impl Fn(&DiskFiles<LossyDisk>, &Path) -> bool,
        check: impl Fn(&DiskFiles<LossyDisk>, &Path, bool),
    ) {
        let losses = [Loss::None, Loss::All].into_iter().chain((0..16).map(Loss::Some));
        for loss in losses {
            for calls in 0.. {
                let (disk, path) = with_old();
                disk.stop_after(calls);
                let returned = operation(&disk.files(), &path);
                assert_eq!(returned, !disk.is_stopped(), "{loss:?} after {calls} calls");
                disk.restart(loss);
                let _lock = disk.files().lock(Path::new("/party")).unwrap();
                check(&disk.files(), &path, returned);
                if returned {
                    assert!(calls > 1, "the machine stopped at several calls");
                    break;
                }
            }
        }
    }

    #[test]
    fn a_replaced_file_is_durable_on_return_and_whole_before() {
        at_every_call(
            |files, path| files.write_atomic(path, NEW, Mode::Private).is_ok(),
            |files, path, returned| {
                let found = files.read(path).unwrap();
                assert!(found == NEW || (!returned && found == OLD), "{found:?}");
                assert_eq!(files.list(path.parent().unwrap()).unwrap(), ["state"]);
            },
        );
    }

    #[test]
    fn appended_bytes_are_durable_once_synced() {
        let append = |files: &DiskFiles<LossyDisk>, path: &Path| {
            let mut file = files.append(&path.with_file_name("log"))?;
            file.write_all(NEW)?;
            file.sync()
        };
        at_every_call(
            |files, path| append(files, path).is_ok(),
            |files, path, returned| {
                let found = files.read_if_exists(&path.with_file_name("log")).unwrap();
                let found = found.unwrap_or_default();
                assert!(NEW.starts_with(&found) && (!returned || found == NEW), "{found:?}");
            },
        );
    }

    #[test]
    fn renames_removals_and_folders_are_durable_on_return() {
        let to = |path: &Path| path.with_file_name("other");
        at_every_call(
            |files, path| files.rename(path, &to(path)).is_ok(),
            |files, path, returned| {
                let there = [path.to_owned(), to(path)].map(|path| files.exists(&path).unwrap());
                assert!(there == [false, true] || (!returned && there[0]), "{there:?}");
            },
        );
        at_every_call(
            |files, path| files.remove(path).is_ok(),
            |files, path, returned| assert!(!returned || !files.exists(path).unwrap()),
        );
        let below = |path: &Path| path.with_file_name("a").join("b");
        at_every_call(
            |files, path| files.create_dir_all(&below(path)).is_ok(),
            |files, path, returned| assert!(!returned || files.exists(&below(path)).unwrap()),
        );
    }

    #[test]
    fn what_was_not_synced_is_lost_and_what_was_open_is_closed() {
        let (disk, path) = with_old();
        let files = disk.files();
        let mut file = files.append(&path).unwrap();
        file.write_all(b" and more").unwrap();
        disk.restart(Loss::All);
        assert_eq!(files.read(&path).unwrap(), OLD);
        assert!(file.sync().is_err());
        // A name that was not synced goes, too, though the content was.
        let mut unsynced = disk.create_new(Path::new("/party/data/x"), 0o600).unwrap();
        unsynced.write_all(NEW).unwrap();
        unsynced.sync_all().unwrap();
        disk.restart(Loss::All);
        assert_eq!(files.list(Path::new("/party/data")).unwrap(), ["state"]);
    }

    /// Killed first, and a power cut later: what the next process found must not go then.
    #[test]
    fn what_a_killed_process_left_can_be_made_durable() {
        let (disk, path) = with_old();
        let (files, dir) = (disk.files(), path.with_file_name("sub"));
        // Each stops before the directory is synced.
        disk.stop_after(4);
        assert!(files.write_atomic(&path, NEW, Mode::Private).is_err());
        disk.restart(Loss::None);
        disk.stop_after(1);
        assert!(files.create_dir_all(&dir).is_err());
        disk.restart(Loss::None);
        assert_eq!(files.read(&path).unwrap(), NEW);
        let power_cut = disk.copy();
        power_cut.restart(Loss::All);
        assert_eq!(power_cut.files().read(&path).unwrap(), OLD);
        files.settle(Path::new("/party")).unwrap();
        disk.restart(Loss::All);
        assert_eq!(files.read(&path).unwrap(), NEW);
        assert!(files.exists(&dir).unwrap());
    }

    #[test]
    fn a_full_disk_says_so_and_takes_what_fits_once_there_is_space() {
        let (disk, path) = with_old();
        let files = disk.files();
        disk.set_space(Some(4));
        let full = files.write_atomic(&path, NEW, Mode::Private).unwrap_err();
        assert!(matches!(full, crate::FileError::DiskFull { .. }), "{full}");
        assert_eq!(files.read(&path).unwrap(), OLD);
        let mut log = files.append(&path).unwrap();
        assert!(log.write_all(NEW).is_err());
        assert_eq!(files.read(&path).unwrap(), OLD, "the part that fitted was cut off");
        disk.set_space(None);
        log.write_all(NEW).unwrap();
        log.sync().unwrap();
        files.write_atomic(&path, NEW, Mode::Private).unwrap();
        assert_eq!(files.read(&path).unwrap(), NEW);
    }
}

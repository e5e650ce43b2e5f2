//! A machine's disk, in memory: what was not synced may be lost when the machine stops.

mod broken;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_env::{AppendFile, FileError, Files, FolderLock, Mode, ReadAt};
use rand::Rng;

use self::broken::Broken;

/// Told of everything that is written: the file, and all that it holds now.
pub(crate) type Watcher = Arc<dyn Fn(&Path, &[u8]) + Send + Sync>;

/// A disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    watcher: Watcher,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    /// Bumped at each stop: handles of earlier runs are of no use.
    run: u64,
    /// Writes until the machine stops in the middle of one, and whether that one still reaches the disk.
    stops_after: Option<(u64, bool)>,
    stopped: bool,
    broken: Broken,
    /// What files that it lies about were before each of the last changes.
    undo: VecDeque<(PathBuf, Option<File>)>,
}

/// Changes that a disk that lies may lose.
const UNDO: usize = 40;

#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    /// So much of it is on the disk for certain.
    synced: usize,
    mode: u32,
}

impl State {
    fn usable(&self, action: &'static str, path: &Path) -> Result<(), FileError> {
        if self.stopped { Err(FileError::new(action, path, gone())) } else { Ok(()) }
    }

    /// Before a file changes on a disk that lies about it.
    fn before_change(&mut self, path: &Path) {
        if self.broken.lies(path) {
            if self.undo.len() == UNDO {
                self.undo.pop_front();
            }
            self.undo.push_back((path.to_owned(), self.files.get(path).cloned()));
        }
    }

    /// One more write.
    fn write(&mut self) -> Write {
        match &mut self.stops_after {
            None => Write::Done,
            Some((0, reaches_disk)) => {
                self.stopped = true;
                if *reaches_disk { Write::LastDone } else { Write::NotDone }
            }
            Some((left, _)) => {
                *left -= 1;
                Write::Done
            }
        }
    }
}

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Done,
    /// Done, but the machine stops before anyone hears of it.
    LastDone,
    /// The machine stops before.
    NotDone,
}

impl Write {
    fn told(self, action: &'static str, path: &Path) -> Result<(), FileError> {
        if self == Self::Done { Ok(()) } else { Err(FileError::new(action, path, gone())) }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the machine has stopped")
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub(crate) fn new(watcher: Watcher) -> Self {
        Self { state: Arc::default(), watcher }
    }

    /// Puts a file there, synced, with its folders: how a disk is filled before the machine starts.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>, mode: u32) {
        let mut state = self.state();
        let folders = path.ancestors().skip(1).map(Path::to_owned);
        state.folders.extend(folders);
        let synced = bytes.len();
        state.files.insert(path.to_owned(), File { bytes, synced, mode });
    }

    /// Has the machine stop in the middle of the write after so many more, before or after that one is done.
    pub(crate) fn stop_after(&self, writes: u64, reaches_disk: bool) {
        self.state().stops_after = Some((writes, reaches_disk));
    }

    /// Whether it stopped in the middle of a write.
    #[must_use]
    pub(crate) fn has_stopped(&self) -> bool {
        self.state().stopped
    }

    /// The machine stops: of each file that was appended to, any part after the last sync may be lost.
    pub(crate) fn power_cut(&self, rng: &mut impl Rng) {
        let mut state = self.state();
        state.run += 1;
        state.locked.clear();
        state.stops_after = None;
        state.stopped = false;
        let lost = if state.undo.is_empty() { 0 } else { 1 + rng.next_u64() as usize % UNDO };
        for _ in 0..lost {
            let Some((path, before)) = state.undo.pop_back() else { break };
            match before {
                Some(file) => drop(state.files.insert(path, file)),
                None => drop(state.files.remove(&path)),
            }
        }
        state.undo.clear();
        for file in state.files.values_mut() {
            let unsynced = file.bytes.len() - file.synced;
            if unsynced > 0 {
                let kept = (rng.next_u64() % (unsynced as u64 + 1)) as usize;
                file.bytes.truncate(file.synced + kept);
                file.synced = file.bytes.len();
            }
        }
    }

    /// Stops in no write after all.
    pub(crate) fn go_on(&self) {
        self.state().stops_after = None;
    }

    /// Removes every file under `dir`, while the machine is off.
    pub(crate) fn wipe(&self, dir: &Path) {
        self.state().files.retain(|path, _| !path.starts_with(dir));
    }

    /// Everything under `dir` that is on the disk for certain, to be put back with [`SimDisk::restore`].
    #[must_use]
    pub(crate) fn backup(&self, dir: &Path) -> Backup {
        let state = self.state();
        let files = state.files.iter().filter(|(path, _)| path.starts_with(dir));
        let files =
            files.map(|(path, file)| (path.clone(), file.bytes[..file.synced].to_vec(), file.mode));
        Backup(files.collect())
    }

    /// Puts files under `dir` back as they were, while the machine is off.
    pub(crate) fn restore(&self, dir: &Path, backup: &Backup) {
        let mut state = self.state();
        state.files.retain(|path, _| !path.starts_with(dir));
        drop(state);
        for (path, bytes, mode) in backup.0.iter().filter(|(path, ..)| path.starts_with(dir)) {
            self.put(path, bytes.clone(), *mode);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, path: &Path) {
        let state = self.state();
        if let Some(file) = state.files.get(path) {
            (self.watcher)(path, &file.bytes);
        }
    }
}

/// What was on a disk.
pub(crate) struct Backup(Vec<(PathBuf, Vec<u8>, u32)>);

impl Backup {
    /// The files, without their names.
    #[must_use]
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|(_, bytes, _)| bytes.clone()).collect()
    }
}

const fn bits(mode: Mode) -> u32 {
    match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    }
}

fn not_found(action: &'static str, path: &Path) -> FileError {
    FileError::NotFound { action, path: path.to_owned() }
}

impl Files for SimDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        let state = self.state();
        state.usable("read", path)?;
        if state.broken.forgets(path) {
            return Err(not_found("read", path));
        }
        let file = state.files.get(path).ok_or_else(|| not_found("read", path))?;
        Ok(file.bytes.clone())
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        let mut state = self.state();
        state.usable("write", path)?;
        if !path.parent().is_some_and(|parent| state.folders.contains(parent)) {
            return Err(not_found("write", path));
        }
        if state.broken.drops(path) {
            return Ok(());
        }
        let write = state.write();
        if write != Write::NotDone {
            state.before_change(path);
            let file = File { bytes: bytes.to_vec(), synced: bytes.len(), mode: bits(mode) };
            state.files.insert(path.to_owned(), file);
        }
        drop(state);
        self.written(path);
        write.told("write", path)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let mut state = self.state();
        state.usable("append to", path)?;
        if !path.parent().is_some_and(|parent| state.folders.contains(parent)) {
            return Err(not_found("append to", path));
        }
        let file = state.files.entry(path.to_owned());
        let file = file.or_insert(File { bytes: Vec::new(), synced: 0, mode: 0o600 });
        let length = file.bytes.len() as u64;
        let (disk, run) = (self.clone(), state.run);
        Ok(Box::new(SimAppend { disk, path: path.to_owned(), run, length }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        let state = self.state();
        state.usable("open", path)?;
        if !state.files.contains_key(path) {
            return Err(not_found("open", path));
        }
        let bytes = state.files.get(path).map(|file| file.bytes.clone()).unwrap_or_default();
        // As on a real disk: who has it open goes on reading it, replaced or removed or not.
        Ok(Box::new(SimRead { disk: self.clone(), path: path.to_owned(), bytes }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        let mut state = self.state();
        state.usable("rename", from)?;
        let write = state.write();
        if write == Write::NotDone {
            return write.told("rename", from);
        }
        if state.files.contains_key(from) {
            state.before_change(from);
            state.before_change(to);
        }
        if let Some(file) = state.files.remove(from) {
            state.files.insert(to.to_owned(), file);
            return write.told("rename", from);
        }
        if !state.folders.remove(from) {
            return Err(not_found("rename", from));
        }
        state.folders.insert(to.to_owned());
        let inside = |path: &PathBuf| path.starts_with(from);
        let moved = |path: &Path| to.join(path.strip_prefix(from).unwrap_or(path));
        let folders: Vec<_> = state.folders.iter().filter(|path| inside(path)).cloned().collect();
        for path in folders {
            state.folders.remove(&path);
            state.folders.insert(moved(&path));
        }
        let files: Vec<_> = state.files.keys().filter(|path| inside(path)).cloned().collect();
        for path in files {
            if let Some(file) = state.files.remove(&path) {
                state.files.insert(moved(&path), file);
            }
        }
        write.told("rename", from)
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        let mut state = self.state();
        state.usable("remove", path)?;
        if !state.files.contains_key(path) {
            return Ok(());
        }
        let write = state.write();
        if write != Write::NotDone {
            state.before_change(path);
            state.files.remove(path);
        }
        write.told("remove", path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        let state = self.state();
        state.usable("list", dir)?;
        if !state.folders.contains(dir) {
            return Err(not_found("list", dir));
        }
        let all = state.files.keys().chain(&state.folders);
        let inside = all.filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let names: BTreeSet<String> = names.collect();
        Ok(names.into_iter().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        let mut state = self.state();
        state.usable("create", dir)?;
        if state.folders.contains(dir) {
            return Ok(());
        }
        let write = state.write();
        if write != Write::NotDone {
            state.folders.extend(dir.ancestors().map(Path::to_owned));
        }
        write.told("create", dir)
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        let state = self.state();
        state.usable("look at", path)?;
        Ok(state.files.contains_key(path) || state.folders.contains(path))
    }

    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        let state = self.state();
        state.usable("look at", path)?;
        state.files.get(path).map(|file| file.mode).ok_or_else(|| not_found("look at", path))
    }

    /// As if others wrote here, so that what a witness remembers is read anew for each request: for one that shall remember
    /// nothing.
    fn is_shared(&self) -> bool {
        self.state().broken.heeds_nothing
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        let mut state = self.state();
        state.usable("lock", dir)?;
        if !state.locked.insert(dir.to_owned()) {
            return Err(FileError::Locked { path: dir.to_owned() });
        }
        Ok(FolderLock::new(Held { disk: self.clone(), dir: dir.to_owned(), run: state.run }))
    }
}

struct Held {
    disk: SimDisk,
    dir: PathBuf,
    run: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.run == self.run {
            state.locked.remove(&self.dir);
        }
    }
}

struct SimAppend {
    disk: SimDisk,
    path: PathBuf,
    run: u64,
    length: u64,
}

impl SimAppend {
    fn change(&mut self, change: impl FnOnce(&mut File)) -> Result<(), FileError> {
        let mut state = self.disk.state();
        state.usable("append to", &self.path)?;
        if state.broken.is_full(&self.path) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(FileError::new("append to", &self.path, full));
        }
        let write = if state.run == self.run { state.write() } else { Write::NotDone };
        if write != Write::NotDone
            && let Some(file) = state.files.get_mut(&self.path)
        {
            change(file);
            self.length = file.bytes.len() as u64;
        }
        write.told("append to", &self.path)
    }
}

impl AppendFile for SimAppend {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.change(|file| file.bytes.extend_from_slice(bytes))
    }

    fn sync(&mut self) -> Result<(), FileError> {
        let lies = self.disk.state().broken.lies(&self.path);
        self.change(|file| {
            if !lies {
                file.synced = file.bytes.len();
            }
        })?;
        self.disk.written(&self.path);
        Ok(())
    }

    fn len(&self) -> u64 {
        self.length
    }

    fn truncate(&mut self, length: u64) -> Result<(), FileError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.change(|file| {
            file.bytes.truncate(length);
            file.synced = file.bytes.len();
        })
    }
}

struct SimRead {
    disk: SimDisk,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl SimRead {
    /// What the file holds now: it may have been appended to since.
    fn now<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        let state = self.disk.state();
        match state.files.get(&self.path) {
            Some(file) if file.bytes.starts_with(&self.bytes) => read(&file.bytes),
            _ => read(&self.bytes),
        }
    }
}

impl ReadAt for SimRead {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError> {
        let read = self.now(|bytes| {
            let from = usize::try_from(offset).ok()?;
            let part = bytes.get(from..from.checked_add(buffer.len())?)?;
            buffer.copy_from_slice(part);
            Some(())
        });
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before");
        read.ok_or_else(|| FileError::new("read", &self.path, short()))
    }

    fn len(&self) -> Result<u64, FileError> {
        Ok(self.now(|bytes| bytes.len() as u64))
    }
}

//! [`Files`] on a POSIX file system: which calls are made in which order, and what is synced when.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{AppendFile, FileError, Files, FolderLock, Mode, ReadAt, is_temporary};
use crate::system::{Os, System, SystemFile};

/// Name of the file that a process locks to hold a folder.
const LOCK_FILE: &str = ".lock";

/// The disk, or one that tests make. All paths are the system's.
#[derive(Debug, Default)]
pub struct DiskFiles<S = Os> {
    system: S,
    temporary: AtomicU64,
}

impl DiskFiles {
    /// The disk.
    #[must_use]
    pub const fn new() -> Self {
        Self::on(Os)
    }
}

impl<S> DiskFiles<S> {
    /// The files of a system.
    #[must_use]
    pub const fn on(system: S) -> Self {
        Self { system, temporary: AtomicU64::new(0) }
    }
}

impl<S: System> DiskFiles<S> {
    /// A name beside `path` that no other write uses: rename is atomic within one directory only.
    fn temporary_beside(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let count = self.temporary.fetch_add(1, Ordering::Relaxed);
        path.with_file_name(format!(".{name}.{}-{count}.tmp", std::process::id()))
    }

    /// Makes a temporary file beside `path`. A name may be taken by what a crash left: in a container every process has
    /// the same id.
    fn create_beside(&self, path: &Path, mode: Mode) -> io::Result<(PathBuf, S::File)> {
        loop {
            let temporary = self.temporary_beside(path);
            match self.system.create_new(&temporary, permissions(mode)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok((temporary, made?)),
            }
        }
    }

    /// Makes the entry of `path` in its directory durable.
    fn sync_parent(&self, action: &'static str, path: &Path) -> Result<(), FileError> {
        let parent = match path.parent() {
            None => return Ok(()),
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
        };
        self.system.sync_dir(parent).map_err(|error| FileError::new(action, path, error))
    }

    /// Removes the leftovers of interrupted writes under `dir`.
    fn sweep(&self, dir: &Path) -> Result<(), FileError> {
        let failed = |error| FileError::new("clean up", dir, error);
        for (name, is_dir) in self.system.list(dir).map_err(failed)? {
            let path = dir.join(&name);
            if is_dir {
                self.sweep(&path)?;
            } else if name.to_str().is_some_and(is_temporary) {
                self.system.remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl<S: System> Files for DiskFiles<S> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.system.read(path).map_err(|error| FileError::new("read", path, error))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        let failed = |error| FileError::new("write", path, error);
        let (temporary, mut file) = self.create_beside(path, mode).map_err(failed)?;
        let mut write = || {
            file.write_all(bytes)?;
            file.sync_all()?;
            self.system.rename(&temporary, path)
        };
        write().map_err(|error| {
            // Best effort: a leftover is hidden from `list` and swept by `lock`.
            let _ = self.system.remove_file(&temporary);
            failed(error)
        })?;
        self.sync_parent("write", path)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let failed = |error| FileError::new("append to", path, error);
        let existed = self.system.exists(path).map_err(failed)?;
        let file = self.system.append(path, permissions(Mode::Private)).map_err(failed)?;
        if !existed {
            self.sync_parent("append to", path)?;
        }
        let length = file.len().map_err(failed)?;
        Ok(Box::new(DiskAppend { path: path.to_owned(), file, length, poisoned: false }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        let file = self.system.open(path).map_err(|error| FileError::new("open", path, error))?;
        Ok(Box::new(DiskRead { path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.system.rename(from, to).map_err(|error| FileError::new("rename", from, error))?;
        self.sync_parent("rename", to)?;
        if from.parent() == to.parent() { Ok(()) } else { self.sync_parent("rename", from) }
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        match self.system.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FileError::new("remove", path, error)),
            Ok(()) => self.sync_parent("remove", path),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        let failed = |error| FileError::new("list", dir, error);
        let mut names = Vec::new();
        for (name, _) in self.system.list(dir).map_err(failed)? {
            let name = name.into_string().map_err(|_| {
                failed(io::Error::new(io::ErrorKind::InvalidData, "a file name is not UTF-8"))
            })?;
            if !is_temporary(&name) && name != LOCK_FILE {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<(), FileError> {
        if dir.as_os_str().is_empty() || self.system.is_dir(dir) {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            self.create_dir_all(parent)?;
        }
        match self.system.create_dir(dir) {
            // Another thread may have been quicker; a file of that name is an error all the same.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.system.is_dir(dir) => {}
            made => made.map_err(|error| FileError::new("create", dir, error))?,
        }
        self.sync_parent("create", dir)
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.system.exists(path).map_err(|error| FileError::new("look at", path, error))
    }

    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.system.permissions(path).map_err(|error| FileError::new("look at", path, error))
    }

    fn settle(&self, dir: &Path) -> Result<(), FileError> {
        let failed = |error| FileError::new("sync", dir, error);
        for (name, is_dir) in self.system.list(dir).map_err(failed)? {
            let path = dir.join(&name);
            if is_dir {
                self.settle(&path)?;
            } else if !name.to_str().is_some_and(is_temporary) {
                match self.system.open(&path).and_then(|file| file.sync_all()) {
                    // What is not ours to read is not ours to build upon; what has gone meanwhile is somebody's at work.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
                        ) => {}
                    synced => synced.map_err(|error| FileError::new("sync", &path, error))?,
                }
            }
        }
        self.system.sync_dir(dir).map_err(failed)
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        let locked = self.system.lock(&dir.join(LOCK_FILE), permissions(Mode::Private));
        let locked = locked.map_err(|error| FileError::new("lock", dir, error))?;
        let lock = locked.ok_or_else(|| FileError::Locked { path: dir.to_owned() })?;
        self.sweep(dir)?;
        Ok(lock)
    }
}

const fn permissions(mode: Mode) -> u32 {
    match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    }
}

struct DiskAppend<F> {
    path: PathBuf,
    file: F,
    length: u64,
    poisoned: bool,
}

impl<F: SystemFile> DiskAppend<F> {
    fn usable(&self) -> Result<(), FileError> {
        if self.poisoned { Err(FileError::Poisoned { path: self.path.clone() }) } else { Ok(()) }
    }

    fn failed(&self, error: io::Error) -> FileError {
        FileError::new("append to", &self.path, error)
    }
}

impl<F: SystemFile> AppendFile for DiskAppend<F> {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.usable()?;
        if let Err(error) = self.file.write_all(bytes) {
            self.poisoned = self.file.set_len(self.length).is_err();
            return Err(self.failed(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FileError> {
        self.usable()?;
        self.file.sync_data().map_err(|error| {
            self.poisoned = true;
            FileError::new("append to", &self.path, error)
        })
    }

    fn len(&self) -> u64 {
        self.length
    }

    fn truncate(&mut self, length: u64) -> Result<(), FileError> {
        self.usable()?;
        if length >= self.length {
            return Ok(());
        }
        if let Err(error) = self.file.set_len(length).and_then(|()| self.file.sync_all()) {
            self.poisoned = true;
            return Err(self.failed(error));
        }
        self.length = length;
        Ok(())
    }
}

struct DiskRead<F> {
    path: PathBuf,
    file: F,
}

impl<F: SystemFile> ReadAt for DiskRead<F> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|error| FileError::new("read", &self.path, error))
    }

    fn len(&self) -> Result<u64, FileError> {
        self.file.len().map_err(|error| FileError::new("read", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    static DISK: DiskFiles = DiskFiles::new();

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn raw_names(dir: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_replaced_file_is_whole_for_readers_old_and_new() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state");
        DISK.write_atomic(&path, b"old content", Mode::Private).unwrap();
        let mut reader = File::open(&path).unwrap();
        DISK.write_atomic(&path, b"new", Mode::Private).unwrap();
        let mut old = String::new();
        reader.read_to_string(&mut old).unwrap();
        assert_eq!(old, "old content");
        assert_eq!(DISK.read(&path).unwrap(), b"new");
        assert_eq!(raw_names(&dir), ["state"]);
    }

    #[test]
    fn modes_are_as_asked_and_change_with_the_content() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("key");
        DISK.write_atomic(&path, b"", Mode::Public).unwrap();
        assert_eq!(mode_of(&path), 0o644);
        DISK.write_atomic(&path, b"", Mode::Private).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        DISK.append(&dir.path().join("log")).unwrap();
        assert_eq!(mode_of(&dir.path().join("log")), 0o600);
        DISK.create_dir_all(&dir.path().join("a/b")).unwrap();
        assert_eq!(mode_of(&dir.path().join("a")), 0o700);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = TempDir::new().unwrap();
        let target = dir.path().join("taken");
        fs::create_dir(&target).unwrap();
        let error = DISK.write_atomic(&target, b"x", Mode::Private).unwrap_err();
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
        assert_eq!(raw_names(&dir), ["taken"]);
    }

    #[test]
    fn a_leftover_of_a_process_with_the_same_id_is_in_nobodys_way() {
        let dir = TempDir::new().unwrap();
        let (path, disk) = (dir.path().join("state"), DiskFiles::new());
        fs::write(disk.temporary_beside(&path), b"half").unwrap();
        DiskFiles::new().write_atomic(&path, b"whole", Mode::Private).unwrap();
        assert_eq!(DISK.read(&path).unwrap(), b"whole");
    }

    #[test]
    fn an_interrupted_write_is_invisible_and_swept() {
        let dir = TempDir::new().unwrap();
        DISK.create_dir_all(&dir.path().join("sub")).unwrap();
        let leftover = DISK.temporary_beside(&dir.path().join("sub/state"));
        fs::write(&leftover, b"half").unwrap();
        assert_eq!(DISK.list(&dir.path().join("sub")).unwrap(), [""; 0]);
        let _lock = DISK.lock(dir.path()).unwrap();
        assert!(!leftover.exists());
        assert_eq!(DISK.list(dir.path()).unwrap(), ["sub"]);
    }

    #[test]
    fn a_folder_has_one_holder() {
        let dir = TempDir::new().unwrap();
        let lock = DISK.lock(dir.path()).unwrap();
        assert!(matches!(DISK.lock(dir.path()), Err(FileError::Locked { .. })));
        drop(lock);
        assert!(DISK.lock(dir.path()).is_ok());
    }

    #[test]
    fn appended_bytes_are_there_for_the_next_handle_and_can_be_cut() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        let mut log = DISK.append(&path).unwrap();
        log.write_all(b"one").unwrap();
        log.write_all(b"two").unwrap();
        log.sync().unwrap();
        drop(log);
        let mut log = DISK.append(&path).unwrap();
        assert_eq!(log.len(), 6);
        log.truncate(9).unwrap();
        log.truncate(4).unwrap();
        log.write_all(b"!").unwrap();
        let reader = DISK.open(&path).unwrap();
        let mut read = [0; 2];
        reader.read_exact_at(&mut read, 3).unwrap();
        assert_eq!((&read, reader.len().unwrap()), (b"t!", 5));
        assert!(reader.read_exact_at(&mut read, 4).is_err());
    }

    /// `/dev/full` refuses every write as a full disk does, and cannot be cut back either.
    #[test]
    fn a_full_disk_is_named_and_poisons_a_handle_that_cannot_be_cut_back() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("skipped: no /dev/full");
            return;
        }
        let mut log = DISK.append(full).unwrap();
        let error = log.write_all(b"x").unwrap_err();
        assert!(matches!(error, FileError::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("free space"), "{error}");
        assert!(matches!(log.write_all(b"x"), Err(FileError::Poisoned { .. })));
        assert!(matches!(log.sync(), Err(FileError::Poisoned { .. })));
        assert!(matches!(log.truncate(0), Err(FileError::Poisoned { .. })));
    }

    #[test]
    fn absence_is_an_answer_where_it_is_expected() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("none");
        assert!(DISK.read(&path).unwrap_err().is_not_found());
        assert!(DISK.read_if_exists(&path).unwrap().is_none());
        assert!(!DISK.exists(&path).unwrap());
        DISK.remove(&path).unwrap();
        assert!(DISK.list(&path).unwrap_err().is_not_found());
    }

    #[test]
    fn a_rename_replaces_and_a_removal_removes() {
        let dir = TempDir::new().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        DISK.write_atomic(&from, b"from", Mode::Private).unwrap();
        DISK.write_atomic(&to, b"to", Mode::Private).unwrap();
        DISK.rename(&from, &to).unwrap();
        assert_eq!(DISK.read(&to).unwrap(), b"from");
        DISK.remove(&to).unwrap();
        assert_eq!(DISK.list(dir.path()).unwrap(), [""; 0]);
    }
}

//! [`Files`] on a POSIX file system.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{AppendFile, FileError, Files, FolderLock, Mode, ReadAt, is_temporary};

/// Name of the file that a process locks to hold a folder.
const LOCK_FILE: &str = ".lock";

/// The disk. All paths are the system's.
#[derive(Debug, Default)]
pub struct DiskFiles {
    temporary: AtomicU64,
}

impl DiskFiles {
    /// The disk.
    #[must_use]
    pub const fn new() -> Self {
        Self { temporary: AtomicU64::new(0) }
    }

    /// A name beside `path` that no other write uses: rename is atomic within one directory only.
    fn temporary_beside(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let count = self.temporary.fetch_add(1, Ordering::Relaxed);
        path.with_file_name(format!(".{name}.{}-{count}.tmp", std::process::id()))
    }
}

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(|error| FileError::new("read", path, error))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        let temporary = self.temporary_beside(path);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(permissions(mode))
                .open(&temporary)?;
            // Again, as the umask may have taken bits away.
            file.set_permissions(Permissions::from_mode(permissions(mode)))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|error| {
            // Best effort: a leftover is hidden from `list` and swept by `lock`.
            let _ = fs::remove_file(&temporary);
            FileError::new("write", path, error)
        })?;
        sync_parent("write", path)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let failed = |error| FileError::new("append to", path, error);
        let existed = path.try_exists().map_err(failed)?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(permissions(Mode::Private))
            .open(path)
            .map_err(failed)?;
        if !existed {
            sync_parent("append to", path)?;
        }
        let length = file.metadata().map_err(failed)?.len();
        Ok(Box::new(DiskAppend { path: path.to_owned(), file, length, poisoned: false }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadAt>, FileError> {
        let file = File::open(path).map_err(|error| FileError::new("open", path, error))?;
        Ok(Box::new(DiskRead { path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::rename(from, to).map_err(|error| FileError::new("rename", from, error))?;
        sync_parent("rename", to)?;
        if from.parent() == to.parent() { Ok(()) } else { sync_parent("rename", from) }
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FileError::new("remove", path, error)),
            Ok(()) => sync_parent("remove", path),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        let failed = |error| FileError::new("list", dir, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
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
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            self.create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            // Another thread may have been quicker; a file of that name is an error all the same.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            made => made.map_err(|error| FileError::new("create", dir, error))?,
        }
        sync_parent("create", dir)
    }

    fn exists(&self, path: &Path) -> Result<bool, FileError> {
        path.try_exists().map_err(|error| FileError::new("look at", path, error))
    }

    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        let metadata =
            fs::metadata(path).map_err(|error| FileError::new("look at", path, error))?;
        Ok(metadata.permissions().mode() & 0o777)
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        let failed = |error| FileError::new("lock", dir, error);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(permissions(Mode::Private))
            .open(dir.join(LOCK_FILE))
            .map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FileError::Locked { path: dir.to_owned() },
            TryLockError::Error(error) => failed(error),
        })?;
        sweep(dir)?;
        Ok(FolderLock::new(file))
    }
}

const fn permissions(mode: Mode) -> u32 {
    match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    }
}

/// Makes the entry of `path` in its directory durable.
fn sync_parent(action: &'static str, path: &Path) -> Result<(), FileError> {
    let parent = match path.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let sync = || File::open(parent)?.sync_all();
    sync().map_err(|error| FileError::new(action, path, error))
}

/// Removes the leftovers of interrupted writes under `dir`.
fn sweep(dir: &Path) -> Result<(), FileError> {
    let failed = |error| FileError::new("clean up", dir, error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            sweep(&entry.path())?;
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(is_temporary) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

struct DiskAppend {
    path: PathBuf,
    file: File,
    length: u64,
    poisoned: bool,
}

impl DiskAppend {
    fn usable(&self) -> Result<(), FileError> {
        if self.poisoned { Err(FileError::Poisoned { path: self.path.clone() }) } else { Ok(()) }
    }

    fn failed(&self, error: io::Error) -> FileError {
        FileError::new("append to", &self.path, error)
    }
}

impl AppendFile for DiskAppend {
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

struct DiskRead {
    path: PathBuf,
    file: File,
}

impl ReadAt for DiskRead {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|error| FileError::new("read", &self.path, error))
    }

    fn len(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(|error| FileError::new("read", &self.path, error))?.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

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

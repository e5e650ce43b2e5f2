//! An event in a temporary directory.

#![allow(clippy::disallowed_methods)] // tests look at and damage files as an attacker would

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use lanyard_ceremony::{Addresses, CeremonyError, EventPlan, EventTree, Member, Seat, init_all};
use lanyard_env::{
    AppendFile, DiskFiles, Env, FileError, Files, FolderLock, LossyDisk, Mode, ReadAt,
};
use tempfile::TempDir;

pub(crate) const PASSPHRASE: &str = "correct horse battery";

pub(crate) fn member(name: &str) -> Member {
    name.parse().unwrap()
}

pub(crate) fn sample_plan() -> EventPlan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/cli/samples/event.toml");
    EventPlan::read(&DiskFiles::new(), &path).unwrap()
}

pub(crate) fn addresses(plan: &EventPlan) -> Addresses {
    let members = plan.members().into_iter().filter(|member| member.service().is_some());
    members.zip(7001..).map(|(member, port)| (member, ([127, 0, 0, 1], port).into())).collect()
}

pub(crate) fn init(env: &Env, dir: &Path, plan: &EventPlan) -> Result<EventTree, CeremonyError> {
    init_all(env, dir, plan, &addresses(plan), PASSPHRASE, |_, _| {})
}

/// One event that tests only read.
pub(crate) fn shared() -> &'static Path {
    static SHARED: LazyLock<TempDir> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        init(&Env::system(), dir.path(), &sample_plan()).unwrap();
        dir
    });
    SHARED.path()
}

/// A copy of [`shared`] to change.
pub(crate) fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files_under(shared()) {
        let to = dir.path().join(file.strip_prefix(shared()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, &to).unwrap();
    }
    dir
}

pub(crate) fn seat(dir: &Path, name: &str) -> Seat {
    Seat::open(&Env::system(), &dir.join(name), &dir.join("exchange")).unwrap()
}

pub(crate) fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// A copy of [`shared`] under [`EVENT`] on a disk that can stop and forget.
pub(crate) fn on_disk() -> LossyDisk {
    let disk = LossyDisk::new();
    let files = disk.files();
    for file in files_under(shared()) {
        let to = Path::new(EVENT).join(file.strip_prefix(shared()).unwrap());
        files.create_dir_all(to.parent().unwrap()).unwrap();
        files.write_atomic(&to, &fs::read(&file).unwrap(), Mode::Private).unwrap();
    }
    disk
}

/// Where the event of [`on_disk`] is.
pub(crate) const EVENT: &str = "/event";

pub(crate) fn env_on(disk: &LossyDisk) -> Env {
    Env { files: disk.files(), ..Env::system() }
}

/// A disk on which the process dies at a given write; for steps that rename folders, which [`LossyDisk`] does not.
pub(crate) struct DyingFiles {
    disk: DiskFiles,
    writes_left: AtomicUsize,
}

pub(crate) fn dying_env(writes: usize) -> Env {
    let mut env = Env::system();
    env.files =
        Arc::new(DyingFiles { disk: DiskFiles::new(), writes_left: AtomicUsize::new(writes) });
    env
}

impl Files for DyingFiles {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.disk.read(path)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        let left = self.writes_left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(FileError::DiskFull { action: "write", path: path.to_owned() });
        }
        self.writes_left.store(left - 1, Ordering::SeqCst);
        self.disk.write_atomic(path, bytes, mode)
    }

    fn append(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        self.disk.append(path)
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

    fn permissions(&self, path: &Path) -> Result<u32, FileError> {
        self.disk.permissions(path)
    }

    fn lock(&self, dir: &Path) -> Result<FolderLock, FileError> {
        self.disk.lock(dir)
    }
}

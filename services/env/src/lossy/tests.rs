use super::*;
use crate::files::{Files as _, Mode};
use crate::system::{System as _, SystemFile as _};

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

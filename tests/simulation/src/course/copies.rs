//! Copies of a machine, as its keeper makes them, for the day when it is lost.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use lanyard_core::ids::Authority;

use crate::disk::Backup;
use crate::machine::Machine;
use crate::op::{Op, Step};

/// How often a copy is made, in milliseconds; the one before the last is restored.
const EVERY_MILLIS: u64 = 20_000;
const KEPT: usize = 2;

/// What a machine had on its disk at some moment.
struct Copy {
    time: u64,
    disk: Backup,
    /// SQLite's files, which lie elsewhere.
    store: Vec<(PathBuf, Vec<u8>)>,
}

/// The last copies of each machine that a course restores.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<&'static str, VecDeque<Copy>>);

impl Copies {
    /// None so far, and none ever of a machine that is not restored: they take time.
    pub(super) fn for_course(steps: &[Step]) -> Self {
        let of_step = |step: &Step| match step.op {
            Op::Restore(authority) => Some((Authority::name(authority), VecDeque::new())),
            _ => None,
        };
        Self(steps.iter().filter_map(of_step).collect())
    }

    /// Makes copies if it is time.
    pub(super) fn make(&mut self, machines: &BTreeMap<&'static str, Machine>, now: u64) {
        if !now.is_multiple_of(EVERY_MILLIS) {
            return;
        }
        for (name, copies) in &mut self.0 {
            let machine = &machines[name];
            if copies.len() == KEPT {
                copies.pop_front();
            }
            let (disk, store) = (machine.disk.backup(&machine.folder), files(&machine.folder));
            copies.push_back(Copy { time: now, disk, store });
        }
    }

    /// Puts the older copy of a machine back, and says when it was made; `None` if there is none.
    pub(super) fn restore(&self, machine: &Machine) -> Option<u64> {
        let copy = self.0.get(machine.name)?.front()?;
        machine.disk.restore(&machine.folder, &copy.disk);
        // What says that this is a copy, and not the machine as it was: docs/DRILLS.md.
        machine.disk.wipe(&machine.folder.join("data/signed"));
        for (path, _) in files(&machine.folder) {
            std::fs::remove_file(path).expect("it was listed");
        }
        for (path, bytes) in &copy.store {
            std::fs::write(path, bytes).expect("there is space");
        }
        Some(copy.time)
    }
}

/// The real files in a folder. SQLite makes its index of the log anew.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("it was made") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().ends_with("-shm") {
                let bytes = std::fs::read(&path).expect("it can be read");
                found.push((path, bytes));
            }
        }
    }
    found
}

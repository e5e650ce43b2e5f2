//! Parts of a machine that are broken on purpose, so that the simulation is seen to find what it is for. The services are
//! the real ones always: what they are promised by their disk or their clock is not kept.

use crate::clock::MachineClock;
use crate::disk::SimDisk;
use crate::event::GATES;
use crate::machine::Machine;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Defect {
    /// Gates forget what they kept of both feeds when they stop.
    ForgetfulGate,
    /// Gates answer before their receipts are on the disk.
    UnsyncedReceipts,
    /// A witness, one of those asked first, keeps its memory in memory only.
    UnsyncedWitness,
    /// The committee signs before what it signs is on its disk.
    SignsBeforeSync,
    /// Gates' clocks stand still.
    StoppedClock,
}

impl Defect {
    /// Breaks a machine before it starts.
    pub(crate) fn build_in(self, name: &str, disk: &SimDisk, clock: &MachineClock) {
        let is_gate = GATES.contains(&name);
        match self {
            Self::UnsyncedReceipts if is_gate => disk.lie_about("receipts"),
            Self::UnsyncedWitness if name == "sponsor" => disk.lie_about("witness"),
            Self::SignsBeforeSync if name == "committee" => disk.lie_about("feeds"),
            Self::StoppedClock if is_gate => clock.stop_at(60_000),
            _ => {}
        }
    }

    /// What it does when a machine stops.
    pub(crate) fn at_crash(self, machine: &Machine) {
        if self == Self::ForgetfulGate && GATES.contains(&machine.name) {
            machine.disk.wipe(&machine.folder.join("data/mirror"));
        }
    }
}

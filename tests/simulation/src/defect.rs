//! Parts of the world that are broken on purpose, so that each invariant is seen to find what it is for. The services are the
//! real ones always: what they are promised by a disk, a clock or a line is not kept, or somebody else has their keys.

use lanyard_ceremony::Member;

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
    /// The trustee evaluates before its count is on the disk.
    UnsyncedCount,
    /// The committee signs before what it signs is on its disk.
    SignsBeforeSync,
    /// The police's database says that it has committed, and has not.
    LostCommits,
    /// Two witnesses of each log cosign and remember nothing.
    HollowQuorum,
    /// The trustee's disk damages its count of evaluations when it stops.
    DamagedCount,
    /// No receipt can be written any more.
    FullDisk,
    /// Gates' clocks stand still.
    StoppedClock,
    /// Gates' clocks jump an hour ahead.
    JumpingClock,
    /// Gates' clocks are an hour ahead from the beginning.
    FastClock,
    /// What the sponsor sends to the third gate gets later and later, by eight seconds at most.
    LateLine,
    /// Somebody else publishes too, with the committee's keys.
    TwoCommittees,
    /// Whenever somebody is stopped, so is a person of whom nobody has asked it.
    StrayStop,
}

/// How far a clock is off, in milliseconds.
const AN_HOUR: i64 = 3_600_000;

/// The machine of whoever has the committee's keys too.
pub(crate) const TWIN: &str = "twin";

impl Defect {
    /// Breaks a machine before it starts.
    pub(crate) fn build_in(self, machine: &Machine) {
        let Machine { name, disk, clock, .. } = machine;
        let is_gate = GATES.contains(name);
        match self {
            Self::UnsyncedReceipts if is_gate => disk.lie_about("receipts"),
            Self::UnsyncedWitness if *name == "sponsor" => disk.lie_about("witness"),
            Self::UnsyncedCount if *name == "trustee" => disk.lie_about("evaluations"),
            Self::SignsBeforeSync if *name == "committee" => disk.lie_about("feeds"),
            Self::HollowQuorum if ["trustee", "sponsor"].contains(name) => {
                disk.drop_writes("witness");
            }
            Self::FastClock if is_gate => clock.set_offset(AN_HOUR),
            _ => {}
        }
    }

    /// Breaks a machine once everybody is let in.
    pub(crate) fn break_in(self, machine: &Machine) {
        let Machine { name, disk, clock, folder, .. } = machine;
        let is_gate = GATES.contains(name);
        match self {
            Self::LostCommits if *name == "police" => crate::sqlite::lose_commits(folder),
            Self::FullDisk if is_gate => disk.fill_up("receipts"),
            Self::StoppedClock if is_gate => clock.stop(),
            Self::JumpingClock if is_gate => clock.set_offset(AN_HOUR),
            _ => {}
        }
    }

    /// What it does when a machine stops.
    pub(crate) fn at_crash(self, machine: &Machine) {
        let Machine { name, disk, folder, .. } = machine;
        match self {
            Self::ForgetfulGate if GATES.contains(name) => disk.wipe(&folder.join("data/mirror")),
            Self::DamagedCount if *name == "trustee" => {
                disk.damage(&folder.join("data/evaluations"));
            }
            _ => {}
        }
    }

    /// A machine that is there besides those of the event.
    pub(crate) fn another(self) -> Option<(&'static str, Member)> {
        (self == Self::TwoCommittees).then_some((TWIN, Member::Committee))
    }

    /// How long what the sponsor sends to the third gate takes, so long after everybody is let in; milliseconds.
    pub(crate) fn late_line(self, since: u64) -> Option<u64> {
        // Slowly enough that the gate does not take it for silence.
        (self == Self::LateLine).then(|| (since / 2).clamp(30, 8_000))
    }

    /// Who is stopped although nobody has asked it, when somebody is.
    pub(crate) fn stray(self) -> Option<usize> {
        (self == Self::StrayStop).then_some(3)
    }
}

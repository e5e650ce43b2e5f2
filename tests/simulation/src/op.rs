//! Operations, and how a seed draws a list of them.

use std::fmt;
use std::str::FromStr;

use lanyard_core::ids::Authority;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::event::{GATES, LIAR};

/// Machines that a course may stop, cut off or give a wrong clock.
pub(crate) const MACHINES: [&str; 7] =
    ["committee", "police", "sponsor", "trustee", GATES[0], GATES[1], GATES[2]];

/// Everybody whom a course knows: half of them are enrolled when it begins.
pub const PEOPLE: usize = 8;

/// How long a course goes on, in milliseconds.
const LENGTH: u64 = 100_000;

/// What an operation does to somebody's badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Stop for now.
    Suspend,
    /// End that.
    Reinstate,
    /// Stop for good.
    Revoke,
}

/// How the mirror before the second gate lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Not at all.
    Honest,
    /// It changes sealed bytes.
    Forge,
    /// It leaves a change out.
    Omit,
    /// It repeats an old tick under the newest checkpoint.
    RollBack,
    /// It shows rows as they were before.
    OtherRows,
    /// It sends what is no head.
    Garbage,
    /// It sends nothing.
    Stall,
    /// It sends no cosignatures.
    Withhold,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Enrols a person, has them screened, and issues their badge.
    Enrol(usize),
    /// An authority changes the status of a person's badge.
    Change(Authority, Change, usize),
    /// Pulls a machine's plug: what was not synced may be lost.
    Crash(&'static str),
    /// The same, in the middle of the write after so many more; that one may have reached the disk or not.
    CrashInWrite(&'static str, u64, bool),
    /// Switches a machine on again.
    Start(&'static str),
    /// Loses everything between two machines.
    Cut(&'static str, &'static str),
    /// Repairs that.
    Mend(&'static str, &'static str),
    /// Makes everything between two machines take so many milliseconds.
    Delay(&'static str, &'static str, u64),
    /// Sets a machine's clock off by so many milliseconds.
    Clock(&'static str, i64),
    /// The mirror before the second gate lies about an authority's feed.
    Lie(Authority, Lie),
    /// A witness, switched off and on again, remembers what it knew twenty seconds before.
    Forget(&'static str),
    /// A witness cosigns whatever it is asked, as if it knew nothing; or remembers again.
    Heed(&'static str, bool),
    /// An authority's machine is lost, and a copy of it from 20 to 40 seconds before goes on in its place, if others have what it
    /// signed since.
    Restore(Authority),
}

/// An operation, and how many milliseconds after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds.
    pub after: u64,
    /// What.
    pub op: Op,
}

/// The operations of a seed.
#[must_use]
pub fn draw(seed: u64) -> Vec<Step> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut steps, mut stopped) = (Vec::new(), Vec::new());
    let mut time = 0;
    // Some courses are crowded and some are calm.
    let pace = [1_500, 4_000, 9_000][rng.random_range(0..3)];
    while time < LENGTH {
        let after = rng.random_range(0..2 * pace);
        time += after;
        let op = match draw_op(&mut rng) {
            // Mostly of somebody who is stopped.
            Op::Change(_, Change::Reinstate, _) if !stopped.is_empty() => {
                let (authority, person) = stopped.swap_remove(rng.random_range(0..stopped.len()));
                Op::Change(authority, Change::Reinstate, person)
            }
            op => op,
        };
        if let Op::Change(authority, Change::Suspend, person) = op {
            stopped.push((authority, person));
        }
        steps.push(Step { after, op });
    }
    steps
}

fn machine(rng: &mut ChaCha8Rng) -> &'static str {
    MACHINES[rng.random_range(0..MACHINES.len())]
}

/// Two machines that talk to each other.
fn link(rng: &mut ChaCha8Rng) -> (&'static str, &'static str) {
    let links = [
        ("committee", "police"),
        ("committee", "sponsor"),
        ("committee", "trustee"),
        ("police", "sponsor"),
        ("police", "trustee"),
        ("sponsor", GATES[0]),
        ("committee", GATES[0]),
        ("sponsor", LIAR),
        (LIAR, GATES[1]),
        ("police", GATES[1]),
        ("sponsor", GATES[2]),
    ];
    links[rng.random_range(0..links.len())]
}

/// One that is no authority.
fn witness(rng: &mut ChaCha8Rng) -> &'static str {
    ["trustee", "sponsor"][rng.random_range(0..2)]
}

fn authority(rng: &mut ChaCha8Rng) -> Authority {
    Authority::ALL[rng.random_range(0..2)]
}

fn draw_op(rng: &mut ChaCha8Rng) -> Op {
    let person = rng.random_range(0..PEOPLE);
    match rng.random_range(0..100) {
        0..7 => Op::Enrol(person),
        7..28 => Op::Change(authority(rng), Change::Suspend, person),
        28..40 => Op::Change(authority(rng), Change::Reinstate, person),
        40..42 => Op::Change(Authority::Committee, Change::Revoke, person),
        42..49 => Op::Crash(machine(rng)),
        49..55 => Op::CrashInWrite(machine(rng), rng.random_range(0..40), rng.random()),
        55..66 => Op::Start(machine(rng)),
        66..74 => {
            let (a, b) = link(rng);
            Op::Cut(a, b)
        }
        74..82 => {
            let (a, b) = link(rng);
            Op::Mend(a, b)
        }
        82..86 => {
            let (a, b) = link(rng);
            Op::Delay(a, b, [20, 200, 900, 3_000][rng.random_range(0..4)])
        }
        86..90 => draw_clock(rng),
        90..95 => Op::Lie(authority(rng), LIES[rng.random_range(0..LIES.len())].1),
        95..97 => Op::Forget(witness(rng)),
        97..99 => Op::Heed(witness(rng), rng.random()),
        _ => Op::Restore(Authority::Committee),
    }
}

fn draw_clock(rng: &mut ChaCha8Rng) -> Op {
    let machine = machine(rng);
    // Within the skew bound, minutes, hours, and right again. An authority that was ahead by more has signed times and
    // epochs to which nobody can go back: docs/SIMULATION.md.
    let bounds: &[i64] = match machine {
        "committee" | "police" => &[0, 2_000],
        _ => &[0, 4_000, 90_000, 3 * 3_600_000],
    };
    let bound = bounds[rng.random_range(0..bounds.len())];
    Op::Clock(machine, if bound == 0 { 0 } else { rng.random_range(-bound..=bound) })
}

const LIES: [(&str, Lie); 8] = [
    ("honest", Lie::Honest),
    ("forge", Lie::Forge),
    ("omit", Lie::Omit),
    ("roll-back", Lie::RollBack),
    ("other-rows", Lie::OtherRows),
    ("garbage", Lie::Garbage),
    ("stall", Lie::Stall),
    ("withhold", Lie::Withhold),
];

const CHANGES: [(&str, Change); 3] =
    [("suspend", Change::Suspend), ("reinstate", Change::Reinstate), ("revoke", Change::Revoke)];

fn name_of<T: PartialEq + Copy>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, one)| *one == value).map_or("", |(name, _)| name)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.after)?;
        match &self.op {
            Op::Enrol(person) => write!(f, "enrol {person}"),
            Op::Change(authority, change, person) => {
                write!(f, "{} {} {person}", name_of(&CHANGES, *change), authority.name())
            }
            Op::Crash(machine) => write!(f, "crash {machine}"),
            Op::CrashInWrite(machine, writes, reaches_disk) => {
                let write = if *reaches_disk { "after" } else { "before" };
                write!(f, "crash-in-write {machine} {writes} {write}")
            }
            Op::Start(machine) => write!(f, "start {machine}"),
            Op::Cut(a, b) => write!(f, "cut {a} {b}"),
            Op::Mend(a, b) => write!(f, "mend {a} {b}"),
            Op::Delay(a, b, millis) => write!(f, "delay {a} {b} {millis}"),
            Op::Clock(machine, millis) => write!(f, "clock {machine} {millis}"),
            Op::Lie(authority, lie) => {
                write!(f, "lie {} {}", authority.name(), name_of(&LIES, *lie))
            }
            Op::Forget(machine) => write!(f, "forget {machine}"),
            Op::Heed(machine, heeds) => {
                write!(f, "{} {machine}", if *heeds { "heed" } else { "heed-nothing" })
            }
            Op::Restore(authority) => write!(f, "restore {}", authority.name()),
        }
    }
}

/// A line that is no step.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{line:?} is no step of a course; see `Op` for what there is")]
pub struct StepError {
    line: String,
}

impl FromStr for Step {
    type Err = StepError;

    fn from_str(line: &str) -> Result<Self, StepError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        parse(&words).ok_or_else(|| StepError { line: line.to_owned() })
    }
}

fn parse(words: &[&str]) -> Option<Step> {
    let (after, words) = words.split_first()?;
    let op = match words {
        ["enrol", person] => Op::Enrol(a_person(person)?),
        ["crash", name] => Op::Crash(a_machine(name)?),
        ["crash-in-write", name, writes, write] => {
            let reaches_disk = ["before", "after"].iter().position(|one| one == write)? == 1;
            Op::CrashInWrite(a_machine(name)?, writes.parse().ok()?, reaches_disk)
        }
        ["start", name] => Op::Start(a_machine(name)?),
        ["cut", a, b] => Op::Cut(a_machine(a)?, a_machine(b)?),
        ["mend", a, b] => Op::Mend(a_machine(a)?, a_machine(b)?),
        ["delay", a, b, millis] => Op::Delay(a_machine(a)?, a_machine(b)?, millis.parse().ok()?),
        ["clock", name, millis] => Op::Clock(a_machine(name)?, millis.parse().ok()?),
        ["lie", authority, lie] => Op::Lie(an_authority(authority)?, named(&LIES, lie)?),
        ["forget", name] => Op::Forget(a_machine(name)?),
        ["heed", name] => Op::Heed(a_machine(name)?, true),
        ["heed-nothing", name] => Op::Heed(a_machine(name)?, false),
        ["restore", name] => Op::Restore(an_authority(name)?),
        [change, authority, person] => {
            let change = named(&CHANGES, change)?;
            Op::Change(an_authority(authority)?, change, a_person(person)?)
        }
        _ => return None,
    };
    Some(Step { after: after.parse().ok()?, op })
}

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(one, _)| *one == name).map(|(_, value)| *value)
}

fn a_machine(name: &str) -> Option<&'static str> {
    MACHINES.into_iter().chain([LIAR]).find(|one| *one == name)
}

fn an_authority(name: &str) -> Option<Authority> {
    Authority::ALL.into_iter().find(|one| one.name() == name)
}

fn a_person(number: &str) -> Option<usize> {
    number.parse().ok().filter(|person| *person < PEOPLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_as_they_are_written() {
        let steps: Vec<Step> = (0..200).flat_map(draw).collect();
        for step in &steps {
            assert_eq!(step.to_string().parse().as_ref(), Ok(step));
        }
        let kinds = |step: &Step| std::mem::discriminant(&step.op);
        let mut seen: Vec<_> = steps.iter().map(kinds).collect();
        seen.dedup();
        assert!(steps.len() > 1_000 && seen.len() > 100);
        assert!("10 fly away".parse::<Step>().is_err());
    }
}

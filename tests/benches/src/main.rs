//! Measures the budgets of docs/PERFORMANCE.md: each job beside the sum of its primitives, in one run.
//!
//! `cargo run --release -p lanyard-benches [-- [--people N] [ROW ...]]`. Figures are CPU time and medians of several
//! rounds; a ratio is the median of the rounds' ratios. Exits with 1 if a bar is missed.

#![allow(clippy::disallowed_methods)] // measures, and serves nobody

mod epoch;
mod event;
mod gate_decision;
mod measure;
mod primitives;
mod pseudonyms;
mod report;
mod signer;
mod sizes;
mod tick;

use std::process::ExitCode;

use report::Report;

const USAGE: &str = "usage: lanyard-benches [--people N] [ROW ...]\n\
    rows: 1 gate decision, 2 RPCs, 3 pseudonyms, 4 epoch, 5 tick, 7 and 8 sizes, 9 texts; all if none is named";

struct Options {
    people: u32,
    rows: Vec<u8>,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let wanted = |row: u8| options.rows.is_empty() || options.rows.contains(&row);
    let mut report = Report::default();
    if wanted(1) {
        gate_decision::measure(&mut report, options.people);
    }
    if wanted(3) {
        pseudonyms::measure(&mut report);
    }
    if wanted(4) {
        epoch::measure(&mut report, options.people);
    }
    if wanted(5) {
        tick::measure(&mut report, options.people);
    }
    if wanted(7) || wanted(8) {
        sizes::snapshots_and_memory(&mut report, options.people);
    }
    if wanted(9) {
        sizes::texts(&mut report);
    }
    if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { people: 1_000_000, rows: Vec::new() };
    while let Some(argument) = arguments.next() {
        if argument == "--people" {
            options.people = arguments.next()?.parse().ok().filter(|people| *people >= 1_000)?;
        } else {
            options.rows.push(argument.parse().ok().filter(|row| (1..=9).contains(row))?);
        }
    }
    Some(options)
}

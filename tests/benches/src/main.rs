//! Measures the budgets of docs/PERFORMANCE.md: each job beside the sum of its primitives, in one run.
//!
//! `cargo run --release --bin lanyard-benches [-- [--people N] [ROW ...]]`. Figures are CPU time and medians of several
//! rounds; a ratio is the median of the rounds' ratios. Exits with 1 if a bar is missed.
//!
//! `tests/at-size.sh` runs `lanyard-benches at-size`: screening at the size of the Games, with real services.

#![allow(clippy::disallowed_methods)] // measures, and serves nobody

mod at_size;
mod epoch;
mod event;
mod fan_out;
mod gate_decision;
mod measure;
mod primitives;
mod pseudonyms;
mod report;
mod rpc;
mod signer;
mod sizes;
mod tick;

use std::path::Path;
use std::process::ExitCode;

use report::Report;

const USAGE: &str = "usage: lanyard-benches [--people N] [ROW ...]\n\
    rows: 1 gate decision, 2 RPCs, 3 pseudonyms, 4 epoch, 5 tick, 6 fan-out, 7 and 8 sizes, 9 texts; all if none is named";

struct Options {
    people: u32,
    rows: Vec<u8>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Servers are processes of this program.
    if let [serve, kind, dir] = arguments.as_slice()
        && serve == "--serve"
        && let Some(kind) = rpc::Kind::parse(kind)
    {
        return done("row 2", rpc::serve(kind, Path::new(dir)));
    }
    // And so are an event's services: what `lanyard serve` does.
    if arguments.first().is_some_and(|first| first == "serve") {
        return lanyard::main();
    }
    if let Some((command, rest)) = arguments.split_first()
        && command == "at-size"
    {
        let Some(options) = at_size::Options::parse(rest.iter().cloned()) else {
            eprintln!("{}", at_size::Options::USAGE);
            return ExitCode::from(2);
        };
        return match at_size::run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => {
                eprintln!("at size: {failure}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(options) = parse(arguments.into_iter()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let wanted = |row: u8| options.rows.is_empty() || options.rows.contains(&row);
    let mut report = Report::default();
    if wanted(1) {
        gate_decision::measure(&mut report, options.people);
    }
    if wanted(2)
        && let Err(failure) = rpc::measure(&mut report)
    {
        return done("row 2", Err(failure));
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
    if wanted(6)
        && let Err(failure) = fan_out::measure(&mut report)
    {
        return done("row 6", Err(failure));
    }
    if wanted(7) || wanted(8) {
        sizes::snapshots_and_memory(&mut report, options.people);
    }
    if wanted(9) {
        sizes::texts(&mut report);
    }
    if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn done(row: &str, result: Result<(), rpc::Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{row}: {failure}");
            ExitCode::FAILURE
        }
    }
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

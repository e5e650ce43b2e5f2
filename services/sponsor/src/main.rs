//! `lanyard-sponsor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let about = "Mirrors both authorities' sealed directories, cosigns their logs, and serves the sponsor's desk";
    lanyard_party::main("lanyard-sponsor", about, lanyard_sponsor::inspect, lanyard_sponsor::serve)
}

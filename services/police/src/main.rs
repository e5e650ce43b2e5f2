//! `lanyard-police`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let about = "The police's service";
    lanyard_party::main("lanyard-police", about, lanyard_police::inspect, lanyard_police::serve)
}

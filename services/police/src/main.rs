//! `lanyard-police`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lanyard_party::main("lanyard-police", "The police's service", lanyard_police::serve)
}

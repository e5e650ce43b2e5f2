//! Runs seeds. See the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    lanyard_simulation::main(&lanyard_simulation::Arguments::parse())
}

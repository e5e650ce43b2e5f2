//! The command line; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lanyard::main()
}

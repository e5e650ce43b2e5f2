//! `lanyard-committee`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lanyard_party::main(
        "lanyard-committee",
        "The organising committee's service",
        lanyard_committee::inspect,
        lanyard_committee::serve,
    )
}

//! `lanyard-trustee`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let about =
        "Serves the trustee's share of the pseudonym key, and cosigns both authorities' logs";
    lanyard_party::main("lanyard-trustee", about, lanyard_trustee::inspect, lanyard_trustee::serve)
}

//! `lanyard-gate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let about = "Serves a venue's scanners: checks, receipts, sync state";
    lanyard_party::main("lanyard-gate", about, lanyard_gate::inspect, lanyard_gate::serve)
}

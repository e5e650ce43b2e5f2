//! The command line of Lanyard: what every party's people type, the ceremony, and a whole event on one machine.
//!
//! Each subcommand is a module with its arguments and a `run`. What other programs may want stands in modules of its
//! own: [`cluster`] runs an event's services as processes, [`event`] makes an event, [`table`] reads people and
//! watchlists from CSV files under a mapping; and [`back_up`] copies a party's folder.

#![allow(clippy::disallowed_methods)] // clients are not simulated

mod args;
mod backup;
mod ceremony;
pub mod cluster;
mod code;
mod committee;
mod context;
mod demo;
mod error;
pub mod event;
mod fsck;
mod gate;
mod holder_faults;
mod init;
mod lookup;
mod panic;
mod police;
mod progress;
mod quota;
mod references;
mod scan;
mod screening;
mod secrets;
mod sending;
mod serve;
mod sponsor;
mod station;
pub mod table;
mod up;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
pub use crate::backup::back_up;
use crate::context::Context;
pub use crate::error::CliError;

/// The whole of `main`: parses the command line, runs the command, and says how it went (0 good, 1 failed or a negative
/// answer, 2 wrong usage or input).
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A service is a process of its own kind: it logs, and has its own runtime and signals.
    let command = match cli.command {
        Command::Serve(serve) => return serve.run(),
        command => command,
    };
    let context = Context::new(cli.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(command, &context));
    // A thread may still wait for a line from the keyboard.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_said() {
                eprintln!("error: {}", lanyard_party::chain(&error));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Init(args) => args.run(context),
        Command::Ceremony(args) => args.run(context),
        Command::Committee(args) => args.run(context).await,
        Command::Police(args) => args.run(context).await,
        Command::Sponsor(args) => args.run(context).await,
        Command::Gate(args) => args.run(context).await,
        Command::Panic(args) => args.run(context).await,
        Command::Quota(args) => args.run(context).await,
        Command::Fsck(args) => args.run(context).await,
        Command::Backup(args) => args.run(context).await,
        Command::Scan(args) => args.run(context).await,
        Command::Code(args) => args.run(context),
        Command::Lookup(args) => args.run(context).await,
        Command::Screening(args) => args.run(context),
        Command::Verify(args) => args.run(context),
        Command::Up(args) => args.run(context).await,
        Command::Demo(args) => args.run(context).await,
        Command::Serve(_) => Ok(()), // taken before
    }
}

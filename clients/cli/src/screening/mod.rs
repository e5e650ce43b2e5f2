//! Measuring screening on plaintext: who would match whom, before any key exists. Needs no service and no event.

mod clean;
mod evaluate;
mod input;
mod interval;
mod pairs;
mod peer;
mod report;
mod variant;

use clap::{Args, Subcommand};

use self::evaluate::EvaluateArgs;
use self::pairs::PairsArgs;
use crate::context::Context;
use crate::error::CliError;

/// `lanyard screening`.
#[derive(Args)]
pub(crate) struct ScreeningArgs {
    #[command(subcommand)]
    command: ScreeningCommand,
}

#[derive(Subcommand)]
enum ScreeningCommand {
    /// Measure on plaintext how many true pairs the identity keys find, and how many innocent people match a list.
    Evaluate(EvaluateArgs),
    /// Write a list's own pairs, each first name with each alias, for `evaluate`.
    Pairs(PairsArgs),
}

impl ScreeningArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), CliError> {
        match self.command {
            ScreeningCommand::Evaluate(args) => args.run(context),
            ScreeningCommand::Pairs(args) => args.run(context),
        }
    }
}

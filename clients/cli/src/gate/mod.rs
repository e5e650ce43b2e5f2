//! `lanyard gate`: the gate's people.

mod check;
mod exports;
mod status;

use clap::{Args, Subcommand};
use lanyard_transport::{PartyName, Role};

pub(crate) use self::check::{DirectionName, nonce, reason_name, verdict_name};
use crate::context::{Actor, Context};
use crate::error::CliError;

/// `lanyard gate`.
#[derive(Args)]
pub(crate) struct GateArgs {
    #[command(flatten)]
    actor: Actor,
    #[command(subcommand)]
    command: GateCommand,
}

#[derive(Subcommand)]
enum GateCommand {
    /// Check one badge, as a scanner does; it is recorded like any other check.
    Check(check::CheckArgs),
    /// Show what the gate knows and how old it is.
    Status,
    /// Export receipts with their chain and signatures, for `lanyard verify`.
    Receipts(exports::ReceiptsArgs),
    /// Export what both authorities say of one badge, provable offline, for `lanyard verify`.
    Attest(exports::AttestArgs),
    /// Record that a supervisor let someone in, or kept someone out, against a verdict.
    Override(check::OverrideArgs),
}

impl GateArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        use GateCommand as C;
        let roles: &[Role] = match &self.command {
            C::Check(_) => &[Role::Scanner, Role::Supervisor],
            C::Status => &[Role::Operator, Role::Supervisor, Role::Scanner],
            C::Receipts(_) => &[Role::Operator],
            C::Attest(_) => &[Role::Operator, Role::Supervisor],
            C::Override(_) => &[Role::Supervisor],
        };
        let connection = self.actor.connect(context, PartyName::Gate, roles)?;
        match self.command {
            C::Check(args) => args.run(context, &connection).await,
            C::Status => status::run(context, &connection).await,
            C::Receipts(args) => args.run(context, &connection).await,
            C::Attest(args) => args.run(context, &connection).await,
            C::Override(args) => args.run(context, &connection).await,
        }
    }
}

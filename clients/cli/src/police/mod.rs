//! `lanyard police`: the police's people.

mod cases;
mod check;
mod staff;
mod subjects;
mod views;
mod watchlist;

pub(crate) use staff::staff_seeds;

use clap::{Args, Subcommand};
use lanyard_client::Connection;
use lanyard_transport::{PartyName, Role};

use crate::context::{Actor, Context};
use crate::error::CliError;

/// `lanyard police`.
#[derive(Args)]
pub(crate) struct PoliceArgs {
    #[command(flatten)]
    actor: Actor,
    #[command(subcommand)]
    command: PoliceCommand,
}

#[derive(Subcommand)]
enum PoliceCommand {
    /// Import or show watchlists.
    Watchlist(watchlist::WatchlistArgs),
    /// List subjects of screening with what matched; no identities are known here.
    Subjects(subjects::SubjectsArgs),
    /// List cases, look at one, ask who it is, decide.
    Cases(cases::CasesArgs),
    /// Have the committee prove, of cleared subjects drawn at random, that they are who was submitted.
    Sample(cases::SampleArgs),
    /// Suspend subjects, by id or by a badge in hand.
    Suspend(subjects::ChangeArgs),
    /// End suspensions.
    Reinstate(subjects::ChangeArgs),
    /// Take a change back.
    Undo(subjects::UndoArgs),
    /// Show who did what to whom, when and why.
    Audit(views::AuditArgs),
    /// Show how far publication is.
    Status,
    /// The police's own staff: enrol, issue, stop.
    Staff(staff::StaffArgs),
    /// Check whoever bears an identity document, at the desk: nobody else learns about whom, nor whether anything is known.
    Check(check::CheckArgs),
    /// Look up the badge at the desk: both attestations and the police's own case.
    Desk(views::DeskArgs),
}

impl PoliceArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        use PoliceCommand as C;
        let roles: &[Role] = match &self.command {
            C::Desk(_) | C::Check(_) => &[Role::Desk, Role::Operator],
            C::Staff(args) if args.only_reads() => &[Role::Operator, Role::Desk],
            C::Subjects(_) => &[Role::Operator, Role::Desk],
            _ => &[Role::Operator],
        };
        let connection: Connection = self.actor.connect(context, PartyName::Police, roles)?;
        match self.command {
            C::Watchlist(args) => args.run(context, &connection).await,
            C::Subjects(args) => args.run(context, &connection).await,
            C::Cases(args) => args.run(context, &connection).await,
            C::Sample(args) => args.run(context, &connection).await,
            C::Suspend(args) => args.run(context, &connection, subjects::Action::Suspend).await,
            C::Reinstate(args) => args.run(context, &connection, subjects::Action::Reinstate).await,
            C::Undo(args) => args.run(context, &connection).await,
            C::Audit(args) => args.run(context, &connection).await,
            C::Status => views::status(context, &connection).await,
            C::Staff(args) => args.run(context, &connection).await,
            C::Check(args) => args.run(context, &connection).await,
            C::Desk(args) => args.run(context, &connection).await,
        }
    }
}

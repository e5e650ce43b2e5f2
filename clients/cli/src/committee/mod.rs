//! `lanyard committee`: the committee's people.

mod changes;
mod disclosures;
pub(crate) mod import;
mod issue;
pub(crate) mod police_badges;
mod profiles;
pub(crate) mod views;

use clap::{Args, Subcommand};
use lanyard_client::Connection;
use lanyard_transport::{PartyName, Role};

use crate::context::{Actor, Context};
use crate::error::CliError;

/// `lanyard committee`.
#[derive(Args)]
pub(crate) struct CommitteeArgs {
    #[command(flatten)]
    actor: Actor,
    #[command(subcommand)]
    command: CommitteeCommand,
}

#[derive(Subcommand)]
enum CommitteeCommand {
    /// Import people from a CSV file; the same file again changes nothing.
    Import(import::ImportArgs),
    /// Define access profiles from a TOML file; codes that exist are replaced.
    Profiles(profiles::ProfilesArgs),
    /// Have everyone screened who is not yet: pseudonyms to the police, verdicts back. Broken off, as by Ctrl-C, it goes on
    /// where it was when it is started again.
    Screen(import::ScreenArgs),
    /// List what the police ask to disclose, approve or refuse it.
    Disclosures(disclosures::DisclosuresArgs),
    /// Issue badges: derive texts and QR codes with the issuing key, hand the seeds to the service.
    Issue(issue::IssueArgs),
    /// Replace lost badges: the old print ends, a new one waits for issue.
    Reissue(changes::ReissueArgs),
    /// Suspend badges until they are reinstated.
    Suspend(changes::StatusArgs),
    /// End suspensions.
    Reinstate(changes::StatusArgs),
    /// Revoke badges for good.
    Revoke(changes::StatusArgs),
    /// Take a change back.
    Undo(changes::UndoArgs),
    /// List people, their badges and verdicts.
    List(views::ListArgs),
    /// List the badges of police staff that are attested here: numbers and profiles, never names.
    PoliceBadges(police_badges::PoliceBadgesArgs),
    /// Show who did what to whom, when and why.
    Audit(views::AuditArgs),
    /// Show how far publication is.
    Status,
    /// Look up the badge at the desk in the committee's own file.
    Desk(views::DeskArgs),
}

impl CommitteeArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        use CommitteeCommand as C;
        let roles: &[Role] = match &self.command {
            C::Desk(_) => &[Role::Desk, Role::Operator],
            C::List(_) => &[Role::Operator, Role::Desk],
            _ => &[Role::Operator],
        };
        let connection: Connection = self.actor.connect(context, PartyName::Committee, roles)?;
        match self.command {
            C::Import(args) => args.run(context, &connection).await,
            C::Profiles(args) => args.run(context, &connection).await,
            C::Screen(args) => args.run(context, &connection).await,
            C::Disclosures(args) => args.run(context, &connection).await,
            C::Issue(args) => args.run(context, &connection).await,
            C::Reissue(args) => args.run(context, &connection).await,
            C::Suspend(args) => args.change(context, &connection, changes::Action::Suspend).await,
            C::Reinstate(args) => {
                args.change(context, &connection, changes::Action::Reinstate).await
            }
            C::Revoke(args) => args.change(context, &connection, changes::Action::Revoke).await,
            C::Undo(args) => args.run(context, &connection).await,
            C::List(args) => args.run(context, &connection).await,
            C::PoliceBadges(args) => args.run(context, &connection).await,
            C::Audit(args) => args.run(context, &connection).await,
            C::Status => views::status(context, &connection).await,
            C::Desk(args) => args.run(context, &connection).await,
        }
    }
}

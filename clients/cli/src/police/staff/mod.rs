//! `lanyard police staff`: the police's own people and their badges.

mod changes;
mod import;
mod issue;

pub(crate) use issue::staff_seeds;

use clap::{Args, Subcommand};
use lanyard_client::{Connection, call};
use lanyard_wire::staff::v1::{ListStaffRequest, MemberState, PrintState};
use serde_json::{Value, json};

use crate::committee::views::status_name;
use crate::context::{Context, table};
use crate::error::CliError;

/// `lanyard police staff`.
#[derive(Args)]
pub(crate) struct StaffArgs {
    #[command(subcommand)]
    command: StaffCommand,
}

#[derive(Subcommand)]
enum StaffCommand {
    /// Import staff from a CSV file; the same file again changes nothing.
    Import(import::ImportArgs),
    /// Issue badges: derive texts and QR codes with the police's own issuing key, hand the seeds to the service.
    Issue(issue::IssueArgs),
    /// Replace lost badges: the old print ends, a new one waits for issue.
    Reissue(changes::ChangeArgs),
    /// Suspend badges until they are reinstated; the committee does not hear of it.
    Suspend(changes::ChangeArgs),
    /// End suspensions.
    Reinstate(changes::ChangeArgs),
    /// Revoke badges for good; the committee hears of it, by number.
    Revoke(changes::ChangeArgs),
    /// List staff, their badges, and the profiles that the committee offers.
    List(ListArgs),
}

impl StaffArgs {
    /// Whether a desk may do it too.
    pub(super) const fn only_reads(&self) -> bool {
        matches!(self.command, StaffCommand::List(_))
    }

    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        use StaffCommand as C;
        use changes::Action;
        match self.command {
            C::Import(args) => args.run(context, connection).await,
            C::Issue(args) => args.run(context, connection).await,
            C::Reissue(args) => args.reissue(context, connection).await,
            C::Suspend(args) => args.change(context, connection, Action::Suspend).await,
            C::Reinstate(args) => args.change(context, connection, Action::Reinstate).await,
            C::Revoke(args) => args.change(context, connection, Action::Revoke).await,
            C::List(args) => args.run(context, connection).await,
        }
    }
}

/// `lanyard police staff list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only these members; without it, all.
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

impl ListArgs {
    async fn run(self, context: &Context, connection: &Connection) -> Result<(), CliError> {
        let mut client = connection.staff()?;
        let (mut members, mut page_token) = (Vec::new(), String::new());
        let (total, profiles) = loop {
            let request = ListStaffRequest {
                references: self.references.clone(),
                page_size: u32::try_from(self.limit - members.len()).unwrap_or(0),
                page_token,
            };
            let page = call("list staff", client.list_staff(request).await)?;
            members.extend(page.members);
            page_token = page.next_page_token;
            if page_token.is_empty() || members.len() >= self.limit {
                break (page.total, page.profiles);
            }
        };
        members.truncate(self.limit);
        let value = json!({
            "total": total, "staff": members.iter().map(member_json).collect::<Vec<_>>(),
            "profiles": profiles.iter()
                .map(|profile| json!({ "code": profile.code, "category": profile.category }))
                .collect::<Vec<_>>(),
        });
        context.show(&value, || {
            let rows = members.iter().map(|state| {
                let member = state.member.clone().unwrap_or_default();
                [
                    member.reference,
                    member.full_name,
                    member.function,
                    member.profile,
                    format!("{}-{}", state.badge_number, state.print_number),
                    print_state(state.print_state()).to_owned(),
                    status_name(state.status()).to_owned(),
                ]
            });
            let header = ["reference", "name", "function", "profile", "badge", "print", "status"];
            let codes: Vec<_> = profiles
                .iter()
                .map(|profile| format!("{} ({})", profile.code, profile.category))
                .collect();
            let offered = match codes.as_slice() {
                [] => "none yet: the committee marks them with police = true".to_owned(),
                codes => codes.join(", "),
            };
            format!(
                "{}\n{} of {total} members; profiles that the committee offers: {offered}",
                table(header, rows),
                members.len()
            )
        })?;
        if self.references.len() > members.len() {
            context.note("some references are unknown");
            return Err(CliError::Negative);
        }
        Ok(())
    }
}

/// A member for machines.
pub(crate) fn member_json(state: &MemberState) -> Value {
    let member = state.member.clone().unwrap_or_default();
    json!({
        "reference": member.reference, "full_name": member.full_name,
        "birth_date": member.birth_date, "function": member.function, "profile": member.profile,
        "documents": member.documents.len(), "badge_number": state.badge_number,
        "print_number": state.print_number, "print_state": print_state(state.print_state()),
        "status": status_name(state.status()),
    })
}

/// A member in a line.
pub(crate) fn member_line(state: &MemberState) -> String {
    let member = state.member.clone().unwrap_or_default();
    format!(
        "own staff: {} {}, {}, badge {}-{}",
        member.reference,
        member.full_name,
        status_name(state.status()),
        state.badge_number,
        state.print_number
    )
}

const fn print_state(state: PrintState) -> &'static str {
    match state {
        PrintState::Unspecified => "unknown",
        PrintState::Waiting => "waits for issue",
        PrintState::Issued => "issued, not yet with the committee",
        PrintState::HandedOver => "issued",
    }
}

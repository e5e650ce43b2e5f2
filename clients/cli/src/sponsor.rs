//! `lanyard sponsor`: the sponsor's desk.

use clap::{Args, Subcommand};
use lanyard_client::call;
use lanyard_transport::{PartyName, Role};
use lanyard_wire::sponsor::v1::{CheckCodeRequest, CodeVerdict};
use serde_json::json;

use crate::context::{Actor, Context};
use crate::error::CliError;
use crate::secrets::credential;

/// `lanyard sponsor`.
#[derive(Args)]
pub(crate) struct SponsorArgs {
    #[command(flatten)]
    actor: Actor,
    #[command(subcommand)]
    command: SponsorCommand,
}

#[derive(Subcommand)]
enum SponsorCommand {
    /// Say whether a code is good now; nothing else is learnt.
    Desk {
        /// The code, scoped to the sponsor; `-` reads it from stdin.
        code: String,
    },
}

impl SponsorArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let SponsorCommand::Desk { code } = &self.command;
        let connection = self.actor.connect(context, PartyName::Sponsor, &[Role::Desk])?;
        let request = CheckCodeRequest { code: credential(code)?.to_string() };
        let answer = call("check the code", connection.sponsor_desk()?.check_code(request).await)?;
        let verdict = match answer.verdict() {
            CodeVerdict::Valid => "valid",
            CodeVerdict::NotValid => "not valid",
            CodeVerdict::Undetermined | CodeVerdict::Unspecified => "undetermined",
        };
        let value = json!({ "verdict": verdict, "age_seconds": answer.age_seconds });
        context.show(&value, || format!("{verdict}, as of {} s ago", answer.age_seconds))?;
        if answer.verdict() == CodeVerdict::Valid { Ok(()) } else { Err(CliError::Negative) }
    }
}

//! What the police ask the committee to disclose.

use clap::{Args, Subcommand};
use lanyard_client::{Connection, call};
use lanyard_core::ids::Timestamp;
use lanyard_wire::committee::v1::{
    DecideDisclosureRequest, Disclosure, DisclosureState, ListDisclosuresRequest, Outcome,
};
use serde_json::{Value, json};

use crate::context::{Context, table, time};
use crate::error::CliError;

/// `lanyard committee disclosures`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DisclosuresArgs {
    #[command(subcommand)]
    command: Option<DisclosuresCommand>,
    /// Also those that were decided, or that the police ask no longer.
    #[arg(long)]
    all: bool,
}

#[derive(Subcommand)]
enum DisclosuresCommand {
    /// Approve a request: the identity goes to the police, sealed to their key.
    Approve(DecideArgs),
    /// Refuse a request; the police read why.
    Refuse(DecideArgs),
}

/// A decision on a request.
#[derive(Args)]
struct DecideArgs {
    /// The request's number.
    request: u64,
    /// Why; it stands in the audit trail beside your name.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl DisclosuresArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        match self.command {
            None => list(context, connection, self.all).await,
            Some(DisclosuresCommand::Approve(args)) => args.run(context, connection, true).await,
            Some(DisclosuresCommand::Refuse(args)) => args.run(context, connection, false).await,
        }
    }
}

async fn list(context: &Context, connection: &Connection, all: bool) -> Result<(), CliError> {
    let mut client = connection.disclosures()?;
    let (mut disclosures, mut after) = (Vec::new(), 0);
    loop {
        let request = ListDisclosuresRequest { all, after, limit: 0 };
        let page = call("list disclosures", client.list_disclosures(request).await)?.disclosures;
        let Some(last) = page.last() else { break };
        after = last.request_id;
        disclosures.extend(page);
    }
    let value = json!({
        "disclosures": disclosures.iter().map(disclosure_json).collect::<Vec<_>>(),
    });
    context.show(&value, || {
        let rows = disclosures.iter().map(|one| {
            [
                one.request_id.to_string(),
                one.reference.clone(),
                one.full_name.clone(),
                one.legal_basis.clone(),
                one.asked_by.clone(),
                time(Timestamp::from_millis(one.asked_millis)),
                state(one).to_owned(),
                one.decided_by.clone(),
            ]
        });
        let header = [
            "request",
            "reference",
            "name",
            "legal basis",
            "asked by",
            "asked",
            "state",
            "decided by",
        ];
        format!("{}\n{} in all", table(header, rows), disclosures.len())
    })
}

fn state(disclosure: &Disclosure) -> &'static str {
    match (disclosure.state(), disclosure.delivered) {
        (DisclosureState::Unspecified, _) => "unknown",
        (DisclosureState::Asked, _) => "asked",
        (DisclosureState::Approved, false) => "approved, on its way",
        (DisclosureState::Approved, true) => "approved, delivered",
        (DisclosureState::Refused, _) => "refused",
        (DisclosureState::Over, _) => "asked no longer",
    }
}

fn disclosure_json(disclosure: &Disclosure) -> Value {
    json!({
        "request_id": disclosure.request_id, "reference": disclosure.reference,
        "full_name": disclosure.full_name, "legal_basis": disclosure.legal_basis,
        "asked_by": disclosure.asked_by, "asked_millis": disclosure.asked_millis,
        "state": state(disclosure), "decided_by": disclosure.decided_by,
        "reason": disclosure.reason, "decided_millis": disclosure.decided_millis,
        "delivered": disclosure.delivered,
    })
}

impl DecideArgs {
    async fn run(
        self,
        context: &Context,
        connection: &Connection,
        approve: bool,
    ) -> Result<(), CliError> {
        let request =
            DecideDisclosureRequest { request_id: self.request, approve, reason: self.reason };
        let answer = connection.disclosures()?.decide_disclosure(request).await;
        let (outcome, good) = match call("decide the request", answer)?.outcome() {
            Outcome::Done => ("done", true),
            Outcome::Unchanged => ("was so already", true),
            Outcome::NotFound => ("no such request", false),
            Outcome::NotPossible => (
                "not possible: decided before, over, or the person changed and waits to be screened",
                false,
            ),
            Outcome::Unspecified => ("unknown", false),
        };
        let value = json!({ "request_id": self.request, "outcome": outcome });
        context.show(&value, || format!("request {}: {outcome}", self.request))?;
        if good { Ok(()) } else { Err(CliError::Negative) }
    }
}

//! The committee's issuing station.

use clap::Args;
use lanyard_client::{Connection, call, item};
use lanyard_wire::committee::v1::{ListPrintsRequest, Print, PrintSeeds, RegisterPrintsRequest};

use super::import::chunks;
use crate::context::Context;
use crate::error::CliError;
use crate::station::{Card, StationArgs, all_found, derive};

/// Prints in one message.
const MESSAGE: usize = 500;

/// `lanyard committee issue`.
#[derive(Args)]
pub(crate) struct IssueArgs {
    /// Only these people's badges; without it, all that wait.
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// Only people whom screening cleared.
    #[arg(long)]
    cleared_only: bool,
    /// Badges that were issued before too: the same texts again, for a damaged card or a lost file.
    #[arg(long)]
    include_issued: bool,
    #[command(flatten)]
    station: StationArgs,
}

impl IssueArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let key = self.station.open(context, connection)?;
        let cards = self.list(connection).await?;
        let (issued, seeds) = derive(context, &key, &connection.manifest().event, cards)?;
        drop(key);
        let registered = register(context, connection, seeds).await?;
        self.station.write(context, &issued, registered)
    }

    async fn list(&self, connection: &Connection) -> Result<Vec<Card>, CliError> {
        const WHAT: &str = "list what waits for issue";
        let request = ListPrintsRequest {
            references: self.references.clone(),
            cleared_only: self.cleared_only,
            include_issued: self.include_issued,
        };
        let mut stream = call(WHAT, connection.badges()?.list_prints(request).await)?;
        let mut cards = Vec::new();
        while let Some(message) = item(WHAT, stream.message().await)? {
            cards.extend(message.prints.into_iter().map(card));
        }
        let why = "it is unknown, not cleared, or issued already (then --include-issued)";
        all_found(&self.references, &cards, why)?;
        Ok(cards)
    }
}

fn card(print: Print) -> Card {
    let Print { reference, full_name, category, badge_number, print_number } = print;
    Card { reference, full_name, category, badge_number, print_number }
}

async fn register(
    context: &Context,
    connection: &Connection,
    seeds: Vec<PrintSeeds>,
) -> Result<u64, CliError> {
    if seeds.is_empty() {
        return Ok(0);
    }
    let bar = context.progress("registering seeds", Some(seeds.len() as u64));
    let messages = chunks(seeds, MESSAGE).map({
        let bar = bar.clone();
        move |prints| {
            bar.inc(prints.len() as u64);
            RegisterPrintsRequest { prints }
        }
    });
    let answer = connection.badges()?.register_prints(tokio_stream::iter(messages)).await;
    bar.finish_and_clear();
    Ok(call("register the badges", answer)?.registered)
}

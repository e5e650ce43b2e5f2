//! The police's own issuing station.

use clap::Args;
use lanyard_client::{Connection, call, item};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::staff::v1::{ListPrintsRequest, Print, PrintSeeds, RegisterPrintsRequest};

use crate::committee::import::chunks;
use crate::context::Context;
use crate::error::CliError;
use crate::station::{Card, StationArgs, all_found, derive};

/// Prints in one message.
const MESSAGE: usize = 500;

/// `lanyard police staff issue`.
#[derive(Args)]
pub(crate) struct IssueArgs {
    /// Only these members' badges; without it, all that wait.
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// Badges that were issued before too: the same texts again, for a damaged card or a lost file.
    #[arg(long)]
    include_issued: bool,
    #[command(flatten)]
    station: StationArgs,
}

impl IssueArgs {
    pub(super) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let key = self.station.open(context, connection)?;
        let cards = self.list(connection).await?;
        let (issued, seeds) = derive(context, &key, &connection.manifest().event, cards)?;
        drop(key);
        let seeds: Vec<PrintSeeds> = seeds.into_iter().map(staff_seeds).collect();
        let messages = chunks(seeds, MESSAGE).map(|prints| RegisterPrintsRequest { prints });
        let answer = connection.staff()?.register_prints(tokio_stream::iter(messages)).await;
        let registered = call("register the badges", answer)?.registered;
        self.station.write(context, &issued, registered)
    }

    async fn list(&self, connection: &Connection) -> Result<Vec<Card>, CliError> {
        const WHAT: &str = "list what waits for issue";
        let request = ListPrintsRequest {
            references: self.references.clone(),
            include_issued: self.include_issued,
        };
        let mut stream = call(WHAT, connection.staff()?.list_prints(request).await)?;
        let mut cards = Vec::new();
        while let Some(message) = item(WHAT, stream.message().await)? {
            cards.extend(message.prints.into_iter().map(card));
        }
        let why = "it is unknown, or issued already (then --include-issued)";
        all_found(&self.references, &cards, why)?;
        Ok(cards)
    }
}

/// The seeds of a print, for the police's service.
pub(crate) fn staff_seeds(seeds: committee::PrintSeeds) -> PrintSeeds {
    PrintSeeds {
        badge_number: seeds.badge_number,
        print_number: seeds.print_number,
        committee_gate: seeds.committee_gate,
        committee_police: seeds.committee_police,
        committee_sponsor: seeds.committee_sponsor,
        police_gate: seeds.police_gate,
    }
}

fn card(print: Print) -> Card {
    let Print { reference, full_name, category, badge_number, print_number } = print;
    Card { reference, full_name, category, badge_number, print_number }
}

//! `lanyard init`: an event in a directory.

use std::path::{Path, PathBuf};

use clap::Args;
use lanyard_ceremony::{EventPlan, EventTree, Member};
use serde_json::json;

use crate::context::{Context, table};
use crate::error::CliError;
use crate::event;
use crate::secrets::PassphraseArgs;

/// `lanyard init`.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// Where the event is made: one folder a party, the exchange folder, event.toml with the addresses.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The event's plan; without it, a sample event.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Let the services listen on ports of 127.0.0.1 from this one on, instead of on free ones.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

impl InitArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), CliError> {
        let plan = event::plan(&context.env, self.plan.as_deref())?;
        plan.check()?;
        let passphrase = self.passphrase.read_new(&context.env)?;
        let tree = make(context, &self.dir, &plan, self.port, &passphrase)?;
        let services: serde_json::Map<_, _> = tree
            .services
            .iter()
            .map(|(member, address)| (member.to_string(), json!(address)))
            .collect();
        let value = json!({
            "event": tree.event, "title": tree.title, "dir": self.dir, "services": services,
        });
        context.show(&value, || {
            format!(
                "{}\n{}\nEach party's folder holds its own secrets: move each to its own machine, then run its\n\
                 service there; or try all of them here with: lanyard up --dir {}",
                tree.title,
                addresses(&self.dir, &tree),
                self.dir.display()
            )
        })
    }
}

/// Makes an event with a progress bar.
pub(crate) fn make(
    context: &Context,
    dir: &Path,
    plan: &EventPlan,
    port: Option<u16>,
    passphrase: &str,
) -> Result<EventTree, CliError> {
    let addresses = match port {
        Some(port) => event::addresses_from(plan, port)?,
        None => event::free_addresses(plan)?,
    };
    let bar = context.progress("making the event", None);
    let tree =
        event::create(&context.env, dir, plan, &addresses, passphrase, |member: &Member, step| {
            bar.set_message(format!("{member}: {step}"));
            bar.inc(1);
        });
    bar.finish_and_clear();
    tree
}

/// Who listens where, as a table.
pub(crate) fn addresses(dir: &Path, tree: &EventTree) -> String {
    let rows = tree.services.iter().map(|(member, address)| {
        let folder = EventTree::folder(dir, member);
        [member.to_string(), address.to_string(), folder.display().to_string()]
    });
    table(["party", "service", "folder"], rows)
}

//! `lanyard quota`: what a share holder has counted, running or stopped.

use clap::Args;
use lanyard_client::call;
use lanyard_party::{Folder, ManifestStore};
use lanyard_shareholder::{Ledger, Limit, Purpose, Usage};
use lanyard_transport::Role;
use lanyard_wire::pseudonym::v1::GetUsageRequest;
use serde_json::json;

use crate::context::{Actor, Context, table};
use crate::error::CliError;

/// `lanyard quota`.
#[derive(Args)]
pub(crate) struct QuotaArgs {
    #[command(flatten)]
    actor: Actor,
    /// Read the signed count in the folder, and verify it, instead of asking the service.
    #[arg(long)]
    offline: bool,
}

/// One line of the answer.
struct Row {
    caller: String,
    purpose: &'static str,
    used: u64,
    quota: u64,
}

impl QuotaArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (holder, rows) = match self.offline {
            true => self.read(context)?,
            false => self.ask(context).await?,
        };
        let values: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "caller": row.caller, "purpose": row.purpose, "used": row.used,
                    "quota": row.quota, "left": row.quota.saturating_sub(row.used),
                })
            })
            .collect();
        context.show(&json!({ "holder": holder, "counters": values }), || {
            let rows = rows.iter().map(|row| {
                let left = row.quota.saturating_sub(row.used);
                let numbers = [row.used, row.quota, left].map(|number| number.to_string());
                let [used, quota, left] = numbers;
                [row.caller.clone(), row.purpose.to_owned(), used, quota, left]
            });
            let header = ["caller", "purpose", "used", "quota", "left"];
            format!("evaluations under the key share of: {holder}\n{}", table(header, rows))
        })
    }

    async fn ask(&self, context: &Context) -> Result<(String, Vec<Row>), CliError> {
        let connection = self.actor.connect_any(context, &[Role::Operator])?;
        let answer = connection.key_share()?.get_usage(GetUsageRequest {}).await;
        let usages = call("ask for the counters", answer)?.usages;
        let rows = usages.into_iter().map(|usage| Row {
            purpose: Purpose::from_wire(usage.purpose).map_or("unknown", Purpose::name),
            caller: usage.caller,
            used: usage.used,
            quota: usage.quota,
        });
        Ok((connection.party().to_string(), rows.collect()))
    }

    fn read(&self, context: &Context) -> Result<(String, Vec<Row>), CliError> {
        let folder = Folder::open(self.actor.folder()?, &context.env);
        let holder = folder.service_identity()?.peer().party().name();
        let manifest = ManifestStore::open(&folder)?.current();
        if manifest.share_holder(holder).is_none() {
            let problem = format!("{holder} holds no share of the pseudonym key");
            return Err(CliError::content(folder.path(), problem));
        }
        let evaluations = folder.evaluations_dir();
        let counts = Ledger::counts_in(&context.env, &evaluations, &manifest.event, holder)?;
        let usages = Usage::list(&Limit::of_holder(&manifest, holder), &counts);
        let rows = usages.into_iter().map(|usage| Row {
            caller: usage.caller.to_string(),
            purpose: usage.purpose.name(),
            used: usage.used,
            quota: usage.quota,
        });
        Ok((holder.to_owned(), rows.collect()))
    }
}

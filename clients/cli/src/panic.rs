//! `lanyard panic`: a new epoch at once, after saying what it costs.

use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_transport::Role;
use lanyard_wire::common::v1::{Audience, Authority};
use lanyard_wire::epoch::v1::{
    DirectoryCost, GetEpochCostRequest, GetEpochCostResponse, StartEpochRequest,
};
use serde_json::{Value, json};

use crate::context::{Context, table};
use crate::error::CliError;

/// `lanyard panic`.
#[derive(Args)]
pub(crate) struct PanicArgs {
    /// An authority's folder; give both where both are on one machine, else each authority's operator gives their own.
    #[arg(long, env = "LANYARD_FOLDER", value_name = "DIR", required = true)]
    folder: Vec<PathBuf>,
    /// Who acts: a name among the folder's operators/; needed if several people could.
    #[arg(long = "as", value_name = "NAME")]
    operator: Option<String>,
    /// Why, for the authority's audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do it. Without this, only the cost is printed.
    #[arg(long)]
    yes: bool,
}

impl PanicArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let mut authorities = Vec::new();
        for folder in &self.folder {
            let roles = [Role::Operator];
            let operator = self.operator.as_deref();
            let connection = Connection::open(&context.env, folder, &roles, operator)?;
            let cost = connection.epochs()?.get_epoch_cost(GetEpochCostRequest {}).await;
            authorities.push((connection, call("ask what a new epoch costs", cost)?));
        }
        let costs: Vec<_> = authorities.iter().map(|(_, cost)| cost).collect();
        let shown = Value::from(costs.iter().map(|cost| in_json(cost)).collect::<Vec<_>>());
        if !self.yes {
            let text =
                || format!("{}\nNothing was done: give --yes to start it.", in_words(&costs));
            return context.show(&json!({ "cost": shown, "started": [], "failed": [] }), text);
        }
        context.note(&in_words(&costs));
        let mut answers = Vec::new();
        for (connection, cost) in &authorities {
            // Whatever one says, the other is asked: either alone blinds a stolen gate.
            answers.push((name(cost.authority()), start(connection, &self.reason).await));
        }
        if answers.iter().all(|(_, answer)| answer.is_err()) {
            return answers.into_iter().try_for_each(|(_, answer)| answer.map(drop));
        }
        let (mut value, text) = outcome(&answers);
        value["cost"] = shown;
        context.show(&value, || text)?;
        match answers.iter().any(|(_, answer)| answer.is_err()) {
            true => Err(CliError::Negative),
            false => Ok(()),
        }
    }
}

async fn start(connection: &Connection, reason: &str) -> Result<u32, CliError> {
    let request = StartEpochRequest { reason: reason.to_owned() };
    let answer = connection.epochs()?.start_epoch(request).await;
    Ok(call("start a new epoch", answer)?.epoch)
}

/// Where a new epoch has begun, and where not and why; as JSON, and for people.
fn outcome(answers: &[(&'static str, Result<u32, CliError>)]) -> (Value, String) {
    let (mut started, mut failed, mut text) = (Vec::new(), Vec::new(), Vec::new());
    for (authority, answer) in answers {
        match answer {
            Ok(epoch) => {
                started.push(json!({ "authority": authority, "epoch": epoch }));
                text.push(format!(
                    "{authority}: epoch {epoch} starts with the next ticks; gates follow as they receive it"
                ));
            }
            Err(error) => {
                let problem = lanyard_party::chain(error);
                text.push(format!(
                    "{authority}: NO new epoch: {problem}\n\
                     Once that is mended, give the folder of the {authority} alone: it joins the epoch that has begun. Until \
                     then codes on phones are no good."
                ));
                failed.push(json!({ "authority": authority, "problem": problem }));
            }
        }
    }
    (json!({ "started": started, "failed": failed }), text.join("\n"))
}

const fn name(authority: Authority) -> &'static str {
    match authority {
        Authority::Committee => "committee",
        Authority::Police => "police",
        Authority::Unspecified => "unknown",
    }
}

const fn audience(audience: Audience) -> &'static str {
    match audience {
        Audience::Gate => "gate",
        Audience::Police => "police",
        Audience::Sponsor => "sponsor",
        Audience::Unspecified => "unknown",
    }
}

fn is_gate(directory: &&DirectoryCost) -> bool {
    directory.audience() == Audience::Gate
}

fn in_json(cost: &GetEpochCostResponse) -> Value {
    let directories: Vec<_> = (cost.directories.iter())
        .map(|one| {
            json!({
                "audience": audience(one.audience()), "rows": one.rows, "bytes": one.bytes,
                "verifiers": one.verifiers,
            })
        })
        .collect();
    json!({
        "authority": name(cost.authority()), "live_epoch": cost.live_epoch,
        "next_epoch": cost.next_epoch, "under_way": cost.under_way, "directories": directories,
        "sealing_millis": cost.sealing_millis, "ticks_millis": cost.ticks_millis,
    })
}

fn in_words(costs: &[&GetEpochCostResponse]) -> String {
    let mut text = Vec::new();
    let rows = costs.iter().flat_map(|cost| {
        cost.directories.iter().map(|one| {
            let epochs = format!("{} → {}", cost.live_epoch, cost.next_epoch);
            let (rows, bytes) = (one.rows.to_string(), one.bytes.to_string());
            let whom = audience(one.audience()).to_owned();
            let verifiers = one.verifiers.join(" ");
            [name(cost.authority()).to_owned(), epochs, whom, rows, bytes, verifiers]
        })
    });
    let header = ["authority", "epoch", "for", "rows", "bytes each", "keys go to"];
    text.push(table(header, rows));
    let directories = || costs.iter().flat_map(|cost| &cost.directories);
    let each_gate: u64 = directories().filter(is_gate).map(|one| one.bytes).sum();
    let gates = |one: &DirectoryCost| {
        one.verifiers.iter().filter(|id| id.starts_with("gate/")).count() as u64
    };
    let all_gates: u64 = directories().filter(is_gate).map(|one| one.bytes * gates(one)).sum();
    let mirror: u64 = directories().map(|one| one.bytes).sum();
    let count = directories().filter(is_gate).map(gates).max().unwrap_or(0);
    text.push(format!(
        "Each gate receives {each_gate} bytes, {count} gates together {all_gates}; each mirror receives {mirror}."
    ));
    for cost in costs {
        let under_way = if cost.under_way { "; one is under way already" } else { "" };
        text.push(format!(
            "{}: sealing takes about {} ms, publishing {} ms{under_way}.",
            name(cost.authority()),
            cost.sealing_millis,
            cost.ticks_millis
        ));
    }
    text.push(
        "Codes on phones and at the sponsor's desk are for the plan's epochs: they must be derived anew. \
         Who is not among the verifiers receives no key; expel a gate from the manifest first."
            .to_owned(),
    );
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_is_said_beside_what_has_not() {
        let refused = Err(CliError::option("police", "the store is full"));
        let (value, text) = outcome(&[("committee", Ok(8)), ("police", refused)]);
        assert_eq!(value["started"], json!([{ "authority": "committee", "epoch": 8 }]));
        assert_eq!(value["failed"][0]["authority"], "police");
        assert!(text.contains("committee: epoch 8 starts"), "{text}");
        assert!(text.contains("police: NO new epoch: police: the store is full"), "{text}");
    }

    #[test]
    fn the_cost_names_rows_bytes_and_who_gets_keys() {
        let directory = |audience: Audience, rows, verifiers: &[&str]| DirectoryCost {
            audience: audience.into(),
            rows,
            bytes: rows * 68,
            verifiers: verifiers.iter().map(|&id| id.to_owned()).collect(),
        };
        let cost = GetEpochCostResponse {
            authority: Authority::Committee.into(),
            live_epoch: 7,
            next_epoch: 8,
            directories: vec![
                directory(Audience::Gate, 100, &["gate/gate-1", "gate/gate-2", "police/police"]),
                directory(Audience::Sponsor, 10, &["sponsor/sponsor"]),
            ],
            sealing_millis: 12,
            ticks_millis: 4_000,
            under_way: false,
        };
        let text = in_words(&[&cost]);
        assert!(text.contains("7 → 8"), "{text}");
        let line =
            "Each gate receives 6800 bytes, 2 gates together 13600; each mirror receives 7480.";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("sealing takes about 12 ms, publishing 4000 ms."), "{text}");
    }
}

//! What a gate knows, and how old it is.

use lanyard_client::{Connection, call};
use lanyard_core::ids::Timestamp;
use lanyard_wire::common::v1::Authority;
use lanyard_wire::gate::v1::{AuthorityState, GetSyncStateRequest};
use serde_json::{Value, json};

use crate::context::{Context, table, time};
use crate::error::CliError;

pub(super) async fn run(context: &Context, connection: &Connection) -> Result<(), CliError> {
    let answer = connection.gate()?.get_sync_state(GetSyncStateRequest {}).await;
    let state = call("ask the gate what it knows", answer)?;
    let value = json!({
        "manifest_version": state.manifest_version, "receipts": state.receipts,
        "access_points": state.access_points, "clock": state.clock,
        "authorities": state.authorities.iter().map(authority_json).collect::<Vec<_>>(),
    });
    context.show(&value, || {
        let rows = state.authorities.iter().map(|authority| {
            [
                name(authority).to_owned(),
                authority.signed_size.to_string(),
                authority.quorum_size.to_string(),
                age(authority.age_millis),
                authority.epoch.to_string(),
                authority.records.to_string(),
                if authority.key_present { "here" } else { "MISSING" }.to_owned(),
                authority.upstream.clone(),
                authority.problem.clone(),
            ]
        });
        let header = [
            "authority",
            "signed",
            "quorum",
            "age",
            "epoch",
            "records",
            "key",
            "upstream",
            "problem",
        ];
        let mut text = format!(
            "manifest version {}, {} receipts, serves {}\n{}",
            state.manifest_version,
            state.receipts,
            state.access_points.join(", "),
            table(header, rows)
        );
        if !state.clock.is_empty() {
            text.push_str(&format!("\n{}", state.clock));
        }
        let evidence: Vec<[String; 5]> = state.authorities.iter().flat_map(evidence_rows).collect();
        if !evidence.is_empty() {
            let header = ["time", "evidence of", "from", "shows", "file"];
            text.push_str(&format!("\n{}", table(header, evidence)));
        }
        text
    })
}

fn name(authority: &AuthorityState) -> &'static str {
    match authority.authority() {
        Authority::Committee => "committee",
        Authority::Police => "police",
        Authority::Unspecified => "unknown",
    }
}

fn age(millis: Option<u64>) -> String {
    match millis {
        None => "nothing yet".to_owned(),
        Some(millis) => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
    }
}

fn evidence_rows(authority: &AuthorityState) -> Vec<[String; 5]> {
    let rows = authority.evidence.iter().map(|evidence| {
        [
            time(Timestamp::from_millis(evidence.time_millis)),
            evidence.kind.clone(),
            evidence.upstream.clone(),
            evidence.detail.clone(),
            evidence.file.clone(),
        ]
    });
    rows.collect()
}

fn authority_json(authority: &AuthorityState) -> Value {
    let evidence: Vec<Value> = authority
        .evidence
        .iter()
        .map(|evidence| {
            json!({
                "time_millis": evidence.time_millis, "kind": evidence.kind,
                "upstream": evidence.upstream, "detail": evidence.detail, "file": evidence.file,
            })
        })
        .collect();
    json!({
        "authority": name(authority), "signed_size": authority.signed_size,
        "quorum_size": authority.quorum_size, "age_millis": authority.age_millis,
        "epoch": authority.epoch, "records": authority.records,
        "key_present": authority.key_present, "upstream": authority.upstream,
        "problem": authority.problem, "evidence": evidence,
    })
}

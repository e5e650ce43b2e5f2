//! What a gate knows, and how old it is.

use lanyard_client::{Connection, call};
use lanyard_core::ids::Timestamp;
use lanyard_wire::common::v1::Authority;
use lanyard_wire::gate::v1::{AuthorityState, GetSyncStateRequest, Standing, Upstream};
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
        let upstreams: Vec<[String; 6]> =
            state.authorities.iter().flat_map(upstream_rows).collect();
        if !upstreams.is_empty() {
            let header = ["authority", "upstream", "is", "times left", "last", "because"];
            text.push_str(&format!("\n{}", table(header, upstreams)));
        }
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

fn upstream_rows(authority: &AuthorityState) -> Vec<[String; 6]> {
    let rows = authority.upstreams.iter().map(|upstream| {
        let left_at = match upstream.left_at_millis {
            0 => String::new(),
            millis => time(Timestamp::from_millis(millis)),
        };
        [
            name(authority).to_owned(),
            upstream.name.clone(),
            standing(upstream).to_owned(),
            upstream.times_left.to_string(),
            left_at,
            upstream.problem.clone(),
        ]
    });
    rows.collect()
}

fn standing(upstream: &Upstream) -> &'static str {
    match upstream.standing() {
        Standing::Waiting => "waiting",
        Standing::Asked => "asked",
        Standing::InUse => "in use",
        Standing::OnTrial => "on trial",
        Standing::Left => "left",
        Standing::Unspecified => "unknown",
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
    let upstreams: Vec<Value> = authority
        .upstreams
        .iter()
        .map(|upstream| {
            json!({
                "name": upstream.name, "standing": standing(upstream),
                "times_left": upstream.times_left, "left_at_millis": upstream.left_at_millis,
                "problem": upstream.problem,
            })
        })
        .collect();
    json!({
        "authority": name(authority), "signed_size": authority.signed_size,
        "quorum_size": authority.quorum_size, "age_millis": authority.age_millis,
        "epoch": authority.epoch, "records": authority.records,
        "key_present": authority.key_present, "upstream": authority.upstream,
        "problem": authority.problem, "evidence": evidence,
        "upstreams": upstreams,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_upstream_is_shown_with_what_was_wrong_with_it() {
        let upstream = |name: &str, standing: Standing| Upstream {
            name: name.to_owned(),
            standing: standing.into(),
            ..Upstream::default()
        };
        let left = Upstream {
            problem: "nothing came for 10000 ms".to_owned(),
            left_at_millis: 1_847_000_000_000,
            times_left: 3,
            ..upstream("sponsor", Standing::Left)
        };
        let state = AuthorityState {
            authority: Authority::Police.into(),
            upstreams: vec![left, upstream("gate-2", Standing::InUse)],
            ..AuthorityState::default()
        };
        let [sponsor, gate] = upstream_rows(&state).try_into().unwrap();
        assert_eq!(sponsor[..4], ["police", "sponsor", "left", "3"].map(str::to_owned));
        assert!(!sponsor[4].is_empty() && sponsor[5] == "nothing came for 10000 ms");
        assert_eq!(gate[1..], ["gate-2", "in use", "0", "", ""].map(str::to_owned));
        let json = authority_json(&state);
        assert_eq!(json["upstreams"][0]["times_left"], 3);
        assert_eq!(json["upstreams"][1]["standing"], "in use");
    }
}

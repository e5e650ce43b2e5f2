//! Every RPC, called on the wire at every service: without a certificate, as every party in every role, and under
//! certificates that the wrong authority signed.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lanyard_tests::{
    Authorities, Caller, Connection, HOSTS, Refused, Reply, Rpc, TestEvent, framed, hosts, rpcs,
    run_together,
};
use lanyard_transport::policy::{ADD_CHECKPOINT, Kind, RULES, Rule};
use lanyard_transport::{PartyName, PeerId, Role};
use rustls::AlertDescription;
use tonic::Code;

/// Calls at once on one connection.
const TOGETHER: usize = 16;

/// The services, by the member that runs each.
const SERVICES: [(&str, PartyName); 5] = [
    ("committee", PartyName::Committee),
    ("police", PartyName::Police),
    ("sponsor", PartyName::Sponsor),
    ("trustee", PartyName::Trustee),
    ("gate-1", PartyName::Gate),
];

fn rule(path: &str) -> &'static Rule {
    let rule = RULES.iter().find(|rule| rule.rpc == path);
    rule.unwrap_or_else(|| panic!("{path}: policy has no row for it; say who may call it"))
}

#[test]
fn every_rpc_is_denied_to_all_but_those_whom_policy_names() {
    let event = TestEvent::started();
    let authorities = Authorities::of(&event);
    run_together(async {
        for (member, party) in SERVICES {
            let address = event.address(member);
            let refused = Caller::anonymous().connect(address).await.err();
            assert_eq!(
                refused,
                Some(Refused::Alert(AlertDescription::CertificateRequired)),
                "{member}"
            );
            for peer in Authorities::everyone() {
                let caller = Caller::with(&authorities.certify(&peer));
                let connected = caller.connect(address).await;
                let connection = connected.unwrap_or_else(|refused| {
                    panic!("{member} refuses the certificate of {peer}: {refused:?}")
                });
                try_every_rpc(&connection, member, party, &peer).await;
                try_the_witness(&connection, member, party, &peer).await;
            }
        }
    });
}

/// Calls everything with an empty message.
async fn try_every_rpc(connection: &Connection, member: &str, party: PartyName, peer: &PeerId) {
    let rpcs = Arc::new(rpcs());
    for some in rpcs.chunks(TOGETHER) {
        let calls = some.iter().map(|rpc| {
            let connection = connection.clone();
            async move { (rpc, connection.call(&rpc.path, framed(&[])).await) }
        });
        for (rpc, reply) in futures::future::join_all(calls).await {
            let reply = reply.unwrap_or_else(|error| panic!("{peer} at {member}: {error}"));
            judge(rpc, &reply, member, party, peer);
        }
    }
}

fn judge(rpc: &Rpc, reply: &Reply, member: &str, party: PartyName, peer: &PeerId) {
    let what = format!("{peer} calls {} at {member}: {reply:?}", rpc.path);
    if !rule(&rpc.path).allows(peer, party) {
        assert_eq!(reply.code, Some(Code::PermissionDenied), "{what}");
        assert!(reply.body.is_empty(), "{what}");
    } else if hosts(rpc).contains(&party) {
        assert!(!reply.is_denied() && reply.code != Some(Code::Unimplemented), "{what}");
        // A call that is taken is answered: by a message, a domain error, or a stream that goes on.
        assert!(reply.code.is_some() || rpc.server_streaming, "{what}");
    } else {
        assert_eq!(reply.code, Some(Code::Unimplemented), "{what}");
    }
}

/// The one request that is no gRPC.
async fn try_the_witness(connection: &Connection, member: &str, party: PartyName, peer: &PeerId) {
    let reply = connection.post(ADD_CHECKPOINT, "text/plain", Vec::new().into()).await;
    let reply = reply.unwrap_or_else(|error| panic!("{peer} at {member}: {error}"));
    let what = format!("{peer} asks the witness at {member}: {reply:?}");
    if !rule(ADD_CHECKPOINT).allows(peer, party) {
        assert_eq!(reply.http, 403, "{what}");
    } else if party == PartyName::Gate {
        assert_eq!(reply.code, Some(Code::Unimplemented), "gates do not witness: {what}");
    } else {
        assert_eq!(reply.http, 400, "nothing is no checkpoint: {what}");
    }
}

#[test]
fn a_certificate_of_the_wrong_authority_is_refused_whomever_it_names() {
    let event = TestEvent::started();
    let authorities = Authorities::of(&event);
    run_together(async {
        for peer in Authorities::everyone() {
            let others = PartyName::ALL.iter().filter(|party| **party != peer.party());
            let by_others = others.map(|other| authorities.certify_by_other(*other, &peer));
            let by_stranger = [authorities.certify_by_stranger(&peer)];
            let callers: Vec<_> =
                by_others.chain(by_stranger).map(|certified| Caller::with(&certified)).collect();
            let event = &event;
            let attempts = callers.iter().flat_map(|caller| {
                SERVICES.iter().map(move |(member, _)| {
                    let address = event.address(member);
                    async move { (member, caller.connect(address).await.err()) }
                })
            });
            for (member, refused) in futures::future::join_all(attempts).await {
                let known = matches!(
                    refused,
                    Some(Refused::Alert(
                        AlertDescription::UnknownCA | AlertDescription::DecryptError
                    ))
                );
                assert!(known, "{member} meets a false {peer}: {refused:?}");
            }
        }
        // The services are well: whoever has the right certificate gets in.
        let gate = PeerId::new(PartyName::Gate, Role::Service, "gate-1").unwrap();
        let caller = Caller::with(&authorities.certify(&gate));
        for (member, _) in SERVICES {
            assert!(caller.connect(event.address(member)).await.is_ok(), "{member}");
        }
    });
}

#[test]
fn every_rpc_has_a_host_and_a_row_and_no_row_is_left_over() {
    let rpcs = rpcs();
    assert!(rpcs.len() > 30);
    for rpc in &rpcs {
        assert!(!hosts(rpc).is_empty(), "{}", rpc.path);
        rule(&rpc.path);
    }
    let services: BTreeSet<_> = rpcs.iter().map(|rpc| rpc.service.as_str()).collect();
    assert_eq!(services, HOSTS.iter().map(|(service, _)| *service).collect());
    let known: BTreeSet<_> = rpcs.iter().map(|rpc| rpc.path.as_str()).collect();
    let ruled = RULES.iter().filter(|rule| rule.kind != Kind::Http).map(|rule| rule.rpc);
    assert_eq!(known, ruled.collect());
}

#[test]
fn the_protos_say_who_may_call_as_policy_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/lanyard");
    let mut said = BTreeSet::new();
    for package in std::fs::read_dir(&folder).unwrap() {
        let package = package.unwrap().file_name().into_string().unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{package}/v1/{package}.proto")));
        said.extend(comments(&text.unwrap()));
    }
    for rpc in rpcs() {
        let rule = rule(&rpc.path);
        let (_, callers) = said.iter().find(|(path, _)| *path == rpc.path).unwrap();
        let all = Authorities::everyone();
        let allowed: BTreeSet<_> = all
            .iter()
            .filter(|peer| hosts(&rpc).iter().any(|host| rule.allows(peer, *host)))
            .map(|peer| format!("{} of {}", peer.role(), peer.party()))
            .collect();
        assert_eq!(meant(callers, hosts(&rpc)), allowed, "{}: {callers}", rpc.path);
        assert_eq!(callers.contains("own party"), rule.own_party_only, "{}", rpc.path);
    }
}

/// Each RPC of a proto with what its comment says after `May call:`.
fn comments(text: &str) -> Vec<(String, String)> {
    let (mut package, mut service, mut callers) = ("", "", None);
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let word = |prefix: &str, end: char| Some(line.strip_prefix(prefix)?.split_once(end)?.0);
        if let Some(name) = word("package ", ';') {
            package = name;
        } else if let Some(name) = word("service ", ' ') {
            service = name;
        } else if let Some(said) = line.strip_prefix("// May call: ") {
            callers = Some(said.to_owned());
        } else if let Some(name) = word("rpc ", '(') {
            let said = callers.take().unwrap_or_else(|| panic!("{name}: say who may call it"));
            found.push((format!("/{package}.{service}/{name}"), said));
        }
    }
    found
}

/// `scanners and supervisors of the gate; the service of any party` in roles and parties.
fn meant(said: &str, hosts: &[PartyName]) -> BTreeSet<String> {
    let mut meant = BTreeSet::new();
    for clause in said.trim_end_matches('.').split("; ") {
        let (roles, parties) = match clause.split_once(" of ") {
            Some(parts) => parts,
            // `the committee's service`.
            None => {
                let (party, role) = clause.split_once("'s ").expect("roles of parties");
                (role, party)
            }
        };
        let roles = Role::ALL.iter().filter(|role| roles.contains(role.name()));
        let any = parties.contains("any party");
        let own = parties.contains("own party");
        for role in roles {
            let parties = PartyName::ALL.iter().filter(|party| {
                any || parties.contains(party.name()) || own && hosts.contains(party)
            });
            meant.extend(parties.map(|party| format!("{role} of {party}")));
        }
    }
    meant
}

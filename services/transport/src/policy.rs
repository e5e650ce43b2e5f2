//! Who may call what: one table for the whole system, deny by default.

use std::collections::HashMap;
use std::sync::LazyLock;

use thiserror::Error;

use crate::peer::{PartyName, PeerId, Role};

/// Who may call: everyone of a role within a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The party.
    pub party: PartyName,
    /// The role.
    pub role: Role,
}

impl Caller {
    const fn new(party: PartyName, role: Role) -> Self {
        Self { party, role }
    }
}

/// How a call runs, which decides on its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One gRPC request, one response: limited in time.
    Unary,
    /// A gRPC call that streams either way: as long as it takes.
    Stream,
    /// A plain HTTP request, limited in time.
    Http,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `/package.Service/Method`, or the path of a plain HTTP request.
    pub rpc: &'static str,
    /// How it runs.
    pub kind: Kind,
    /// Who may call it.
    pub callers: &'static [Caller],
    /// Whether, of these, only the server's own party may.
    pub own_party_only: bool,
}

impl Rule {
    /// Whether `peer` may call this at a service of `own_party`.
    #[must_use]
    pub fn allows(&self, peer: &PeerId, own_party: PartyName) -> bool {
        self.callers.contains(&Caller::new(peer.party(), peer.role()))
            && (!self.own_party_only || peer.party() == own_party)
    }
}

/// Why a call is denied.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// Nobody may call it: there is no such call.
    #[error("{path} may not be called by anyone")]
    NoRule {
        /// What was called.
        path: String,
    },
    /// Others may call it.
    #[error("{peer} may not call {}", rule.rpc)]
    Caller {
        /// Who called.
        peer: PeerId,
        /// The row of what was called.
        rule: &'static Rule,
    },
}

impl Denied {
    /// The row of what was called, if there is one.
    pub(crate) const fn rule(&self) -> Option<&'static Rule> {
        match self {
            Self::NoRule { .. } => None,
            Self::Caller { rule, .. } => Some(rule),
        }
    }
}

/// A table, indexed by path.
pub(crate) struct Policy(HashMap<&'static str, &'static Rule>);

impl Policy {
    pub(crate) fn new(rules: &'static [Rule]) -> Self {
        Self(rules.iter().map(|rule| (rule.rpc, rule)).collect())
    }

    pub(crate) fn check(
        &self,
        path: &str,
        peer: &PeerId,
        own_party: PartyName,
    ) -> Result<&'static Rule, Denied> {
        match self.0.get(path) {
            None => Err(Denied::NoRule { path: path.chars().take(128).collect() }),
            Some(rule) if rule.allows(peer, own_party) => Ok(rule),
            Some(rule) => Err(Denied::Caller { peer: peer.clone(), rule }),
        }
    }
}

/// The table in force.
pub(crate) static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(RULES));

/// Path of the C2SP tlog-witness request (`<prefix>/add-checkpoint`) on a party's own port. A foreign log reaches a
/// witness on a listener of its own, without certificates, if that is configured.
pub const ADD_CHECKPOINT: &str = "/witness/add-checkpoint";

const COMMITTEE: Caller = Caller::new(PartyName::Committee, Role::Service);
const COMMITTEE_OPERATOR: Caller = Caller::new(PartyName::Committee, Role::Operator);
const COMMITTEE_DESK: Caller = Caller::new(PartyName::Committee, Role::Desk);
const POLICE: Caller = Caller::new(PartyName::Police, Role::Service);
const POLICE_OPERATOR: Caller = Caller::new(PartyName::Police, Role::Operator);
const POLICE_DESK: Caller = Caller::new(PartyName::Police, Role::Desk);
const SPONSOR: Caller = Caller::new(PartyName::Sponsor, Role::Service);
const SPONSOR_OPERATOR: Caller = Caller::new(PartyName::Sponsor, Role::Operator);
const SPONSOR_DESK: Caller = Caller::new(PartyName::Sponsor, Role::Desk);
const TRUSTEE: Caller = Caller::new(PartyName::Trustee, Role::Service);
const TRUSTEE_OPERATOR: Caller = Caller::new(PartyName::Trustee, Role::Operator);
const GATE: Caller = Caller::new(PartyName::Gate, Role::Service);
const GATE_OPERATOR: Caller = Caller::new(PartyName::Gate, Role::Operator);
const GATE_SCANNER: Caller = Caller::new(PartyName::Gate, Role::Scanner);
const GATE_SUPERVISOR: Caller = Caller::new(PartyName::Gate, Role::Supervisor);

const fn unary(rpc: &'static str, callers: &'static [Caller]) -> Rule {
    Rule { rpc, kind: Kind::Unary, callers, own_party_only: false }
}

const fn stream(rpc: &'static str, callers: &'static [Caller]) -> Rule {
    Rule { rpc, kind: Kind::Stream, callers, own_party_only: false }
}

/// Who may call what, at whichever service offers it.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    // Between parties.
    Rule { rpc: ADD_CHECKPOINT, kind: Kind::Http, callers: &[COMMITTEE, POLICE], own_party_only: false },
    stream("/lanyard.feed.v1.FeedService/Follow", &[COMMITTEE, POLICE, SPONSOR, GATE]),
    unary("/lanyard.feed.v1.FeedService/Lookup", &[
        COMMITTEE, POLICE, SPONSOR, TRUSTEE, GATE,
        COMMITTEE_OPERATOR, POLICE_OPERATOR, SPONSOR_OPERATOR, GATE_OPERATOR,
        COMMITTEE_DESK, POLICE_DESK, SPONSOR_DESK,
    ]),
    unary("/lanyard.pseudonym.v1.KeyShareService/Evaluate", &[COMMITTEE, POLICE]),
    Rule {
        own_party_only: true,
        ..unary(
            "/lanyard.pseudonym.v1.KeyShareService/GetUsage",
            &[COMMITTEE_OPERATOR, POLICE_OPERATOR, TRUSTEE_OPERATOR],
        )
    },
    stream("/lanyard.screening.v1.ScreeningService/SubmitSubjects", &[COMMITTEE]),
    stream("/lanyard.screening.v1.ScreeningService/RegisterPrints", &[COMMITTEE]),
    unary("/lanyard.screening.v1.ScreeningService/WithdrawSubjects", &[COMMITTEE]),
    unary("/lanyard.screening.v1.ScreeningService/ListVerdicts", &[COMMITTEE]),
    unary("/lanyard.screening.v1.ScreeningService/ListDisclosureRequests", &[COMMITTEE]),
    unary("/lanyard.screening.v1.ScreeningService/AnswerDisclosures", &[COMMITTEE]),
    unary("/lanyard.staff.v1.HandoverService/OfferProfiles", &[COMMITTEE]),
    unary("/lanyard.staff.v1.HandoverService/TakePrints", &[COMMITTEE]),
    Rule {
        own_party_only: true,
        ..unary("/lanyard.epoch.v1.EpochService/GetEpochCost", &[COMMITTEE_OPERATOR, POLICE_OPERATOR])
    },
    Rule {
        own_party_only: true,
        ..unary("/lanyard.epoch.v1.EpochService/StartEpoch", &[COMMITTEE_OPERATOR, POLICE_OPERATOR])
    },
    // The committee's people.
    stream("/lanyard.committee.v1.EnrolmentService/ImportPeople", &[COMMITTEE_OPERATOR]),
    stream("/lanyard.committee.v1.EnrolmentService/Screen", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.EnrolmentService/ListPeople", &[COMMITTEE_OPERATOR, COMMITTEE_DESK]),
    unary("/lanyard.committee.v1.EnrolmentService/PutProfiles", &[COMMITTEE_OPERATOR]),
    stream("/lanyard.committee.v1.BadgeService/ListPrints", &[COMMITTEE_OPERATOR]),
    stream("/lanyard.committee.v1.BadgeService/RegisterPrints", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.BadgeService/ReissueBadges", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.BadgeService/ChangeStatus", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.BadgeService/ListPoliceBadges", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.BadgeService/UndoChange", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.BadgeService/ListAudit", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.BadgeService/GetPublication", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.DisclosureService/ListDisclosures", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.DisclosureService/DecideDisclosure", &[COMMITTEE_OPERATOR]),
    unary("/lanyard.committee.v1.DeskService/CheckBadge", &[COMMITTEE_DESK, COMMITTEE_OPERATOR]),
    // The police's people.
    stream("/lanyard.police.v1.WatchlistService/ImportWatchlist", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.WatchlistService/ListWatchlists", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.SubjectService/ListSubjects", &[POLICE_OPERATOR, POLICE_DESK]),
    unary("/lanyard.police.v1.SubjectService/ChangeStatus", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.SubjectService/UndoChange", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.SubjectService/ListAudit", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.SubjectService/GetPublication", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/ListCases", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/GetCase", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/RequestDisclosure", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/OpenIdentity", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/DecideCase", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/DrawSample", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.CaseService/ListSamples", &[POLICE_OPERATOR]),
    unary("/lanyard.police.v1.DeskService/CheckBadge", &[POLICE_DESK, POLICE_OPERATOR]),
    unary("/lanyard.police.v1.DeskService/CheckDocument", &[POLICE_DESK, POLICE_OPERATOR]),
    stream("/lanyard.staff.v1.StaffService/ImportStaff", &[POLICE_OPERATOR]),
    unary("/lanyard.staff.v1.StaffService/ListStaff", &[POLICE_OPERATOR, POLICE_DESK]),
    stream("/lanyard.staff.v1.StaffService/ListPrints", &[POLICE_OPERATOR]),
    stream("/lanyard.staff.v1.StaffService/RegisterPrints", &[POLICE_OPERATOR]),
    unary("/lanyard.staff.v1.StaffService/ReissueBadges", &[POLICE_OPERATOR]),
    unary("/lanyard.staff.v1.StaffService/ChangeStatus", &[POLICE_OPERATOR]),
    // The sponsor's people.
    unary("/lanyard.sponsor.v1.DeskService/CheckCode", &[SPONSOR_DESK]),
    // The gate's people.
    unary("/lanyard.gate.v1.GateService/Check", &[GATE_SCANNER, GATE_SUPERVISOR]),
    stream("/lanyard.gate.v1.GateService/CheckStream", &[GATE_SCANNER, GATE_SUPERVISOR]),
    unary("/lanyard.gate.v1.GateService/Override", &[GATE_SUPERVISOR]),
    unary("/lanyard.gate.v1.GateService/GetSyncState", &[GATE_SCANNER, GATE_SUPERVISOR, GATE_OPERATOR]),
    stream("/lanyard.gate.v1.GateService/ExportReceipts", &[GATE_OPERATOR]),
    unary("/lanyard.gate.v1.GateService/ExportAttestations", &[GATE_SUPERVISOR, GATE_OPERATOR]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Every RPC in the protos, and whether it streams.
    fn rpcs() -> BTreeMap<String, Kind> {
        let files = FileDescriptorSet::decode(lanyard_wire::FILE_DESCRIPTOR_SET).unwrap().file;
        let mut rpcs = BTreeMap::new();
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let streams = method.client_streaming() || method.server_streaming();
                    rpcs.insert(path, if streams { Kind::Stream } else { Kind::Unary });
                }
            }
        }
        rpcs
    }

    #[test]
    fn every_rpc_has_one_rule_and_every_rule_its_rpc() {
        let rpcs = rpcs();
        assert!(rpcs.len() > 30);
        let mut ruled = BTreeMap::new();
        for rule in RULES.iter().filter(|rule| rule.kind != Kind::Http) {
            assert!(!rule.callers.is_empty(), "{}", rule.rpc);
            assert!(ruled.insert(rule.rpc.to_owned(), rule.kind).is_none(), "twice: {}", rule.rpc);
        }
        assert_eq!(ruled, rpcs);
    }

    #[test]
    fn a_rule_for_the_own_party_keeps_the_others_out() {
        let police: PeerId = "spiffe://police/operator/anna".parse().unwrap();
        let rpc = "/lanyard.pseudonym.v1.KeyShareService/GetUsage";
        assert!(POLICY.check(rpc, &police, PartyName::Police).is_ok());
        assert!(POLICY.check(rpc, &police, PartyName::Committee).is_err());
    }

    #[test]
    fn what_has_no_rule_is_denied() {
        let police: PeerId = "spiffe://police/service/main".parse().unwrap();
        let denied = POLICY.check("/lanyard.feed.v1.FeedService/", &police, PartyName::Police);
        assert!(matches!(denied, Err(Denied::NoRule { .. })));
    }
}

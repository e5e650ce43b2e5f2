//! Cases: what waits for an officer, disclosure of one identity, decisions, and the random sample.

use clap::{Args, Subcommand, ValueEnum};
use lanyard_client::{Connection, call};
use lanyard_core::ids::Timestamp;
use lanyard_wire::police::v1::{
    Case, CaseState, DecideCaseRequest, Disclosure, DisclosureState, DrawSampleRequest,
    GetCaseRequest, Identity, ListCasesRequest, ListSamplesRequest, OpenIdentityRequest, Outcome,
    RequestDisclosureRequest,
};
use lanyard_wire::screening::v1::Verdict;
use serde_json::{Value, json};

use super::subjects::{SubjectId, match_json, matches, outcome, subject_json, verdict};
use crate::committee::views::{audit_json, audit_table};
use crate::context::{Context, facts, table, time};
use crate::error::CliError;

/// `lanyard police cases`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CasesArgs {
    #[command(subcommand)]
    command: Option<CasesCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Subcommand)]
enum CasesCommand {
    /// Show one case and all that was done to it.
    Show(ShowArgs),
    /// Ask the committee who it is.
    Disclose(DiscloseArgs),
    /// Clear or refuse, or leave pending; with four eyes, a second officer decides the same.
    Decide(DecideArgs),
}

impl CasesArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        match self.command {
            None => self.list.run(context, connection).await,
            Some(CasesCommand::Show(args)) => args.run(context, connection).await,
            Some(CasesCommand::Disclose(args)) => args.run(context, connection).await,
            Some(CasesCommand::Decide(args)) => args.run(context, connection).await,
        }
    }
}

/// The list of cases.
#[derive(Args)]
struct ListArgs {
    /// Only those that wait for an officer or the committee.
    #[arg(long)]
    undecided: bool,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

impl ListArgs {
    async fn run(self, context: &Context, connection: &Connection) -> Result<(), CliError> {
        let mut client = connection.cases()?;
        let (mut cases, mut token) = (Vec::new(), String::new());
        loop {
            let request = ListCasesRequest {
                undecided_only: self.undecided,
                page_size: u32::try_from(self.limit - cases.len()).unwrap_or(0),
                page_token: token,
            };
            let page = call("list cases", client.list_cases(request).await)?;
            cases.extend(page.cases);
            token = page.next_page_token;
            if token.is_empty() || cases.len() >= self.limit {
                break;
            }
        }
        cases.truncate(self.limit);
        let value = json!({ "cases": cases.iter().map(case_json).collect::<Vec<_>>() });
        context.show(&value, || {
            let rows = cases.iter().map(|case| {
                let subject = case.subject.clone().unwrap_or_default();
                [
                    hex::encode(&subject.subject_id),
                    state(case),
                    verdict(subject.verdict()).to_owned(),
                    matches(&subject.matches),
                    latest(case),
                ]
            });
            let header = ["subject", "state", "verdict", "matches", "last"];
            format!("{}\n{} in all", table(header, rows), cases.len())
        })
    }
}

/// Who did what last, as far as it stands in the case itself.
fn latest(case: &Case) -> String {
    if let Some(proposal) = &case.proposal {
        let verdict = verdict(proposal.verdict());
        return format!("{verdict} by {}: {}", proposal.proposed_by, proposal.reason);
    }
    let reason = case.subject.as_ref().map(|subject| subject.reason.clone()).unwrap_or_default();
    match &case.disclosure {
        Some(disclosure) if case.state() != CaseState::Decided => {
            let answered = match disclosure.answered_by.as_str() {
                "" => String::new(),
                by => format!(", answered by {by}"),
            };
            format!("asked by {}{answered}; {reason}", disclosure.asked_by)
        }
        _ => reason,
    }
}

/// Where it stands; a mismatch shows whatever else has happened.
fn state(case: &Case) -> String {
    match case.state() {
        CaseState::Mismatch => state_name(CaseState::Mismatch).to_owned(),
        state if case.mismatch => format!("MISMATCH, {}", state_name(state)),
        state => state_name(state).to_owned(),
    }
}

const fn state_name(state: CaseState) -> &'static str {
    match state {
        CaseState::Unspecified => "unknown",
        CaseState::Open => "open",
        CaseState::Asked => "disclosure asked",
        CaseState::RefusedByCommittee => "refused by the committee",
        CaseState::Disclosed => "disclosed",
        CaseState::Mismatch => "MISMATCH",
        CaseState::SecondOfficer => "waits for a second officer",
        CaseState::Decided => "decided",
    }
}

const fn disclosure_state(state: DisclosureState) -> &'static str {
    match state {
        DisclosureState::Unspecified => "unknown",
        DisclosureState::Asked => "asked",
        DisclosureState::Refused => "refused",
        DisclosureState::Holds => "holds",
        DisclosureState::Mismatch => "MISMATCH",
        DisclosureState::Over => "over",
    }
}

fn case_json(case: &Case) -> Value {
    json!({
        "subject": case.subject.as_ref().map(subject_json), "state": state_name(case.state()),
        "mismatch": case.mismatch,
        "seen": case.seen.iter().map(match_json).collect::<Vec<_>>(),
        "disclosure": case.disclosure.as_ref().map(disclosure_json),
        "proposal": case.proposal.as_ref().map(|proposal| json!({
            "verdict": verdict(proposal.verdict()), "reason": proposal.reason,
            "proposed_by": proposal.proposed_by, "proposed_millis": proposal.proposed_millis,
        })),
    })
}

fn disclosure_json(disclosure: &Disclosure) -> Value {
    json!({
        "request_id": disclosure.request_id, "subject_id": hex::encode(&disclosure.subject_id),
        "legal_basis": disclosure.legal_basis, "asked_by": disclosure.asked_by,
        "asked_millis": disclosure.asked_millis, "state": disclosure_state(disclosure.state()),
        "answered_by": disclosure.answered_by, "answered_millis": disclosure.answered_millis,
        "refusal": disclosure.refusal, "identity_kept": disclosure.identity_kept,
    })
}

/// `lanyard police cases show`.
#[derive(Args)]
struct ShowArgs {
    /// Whose case.
    subject: SubjectId,
    /// Open the identity that the committee disclosed, too; that you looked stands in the audit trail.
    #[arg(long)]
    identity: bool,
}

impl ShowArgs {
    async fn run(self, context: &Context, connection: &Connection) -> Result<(), CliError> {
        let mut client = connection.cases()?;
        let subject_id = self.subject.bytes();
        // Opened first, so that it stands in the trail that is shown.
        let identity = if self.identity {
            let request = OpenIdentityRequest { subject_id: subject_id.clone() };
            call("open the identity", client.open_identity(request).await)?.identity
        } else {
            None
        };
        let request = GetCaseRequest { subject_id };
        let answer = call("look at the case", client.get_case(request).await)?;
        let Some(case) = answer.case else {
            context.show(&json!({ "known": false }), || "no such subject".to_owned())?;
            return Err(CliError::Negative);
        };
        let mut value = case_json(&case);
        value["entries"] = answer.entries.iter().map(audit_json).collect();
        value["identity"] = identity.as_ref().map_or(Value::Null, identity_json);
        context.show(&value, || {
            let parts = [
                case.mismatch.then(|| MISMATCH.to_owned()),
                Some(case_facts(&case)),
                identity.as_ref().map(identity_facts),
                Some(audit_table(&answer.entries)),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
        })?;
        if self.identity && identity.is_none() {
            context.note("no identity is kept here: ask for it with: cases disclose");
            return Err(CliError::Negative);
        }
        if case.mismatch { Err(CliError::Negative) } else { Ok(()) }
    }
}

const MISMATCH: &str = "MISMATCH: what the committee disclosed is NOT what it submitted for this subject.\n\
    The evidence is kept. The subject cannot be cleared; suspend it if its badge is out.";

fn case_facts(case: &Case) -> String {
    let subject = case.subject.clone().unwrap_or_default();
    let stop = if subject.suspended { ", suspended" } else { "" };
    let asked = |disclosure: &Disclosure| {
        let when = time(Timestamp::from_millis(disclosure.asked_millis));
        format!("{when} by {}: {}", disclosure.asked_by, disclosure.legal_basis)
    };
    let answered = |disclosure: &Disclosure| {
        let answer = disclosure_state(disclosure.state());
        match (disclosure.answered_by.as_str(), disclosure.refusal.as_str()) {
            ("", _) => answer.to_owned(),
            (by, "") => format!("{answer}, by {by}"),
            (by, why) => format!("{answer}, by {by}: {why}"),
        }
    };
    facts([
        ("subject", hex::encode(&subject.subject_id)),
        ("state", state(case)),
        ("verdict", format!("{}{stop}", verdict(subject.verdict()))),
        ("why", subject.reason.clone()),
        ("matches", matches(&subject.matches)),
        ("seen by who decided", matches(&case.seen)),
        ("disclosure asked", case.disclosure.as_ref().map(asked).unwrap_or_default()),
        ("the committee", case.disclosure.as_ref().map(answered).unwrap_or_default()),
        ("first officer", case.proposal.as_ref().map_or(String::new(), |_| latest(case))),
    ])
}

fn identity_json(identity: &Identity) -> Value {
    let documents = identity.documents.iter().map(|document| {
        json!({ "kind": document.kind, "issuer": document.issuer, "number": document.number })
    });
    json!({
        "full_name": identity.full_name, "birth_date": identity.birth_date,
        "documents": documents.collect::<Vec<_>>(),
        "portrait_hash": hex::encode(&identity.portrait_hash),
        "badge_number": identity.badge_number, "binding_holds": identity.binding_holds,
    })
}

fn identity_facts(identity: &Identity) -> String {
    let documents = identity.documents.iter();
    let documents = documents.map(|one| format!("{} {} {}", one.kind, one.issuer, one.number));
    facts([
        ("name", identity.full_name.clone()),
        ("Latin name", identity.latin_name.clone()),
        ("birth date", identity.birth_date.clone()),
        ("documents", documents.collect::<Vec<_>>().join("; ")),
        ("portrait hash", hex::encode(&identity.portrait_hash)),
        ("badge number", identity.badge_number.to_string()),
        (
            "who was submitted",
            if identity.binding_holds { "yes" } else { "NO: kept as evidence" }.to_owned(),
        ),
    ])
}

/// `lanyard police cases disclose`.
#[derive(Args)]
struct DiscloseArgs {
    /// Whose case.
    subject: SubjectId,
    /// On what legal basis; the committee reads it, so say nothing of what matched.
    #[arg(long, value_name = "TEXT")]
    legal_basis: String,
}

impl DiscloseArgs {
    async fn run(self, context: &Context, connection: &Connection) -> Result<(), CliError> {
        let who = self.subject.to_string();
        let request = RequestDisclosureRequest {
            subject_id: self.subject.bytes(),
            legal_basis: self.legal_basis,
        };
        let answer = connection.cases()?.request_disclosure(request).await;
        let answer = call("ask for disclosure", answer)?;
        let (became, good) = match answer.outcome() {
            Outcome::Unchanged => ("asked already", true),
            Outcome::NotPossible => {
                ("not possible: cleared subjects are asked about in samples", false)
            }
            other => outcome(other),
        };
        let request = answer.request_id;
        let value = json!({ "subject": who, "outcome": became, "request_id": request });
        context.show(&value, || match request {
            0 => format!("{who}: {became}"),
            request => format!("{who}: {became}, request {request}"),
        })?;
        if good { Ok(()) } else { Err(CliError::Negative) }
    }
}

/// `lanyard police cases decide`.
#[derive(Args)]
struct DecideArgs {
    /// Whose case.
    subject: SubjectId,
    /// What you decide.
    #[arg(long, value_enum)]
    verdict: Decision,
    /// Why; it stands in the audit trail beside your name, and never leaves the police.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Decision {
    /// No objection.
    Cleared,
    /// Objection.
    Refused,
    /// Leave it open.
    Pending,
}

impl DecideArgs {
    async fn run(self, context: &Context, connection: &Connection) -> Result<(), CliError> {
        let verdict = match self.verdict {
            Decision::Cleared => Verdict::Cleared,
            Decision::Refused => Verdict::Refused,
            Decision::Pending => Verdict::Pending,
        };
        let who = self.subject.to_string();
        let request = DecideCaseRequest {
            subject_id: self.subject.bytes(),
            verdict: verdict.into(),
            reason: self.reason,
        };
        let answer = call("decide", connection.cases()?.decide_case(request).await)?;
        let (outcome, good) = outcome(answer.outcome());
        context
            .show(&json!({ "subject": who, "outcome": outcome }), || format!("{who}: {outcome}"))?;
        if good { Ok(()) } else { Err(CliError::Negative) }
    }
}

/// `lanyard police sample`.
#[derive(Args)]
pub(crate) struct SampleArgs {
    /// Ask about this many cleared subjects drawn at random; without it, show what became of all samples.
    #[arg(long, value_name = "N", requires = "legal_basis")]
    count: Option<u32>,
    /// On what legal basis; the committee reads it.
    #[arg(long, value_name = "TEXT", requires = "count")]
    legal_basis: Option<String>,
}

impl SampleArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let mut client = connection.cases()?;
        if let Some(count) = self.count {
            let legal_basis = self.legal_basis.unwrap_or_default();
            let request = DrawSampleRequest { count, legal_basis };
            let drawn = call("draw a sample", client.draw_sample(request).await)?.request_ids;
            return context.show(&json!({ "request_ids": drawn }), || {
                format!("{} cleared subjects drawn; the committee decides on each", drawn.len())
            });
        }
        let (mut samples, mut after) = (Vec::new(), 0);
        loop {
            let request = ListSamplesRequest { after, limit: 0 };
            let page = call("list samples", client.list_samples(request).await)?.samples;
            let Some(last) = page.last() else { break };
            after = last.request_id;
            samples.extend(page);
        }
        let count = |state| samples.iter().filter(|sample| sample.state() == state).count();
        let mismatches = count(DisclosureState::Mismatch);
        let (holds, asked) = (count(DisclosureState::Holds), count(DisclosureState::Asked));
        let refused = count(DisclosureState::Refused);
        let value = json!({
            "drawn": samples.len(), "hold": holds, "asked": asked, "refused": refused,
            "mismatches": mismatches,
            "samples": samples.iter().map(disclosure_json).collect::<Vec<_>>(),
        });
        context.show(&value, || {
            let rows = samples.iter().map(|sample| {
                [
                    sample.request_id.to_string(),
                    hex::encode(&sample.subject_id),
                    disclosure_state(sample.state()).to_owned(),
                    sample.asked_by.clone(),
                    sample.refusal.clone(),
                ]
            });
            let shown = table(["request", "subject", "preimage", "asked by", "refusal"], rows);
            format!(
                "{shown}\n{} drawn: {holds} hold, {mismatches} do NOT, {asked} wait, {refused} refused",
                samples.len()
            )
        })?;
        if mismatches == 0 { Ok(()) } else { Err(CliError::Negative) }
    }
}

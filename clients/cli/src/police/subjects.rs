//! Subjects of screening: what matched, and stops.

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::police::v1::{
    ChangeStatusRequest, ListSubjectsRequest, Match, Outcome, SubjectState, UndoChangeRequest,
};
use lanyard_wire::screening::v1::{KeyKind, Verdict};
use serde_json::{Value, json};

use crate::context::{Context, table};
use crate::error::CliError;
use crate::references::{Became, show_outcomes, show_undo};
use crate::secrets::credential;

/// A subject's id: 16 bytes in hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct SubjectId(Vec<u8>);

impl SubjectId {
    /// Its 16 bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.clone()
    }
}

impl std::fmt::Display for SubjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl std::str::FromStr for SubjectId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match hex::decode(text) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self(bytes)),
            _ => Err("a subject's id is 32 hexadecimal digits, as `subjects` shows it".to_owned()),
        }
    }
}

/// `lanyard police subjects`.
#[derive(Args)]
pub(crate) struct SubjectsArgs {
    /// Only these subjects; without it, all.
    #[arg(value_name = "SUBJECT")]
    subjects: Vec<SubjectId>,
    /// Only those that matched an entry of a watchlist.
    #[arg(long)]
    matched: bool,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

impl SubjectsArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let mut client = connection.subjects()?;
        let (mut subjects, mut token) = (Vec::new(), String::new());
        let total = loop {
            let request = ListSubjectsRequest {
                subject_ids: self.subjects.iter().map(|id| id.0.clone()).collect(),
                matched_only: self.matched,
                page_size: u32::try_from(self.limit - subjects.len()).unwrap_or(0),
                page_token: token,
            };
            let page = call("list subjects", client.list_subjects(request).await)?;
            subjects.extend(page.subjects);
            token = page.next_page_token;
            if token.is_empty() || subjects.len() >= self.limit {
                break page.total;
            }
        };
        subjects.truncate(self.limit);
        let value = json!({
            "total": total,
            "subjects": subjects.iter().map(subject_json).collect::<Vec<_>>(),
        });
        context.show(&value, || {
            let rows = subjects.iter().map(|subject| {
                [
                    hex::encode(&subject.subject_id),
                    verdict(subject.verdict()).to_owned(),
                    if subject.suspended { "suspended" } else { "" }.to_owned(),
                    matches(&subject.matches),
                    subject.reason.clone(),
                ]
            });
            let header = ["subject", "verdict", "stop", "matches", "reason"];
            format!("{}\n{} of {total} subjects", table(header, rows), subjects.len())
        })
    }
}

/// A subject for machines.
pub(crate) fn subject_json(subject: &SubjectState) -> Value {
    let matches: Vec<Value> = subject.matches.iter().map(match_json).collect();
    json!({
        "subject_id": hex::encode(&subject.subject_id), "verdict": verdict(subject.verdict()),
        "suspended": subject.suspended, "matches": matches, "reason": subject.reason,
    })
}

/// A match for machines.
pub(crate) fn match_json(one: &Match) -> Value {
    json!({ "list": one.list, "label": one.label, "kind": kind(one.kind()) })
}

/// Matches for people.
pub(crate) fn matches(matches: &[Match]) -> String {
    let matches = matches.iter();
    let matches = matches.map(|one| format!("{} {} ({})", one.list, one.label, kind(one.kind())));
    matches.collect::<Vec<_>>().join("; ")
}

/// A verdict in a word.
pub(crate) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unspecified => "unknown",
        Verdict::Cleared => "cleared",
        Verdict::Refused => "refused",
        Verdict::Pending => "pending",
    }
}

const fn kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Document => "document",
        KeyKind::NameBirthDate => "name and birth date",
        KeyKind::Variant => "variant of a name",
        KeyKind::Unspecified => "unknown",
    }
}

pub(super) fn outcome(outcome: Outcome) -> (&'static str, bool) {
    match outcome {
        Outcome::Done => ("done", true),
        Outcome::Unchanged => ("was so already", true),
        Outcome::NotFound => ("not known here", false),
        Outcome::NotPossible => ("not possible from where it stands", false),
        Outcome::SecondOfficer => ("waits for a second officer to decide the same", true),
        Outcome::Mismatch => {
            ("REFUSED: what the committee disclosed is not what it submitted", false)
        }
        Outcome::Unspecified => ("unknown", false),
    }
}

/// What to do to subjects.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Suspend,
    Reinstate,
}

/// A change to subjects.
#[derive(Args)]
pub(crate) struct ChangeArgs {
    /// A subject's id; may be given several times.
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<SubjectId>,
    /// The text of a badge in hand, or `-` to read it from stdin; may be given several times.
    #[arg(long = "badge", value_name = "TEXT")]
    badges: Vec<String>,
    /// Why; it stands in the audit trail beside your name, and never leaves the police.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl ChangeArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
        action: Action,
    ) -> Result<(), CliError> {
        let (action, what) = match action {
            Action::Suspend => (StatusAction::Suspend, "suspend"),
            Action::Reinstate => (StatusAction::Reinstate, "reinstate"),
        };
        if self.subjects.is_empty() && self.badges.is_empty() {
            return Err(CliError::option("--subject", "say whom, with --subject or --badge"));
        }
        let badges = self.badges.iter().map(|text| Ok(credential(text)?.to_string()));
        let request = ChangeStatusRequest {
            action: action.into(),
            subject_ids: self.subjects.into_iter().map(|id| id.0).collect(),
            badge_texts: badges.collect::<Result<_, CliError>>()?,
            reason: self.reason,
        };
        let answer = call(what, connection.subjects()?.change_status(request).await)?;
        let became: Vec<Became> = answer
            .outcomes
            .iter()
            .map(|one| {
                let (outcome, good) = outcome(one.outcome());
                let who = match one.subject_id.as_slice() {
                    [] => "the badge shown".to_owned(),
                    id => hex::encode(id),
                };
                Became { who, outcome, good }
            })
            .collect();
        show_outcomes(context, answer.change_id, &became)
    }
}

/// `lanyard police undo`.
#[derive(Args)]
pub(crate) struct UndoArgs {
    /// The change's number, as it was shown and stands in the audit trail.
    change: u64,
    /// Why; it stands in the audit trail beside your name.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl UndoArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let request = UndoChangeRequest { change_id: self.change, reason: self.reason };
        let answer = call("undo the change", connection.subjects()?.undo_change(request).await)?;
        show_undo(context, answer.restored, answer.skipped)
    }
}

//! Looking at the committee's own file.

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::committee::v1::check_badge_request::Shown;
use lanyard_wire::committee::v1::{
    CheckBadgeRequest, GetPublicationRequest, ListAuditRequest, ListPeopleRequest, PersonState,
    PrintState, ScreeningState,
};
use lanyard_wire::common::v1::{AuditEntry, RecordStatus};
use serde_json::{Value, json};

use super::police_badges;
use crate::context::{Context, facts, table, time};
use crate::error::CliError;
use crate::secrets::credential;

/// `lanyard committee list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only these people; without it, all.
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

impl ListArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let mut client = connection.enrolment()?;
        let (mut people, mut token) = (Vec::new(), String::new());
        let total = loop {
            let request = ListPeopleRequest {
                references: self.references.clone(),
                page_size: u32::try_from(self.limit - people.len()).unwrap_or(0),
                page_token: token,
            };
            let page = call("list people", client.list_people(request).await)?;
            people.extend(page.people);
            token = page.next_page_token;
            if token.is_empty() || people.len() >= self.limit {
                break page.total;
            }
        };
        people.truncate(self.limit);
        let value = json!({
            "total": total, "people": people.iter().map(person_json).collect::<Vec<_>>(),
        });
        context.show(&value, || {
            let rows = people.iter().map(|state| {
                let person = state.person.clone().unwrap_or_default();
                [
                    person.reference,
                    person.full_name,
                    person.category,
                    person.profile,
                    format!("{}-{}", state.badge_number, state.print_number),
                    print_state(state.print_state()).to_owned(),
                    status_name(state.status()).to_owned(),
                    screening(state.screening()).to_owned(),
                ]
            });
            let header = [
                "reference",
                "name",
                "category",
                "profile",
                "badge",
                "print",
                "status",
                "screening",
            ];
            format!("{}\n{} of {total} people", table(header, rows), people.len())
        })?;
        if self.references.len() > people.len() {
            context.note("some references are unknown");
            return Err(CliError::Negative);
        }
        Ok(())
    }
}

fn person_json(state: &PersonState) -> Value {
    let person = state.person.clone().unwrap_or_default();
    json!({
        "reference": person.reference, "full_name": person.full_name,
        "latin_name": person.latin_name,
        "birth_date": person.birth_date, "category": person.category,
        "function": person.function, "organisation": person.organisation,
        "profile": person.profile, "documents": person.documents.len(),
        "badge_number": state.badge_number, "print_number": state.print_number,
        "print_state": print_state(state.print_state()),
        "status": status_name(state.status()), "screening": screening(state.screening()),
        "subject_id": hex::encode(&state.subject_id),
    })
}

const fn print_state(state: PrintState) -> &'static str {
    match state {
        PrintState::Unspecified => "unknown",
        PrintState::Waiting => "waits for issue",
        PrintState::Issued => "issued",
        PrintState::Replaced => "replaced",
    }
}

const fn screening(state: ScreeningState) -> &'static str {
    match state {
        ScreeningState::Unspecified => "unknown",
        ScreeningState::New => "not submitted",
        ScreeningState::Pending => "pending",
        ScreeningState::Cleared => "cleared",
        ScreeningState::Refused => "refused",
    }
}

/// A record's status in words.
pub(crate) const fn status_name(status: RecordStatus) -> &'static str {
    match status {
        RecordStatus::Unspecified => "unknown",
        RecordStatus::Valid => "valid",
        RecordStatus::Suspended => "suspended",
        RecordStatus::Revoked => "revoked",
        RecordStatus::Reprinted => "reprinted",
        RecordStatus::NotYet => "not yet cleared",
        RecordStatus::NotGood => "not good",
        RecordStatus::Invalid => "not valid",
    }
}

/// `lanyard committee audit`.
#[derive(Args)]
pub(crate) struct AuditArgs {
    /// Only what was done to this person.
    #[arg(long, value_name = "REFERENCE", default_value = "", hide_default_value = true)]
    reference: String,
    /// Only entries after this one.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl AuditArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let Self { reference, after, limit } = self;
        let request = ListAuditRequest { reference, after, limit };
        let answer = call("read the audit trail", connection.badges()?.list_audit(request).await)?;
        show_audit(context, &answer.entries)
    }
}

/// Shows entries of an audit trail.
pub(crate) fn show_audit(context: &Context, entries: &[AuditEntry]) -> Result<(), CliError> {
    let values: Vec<Value> = entries.iter().map(audit_json).collect();
    context.show(&json!({ "entries": values }), || audit_table(entries))
}

/// An entry for machines.
pub(crate) fn audit_json(entry: &AuditEntry) -> Value {
    json!({
        "sequence": entry.sequence, "time_millis": entry.time_millis,
        "operator": entry.operator, "action": entry.action, "subject": entry.subject,
        "reason": entry.reason, "change_id": entry.change_id,
    })
}

/// Entries for people.
pub(crate) fn audit_table(entries: &[AuditEntry]) -> String {
    let rows = entries.iter().map(|entry| {
        [
            entry.sequence.to_string(),
            time(lanyard_core::ids::Timestamp::from_millis(entry.time_millis)),
            entry.operator.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.reason.clone(),
            entry.change_id.to_string(),
        ]
    });
    table(["no.", "time", "operator", "action", "subject", "reason", "change"], rows)
}

/// How far publication is, of either authority.
pub(crate) struct Publication {
    pub(crate) log_size: u64,
    pub(crate) quorum_size: u64,
    pub(crate) waiting: u64,
    pub(crate) epoch: u32,
    pub(crate) records: u64,
}

impl Publication {
    pub(crate) fn show(&self, context: &Context) -> Result<(), CliError> {
        let Self { log_size, quorum_size, waiting, epoch, records } = self;
        let value = json!({
            "log_size": log_size, "quorum_size": quorum_size, "waiting": waiting, "epoch": epoch,
            "records": records,
        });
        context.show(&value, || {
            facts([
                ("signed", format!("{log_size} ticks")),
                ("with a quorum", format!("{quorum_size} ticks")),
                ("changes waiting", waiting.to_string()),
                ("live epoch", epoch.to_string()),
                ("records for gates", format!("{records}, decoys included")),
            ])
        })
    }
}

/// `lanyard committee status`.
pub(crate) async fn status(context: &Context, connection: &Connection) -> Result<(), CliError> {
    let request = GetPublicationRequest {};
    let answer = connection.badges()?.get_publication(request).await;
    let answer = call("ask how far publication is", answer)?;
    let publication = Publication {
        log_size: answer.log_size,
        quorum_size: answer.quorum_size,
        waiting: answer.waiting,
        epoch: answer.epoch,
        records: answer.records,
    };
    publication.show(context)
}

/// `lanyard committee desk`.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DeskArgs {
    /// The badge's text; `-` reads it from stdin, where no list of processes shows it.
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The person's reference instead.
    #[arg(long, value_name = "REFERENCE")]
    reference: Option<String>,
}

impl DeskArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let shown = match (&self.text, self.reference) {
            (Some(text), _) => Shown::BadgeText(credential(text)?.to_string()),
            (None, reference) => Shown::Reference(reference.unwrap_or_default()),
        };
        let request = CheckBadgeRequest { shown: Some(shown) };
        let answer =
            call("look the badge up", connection.committee_desk()?.check_badge(request).await)?;
        if let Some(badge) = &answer.police_badge {
            return police_badges::show_one(context, badge, answer.shown_print_number);
        }
        let Some(state) = answer.person else {
            context.show(&json!({ "known": false }), || {
                "the committee has no such badge".to_owned()
            })?;
            return Err(CliError::Negative);
        };
        let mut value = person_json(&state);
        value["known"] = true.into();
        value["shown_print_number"] = answer.shown_print_number.into();
        context.show(&value, || {
            let person = state.person.clone().unwrap_or_default();
            let shown = match answer.shown_print_number {
                0 => "none".to_owned(),
                shown if shown == state.print_number => format!("print {shown}, the current one"),
                shown => {
                    format!("print {shown}, an OLD one: print {} replaced it", state.print_number)
                }
            };
            facts([
                ("reference", person.reference),
                ("name", person.full_name),
                ("Latin name", person.latin_name),
                ("birth date", person.birth_date),
                ("category", person.category),
                ("function", person.function),
                ("organisation", person.organisation),
                ("profile", person.profile),
                ("badge", format!("{}-{}", state.badge_number, state.print_number)),
                ("shown", shown),
                ("print", print_state(state.print_state()).to_owned()),
                ("status", status_name(state.status()).to_owned()),
                ("screening", screening(state.screening()).to_owned()),
            ])
        })
    }
}

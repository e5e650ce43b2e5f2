//! The police's audit trail, publication and desk.

use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_wire::common::v1::Record;
use lanyard_wire::police::v1::{CheckBadgeRequest, GetPublicationRequest, ListAuditRequest};
use serde_json::{Value, json};

use super::staff::{member_json, member_line};
use super::subjects::{matches, subject_json, verdict};
use crate::committee::views::{Publication, show_audit, status_name};
use crate::context::{Context, facts};
use crate::error::CliError;
use crate::secrets::credential;
use crate::verify::write_attestations;

/// `lanyard police audit`.
#[derive(Args)]
pub(crate) struct AuditArgs {
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
        let request = ListAuditRequest { after: self.after, limit: self.limit };
        let answer = connection.subjects()?.list_audit(request).await;
        show_audit(context, &call("read the audit trail", answer)?.entries)
    }
}

/// `lanyard police status`.
pub(crate) async fn status(context: &Context, connection: &Connection) -> Result<(), CliError> {
    let request = GetPublicationRequest {};
    let answer = connection.subjects()?.get_publication(request).await;
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

/// `lanyard police desk`.
#[derive(Args)]
pub(crate) struct DeskArgs {
    /// The badge's text or a code scoped to the police; `-` reads it from stdin, where no list of processes shows it.
    text: String,
    /// Write both attestations with their openings to this file, for `lanyard verify`.
    #[arg(long, value_name = "FILE")]
    attestations: Option<PathBuf>,
}

impl DeskArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let badge_text = credential(&self.text)?.to_string();
        let with_attestations = self.attestations.is_some();
        let request = CheckBadgeRequest { badge_text, with_attestations };
        let answer = connection.police_desk()?.check_badge(request).await;
        let answer = call("look the badge up", answer)?;
        if let Some(path) = &self.attestations {
            write_attestations(context, path, &answer.attestations)?;
        }
        let value = json!({
            "committee": answer.committee.as_ref().map(record_json),
            "police": answer.police.as_ref().map(record_json),
            "subject": answer.subject.as_ref().map(subject_json),
            "staff": answer.staff.as_ref().map(member_json),
            "bindings_match": answer.bindings_match,
            "committee_age_seconds": answer.committee_age_seconds,
            "police_age_seconds": answer.police_age_seconds,
        });
        context.show(&value, || {
            let status = |record: &Option<Record>, age: u64| match record {
                Some(record) => format!("{}, as of {age} s ago", status_name(record.status())),
                None => format!("no record, as of {age} s ago"),
            };
            let (case, why, matched) = match (&answer.subject, &answer.staff) {
                (None, Some(staff)) => (member_line(staff), String::new(), String::new()),
                (None, None) => {
                    ("not one of the subjects here".to_owned(), String::new(), String::new())
                }
                (Some(subject), _) => {
                    let stop = if subject.suspended { ", suspended" } else { "" };
                    let case = format!(
                        "{} {}{stop}",
                        hex::encode(&subject.subject_id),
                        verdict(subject.verdict())
                    );
                    (case, subject.reason.clone(), matches(&subject.matches))
                }
            };
            let bindings = match (answer.bindings_match, &answer.committee, &answer.police) {
                (true, ..) => "what was cleared is what the committee vouches for",
                (false, Some(_), Some(_)) => {
                    "DIFFER: the committee vouches for something else than was cleared"
                }
                (false, ..) => "cannot be compared",
            };
            facts([
                ("committee", status(&answer.committee, answer.committee_age_seconds)),
                ("police", status(&answer.police, answer.police_age_seconds)),
                ("bindings", bindings.to_owned()),
                ("case", case),
                ("matches", matched),
                ("reason", why),
            ])
        })?;
        let unknown = answer.committee.is_none() && answer.police.is_none();
        if unknown { Err(CliError::Negative) } else { Ok(()) }
    }
}

pub(super) fn record_json(record: &Record) -> Value {
    json!({
        "status": status_name(record.status()),
        "not_before_minutes": record.not_before_minutes,
        "not_after_minutes": record.not_after_minutes,
        "binding": hex::encode(&record.binding),
    })
}

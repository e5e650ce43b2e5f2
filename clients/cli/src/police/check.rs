//! `lanyard police check`: who bears a document.

use std::io::{self, BufRead as _};
use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call};
use lanyard_core::identity::{Mrz, MrzError};
use lanyard_wire::common::v1::Record;
use lanyard_wire::police::v1::check_document_request::Shown;
use lanyard_wire::police::v1::{CheckDocumentRequest, FoundPerson, FoundPrint};
use lanyard_wire::screening::v1::KeyKind;
use lanyard_wire::staff::v1::Document;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::staff::{member_json, member_line};
use super::subjects::{matches, subject_json, verdict};
use super::views::record_json;
use crate::committee::views::status_name;
use crate::context::{Context, table};
use crate::error::CliError;
use crate::secrets::credential;
use crate::verify::write_attestations;

/// `lanyard police check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    shown: ShownArgs,
    /// Why; it stands in the audit trail beside your name, without the document.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Write all attestations with their openings to this file, for `lanyard verify`.
    #[arg(long, value_name = "FILE")]
    attestations: Option<PathBuf>,
}

/// One of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct ShownArgs {
    /// The document, as `passport:DEU:C01X00T47`: kind (passport, national-id, residence or other), issuing state, number;
    /// `-` reads it from stdin, where no list of processes shows it.
    #[arg(long, value_name = "KIND:ISSUER:NUMBER")]
    document: Option<String>,
    /// Read the document's machine-readable zone from stdin: two or three lines, typed or from a reader.
    #[arg(long)]
    mrz: bool,
}

impl CheckArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let shown = match &self.shown.document {
            Some(text) => Shown::Document(document(&credential(text)?)?),
            None => Shown::Mrz(zone(context)?.to_string()),
        };
        let request = CheckDocumentRequest {
            shown: Some(shown),
            reason: self.reason,
            with_attestations: self.attestations.is_some(),
        };
        let answer = connection.police_desk()?.check_document(request).await;
        let answer = call("check the document", answer)?;
        if let Some(path) = &self.attestations {
            let prints = answer.people.iter().flat_map(|person| &person.prints);
            let all: Vec<Vec<u8>> =
                prints.flat_map(|print| print.attestations.iter().cloned()).collect();
            write_attestations(context, path, &all)?;
        }
        let value = json!({
            "people": answer.people.iter().map(person_json).collect::<Vec<_>>(),
            "committee_age_seconds": answer.committee_age_seconds,
            "police_age_seconds": answer.police_age_seconds,
        });
        context.show(&value, || {
            if answer.people.is_empty() {
                return "nobody is known here under this document".to_owned();
            }
            let mut text = answer.people.iter().map(person_text).collect::<Vec<_>>().join("\n");
            let (committee, police) = (answer.committee_age_seconds, answer.police_age_seconds);
            text.push_str(&format!(
                "\ncommittee as of {committee} s ago, police as of {police} s ago"
            ));
            text
        })?;
        if answer.people.is_empty() { Err(CliError::Negative) } else { Ok(()) }
    }
}

fn document(text: &str) -> Result<Document, CliError> {
    let mut parts = text.splitn(3, ':').map(|part| part.trim().to_owned());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(issuer), Some(number)) if !number.is_empty() => {
            Ok(Document { kind, issuer, number })
        }
        _ => Err(CliError::option("--document", "write it as passport:DEU:C01X00T47")),
    }
}

/// Lines from stdin until they are a zone, so that a reader need not close it.
fn zone(context: &Context) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    context.note("read the machine-readable zone now");
    for line in io::stdin().lock().lines().take(4) {
        let line =
            line.map_err(|source| CliError::Io { action: "read the zone from stdin", source })?;
        let line = Zeroizing::new(line);
        text.push_str(line.trim());
        text.push('\n');
        match Mrz::parse(&text, context.env.now()) {
            Err(MrzError::Length { .. }) => {}
            Ok(_) => return Ok(text),
            Err(error) => return Err(CliError::option("--mrz", error)),
        }
    }
    Mrz::parse(&text, context.env.now()).map_err(|error| CliError::option("--mrz", error))?;
    Ok(text)
}

const fn found_by(person: &FoundPerson) -> &'static str {
    match person.found_by {
        kind if kind == KeyKind::Document as i32 => "document",
        _ => "name and birth date",
    }
}

fn person_json(person: &FoundPerson) -> Value {
    let print = |print: &FoundPrint| {
        json!({
            "print_number": print.print_number,
            "committee": print.committee.as_ref().map(record_json),
            "police": print.police.as_ref().map(record_json),
            "bindings_match": print.bindings_match,
        })
    };
    json!({
        "found_by": found_by(person),
        "subject": person.subject.as_ref().map(subject_json),
        "staff": person.staff.as_ref().map(member_json),
        "prints": person.prints.iter().map(print).collect::<Vec<_>>(),
    })
}

fn person_text(person: &FoundPerson) -> String {
    let who = match (&person.subject, &person.staff) {
        (Some(subject), _) => {
            let stop = if subject.suspended { ", suspended" } else { "" };
            let mut who = format!(
                "subject {}, {}{stop}: {}",
                hex::encode(&subject.subject_id),
                verdict(subject.verdict()),
                subject.reason
            );
            if !subject.matches.is_empty() {
                who.push_str(&format!("\nmatches {}", matches(&subject.matches)));
            }
            who
        }
        (None, Some(staff)) => member_line(staff),
        (None, None) => "unknown".to_owned(),
    };
    let record = |record: &Option<Record>| match record {
        Some(record) => status_name(record.status()).to_owned(),
        None => "no record".to_owned(),
    };
    let rows = person.prints.iter().map(|print| {
        let bindings = if print.bindings_match { "agree" } else { "DIFFER or absent" };
        [
            print.print_number.to_string(),
            record(&print.committee),
            record(&print.police),
            bindings.to_owned(),
        ]
    });
    let badges = match person.prints.is_empty() {
        true => "no badge was issued".to_owned(),
        false => table(["print", "committee", "police", "bindings"], rows),
    };
    format!("found by {}: {who}\n{badges}", found_by(person))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_document_or_a_zone_is_shown() {
        let parsed = |shown: &[&str]| {
            let check = ["lanyard", "police", "check", "--reason", "why"];
            Cli::try_parse_from(check.iter().chain(shown)).is_ok()
        };
        assert!(parsed(&["--mrz"]) && parsed(&["--document", "-"]));
        assert!(!parsed(&[]) && !parsed(&["--mrz", "--document", "-"]));
    }

    #[test]
    fn a_document_has_three_parts() {
        let read = document("passport: DEU :C01X00T47").unwrap();
        assert_eq!((read.kind.as_str(), read.issuer.as_str()), ("passport", "DEU"));
        assert_eq!(read.number, "C01X00T47");
        for bad in ["", "passport", "passport:DEU", "passport:DEU:"] {
            assert!(document(bad).unwrap_err().to_string().contains("--document"), "{bad}");
        }
    }
}

//! `lanyard verify`: exported attestations and receipts, offline.

mod manifests;

use std::path::{Path, PathBuf};

use clap::Args;
use lanyard_core::attestation::{
    Attestation, Attested, VerifiedAttestation, verify_attestation_given,
};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::manifest::Manifest;
use lanyard_core::receipt::{
    Receipt, ReceiptError, ReceiptOrigin, VerifiedReceipt, verify_receipt_given,
};
use lanyard_core::record::{Record, Status};
use lanyard_env::Mode;
use lanyard_party::Folder;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::manifests::Manifests;
use crate::context::{Context, table, time};
use crate::error::CliError;

const ATTESTATION: &str = "lanyard attestation v1\n";
const RECEIPT: &str = "lanyard receipt v1\n";
/// The most bytes of a file: 256 MiB.
const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// `lanyard verify`.
#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// Files of attestations or receipts; each may hold many.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The manifest: a party's folder, or a signed manifest with trust.json beside it.
    #[arg(long, env = "LANYARD_FOLDER", value_name = "PATH")]
    manifest: PathBuf,
    /// The authorities' manifest keys that are trusted, if not in trust.json beside the manifest.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The police's folder, whose audit key opens the bodies of receipts.
    #[arg(long, value_name = "DIR")]
    audit_key: Option<PathBuf>,
    /// Write the receipts with their opened bodies to this file: whoever reads it can verify what was opened.
    #[arg(long, value_name = "FILE", requires = "audit_key")]
    opened: Option<PathBuf>,
}

/// What came of one attestation or receipt.
struct Finding {
    what: &'static str,
    holds: bool,
    says: String,
    json: Value,
}

impl VerifyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), CliError> {
        let files = &*context.env.files;
        let manifests = Manifests::read(files, &self.manifest, self.trust.as_deref())?;
        let audit = match &self.audit_key {
            Some(folder) => Some(Folder::open(folder, &context.env).audit_key()?),
            None => None,
        };
        let (mut findings, mut opened) = (Vec::new(), Zeroizing::new(String::new()));
        for path in &self.files {
            let text = read_text(context, path)?;
            for document in documents(path, &text)? {
                findings.push(match document {
                    Document::Attestation(text) => attestation(&manifests, text),
                    Document::Receipt(text) => {
                        receipt(&manifests, text, audit.as_ref(), &mut opened)
                    }
                });
            }
        }
        if let Some(path) = &self.opened {
            files.write_atomic(path, opened.as_bytes(), Mode::Private)?;
        }
        let holds = findings.iter().all(|finding| finding.holds);
        let values: Vec<Value> = findings
            .iter()
            .map(|finding| {
                let mut value = finding.json.clone();
                value["kind"] = finding.what.into();
                value["holds"] = finding.holds.into();
                if !finding.holds {
                    value["problem"] = finding.says.clone().into();
                }
                value
            })
            .collect();
        context.show(&json!({ "holds": holds, "findings": values }), || {
            let rows = findings.iter().map(|finding| {
                let holds = if finding.holds { "holds" } else { "DOES NOT HOLD" };
                [finding.what.to_owned(), holds.to_owned(), finding.says.clone()]
            });
            table(["what", "proof", "says"], rows)
        })?;
        if holds { Ok(()) } else { Err(CliError::Negative) }
    }
}

fn read_text(context: &Context, path: &Path) -> Result<Zeroizing<String>, CliError> {
    let bytes = context.env.files.read(path)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(CliError::content(
            path,
            format!("{} bytes are too many; split it", bytes.len()),
        ));
    }
    String::from_utf8(bytes)
        .map(Zeroizing::new)
        .map_err(|_| CliError::content(path, "not text; give an exported attestation or receipt"))
}

enum Document<'a> {
    Attestation(&'a str),
    Receipt(&'a str),
}

/// The documents of a file, one after the other, each from its first line.
fn documents<'a>(path: &Path, text: &'a str) -> Result<Vec<Document<'a>>, CliError> {
    let mut starts: Vec<usize> = [ATTESTATION, RECEIPT]
        .into_iter()
        .flat_map(|title| text.match_indices(title).map(|(at, _)| at))
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .collect();
    starts.sort_unstable();
    if starts.first() != Some(&0) {
        let problem = "neither an attestation nor a receipt: the first line must be `lanyard attestation v1` or \
                       `lanyard receipt v1`";
        return Err(CliError::content(path, problem));
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let parts = starts.iter().zip(ends).map(|(start, end)| &text[*start..end]);
    Ok(parts
        .map(|part| match part.starts_with(ATTESTATION) {
            true => Document::Attestation(part),
            false => Document::Receipt(part),
        })
        .collect())
}

fn attestation(manifests: &Manifests, text: &str) -> Finding {
    let attestation = match Attestation::parse_text(text) {
        Ok(attestation) => attestation,
        Err(error) => {
            let says = error.to_string();
            return Finding { what: "attestation", holds: false, says, json: json!({}) };
        }
    };
    let mut value = json!({
        "authority": attestation.authority.name(), "audience": attestation.audience.name(),
        "epoch": attestation.epoch.get(), "manifest": attestation.manifest.to_string(),
    });
    let verified = match manifests.of(&attestation.manifest) {
        None => Err(format!(
            "made under the manifest {}, which is not here; give a folder that has it",
            attestation.manifest
        )),
        Some(manifest) => verify_attestation_given(&attestation, manifest, manifests.newest())
            .map_err(|error| error.to_string()),
    };
    match verified {
        Err(says) => Finding { what: "attestation", holds: false, says, json: value },
        Ok(verified) => {
            value["time_millis"] = verified.time().millis().into();
            value["quorum_time_millis"] = verified.quorum_time().millis().into();
            value["record"] = match verified.attested() {
                Attested::Absent => json!("absent"),
                Attested::Sealed(_) => json!("sealed"),
                Attested::Opened(record) => record_json(record),
            };
            let says = attested(&verified);
            Finding { what: "attestation", holds: true, says, json: value }
        }
    }
}

fn attested(verified: &VerifiedAttestation) -> String {
    let record = match verified.attested() {
        Attested::Absent => "no record".to_owned(),
        Attested::Sealed(record) => format!("a sealed record, version {}", record.version()),
        Attested::Opened(record) => record_status(record.status).to_owned(),
    };
    format!(
        "{} to {} in epoch {}: {record}, at {}, witnessed at {}",
        verified.authority(),
        verified.audience(),
        verified.epoch(),
        time(verified.time()),
        time(verified.quorum_time()),
    )
}

fn record_json(record: &Record) -> Value {
    json!({
        "status": record_status(record.status), "profile": record.profile.get(),
        "not_before_minutes": record.not_before.get(), "not_after_minutes": record.not_after.get(),
        "binding": hex::encode(record.binding.as_bytes()),
    })
}

/// A record's status in words.
pub(crate) const fn record_status(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Suspended => "suspended",
        Status::Revoked => "revoked",
        Status::Reprinted => "reprinted",
        Status::NotYet => "not yet cleared",
        Status::NotGood => "not good",
        Status::Invalid => "not valid",
    }
}

fn receipt(
    manifests: &Manifests,
    text: &str,
    audit: Option<&HpkeSecretKey>,
    opened: &mut String,
) -> Finding {
    match checked(manifests, text, audit, opened) {
        Ok((gate, verified)) => {
            let entry = verified.entry();
            let mut value = json!({
                "gate": gate, "sequence": entry.sequence, "time_millis": entry.time.millis(),
                "signed_up_to": verified.head().head().sequence,
            });
            let mut says = format!("{gate}, receipt {}, at {}", entry.sequence, time(entry.time));
            if let Some(body) = verified.body() {
                value["verdict"] = body.cause.verdict().name().into();
                value["cause"] = body.cause.name().into();
                value["access_point"] = body.access_point.clone().into();
                value["manifest_version"] = body.manifest_version.into();
                value["committee_size"] = body.committee.checkpoint_size.into();
                value["police_size"] = body.police.checkpoint_size.into();
                says.push_str(&format!(
                    ": {} {} at {}, knowing {} and {} ticks",
                    body.cause.verdict(),
                    body.cause,
                    body.access_point,
                    body.committee.checkpoint_size,
                    body.police.checkpoint_size,
                ));
                if let Some(overridden) = &body.overridden {
                    value["override"] = json!({
                        "receipt": overridden.receipt, "supervisor": overridden.supervisor,
                        "reason": overridden.reason,
                    });
                    says.push_str(&format!(
                        "; {} overrides receipt {}: {}",
                        overridden.supervisor, overridden.receipt, overridden.reason
                    ));
                }
            }
            Finding { what: "receipt", holds: true, says, json: value }
        }
        Err(says) => Finding { what: "receipt", holds: false, says, json: json!({}) },
    }
}

fn checked(
    manifests: &Manifests,
    text: &str,
    audit: Option<&HpkeSecretKey>,
    opened: &mut String,
) -> Result<(String, VerifiedReceipt), String> {
    let say = |error: ReceiptError| error.to_string();
    let mut receipt = Receipt::parse(text).map_err(say)?;
    let (gate, origin) = issuer(manifests.newest(), &receipt)?;
    let keys = manifests.receipt_keys(&gate);
    if keys.is_empty() {
        return Err(format!("there is no gate {gate:?} in any manifest here"));
    }
    if let Some(audit) = audit
        && receipt.sealed.is_some()
    {
        receipt.open(audit, &origin).map_err(say)?;
    }
    let verified =
        verify_receipt_given(&receipt, &origin, &keys, manifests.newest()).map_err(say)?;
    if audit.is_some() {
        opened.push_str(&receipt.to_string());
    }
    Ok((gate, verified))
}

/// The gate that the signed head claims. Verifying shows whether it is true.
fn issuer(manifest: &Manifest, receipt: &Receipt) -> Result<(String, ReceiptOrigin), String> {
    let claimed = receipt.head.text().lines().next().unwrap_or_default();
    let gate = claimed
        .strip_prefix(&format!("lanyard/{}/gate/", manifest.event))
        .and_then(|rest| rest.strip_suffix("/receipts"))
        .ok_or_else(|| format!("signed for {claimed:?}, which is no gate of {}", manifest.event))?;
    let origin = ReceiptOrigin::new(&manifest.event, gate)
        .map_err(|error: ReceiptError| error.to_string())?;
    Ok((gate.to_owned(), origin))
}

/// Writes attestations from a service to a file that `lanyard verify` reads. They hold keys of the badge.
pub(crate) fn write_attestations(
    context: &Context,
    path: &Path,
    attestations: &[Vec<u8>],
) -> Result<(), CliError> {
    let mut text = Zeroizing::new(String::new());
    for bytes in attestations {
        text.push_str(&Attestation::from_bytes(bytes)?.to_text());
    }
    Ok(context.env.files.write_atomic(path, text.as_bytes(), Mode::Private)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_split_at_first_lines_only() {
        let text = format!("{ATTESTATION}a\n{RECEIPT}x {RECEIPT}{ATTESTATION}b\n");
        let found = documents(Path::new("f"), &text).unwrap();
        let kinds: Vec<bool> =
            found.iter().map(|one| matches!(one, Document::Attestation(_))).collect();
        assert_eq!(kinds, [true, false, true]);
        assert!(documents(Path::new("f"), "something else").is_err());
        assert!(documents(Path::new("f"), "").is_err());
    }
}

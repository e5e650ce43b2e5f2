//! Overrides, retries, codes for others, and what can be proven later.

use lanyard_ceremony::Member;
use lanyard_client::{Connection, Question, ThinVerifier, call, item};
use lanyard_core::attestation::{Attestation, verify_attestation};
use lanyard_core::badge::{IssuingKey, ScopedCode};
use lanyard_core::decision::Cause;
use lanyard_core::ids::{Audience, Authority, BadgeNumber, PrintNumber};
use lanyard_core::receipt::{AuditSession, Receipt, ReceiptOrigin, verify_receipt};
use lanyard_core::record::{SealedRecord, Status};
use lanyard_party::Folder;
use lanyard_transport::Role;
use lanyard_wire::gate::v1 as gate;
use lanyard_wire::sponsor::v1::{CheckCodeRequest, CodeVerdict};

use super::{ADMIT, Play, REFER, is, show};
use crate::demo::error::DemoError;
use crate::demo::ledger::Seen;
use crate::demo::plan::{GATE_1, MAIN};
use crate::demo::world::{Badge, PATIENCE, World, eventually, nonce};

impl Play<'_> {
    pub(super) async fn proofs(&mut self) -> Result<(), DemoError> {
        self.overridden().await?;
        self.retried().await?;
        self.sponsor_desk().await?;
        self.thin_lookup().await?;
        self.attested().await?;
        self.receipts().await
    }

    /// A supervisor lets somebody in against a referral, and cannot against a text that is no badge.
    async fn overridden(&mut self) -> Result<(), DemoError> {
        let text = self.text(self.cast.refused)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let (checked, receipt) = override_check(world, &text).await?;
            let found = format!("{}, let in; receipt {receipt}", show(&checked));
            Ok(Seen::new(is(&checked, REFER) && receipt > checked.receipt_id, found))
        };
        ledger.expect("supervisor overrides a referral", "recorded", attempt).await;
        let attempt = async {
            Ok(match override_check(world, "no badge at all").await {
                Ok((_, receipt)) => Seen::new(false, format!("recorded: receipt {receipt}")),
                Err(error) => {
                    let text = error.to_string();
                    Seen::new(text.contains("malformed"), text)
                }
            })
        };
        ledger.expect("supervisor overrides a malformed text", "refused", attempt).await;
        Ok(())
    }

    async fn retried(&mut self) -> Result<(), DemoError> {
        let text = self.text(self.cast.everywhere)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let nonce = nonce(&world.env);
            let first = world.gate_1.check_as(&text, MAIN, nonce.clone()).await?;
            let again = world.gate_1.check_as(&text, MAIN, nonce).await?;
            let found = format!("receipts {} and {}", first.receipt_id, again.receipt_id);
            Ok(Seen::new(is(&first, ADMIT) && first == again, found))
        };
        ledger.expect("scanner repeats a check", "the same answer and receipt", attempt).await;
        Ok(())
    }

    /// The sponsor's desk learns valid or not from a code that is good for a day.
    async fn sponsor_desk(&mut self) -> Result<(), DemoError> {
        let new = self.badge(self.cast.lost)?;
        // The print that was lost in an earlier scene.
        let old = Badge { print: PrintNumber::new(1), ..new };
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let cases = [
            ("sponsor's desk: code of a good badge", new, "valid", CodeVerdict::Valid),
            ("sponsor's desk: code of the lost print", old, "not valid", CodeVerdict::NotValid),
        ];
        for (scenario, badge, expected, verdict) in cases {
            let attempt = async {
                let epochs = world.manifest.code_epochs(Audience::Sponsor, world.env.now());
                let (event, secret) = (&world.manifest.event, world.secret(badge));
                let code = ScopedCode::derive(&secret, event, Audience::Sponsor, epochs);
                let code = code.to_text(event);
                // The sponsor's directory is sealed anew at an interval, not at each change.
                eventually(expected, PATIENCE, async || {
                    let request = CheckCodeRequest { code: code.to_string() };
                    let checked = world.sponsor_desk.clone().check_code(request).await;
                    Ok((call("ask the sponsor's desk", checked)?.verdict() == verdict)
                        .then_some(()))
                })
                .await?;
                Ok(Seen::new(true, expected))
            };
            ledger.expect(scenario, expected, attempt).await;
        }
        Ok(())
    }

    /// Somebody without any directory asks the sponsor for a few of the police's rows, and checks them.
    async fn thin_lookup(&mut self) -> Result<(), DemoError> {
        let known = self.world.secret(self.badge(self.cast.crew)?);
        let event = &self.world.manifest.event;
        let invented = IssuingKey::generate(&mut self.world.env.rng()).badge_secret(
            event,
            BadgeNumber::new(1),
            PrintNumber::new(1),
        );
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let attempt = async {
            let env = &world.env;
            let desk = world.folder(&Member::Committee);
            let desk = Connection::open(env, &desk, &[Role::Desk], None)?;
            let mut sponsor = desk.feed("sponsor")?;
            let verifier = ThinVerifier::new(env, world.cluster.dir().join("thin-verifier"));
            let epoch = world.manifest.epoch_at(env.now());
            let (authority, audience) = (Authority::Police, Audience::Gate);
            let mut answers = Vec::new();
            for secret in [&known, &invented] {
                let epoch_key = secret.seed(authority, audience).epoch_key(event, epoch);
                let question = Question {
                    authority,
                    audience,
                    epoch,
                    epoch_key: &epoch_key,
                    audience_key: None,
                    bits: None,
                };
                answers.push(verifier.look_up(&mut sponsor, &world.manifest, &question).await?);
            }
            let found = format!(
                "a record among {} rows; none among {} for an invented badge",
                answers[0].rows, answers[1].rows
            );
            Ok(Seen::new(answers[0].sealed.is_some() && answers[1].sealed.is_none(), found))
        };
        let expected = "presence and absence, proven";
        ledger.expect("thin lookup at the sponsor", expected, attempt).await;
        Ok(())
    }

    /// What both authorities say of a badge, proven offline; and a forgery of it.
    async fn attested(&mut self) -> Result<(), DemoError> {
        let text = self.text(self.cast.crew)?;
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let mut exported = Vec::new();
        let attempt = async {
            exported = eventually("attestations", PATIENCE, async || {
                let request = gate::ExportAttestationsRequest { credential: text.to_string() };
                let exported = world.gate_1.operator.clone().export_attestations(request).await;
                let exported = call("export attestations", exported)?;
                Ok((exported.attestations.len() == 2).then_some(exported.attestations))
            })
            .await?;
            let mut bindings = Vec::new();
            for bytes in &exported {
                let attestation = Attestation::from_bytes(bytes)?;
                let verified = match verify_attestation(&attestation, &world.manifest) {
                    Ok(verified) => verified,
                    Err(error) => return Ok(Seen::new(false, error.to_string())),
                };
                let record = verified.record().filter(|record| record.status == Status::Valid);
                bindings.extend(record.map(|record| record.binding));
            }
            let good = bindings.len() == 2 && bindings[0].agrees_with(&bindings[1]);
            Ok(Seen::new(good, "committee: valid, police: valid, same binding"))
        };
        ledger.expect("attestations verified offline", "both valid", attempt).await;
        let attempt = async {
            let bytes = exported.last().ok_or_else(|| DemoError::unexpected("nothing exported"))?;
            let mut forged = Attestation::from_bytes(bytes)?;
            forged.record = forged.record.and_then(|record| {
                let mut bytes = *record.bytes();
                bytes[0] ^= 1;
                SealedRecord::new(record.version(), bytes).ok()
            });
            Ok(match verify_attestation(&forged, &world.manifest) {
                Ok(_) => Seen::new(false, "accepted"),
                Err(error) => Seen::new(true, error.to_string()),
            })
        };
        ledger.expect("a forged attestation", "refused", attempt).await;
        Ok(())
    }

    /// The gate's receipts: a signed chain whose bodies the auditor alone opens.
    async fn receipts(&mut self) -> Result<(), DemoError> {
        let (world, ledger) = (&*self.world, &mut *self.ledger);
        let mut exported = Vec::new();
        let attempt = async {
            exported = export_receipts(world).await?;
            let (origin, key) = receipt_key(world)?;
            for receipt in &exported {
                verify_receipt(receipt, &origin, &key)?;
            }
            let causes = audit(world, &exported, &origin)?;
            let referred: Vec<&str> = [
                Cause::PoliceNotGood,
                Cause::PoliceNotYet,
                Cause::CommitteeSuspended,
                Cause::BindingsDiffer,
                Cause::LetIn,
            ]
            .into_iter()
            .filter(|cause| causes.contains(cause))
            .map(Cause::name)
            .collect();
            let found =
                format!("{} verified; the auditor reads {}", exported.len(), referred.join(", "));
            Ok(Seen::new(referred.len() == 5, found))
        };
        let expected = "all verified, causes for the auditor only";
        ledger.expect("receipts exported and verified", expected, attempt).await;
        let attempt = async {
            let (origin, key) = receipt_key(world)?;
            let first = exported.first().ok_or_else(|| DemoError::unexpected("no receipt"))?;
            let mut forged = first.clone();
            forged.entry.time = forged.entry.time.plus_millis(60_000);
            Ok(match verify_receipt(&forged, &origin, &key) {
                Ok(_) => Seen::new(false, "accepted"),
                Err(error) => Seen::new(true, error.to_string()),
            })
        };
        ledger.expect("a receipt dated a minute later", "refused", attempt).await;
        Ok(())
    }
}

/// Checks as a scanner and overrides as a supervisor; returns the check and the override's receipt.
async fn override_check(
    world: &World,
    text: &str,
) -> Result<(gate::CheckResponse, u64), DemoError> {
    let nonce = nonce(&world.env);
    let checked = world.gate_1.check_as(text, MAIN, nonce.clone()).await?;
    let request = gate::OverrideRequest {
        receipt_id: checked.receipt_id,
        nonce,
        verdict: gate::Verdict::Admit.into(),
        reason: "known to me in person".to_owned(),
    };
    let overridden = world.gate_1.supervisor.clone().r#override(request).await;
    Ok((checked, call("override", overridden)?.receipt_id))
}

fn receipt_key(
    world: &World,
) -> Result<(ReceiptOrigin, lanyard_core::note::VerifyingKey), DemoError> {
    let origin = ReceiptOrigin::new(&world.manifest.event, GATE_1)?;
    let gate = world.manifest.gate(GATE_1);
    let gate = gate.ok_or_else(|| DemoError::unexpected("the manifest has no gate-1"))?;
    Ok((origin, gate.receipts.clone()))
}

async fn export_receipts(world: &World) -> Result<Vec<Receipt>, DemoError> {
    const WHAT: &str = "export receipts";
    const TITLE: &str = "lanyard receipt v1\n";
    let request = gate::ExportReceiptsRequest { from: 1, limit: 0 };
    let mut stream = call(WHAT, world.gate_1.operator.clone().export_receipts(request).await)?;
    let mut bytes = Vec::new();
    while let Some(part) = item(WHAT, stream.message().await)? {
        bytes.extend_from_slice(&part.data);
    }
    let text = String::from_utf8_lossy(&bytes);
    let receipts = text.split(TITLE).skip(1);
    Ok(receipts.map(|rest| Receipt::parse(&format!("{TITLE}{rest}"))).collect::<Result<_, _>>()?)
}

/// The causes in the bodies, as the police read them with the audit key.
fn audit(
    world: &World,
    receipts: &[Receipt],
    origin: &ReceiptOrigin,
) -> Result<Vec<Cause>, DemoError> {
    let key = Folder::open(world.folder(&Member::Police), &world.env).audit_key()?;
    let mut opened: Option<(Vec<u8>, AuditSession)> = None;
    let mut causes = Vec::new();
    for receipt in receipts {
        let (Some(session), Some(sealed)) = (&receipt.session, &receipt.sealed) else { continue };
        // Many receipts share a session, which takes longest to open.
        let known = opened.as_ref().is_some_and(|(bytes, _)| bytes == session.as_bytes());
        if !known {
            opened = Some((session.as_bytes().to_vec(), session.open(&key, origin)?));
        }
        let Some((_, session)) = &opened else { continue };
        causes.push(session.open(receipt.entry.sequence, sealed)?.body().cause);
    }
    Ok(causes)
}

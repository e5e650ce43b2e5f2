//! One check, and its override.

use clap::{Args, ValueEnum};
use lanyard_client::{Connection, call};
use lanyard_core::receipt::CheckNonce;
use lanyard_env::Env;
use lanyard_wire::gate::v1::{CheckRequest, Direction, OverrideRequest, Reason, Verdict};
use rand::Rng as _;
use serde_json::json;

use crate::context::{Context, facts};
use crate::error::CliError;
use crate::secrets::credential;

/// Which way.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DirectionName {
    /// Entering.
    In,
    /// Leaving.
    Out,
}

impl DirectionName {
    /// As the gate is asked.
    pub(crate) const fn wire(self) -> Direction {
        match self {
            Self::In => Direction::In,
            Self::Out => Direction::Out,
        }
    }
}

/// A verdict's stable name.
pub(crate) const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Admit => "ADMIT",
        Verdict::Deny => "DENY",
        Verdict::Refer => "REFER",
        Verdict::Undetermined | Verdict::Unspecified => "UNDETERMINED",
    }
}

/// Verdict and reason for people; a referral is its own reason.
fn words(verdict: &str, reason: &str) -> String {
    if reason.is_empty() || reason == verdict {
        verdict.to_owned()
    } else {
        format!("{verdict} {reason}")
    }
}

/// A reason's stable name; empty if nothing stands against the badge.
pub(crate) const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Unspecified | Reason::Good => "",
        Reason::Malformed => "MALFORMED",
        Reason::Stale => "STALE",
        Reason::Unknown => "UNKNOWN",
        Reason::Revoked => "REVOKED",
        Reason::Refer => "REFER",
        Reason::NotYetValid => "NOT_YET_VALID",
        Reason::Expired => "EXPIRED",
        Reason::WrongVenue => "WRONG_VENUE",
        Reason::WrongZone => "WRONG_ZONE",
        Reason::WrongTime => "WRONG_TIME",
        Reason::NoDirectory => "NO_DIRECTORY",
        Reason::Clock => "CLOCK",
    }
}

/// A fresh nonce: a retry under the same one is the same check.
pub(crate) fn nonce(env: &Env) -> Vec<u8> {
    let mut bytes = vec![0; CheckNonce::SIZE];
    env.rng().fill_bytes(&mut bytes);
    bytes
}

/// `lanyard gate check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The badge's text or a code scoped to gates; `-` reads it from stdin, where no list of processes shows it.
    text: String,
    /// The access point's id in the manifest.
    #[arg(long = "at", value_name = "ACCESS-POINT")]
    access_point: String,
    /// Which way.
    #[arg(long, value_enum, default_value = "in")]
    direction: DirectionName,
}

impl CheckArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let nonce = nonce(&context.env);
        let request = CheckRequest {
            credential: credential(&self.text)?.to_string(),
            access_point: self.access_point,
            direction: self.direction.wire().into(),
            nonce: nonce.clone(),
        };
        let answer = call("check the badge", connection.gate()?.check(request).await)?;
        let (verdict, reason) = (verdict_name(answer.verdict()), reason_name(answer.reason()));
        let nonce = hex::encode(nonce);
        let value = json!({
            "verdict": verdict, "reason": reason, "category": answer.category,
            "receipt": answer.receipt_id, "age_seconds": answer.age_seconds, "stale": answer.stale,
            "nonce": nonce,
        });
        context.show(&value, || {
            let age = match (answer.stale, answer.age_seconds) {
                (true, age) => format!("knowledge is {age} s old, no longer fresh"),
                (false, age) => format!("knowledge is {age} s old"),
            };
            facts([
                ("verdict", words(verdict, reason)),
                ("category", answer.category.clone()),
                ("as of", age),
                ("receipt", answer.receipt_id.to_string()),
                ("nonce", format!("{nonce} (a supervisor needs it to override)")),
            ])
        })?;
        if answer.verdict() == Verdict::Admit { Ok(()) } else { Err(CliError::Negative) }
    }
}

/// `lanyard gate override`.
#[derive(Args)]
pub(crate) struct OverrideArgs {
    /// The check's receipt.
    receipt: u64,
    /// The check's nonce, 32 hexadecimal digits: it shows that the check was made here.
    #[arg(long, value_name = "HEX", value_parser = parse_nonce)]
    nonce: Nonce,
    /// What the supervisor decided.
    #[arg(value_enum)]
    verdict: OverrideVerdict,
    /// Why; it is recorded beside your name.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Clone)]
struct Nonce(Vec<u8>);

#[derive(Clone, Copy, ValueEnum)]
enum OverrideVerdict {
    Admit,
    Deny,
}

fn parse_nonce(text: &str) -> Result<Nonce, String> {
    match hex::decode(text) {
        Ok(bytes) if bytes.len() == CheckNonce::SIZE => Ok(Nonce(bytes)),
        _ => Err("32 hexadecimal digits, as the check showed them".to_owned()),
    }
}

impl OverrideArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let verdict = match self.verdict {
            OverrideVerdict::Admit => Verdict::Admit,
            OverrideVerdict::Deny => Verdict::Deny,
        };
        let request = OverrideRequest {
            receipt_id: self.receipt,
            nonce: self.nonce.0,
            verdict: verdict.into(),
            reason: self.reason,
        };
        let answer = call("override the verdict", connection.gate()?.r#override(request).await)?;
        context.show(&json!({ "receipt": answer.receipt_id }), || {
            format!("recorded as receipt {}", answer.receipt_id)
        })
    }
}

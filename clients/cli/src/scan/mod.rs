//! `lanyard scan`: a scanner's loop.
//!
//! A keyboard-wedge scanner types what it reads and presses Enter; a pipe gives a line a badge. Each is checked once, under
//! a nonce that retries keep; what fails is shown as undetermined, and the loop goes on.

mod banner;
mod exchange;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::time::Instant;

use clap::Args;
use lanyard_client::Connection;
use lanyard_transport::{PartyName, Role};
use lanyard_wire::gate::v1::{CheckRequest, CheckResponse};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use self::exchange::Exchange;
use crate::context::{Actor, Context, say};
use crate::error::CliError;
use crate::gate::{DirectionName, nonce, reason_name, verdict_name};

/// Checks in one message, as the gate takes them at most.
const MESSAGE: usize = 64;
/// The most bytes of a line: any code is far shorter.
const MAX_LINE: u64 = 4_096;

/// `lanyard scan`.
#[derive(Args)]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    actor: Actor,
    /// The access point's id in the manifest.
    #[arg(long = "at", value_name = "ACCESS-POINT")]
    access_point: String,
    /// Which way.
    #[arg(long, value_enum, default_value = "in")]
    direction: DirectionName,
}

/// What came of one line.
struct Scanned {
    answer: Result<CheckResponse, String>,
    /// What a supervisor needs to override it.
    nonce: Vec<u8>,
    millis: u128,
}

impl ScanArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let roles = [Role::Scanner, Role::Supervisor];
        let connection = self.actor.connect(context, PartyName::Gate, &roles)?;
        self.check_access_point(&connection)?;
        let mut exchange = Exchange::new(connection.gate()?);
        let mut lines = lines();
        if io::stdin().is_terminal() {
            context.note("scan a badge, or type its text and press Enter; Ctrl-C ends");
        }
        let failed = |source| CliError::Io { action: "listen for Ctrl-C", source };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut count = 0_u64;
        loop {
            let mut batch = Vec::with_capacity(MESSAGE);
            tokio::select! {
                read = lines.recv_many(&mut batch, MESSAGE) => {
                    if read == 0 {
                        break;
                    }
                }
                _ = interrupt.recv() => break,
            }
            let requests = self.requests(context, batch)?;
            let nonces: Vec<Vec<u8>> = requests.iter().map(|check| check.nonce.clone()).collect();
            let started = Instant::now();
            let answers = tokio::select! {
                answers = exchange.check(requests) => answers,
                _ = interrupt.recv() => break,
            };
            let millis = started.elapsed().as_millis();
            for (answer, nonce) in answers.into_iter().zip(nonces) {
                count += 1;
                show(context, count, &Scanned { answer, nonce, millis })?;
            }
        }
        context.note(&format!("{count} checked"));
        Ok(())
    }

    fn check_access_point(&self, connection: &Connection) -> Result<(), CliError> {
        let manifest = connection.manifest();
        if manifest.access_point(&self.access_point).is_some() {
            return Ok(());
        }
        let known: Vec<&str> = manifest.access_points.iter().map(|one| one.id.as_str()).collect();
        let problem =
            format!("{:?} is not in the manifest; it has {}", self.access_point, known.join(", "));
        Err(CliError::option("--at", problem))
    }

    fn requests(
        &self,
        context: &Context,
        lines: Vec<Result<Zeroizing<String>, io::Error>>,
    ) -> Result<Vec<CheckRequest>, CliError> {
        lines
            .into_iter()
            .map(|line| {
                let line = line
                    .map_err(|source| CliError::Io { action: "read from the scanner", source })?;
                Ok(CheckRequest {
                    credential: line.to_string(),
                    access_point: self.access_point.clone(),
                    direction: self.direction.wire().into(),
                    nonce: nonce(&context.env),
                })
            })
            .collect()
    }
}

fn show(context: &Context, number: u64, scanned: &Scanned) -> Result<(), CliError> {
    if !context.json {
        return say(&banner::draw(&scanned.answer, banner::Look::of_stdout()));
    }
    let value = match &scanned.answer {
        Ok(answer) => json!({
            "number": number, "verdict": verdict_name(answer.verdict()),
            "reason": reason_name(answer.reason()), "category": answer.category,
            "receipt": answer.receipt_id, "age_seconds": answer.age_seconds,
            "stale": answer.stale, "nonce": hex::encode(&scanned.nonce), "millis": scanned.millis,
        }),
        Err(problem) => json!({
            "number": number, "verdict": "UNDETERMINED", "reason": "NO_ANSWER",
            "problem": problem, "millis": scanned.millis,
        }),
    };
    say(&value.to_string())
}

/// The lines of stdin, as they come. A thread reads them, as a terminal cannot be waited for otherwise.
fn lines() -> mpsc::Receiver<Result<Zeroizing<String>, io::Error>> {
    let (sender, receiver) = mpsc::channel(4 * MESSAGE);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let line = match read_line(&mut stdin) {
                Ok(None) => break,
                Ok(Some(line)) if line.is_empty() => continue,
                Ok(Some(line)) => Ok(line),
                Err(error) => Err(error),
            };
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// The next line without blanks around it; one that is too long is cut, and so refused by the gate. `None` at the end.
fn read_line(input: &mut impl io::BufRead) -> io::Result<Option<Zeroizing<String>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if !bytes.ends_with(b"\n") && bytes.len() as u64 == MAX_LINE {
        skip_line(input)?;
    }
    Ok(Some(Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned())))
}

fn skip_line(input: &mut impl io::BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_trimmed_and_long_ones_cut() {
        let long = "x".repeat(10_000);
        let text = format!("LY1:A B\r\n\n  {long}\nLY1:C");
        let mut input = io::BufReader::with_capacity(16, text.as_bytes());
        let mut next = || read_line(&mut input).unwrap();
        assert_eq!(next().unwrap().as_str(), "LY1:A B");
        assert_eq!(next().unwrap().as_str(), "");
        assert_eq!(next().unwrap().len(), MAX_LINE as usize - 2);
        assert_eq!(next().unwrap().as_str(), "LY1:C");
        assert!(next().is_none());
    }
}

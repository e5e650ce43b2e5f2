//! What both issuing stations do: open the issuing key, which never leaves here, derive prints, and write badge texts and QR
//! codes.
//!
//! First the seeds are registered, then the texts are written. A text is a function of the issuing key and the badge's
//! numbers, so whatever breaks in between loses no badge: `--include-issued` gives the same texts again.

use std::path::{Path, PathBuf};

use clap::Args;
use lanyard_client::Connection;
use lanyard_client::badge::{DerivedPrint, derive_print, qr_svg, qr_terminal};
use lanyard_core::badge::IssuingKey;
use lanyard_core::ids::{BadgeNumber, EventId, PrintNumber};
use lanyard_env::{Files, Mode};
use lanyard_wire::committee::v1::PrintSeeds;
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::{Context, say};
use crate::error::CliError;
use crate::secrets::PassphraseArgs;

/// Characters of a row of badges.csv beside the reference, at most.
const ROW_BYTES: usize = 192;

/// Where the texts go, and what opens the issuing key.
#[derive(Args)]
pub(crate) struct StationArgs {
    /// Where badges.csv goes (mode 0600), and the QR codes; `-` writes the CSV to stdout.
    #[arg(long, value_name = "DIR", default_value = "badges")]
    out: PathBuf,
    /// Write each QR code as SVG: DIR/qr/BADGE-PRINT.svg.
    #[arg(long)]
    qr: bool,
    /// Show each QR code in the terminal.
    #[arg(long)]
    show: bool,
    /// Replace an older badges.csv.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// What stands on a card.
pub(crate) struct Card {
    pub(crate) reference: String,
    pub(crate) full_name: String,
    pub(crate) category: String,
    pub(crate) badge_number: u32,
    pub(crate) print_number: u32,
}

/// A card with its text.
pub(crate) struct Issued {
    card: Card,
    text: Zeroizing<String>,
}

impl StationArgs {
    fn to_stdout(&self) -> bool {
        self.out == Path::new("-")
    }

    fn csv(&self) -> PathBuf {
        self.out.join("badges.csv")
    }

    /// Opens the issuing key, before anything is changed.
    pub(crate) fn open(
        &self,
        context: &Context,
        connection: &Connection,
    ) -> Result<IssuingKey, CliError> {
        let csv = self.csv();
        if !self.to_stdout() && !self.replace && context.env.files.exists(&csv)? {
            return Err(CliError::Exists { path: csv });
        }
        let passphrase = self.passphrase.read(&context.env)?;
        Ok(connection.folder().issuing_key(&passphrase)?)
    }

    /// Writes the texts of prints whose seeds are registered.
    pub(crate) fn write(
        &self,
        context: &Context,
        issued: &[Issued],
        registered: u64,
    ) -> Result<(), CliError> {
        let rows = rows(issued)?;
        if self.to_stdout() {
            let text = String::from_utf8_lossy(&rows);
            say(text.trim_end())?;
        } else {
            let files = &*context.env.files;
            files.create_dir_all(&self.out)?;
            files.write_atomic(&self.csv(), &rows, Mode::Private)?;
            if self.qr {
                self.write_qr(context, files, issued)?;
            }
        }
        if self.show {
            for one in issued {
                let Card { full_name, reference, category, .. } = &one.card;
                say(&format!(
                    "{full_name} · {category} · {reference}\n{}",
                    *qr_terminal(&one.text)?
                ))?;
            }
        }
        if self.to_stdout() {
            return Ok(());
        }
        let csv = self.csv();
        let value = json!({ "issued": issued.len(), "registered": registered, "file": csv });
        context.show(&value, || {
            format!(
                "{} badges issued, {registered} registered; their texts are in {}: print them, then destroy the file",
                issued.len(),
                csv.display()
            )
        })
    }

    fn write_qr(
        &self,
        context: &Context,
        files: &dyn Files,
        issued: &[Issued],
    ) -> Result<(), CliError> {
        let dir = self.out.join("qr");
        files.create_dir_all(&dir)?;
        let bar = context.progress("writing QR codes", Some(issued.len() as u64));
        for one in issued {
            let name = format!("{}-{}.svg", one.card.badge_number, one.card.print_number);
            let svg = qr_svg(&one.text)?;
            files.write_atomic(&dir.join(name), svg.as_bytes(), Mode::Private)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Derives the texts and seeds of cards.
pub(crate) fn derive(
    context: &Context,
    key: &IssuingKey,
    event: &EventId,
    cards: Vec<Card>,
) -> Result<(Vec<Issued>, Vec<PrintSeeds>), CliError> {
    let bar = context.progress("deriving badges", Some(cards.len() as u64));
    let (mut issued, mut seeds) =
        (Vec::with_capacity(cards.len()), Vec::with_capacity(cards.len()));
    for card in cards {
        let number = u16::try_from(card.print_number).map_err(|_| {
            let problem =
                format!("{}: print number {} is too large", card.reference, card.print_number);
            CliError::option("REFERENCE", problem)
        })?;
        let badge = BadgeNumber::new(card.badge_number);
        let DerivedPrint { text, seeds: of_print } =
            derive_print(key, event, badge, PrintNumber::new(number));
        issued.push(Issued { card, text: Zeroizing::new(text.expose_str().to_owned()) });
        seeds.push(of_print);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((issued, seeds))
}

/// That a reference which was asked for has nothing to issue.
pub(crate) fn all_found(references: &[String], cards: &[Card], why: &str) -> Result<(), CliError> {
    let missing = |reference: &&String| cards.iter().all(|card| card.reference != **reference);
    match references.iter().find(missing) {
        None => Ok(()),
        Some(reference) => {
            Err(CliError::option("REFERENCE", format!("{reference}: nothing to issue; {why}")))
        }
    }
}

/// badges.csv. Sized beforehand, so that growing leaves no copies of the texts behind.
fn rows(issued: &[Issued]) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |source: csv::Error| CliError::Io {
        action: "write badges.csv",
        source: std::io::Error::other(source),
    };
    let length = issued.iter().map(|one| {
        ROW_BYTES
            + one.card.reference.len()
            + 2 * one.card.full_name.len()
            + one.card.category.len()
    });
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROW_BYTES + length.sum::<usize>()));
    let mut writer = csv::WriterBuilder::new().from_writer(&mut *bytes);
    let header =
        ["reference", "badge_number", "print_number", "badge_text", "full_name", "category"];
    writer.write_record(header).map_err(failed)?;
    for Issued { card, text } in issued {
        let (badge, number) = (card.badge_number.to_string(), card.print_number.to_string());
        let record =
            [&card.reference, &badge, &number, text.as_str(), &card.full_name, &card.category];
        writer.write_record(record).map_err(failed)?;
    }
    writer.flush().map_err(|source| CliError::Io { action: "write badges.csv", source })?;
    drop(writer);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_whatever_the_name() {
        let card = Card {
            reference: "A-1".into(),
            full_name: "O'Brien, \"Zoë\"".into(),
            category: "Athlete".into(),
            badge_number: 7,
            print_number: 2,
        };
        let text = Zeroizing::new("LY1:ABC".to_owned());
        let bytes = rows(&[Issued { card, text }]).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let record = reader.records().next().unwrap().unwrap();
        let fields: Vec<&str> = record.iter().collect();
        assert_eq!(fields, ["A-1", "7", "2", "LY1:ABC", "O'Brien, \"Zoë\"", "Athlete"]);
        assert!(rows(&[]).unwrap().starts_with(b"reference,badge_number,print_number,badge_text"));
    }
}

//! The issuing station: badge texts and QR codes from the issuing key, which never leaves here.
//!
//! First the seeds are registered, then the texts are written. A text is a function of the issuing key and the badge's
//! numbers, so whatever breaks in between loses no badge: `--include-issued` gives the same texts again.

use std::path::{Path, PathBuf};

use clap::Args;
use lanyard_client::badge::{DerivedPrint, derive_print, qr_svg, qr_terminal};
use lanyard_client::{Connection, call, item};
use lanyard_core::badge::IssuingKey;
use lanyard_core::ids::{BadgeNumber, EventId, PrintNumber};
use lanyard_env::{Files, Mode};
use lanyard_wire::committee::v1::{ListPrintsRequest, Print, PrintSeeds, RegisterPrintsRequest};
use serde_json::json;
use zeroize::Zeroizing;

use super::import::chunks;
use crate::context::{Context, say};
use crate::error::CliError;
use crate::secrets::PassphraseArgs;

/// Prints in one message.
const MESSAGE: usize = 500;
/// Characters of a row of badges.csv beside the reference, at most.
const ROW_BYTES: usize = 192;

/// `lanyard committee issue`.
#[derive(Args)]
pub(crate) struct IssueArgs {
    /// Only these people's badges; without it, all that wait.
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// Where badges.csv goes (mode 0600), and the QR codes; `-` writes the CSV to stdout.
    #[arg(long, value_name = "DIR", default_value = "badges")]
    out: PathBuf,
    /// Only people whom screening cleared.
    #[arg(long)]
    cleared_only: bool,
    /// Badges that were issued before too: the same texts again, for a damaged card or a lost file.
    #[arg(long)]
    include_issued: bool,
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

/// A print with its text.
struct Issued {
    print: Print,
    text: Zeroizing<String>,
}

impl IssueArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let to_stdout = self.out == Path::new("-");
        let csv = self.out.join("badges.csv");
        // Before anything is changed.
        if !to_stdout && !self.replace && context.env.files.exists(&csv)? {
            return Err(CliError::Exists { path: csv });
        }
        let passphrase = self.passphrase.read(&context.env)?;
        let key = connection.folder().issuing_key(&passphrase)?;
        let prints = self.list(connection).await?;
        let (issued, seeds) = derive(context, &key, &connection.manifest().event, prints)?;
        drop(key);
        let registered = register(context, connection, seeds).await?;

        let rows = rows(&issued)?;
        if to_stdout {
            let text = String::from_utf8_lossy(&rows);
            say(text.trim_end())?;
        } else {
            let files = &*context.env.files;
            files.create_dir_all(&self.out)?;
            files.write_atomic(&csv, &rows, Mode::Private)?;
            if self.qr {
                self.write_qr(context, files, &issued)?;
            }
        }
        if self.show {
            for one in &issued {
                let Print { full_name, reference, category, .. } = &one.print;
                say(&format!(
                    "{full_name} · {category} · {reference}\n{}",
                    *qr_terminal(&one.text)?
                ))?;
            }
        }
        if to_stdout {
            return Ok(());
        }
        let value = json!({ "issued": issued.len(), "registered": registered, "file": csv });
        context.show(&value, || {
            format!(
                "{} badges issued, {registered} registered; their texts are in {}: print them, then destroy the file",
                issued.len(),
                csv.display()
            )
        })
    }

    async fn list(&self, connection: &Connection) -> Result<Vec<Print>, CliError> {
        const WHAT: &str = "list what waits for issue";
        let request = ListPrintsRequest {
            references: self.references.clone(),
            cleared_only: self.cleared_only,
            include_issued: self.include_issued,
        };
        let mut stream = call(WHAT, connection.badges()?.list_prints(request).await)?;
        let mut prints = Vec::new();
        while let Some(message) = item(WHAT, stream.message().await)? {
            prints.extend(message.prints);
        }
        let missing = self
            .references
            .iter()
            .find(|reference| prints.iter().all(|print| print.reference != **reference));
        match missing {
            None => Ok(prints),
            Some(reference) => Err(CliError::option(
                "REFERENCE",
                format!(
                    "{reference}: nothing to issue; it is unknown, not cleared, or issued already (then \
                     --include-issued)"
                ),
            )),
        }
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
            let name = format!("{}-{}.svg", one.print.badge_number, one.print.print_number);
            let svg = qr_svg(&one.text)?;
            files.write_atomic(&dir.join(name), svg.as_bytes(), Mode::Private)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

fn derive(
    context: &Context,
    key: &IssuingKey,
    event: &EventId,
    prints: Vec<Print>,
) -> Result<(Vec<Issued>, Vec<PrintSeeds>), CliError> {
    let bar = context.progress("deriving badges", Some(prints.len() as u64));
    let (mut issued, mut seeds) =
        (Vec::with_capacity(prints.len()), Vec::with_capacity(prints.len()));
    for print in prints {
        let number = u16::try_from(print.print_number).map_err(|_| {
            let problem =
                format!("{}: print number {} is too large", print.reference, print.print_number);
            CliError::option("REFERENCE", problem)
        })?;
        let badge = BadgeNumber::new(print.badge_number);
        let DerivedPrint { text, seeds: of_print } =
            derive_print(key, event, badge, PrintNumber::new(number));
        issued.push(Issued { print, text: Zeroizing::new(text.expose_str().to_owned()) });
        seeds.push(of_print);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((issued, seeds))
}

async fn register(
    context: &Context,
    connection: &Connection,
    seeds: Vec<PrintSeeds>,
) -> Result<u64, CliError> {
    if seeds.is_empty() {
        return Ok(0);
    }
    let bar = context.progress("registering seeds", Some(seeds.len() as u64));
    let messages = chunks(seeds, MESSAGE).map({
        let bar = bar.clone();
        move |prints| {
            bar.inc(prints.len() as u64);
            RegisterPrintsRequest { prints }
        }
    });
    let answer = connection.badges()?.register_prints(tokio_stream::iter(messages)).await;
    bar.finish_and_clear();
    Ok(call("register the badges", answer)?.registered)
}

/// badges.csv. Sized beforehand, so that growing leaves no copies of the texts behind.
fn rows(issued: &[Issued]) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |source: csv::Error| CliError::Io {
        action: "write badges.csv",
        source: std::io::Error::other(source),
    };
    let length = issued.iter().map(|one| {
        ROW_BYTES
            + one.print.reference.len()
            + 2 * one.print.full_name.len()
            + one.print.category.len()
    });
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROW_BYTES + length.sum::<usize>()));
    let mut writer = csv::WriterBuilder::new().from_writer(&mut *bytes);
    let header =
        ["reference", "badge_number", "print_number", "badge_text", "full_name", "category"];
    writer.write_record(header).map_err(failed)?;
    for Issued { print, text } in issued {
        let (badge, number) = (print.badge_number.to_string(), print.print_number.to_string());
        let record =
            [&print.reference, &badge, &number, text.as_str(), &print.full_name, &print.category];
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
        let print = Print {
            reference: "A-1".into(),
            full_name: "O'Brien, \"Zoë\"".into(),
            category: "Athlete".into(),
            badge_number: 7,
            print_number: 2,
        };
        let text = Zeroizing::new("LY1:ABC".to_owned());
        let bytes = rows(&[Issued { print, text }]).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let record = reader.records().next().unwrap().unwrap();
        let fields: Vec<&str> = record.iter().collect();
        assert_eq!(fields, ["A-1", "7", "2", "LY1:ABC", "O'Brien, \"Zoë\"", "Athlete"]);
        assert!(rows(&[]).unwrap().starts_with(b"reference,badge_number,print_number,badge_text"));
    }
}

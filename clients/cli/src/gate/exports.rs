//! What a gate can prove: receipts and attestations, in files that `lanyard verify` reads.

use std::path::PathBuf;

use clap::Args;
use lanyard_client::{Connection, call, item};
use lanyard_env::Mode;
use lanyard_wire::gate::v1::{ExportAttestationsRequest, ExportReceiptsRequest};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::secrets::credential;
use crate::verify::write_attestations;

/// `lanyard gate receipts`.
#[derive(Args)]
pub(crate) struct ReceiptsArgs {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The first receipt.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// At most this many; 0 is all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u64,
}

impl ReceiptsArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        const WHAT: &str = "export receipts";
        let request = ExportReceiptsRequest { from: self.from, limit: self.limit };
        let mut stream = call(WHAT, connection.gate()?.export_receipts(request).await)?;
        let bar = context.progress("bytes of receipts", None);
        let mut bytes = Vec::new();
        while let Some(part) = item(WHAT, stream.message().await)? {
            bar.inc(part.data.len() as u64);
            bytes.extend_from_slice(&part.data);
        }
        bar.finish_and_clear();
        context.env.files.write_atomic(&self.out, &bytes, Mode::Private)?;
        context.show(&json!({ "file": self.out, "bytes": bytes.len() }), || {
            format!(
                "{} bytes of receipts in {path}; verify them with: lanyard verify {path} --manifest FOLDER",
                bytes.len(),
                path = self.out.display()
            )
        })
    }
}

/// `lanyard gate attest`.
#[derive(Args)]
pub(crate) struct AttestArgs {
    /// The badge's text or a code scoped to gates; `-` reads it from stdin, where no list of processes shows it.
    text: String,
    /// The file to write; it opens the badge's records of this epoch, so mind who reads it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl AttestArgs {
    pub(crate) async fn run(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let request = ExportAttestationsRequest { credential: credential(&self.text)?.to_string() };
        let answer = connection.gate()?.export_attestations(request).await;
        let attestations = call("export attestations", answer)?.attestations;
        write_attestations(context, &self.out, &attestations)?;
        let value = json!({ "file": self.out, "attestations": attestations.len() });
        context.show(&value, || {
            format!(
                "{} attestations in {path}; verify them with: lanyard verify {path} --manifest FOLDER",
                attestations.len(),
                path = self.out.display()
            )
        })
    }
}

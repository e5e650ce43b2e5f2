//! `lanyard lookup`: a badge at any mirror, verified here.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use lanyard_client::{Question, ThinVerifier};
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::Presented;
use lanyard_core::ids::{Audience, Authority, Epoch};
use lanyard_party::read_private_text;
use lanyard_transport::Role;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use serde_json::json;
use zeroize::Zeroizing;

use crate::code::AudienceName;
use crate::context::{Actor, Context, facts, time};
use crate::error::CliError;
use crate::secrets::credential;
use crate::verify::record_status;

/// `lanyard lookup`.
#[derive(Args)]
pub(crate) struct LookupArgs {
    #[command(flatten)]
    actor: Actor,
    /// The badge's text or a scoped code; `-` reads it from stdin, where no list of processes shows it.
    text: String,
    /// The mirror to ask, by its name in the folder's [peers]; the party itself is one too.
    #[arg(long, value_name = "PARTY", default_value = "sponsor")]
    mirror: String,
    /// Whose word: committee or police.
    #[arg(long, value_name = "AUTHORITY", default_value = "committee", value_parser = authority)]
    authority: Authority,
    /// The directory's audience.
    #[arg(long, value_enum, default_value = "gate")]
    audience: AudienceName,
    /// The directory's epoch; without it, the one that is live now by the manifest.
    #[arg(long, value_name = "N")]
    epoch: Option<u32>,
    /// A file with the directory's audience key, 32 bytes in base64, to open the record.
    #[arg(long, value_name = "FILE")]
    audience_key: Option<PathBuf>,
    /// How many bits of the handle the mirror may learn; more are given only if it has too many records under them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=64))]
    bits: Option<u8>,
    /// Where the verified state of the logs is remembered; without it, FOLDER/lookup.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

fn authority(text: &str) -> Result<Authority, String> {
    Authority::parse(text).map_err(|error| error.to_string())
}

impl LookupArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        let roles = [Role::Operator, Role::Desk];
        let connection = self.actor.connect_any(context, &roles)?;
        let manifest = connection.manifest();
        let epoch = self.epoch.map_or_else(|| manifest.epoch_at(context.env.now()), Epoch::new);
        let audience = Audience::from(self.audience);
        let presented = Presented::parse(&credential(&self.text)?, &manifest.event)?;
        let epoch_key = presented.epoch_key(&manifest.event, self.authority, audience, epoch);
        let epoch_key = epoch_key.ok_or_else(|| {
            CliError::option("TEXT", "the code is scoped to another audience or epoch")
        })?;
        let audience_key = self.audience_key(context)?;
        let question = Question {
            authority: self.authority,
            audience,
            epoch,
            epoch_key: &epoch_key,
            audience_key: audience_key.as_ref(),
            bits: self.bits,
        };
        let state = match self.state {
            Some(state) => state,
            None => connection.folder().path().join("lookup"),
        };
        let mut mirror = match &self.actor.address {
            Some(address) => FeedServiceClient::new(connection.channel_at(&self.mirror, address)?),
            None => connection.feed(&self.mirror)?,
        };
        let verifier = ThinVerifier::new(&context.env, state);
        let found = verifier.look_up(&mut mirror, manifest, &question).await?;
        let known = time(found.freshness.time());
        let status = found.record.map(|record| record_status(record.status));
        let value = json!({
            "authority": self.authority.name(), "audience": audience.name(), "epoch": epoch.get(),
            "present": found.sealed.is_some(), "status": status,
            "version": found.sealed.map(|sealed| sealed.version()),
            "log_size": found.size, "known_at_millis": found.freshness.time().millis(),
            "prefix_bits": found.bits, "among": found.rows,
        });
        context.show(&value, || {
            let says = match (&found.sealed, status) {
                (None, _) => "no record, which is proven".to_owned(),
                (Some(_), Some(status)) => status.to_owned(),
                (Some(sealed), None) => format!("a sealed record, version {}", sealed.version()),
            };
            facts([
                ("authority", self.authority.to_string()),
                ("says", says),
                ("as of", known),
                ("log", format!("{} leaves, consistent with all seen before", found.size)),
                (
                    "the mirror learnt",
                    format!("{} bits, shared by {} records", found.bits, found.rows),
                ),
            ])
        })?;
        if found.sealed.is_some() { Ok(()) } else { Err(CliError::Negative) }
    }

    fn audience_key(&self, context: &Context) -> Result<Option<AudienceKey>, CliError> {
        let Some(path) = &self.audience_key else { return Ok(None) };
        let text = read_private_text(&*context.env.files, path)?;
        let bytes = BASE64.decode(text.trim()).ok().map(Zeroizing::new);
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let bytes = bytes.ok_or_else(|| CliError::content(path, "not 32 bytes in base64"))?;
        Ok(Some(AudienceKey::from_bytes(bytes)))
    }
}

//! `lanyard code`: what a phone shows instead of the badge.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lanyard_client::badge::qr_terminal;
use lanyard_core::badge::{BadgeText, ScopedCode};
use lanyard_core::ids::{Audience, Epoch, EventId};
use lanyard_party::{Folder, ManifestStore};
use serde_json::json;

use crate::context::{Context, say};
use crate::error::CliError;
use crate::secrets::credential;

/// `lanyard code`.
#[derive(Args)]
pub(crate) struct CodeArgs {
    /// The badge's text; `-` reads it from stdin, where no list of processes shows it.
    text: String,
    /// Whom the code is for.
    #[arg(long, value_enum)]
    audience: AudienceName,
    /// The event; or give a party's folder.
    #[arg(long, value_name = "ID", required_unless_present = "folder")]
    event: Option<String>,
    /// The epoch; without it, the one that is live now by the manifest in the folder, and around a change of epochs the other
    /// one too.
    #[arg(long, value_name = "N", required_unless_present = "folder")]
    epoch: Option<u32>,
    /// A party's folder, for its manifest.
    #[arg(long, env = "LANYARD_FOLDER", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Show the code as a QR code too.
    #[arg(long)]
    show: bool,
}

/// An audience by name.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum AudienceName {
    /// The gates.
    Gate,
    /// The police.
    Police,
    /// The sponsor.
    Sponsor,
}

impl From<AudienceName> for Audience {
    fn from(name: AudienceName) -> Self {
        match name {
            AudienceName::Gate => Self::Gate,
            AudienceName::Police => Self::Police,
            AudienceName::Sponsor => Self::Sponsor,
        }
    }
}

impl CodeArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), CliError> {
        let manifest = match &self.folder {
            Some(folder) => {
                let folder = Folder::open(folder, &context.env);
                Some(ManifestStore::open(&folder)?.current())
            }
            None => None,
        };
        let missing = |option| CliError::option(option, "give it, or a party's folder");
        let event = match (&self.event, &manifest) {
            (Some(event), _) => EventId::parse(event)?,
            (None, Some(manifest)) => manifest.event.clone(),
            (None, None) => return Err(missing("--event")),
        };
        let audience = Audience::from(self.audience);
        let epochs = match (self.epoch, &manifest) {
            (Some(epoch), _) => Epoch::new(epoch).into(),
            (None, Some(manifest)) => manifest.code_epochs(audience, context.env.now()),
            (None, None) => return Err(missing("--epoch")),
        };
        let secret = BadgeText::parse(&credential(&self.text)?, &event)?;
        let code = ScopedCode::derive(&secret, &event, audience, epochs).to_text(&event);
        if context.json {
            let value = json!({
                "code": *code, "audience": audience.name(), "epoch": epochs.oldest().get(),
                "last_epoch": epochs.newest().get(),
            });
            return say(&value.to_string());
        }
        say(&code)?;
        if self.show {
            say(&qr_terminal(&code)?)?;
        }
        Ok(())
    }
}

//! Secrets that a person gives: the issuing passphrase, and the text of a badge.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use lanyard_env::Env;
use zeroize::Zeroizing;

use crate::error::CliError;

/// The variable that may hold the passphrase.
const VARIABLE: &str = "LANYARD_PASSPHRASE";
/// The most bytes that are read as a passphrase or a credential.
const LIMIT: u64 = 4_096;

/// Where the passphrase of the issuing key comes from.
#[derive(Args, Clone)]
pub(crate) struct PassphraseArgs {
    /// A file whose first line is the passphrase of the issuing key; without it, LANYARD_PASSPHRASE, or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase of an issuing key that exists.
    pub(crate) fn read(&self, env: &Env) -> Result<Zeroizing<String>, CliError> {
        match self.given(env)? {
            Some(passphrase) => Ok(passphrase),
            None => prompt("Passphrase of the issuing key: "),
        }
    }

    /// The passphrase of an issuing key that is about to be made: asked for twice.
    pub(crate) fn read_new(&self, env: &Env) -> Result<Zeroizing<String>, CliError> {
        if let Some(passphrase) = self.given(env)? {
            return Ok(passphrase);
        }
        let passphrase = prompt("New passphrase of the issuing key: ")?;
        if prompt("The same again: ")? == passphrase {
            Ok(passphrase)
        } else {
            Err(CliError::option("passphrase", "the two differ; try again"))
        }
    }

    /// The passphrase, if it is given without a prompt.
    pub(crate) fn given(&self, env: &Env) -> Result<Option<Zeroizing<String>>, CliError> {
        if let Some(path) = &self.passphrase_file {
            return first_line(env, path).map(Some);
        }
        Ok(std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()).map(Zeroizing::new))
    }
}

fn prompt(text: &str) -> Result<Zeroizing<String>, CliError> {
    if !io::stdin().is_terminal() {
        let problem = format!("needed; give --passphrase-file, or set {VARIABLE}");
        return Err(CliError::option("passphrase", problem));
    }
    rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .map_err(|source| CliError::Io { action: "read the passphrase", source })
}

fn first_line(env: &Env, path: &Path) -> Result<Zeroizing<String>, CliError> {
    let bytes = Zeroizing::new(env.files.read(path)?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| CliError::content(path, "a passphrase is text in UTF-8"))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CliError::content(path, "the first line is empty; it must be the passphrase"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// A badge text or scoped code as given: itself, or `-` for a line from stdin, where no process list shows it.
pub(crate) fn credential(given: &str) -> Result<Zeroizing<String>, CliError> {
    if given != "-" {
        return Ok(Zeroizing::new(given.trim().to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin()
        .lock()
        .take(LIMIT)
        .read_to_string(&mut text)
        .map_err(|source| CliError::Io { action: "read the badge from stdin", source })?;
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
        None => Err(CliError::option("TEXT", "stdin is empty; a badge text was expected there")),
    }
}

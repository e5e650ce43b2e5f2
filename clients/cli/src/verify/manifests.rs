//! The manifests to verify under: a folder's whole chain, or one note.

use std::path::{Path, PathBuf};

use lanyard_core::ids::Hash;
use lanyard_core::manifest::{
    MAX_MANIFEST_BYTES, ManifestTrust, VerifiedManifest, verify_manifest,
};
use lanyard_core::note::VerifyingKey;
use lanyard_env::Files;

use crate::error::CliError;

/// Verified manifests by ascending version; at least one.
pub(super) struct Manifests {
    older: Vec<VerifiedManifest>,
    newest: VerifiedManifest,
}

impl Manifests {
    /// Reads a party's folder, or a signed manifest.
    pub(super) fn read(
        files: &dyn Files,
        path: &Path,
        trust: Option<&Path>,
    ) -> Result<Self, CliError> {
        let chain = path.join("manifests");
        let is_folder = path.is_dir();
        let notes = if is_folder { notes(files, &chain)? } else { vec![path.to_owned()] };
        let beside = if is_folder { path.to_owned() } else { parent(path) }.join("trust.json");
        let trust = read_trust(files, trust.unwrap_or(&beside))?;
        let mut verified: Vec<VerifiedManifest> = Vec::new();
        for note in &notes {
            let text = read_note(files, note)?;
            let next = match verified.last() {
                None => verify_manifest(&text, &trust),
                Some(held) => held.accept_successor(&text),
            };
            verified.push(next.map_err(|error| CliError::content(note, error))?);
        }
        match verified.pop() {
            Some(newest) => Ok(Self { older: verified, newest }),
            None => {
                Err(CliError::content(chain, "no manifest here; run the ceremony's step: adopt"))
            }
        }
    }

    /// The newest.
    pub(super) const fn newest(&self) -> &VerifiedManifest {
        &self.newest
    }

    /// The one of this hash.
    pub(super) fn of(&self, hash: &Hash) -> Option<&VerifiedManifest> {
        self.all().find(|manifest| manifest.hash() == *hash)
    }

    /// Every key that a gate of this name ever signed receipts with, the newest first.
    pub(super) fn receipt_keys(&self, gate: &str) -> Vec<VerifyingKey> {
        let mut keys = Vec::new();
        for key in self.all().filter_map(|manifest| Some(&manifest.gate(gate)?.receipts)) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    fn all(&self) -> impl Iterator<Item = &VerifiedManifest> {
        std::iter::once(&self.newest).chain(self.older.iter().rev())
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// `VERSION.note`, ascending.
fn notes(files: &dyn Files, dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut versions: Vec<u32> = files
        .list(dir)?
        .iter()
        .filter_map(|name| name.strip_suffix(".note")?.parse().ok())
        .collect();
    versions.sort_unstable();
    Ok(versions.into_iter().map(|version| dir.join(format!("{version}.note"))).collect())
}

fn read_note(files: &dyn Files, path: &Path) -> Result<String, CliError> {
    let bytes = files.read(path)?;
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(CliError::content(path, format!("{} bytes are no manifest", bytes.len())));
    }
    String::from_utf8(bytes)
        .map_err(|_| CliError::content(path, "not text; give a signed manifest"))
}

fn read_trust(files: &dyn Files, path: &Path) -> Result<ManifestTrust, CliError> {
    let Some(bytes) = files.read_if_exists(path)? else {
        let problem = "not there; it says which authorities' keys are trusted: give it with --trust, as it stands in \
                       every party's folder";
        return Err(CliError::content(path, problem));
    };
    serde_json::from_slice(&bytes).map_err(|error| CliError::content(path, error))
}

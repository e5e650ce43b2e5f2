//! Manifests that both authorities signed, and the chain that they form.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::problem::ManifestError;
use super::{MAX_MANIFEST_BYTES, Manifest};
use crate::ids::Hash;
use crate::note::{Note, SigningKey, VerifyingKey};

/// The two keys that a party pins before it has seen a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestTrust {
    /// The committee's manifest key.
    pub committee: VerifyingKey,
    /// The police's manifest key.
    pub police: VerifyingKey,
}

impl ManifestTrust {
    /// Verifies that both signed the text.
    fn verify(&self, note: &Note) -> Result<(), ManifestError> {
        if self.committee.public_key() == self.police.public_key() {
            return Err(ManifestError::OneTrustedKey);
        }
        note.verify_all(&[self.committee.clone(), self.police.clone()])?;
        Ok(())
    }
}

/// Signs a manifest's text, after reading it as a manifest.
///
/// # Errors
/// As [`Manifest::parse_text`].
pub fn sign_manifest(text: &str, keys: &[&SigningKey]) -> Result<Note, ManifestError> {
    Manifest::parse_text(text)?;
    Ok(Note::sign(text, keys)?)
}

/// Verifies a manifest that both pinned keys signed.
///
/// # Errors
/// [`ManifestError`]: a signature is missing or bad, or the text is no valid manifest.
pub fn verify_manifest(
    note: &str,
    trusted: &ManifestTrust,
) -> Result<VerifiedManifest, ManifestError> {
    let note = Note::parse_with_limit(note, MAX_MANIFEST_BYTES)?;
    trusted.verify(&note)?;
    let manifest = Manifest::parse_text(note.text())?;
    let hash = Manifest::hash_text(note.text());
    Ok(VerifiedManifest { manifest, note, hash })
}

/// A manifest that both authorities signed.
#[derive(Debug, Clone)]
pub struct VerifiedManifest {
    manifest: Manifest,
    note: Note,
    hash: Hash,
}

impl VerifiedManifest {
    /// The signed note, to be kept and passed on.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// BLAKE3 of the signed text, without the signatures: how map heads and the next manifest name this one.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The manifest without its signatures, to make the next version from.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The keys that must sign the next manifest.
    #[must_use]
    pub fn trust(&self) -> ManifestTrust {
        let authorities = &self.manifest.authorities;
        ManifestTrust {
            committee: authorities.committee.manifest.clone(),
            police: authorities.police.manifest.clone(),
        }
    }

    /// Verifies a later manifest, which both of *this* one's keys must have signed. The same manifest again is accepted.
    /// A version that skips others cannot be checked against their hashes; its signatures vouch for it.
    ///
    /// # Errors
    /// [`ManifestError`]; this manifest stays the one to work under.
    pub fn accept_successor(&self, note: &str) -> Result<Self, ManifestError> {
        // The holder's own manifest needs no second check, even when its successor's keys differ from its signers'.
        if Note::parse_with_limit(note, MAX_MANIFEST_BYTES)?.text() == self.note.text() {
            return Ok(self.clone());
        }
        let next = verify_manifest(note, &self.trust())?;
        let (held, given) = (self.manifest.version, next.manifest.version);
        if next.manifest.event != self.manifest.event {
            let (expected, given) = (self.manifest.event.clone(), next.manifest.event);
            return Err(ManifestError::OtherEvent { expected, given });
        }
        if given < held {
            return Err(ManifestError::Rollback { held, given });
        }
        if given == held {
            return Err(ManifestError::Forked { version: held });
        }
        let found = next.manifest.previous;
        if given == held + 1 && found != Some(self.hash) {
            return Err(ManifestError::OtherPrevious { version: given, held: self.hash, found });
        }
        let (held, given) = (self.manifest.epochs.first.get(), next.manifest.epochs.first.get());
        if given < held {
            return Err(ManifestError::EpochsRunBack { held, given });
        }
        self.manifest.check_ends(&next.manifest)?;
        Ok(next)
    }
}

impl Deref for VerifiedManifest {
    type Target = Manifest;
    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

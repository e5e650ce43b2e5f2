//! Signed notes: text under one or more signatures (C2SP signed-note).
//!
//! A [`Note`] is only parsed; its text means nothing before [`Note::verify`] has returned a [`VerifiedNote`].
//! Checkpoints, manifests and receipt heads are notes.

mod key;
mod signature;
#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

pub(crate) use key::KeyPair;
pub use key::{Algorithm, KeyId, KeyName, SigningKey, VerifyingKey};
pub use signature::NoteSignature;

/// The most bytes of a note, unless its reader allows more: 64 KiB.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// The most signatures of a note.
pub const MAX_SIGNATURES: usize = 64;
/// The most bytes of one signature, key id included: room for post-quantum ones.
pub const MAX_SIGNATURE_BYTES: usize = 8 * 1024;
/// The most bytes of a key's name.
pub const MAX_NAME_BYTES: usize = 255;

/// Why a note, a signature line or a key is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteError {
    /// More bytes than the reader allows.
    #[error("note: {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("note: not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where the first bad byte stands.
        offset: usize,
    },
    /// An ASCII control character other than newline.
    #[error("note: control character {byte:#04x} at byte {offset}")]
    ControlCharacter {
        /// The character.
        byte: u8,
        /// Where it stands.
        offset: usize,
    },
    /// The text to sign does not end in a newline.
    #[error("note: the text must end in a newline")]
    UnfinishedText,
    /// No blank line between text and signatures, or nothing before it.
    #[error("note: no text followed by a blank line and signatures")]
    NoSignatureBlock,
    /// The note does not end in a newline.
    #[error("note: the last signature line does not end in a newline")]
    UnfinishedLine,
    /// More signatures than allowed.
    #[error("note: more than {limit} signatures")]
    TooManySignatures {
        /// Signatures allowed.
        limit: usize,
    },
    /// A signature line that is not `— NAME BASE64`.
    #[error("note: signature line {line}: {problem}")]
    SignatureLine {
        /// Which signature line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key's name that a note cannot carry.
    #[error(
        "key name {given:?}: use 1 to 255 bytes without spaces, control characters or a plus sign"
    )]
    Name {
        /// What was given.
        given: String,
    },
    /// A key in text that does not parse; the text itself may be secret and is not repeated.
    #[error("{kind} key: {problem}")]
    Key {
        /// `signing`, `witness` or `verifying`.
        kind: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key of another algorithm than the use demands.
    #[error("key {name}: it is for {found}, a key for {expected} is needed")]
    WrongAlgorithm {
        /// The key's name.
        name: KeyName,
        /// What it is for.
        found: Algorithm,
        /// What was needed.
        expected: Algorithm,
    },
    /// A signature under a known key that does not verify: the whole note is refused.
    #[error("note: the signature of {name} does not verify")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// No signature by any of the keys asked for.
    #[error("note: not signed by any of: {}", listed(expected))]
    Unsigned {
        /// The keys asked for.
        expected: Vec<KeyName>,
    },
    /// Text and signatures belong to notes with different texts.
    #[error("note: the signatures are of another text")]
    OtherText,
}

fn listed(names: &[KeyName]) -> String {
    names.iter().map(KeyName::as_str).collect::<Vec<_>>().join(", ")
}

/// A text with signature lines, none of them verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Signs `text`, which must end in a newline and hold no other control character.
    ///
    /// # Errors
    /// [`NoteError::UnfinishedText`], [`NoteError::ControlCharacter`], [`NoteError::TooManySignatures`].
    pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<Self, NoteError> {
        let mut note = Self::unsigned(text)?;
        for key in keys {
            note.add(key.sign(text))?;
        }
        Ok(note)
    }

    /// A text without signatures yet.
    ///
    /// # Errors
    /// [`NoteError::UnfinishedText`], [`NoteError::ControlCharacter`].
    pub fn unsigned(text: &str) -> Result<Self, NoteError> {
        refuse_control_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::UnfinishedText);
        }
        Ok(Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Parses a note of at most [`MAX_NOTE_BYTES`].
    ///
    /// # Errors
    /// [`NoteError`], saying where the note is malformed.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        Self::parse_with_limit(note, MAX_NOTE_BYTES)
    }

    /// Parses the bytes of a note of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Note::parse`], and [`NoteError::NotUtf8`].
    pub fn parse_bytes(note: &[u8], limit: usize) -> Result<Self, NoteError> {
        if note.len() > limit {
            return Err(NoteError::TooLong { length: note.len(), limit });
        }
        let note = std::str::from_utf8(note)
            .map_err(|error| NoteError::NotUtf8 { offset: error.valid_up_to() })?;
        Self::parse_with_limit(note, limit)
    }

    /// Parses a note of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Note::parse`].
    pub fn parse_with_limit(note: &str, limit: usize) -> Result<Self, NoteError> {
        if note.len() > limit {
            return Err(NoteError::TooLong { length: note.len(), limit });
        }
        refuse_control_characters(note)?;
        // The last blank line separates: the text itself may hold blank lines.
        let split = note.rfind("\n\n").ok_or(NoteError::NoSignatureBlock)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let signatures = NoteSignature::parse_lines(lines)?;
        if signatures.is_empty() {
            return Err(NoteError::NoSignatureBlock);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, its final newline included. Untrusted until verified.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines in their order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Appends a signature, unless the note has the very same one already.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures { limit: MAX_SIGNATURES });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Appends the signatures of another note of the same text.
    ///
    /// # Errors
    /// [`NoteError::OtherText`], [`NoteError::TooManySignatures`].
    pub fn merge(&mut self, other: &Self) -> Result<(), NoteError> {
        if self.text != other.text {
            return Err(NoteError::OtherText);
        }
        other.signatures.iter().try_for_each(|signature| self.add(signature.clone()))
    }

    /// Verifies the signatures of known Ed25519 keys; lines of other keys are ignored.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if a known key's signature does not verify, even beside a good one;
    /// [`NoteError::Unsigned`] if no known key signed; [`NoteError::WrongAlgorithm`] if a key given is not for notes.
    pub fn verify(&self, keys: &[VerifyingKey]) -> Result<VerifiedNote, NoteError> {
        let mut signers: Vec<VerifyingKey> = Vec::new();
        for key in keys {
            key.require(Algorithm::Ed25519)?;
            for signature in self.signatures.iter().filter(|signature| signature.is_by(key)) {
                key.verify(self.text.as_bytes(), signature.signature())
                    .ok_or_else(|| NoteError::BadSignature { name: key.name().clone() })?;
                if !signers.contains(key) {
                    signers.push(key.clone());
                }
            }
        }
        if signers.is_empty() {
            let expected = keys.iter().map(|key| key.name().clone()).collect();
            return Err(NoteError::Unsigned { expected });
        }
        Ok(VerifiedNote { note: self.clone(), signers })
    }

    /// Verifies that every one of `keys` signed.
    ///
    /// # Errors
    /// As [`Note::verify`]; [`NoteError::Unsigned`] names the keys whose signature is missing.
    pub fn verify_all(&self, keys: &[VerifyingKey]) -> Result<VerifiedNote, NoteError> {
        let verified = self.verify(keys)?;
        let expected: Vec<KeyName> = keys
            .iter()
            .filter(|key| !verified.is_signed_by(key))
            .map(|key| key.name().clone())
            .collect();
        if expected.is_empty() { Ok(verified) } else { Err(NoteError::Unsigned { expected }) }
    }
}

impl fmt::Display for Note {
    /// The note as text: its own text, a blank line, one line a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str("\n")?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A note whose text is signed by at least one of the keys that were asked for.
#[derive(Debug, Clone)]
pub struct VerifiedNote {
    note: Note,
    signers: Vec<VerifyingKey>,
}

impl VerifiedNote {
    /// The signed text, its final newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// The whole note.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The keys that signed, in the order asked for.
    #[must_use]
    pub fn signers(&self) -> &[VerifyingKey] {
        &self.signers
    }

    /// Whether `key` is among the signers.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.signers.contains(key)
    }
}

fn refuse_control_characters(text: &str) -> Result<(), NoteError> {
    match text.bytes().enumerate().find(|(_, byte)| *byte < 0x20 && *byte != b'\n') {
        None => Ok(()),
        Some((offset, byte)) => Err(NoteError::ControlCharacter { byte, offset }),
    }
}

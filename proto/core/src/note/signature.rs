//! One signature line: `— NAME BASE64(key id ‖ signature)`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{KeyId, KeyName, MAX_SIGNATURE_BYTES, MAX_SIGNATURES, NoteError, VerifyingKey};

/// Em dash (U+2014) and space.
const PREFIX: &str = "— ";

/// A signature line of a note, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    key_id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn new(key: &VerifyingKey, signature: Vec<u8>) -> Self {
        Self { name: key.name().clone(), key_id: key.key_id(), signature }
    }

    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature without the key id; its format depends on the key's algorithm.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether name and key id are those of `key`.
    #[must_use]
    pub fn is_by(&self, key: &VerifyingKey) -> bool {
        self.key_id == key.key_id() && &self.name == key.name()
    }

    /// Parses signature lines, each ending in a newline: the end of a note, or a witness's whole answer.
    ///
    /// # Errors
    /// [`NoteError::SignatureLine`] names the line; [`NoteError::UnfinishedLine`], [`NoteError::TooManySignatures`].
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::UnfinishedLine)?;
        let mut signatures = Vec::new();
        for (index, line) in lines.split('\n').enumerate() {
            if index >= MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures { limit: MAX_SIGNATURES });
            }
            let signature = Self::parse_line(line)
                .map_err(|problem| NoteError::SignatureLine { line: index + 1, problem })?;
            signatures.push(signature);
        }
        Ok(signatures)
    }

    fn parse_line(line: &str) -> Result<Self, &'static str> {
        let rest =
            line.strip_prefix(PREFIX).ok_or("it does not start with an em dash and a space")?;
        let (name, encoded) = rest.split_once(' ').ok_or("no space after the key name")?;
        let name = KeyName::parse(name).map_err(|_| "the key name is not valid")?;
        if encoded.len() > MAX_SIGNATURE_BYTES.div_ceil(3) * 4 {
            return Err("the signature is longer than 8 KiB");
        }
        let bytes = BASE64.decode(encoded).map_err(|_| "the signature is not base64")?;
        match bytes.split_first_chunk::<4>() {
            Some((id, signature)) if !signature.is_empty() => {
                Ok(Self { name, key_id: KeyId::new(*id), signature: signature.to_vec() })
            }
            _ => Err("the signature is shorter than 5 bytes"),
        }
    }
}

impl fmt::Display for NoteSignature {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_bytes(), self.signature.as_slice()].concat();
        write!(f, "{PREFIX}{} {}", self.name, BASE64.encode(bytes))
    }
}

//! Keys of notes: names, ids, Ed25519 signing and verifying keys and their text forms.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer as _;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{MAX_NAME_BYTES, NoteError, NoteSignature};

/// What a key signs: the signature type byte of C2SP signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// `0x01`: Ed25519 over the note's text.
    Ed25519,
    /// `0x04`: timestamped Ed25519 cosignatures of a witness (C2SP tlog-cosignature).
    CosignatureV1,
}

impl Algorithm {
    /// The signature type byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    /// Reads the signature type byte; only the two of this protocol are known.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::CosignatureV1),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "signing notes (0x01)",
            Self::CosignatureV1 => "witness cosignatures (0x04)",
        })
    }
}

/// A key's name: 1 to 255 bytes without spaces, control characters or a plus sign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let valid = (1..=MAX_NAME_BYTES).contains(&text.len())
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
        if valid {
            return Ok(Self(text.to_owned()));
        }
        Err(NoteError::Name { given: text.chars().take(MAX_NAME_BYTES).collect() })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyName {
    type Error = NoteError;
    fn try_from(text: String) -> Result<Self, NoteError> {
        Self::parse(&text)
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The short id of a key: the first 4 bytes of SHA-256(name ‖ newline ‖ algorithm ‖ public key).
///
/// It finds a key and proves nothing: collisions are easy to make and end as bad signatures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn of(name: &KeyName, algorithm: Algorithm, public_key: &[u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', algorithm.byte()])
            .chain_update(public_key)
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    /// Eight lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A named public key. In text `NAME+ID+BASE64(algorithm ‖ 32 bytes)`, the vkey of C2SP and Go's `note` package.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerifyingKey {
    name: KeyName,
    algorithm: Algorithm,
    key_id: KeyId,
    public: ed25519_dalek::VerifyingKey,
}

impl VerifyingKey {
    fn new(name: KeyName, algorithm: Algorithm, public: ed25519_dalek::VerifyingKey) -> Self {
        let key_id = KeyId::of(&name, algorithm, public.as_bytes());
        Self { name, algorithm, key_id, public }
    }

    /// From a name and the 32 bytes of an Ed25519 public key (RFC 8032). Small-order points and second encodings of
    /// a point are refused.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn from_bytes(
        name: KeyName,
        algorithm: Algorithm,
        bytes: &[u8; 32],
    ) -> Result<Self, NoteError> {
        let refused = |problem| NoteError::Key { kind: "verifying", problem };
        let public = ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map_err(|_| refused("the public key is not a point of the curve"))?;
        if public.is_weak() {
            return Err(refused("the public key has a small order"));
        }
        if public.to_edwards().compress().as_bytes() != bytes {
            return Err(refused("the public key is not encoded canonically"));
        }
        Ok(Self::new(name, algorithm, public))
    }

    /// Parses the text form; the id in it must be the key's own.
    ///
    /// # Errors
    /// [`NoteError::Key`], [`NoteError::Name`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, key_id, algorithm, bytes) = parse_key("verifying", text)?;
        let key = Self::from_bytes(name, algorithm, &bytes)?;
        if key.key_id != key_id {
            return Err(NoteError::Key { kind: "verifying", problem: "its id is not its own" });
        }
        Ok(key)
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// Refuses a key of another algorithm.
    pub(crate) fn require(&self, expected: Algorithm) -> Result<(), NoteError> {
        if self.algorithm == expected {
            return Ok(());
        }
        let (name, found) = (self.name.clone(), self.algorithm);
        Err(NoteError::WrongAlgorithm { name, found, expected })
    }

    /// Verifies strictly: no small-order points, no second encodings.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
        self.public.verify_strict(message, &signature).ok()
    }
}

impl TryFrom<String> for VerifyingKey {
    type Error = NoteError;
    fn try_from(text: String) -> Result<Self, NoteError> {
        Self::parse(&text)
    }
}

impl From<VerifyingKey> for String {
    fn from(key: VerifyingKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [self.algorithm.byte(); 33];
        bytes[1..].copy_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.key_id, BASE64.encode(bytes))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

/// An Ed25519 key that signs notes (algorithm `0x01`). Zeroised on drop.
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// Draws a key.
    pub fn generate(name: KeyName, rng: &mut impl CryptoRng) -> Self {
        Self(KeyPair::generate(name, Algorithm::Ed25519, rng))
    }

    /// The key of a secret seed, for keys that are derived from another.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        Self(KeyPair::from_seed(name, Algorithm::Ed25519, seed))
    }

    /// Parses the text form `PRIVATE+KEY+NAME+ID+BASE64(algorithm ‖ 32-byte seed)` of Go's `note` package.
    ///
    /// # Errors
    /// [`NoteError::Key`], [`NoteError::Name`], [`NoteError::WrongAlgorithm`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        KeyPair::parse("signing", Algorithm::Ed25519, text).map(Self)
    }

    /// The text form, secret.
    #[must_use]
    pub fn format(&self) -> Zeroizing<String> {
        self.0.format()
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.0.verifying
    }

    /// Signs a note's text, which must end in a newline; [`Note::sign`](super::Note::sign) checks that.
    #[must_use]
    pub fn sign(&self, text: &str) -> NoteSignature {
        NoteSignature::new(&self.0.verifying, self.0.sign(text.as_bytes()).to_vec())
    }
}

/// A key pair under a name: the inside of [`SigningKey`] and of a witness's key. No Debug, no Clone; the secret is
/// zeroised on drop by `ed25519_dalek::SigningKey`.
pub(crate) struct KeyPair {
    verifying: VerifyingKey,
    secret: ed25519_dalek::SigningKey,
}

impl KeyPair {
    pub(crate) fn generate(name: KeyName, algorithm: Algorithm, rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        Self::from_seed(name, algorithm, &seed)
    }

    fn from_seed(name: KeyName, algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        Self { verifying: VerifyingKey::new(name, algorithm, secret.verifying_key()), secret }
    }

    pub(crate) fn parse(
        kind: &'static str,
        algorithm: Algorithm,
        text: &str,
    ) -> Result<Self, NoteError> {
        let refused = |problem| NoteError::Key { kind, problem };
        let rest = text
            .strip_prefix("PRIVATE+KEY+")
            .ok_or_else(|| refused("it does not start with PRIVATE+KEY+"))?;
        let (name, key_id, found, seed) = parse_key(kind, rest)?;
        if found != algorithm {
            return Err(NoteError::WrongAlgorithm { name, found, expected: algorithm });
        }
        let pair = Self::from_seed(name, algorithm, &seed);
        if pair.verifying.key_id != key_id {
            return Err(refused("its id is not its own"));
        }
        Ok(pair)
    }

    pub(crate) fn format(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([self.verifying.algorithm.byte(); 33]);
        bytes[1..].copy_from_slice(self.secret.as_bytes());
        let encoded = Zeroizing::new(BASE64.encode(bytes.as_slice()));
        let VerifyingKey { name, key_id, .. } = &self.verifying;
        Zeroizing::new(format!("PRIVATE+KEY+{name}+{key_id}+{}", encoded.as_str()))
    }

    pub(crate) fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

/// The parts of a key's text.
type KeyParts = (KeyName, KeyId, Algorithm, Zeroizing<[u8; 32]>);

/// Splits `NAME+ID+BASE64(algorithm ‖ 32 bytes)`, public or secret.
fn parse_key(kind: &'static str, text: &str) -> Result<KeyParts, NoteError> {
    let refused = |problem| NoteError::Key { kind, problem };
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refused("it is not NAME+ID+BASE64"));
    };
    let name = KeyName::parse(name)?;
    let hexadecimal = id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = u32::from_str_radix(id, 16)
        .ok()
        .filter(|_| hexadecimal)
        .ok_or_else(|| refused("its id is not 8 lower-case hexadecimal digits"))?;
    if encoded.len() > 44 {
        return Err(refused("it is longer than 33 bytes"));
    }
    let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| refused("it is not base64"))?);
    let (algorithm, rest) = bytes.split_first().ok_or_else(|| refused("it is empty"))?;
    let algorithm = Algorithm::from_byte(*algorithm)
        .ok_or_else(|| refused("its algorithm is neither 0x01 nor 0x04"))?;
    let mut material = Zeroizing::new([0; 32]);
    if rest.len() != material.len() {
        return Err(refused("it has not 33 bytes"));
    }
    material.copy_from_slice(rest);
    Ok((name, KeyId::new(id.to_be_bytes()), algorithm, material))
}

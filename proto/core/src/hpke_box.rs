//! HPKE boxes (RFC 9180, base mode): bytes sealed to one public key.
//!
//! The suite is X-Wing (ML-KEM-768 with X25519, KEM 0x647a of draft-ietf-hpke-pq), HKDF-SHA256 and AES-256-GCM, so
//! that what is recorded today stays closed to a quantum computer tomorrow.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret::{generate, secret};

type PrivateKey = <XWing as Kem>::PrivateKey;
type PublicKey = <XWing as Kem>::PublicKey;
type EncappedKey = <XWing as Kem>::EncappedKey;

/// Size of an encapsulated key in bytes: the start of every box.
const ENCAPSULATED: usize = 1_120;

/// Bytes that a box adds to its plaintext: the encapsulated key and the tag.
pub const OVERHEAD: usize = ENCAPSULATED + 16;

/// Why a box or a key is refused.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoxError {
    /// Not a public key.
    #[error("HPKE public key: not an X-Wing key of 1216 bytes in base64")]
    PublicKey,
    /// Sealing failed.
    #[error("HPKE box: cannot be sealed to this public key")]
    Seal,
    /// Too short for a box.
    #[error("HPKE box: {length} bytes, at least {OVERHEAD} expected")]
    Length {
        /// Bytes given.
        length: usize,
    },
    /// Sealed to another key, for another purpose, or altered.
    #[error("HPKE box: does not open with this key and purpose")]
    Open,
}

/// Whom a box is sealed to: an X-Wing public key of 1,216 bytes; as text, standard base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HpkePublicKey(PublicKey);

impl HpkePublicKey {
    /// Size in bytes.
    pub const SIZE: usize = 1_216;

    /// From its bytes.
    ///
    /// # Errors
    /// [`BoxError::PublicKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BoxError> {
        PublicKey::from_bytes(bytes).map(Self).map_err(|_| BoxError::PublicKey)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// Parses standard base64 with padding.
    ///
    /// # Errors
    /// [`BoxError::PublicKey`].
    pub fn parse(text: &str) -> Result<Self, BoxError> {
        Self::from_bytes(&BASE64.decode(text).map_err(|_| BoxError::PublicKey)?)
    }
}

impl TryFrom<String> for HpkePublicKey {
    type Error = BoxError;
    fn try_from(text: String) -> Result<Self, BoxError> {
        Self::parse(&text)
    }
}

impl From<HpkePublicKey> for String {
    fn from(key: HpkePublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for HpkePublicKey {
    /// Standard base64 with padding, 1,624 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0.to_bytes()))
    }
}

impl fmt::Debug for HpkePublicKey {
    /// Only the first bytes: the whole key would drown what stands beside it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_bytes();
        write!(f, "HpkePublicKey({:02x}{:02x}{:02x}…)", bytes[0], bytes[1], bytes[2])
    }
}

secret! {
    /// Who opens boxes: the 32-byte seed of an X-Wing key pair.
    HpkeSecretKey
}
generate!(HpkeSecretKey);

impl HpkeSecretKey {
    /// The key to publish.
    #[must_use]
    pub fn public_key(&self) -> HpkePublicKey {
        HpkePublicKey(XWing::sk_to_pk(&self.private_key()))
    }

    fn private_key(&self) -> PrivateKey {
        PrivateKey::from_bytes(&self.0).expect("any 32 bytes are an X-Wing seed")
    }
}

/// Seals `plaintext` to `recipient`; `info` names the purpose and `aad` is authenticated beside it.
///
/// The box is [`OVERHEAD`] bytes longer than its plaintext. It does not say who sealed it.
///
/// # Errors
/// [`BoxError::Seal`].
pub fn seal_to<R: CryptoRng + ?Sized>(
    recipient: &HpkePublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    mut rng: &mut R,
) -> Result<Vec<u8>, BoxError> {
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            &recipient.0,
            info,
            plaintext,
            aad,
            &mut rng,
        )
        .map_err(|_| BoxError::Seal)?;
    let mut sealed = encapsulated.to_bytes().to_vec();
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens a box of [`seal_to`] with the same `info` and `aad`; the plaintext is wiped on drop.
///
/// # Errors
/// [`BoxError::Length`] or [`BoxError::Open`].
pub fn open(
    secret: &HpkeSecretKey,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, BoxError> {
    if sealed.len() < OVERHEAD {
        return Err(BoxError::Length { length: sealed.len() });
    }
    let (encapsulated, ciphertext) = sealed.split_at(ENCAPSULATED);
    let encapsulated = EncappedKey::from_bytes(encapsulated).map_err(|_| BoxError::Open)?;
    hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
        &OpModeR::Base,
        &secret.private_key(),
        &encapsulated,
        info,
        ciphertext,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| BoxError::Open)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(5)
    }

    #[test]
    fn opens_only_for_its_recipient_and_purpose() {
        let mut rng = rng();
        let (secret, other) =
            (HpkeSecretKey::generate(&mut rng), HpkeSecretKey::generate(&mut rng));
        let sealed = seal_to(&secret.public_key(), b"info", b"aad", b"text", &mut rng).unwrap();
        assert_eq!(sealed.len(), OVERHEAD + 4);
        assert_eq!(open(&secret, b"info", b"aad", &sealed).unwrap().as_slice(), b"text");
        assert_eq!(open(&other, b"info", b"aad", &sealed), Err(BoxError::Open));
        assert_eq!(open(&secret, b"other", b"aad", &sealed), Err(BoxError::Open));
        assert_eq!(open(&secret, b"info", b"other", &sealed), Err(BoxError::Open));
        let again = seal_to(&secret.public_key(), b"info", b"aad", b"text", &mut rng).unwrap();
        assert_ne!(sealed, again);
    }

    #[test]
    fn altered_boxes_do_not_open() {
        let mut rng = rng();
        let secret = HpkeSecretKey::generate(&mut rng);
        let sealed = seal_to(&secret.public_key(), b"", b"", b"text", &mut rng).unwrap();
        for index in (0..sealed.len()).step_by(37) {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert_eq!(open(&secret, b"", b"", &altered), Err(BoxError::Open), "byte {index}");
        }
        for length in [0, 1, OVERHEAD - 1] {
            let short = open(&secret, b"", b"", &sealed[..length]);
            assert_eq!(short, Err(BoxError::Length { length }));
        }
        assert_eq!(open(&secret, b"", b"", &sealed[..OVERHEAD]), Err(BoxError::Open));
        let long = [&sealed[..], &[0]].concat();
        assert_eq!(open(&secret, b"", b"", &long), Err(BoxError::Open));
    }

    #[test]
    fn public_keys_read_back_as_bytes_text_and_json() {
        let key = HpkeSecretKey::generate(&mut rng()).public_key();
        assert_eq!(key.to_bytes().len(), HpkePublicKey::SIZE);
        assert_eq!(HpkePublicKey::from_bytes(&key.to_bytes()), Ok(key.clone()));
        assert_eq!(HpkePublicKey::parse(&key.to_string()), Ok(key.clone()));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{key}\""));
        assert_eq!(serde_json::from_str::<HpkePublicKey>(&json).unwrap(), key);
    }

    #[test]
    fn refuses_what_is_not_a_public_key() {
        let key = HpkeSecretKey::generate(&mut rng()).public_key().to_bytes();
        assert_eq!(HpkePublicKey::from_bytes(&key[1..]), Err(BoxError::PublicKey));
        assert_eq!(HpkePublicKey::from_bytes(&[]), Err(BoxError::PublicKey));
        assert_eq!(HpkePublicKey::parse("not base64!"), Err(BoxError::PublicKey));
        // A coefficient of 4095 is not below ML-KEM's modulus (FIPS 203 section 7.2).
        let mut unreduced = key;
        unreduced[..3].fill(0xff);
        assert_eq!(HpkePublicKey::from_bytes(&unreduced), Err(BoxError::PublicKey));
    }
}

//! Sealing bodies to the audit key: one HPKE box a session, one AES-256-GCM-SIV key a body.

use rand::CryptoRng;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{ReceiptBody, ReceiptError, ReceiptOrigin};
use crate::codec::{Reader, Writer};
use crate::hpke_box::{self, BoxError, HpkePublicKey, HpkeSecretKey};
use crate::ids::Hash;
use crate::record::cipher::Cipher;
use crate::secret::{Context, Fields};

static SESSION: Context = Context::new("lanyard v1 receipt session");
static BODY: Context = Context::new("lanyard v1 receipt body");

/// `info` of the HPKE boxes that carry session keys.
const INFO: &[u8] = b"lanyard v1 receipt session";
/// Longest sealed body in bytes: the longest texts, and room for what later versions add.
const MAX_SEALED: usize = 4_096;

/// A session's key sealed to the audit key; kept beside the receipts. 1,168 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSession {
    bytes: Vec<u8>,
}

impl SealedSession {
    /// From its bytes; opening them proves them.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which session it is.
    #[must_use]
    pub fn id(&self) -> Hash {
        Hash::new(SESSION.derive(&self.bytes))
    }

    /// Opens the session of a gate with the audit key.
    ///
    /// # Errors
    /// [`ReceiptError::Box`].
    pub fn open(
        &self,
        audit: &HpkeSecretKey,
        origin: &ReceiptOrigin,
    ) -> Result<AuditSession, ReceiptError> {
        let opened = hpke_box::open(audit, INFO, origin.as_str().as_bytes(), &self.bytes)?;
        let key =
            Zeroizing::new(<[u8; 32]>::try_from(opened.as_slice()).map_err(|_| BoxError::Open)?);
        Ok(AuditSession { id: self.id(), origin: origin.clone(), key })
    }
}

/// A gate's key for sealing bodies, from one start to the next; whoever holds the audit key can recover it.
pub struct AuditSession {
    id: Hash,
    origin: ReceiptOrigin,
    key: Zeroizing<[u8; 32]>,
}

impl AuditSession {
    /// Begins a session: keep the sealed form before the first receipt.
    ///
    /// # Errors
    /// [`BoxError`] if the audit key cannot be used.
    pub fn begin<R: CryptoRng + ?Sized>(
        audit: &HpkePublicKey,
        origin: &ReceiptOrigin,
        rng: &mut R,
    ) -> Result<(Self, SealedSession), BoxError> {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        let aad = origin.as_str().as_bytes();
        let bytes = hpke_box::seal_to(audit, INFO, aad, &*key, rng)?;
        let sealed = SealedSession { bytes };
        Ok((Self { id: sealed.id(), origin: origin.clone(), key }, sealed))
    }

    /// Which session it is.
    #[must_use]
    pub const fn id(&self) -> Hash {
        self.id
    }

    /// Seals the body of receipt `sequence`; the hash is what the entry commits to.
    #[must_use]
    pub fn seal(&self, sequence: u64, body: &ReceiptBody) -> (SealedBody, Hash) {
        let mut bytes = body.to_bytes();
        let commitment = commit(&self.derive(b"blind", sequence), &bytes);
        let key = self.derive(b"body", sequence);
        let tag = Cipher::new(&key).seal(&[0; 12], self.origin.as_str().as_bytes(), &mut bytes);
        bytes.extend_from_slice(&tag);
        (SealedBody { session: self.id, bytes }, commitment)
    }

    /// Opens the body of receipt `sequence`. It is the gate's word only if the entry commits to it.
    ///
    /// # Errors
    /// [`ReceiptError::Session`], [`ReceiptError::Sealed`] or [`ReceiptError::Codec`].
    pub fn open(&self, sequence: u64, sealed: &SealedBody) -> Result<OpenedBody, ReceiptError> {
        if sealed.session != self.id {
            return Err(ReceiptError::Session { sequence });
        }
        let refused = || ReceiptError::Sealed { sequence };
        let mut bytes = sealed.bytes.clone();
        let body = Cipher::new(&self.derive(b"body", sequence))
            .open(&[0; 12], self.origin.as_str().as_bytes(), &mut bytes)
            .ok_or_else(refused)?;
        let body = ReceiptBody::from_bytes(body)?;
        Ok(OpenedBody { blind: *self.derive(b"blind", sequence), body })
    }

    /// `keyed_hash(session key, label ‖ sequence)`.
    fn derive(&self, label: &[u8], sequence: u64) -> Zeroizing<[u8; 32]> {
        let mut fields = Fields::<32>::new();
        fields.field(label).field(&sequence.to_be_bytes());
        Zeroizing::new(blake3::keyed_hash(&self.key, fields.as_slice()).into())
    }
}

/// `derive_key("lanyard v1 receipt body", blind ‖ body)`: hides the body from whoever lacks the blind.
fn commit(blind: &[u8; 32], body: &[u8]) -> Hash {
    let mut writer = Writer::with_capacity(40 + body.len());
    writer.field(blind).field(body);
    Hash::new(BODY.derive(&Zeroizing::new(writer.into_vec())))
}

/// A body that only the audit key opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBody {
    session: Hash,
    bytes: Vec<u8>,
}

impl SealedBody {
    /// Which [`SealedSession`] opens it.
    #[must_use]
    pub const fn session(&self) -> Hash {
        self.session
    }

    /// Session (32), ciphertext and tag (16) with their length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(36 + self.bytes.len());
        writer.raw(self.session.as_bytes()).field(&self.bytes);
        writer.into_vec()
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`ReceiptError::Codec`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let mut reader = Reader::new("sealed receipt body", bytes);
        let session = Hash::new(reader.array()?);
        let bytes = reader.field(MAX_SEALED)?.to_vec();
        reader.finish()?;
        Ok(Self { session, bytes })
    }
}

/// A body as the auditor reveals it, with the blind that makes its commitment checkable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedBody {
    blind: [u8; 32],
    body: ReceiptBody,
}

impl OpenedBody {
    /// What it says; unproven until [`OpenedBody::opens`].
    #[must_use]
    pub const fn body(&self) -> &ReceiptBody {
        &self.body
    }

    /// Whether an entry's commitment is to this body.
    #[must_use]
    pub fn opens(&self, commitment: &Hash) -> bool {
        let ours = commit(&self.blind, &self.body.to_bytes());
        ours.as_bytes().ct_eq(commitment.as_bytes()).into()
    }

    /// Blind (32), body with its length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&self.blind).field(&self.body.to_bytes());
        writer.into_vec()
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`ReceiptError::Codec`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let mut reader = Reader::new("opened receipt body", bytes);
        let blind = reader.array()?;
        let body = ReceiptBody::from_bytes(reader.field(MAX_SEALED)?)?;
        reader.finish()?;
        Ok(Self { blind, body })
    }
}

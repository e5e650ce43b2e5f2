//! The hash chain of a gate's receipts, and its signed heads.

use std::fmt;

use super::{ReceiptError, ReceiptOrigin};
use crate::codec::{CodecError, Reader};
use crate::ids::{Hash, Timestamp};
use crate::note::{Note, SigningKey, VerifyingKey};
use crate::secret::Context;

static START: Context = Context::new("lanyard v1 receipt chain start");
static LINK: Context = Context::new("lanyard v1 receipt chain");

/// One check in a gate's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptEntry {
    /// Counts the gate's receipts, from 1.
    pub sequence: u64,
    /// When, by the gate's clock.
    pub time: Timestamp,
    /// Commits to the body, see [`super::AuditSession::seal`].
    pub commitment: Hash,
}

impl ReceiptEntry {
    /// Size of the encoding in bytes.
    pub const SIZE: usize = 48;

    /// Sequence (8), time in milliseconds (8), commitment (32).
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.time.millis().to_be_bytes());
        bytes[16..].copy_from_slice(self.commitment.as_bytes());
        bytes
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("receipt entry", bytes);
        let entry = Self {
            sequence: reader.u64()?,
            time: Timestamp::from_millis(reader.u64()?),
            commitment: Hash::new(reader.array()?),
        };
        reader.finish()?;
        Ok(entry)
    }
}

/// The end of a gate's chain: how many receipts, and the hash over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptChain {
    sequence: u64,
    hash: Hash,
}

impl ReceiptChain {
    /// The chain of a gate that has given no receipt.
    #[must_use]
    pub fn start(origin: &ReceiptOrigin) -> Self {
        Self { sequence: 0, hash: Hash::new(START.derive(origin.as_str().as_bytes())) }
    }

    /// A chain that ended at `sequence` with `hash`.
    #[must_use]
    pub const fn resume(sequence: u64, hash: Hash) -> Self {
        Self { sequence, hash }
    }

    /// The last sequence number; 0 at the start.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The hash over all entries.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Appends a receipt.
    pub fn push(&mut self, time: Timestamp, commitment: Hash) -> ReceiptEntry {
        let entry = ReceiptEntry { sequence: self.sequence + 1, time, commitment };
        self.link(&entry);
        entry
    }

    /// Appends an entry that was kept or received.
    ///
    /// # Errors
    /// [`ReceiptError::Sequence`] if it is not the next.
    pub fn extend(&mut self, entry: &ReceiptEntry) -> Result<(), ReceiptError> {
        if self.sequence.checked_add(1) != Some(entry.sequence) {
            let (last, given) = (self.sequence, entry.sequence);
            return Err(ReceiptError::Sequence { last, given });
        }
        self.link(entry);
        Ok(())
    }

    /// `derive_key("lanyard v1 receipt chain", hash (32), entry (48))`.
    fn link(&mut self, entry: &ReceiptEntry) {
        let mut bytes = [0; 80];
        bytes[..32].copy_from_slice(self.hash.as_bytes());
        bytes[32..].copy_from_slice(&entry.to_bytes());
        self.sequence = entry.sequence;
        self.hash = Hash::new(LINK.derive(&bytes));
    }

    /// The head of everything so far, to sign.
    #[must_use]
    pub const fn head(&self, time: Timestamp) -> BatchHead {
        BatchHead { sequence: self.sequence, chain: self.hash, time }
    }
}

/// What a gate signs once for all receipts up to `sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The last receipt that it covers.
    pub sequence: u64,
    /// The hash over all entries up to that one.
    pub chain: Hash,
    /// When it was signed, by the gate's clock.
    pub time: Timestamp,
}

impl BatchHead {
    /// The signed text: origin, sequence, base64 of the chain's hash, time in milliseconds; a line each.
    #[must_use]
    pub fn to_text(&self, origin: &ReceiptOrigin) -> String {
        format!("{origin}\n{}\n{}\n{}\n", self.sequence, self.chain, self.time.millis())
    }

    /// Signs with the gate's receipt key.
    ///
    /// # Errors
    /// [`ReceiptError::Note`] if the note cannot be made.
    pub fn sign(&self, origin: &ReceiptOrigin, key: &SigningKey) -> Result<Note, ReceiptError> {
        Ok(Note::sign(&self.to_text(origin), &[key])?)
    }

    fn parse(text: &str, origin: &ReceiptOrigin) -> Result<Self, ReceiptError> {
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some(origin.as_str()) {
            return Err(ReceiptError::Origin { expected: origin.clone() });
        }
        let refused = |line, problem| ReceiptError::Head { line, problem };
        let sequence = lines
            .next()
            .and_then(parse_decimal)
            .ok_or(refused(2, "a sequence number in decimal expected"))?;
        let chain = lines
            .next()
            .and_then(|line| Hash::parse(line).ok())
            .ok_or(refused(3, "a hash in base64 expected"))?;
        let time = lines
            .next()
            .and_then(parse_decimal)
            .map(Timestamp::from_millis)
            .ok_or(refused(4, "milliseconds in decimal expected"))?;
        match lines.next() {
            None => Ok(Self { sequence, chain, time }),
            Some(_) => Err(refused(5, "nothing expected")),
        }
    }
}

/// A number in its only decimal form: digits, no sign, no leading zero.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A head that the gate signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedBatchHead(BatchHead);

impl VerifiedBatchHead {
    /// The head.
    #[must_use]
    pub const fn head(&self) -> &BatchHead {
        &self.0
    }
}

impl fmt::Display for VerifiedBatchHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "receipts up to {}", self.0.sequence)
    }
}

/// Verifies a batch head of `origin` under the gate's receipt key in the manifest.
///
/// # Errors
/// [`ReceiptError::Note`], [`ReceiptError::Origin`] or [`ReceiptError::Head`].
pub fn verify_batch_head(
    note: &Note,
    origin: &ReceiptOrigin,
    key: &VerifyingKey,
) -> Result<VerifiedBatchHead, ReceiptError> {
    let verified = note.verify(std::slice::from_ref(key))?;
    BatchHead::parse(verified.text(), origin).map(VerifiedBatchHead)
}

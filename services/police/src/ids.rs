//! What subjects and pseudonyms are called here.

use std::fmt;

use lanyard_core::oprf::Pseudonym;
use lanyard_party::StoreKey;
use lanyard_store::StoreError;
use rand::Rng;

/// A subject of screening: 16 random bytes, drawn by the committee.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SubjectId([u8; Self::SIZE]);

impl SubjectId {
    /// Its size in bytes.
    pub(crate) const SIZE: usize = 16;

    pub(crate) const fn new(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    /// Reads a table's column `subject_id`.
    pub(crate) fn from_column(table: &'static str, bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt { table, column: "subject_id" };
        bytes.try_into().map(Self).map_err(corrupt)
    }

    /// Reads it in hex.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(crate) const fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SubjectId {
    /// In hex, as the audit trail names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A pseudonym as the police keep it, of subjects and on lists alike: a keyed hash of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LocalHash([u8; Self::SIZE]);

impl LocalHash {
    /// Its size in bytes.
    pub(crate) const SIZE: usize = 32;

    pub(crate) fn of(store_key: &StoreKey, pseudonym: &[u8; Pseudonym::SIZE]) -> Self {
        Self(store_key.local_hash("pseudonym", pseudonym))
    }

    /// One that stands for nothing: padding.
    pub(crate) fn random(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; Self::SIZE];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads a column; `None` if it is of another size.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) const fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

//! Records: the status of one badge for one audience and epoch, 32 bytes, and its sealed form, 52 bytes.

use std::fmt;
use std::num::NonZeroU32;

use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroize as _;

use crate::badge::RecordKey;
use crate::binding::Binding;
use crate::codec::{CodecError, Reader};
use crate::ids::{Epoch, Handle, Origin, Timestamp};
use crate::secret::Fields;

pub(crate) mod cipher;

use cipher::{Cipher, TAG};

/// What an authority says of a badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Good: the only status that admits.
    Valid = 1,
    /// Stopped for now; can be reinstated.
    Suspended = 2,
    /// Stopped for ever.
    Revoked = 3,
    /// Another print of the badge replaced this one.
    Reprinted = 4,
    /// Police: the screening has no verdict yet.
    NotYet = 5,
    /// Police: not cleared.
    NotGood = 6,
    /// Sponsor's audience: not valid, for whatever reason.
    Invalid = 7,
}

impl Status {
    /// All, in the order of their encodings.
    pub const ALL: [Self; 7] = [
        Self::Valid,
        Self::Suspended,
        Self::Revoked,
        Self::Reprinted,
        Self::NotYet,
        Self::NotGood,
        Self::Invalid,
    ];

    /// Its byte in a record: 1 to 7.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Reads the byte of a record.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.byte() == byte)
    }
}

/// A row of the authority's profile table.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProfileId(u16);

impl ProfileId {
    /// No restriction; the table has no row for it.
    pub const UNRESTRICTED: Self = Self(0);

    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whole minutes since the Unix epoch, as records count time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Minutes(u32);

impl Minutes {
    /// The beginning of time: a record without a first minute.
    pub const MIN: Self = Self(0);
    /// The end of time, in the year 10136: a record without a last minute.
    pub const MAX: Self = Self(u32::MAX);

    /// Wraps the number.
    #[must_use]
    pub const fn new(minutes: u32) -> Self {
        Self(minutes)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<Timestamp> for Minutes {
    /// The minute that the time lies in; saturates.
    fn from(time: Timestamp) -> Self {
        Self(time.minutes())
    }
}

/// What an authority says of one badge to one audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The status.
    pub status: Status,
    /// Where and when the badge is good, in the authority's own table.
    pub profile: ProfileId,
    /// The first minute in which the badge is good.
    pub not_before: Minutes,
    /// The last minute in which the badge is good.
    pub not_after: Minutes,
    /// What was submitted for clearance.
    pub binding: Binding,
}

impl Record {
    /// Size of the encoding in bytes, the same for every record.
    pub const SIZE: usize = 32;

    /// A record that says no more than its status, as the sponsor's do: no restriction, no end, no binding.
    #[must_use]
    pub const fn bare(status: Status) -> Self {
        Self {
            status,
            profile: ProfileId::UNRESTRICTED,
            not_before: Minutes::MIN,
            not_after: Minutes::MIN,
            binding: Binding::NONE,
        }
    }

    /// Status (1), flags (1, zero), profile (2), not-before (4), not-after (4), binding (20); big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0] = self.status.byte();
        bytes[2..4].copy_from_slice(&self.profile.get().to_be_bytes());
        bytes[4..8].copy_from_slice(&self.not_before.get().to_be_bytes());
        bytes[8..12].copy_from_slice(&self.not_after.get().to_be_bytes());
        bytes[12..].copy_from_slice(self.binding.as_bytes());
        bytes
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`CodecError`] on another length, an unknown status or a flag: none is defined.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("record", bytes);
        let status =
            Status::from_byte(reader.u8()?).ok_or_else(|| reader.invalid("unknown status"))?;
        if reader.u8()? != 0 {
            return Err(reader.invalid("unknown flags"));
        }
        let record = Self {
            status,
            profile: ProfileId::new(reader.u16()?),
            not_before: Minutes::new(reader.u32()?),
            not_after: Minutes::new(reader.u32()?),
            binding: Binding::new(reader.array()?),
        };
        reader.finish()?;
        Ok(record)
    }
}

/// Why a sealed record is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// Versions start at 1.
    #[error("sealed record: version 0, versions start at 1")]
    Version,
    /// Sealed under another key, origin, epoch, handle or version, or altered.
    #[error(
        "sealed record version {version}: does not open in this epoch, with this badge and audience key"
    )]
    Sealed {
        /// The record's version.
        version: u32,
    },
    /// It opens, but its contents are no record.
    #[error("sealed record version {version}: {source}")]
    Contents {
        /// The record's version.
        version: u32,
        /// What is wrong with them.
        source: CodecError,
    },
}

/// A sealed record: 48 bytes, and the version that makes each sealing under a key unique. Public.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealedRecord {
    version: NonZeroU32,
    bytes: [u8; 48],
}

impl SealedRecord {
    /// Size of the sealed bytes, without the version.
    pub const SIZE: usize = Record::SIZE + TAG;

    /// From its parts.
    ///
    /// # Errors
    /// [`RecordError::Version`] if the version is 0.
    pub const fn new(version: u32, bytes: [u8; 48]) -> Result<Self, RecordError> {
        match NonZeroU32::new(version) {
            Some(version) => Ok(Self { version, bytes }),
            None => Err(RecordError::Version),
        }
    }

    /// Counts the sealings under one key, from 1; never reused.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version.get()
    }

    /// Ciphertext (32) and tag (16).
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 48] {
        &self.bytes
    }

    /// Seals `record` with AES-256-GCM-SIV; the nonce is the version as a 12-byte big-endian number.
    ///
    /// # Errors
    /// [`RecordError::Version`] if the version is 0.
    pub fn seal(
        key: &RecordKey,
        origin: &Origin,
        epoch: Epoch,
        handle: &Handle,
        version: u32,
        record: &Record,
    ) -> Result<Self, RecordError> {
        let aad = additional_data(origin, epoch, handle, version);
        let mut buffer = record.to_bytes();
        let tag =
            Cipher::new(key.expose_bytes()).seal(&nonce(version), aad.as_slice(), &mut buffer);
        let mut bytes = [0; 48];
        bytes[..32].copy_from_slice(&buffer);
        bytes[32..].copy_from_slice(&tag);
        Self::new(version, bytes)
    }

    /// Opens the record of `handle` in the directory of `origin` and `epoch`.
    ///
    /// # Errors
    /// [`RecordError::Sealed`] or [`RecordError::Contents`].
    pub fn open(
        &self,
        key: &RecordKey,
        origin: &Origin,
        epoch: Epoch,
        handle: &Handle,
    ) -> Result<Record, RecordError> {
        let version = self.version();
        let aad = additional_data(origin, epoch, handle, version);
        let mut buffer = self.bytes;
        let contents = Cipher::new(key.expose_bytes())
            .open(&nonce(version), aad.as_slice(), &mut buffer)
            .ok_or(RecordError::Sealed { version })?;
        let record = Record::from_bytes(contents)
            .map_err(|source| RecordError::Contents { version, source });
        contents.zeroize();
        record
    }

    /// A record of nobody: random bytes, which cannot be told from a sealed record without its key.
    ///
    /// # Errors
    /// [`RecordError::Version`] if the version is 0.
    pub fn decoy<R: CryptoRng + ?Sized>(version: u32, rng: &mut R) -> Result<Self, RecordError> {
        let mut bytes = [0; 48];
        rng.fill_bytes(&mut bytes);
        Self::new(version, bytes)
    }
}

impl fmt::Debug for SealedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedRecord(version {})", self.version)
    }
}

/// The version as a 12-byte big-endian number.
fn nonce(version: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&version.to_be_bytes());
    nonce
}

/// `origin ‖ e ‖ handle ‖ version`. An origin has at most 82 bytes: `lanyard/`, 64 of the event, `/committee`.
fn additional_data(origin: &Origin, epoch: Epoch, handle: &Handle, version: u32) -> Fields<128> {
    let mut fields = Fields::new();
    fields
        .field(origin.as_str().as_bytes())
        .field(&epoch.get().to_be_bytes())
        .field(handle.as_bytes())
        .field(&version.to_be_bytes());
    fields
}

#[cfg(test)]
mod tests;

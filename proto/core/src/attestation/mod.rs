//! Attestations: what an authority's directory says of one badge, provable offline and years later.
//!
//! An [`Attestation`] is a record or its absence, the proof that it stands in a directory, the map head that commits to the
//! directory, and the proof that the head is the newest leaf of a cosigned log. With an [`Opening`] it shows the record's
//! contents as well. [`verify_attestation`] checks all of it against the manifest of its time.

#[cfg(test)]
mod tests;
mod text;
mod verify;

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

pub use text::AttestationTextError;
pub use verify::{
    AttestationError, Attested, VerifiedAttestation, verify_attestation, verify_attestation_given,
};

use crate::audience_key::AudienceKey;
use crate::badge::EpochKey;
use crate::codec::{CodecError, Reader, Writer};
use crate::head::MAX_HEAD_BYTES;
use crate::ids::{Audience, Authority, Epoch, Handle, Hash};
use crate::log::{InclusionProof, MAX_PROOF_HASHES};
use crate::map::MapProof;
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};
use crate::record::SealedRecord;
use crate::tlog_proof::TlogProof;

/// First bytes of an encoded attestation, and the first line of its text.
const MAGIC: &[u8; 23] = b"lanyard attestation v1\n";
/// The most bytes of a map proof: 28 siblings and a thousand rows, where buckets hold about eight.
const MAX_MAP_PROOF_BYTES: usize = 64 * 1024;
const MAX_INCLUSION_BYTES: usize = 1 + MAX_PROOF_HASHES * Hash::SIZE;

/// Why bytes are no attestation.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttestationCodecError {
    /// Malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The checkpoint's note is malformed.
    #[error("attestation: {0}")]
    Note(#[from] NoteError),
}

/// What opens a sealed record: kept by whoever saw the badge. Wiped on drop.
pub struct Opening {
    /// The badge's key for the authority, audience and epoch.
    pub epoch_key: EpochKey,
    /// The audience key of the directory.
    pub audience_key: AudienceKey,
}

/// What an authority's directory says of a handle, with all proofs; none of it verified.
pub struct Attestation {
    /// Hash of the manifest under which it was made.
    pub manifest: Hash,
    /// The authority.
    pub authority: Authority,
    /// The audience of the directory.
    pub audience: Audience,
    /// The epoch of the directory.
    pub epoch: Epoch,
    /// Whose record.
    pub handle: Handle,
    /// The sealed record; none if the directory has none under the handle.
    pub record: Option<SealedRecord>,
    /// Proves the record, or its absence, under the directory's root.
    pub map_proof: MapProof,
    /// The map head, as it stands in the log.
    pub head: Vec<u8>,
    /// Proves that the head is the newest leaf of a cosigned checkpoint; without extra data.
    pub log_proof: TlogProof,
    /// Opens the record, for whoever may read it. Without it the attestation is public.
    pub opening: Option<Opening>,
}

impl Attestation {
    /// The bytes; secret if there is an opening.
    ///
    /// Magic (23), manifest (32), authority (1), audience (1), epoch (4), handle (16), 1 and version (4) and record (48) or
    /// 0, map proof, head (both length-prefixed), index (8), inclusion proof, checkpoint (both length-prefixed), 1 and
    /// epoch key (32) and audience key (32) or 0.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::with_capacity(4_096);
        writer.raw(MAGIC).raw(self.manifest.as_bytes());
        writer.u8(self.authority.byte()).u8(self.audience.byte()).u32(self.epoch.get());
        writer.raw(self.handle.as_bytes());
        match &self.record {
            None => writer.u8(0),
            Some(record) => writer.u8(1).u32(record.version()).raw(record.bytes()),
        };
        writer.field(&self.map_proof.to_bytes()).field(&self.head).u64(self.log_proof.index);
        writer.field(&self.log_proof.proof.to_bytes());
        let checkpoint = self.log_proof.checkpoint.to_string();
        // Room for what follows, so that growing leaves no copy of the keys behind.
        let mut bytes = Zeroizing::new(writer.into_vec());
        bytes.reserve_exact(checkpoint.len() + 4 + 1 + 64);
        let mut writer = Writer::new();
        writer.field(checkpoint.as_bytes()).u8(u8::from(self.opening.is_some()));
        bytes.extend_from_slice(&writer.into_vec());
        if let Some(opening) = &self.opening {
            bytes.extend_from_slice(opening.epoch_key.expose_bytes());
            bytes.extend_from_slice(opening.audience_key.expose_bytes());
        }
        bytes
    }

    /// Reads the bytes; only [`verify_attestation`] says whether they prove anything.
    ///
    /// # Errors
    /// [`AttestationCodecError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AttestationCodecError> {
        let mut reader = Reader::new("attestation", bytes);
        if &reader.array::<23>()? != MAGIC {
            return Err(reader.invalid("it does not start with `lanyard attestation v1`").into());
        }
        let manifest = Hash::new(reader.array()?);
        let authority = Authority::from_byte(reader.u8()?);
        let authority = authority.ok_or_else(|| reader.invalid("unknown authority"))?;
        let audience = Audience::from_byte(reader.u8()?);
        let audience = audience.ok_or_else(|| reader.invalid("unknown audience"))?;
        let epoch = Epoch::new(reader.u32()?);
        let handle = Handle::new(reader.array()?);
        let record = match reader.u8()? {
            0 => None,
            1 => {
                let record = SealedRecord::new(reader.u32()?, reader.array()?);
                Some(record.map_err(|_| reader.invalid("a record's version starts at 1"))?)
            }
            _ => return Err(reader.invalid("a record is there (1) or not (0)").into()),
        };
        let map_proof = MapProof::from_bytes(reader.field(MAX_MAP_PROOF_BYTES)?)?;
        let head = reader.field(MAX_HEAD_BYTES)?.to_vec();
        let index = reader.u64()?;
        let proof = InclusionProof::from_bytes(reader.field(MAX_INCLUSION_BYTES)?)?;
        let checkpoint = Note::parse(reader.text(MAX_NOTE_BYTES)?)?;
        let opening = match reader.u8()? {
            0 => None,
            1 => Some(Opening {
                epoch_key: EpochKey::from_bytes(reader.array()?),
                audience_key: AudienceKey::from_bytes(reader.array()?),
            }),
            _ => return Err(reader.invalid("an opening is there (1) or not (0)").into()),
        };
        reader.finish()?;
        let log_proof = TlogProof { extra: None, index, proof, checkpoint };
        Ok(Self {
            manifest,
            authority,
            audience,
            epoch,
            handle,
            record,
            map_proof,
            head,
            log_proof,
            opening,
        })
    }
}

impl fmt::Debug for Attestation {
    /// Neither the whole handle nor the opening.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestation")
            .field("authority", &self.authority)
            .field("audience", &self.audience)
            .field("epoch", &self.epoch)
            .field("handle", &self.handle)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

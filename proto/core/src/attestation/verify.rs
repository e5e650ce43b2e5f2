//! Whether an attestation proves what it says, and if not, which of its links fails.

use thiserror::Error;

use super::{Attestation, Opening};
use crate::checkpoint::CheckpointError;
use crate::cosignature::{CosignatureError, quorum_time};
use crate::freshness::freshness;
use crate::head::{DirectoryHead, HeadError, VerifiedHead, verify_head};
use crate::ids::{Audience, Authority, Epoch, Handle, Hash, Timestamp};
use crate::manifest::{Manifest, VerifiedManifest};
use crate::map::{ProofError, RecordHash};
use crate::record::{Record, RecordError, SealedRecord};

/// Which link of an attestation fails.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttestationError {
    /// Made under another manifest than the one given: find the one of this hash.
    #[error("attestation: it was made under the manifest {found}, given is {given}")]
    OtherManifest {
        /// The manifest that the attestation, or its head, names.
        found: Hash,
        /// The manifest given.
        given: Hash,
    },
    /// The checkpoint is not the authority's.
    #[error("attestation: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A known witness's cosignature is bad.
    #[error("attestation: {0}")]
    Cosignature(#[from] CosignatureError),
    /// Fewer known witnesses cosigned than the manifest demands.
    #[error("attestation: {found} known witnesses cosigned, {needed} are needed")]
    NoQuorum {
        /// How many cosigned.
        found: usize,
        /// How many are needed.
        needed: u8,
    },
    /// The map head is not the newest leaf of the checkpoint.
    #[error("attestation: {0}")]
    Head(#[from] HeadError),
    /// The log proof is of another leaf than the newest.
    #[error("attestation: the log proof is of leaf {index} of {size}, not of the newest")]
    NotNewest {
        /// The index in the proof.
        index: u64,
        /// The size of the log.
        size: u64,
    },
    /// The head has no such directory.
    #[error("attestation: the head has no directory of epoch {epoch} for {audience}")]
    NoDirectory {
        /// The epoch asked for.
        epoch: Epoch,
        /// The audience asked for.
        audience: Audience,
    },
    /// The map proof does not lead to the directory's root.
    #[error("attestation: {0}")]
    Map(#[from] ProofError),
    /// A record is shown, and the proof says that there is none.
    #[error("attestation: the directory has no record under this handle, but one is shown")]
    RecordNotThere,
    /// No record is shown, and the proof says that there is one: it was left out.
    #[error("attestation: the directory has a record under this handle, but none is shown")]
    RecordLeftOut,
    /// Another record is shown than the directory's.
    #[error("attestation: the record shown is not the directory's: forged, or of another version")]
    OtherRecord,
    /// The epoch key is of another badge, authority, audience or epoch.
    #[error("attestation: the opening's epoch key does not lead to this handle")]
    OtherEpochKey,
    /// The audience key is not the one that the head commits to.
    #[error("attestation: the opening's audience key is not the directory's")]
    OtherAudienceKey,
    /// The record does not open.
    #[error("attestation: {0}")]
    Record(#[from] RecordError),
}

/// What a directory is proven to say of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attested {
    /// There is no record.
    Absent,
    /// There is this record, and no opening came with it.
    Sealed(SealedRecord),
    /// There is a record, and this is what it says.
    Opened(Record),
}

/// An attestation whose every link holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAttestation {
    authority: Authority,
    epoch: Epoch,
    handle: Handle,
    attested: Attested,
    directory: DirectoryHead,
    head: VerifiedHead,
    quorum_time: Timestamp,
}

impl VerifiedAttestation {
    /// Who attests.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.authority
    }

    /// For whom.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.directory.audience
    }

    /// In which epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Of which handle.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What is attested.
    #[must_use]
    pub fn attested(&self) -> &Attested {
        &self.attested
    }

    /// The record's contents, if it is there and an opening came with it.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.attested {
            Attested::Opened(record) => Some(record),
            Attested::Absent | Attested::Sealed(_) => None,
        }
    }

    /// The authority's time.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.head.time
    }

    /// The time that a quorum of witnesses vouches for.
    #[must_use]
    pub fn quorum_time(&self) -> Timestamp {
        self.quorum_time
    }

    /// As of when it is known: the older of the two times. Whoever decides by it must bound how far it is ahead of the
    /// clock ([`crate::freshness::check_not_ahead`]).
    #[must_use]
    pub fn freshness(&self) -> Timestamp {
        freshness(self.time(), self.quorum_time)
    }

    /// The map head: log size, live epoch, and all directories.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// What the head says of the directory, the hash of its profile table among it.
    #[must_use]
    pub fn directory(&self) -> &DirectoryHead {
        &self.directory
    }
}

/// Verifies every link of an attestation against the manifest that it was made under.
///
/// # Errors
/// [`AttestationError`] names the link that fails.
pub fn verify_attestation(
    attestation: &Attestation,
    manifest: &VerifiedManifest,
) -> Result<VerifiedAttestation, AttestationError> {
    verify_attestation_given(attestation, manifest, manifest)
}

/// As [`verify_attestation`], where a later manifest, `newest`, says until when keys of the earlier one count: what is signed under a
/// key that leaked proves nothing after its end, whatever manifest it names.
///
/// # Errors
/// [`AttestationError`] names the link that fails.
pub fn verify_attestation_given(
    attestation: &Attestation,
    manifest: &VerifiedManifest,
    newest: &Manifest,
) -> Result<VerifiedAttestation, AttestationError> {
    let Attestation { authority, audience, epoch, handle, .. } = *attestation;
    same_manifest(attestation.manifest, manifest)?;
    let log_proof = &attestation.log_proof;
    let keys = manifest.log_keys_given(authority, newest);
    let checkpoint = keys.verify(&log_proof.checkpoint)?;
    let cosignatures = manifest.cosignatures_given(authority, &checkpoint, newest)?;
    let (found, needed) = (cosignatures.len(), manifest.quorum);
    let quorum_time =
        quorum_time(&cosignatures, needed).ok_or(AttestationError::NoQuorum { found, needed })?;

    let origin = manifest.origin(authority);
    let head = verify_head(&origin, &checkpoint, &attestation.head, &log_proof.proof)?;
    if log_proof.index != head.size - 1 {
        return Err(AttestationError::NotNewest { index: log_proof.index, size: head.size });
    }
    same_manifest(head.manifest, manifest)?;

    let directory = head.directory(epoch, audience).cloned();
    let directory = directory.ok_or(AttestationError::NoDirectory { epoch, audience })?;
    let proven = attestation.map_proof.verify(&directory.commitment, &handle)?;
    let sealed = match (proven, attestation.record) {
        (None, None) => None,
        (None, Some(_)) => return Err(AttestationError::RecordNotThere),
        (Some(_), None) => return Err(AttestationError::RecordLeftOut),
        (Some(hash), Some(record)) if hash == RecordHash::of(&record) => Some(record),
        (Some(_), Some(_)) => return Err(AttestationError::OtherRecord),
    };

    if let Some(opening) = &attestation.opening {
        check_opening(opening, &handle, &directory)?;
    }
    let attested = match (sealed, &attestation.opening) {
        (None, _) => Attested::Absent,
        (Some(sealed), None) => Attested::Sealed(sealed),
        (Some(sealed), Some(opening)) => {
            let key = opening.epoch_key.record_key(&opening.audience_key);
            Attested::Opened(sealed.open(&key, &origin, epoch, &handle)?)
        }
    };
    Ok(VerifiedAttestation { authority, epoch, handle, attested, directory, head, quorum_time })
}

fn same_manifest(found: Hash, manifest: &VerifiedManifest) -> Result<(), AttestationError> {
    let given = manifest.hash();
    if found == given { Ok(()) } else { Err(AttestationError::OtherManifest { found, given }) }
}

/// An opening ties the handle to a badge's key, so that an absence is that badge's as well.
fn check_opening(
    opening: &Opening,
    handle: &Handle,
    directory: &DirectoryHead,
) -> Result<(), AttestationError> {
    if opening.epoch_key.handle() != *handle {
        return Err(AttestationError::OtherEpochKey);
    }
    if opening.audience_key.commitment() != directory.audience_key {
        return Err(AttestationError::OtherAudienceKey);
    }
    Ok(())
}

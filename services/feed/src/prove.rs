//! Proofs against the newest head with a quorum.
//!
//! A map holds the newest signed state. Until a quorum stands behind that, which takes a fraction of a tick, what has
//! changed in a directory cannot be proved; what has not can.

use std::time::Duration;

use bytes::Bytes;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::ids::{Handle, Hash};
use lanyard_core::log::{ConsistencyProof, InclusionProof};
use lanyard_core::map::{MapProof, Prefix};
use lanyard_core::record::SealedRecord;
use lanyard_wire::feed::v1::LookupResponse;

use crate::server::MAX_LOOKUP_ROWS;
use crate::state::{Directory, QuorumHead};
use crate::{DirectoryKey, FeedError, Mirror, View};

/// What a directory holds under a handle, with all that proves it to a stranger.
#[derive(Debug, Clone)]
pub struct Proven {
    /// The sealed record; `None` proves that there is none.
    pub record: Option<SealedRecord>,
    /// From the record, or its absence, to the root in the head.
    pub map_proof: MapProof,
    /// The head's encoding.
    pub head: Bytes,
    /// Hash of the manifest that the head names.
    pub manifest: Hash,
    /// From the head to the checkpoint.
    pub inclusion: InclusionProof,
    /// The checkpoint with its cosignatures.
    pub checkpoint: VerifiedCheckpoint,
}

impl View<'_> {
    /// Proves what a directory holds under a handle.
    ///
    /// # Errors
    /// [`FeedError::NotProvable`] while witnesses are behind; [`FeedError::UnknownDirectory`].
    pub fn prove(&self, key: DirectoryKey, handle: &Handle) -> Result<Proven, FeedError> {
        let (directory, quorum) = self.provable(key)?;
        let (size, signed) = (quorum.size(), quorum.signed());
        Ok(Proven {
            record: directory.map.get(handle),
            map_proof: directory.map.prove(handle),
            head: signed.bytes().clone(),
            manifest: signed.head().manifest,
            inclusion: self.state.log.inclusion_proof(size - 1, size)?,
            checkpoint: quorum.checkpoint().clone(),
        })
    }

    /// Proves all that a directory holds under a prefix, and that the log extends what the caller knows.
    pub(crate) fn prove_prefix(
        &self,
        key: DirectoryKey,
        prefix: Prefix,
        known_size: u64,
    ) -> Result<LookupResponse, FeedError> {
        let (directory, quorum) = self.provable(key)?;
        if directory.map.rows_under(prefix).nth(MAX_LOOKUP_ROWS).is_some() {
            return Err(FeedError::TooMuch { what: "records", limit: MAX_LOOKUP_ROWS as u64 });
        }
        let size = quorum.size();
        let log = &self.state.log;
        let inclusion: InclusionProof = log.inclusion_proof(size - 1, size)?;
        let consistency: ConsistencyProof = log.consistency_proof(known_size, size)?;
        let bytes = |hashes: &[Hash]| hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect();
        Ok(LookupResponse {
            head: quorum.signed().bytes().to_vec(),
            inclusion: bytes(inclusion.hashes()),
            consistency: bytes(consistency.hashes()),
            checkpoint: quorum.checkpoint().note().to_string(),
            proof: directory.map.prove_prefix(prefix).to_bytes(),
        })
    }

    /// A directory whose map is that of the newest head with a quorum.
    fn provable(&self, key: DirectoryKey) -> Result<(&Directory, &QuorumHead), FeedError> {
        let unknown = FeedError::UnknownDirectory { directory: key };
        let directory = self.state.directories.get(&key).ok_or(unknown)?;
        match (&directory.quorum, &self.state.quorum) {
            (Some(head), Some(quorum)) if head.commitment == directory.map.commitment() => {
                Ok((directory, quorum))
            }
            _ => Err(FeedError::NotProvable { directory: key }),
        }
    }
}

impl Mirror {
    /// [`View::prove`], after waiting up to `patience` for the witnesses.
    ///
    /// # Errors
    /// As [`View::prove`].
    pub async fn prove(
        &self,
        key: DirectoryKey,
        handle: &Handle,
        patience: Duration,
    ) -> Result<Proven, FeedError> {
        self.when_provable(patience, |view| view.prove(key, handle)).await
    }

    pub(crate) async fn when_provable<T>(
        &self,
        patience: Duration,
        prove: impl Fn(&View<'_>) -> Result<T, FeedError>,
    ) -> Result<T, FeedError> {
        let mut changes = self.subscribe();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let proven = prove(&self.read());
            if !matches!(proven, Err(FeedError::NotProvable { .. })) {
                return proven;
            }
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return proven,
            }
        }
    }
}

//! Attestations: what the gate can prove of one badge, offline and years later.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::attestation::{Attestation, Opening};
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{EpochKey, Presented};
use lanyard_core::ids::{Audience, Epoch};
use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::tlog_proof::TlogProof;
use lanyard_feed::{DirectoryKey, FeedError, Mirror};
use lanyard_transport::status;
use tonic::{Code, Status};

/// Stable reason: no quorum stands behind the newest state yet, or it is not here.
const NOT_PROVABLE: &str = "NOT_PROVABLE";

/// The encoded attestations of both authorities against their newest heads with a quorum, the committee's first.
pub(crate) async fn both(
    mirrors: [&Arc<Mirror>; 2],
    manifest: &VerifiedManifest,
    credential: &str,
) -> Result<Vec<Vec<u8>>, Status> {
    let presented = Presented::parse(credential, &manifest.event);
    let presented = presented.map_err(|error| status::malformed(error.to_string()))?;
    let patience = Duration::from_millis(u64::from(manifest.tick_millis));
    let mut attestations = Vec::with_capacity(mirrors.len());
    for mirror in mirrors {
        let (epoch, audience_key) = live(mirror).ok_or_else(|| {
            not_provable("the gate has no directory, key or quorum of this authority yet")
        })?;
        let event = &manifest.event;
        let key = presented.epoch_key(event, mirror.authority(), Audience::Gate, epoch);
        let key = key.ok_or_else(|| {
            status::malformed(format!("credential: not a code for gates in epoch {epoch}"))
        })?;
        let opening = Opening { epoch_key: key, audience_key };
        let attestation = attest(mirror, epoch, opening, patience).await?;
        attestations.push(attestation.to_bytes().to_vec());
    }
    Ok(attestations)
}

/// The live epoch of the newest head with a quorum, and its audience key.
fn live(mirror: &Mirror) -> Option<(Epoch, AudienceKey)> {
    let view = mirror.read();
    let epoch = view.quorum()?.signed().head().live_epoch;
    let key = view.directory(epoch, Audience::Gate)?.audience_key()?;
    Some((epoch, AudienceKey::from_bytes(*key.expose_bytes())))
}

async fn attest(
    mirror: &Mirror,
    epoch: Epoch,
    opening: Opening,
    patience: Duration,
) -> Result<Attestation, Status> {
    let handle = EpochKey::handle(&opening.epoch_key);
    let directory = DirectoryKey::new(epoch, Audience::Gate);
    let proven = mirror.prove(directory, &handle, patience).await.map_err(|error| match error {
        FeedError::NotProvable { .. } => {
            not_provable("witnesses are behind the newest change; ask again")
        }
        FeedError::UnknownDirectory { .. } => not_provable("an epoch ended just now; ask again"),
        error => status::internal(&error),
    })?;
    Ok(Attestation {
        manifest: proven.manifest,
        authority: mirror.authority(),
        audience: Audience::Gate,
        epoch,
        handle,
        record: proven.record,
        map_proof: proven.map_proof,
        head: proven.head.to_vec(),
        log_proof: TlogProof {
            extra: None,
            index: proven.checkpoint.size().saturating_sub(1),
            proof: proven.inclusion,
            checkpoint: proven.checkpoint.note().clone(),
        },
        opening: Some(opening),
    })
}

fn not_provable(message: &str) -> Status {
    status::error(Code::Unavailable, NOT_PROVABLE, message)
}

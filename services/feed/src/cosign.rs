//! Cosignatures: which state a quorum of witnesses stands behind.

use std::sync::Arc;

use lanyard_core::checkpoint::{VerifiedCheckpoint, verify_checkpoint};
use lanyard_core::cosignature::{VerifiedCosignature, verify_cosignatures};
use lanyard_core::freshness::{Freshness, FreshnessError};
use lanyard_core::ids::Timestamp;
use lanyard_core::note::Note;
use lanyard_wire::feed::v1::Cosigned;

use crate::events::Event;
use crate::evidence::{Evidence, Misdeed};
use crate::manifests::Policy;
use crate::mirror::Mirror;
use crate::state::{QuorumHead, SignedHead, read, write};
use crate::store::KeptQuorum;
use crate::{Applied, FeedError};

impl Mirror {
    /// Takes cosignatures of a checkpoint that is known, as the authority's own witnesses give them.
    ///
    /// # Errors
    /// [`FeedError`] if the checkpoint is not signed by the authority, or a cosignature was altered; and
    /// [`FeedError::Fork`], with evidence saved, if it is of another log.
    pub fn cosigned(&self, checkpoint: &str, sender: &str) -> Result<Applied, FeedError> {
        let policy = self.policy();
        let checkpoint = verify_checkpoint(&Note::parse(checkpoint)?, &policy.log_key)?;
        let mut writer = self.lock();
        if checkpoint.size() > read(&self.state).size() {
            return Ok(Applied::Ignored);
        }
        self.check_known(&checkpoint, sender)?;
        let applied = self.adopt(&policy, &checkpoint)?;
        self.tidy(&mut writer);
        Ok(applied)
    }

    /// Checks a signed checkpoint, no larger than the log kept here, against that log.
    pub(crate) fn check_known(
        &self,
        checkpoint: &VerifiedCheckpoint,
        sender: &str,
    ) -> Result<(), FeedError> {
        let state = read(&self.state);
        let (size, have) = (checkpoint.size(), state.size());
        let kept_root = state.log.root_at(size)?;
        if kept_root == checkpoint.root() {
            return Ok(());
        }
        let problem = FeedError::Fork { size };
        let mut evidence = Evidence::new(Misdeed::Fork, &self.origin, sender, checkpoint, &problem)
            .roots(kept_root, &state.log.consistency_proof(size, have)?);
        if let Some(signed) = &state.signed {
            evidence = evidence.kept(signed.checkpoint.note());
        }
        drop(state);
        self.caught(evidence);
        Err(problem)
    }

    /// Takes the cosignatures that a checkpoint of the log kept here carries.
    pub(crate) fn adopt(
        &self,
        policy: &Policy,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Applied, FeedError> {
        let brought = verify_cosignatures(checkpoint, &policy.witnesses)?;
        let Some((signed, known)) = self.adoptable(checkpoint.size()) else {
            return Ok(Applied::Ignored);
        };
        let before = match &known {
            Some(known) => verify_cosignatures(known, &policy.witnesses)?,
            None => Vec::new(),
        };
        let is_new = |one: &VerifiedCosignature| {
            let same = before.iter().find(|other| other.witness() == one.witness());
            same.is_none_or(|other| other.time() < one.time())
        };
        if !brought.iter().any(is_new) {
            return Ok(Applied::Known { size: signed.size() });
        }
        let merged = merge(policy, &signed.checkpoint, [brought, before].concat())?;
        let now = self.now();
        let quorum = assess(policy, signed, merged.clone(), now);
        if let Some(quorum) = &quorum {
            self.keep_quorum(quorum)?;
        }
        let size = merged.size();
        let cosigned = Cosigned { checkpoint: merged.note().to_string() };
        let applied = Applied::Cosigned { size, quorum: quorum.is_some() };
        let mut state = write(&self.state);
        match quorum {
            Some(quorum) => state.settle(quorum),
            None => {
                let recent = state.recent.iter_mut().find(|one| one.signed.size() == size);
                if let Some(recent) = recent {
                    recent.cosigned = Some(merged);
                }
            }
        }
        drop(state);
        self.events.push(Event::cosigned(cosigned));
        Ok(applied)
    }

    /// The head of a size that may become the newest with a quorum, or is it, with what cosignatures it has.
    fn adoptable(&self, size: u64) -> Option<(Arc<SignedHead>, Option<VerifiedCheckpoint>)> {
        let state = read(&self.state);
        if let Some(quorum) = state.quorum.as_ref().filter(|quorum| quorum.size() == size) {
            return Some((Arc::clone(&quorum.signed), Some(quorum.checkpoint.clone())));
        }
        let recent = state.recent.iter().find(|recent| recent.signed.size() == size)?;
        Some((Arc::clone(&recent.signed), recent.cosigned.clone()))
    }

    /// Keeps a quorum on disk, unless it is only a later time for the size kept: that refreshes nothing.
    fn keep_quorum(&self, quorum: &QuorumHead) -> Result<(), FeedError> {
        let state = read(&self.state);
        if state.quorum_size() == quorum.size() {
            return Ok(());
        }
        let mut floor = state.floor;
        drop(state);
        floor.observe(quorum.freshness.quorum_time());
        let checkpoint = quorum.checkpoint.note().to_string();
        self.store.put_quorum(&KeptQuorum { checkpoint, floor: floor.highest() })
    }
}

/// Whether a quorum stands behind a checkpoint at `now`.
pub(crate) fn assess(
    policy: &Policy,
    signed: Arc<SignedHead>,
    checkpoint: VerifiedCheckpoint,
    now: Timestamp,
) -> Option<QuorumHead> {
    let cosignatures = verify_cosignatures(&checkpoint, &policy.witnesses).ok()?;
    let (quorum, skew) = (policy.manifest.quorum, policy.manifest.skew_millis);
    match Freshness::assess(signed.head.time, &cosignatures, quorum, now, skew) {
        Ok(freshness) => Some(QuorumHead { signed, checkpoint, freshness }),
        Err(FreshnessError::NoQuorum { .. }) => None,
        Err(error) => {
            tracing::warn!(%error, size = signed.size(), "a quorum is not believed");
            None
        }
    }
}

/// The checkpoint with the newest cosignature of each witness, and nothing else.
fn merge(
    policy: &Policy,
    signed: &VerifiedCheckpoint,
    mut cosignatures: Vec<VerifiedCosignature>,
) -> Result<VerifiedCheckpoint, FeedError> {
    let mut note = Note::unsigned(signed.note().text())?;
    let own = signed.note().signatures().iter().find(|line| line.is_by(&policy.log_key));
    if let Some(own) = own {
        note.add(own.clone())?;
    }
    let mut merged = verify_checkpoint(&note, &policy.log_key)?;
    cosignatures.sort_by_key(|one| std::cmp::Reverse(one.time()));
    let mut seen = Vec::new();
    for one in &cosignatures {
        if !seen.contains(&one.witness()) {
            merged.attach(one)?;
            seen.push(one.witness());
        }
    }
    Ok(merged)
}

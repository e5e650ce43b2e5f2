//! Cosignatures: which state a quorum of witnesses stands behind.

use std::sync::Arc;

use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::VerifiedCosignature;
use lanyard_core::freshness::{Freshness, FreshnessError};
use lanyard_core::ids::Timestamp;
use lanyard_core::note::{Note, NoteSignature};
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
        let checkpoint = policy.log.verify(&Note::parse(checkpoint)?)?;
        self.take_cosigned(&policy, &checkpoint, sender)
    }

    pub(crate) fn take_cosigned(
        &self,
        policy: &Policy,
        checkpoint: &VerifiedCheckpoint,
        sender: &str,
    ) -> Result<Applied, FeedError> {
        let mut writer = self.lock();
        if checkpoint.size() > read(&self.state).size() {
            return Ok(Applied::Ignored);
        }
        self.check_known(checkpoint, sender)?;
        let applied = self.adopt(policy, checkpoint)?;
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
        let brought = policy.cosignatures(checkpoint)?;
        let Some((signed, known)) = self.adoptable(checkpoint.size()) else {
            return Ok(Applied::Ignored);
        };
        let before = match &known {
            Some(known) => policy.cosignatures(known)?,
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
        let assessed = assess(policy, signed, merged.clone(), self.now());
        if !matches!(assessed, Err(FreshnessError::NoQuorum { .. })) {
            self.note_ahead(assessed.as_ref().err());
        }
        let quorum = assessed.ok();
        if let Some(quorum) = &quorum {
            self.keep_quorum(quorum)?;
        }
        let size = merged.size();
        let cosigned = Cosigned { checkpoint: merged.note().to_string() };
        let applied = Applied::Cosigned { size, quorum: quorum.is_some() };
        let mut state = write(&self.state);
        match quorum {
            Some(quorum) => {
                state.floor.observe(quorum.freshness.quorum_time(), self.env.elapsed_millis());
                state.settle(quorum);
            }
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
        let floor = state.floor.proven(self.env.elapsed_millis());
        drop(state);
        let floor = floor.max(quorum.freshness.quorum_time());
        let checkpoint = quorum.checkpoint.note().to_string();
        self.store.put_quorum(&KeptQuorum { checkpoint, floor })
    }
}

/// Whether a quorum stands behind a checkpoint at `now`; one that is not believed is logged.
pub(crate) fn assess(
    policy: &Policy,
    signed: Arc<SignedHead>,
    checkpoint: VerifiedCheckpoint,
    now: Timestamp,
) -> Result<QuorumHead, FreshnessError> {
    let (quorum, skew) = (policy.manifest.quorum, policy.manifest.skew_millis);
    let cosignatures =
        policy.cosignatures(&checkpoint).map_err(|_| FreshnessError::NoQuorum { quorum })?;
    let assessed = Freshness::assess(signed.head.time, &cosignatures, quorum, now, skew);
    if let Err(error @ FreshnessError::AheadOfClock { .. }) = &assessed {
        tracing::warn!(%error, size = signed.size(), "a quorum is not believed");
    }
    assessed.map(|freshness| QuorumHead { signed, checkpoint, freshness })
}

/// The checkpoint with the newest cosignature of each witness, and nothing else.
fn merge(
    policy: &Policy,
    signed: &VerifiedCheckpoint,
    mut cosignatures: Vec<VerifiedCosignature>,
) -> Result<VerifiedCheckpoint, FeedError> {
    let mut note = Note::unsigned(signed.note().text())?;
    let is_own = |line: &&NoteSignature| policy.log.all().any(|key| line.is_by(key));
    for own in signed.note().signatures().iter().filter(is_own) {
        note.add(own.clone())?;
    }
    let mut merged = policy.log.verify(&note)?;
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

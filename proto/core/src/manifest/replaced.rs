//! Keys that were replaced: what they are still good for, and until when what they signed counts.
//!
//! A key is replaced in two steps. In the first, the manifest names the new key and lists the old one as replaced without
//! an end: both count, so that verifiers with the manifest before and with this one work side by side. In the second, the
//! old one gets its end: nothing that it signs later counts, and what it signed before stays provable. For a key that
//! leaked, one manifest does both.
//!
//! Whose a key is says its name: the log's origin, a witness's key name, a gate's name for its receipts.

use serde::{Deserialize, Serialize};

use super::{Manifest, ManifestError, Witness};
use crate::checkpoint::{CheckpointError, VerifiedCheckpoint, verify_checkpoint};
use crate::cosignature::{CosignatureError, VerifiedCosignature, verify_cosignatures};
use crate::ids::{Authority, Hash, Timestamp};
use crate::note::{Note, VerifyingKey};

/// A key that another took the place of, or that nobody shall use any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacedKey {
    /// The key.
    pub key: VerifyingKey,
    /// Until when it counts; without it, beside its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<KeyEnd>,
}

/// Until when a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEnd {
    /// What it signed for this time or later does not count: cosignatures and receipts.
    pub time: Timestamp,
    /// For a log's key, the last checkpoint that counts under this key alone. Its owner had signed it under the new key
    /// too, so that there is no gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPosition>,
}

/// A log at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// How many leaves.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

/// The keys of one log: of the one that signs now, and of those that did before, with their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKeys {
    current: ReplacedKey,
    former: Vec<ReplacedKey>,
}

impl From<VerifyingKey> for LogKeys {
    fn from(key: VerifyingKey) -> Self {
        Self { current: ReplacedKey { key, until: None }, former: Vec::new() }
    }
}

impl LogKeys {
    /// The key that signs now; its name is the log's origin.
    #[must_use]
    pub const fn current(&self) -> &VerifyingKey {
        &self.current.key
    }

    /// All of them, the one that signs now first.
    pub fn all(&self) -> impl Iterator<Item = &VerifyingKey> {
        std::iter::once(&self.current).chain(&self.former).map(|one| &one.key)
    }

    /// Verifies that the log signed a checkpoint, under the key of now or one that counted then.
    ///
    /// # Errors
    /// [`CheckpointError::Retired`] if only a key signed that did not count any more; others as [`verify_checkpoint`].
    pub fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, CheckpointError> {
        let mut refused = None;
        for one in std::iter::once(&self.current).chain(&self.former) {
            if !note.signatures().iter().any(|line| line.is_by(&one.key)) {
                continue;
            }
            let checkpoint = verify_checkpoint(note, &one.key)?;
            let Some(end) = &one.until else { return Ok(checkpoint) };
            let counts = end.log.is_some_and(|last| {
                checkpoint.size() < last.size
                    || (checkpoint.size() == last.size && checkpoint.root() == last.root)
            });
            if counts {
                return Ok(checkpoint);
            }
            let last = end.log.map_or(0, |last| last.size);
            refused = Some(CheckpointError::Retired { size: checkpoint.size(), last });
        }
        match refused {
            Some(refused) => Err(refused),
            // Names the key that should have signed.
            None => verify_checkpoint(note, &self.current.key),
        }
    }
}

impl Manifest {
    /// The keys of an authority's log.
    #[must_use]
    pub fn log_keys(&self, authority: Authority) -> LogKeys {
        self.log_keys_given(authority, self)
    }

    /// The keys of an authority's log under this manifest, with the ends that a later one, `newest`, gave them.
    #[must_use]
    pub fn log_keys_given(&self, authority: Authority, newest: &Self) -> LogKeys {
        let mut keys = LogKeys::from(self.log_key(authority).clone());
        keys.current.until = newest.end_of(keys.current());
        keys.former = self.replaced_beside(keys.current(), newest);
        // It signs before the manifest that names it is in force.
        let key = newest.log_key(authority);
        if key != keys.current() && key.name() == keys.current().name() {
            keys.former.push(ReplacedKey { key: key.clone(), until: None });
        }
        keys
    }

    /// The cosignatures on a checkpoint by this log's witnesses, one each.
    ///
    /// # Errors
    /// [`CosignatureError`].
    pub fn cosignatures(
        &self,
        authority: Authority,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Vec<VerifiedCosignature>, CosignatureError> {
        self.cosignatures_given(authority, checkpoint, self)
    }

    /// The cosignatures by this manifest's witnesses, with the ends that a later one, `newest`, gave their keys.
    ///
    /// # Errors
    /// [`CosignatureError`].
    pub fn cosignatures_given(
        &self,
        authority: Authority,
        checkpoint: &VerifiedCheckpoint,
        newest: &Self,
    ) -> Result<Vec<VerifiedCosignature>, CosignatureError> {
        let mut found = Vec::new();
        for witness in self.witnesses_of(authority) {
            let former = self.replaced_beside(&witness.key, newest);
            let former = former.into_iter().map(|one| one.key);
            let keys: Vec<_> = std::iter::once(witness.key.clone()).chain(former).collect();
            let counts = |one: &VerifiedCosignature| {
                newest.end_of(one.witness()).is_none_or(|end| one.time() < end.time)
            };
            let verified = verify_cosignatures(checkpoint, &keys)?.into_iter().filter(counts);
            // One witness, however many keys it has.
            let newest = verified.max_by_key(VerifiedCosignature::time);
            found.extend(newest.map(|one| one.attributed_to(&witness.key)));
        }
        Ok(found)
    }

    /// The keys under which a witness's cosignatures count now: its own, then replaced ones that have no end.
    #[must_use]
    pub fn keys_of(&self, witness: &Witness) -> Vec<VerifyingKey> {
        let beside = self.replaced_beside(&witness.key, self).into_iter();
        let former = beside.filter(|one| one.until.is_none()).map(|one| one.key);
        std::iter::once(witness.key.clone()).chain(former).collect()
    }

    /// Until when this key counts, if the manifest says that it was replaced.
    #[must_use]
    pub fn end_of(&self, key: &VerifyingKey) -> Option<KeyEnd> {
        self.replaced.iter().find(|one| one.key == *key)?.until
    }

    /// The keys of the same name that this manifest lists as replaced, with the ends that `newest` gave them.
    fn replaced_beside(&self, key: &VerifyingKey, newest: &Self) -> Vec<ReplacedKey> {
        let same = self.replaced.iter().filter(|one| one.key.name() == key.name());
        same.map(|one| ReplacedKey {
            key: one.key.clone(),
            until: newest.end_of(&one.key).or(one.until),
        })
        .collect()
    }

    /// Checks that what has come to its end here stays there in a later manifest: a plan that forgets it would let a thief
    /// in again.
    ///
    /// # Errors
    /// [`ManifestError::EndTakenBack`], [`ManifestError::RevocationTakenBack`].
    pub fn check_ends(&self, next: &Self) -> Result<(), ManifestError> {
        for one in &self.replaced {
            let Some(end) = one.until else { continue };
            let later = next.end_of(&one.key);
            if later.is_none_or(|later| later.time > end.time || later.log != end.log) {
                return Err(ManifestError::EndTakenBack { name: one.key.name().clone() });
            }
        }
        let kept = |key| next.revoked_certificates.contains(key);
        match self.revoked_certificates.iter().find(|key| !kept(key)) {
            Some(key) => Err(ManifestError::RevocationTakenBack { key: *key }),
            None => Ok(()),
        }
    }
}

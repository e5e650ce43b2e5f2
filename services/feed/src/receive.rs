//! A tick arrives: everything about it is verified before any of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanyard_core::audience_key::SealedAudienceKey;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::freshness::{TimeSource, check_not_ahead};
use lanyard_core::head::{DirectoryHead, MapHead, verify_head};
use lanyard_core::ids::Hash;
use lanyard_core::log::{InclusionProof, leaf_hash};
use lanyard_core::map::Delta;
use lanyard_core::map::snapshot::SnapshotError;
use lanyard_core::note::Note;
use lanyard_wire::feed::v1::Tick;

use crate::evidence::{Evidence, Misdeed};
use crate::intake::{Applied, Intake, directory_key};
use crate::manifests::Policy;
use crate::mirror::{Mirror, Writer};
use crate::stage::Staged;
use crate::state::{SignedHead, Table, read};
use crate::{DirectoryKey, FeedError};

/// A tick whose signature is the authority's; nothing else is known of it.
struct Arrival {
    tick: Tick,
    checkpoint: VerifiedCheckpoint,
    head: MapHead,
    policy: Policy,
}

impl Intake {
    pub(crate) fn tick(&mut self, tick: Tick) -> Result<Applied, FeedError> {
        let mirror = Arc::clone(&self.mirror);
        let policy = mirror.policy();
        let checkpoint = policy.log.verify(&Note::parse(&tick.checkpoint)?)?;
        let head = MapHead::from_bytes(&tick.head)?;
        let arrival = Arrival { tick, checkpoint, head, policy };
        let mut writer = mirror.lock();
        let applied = self.arrived(&mut writer, arrival);
        mirror.tidy(&mut writer);
        applied
    }

    fn arrived(&mut self, writer: &mut Writer, arrival: Arrival) -> Result<Applied, FeedError> {
        let mirror = Arc::clone(&self.mirror);
        let size = arrival.checkpoint.size();
        let state = read(&mirror.state);
        let have = state.size();
        let lacks = mirror.wanted(&arrival.head).any(|key| !state.directories.contains_key(&key));
        drop(state);
        if size <= have {
            mirror.check_known(&arrival.checkpoint, &self.sender)?;
            if size < have || !lacks {
                let adopted = mirror.adopt(&arrival.policy, &arrival.checkpoint)?;
                self.note_quorum(&arrival.policy, &arrival.checkpoint)?;
                return Ok(if adopted == Applied::Ignored {
                    Applied::Known { size }
                } else {
                    adopted
                });
            }
        }
        if let Some(published) = mirror.settle_pending(writer, &arrival.checkpoint)? {
            return Ok(published);
        }
        let Arrival { mut tick, checkpoint, policy, .. } = arrival;
        let (staged, inclusion) = self.extend_log(have, &checkpoint, &tick.head)?;
        let head = verify_head(&mirror.origin, &checkpoint, &tick.head, &inclusion)?;
        let signed =
            Arc::new(SignedHead { head, bytes: tick.head.clone(), checkpoint: checkpoint.clone() });
        mirror.check_head(&policy, &signed, &self.sender)?;
        // Directories that the head before had and that are missing here cannot be brought up to date by deltas.
        let is_next = size == have + 1 && have > 0 && !mirror.lacks_any();
        let (staged, tables) = self.stage_rows(staged, &tick, &signed, is_next)?;
        for (key, received) in &mut self.snapshots {
            if staged.brought().any(|(brought, _)| brought == key) {
                received.incoming.keep(&mirror.store.snapshot_path(size, *key))?;
            }
        }
        tick.deltas.retain(|delta| {
            directory_key(delta.directory.as_ref())
                .is_ok_and(|key| mirror.config.audiences.contains(&key.audience))
        });
        mirror.commit(writer, staged, signed, tick, tables, !is_next)?;
        self.leaves.clear();
        self.snapshots.clear();
        self.forget_tables();
        mirror.adopt(&policy, &checkpoint)?;
        self.note_quorum(&policy, &checkpoint)?;
        self.attach_keys(writer)?;
        Ok(Applied::Tick { size })
    }

    /// Appends the leaves that were sent and the tick's own, and checks the signed root.
    fn extend_log(
        &self,
        have: u64,
        checkpoint: &VerifiedCheckpoint,
        head: &[u8],
    ) -> Result<(Staged, InclusionProof), FeedError> {
        let mirror = &self.mirror;
        let size = checkpoint.size();
        if size == have {
            // Known by its root; only the head is to be checked against the leaf.
            let inclusion = read(&mirror.state).log.inclusion_proof(size - 1, size)?;
            return Ok((Staged::begin(&mirror.state, size, &[]), inclusion));
        }
        let mut staged = Staged::begin(&mirror.state, size, self.leaves_between(have, size - 1)?);
        let (root, inclusion) = staged.append(leaf_hash(head));
        if root == checkpoint.root() {
            return Ok((staged, inclusion));
        }
        drop(staged);
        let problem = FeedError::Inconsistent { have, size };
        let mut evidence = self.evidence(Misdeed::Inconsistent, checkpoint, &problem).head(head);
        if let Some(signed) = &read(&mirror.state).signed {
            evidence = evidence.kept(signed.checkpoint.note());
        }
        mirror.caught(evidence);
        Err(problem)
    }

    /// The leaves collected from `from` up to `to`.
    fn leaves_between(&self, from: u64, to: u64) -> Result<&[Hash], FeedError> {
        if from == to {
            return Ok(&[]);
        }
        let gap = FeedError::Gap { expected: from, found: self.start };
        let index = |leaf: u64| leaf.checked_sub(self.start).and_then(|i| usize::try_from(i).ok());
        match (index(from), index(to)) {
            (Some(from), Some(to)) => self.leaves.get(from..to).ok_or(gap),
            _ => Err(gap),
        }
    }

    /// Stages the rows of every directory, and compares each with the head.
    fn stage_rows(
        &self,
        mut staged: Staged,
        tick: &Tick,
        signed: &SignedHead,
        is_next: bool,
    ) -> Result<(Staged, Vec<(DirectoryKey, Table)>), FeedError> {
        let mirror = &self.mirror;
        let size = signed.size();
        let mut deltas = mirror.deltas(tick, signed)?;
        let mut tables = Vec::new();
        for key in mirror.wanted(&signed.head) {
            let Some(head) = signed.head.directory(key.epoch, key.audience) else { continue };
            let delta = deltas.remove(&key);
            let received = self.snapshots.get(&key).filter(|one| one.whole && one.size == size);
            let is_held = is_next && read(&mirror.state).directories.contains_key(&key);
            match (received, delta) {
                (Some(_), Some(_)) => {
                    return Err(FeedError::Order {
                        what: "a directory came as snapshot and as delta",
                    });
                }
                (Some(received), None) => {
                    let path = received.incoming.path();
                    let map = mirror.store.load_snapshot(path, key, head.commitment);
                    staged.insert(key, map.map_err(|error| self.blame_snapshot(error, signed))?);
                }
                (None, delta) if is_held => {
                    let applied = delta.map_or(Ok(()), |delta| staged.apply(key, &delta));
                    let problem = match applied {
                        Err(source) => Some(FeedError::Map { directory: key, source }),
                        Ok(()) if staged.commitment(key) != Some(head.commitment) => {
                            Some(FeedError::Directory { directory: key, size })
                        }
                        Ok(()) => None,
                    };
                    if let Some(problem) = problem {
                        mirror.caught(self.wrong_rows(signed, &problem));
                        return Err(problem);
                    }
                }
                (None, _) => return Err(FeedError::MissingSnapshot { directory: key, size }),
            }
            tables.extend(self.table_for(key, head)?);
        }
        Ok((staged, tables))
    }

    /// The table that a head names, if it was sent and is not here.
    fn table_for(
        &self,
        key: DirectoryKey,
        head: &DirectoryHead,
    ) -> Result<Option<(DirectoryKey, Table)>, FeedError> {
        let state = read(&self.mirror.state);
        let held = state.directories.get(&key);
        let hash = head.profiles;
        if held.is_some_and(|held| held.tables.iter().any(|table| table.hash == hash)) {
            return Ok(None);
        }
        let mut sent = self.tables.iter().filter(|(of, _)| *of == key).map(|(_, sealed)| sealed);
        let Some(sealed) = sent.find(|sealed| sealed.hash() == hash).cloned() else {
            return Ok(None);
        };
        let audience_key = held.and_then(|held| held.key.as_deref());
        let opened = self.mirror.open_table(key, &sealed, audience_key)?;
        Ok(Some((key, Table { hash, sealed, opened })))
    }

    /// Forgets tables that were taken; the others may be those of later ticks.
    fn forget_tables(&mut self) {
        let state = read(&self.mirror.state);
        self.tables.retain(|(key, sealed)| {
            let held = state.directories.get(key);
            held.is_none_or(|held| held.tables.iter().all(|table| table.hash != sealed.hash()))
        });
    }

    /// Takes the keys that waited for their directories.
    fn attach_keys(&mut self, writer: &Writer) -> Result<(), FeedError> {
        let mirror = Arc::clone(&self.mirror);
        let is_known = |key: &SealedAudienceKey| {
            let directory = DirectoryKey::new(key.epoch, key.audience);
            read(&mirror.state).directories.contains_key(&directory)
        };
        let (known, waiting) = std::mem::take(&mut self.keys).into_iter().partition(is_known);
        self.keys = waiting;
        Vec::into_iter(known).try_for_each(|key| mirror.attach_key(writer, key).map(drop))
    }

    fn evidence(
        &self,
        misdeed: Misdeed,
        sent: &VerifiedCheckpoint,
        problem: &FeedError,
    ) -> Evidence {
        Evidence::new(misdeed, &self.mirror.origin, &self.sender, sent, problem)
    }

    fn wrong_rows(&self, signed: &SignedHead, problem: &FeedError) -> Evidence {
        self.evidence(Misdeed::WrongRows, &signed.checkpoint, problem).head(&signed.bytes)
    }

    /// A snapshot that reads well and is not what was committed to is a lie; garbage is garbage.
    fn blame_snapshot(&self, error: FeedError, signed: &SignedHead) -> FeedError {
        if let FeedError::Snapshot {
            source: SnapshotError::Root { .. } | SnapshotError::Other { .. },
        } = &error
        {
            self.mirror.caught(self.wrong_rows(signed, &error));
        }
        error
    }
}

impl Mirror {
    /// Whether a directory that the newest head lists is missing, as after damage on the disk.
    pub(crate) fn lacks_any(&self) -> bool {
        let state = read(&self.state);
        let Some(signed) = &state.signed else { return true };
        self.wanted(&signed.head).any(|key| !state.directories.contains_key(&key))
    }

    /// Checks a head against the clock and the head before it.
    pub(crate) fn check_head(
        &self,
        policy: &Policy,
        signed: &SignedHead,
        sender: &str,
    ) -> Result<(), FeedError> {
        let head = &signed.head;
        let skew = policy.manifest.skew_millis;
        let not_ahead = check_not_ahead(TimeSource::Leaf, head.time, self.now(), skew);
        self.note_ahead(not_ahead.as_ref().err());
        not_ahead?;
        let size = signed.size();
        let unknown = || FeedError::UnknownManifest { size };
        let to = self.manifests.version_of(&head.manifest).ok_or_else(unknown)?;
        let Some(before) = read(&self.state).signed.clone() else { return Ok(()) };
        let from = self.manifests.version_of(&before.head.manifest).unwrap_or(0);
        let problem = if to < from {
            FeedError::ManifestRolledBack { size, from, to }
        } else if head.live_epoch < before.head.live_epoch {
            let (from, to) = (before.head.live_epoch, head.live_epoch);
            FeedError::EpochRolledBack { size, from, to }
        } else {
            return self.check_keys(signed, &before);
        };
        let (sent, kept) = (&signed.checkpoint, before.checkpoint.note());
        let evidence = Evidence::new(Misdeed::RolledBack, &self.origin, sender, sent, &problem);
        self.caught(evidence.kept(kept).head(&before.bytes).head(&signed.bytes));
        Err(problem)
    }

    /// An audience key stays as long as its directory.
    fn check_keys(&self, signed: &SignedHead, before: &SignedHead) -> Result<(), FeedError> {
        let size = signed.size();
        for directory in self.wanted(&signed.head) {
            let find = |of: &SignedHead| {
                let head = of.head.directory(directory.epoch, directory.audience);
                head.map(|head| head.audience_key)
            };
            if find(before).is_some_and(|key| Some(key) != find(signed)) {
                return Err(FeedError::AudienceKeyChanged { directory, size });
            }
        }
        Ok(())
    }

    /// The deltas of a tick for the directories mirrored here.
    pub(crate) fn deltas(
        &self,
        tick: &Tick,
        signed: &SignedHead,
    ) -> Result<BTreeMap<DirectoryKey, Delta>, FeedError> {
        let mut deltas = BTreeMap::new();
        for delta in &tick.deltas {
            let directory = directory_key(delta.directory.as_ref())?;
            if signed.head.directory(directory.epoch, directory.audience).is_none() {
                return Err(FeedError::UnknownDirectory { directory });
            }
            if !self.config.audiences.contains(&directory.audience) {
                continue;
            }
            let decoded = Delta::from_bytes(&delta.delta);
            let decoded = decoded.map_err(|source| FeedError::Delta { directory, source })?;
            if deltas.insert(directory, decoded).is_some() {
                return Err(FeedError::Order { what: "two deltas of one directory" });
            }
        }
        Ok(deltas)
    }
}

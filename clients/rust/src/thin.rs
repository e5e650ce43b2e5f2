//! A verifier without a directory of its own: it asks any mirror and believes nothing that it cannot check.

use std::path::PathBuf;

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::EpochKey;
use lanyard_core::checkpoint::{CheckpointError, VerifiedCheckpoint};
use lanyard_core::codec::CodecError;
use lanyard_core::cosignature::CosignatureError;
use lanyard_core::freshness::{ClockFloor, Freshness, FreshnessError};
use lanyard_core::head::{DirectoryHead, HeadError, VerifiedHead, verify_head};
use lanyard_core::ids::{Audience, Authority, Epoch, Hash};
use lanyard_core::log::{ConsistencyProof, InclusionProof, LogError, verify_consistency};
use lanyard_core::manifest::VerifiedManifest;
use lanyard_core::map::{Prefix, PrefixProof, ProofError, Row};
use lanyard_core::note::{Note, NoteError};
use lanyard_core::record::{Record, RecordError, SealedRecord};
use lanyard_env::Env;
use lanyard_wire::convert::{WireError, array};
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::{DirectoryId, LookupRequest, LookupResponse};
use thiserror::Error;
use tonic::Code;
use tonic::transport::Channel;

use crate::error::{ClientError, call};
use crate::kept::{Kept, KeptError, KeptFile};

/// Bits asked for at first: one of 64 badges, whoever asks.
const FIRST_BITS: u8 = 6;
/// Bits added when too many records lie under a prefix.
const MORE_BITS: u8 = 2;

/// Why a mirror's answer is not believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ThinError {
    /// The mirror did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was remembered of the log cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A field of the answer.
    #[error("the mirror's answer: {0}")]
    Wire(#[from] WireError),
    /// The checkpoint is no note.
    #[error("the mirror's answer: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not the authority's.
    #[error("the mirror's answer: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A known witness's cosignature is bad.
    #[error("the mirror's answer: {0}")]
    Cosignature(#[from] CosignatureError),
    /// No quorum, or times ahead of the clock.
    #[error("the mirror's answer: {0}")]
    Freshness(#[from] FreshnessError),
    /// The head is not the log's newest leaf.
    #[error("the mirror's answer: {0}")]
    Head(#[from] HeadError),
    /// A proof over the log is malformed.
    #[error("the mirror's answer: {0}")]
    Log(#[from] LogError),
    /// The proof over the directory is malformed.
    #[error("the mirror's answer: {0}")]
    Codec(#[from] CodecError),
    /// The proof does not lead to the directory's root.
    #[error("the mirror's answer: {0}; it hides or forges records")]
    Map(#[from] ProofError),
    /// The record does not open.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The head was made under another manifest.
    #[error(
        "the log works under the manifest {found}, known here is {known}; adopt the newest manifest and ask again"
    )]
    OtherManifest {
        /// The manifest in the head.
        found: Hash,
        /// The manifest here.
        known: Hash,
    },
    /// The head has no such directory.
    #[error(
        "{authority} has no directory for {audience} in epoch {epoch}; the live epoch is {live}"
    )]
    NoDirectory {
        /// The authority.
        authority: Authority,
        /// The audience asked for.
        audience: Audience,
        /// The epoch asked for.
        epoch: Epoch,
        /// The live epoch.
        live: Epoch,
    },
    /// The audience key given is of another directory.
    #[error(
        "the audience key is not the one of this directory; give that of {audience} in epoch {epoch}"
    )]
    OtherAudienceKey {
        /// The directory's audience.
        audience: Audience,
        /// The directory's epoch.
        epoch: Epoch,
    },
    /// The mirror, or the authority, shows an older state than before.
    #[error("shown a log of {shown} leaves after one of {kept}: rolled back; evidence kept in {}", evidence.display())]
    RolledBack {
        /// Leaves shown.
        shown: u64,
        /// Leaves seen before.
        kept: u64,
        /// The evidence.
        evidence: PathBuf,
    },
    /// The log is not an extension of what it was before.
    #[error("the log of {shown} leaves does not extend the one of {kept} seen before: {source}; evidence kept in {}", evidence.display())]
    Forked {
        /// Leaves shown.
        shown: u64,
        /// Leaves seen before.
        kept: u64,
        /// What does not fit.
        source: LogError,
        /// The evidence.
        evidence: PathBuf,
    },
}

/// What is asked of a mirror.
pub struct Question<'a> {
    /// Whose word.
    pub authority: Authority,
    /// The directory's audience.
    pub audience: Audience,
    /// The directory's epoch.
    pub epoch: Epoch,
    /// The badge's key in that directory; it never leaves here.
    pub epoch_key: &'a EpochKey,
    /// Opens the record, if the verifier has it.
    pub audience_key: Option<&'a AudienceKey>,
    /// How many bits of the handle the mirror may learn at first; fewer hide the badge among more others.
    pub bits: Option<u8>,
}

/// What the directory holds, proven.
#[derive(Debug, Clone)]
pub struct LookedUp {
    /// The sealed record; `None` proves that there is none.
    pub sealed: Option<SealedRecord>,
    /// What it says, if an audience key was given.
    pub record: Option<Record>,
    /// Records under the prefix: among so many the badge was hidden.
    pub rows: usize,
    /// The prefix that the mirror learnt, in bits.
    pub bits: u8,
    /// The log's size.
    pub size: u64,
    /// As of when it is known.
    pub freshness: Freshness,
    /// What the head says of the directory.
    pub directory: DirectoryHead,
}

/// Asks mirrors, verifies what they answer, and remembers the logs in a folder.
pub struct ThinVerifier {
    env: Env,
    dir: PathBuf,
}

/// An answer whose every link holds.
struct Verified {
    checkpoint: VerifiedCheckpoint,
    consistency: ConsistencyProof,
    head: VerifiedHead,
    directory: DirectoryHead,
    freshness: Freshness,
    rows: Vec<Row>,
}

impl ThinVerifier {
    /// A verifier that remembers in `dir`, which is made when first needed.
    #[must_use]
    pub fn new(env: &Env, dir: impl Into<PathBuf>) -> Self {
        Self { env: env.clone(), dir: dir.into() }
    }

    /// Looks a badge up. The mirror learns a prefix of its handle that other badges share.
    ///
    /// # Errors
    /// [`ThinError`] names the link that fails; proof of misbehaviour is saved beside what is remembered.
    pub async fn look_up(
        &self,
        mirror: &mut FeedServiceClient<Channel>,
        manifest: &VerifiedManifest,
        question: &Question<'_>,
    ) -> Result<LookedUp, ThinError> {
        let origin = manifest.origin(question.authority);
        let file = KeptFile::new(&self.env, &self.dir, &origin);
        let kept = file.read()?;
        let handle = question.epoch_key.handle();
        let mut bits = question.bits.unwrap_or(FIRST_BITS).min(Prefix::MAX_BITS);
        let (prefix, answer) = loop {
            let prefix = Prefix::of(&handle, bits);
            let request = LookupRequest {
                origin: origin.as_str().to_owned(),
                directory: Some(DirectoryId::of(question.epoch, question.audience)),
                prefix: prefix.top().to_be_bytes()[..usize::from(bits).div_ceil(8)].to_vec(),
                prefix_bits: bits.into(),
                known_size: kept.as_ref().map_or(0, |kept| kept.size),
            };
            match call("look the badge up", mirror.lookup(request).await) {
                Ok(answer) => break (prefix, answer),
                // Too many badges share so short a prefix.
                Err(ClientError::Call { code: Code::OutOfRange, .. })
                    if bits + MORE_BITS <= Prefix::MAX_BITS =>
                {
                    bits += MORE_BITS;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let floor = kept.as_ref().map_or(ClockFloor::default(), Kept::clock_floor);
        let verified = self.verify(answer, manifest, question, prefix, floor)?;
        if let Some(kept) = &kept {
            extends(&file, kept, &verified.checkpoint, &verified.consistency)?;
        }
        let mut floor = floor;
        floor.observe(verified.freshness.quorum_time());
        file.write(&Kept::of(&verified.checkpoint, floor))?;

        let found = verified.rows.iter().find(|row| row.handle == handle);
        let sealed = found.map(|row| row.record);
        let record = match (sealed, question.audience_key) {
            (Some(sealed), Some(key)) => {
                if key.commitment() != verified.directory.audience_key {
                    let (audience, epoch) = (question.audience, question.epoch);
                    return Err(ThinError::OtherAudienceKey { audience, epoch });
                }
                let key = question.epoch_key.record_key(key);
                Some(sealed.open(&key, &origin, question.epoch, &handle)?)
            }
            _ => None,
        };
        Ok(LookedUp {
            sealed,
            record,
            rows: verified.rows.len(),
            bits,
            size: verified.head.size,
            freshness: verified.freshness,
            directory: verified.directory,
        })
    }

    /// Every link but the one to what is remembered.
    fn verify(
        &self,
        answer: LookupResponse,
        manifest: &VerifiedManifest,
        question: &Question<'_>,
        prefix: Prefix,
        floor: ClockFloor,
    ) -> Result<Verified, ThinError> {
        let Question { authority, audience, epoch, .. } = *question;
        let note = Note::parse(&answer.checkpoint)?;
        let checkpoint = manifest.log_keys(authority).verify(&note)?;
        let cosignatures = manifest.cosignatures(authority, &checkpoint)?;
        let inclusion = InclusionProof::new(hashes("inclusion", &answer.inclusion)?)?;
        let consistency = ConsistencyProof::new(hashes("consistency", &answer.consistency)?)?;
        let head = verify_head(&manifest.origin(authority), &checkpoint, &answer.head, &inclusion)?;
        let (found, known) = (head.manifest, manifest.hash());
        if found != known {
            return Err(ThinError::OtherManifest { found, known });
        }
        let now = floor.now(self.env.now());
        let freshness = Freshness::assess(
            head.time,
            &cosignatures,
            manifest.quorum,
            now,
            manifest.skew_millis,
        )?;
        let live = head.live_epoch;
        let directory = head.directory(epoch, audience).cloned();
        let directory =
            directory.ok_or(ThinError::NoDirectory { authority, audience, epoch, live })?;
        let proof = PrefixProof::from_bytes(&answer.proof)?;
        let rows = proof.verify(&directory.commitment, prefix)?;
        Ok(Verified { checkpoint, consistency, head, directory, freshness, rows })
    }
}

/// Refuses a log that does not extend the one remembered, and saves the evidence.
fn extends(
    file: &KeptFile<'_>,
    kept: &Kept,
    checkpoint: &VerifiedCheckpoint,
    consistency: &ConsistencyProof,
) -> Result<(), ThinError> {
    let (size, root) = (checkpoint.size(), checkpoint.root());
    if size < kept.size {
        let evidence = file.save_evidence("rollback", kept, checkpoint, consistency)?;
        return Err(ThinError::RolledBack { shown: size, kept: kept.size, evidence });
    }
    match verify_consistency(kept.size, &kept.root, size, &root, consistency) {
        Ok(()) => Ok(()),
        Err(source) => {
            let evidence = file.save_evidence("fork", kept, checkpoint, consistency)?;
            Err(ThinError::Forked { shown: size, kept: kept.size, source, evidence })
        }
    }
}

fn hashes(field: &'static str, values: &[Vec<u8>]) -> Result<Vec<Hash>, WireError> {
    values.iter().map(|bytes| array(field, bytes).map(Hash::new)).collect()
}

#[cfg(test)]
mod tests {
    use lanyard_core::checkpoint::Checkpoint;
    use lanyard_core::ids::{EventId, Origin};
    use lanyard_core::log::{Log, leaf_hash};
    use lanyard_core::note::{KeyName, SigningKey};

    use super::*;

    fn origin() -> Origin {
        Origin::new(&EventId::parse("games").unwrap(), Authority::Police)
    }

    /// A log of `size` leaves that differ from other logs' from leaf `from` on, and its checkpoint.
    fn log(size: u64, from: u64, salt: u8) -> (Log, VerifiedCheckpoint) {
        let mut log = Log::new();
        for index in 0..size {
            let salt = if index >= from { salt } else { 0 };
            log.append(leaf_hash(&[salt, index as u8]));
        }
        let name = KeyName::parse(origin().as_str()).unwrap();
        let key = SigningKey::generate(name, &mut Env::system().rng());
        let checkpoint = Checkpoint::new(&origin(), size, log.root()).sign(&key).unwrap();
        (log, checkpoint)
    }

    fn consistency(log: &Log, old: u64) -> ConsistencyProof {
        log.consistency_proof(old, log.size()).unwrap()
    }

    #[test]
    fn a_log_that_grew_is_taken_and_what_was_kept_reads_back() {
        let (env, dir, origin) = (Env::system(), tempfile::tempdir().unwrap(), origin());
        let file = KeptFile::new(&env, dir.path(), &origin);
        assert_eq!(file.read().unwrap(), None);
        let kept = Kept::of(&log(5, 9, 0).1, ClockFloor::default());
        file.write(&kept).unwrap();
        assert_eq!(file.read().unwrap(), Some(kept.clone()));
        let (grown, checkpoint) = log(8, 9, 0);
        extends(&file, &kept, &checkpoint, &consistency(&grown, 5)).unwrap();
        let (same, checkpoint) = log(5, 9, 0);
        extends(&file, &kept, &checkpoint, &consistency(&same, 5)).unwrap();
    }

    #[test]
    fn a_rollback_and_a_fork_are_refused_and_leave_evidence() {
        let (env, dir, origin) = (Env::system(), tempfile::tempdir().unwrap(), origin());
        let file = KeptFile::new(&env, dir.path(), &origin);
        let kept = Kept::of(&log(5, 9, 0).1, ClockFloor::default());
        let (_, older) = log(4, 9, 0);
        let refused = extends(&file, &kept, &older, &ConsistencyProof::default());
        let Err(ThinError::RolledBack { shown: 4, kept: 5, evidence }) = refused else {
            panic!("{refused:?}");
        };
        let evidence = String::from_utf8(env.files.read(&evidence).unwrap()).unwrap();
        assert!(evidence.contains("rollback") && evidence.contains("lanyard/games/police"));
        for (size, proof) in [(8, 5), (5, 5)] {
            let (forked, checkpoint) = log(size, 3, 1);
            let refused = extends(&file, &kept, &checkpoint, &consistency(&forked, proof));
            assert!(matches!(refused, Err(ThinError::Forked { kept: 5, .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_memory_of_another_log_or_a_broken_one_is_not_used() {
        let (env, dir, origin) = (Env::system(), tempfile::tempdir().unwrap(), origin());
        let file = KeptFile::new(&env, dir.path(), &origin);
        let kept = Kept::of(&log(5, 9, 0).1, ClockFloor::default());
        file.write(&Kept { origin: "lanyard/games/committee".into(), ..kept }).unwrap();
        assert!(matches!(file.read(), Err(KeptError::OtherLog { .. })));
        let path = dir.path().join("games-police.json");
        env.files.write_atomic(&path, b"{\"size\": 5}", lanyard_env::Mode::Private).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("games-police.json") && error.contains("backup"), "{error}");
    }
}

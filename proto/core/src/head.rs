//! Map heads: what an authority says of all its directories at one tick. A head is a leaf of the authority's log.

use std::ops::Deref;

use thiserror::Error;

use crate::checkpoint::VerifiedCheckpoint;
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{Audience, Authority, Epoch, EventId, Hash, Origin, Timestamp};
use crate::log::{self, InclusionProof, LogError};
use crate::map::Commitment;

/// First bytes of an encoded head.
const MAGIC: &[u8; 20] = b"lanyard map head v1\n";
/// The live and the next epoch, for each audience.
const MAX_DIRECTORIES: usize = 2 * Audience::ALL.len();
/// The most bytes of an encoded head.
pub const MAX_HEAD_BYTES: usize = 1_024;

/// Why a map head is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The bytes are not a head.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The contents contradict each other.
    #[error("map head: {problem}")]
    Contents {
        /// What is wrong.
        problem: &'static str,
    },
    /// The head or its checkpoint is of another log than asked for.
    #[error("map head: it is of {found}, {expected} was asked for")]
    OtherLog {
        /// The origin found.
        found: String,
        /// The origin asked for.
        expected: Origin,
    },
    /// The head is not the newest leaf of the checkpoint.
    #[error("map head: it says size {head}, the checkpoint {checkpoint}")]
    Size {
        /// The size in the head.
        head: u64,
        /// The size in the checkpoint.
        checkpoint: u64,
    },
    /// The head is not in the log.
    #[error("map head: {0}")]
    Log(#[from] LogError),
}

/// What a head says of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryHead {
    /// The directory's epoch: the live one or the next.
    pub epoch: Epoch,
    /// Whom its records are for.
    pub audience: Audience,
    /// Root, depth and row count of its map.
    pub commitment: Commitment,
    /// Commitment of the audience key that opens it.
    pub audience_key: Hash,
    /// Hash of its profile table.
    pub profiles: Hash,
}

/// What an authority says at one tick.
///
/// Encoded: magic (20), event (length-prefixed), authority (1), size (8), time (8), manifest (32), live epoch (4), number
/// of directories (1), then 106 bytes each: epoch (4), audience (1), root (32), depth (1), count (4), audience key (32),
/// profiles (32).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapHead {
    /// The event.
    pub event: EventId,
    /// Who says so.
    pub authority: Authority,
    /// The log's size with this leaf: its index and one.
    pub size: u64,
    /// The authority's time.
    pub time: Timestamp,
    /// Hash of the manifest that it works under.
    pub manifest: Hash,
    /// The epoch that is live.
    pub live_epoch: Epoch,
    /// Directories by ascending epoch, then audience: of the live epoch and the next, one an audience at most.
    pub directories: Vec<DirectoryHead>,
}

impl MapHead {
    /// The bytes of the leaf.
    ///
    /// # Errors
    /// [`HeadError::Contents`] if the head could not be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, HeadError> {
        self.check()?;
        let mut writer = Writer::with_capacity(MAX_HEAD_BYTES);
        writer.raw(MAGIC).field(self.event.as_bytes()).u8(self.authority.byte());
        writer.u64(self.size).u64(self.time.millis()).raw(self.manifest.as_bytes());
        writer.u32(self.live_epoch.get()).u8(self.directories.len() as u8);
        for directory in &self.directories {
            writer.u32(directory.epoch.get()).u8(directory.audience.byte());
            directory.commitment.write(&mut writer);
            writer.raw(directory.audience_key.as_bytes()).raw(directory.profiles.as_bytes());
        }
        Ok(writer.into_vec())
    }

    /// Reads the bytes of a leaf.
    ///
    /// # Errors
    /// [`HeadError::Codec`], [`HeadError::Contents`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeadError> {
        let mut reader = Reader::new("map head", bytes);
        if &reader.array::<20>()? != MAGIC {
            return Err(reader.invalid("it does not start with `lanyard map head v1`").into());
        }
        let event = EventId::parse(reader.text(64)?);
        let event = event.map_err(|_| reader.invalid("not an event id"))?;
        let authority = Authority::from_byte(reader.u8()?);
        let authority = authority.ok_or_else(|| reader.invalid("unknown authority"))?;
        let size = reader.u64()?;
        let time = Timestamp::from_millis(reader.u64()?);
        let manifest = Hash::new(reader.array()?);
        let live_epoch = Epoch::new(reader.u32()?);
        let count = usize::from(reader.u8()?);
        if count > MAX_DIRECTORIES {
            return Err(reader.invalid("more than six directories").into());
        }
        let mut directories = Vec::with_capacity(count);
        for _ in 0..count {
            let epoch = Epoch::new(reader.u32()?);
            let audience = Audience::from_byte(reader.u8()?);
            let audience = audience.ok_or_else(|| reader.invalid("unknown audience"))?;
            let commitment = Commitment::read(&mut reader)?;
            let audience_key = Hash::new(reader.array()?);
            let profiles = Hash::new(reader.array()?);
            directories.push(DirectoryHead { epoch, audience, commitment, audience_key, profiles });
        }
        reader.finish()?;
        let head = Self { event, authority, size, time, manifest, live_epoch, directories };
        head.check()?;
        Ok(head)
    }

    /// The directory of an epoch and audience.
    #[must_use]
    pub fn directory(&self, epoch: Epoch, audience: Audience) -> Option<&DirectoryHead> {
        self.directories.iter().find(|found| found.epoch == epoch && found.audience == audience)
    }

    /// The log that the head belongs to.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::new(&self.event, self.authority)
    }

    fn check(&self) -> Result<(), HeadError> {
        let refused = |problem| Err(HeadError::Contents { problem });
        if self.size == 0 {
            return refused("a log that holds it cannot have size 0");
        }
        let order = |directory: &DirectoryHead| (directory.epoch, directory.audience);
        if !self.directories.is_sorted_by(|a, b| order(a) < order(b)) {
            return refused("directories are not in ascending order, or one is there twice");
        }
        let epochs = [self.live_epoch, self.live_epoch.next()];
        if self.directories.iter().any(|directory| !epochs.contains(&directory.epoch)) {
            return refused("a directory is neither of the live epoch nor of the next");
        }
        let published = Audience::published_by(self.authority);
        if self.directories.iter().any(|directory| !published.contains(&directory.audience)) {
            return refused(
                "a directory is for an audience that the authority does not publish for",
            );
        }
        Ok(())
    }
}

/// A head that its authority's log holds as the newest leaf of a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedHead {
    head: MapHead,
    leaf: Hash,
}

impl VerifiedHead {
    /// The hash of the leaf (RFC 6962).
    #[must_use]
    pub fn leaf_hash(&self) -> &Hash {
        &self.leaf
    }

    /// The head itself.
    #[must_use]
    pub fn into_head(self) -> MapHead {
        self.head
    }
}

impl Deref for VerifiedHead {
    type Target = MapHead;
    fn deref(&self) -> &MapHead {
        &self.head
    }
}

/// Verifies that `bytes` are the head at leaf N−1 of a checkpoint of size N of `origin`'s log.
///
/// # Errors
/// [`HeadError`], saying which of it does not hold.
pub fn verify_head(
    origin: &Origin,
    checkpoint: &VerifiedCheckpoint,
    bytes: &[u8],
    inclusion: &InclusionProof,
) -> Result<VerifiedHead, HeadError> {
    let head = MapHead::from_bytes(bytes)?;
    let found = [checkpoint.origin().to_owned(), head.origin().to_string()];
    if let Some(found) = found.into_iter().find(|found| found != origin.as_str()) {
        return Err(HeadError::OtherLog { found, expected: origin.clone() });
    }
    if head.size != checkpoint.size() {
        return Err(HeadError::Size { head: head.size, checkpoint: checkpoint.size() });
    }
    let leaf = log::leaf_hash(bytes);
    log::verify_inclusion(&leaf, head.size - 1, head.size, inclusion, &checkpoint.root())?;
    Ok(VerifiedHead { head, leaf })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::note::{KeyName, SigningKey};
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha20Rng;

    fn directory(epoch: u32, audience: Audience) -> DirectoryHead {
        DirectoryHead {
            epoch: Epoch::new(epoch),
            audience,
            commitment: Commitment { root: Hash::new([1; 32]), depth: 4, count: 100 },
            audience_key: Hash::new([2; 32]),
            profiles: Hash::new([3; 32]),
        }
    }

    fn head(size: u64) -> MapHead {
        MapHead {
            event: EventId::parse("games-2028").unwrap(),
            authority: Authority::Committee,
            size,
            time: Timestamp::from_millis(1_850_000_000_123),
            manifest: Hash::new([9; 32]),
            live_epoch: Epoch::new(5),
            directories: [5, 6]
                .into_iter()
                .flat_map(|epoch| Audience::ALL.map(|audience| directory(epoch, audience)))
                .collect(),
        }
    }

    #[test]
    fn bytes_read_back_and_have_the_size_described() {
        let full = head(7);
        let bytes = full.to_bytes().unwrap();
        assert_eq!(bytes.len(), 20 + 4 + 10 + 1 + 8 + 8 + 32 + 4 + 1 + 6 * 106);
        assert!(bytes.len() <= MAX_HEAD_BYTES);
        assert_eq!(MapHead::from_bytes(&bytes), Ok(full));
        let empty = MapHead { directories: Vec::new(), ..head(1) };
        assert_eq!(MapHead::from_bytes(&empty.to_bytes().unwrap()), Ok(empty));
    }

    #[test]
    fn contradictory_heads_are_neither_written_nor_read() {
        let police = |audience| MapHead {
            authority: Authority::Police,
            directories: vec![directory(5, audience)],
            ..head(3)
        };
        assert!(police(Audience::Gate).to_bytes().is_ok());
        let with = |directories| MapHead { directories, ..head(3) };
        let gate = directory(5, Audience::Gate);
        for bad in [
            MapHead { size: 0, ..head(3) },
            police(Audience::Sponsor),
            with(vec![gate.clone(), gate.clone()]),
            with(vec![directory(6, Audience::Gate), gate]),
            with(vec![directory(4, Audience::Gate)]),
            with(vec![directory(7, Audience::Gate)]),
        ] {
            assert!(matches!(bad.to_bytes(), Err(HeadError::Contents { .. })), "{bad:?}");
        }
        let bytes = head(3).to_bytes().unwrap();
        let mut unsorted = bytes.clone();
        let last = bytes.len() - 106;
        unsorted[last + 4] = Audience::Gate.byte();
        assert!(matches!(MapHead::from_bytes(&unsorted), Err(HeadError::Contents { .. })));
        for end in 0..bytes.len() {
            assert!(MapHead::from_bytes(&bytes[..end]).is_err());
        }
        assert!(MapHead::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    /// A log of `size` leaves whose last is the head, and its checkpoint.
    fn published(size: u64) -> (Vec<u8>, log::Log, VerifiedCheckpoint) {
        let mut log = log::Log::new();
        for index in 1..size {
            log.append(log::leaf_hash(&index.to_be_bytes()));
        }
        let bytes = head(size).to_bytes().unwrap();
        log.append(log::leaf_hash(&bytes));
        let origin = head(size).origin();
        let name = KeyName::parse(origin.as_str()).unwrap();
        let key = SigningKey::generate(name, &mut ChaCha20Rng::seed_from_u64(1));
        let checkpoint = Checkpoint::new(&origin, size, log.root()).sign(&key).unwrap();
        (bytes, log, checkpoint)
    }

    #[test]
    fn only_the_newest_leaf_of_the_right_log_verifies() {
        let (bytes, log, checkpoint) = published(11);
        let origin = head(11).origin();
        let proof = log.inclusion_proof(10, 11).unwrap();
        let verified = verify_head(&origin, &checkpoint, &bytes, &proof).unwrap();
        assert_eq!(*verified, head(11));
        assert_eq!(verified.leaf_hash(), &log::leaf_hash(&bytes));

        let police = Origin::new(&head(11).event, Authority::Police);
        let refused = verify_head(&police, &checkpoint, &bytes, &proof);
        assert!(matches!(refused, Err(HeadError::OtherLog { .. })));

        let other_event = EventId::parse("games-2032").unwrap();
        let foreign = MapHead { event: other_event, ..head(11) }.to_bytes().unwrap();
        let refused = verify_head(&origin, &checkpoint, &foreign, &proof);
        assert!(matches!(refused, Err(HeadError::OtherLog { .. })));

        let old = head(10).to_bytes().unwrap();
        let refused = verify_head(&origin, &checkpoint, &old, &proof);
        assert_eq!(refused, Err(HeadError::Size { head: 10, checkpoint: 11 }));

        let changed =
            MapHead { live_epoch: Epoch::new(5), time: Timestamp::from_millis(1), ..head(11) };
        let changed = changed.to_bytes().unwrap();
        assert!(matches!(
            verify_head(&origin, &checkpoint, &changed, &proof),
            Err(HeadError::Log(LogError::NotIncluded { .. }))
        ));
        let elsewhere = log.inclusion_proof(9, 11).unwrap();
        assert!(verify_head(&origin, &checkpoint, &bytes, &elsewhere).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_is_canonical(mut bytes in prop::collection::vec(any::<u8>(), 0..300), with_magic: bool) {
            if with_magic {
                bytes.splice(0..0, MAGIC.iter().copied());
            }
            if let Ok(head) = MapHead::from_bytes(&bytes) {
                prop_assert_eq!(head.to_bytes(), Ok(bytes));
            }
        }

        #[test]
        fn a_changed_byte_is_another_head_or_none(at in any::<prop::sample::Index>(), to: u8) {
            let good = head(7).to_bytes().unwrap();
            let mut bytes = good.clone();
            bytes[at.index(good.len())] = to;
            match MapHead::from_bytes(&bytes) {
                Ok(other) => prop_assert_eq!(other == head(7), bytes == good),
                Err(_) => prop_assert!(bytes != good),
            }
        }
    }
}

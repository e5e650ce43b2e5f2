//! The one object that is replaced: which immutable objects, taken in order, give the newest state of a log.
//!
//! It is not signed: nothing in it is believed. A reader feeds what the objects hold through the same intake as any
//! mirror's stream, where every byte is verified, so a forged list can at worst waste time or hold something back.

use std::fmt;

use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::ids::{Audience, Epoch, Hash, Origin};
use lanyard_core::note::MAX_NOTE_BYTES;
use lanyard_feed::DirectoryKey;

/// The first bytes. Another version is never overwritten by this one.
const MAGIC: &[u8; 19] = b"lanyard objects v1\n";
/// What all versions begin with.
const FAMILY: &[u8] = b"lanyard objects v";

/// The largest list that is read: more than a hundred thousand objects, of which a writer never makes so many.
pub(crate) const MAX_NEWEST_BYTES: u64 = 16 * 1024 * 1024;

const MAX_ORIGIN_BYTES: usize = 256;

/// Marks the objects of one run of one writer, so that no two runs ever write the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriterId(pub(crate) [u8; 8]);

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What an object holds: a piece of the feed's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// One manifest.
    Manifest { version: u32 },
    /// Sealed audience keys and profile tables.
    Beside { number: u64 },
    /// Leaf hashes of the log from 0 on.
    Leaves { count: u64 },
    /// One directory whole, as the head of a size commits to it.
    Snapshot { size: u64, directory: DirectoryKey },
    /// The ticks from one size up to another, both included.
    Ticks { from: u64, to: u64 },
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { version } => write!(f, "manifests/{version:010}"),
            Self::Beside { number } => write!(f, "beside/{number:020}"),
            // Named before its end is known; a run of a writer makes one.
            Self::Leaves { .. } => f.write_str("leaves/from-0"),
            Self::Snapshot { size, directory } => {
                let DirectoryKey { epoch, audience, .. } = directory;
                write!(f, "snapshots/{size:020}-{epoch}-{audience}")
            }
            Self::Ticks { from, to } => write!(f, "ticks/{from:020}-{to:020}"),
        }
    }
}

/// An immutable object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) piece: Piece,
    pub(crate) writer: WriterId,
    pub(crate) length: u64,
    /// BLAKE3 of its bytes: tells damage from lies.
    pub(crate) hash: Hash,
}

impl Object {
    /// Its name under the log's prefix.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.piece, self.writer)
    }
}

/// The newest state of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) origin: String,
    pub(crate) writer: WriterId,
    /// The size of the log, and its signed checkpoint.
    pub(crate) size: u64,
    pub(crate) checkpoint: String,
    /// The newest checkpoint that carries cosignatures; empty if there is none.
    pub(crate) cosigned: String,
    /// The size of which all directories are there as snapshots.
    pub(crate) base: u64,
    /// The directories of the newest head that are archived.
    pub(crate) directories: Vec<DirectoryKey>,
    /// Manifests, what travels beside, leaves, snapshots and ticks, in the order in which a follower takes them.
    pub(crate) objects: Vec<Object>,
}

/// Why the newest list of a store cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Written by another version of this software.
    OtherVersion,
    /// Damaged, forged, or something else altogether.
    Malformed(CodecError),
    /// Of another log.
    OtherLog { origin: String },
}

impl Newest {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(MAGIC).field(self.origin.as_bytes()).raw(&self.writer.0).u64(self.size);
        writer.field(self.checkpoint.as_bytes()).field(self.cosigned.as_bytes()).u64(self.base);
        // A head lists six directories at most.
        writer.u8(self.directories.len() as u8);
        for directory in &self.directories {
            put_directory(&mut writer, *directory);
        }
        // A base is made long before there are so many.
        writer.u32(self.objects.len() as u32);
        for object in &self.objects {
            put_piece(&mut writer, object.piece);
            writer.raw(&object.writer.0).u64(object.length).raw(object.hash.as_bytes());
        }
        writer.into_vec()
    }

    pub(crate) fn from_bytes(bytes: &[u8], origin: &Origin) -> Result<Self, Unreadable> {
        if bytes.starts_with(FAMILY) && !bytes.starts_with(MAGIC) {
            return Err(Unreadable::OtherVersion);
        }
        let newest = read_newest(bytes).map_err(Unreadable::Malformed)?;
        if newest.origin != origin.as_str() {
            return Err(Unreadable::OtherLog { origin: newest.origin });
        }
        Ok(newest)
    }

    /// The objects that hold ticks, and the number of bytes in them, after the base's own.
    pub(crate) fn tick_bytes(&self) -> (usize, u64) {
        let is_after_base = |object: &&Object| match object.piece {
            Piece::Ticks { to, .. } => to > self.base,
            _ => false,
        };
        let after = || self.objects.iter().filter(is_after_base);
        (after().count(), after().map(|object| object.length).sum())
    }

    /// Bytes of the base's snapshots.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        let is_of_base = |object: &&Object| matches!(object.piece, Piece::Snapshot { size, .. } if size == self.base);
        self.objects.iter().filter(is_of_base).map(|object| object.length).sum()
    }
}

fn put_directory(writer: &mut Writer, directory: DirectoryKey) {
    writer.u32(directory.epoch.get()).u8(directory.audience.byte());
}

fn put_piece(writer: &mut Writer, piece: Piece) {
    match piece {
        Piece::Manifest { version } => writer.u8(1).u32(version),
        Piece::Beside { number } => writer.u8(2).u64(number),
        Piece::Leaves { count } => writer.u8(3).u64(count),
        Piece::Snapshot { size, directory } => {
            put_directory(writer.u8(4).u64(size), directory);
            writer
        }
        Piece::Ticks { from, to } => writer.u8(5).u64(from).u64(to),
    };
}

fn read_newest(bytes: &[u8]) -> Result<Newest, CodecError> {
    let mut reader = Reader::new("list of the newest objects", bytes);
    if reader.array()? != *MAGIC {
        return Err(reader.invalid("it does not start with \"lanyard objects v1\""));
    }
    let origin = reader.text(MAX_ORIGIN_BYTES)?.to_owned();
    let writer = WriterId(reader.array()?);
    let size = reader.u64()?;
    let checkpoint = reader.text(MAX_NOTE_BYTES)?.to_owned();
    let cosigned = reader.text(MAX_NOTE_BYTES)?.to_owned();
    let base = reader.u64()?;
    let directories = (0..reader.u8()?).map(|_| read_directory(&mut reader));
    let directories = directories.collect::<Result<_, _>>()?;
    let objects = (0..reader.u32()?).map(|_| read_object(&mut reader));
    let objects = objects.collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(Newest { origin, writer, size, checkpoint, cosigned, base, directories, objects })
}

fn read_directory(reader: &mut Reader<'_>) -> Result<DirectoryKey, CodecError> {
    let epoch = Epoch::new(reader.u32()?);
    let audience = Audience::from_byte(reader.u8()?);
    let audience = audience.ok_or_else(|| reader.invalid("no such audience"))?;
    Ok(DirectoryKey::new(epoch, audience))
}

fn read_object(reader: &mut Reader<'_>) -> Result<Object, CodecError> {
    let piece = match reader.u8()? {
        1 => Piece::Manifest { version: reader.u32()? },
        2 => Piece::Beside { number: reader.u64()? },
        3 => Piece::Leaves { count: reader.u64()? },
        4 => {
            let size = reader.u64()?;
            Piece::Snapshot { size, directory: read_directory(reader)? }
        }
        5 => Piece::Ticks { from: reader.u64()?, to: reader.u64()? },
        _ => return Err(reader.invalid("no such kind of object")),
    };
    let writer = WriterId(reader.array()?);
    let length = reader.u64()?;
    Ok(Object { piece, writer, length, hash: Hash::new(reader.array()?) })
}

#[cfg(test)]
mod tests {
    use lanyard_core::ids::{Authority, EventId};

    use super::*;

    fn origin() -> Origin {
        Origin::new(&EventId::parse("games-2028").unwrap(), Authority::Committee)
    }

    fn newest() -> Newest {
        let directory = DirectoryKey::new(Epoch::new(3), Audience::Gate);
        let writer = WriterId([1, 2, 3, 4, 5, 6, 7, 8]);
        let pieces = [
            Piece::Manifest { version: 2 },
            Piece::Beside { number: 1 },
            Piece::Leaves { count: 6 },
            Piece::Snapshot { size: 7, directory },
            Piece::Ticks { from: 7, to: 7 },
            Piece::Ticks { from: 8, to: 20 },
        ];
        let objects =
            pieces.map(|piece| Object { piece, writer, length: 9, hash: Hash::new([5; 32]) });
        Newest {
            origin: origin().as_str().to_owned(),
            writer,
            size: 20,
            checkpoint: "checkpoint".to_owned(),
            cosigned: String::new(),
            base: 7,
            directories: vec![directory],
            objects: objects.into(),
        }
    }

    #[test]
    fn it_reads_back_and_every_truncation_is_refused() {
        let newest = newest();
        let bytes = newest.to_bytes();
        assert_eq!(Newest::from_bytes(&bytes, &origin()).as_ref(), Ok(&newest));
        assert_eq!((newest.tick_bytes(), newest.snapshot_bytes()), ((1, 9), 9));
        for length in 0..bytes.len() {
            assert!(Newest::from_bytes(&bytes[..length], &origin()).is_err(), "{length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(Newest::from_bytes(&longer, &origin()), Err(Unreadable::Malformed(_))));
    }

    #[test]
    fn another_version_and_another_log_are_told_apart_from_damage() {
        let mut bytes = newest().to_bytes();
        let other = Origin::new(&EventId::parse("games-2032").unwrap(), Authority::Committee);
        let refused = Newest::from_bytes(&bytes, &other);
        assert_eq!(refused, Err(Unreadable::OtherLog { origin: newest().origin }));
        bytes[MAGIC.len() - 2] = b'2';
        assert_eq!(Newest::from_bytes(&bytes, &origin()), Err(Unreadable::OtherVersion));
    }

    #[test]
    fn names_sort_by_size_and_carry_the_writer() {
        let names: Vec<String> = newest().objects.iter().map(Object::name).collect();
        assert_eq!(names[3], "snapshots/00000000000000000007-3-gate-0102030405060708");
        assert!(names[4] < names[5]);
    }
}

//! A mirror's folder. Nothing in it is trusted without being verified again, but that nobody took the newest away.
//!
//! ```text
//! base                        which snapshots make a state of the log, and its head and checkpoint
//! leaves                      leaf hashes of the log, at least up to the base, 32 bytes each
//! snapshots/SIZE-EPOCH-AUDIENCE
//! ticks/SIZE                  a tick each; those after the base are replayed, earlier ones are for followers
//! draft                       a publisher's next tick, prepared and perhaps signed
//! quorum                      the newest checkpoint with a quorum
//! keys/, profiles/            as received, sealed
//! incoming/                   snapshots being received
//! evidence/                   what proves that somebody lied
//! ```
//!
//! Every file is written as a whole, but for `leaves`, which the base cuts to size. Small ones carry a checksum: a crash
//! leaves none of them half written, a failing disk may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lanyard_core::audience_key::SealedAudienceKey;
use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::head::MAX_HEAD_BYTES;
use lanyard_core::ids::{Audience, Authority, Epoch, Hash, Timestamp};
use lanyard_core::map::{Commitment, Map, snapshot};
use lanyard_core::note::{MAX_NOTE_BYTES, Note};
use lanyard_core::profile::SealedProfiles;
use lanyard_env::{Files, Mode, ReadAt, checked_body, with_checksum};
use lanyard_wire::feed::v1::Tick;
use prost::Message as _;

use crate::incoming::{CHUNK, Incoming, chunks};
use crate::{DirectoryKey, FeedError};

const BASE_MAGIC: &[u8; 21] = b"lanyard feed base v1\n";

/// Where replaying starts.
pub(crate) struct Base {
    pub(crate) head: Bytes,
    pub(crate) checkpoint: String,
    /// The directories, and the sizes in the names of their snapshots.
    pub(crate) snapshots: BTreeMap<DirectoryKey, u64>,
}

/// The newest checkpoint with a quorum, as it is kept.
pub(crate) struct KeptQuorum {
    pub(crate) checkpoint: String,
    pub(crate) floor: Timestamp,
}

/// The newest signed checkpoint of the feed in `dir`, as its authority signed it; `None` before the first. Reads only, so
/// the service may run.
///
/// # Errors
/// [`FeedError::Disk`], [`FeedError::Corrupt`] or [`FeedError::Note`].
pub fn newest_checkpoint(
    files: &Arc<dyn Files>,
    dir: &Path,
    authority: Authority,
) -> Result<Option<Note>, FeedError> {
    let store = Store { files: Arc::clone(files), dir: dir.to_owned(), authority };
    if !files.exists(&dir.join("ticks"))? {
        return Ok(None);
    }
    let Some(newest) = store.ticks()?.into_iter().max() else { return Ok(None) };
    let tick = store.tick(newest)?;
    tick.map(|tick| Ok(Note::parse(&tick.checkpoint)?)).transpose()
}

/// The time that the mirror in `dir` kept, none if it does not read: opening the mirror says so.
pub(crate) fn kept_time(files: &Arc<dyn Files>, dir: &Path, authority: Authority) -> Timestamp {
    let store = Store { files: Arc::clone(files), dir: dir.to_owned(), authority };
    let kept = store.quorum().ok().flatten();
    kept.map_or_else(Timestamp::default, |kept| kept.floor)
}

/// A snapshot that can be read, and of which directory it is.
pub(crate) type OpenSnapshot = (DirectoryKey, Box<dyn ReadAt>);

pub(crate) struct Store {
    files: Arc<dyn Files>,
    dir: PathBuf,
    authority: Authority,
}

impl Store {
    pub(crate) fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        authority: Authority,
    ) -> Result<Self, FeedError> {
        for name in ["snapshots", "ticks", "keys", "profiles", "incoming", "evidence"] {
            files.create_dir_all(&dir.join(name))?;
        }
        let store = Self { files, dir: dir.to_owned(), authority };
        for name in store.files.list(&store.dir.join("incoming"))? {
            store.files.remove(&store.dir.join("incoming").join(name))?;
        }
        Ok(store)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    // Small files with a checksum.

    fn put(&self, path: &Path, body: &[u8]) -> Result<(), FeedError> {
        Ok(self.files.write_atomic(path, &with_checksum(body), Mode::Private)?)
    }

    fn get(&self, path: &Path) -> Result<Option<Bytes>, FeedError> {
        let Some(bytes) = self.files.read_if_exists(path)? else { return Ok(None) };
        let Some(body) = checked_body(&bytes) else {
            return Err(corrupt(path, "its checksum does not match"));
        };
        let start = bytes.len() - body.len();
        Ok(Some(Bytes::from(bytes).slice(start..)))
    }

    // Ticks.

    fn tick_path(&self, size: u64) -> PathBuf {
        self.dir.join("ticks").join(format!("{size:020}"))
    }

    pub(crate) fn put_tick(&self, size: u64, tick: &Tick) -> Result<(), FeedError> {
        self.put(&self.tick_path(size), &tick.encode_to_vec())
    }

    pub(crate) fn tick(&self, size: u64) -> Result<Option<Tick>, FeedError> {
        self.get_tick(&self.tick_path(size))
    }

    pub(crate) fn remove_tick(&self, size: u64) -> Result<(), FeedError> {
        Ok(self.files.remove(&self.tick_path(size))?)
    }

    /// The sizes of all ticks kept, ascending.
    pub(crate) fn ticks(&self) -> Result<Vec<u64>, FeedError> {
        let names = self.files.list(&self.dir.join("ticks"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn put_draft(&self, tick: &Tick) -> Result<(), FeedError> {
        self.put(&self.path("draft"), &tick.encode_to_vec())
    }

    pub(crate) fn draft(&self) -> Result<Option<Tick>, FeedError> {
        self.get_tick(&self.path("draft"))
    }

    pub(crate) fn remove_draft(&self) -> Result<(), FeedError> {
        Ok(self.files.remove(&self.path("draft"))?)
    }

    fn get_tick(&self, path: &Path) -> Result<Option<Tick>, FeedError> {
        let Some(body) = self.get(path)? else { return Ok(None) };
        Tick::decode(body).map(Some).map_err(|error| corrupt(path, error))
    }

    // The base.

    pub(crate) fn put_base(&self, base: &Base) -> Result<(), FeedError> {
        let mut writer = Writer::new();
        writer.raw(BASE_MAGIC).field(&base.head).field(base.checkpoint.as_bytes());
        writer.u8(base.snapshots.len() as u8);
        for (key, size) in &base.snapshots {
            writer.u32(key.epoch.get()).u8(key.audience.byte()).u64(*size);
        }
        self.put(&self.path("base"), &writer.into_vec())
    }

    pub(crate) fn base(&self) -> Result<Option<Base>, FeedError> {
        let path = self.path("base");
        let Some(body) = self.get(&path)? else { return Ok(None) };
        read_base(&body).map(Some).map_err(|error| corrupt(&path, error))
    }

    // The log.

    /// Makes `leaves`, the log's first, durable; the first `kept` of them are. What is there already and right stays: a
    /// base that was thought to have failed may need it.
    pub(crate) fn put_leaves(&self, leaves: &[Hash], kept: u64) -> Result<(), FeedError> {
        let path = self.path("leaves");
        let mut file = self.files.append(&path)?;
        let start = kept * Hash::SIZE as u64;
        let Some(rest) = file.len().checked_sub(start) else {
            return Err(corrupt(&path, "it is shorter than the base says"));
        };
        let new = leaves.iter().skip(usize::try_from(kept).unwrap_or(usize::MAX));
        let new: Vec<u8> = new.flat_map(|leaf| *leaf.as_bytes()).collect();
        let mut old = vec![0; usize::try_from(rest).unwrap_or(usize::MAX).min(new.len())];
        self.files.open(&path)?.read_exact_at(&mut old, start)?;
        let same = std::iter::zip(&old, &new).take_while(|(old, new)| old == new).count();
        file.truncate(start + same as u64)?;
        file.write_all(&new[same..])?;
        Ok(file.sync()?)
    }

    pub(crate) fn leaves(&self, size: u64) -> Result<Vec<Hash>, FeedError> {
        let path = self.path("leaves");
        let bytes = self.files.read_if_exists(&path)?.unwrap_or_default();
        let (leaves, _) = bytes.as_chunks::<{ Hash::SIZE }>();
        match usize::try_from(size).ok().and_then(|size| leaves.get(..size)) {
            Some(leaves) => Ok(leaves.iter().map(|leaf| Hash::new(*leaf)).collect()),
            None => Err(corrupt(&path, "it is shorter than the base says")),
        }
    }

    // The quorum.

    pub(crate) fn put_quorum(&self, quorum: &KeptQuorum) -> Result<(), FeedError> {
        let mut writer = Writer::new();
        writer.u64(quorum.floor.millis()).field(quorum.checkpoint.as_bytes());
        self.put(&self.path("quorum"), &writer.into_vec())
    }

    pub(crate) fn quorum(&self) -> Result<Option<KeptQuorum>, FeedError> {
        let path = self.path("quorum");
        let Some(body) = self.get(&path)? else { return Ok(None) };
        let read = || {
            let mut reader = Reader::new("kept quorum", &body);
            let floor = Timestamp::from_millis(reader.u64()?);
            let checkpoint = reader.text(MAX_NOTE_BYTES)?.to_owned();
            reader.finish()?;
            Ok::<_, CodecError>(KeptQuorum { checkpoint, floor })
        };
        read().map(Some).map_err(|error| corrupt(&path, error))
    }

    // Snapshots.

    pub(crate) fn snapshot_path(&self, size: u64, key: DirectoryKey) -> PathBuf {
        self.dir.join("snapshots").join(name_of(size, key))
    }

    /// Writes the snapshot of a map without holding it in memory a second time.
    pub(crate) fn put_snapshot(
        &self,
        size: u64,
        key: DirectoryKey,
        map: &Map,
    ) -> Result<(), FeedError> {
        let mut incoming = self.incoming(key)?;
        for chunk in snapshot::encode(map, self.authority, key.audience, key.epoch, CHUNK) {
            incoming.push(&chunk)?;
        }
        incoming.keep(&self.snapshot_path(size, key))
    }

    /// A new file for a snapshot that comes in chunks.
    pub(crate) fn incoming(&self, key: DirectoryKey) -> Result<Incoming, FeedError> {
        for number in 0.. {
            let path = self.dir.join("incoming").join(name_of(number, key));
            if !self.files.exists(&path)? {
                let file = self.files.append(&path)?;
                return Ok(Incoming::new(Arc::clone(&self.files), path, file));
            }
        }
        Err(FeedError::TooMuch { what: "snapshots at once", limit: u64::MAX })
    }

    /// Reads a snapshot back, and gives the map only if it is the one committed to.
    pub(crate) fn load_snapshot(
        &self,
        path: &Path,
        key: DirectoryKey,
        commitment: Commitment,
    ) -> Result<Map, FeedError> {
        let file = self.files.open(path)?;
        let mut loader = snapshot::Loader::new(self.authority, key.audience, key.epoch, commitment);
        let refused = |source| FeedError::Snapshot { source };
        for chunk in chunks(file.len()?, CHUNK) {
            let mut buffer = vec![0; chunk.length];
            file.read_exact_at(&mut buffer, chunk.offset)?;
            loader.push(&buffer).map_err(refused)?;
        }
        loader.finish().map_err(refused)
    }

    pub(crate) fn open_snapshot(
        &self,
        size: u64,
        key: DirectoryKey,
    ) -> Result<Box<dyn ReadAt>, FeedError> {
        Ok(self.files.open(&self.snapshot_path(size, key))?)
    }

    /// Opens the snapshots of one size, or none if one of them is not kept.
    pub(crate) fn open_all(
        &self,
        size: u64,
        keys: &[DirectoryKey],
    ) -> Result<Option<Vec<OpenSnapshot>>, FeedError> {
        let mut opened = Vec::with_capacity(keys.len());
        for key in keys {
            match self.open_snapshot(size, *key) {
                Err(FeedError::Disk(error)) if error.is_not_found() => return Ok(None),
                file => opened.push((*key, file?)),
            }
        }
        Ok(Some(opened))
    }

    /// Removes the snapshots that are not in `kept`.
    pub(crate) fn sweep_snapshots(
        &self,
        kept: &BTreeMap<DirectoryKey, u64>,
    ) -> Result<(), FeedError> {
        let kept: Vec<String> = kept.iter().map(|(key, size)| name_of(*size, *key)).collect();
        for name in self.files.list(&self.dir.join("snapshots"))? {
            if !kept.contains(&name) {
                self.files.remove(&self.dir.join("snapshots").join(name))?;
            }
        }
        Ok(())
    }

    // What travels beside the directories.

    pub(crate) fn put_key(&self, key: &SealedAudienceKey) -> Result<(), FeedError> {
        let of = DirectoryKey::new(key.epoch, key.audience);
        let recipient = hex::encode(&blake3::hash(key.recipient.as_bytes()).as_bytes()[..16]);
        let path = self.dir.join("keys").join(format!("{}-{recipient}", stem(of)));
        self.put(&path, &key.to_bytes())
    }

    pub(crate) fn put_table(
        &self,
        key: DirectoryKey,
        sealed: &SealedProfiles,
    ) -> Result<(), FeedError> {
        let hash = hex::encode(sealed.hash().as_bytes());
        let path = self.dir.join("profiles").join(format!("{}-{hash}", stem(key)));
        self.put(&path, sealed.as_bytes())
    }

    /// The bodies of all keys or profile tables. One that is damaged is left out: upstreams have it.
    pub(crate) fn beside(&self, folder: &str) -> Result<Vec<(DirectoryKey, Bytes)>, FeedError> {
        let dir = self.dir.join(folder);
        let mut found = Vec::new();
        for name in self.files.list(&dir)? {
            let path = dir.join(&name);
            match (directory_of(&name), self.get(&path)) {
                (Some(key), Ok(Some(body))) => found.push((key, body)),
                (_, Err(error @ FeedError::Disk(_))) => return Err(error),
                _ => tracing::warn!(path = %path.display(), "damaged file left out"),
            }
        }
        Ok(found)
    }

    /// Removes keys or tables of directories that are not wanted any more.
    pub(crate) fn sweep_beside(
        &self,
        folder: &str,
        is_wanted: impl Fn(DirectoryKey, &str) -> bool,
    ) -> Result<(), FeedError> {
        let dir = self.dir.join(folder);
        for name in self.files.list(&dir)? {
            let rest = name.rsplit('-').next().unwrap_or_default();
            if directory_of(&name).is_none_or(|key| !is_wanted(key, rest)) {
                self.files.remove(&dir.join(&name))?;
            }
        }
        Ok(())
    }
}

fn read_base(body: &[u8]) -> Result<Base, CodecError> {
    let mut reader = Reader::new("feed base", body);
    if reader.array()? != *BASE_MAGIC {
        return Err(reader.invalid("it does not start with \"lanyard feed base v1\""));
    }
    let head = Bytes::copy_from_slice(reader.field(MAX_HEAD_BYTES)?);
    let checkpoint = reader.text(MAX_NOTE_BYTES)?.to_owned();
    let mut snapshots = BTreeMap::new();
    for _ in 0..reader.u8()? {
        let epoch = Epoch::new(reader.u32()?);
        let audience = Audience::from_byte(reader.u8()?);
        let audience = audience.ok_or_else(|| reader.invalid("no such audience"))?;
        snapshots.insert(DirectoryKey::new(epoch, audience), reader.u64()?);
    }
    reader.finish()?;
    Ok(Base { head, checkpoint, snapshots })
}

fn stem(key: DirectoryKey) -> String {
    format!("{}-{}", key.epoch, key.audience)
}

fn name_of(size: u64, key: DirectoryKey) -> String {
    format!("{size:020}-{}", stem(key))
}

/// Reads the directory from `EPOCH-AUDIENCE-…`.
fn directory_of(name: &str) -> Option<DirectoryKey> {
    let mut parts = name.splitn(3, '-');
    let epoch = parts.next()?.parse().ok()?;
    Some(DirectoryKey::new(Epoch::new(epoch), Audience::parse(parts.next()?).ok()?))
}

pub(crate) fn corrupt(path: &Path, problem: impl ToString) -> FeedError {
    FeedError::Corrupt { path: path.to_owned(), problem: problem.to_string() }
}

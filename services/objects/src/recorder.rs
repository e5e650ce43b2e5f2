//! Turns the own mirror's stream into objects and into the next newest list.
//!
//! | what a crash leaves behind | what it does |
//! | --- | --- |
//! | objects that no list names | nothing; swept after the retention |
//! | part of a large object | not an object; nothing |
//! | the list before | still whole: what it names was there before it |
//! | the list after | whole, for the same reason |

use std::collections::{BTreeMap, HashSet};

use bytes::{Bytes, BytesMut};
use lanyard_core::head::MapHead;
use lanyard_core::ids::{Audience, Hash};
use lanyard_core::manifest::Manifest;
use lanyard_core::note::Note;
use lanyard_feed::DirectoryKey;
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{FollowResponse, SnapshotChunk, Tick};

use crate::error::ObjectsError;
use crate::messages::{Decoder, encode};
use crate::newest::{Newest, Object, Piece, WriterId};
use crate::place::Place;
use crate::upload::Upload;

/// Ticks are written once they have so many bytes, however many more are waiting.
const MAX_BUFFERED: usize = 4 * 1024 * 1024;

/// Objects of single ticks at the end of the list that are made one, and how many stay single: followers that are up to date
/// read the newest only.
const MERGED: usize = 64;
const SINGLE: usize = 16;
/// Bytes of such objects that are remembered for it.
const MAX_TAIL_BYTES: usize = 16 * 1024 * 1024;

/// A run of ticks that is listed and remembered.
struct Run {
    object: Object,
    bytes: Bytes,
}

/// What arrived since the last list, and the list that it will make.
pub(crate) struct Recorder {
    place: Place,
    writer: WriterId,
    audiences: Vec<Audience>,
    /// The list as it will be.
    pub(crate) newest: Newest,
    manifests: Vec<(u32, Bytes)>,
    /// Keys and tables not yet written, and hashes of those that were.
    beside: BytesMut,
    known: HashSet<blake3::Hash>,
    besides: u64,
    leaves: Option<(u64, Upload)>,
    snapshot: Option<(DirectoryKey, u64, Upload)>,
    snapshots: BTreeMap<DirectoryKey, Object>,
    ticks: BytesMut,
    /// The sizes of the first and the last tick in `ticks`.
    run: Option<(u64, u64)>,
    tail: Vec<Run>,
    /// Whether the list differs from the one stored.
    changed: bool,
}

impl Recorder {
    pub(crate) fn new(
        place: Place,
        writer: WriterId,
        audiences: &[Audience],
        newest: Newest,
    ) -> Self {
        Self {
            place,
            writer,
            audiences: audiences.to_vec(),
            newest,
            manifests: Vec::new(),
            beside: BytesMut::new(),
            known: HashSet::new(),
            besides: 0,
            leaves: None,
            snapshot: None,
            snapshots: BTreeMap::new(),
            ticks: BytesMut::new(),
            run: None,
            tail: Vec::new(),
            changed: false,
        }
    }

    /// Reads what is archived beside the ticks, so that it is not archived again; `false` if it is damaged.
    pub(crate) async fn remember(&mut self) -> Result<bool, ObjectsError> {
        for object in
            self.newest.objects.iter().filter(|object| matches!(object.piece, Piece::Beside { .. }))
        {
            let Some(bytes) = self.place.get_small(&object.name(), object.length).await? else {
                return Ok(false);
            };
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(message)) = decoder.next() {
                self.known.extend(message.update.map(|update| blake3::hash(&encode(update))));
            }
            if blake3::hash(&bytes) != *object.hash.as_bytes() || decoder.has_rest() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes one message of the stream.
    ///
    /// # Errors
    /// [`ObjectsError::Restarted`] if it does not go on from what is listed; and what the store has against it.
    pub(crate) async fn take(&mut self, response: FollowResponse) -> Result<(), ObjectsError> {
        let Some(update) = response.update else { return Ok(()) };
        match update {
            Update::Manifest(manifest) => {
                let note = Note::parse(&manifest.note).ok();
                let parsed = note.and_then(|note| Manifest::parse_text(note.text()).ok());
                // The own mirror's: verified when it was taken.
                let Some(parsed) = parsed else { return Ok(()) };
                self.manifests.push((parsed.version, encode(Update::Manifest(manifest))));
            }
            Update::Key(_) | Update::Profiles(_) => {
                let bytes = encode(update);
                if self.known.insert(blake3::hash(&bytes)) {
                    self.beside.extend_from_slice(&bytes);
                }
            }
            Update::Leaves(leaves) => {
                let count = leaves.start + leaves.hashes.len() as u64 / Hash::SIZE as u64;
                if self.leaves.as_ref().map_or(0, |(count, _)| *count) != leaves.start {
                    return Err(ObjectsError::Restarted);
                }
                let begin =
                    || (0, Upload::begin(&self.place, Piece::Leaves { count: 0 }, self.writer));
                let (held, upload) = self.leaves.get_or_insert_with(begin);
                *held = count;
                upload.push(encode(Update::Leaves(leaves))).await?;
            }
            Update::Snapshot(chunk) => self.chunk(chunk).await?,
            Update::Tick(tick) => self.tick(tick).await?,
            Update::Cosigned(cosigned) => {
                self.changed |= self.newest.cosigned != cosigned.checkpoint;
                self.newest.cosigned = cosigned.checkpoint;
            }
            // Of the moment.
            Update::Route(_) => {}
        }
        Ok(())
    }

    async fn chunk(&mut self, chunk: SnapshotChunk) -> Result<(), ObjectsError> {
        let Some(directory) = chunk.directory.as_ref().and_then(|id| id.parts().ok()) else {
            return Ok(());
        };
        let directory = DirectoryKey::new(directory.0, directory.1);
        let (size, last) = (chunk.log_size, chunk.last);
        if self.snapshot.is_none() {
            // What came before belongs before it.
            self.write_ticks().await?;
            let upload =
                Upload::begin(&self.place, Piece::Snapshot { size, directory }, self.writer);
            self.snapshot = Some((directory, size, upload));
        }
        let Some((of, at, mut upload)) = self.snapshot.take() else { return Ok(()) };
        if (of, at) != (directory, size) {
            upload.abort().await;
            return Err(ObjectsError::Restarted);
        }
        upload.push(encode(Update::Snapshot(chunk))).await?;
        if last {
            self.snapshots.insert(directory, upload.finish().await?);
        } else {
            self.snapshot = Some((directory, size, upload));
        }
        Ok(())
    }

    async fn tick(&mut self, tick: Tick) -> Result<(), ObjectsError> {
        let head = MapHead::from_bytes(&tick.head).map_err(lanyard_feed::FeedError::from)?;
        let size = head.size;
        let listed =
            head.directories.iter().map(|head| DirectoryKey::new(head.epoch, head.audience));
        let listed: Vec<DirectoryKey> =
            listed.filter(|key| self.audiences.contains(&key.audience)).collect();
        let is_whole = listed.iter().all(|key| self.snapshots.contains_key(key));
        let leaves = self.leaves.as_ref().map_or(0, |(count, _)| *count);
        let is_base = is_whole && leaves == size - 1 && self.newest.size == 0;
        let before = self.run.map_or(self.newest.size, |(_, last)| last);
        if is_base {
            self.base(size).await?;
        } else if size != before + 1 || self.leaves.is_some() {
            return Err(ObjectsError::Restarted);
        } else {
            self.newest.objects.extend(std::mem::take(&mut self.snapshots).into_values());
        }
        self.run = Some((self.run.map_or(size, |(first, _)| first), size));
        self.newest.checkpoint.clone_from(&tick.checkpoint);
        self.newest.directories = listed;
        self.ticks.extend_from_slice(&encode(Update::Tick(tick)));
        if is_base || self.ticks.len() >= MAX_BUFFERED {
            self.write_ticks().await?;
        }
        Ok(())
    }

    /// The first tick of a new list, with all that comes before it.
    async fn base(&mut self, size: u64) -> Result<(), ObjectsError> {
        if let Some((count, upload)) = self.leaves.take() {
            let object = upload.finish().await?;
            self.newest.objects.push(Object { piece: Piece::Leaves { count }, ..object });
        }
        self.newest.objects.extend(std::mem::take(&mut self.snapshots).into_values());
        self.newest.base = size;
        Ok(())
    }

    /// Bytes that wait to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.ticks.len() >= MAX_BUFFERED || self.beside.len() >= MAX_BUFFERED
    }

    /// Whether nothing is half there.
    pub(crate) fn is_consistent(&self) -> bool {
        self.leaves.is_none() && self.snapshot.is_none() && self.snapshots.is_empty()
    }

    /// Writes what waits, and returns whether there is a new list.
    pub(crate) async fn write(&mut self) -> Result<bool, ObjectsError> {
        for (version, bytes) in std::mem::take(&mut self.manifests) {
            self.put(Piece::Manifest { version }, bytes).await?;
        }
        if !self.beside.is_empty() {
            let bytes = self.beside.split().freeze();
            self.besides += 1;
            self.put(Piece::Beside { number: self.besides }, bytes).await?;
        }
        self.write_ticks().await?;
        self.merge().await?;
        let changed = self.changed && self.newest.size > 0;
        self.changed &= !changed;
        Ok(changed)
    }

    async fn put(&mut self, piece: Piece, bytes: Bytes) -> Result<Object, ObjectsError> {
        let object = store(&self.place, self.writer, piece, bytes).await?;
        self.newest.objects.push(object);
        self.changed = true;
        Ok(object)
    }

    async fn write_ticks(&mut self) -> Result<(), ObjectsError> {
        let Some((from, to)) = self.run.take() else { return Ok(()) };
        let bytes = self.ticks.split().freeze();
        let object = self.put(Piece::Ticks { from, to }, bytes.clone()).await?;
        self.newest.size = to;
        // The base's own tick stays alone: whoever has the base starts after it.
        if from > self.newest.base {
            self.tail.push(Run { object, bytes });
        }
        let mut remembered: usize = self.tail.iter().map(|run| run.bytes.len()).sum();
        while remembered > MAX_TAIL_BYTES {
            remembered -= self.tail.remove(0).bytes.len();
        }
        Ok(())
    }

    /// Makes many small objects one: a follower that starts would have to ask for each.
    async fn merge(&mut self) -> Result<(), ObjectsError> {
        if self.tail.len() < MERGED + SINGLE {
            return Ok(());
        }
        let objects = &self.newest.objects;
        let Some(start) = objects.iter().position(|object| *object == self.tail[0].object) else {
            self.tail.clear();
            return Ok(());
        };
        // A snapshot between two ticks stays between them.
        let follows = |(run, object): &(&Run, &Object)| run.object == **object;
        let count =
            self.tail.iter().take(MERGED).zip(&objects[start..]).take_while(follows).count();
        let runs: Vec<Run> = self.tail.drain(..count).collect();
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(()) };
        let (Piece::Ticks { from, .. }, Piece::Ticks { to, .. }) =
            (first.object.piece, last.object.piece)
        else {
            return Ok(());
        };
        if count < 2 {
            return Ok(());
        }
        let bytes: BytesMut = runs.iter().flat_map(|run| run.bytes.iter().copied()).collect();
        let merged =
            store(&self.place, self.writer, Piece::Ticks { from, to }, bytes.freeze()).await?;
        self.newest.objects.splice(start..start + count, [merged]);
        self.changed = true;
        Ok(())
    }

    /// Gives up uploads that were begun.
    pub(crate) async fn abort(self) {
        let uploads =
            [self.leaves.map(|(_, upload)| upload), self.snapshot.map(|(.., upload)| upload)];
        for upload in uploads.into_iter().flatten() {
            upload.abort().await;
        }
    }
}

async fn store(
    place: &Place,
    writer: WriterId,
    piece: Piece,
    bytes: Bytes,
) -> Result<Object, ObjectsError> {
    let hash = Hash::new(*blake3::hash(&bytes).as_bytes());
    let object = Object { piece, writer, length: bytes.len() as u64, hash };
    place.put(&object.name(), bytes).await?;
    Ok(object)
}

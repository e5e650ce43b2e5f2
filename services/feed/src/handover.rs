//! A prepared tick, whole, for another instance of the same authority to finish: the first may have signed it and gone.

use lanyard_core::head::MapHead;
use lanyard_core::ids::{Audience, Epoch, Hash};
use lanyard_core::profile::SealedProfiles;
use lanyard_wire::feed::v1::Tick;
use prost::Message as _;

use crate::FeedError;
use crate::incoming::CHUNK;
use crate::mirror::{Mirror, Writer};
use crate::state::{DirectoryKey, read};
use crate::store::corrupt;

/// What the parts of a prepared tick are called.
const TICK: &str = "tick";
const TABLE: &str = "table";
const SNAPSHOT: &str = "snapshot";

/// A tick that is prepared, and all that it needs beside what came before it.
pub struct PreparedTick {
    /// The size of the log with it.
    pub size: u64,
    /// The root of the log with it.
    pub root: Hash,
    /// What it consists of, by name.
    pub parts: Vec<(String, Vec<u8>)>,
}

impl Mirror {
    /// The tick that is prepared and not published, if there is one. Blocks on the disk.
    ///
    /// # Errors
    /// [`FeedError::Disk`].
    pub fn prepared(&self) -> Result<Option<PreparedTick>, FeedError> {
        let writer = self.lock();
        let Some(pending) = &writer.pending else { return Ok(None) };
        let (size, root) = (pending.checkpoint.size(), pending.checkpoint.root());
        let mut parts = vec![(TICK.to_owned(), pending.tick.encode_to_vec())];
        for (number, (key, table)) in pending.tables.iter().enumerate() {
            parts.push((part(TABLE, *key, number), table.sealed.as_bytes().to_vec()));
        }
        for (number, key) in self.brought(&pending.tick)?.into_iter().enumerate() {
            let file = self.store.open_snapshot(size, key)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, 0)?;
            parts.push((part(SNAPSHOT, key, number), bytes));
        }
        Ok(Some(PreparedTick { size, root, parts }))
    }

    /// Prepares the tick that another instance prepared, in place of an own one that waits. What is published already is left
    /// as it is. Blocks on the disk.
    ///
    /// # Errors
    /// [`FeedError::Corrupt`] if it does not fit what is here, or [`FeedError::Disk`].
    pub fn take_prepared(&self, tick: &PreparedTick) -> Result<(), FeedError> {
        let mut writer = self.lock();
        let next = read(&self.state).size() + 1;
        if tick.size < next {
            return Ok(());
        }
        let refused = |problem: &str| corrupt(&self.store.path("draft"), problem);
        if tick.size > next {
            return Err(refused("ticks before it are missing"));
        }
        let is_same = |writer: &Writer| {
            let pending = writer.pending.as_ref().map(|pending| &pending.checkpoint);
            pending.is_some_and(|is| is.size() == tick.size && is.root() == tick.root)
        };
        if is_same(&writer) {
            return Ok(());
        }
        writer.pending = None;
        for (name, bytes) in &tick.parts {
            let mut words = name.split(' ');
            let kind = words.next().unwrap_or_default();
            if kind == TICK {
                continue;
            }
            let key = directory(words.next(), words.next())
                .ok_or_else(|| refused("a part of it names no directory"))?;
            match kind {
                TABLE => self.store.put_table(key, &SealedProfiles::new(bytes.clone()))?,
                SNAPSHOT => {
                    let mut incoming = self.store.incoming(key)?;
                    for chunk in bytes.chunks(CHUNK) {
                        incoming.push(chunk)?;
                    }
                    incoming.keep(&self.store.snapshot_path(tick.size, key))?;
                }
                _ => return Err(refused("a part of it is of no known kind")),
            }
        }
        let draft = tick.parts.iter().find(|(name, _)| name == TICK).map(|(_, bytes)| bytes);
        let draft = draft.ok_or_else(|| refused("it is without its head"))?;
        let draft = Tick::decode(draft.as_slice()).map_err(|error| refused(&error.to_string()))?;
        // Read back, applied and checked as after a crash.
        self.store.put_draft(&draft)?;
        self.restage(&mut writer)?;
        if is_same(&writer) {
            return Ok(());
        }
        writer.pending = None;
        self.store.remove_draft()?;
        Err(refused("it is not the one that was recorded"))
    }

    /// The directories that a tick brings whole.
    fn brought(&self, tick: &Tick) -> Result<Vec<DirectoryKey>, FeedError> {
        let head = MapHead::from_bytes(&tick.head)?;
        let state = read(&self.state);
        let keys = head.directories.iter().map(DirectoryKey::of);
        Ok(keys.filter(|key| !state.directories.contains_key(key)).collect())
    }
}

/// Two parts of one kind have different names.
fn part(kind: &str, DirectoryKey { epoch, audience }: DirectoryKey, number: usize) -> String {
    format!("{kind} {epoch} {audience} {number}")
}

fn directory(epoch: Option<&str>, audience: Option<&str>) -> Option<DirectoryKey> {
    let epoch = epoch?.parse().ok()?;
    Some(DirectoryKey::new(Epoch::new(epoch), Audience::parse(audience?).ok()?))
}

//! What a follower that has so much needs from the disk.

use std::collections::BTreeSet;

use lanyard_core::head::MapHead;
use lanyard_core::ids::{Audience, Hash};
use lanyard_env::ReadAt;
use lanyard_wire::feed::v1::Tick;

use crate::mirror::{Mirror, Writer};
use crate::state::read;
use crate::{DirectoryKey, FeedError};

/// How far a follower is.
pub(crate) struct Position {
    /// Whose directories it wants.
    pub(crate) audiences: Vec<Audience>,
    /// Leaves of the log that it holds, and the root over them.
    pub(crate) size: u64,
    pub(crate) root: Option<Hash>,
    /// The directories that it holds as of that size.
    pub(crate) directories: BTreeSet<DirectoryKey>,
}

impl Position {
    pub(crate) fn wants(&self, key: DirectoryKey) -> bool {
        self.audiences.contains(&key.audience)
    }

    /// Whether it holds all that it wants of a head.
    fn holds(&self, head: &MapHead) -> bool {
        let mut keys = head.directories.iter().map(DirectoryKey::of);
        keys.all(|key| !self.wants(key) || self.directories.contains(&key))
    }
}

/// What to send.
pub(crate) enum Plan {
    /// Nothing that is on the disk.
    Nothing,
    /// The ticks from `size + 1` on up to this one.
    Ticks(u64),
    /// Everything.
    Whole(Whole),
    /// It is ahead of this mirror, or this mirror lacks something itself.
    Behind,
    /// It holds another log. The checkpoint of this one at its size, if it is kept.
    Forked(Option<String>),
}

/// The base and all ticks after it.
pub(crate) struct Whole {
    /// Index of the first leaf that the follower lacks, and the leaves up to the base's own.
    pub(crate) start: u64,
    pub(crate) leaves: Vec<Hash>,
    /// The base's size, its snapshots, and its head and checkpoint.
    pub(crate) size: u64,
    pub(crate) snapshots: Vec<(DirectoryKey, Box<dyn ReadAt>)>,
    pub(crate) tick: Tick,
    /// The newest tick.
    pub(crate) to: u64,
}

impl Mirror {
    /// Plans what to send. Blocks on the disk.
    pub(crate) fn plan(&self, position: &Position) -> Result<Plan, FeedError> {
        let mut writer = self.lock();
        let state = read(&self.state);
        let size = state.size();
        if size == 0 && position.size == 0 {
            return Ok(Plan::Nothing);
        }
        if position.size > size {
            return Ok(Plan::Behind);
        }
        let root = (position.size > 0).then(|| state.log.root_at(position.size)).transpose()?;
        drop(state);
        if root != position.root {
            return Ok(Plan::Forked(self.checkpoint_at(&writer, position.size)?));
        }
        if self.lacks_any() {
            return Ok(Plan::Behind);
        }
        let head = self.head_at(&writer, position.size)?;
        if head.is_some_and(|head| position.holds(&head)) {
            return Ok(if size == position.size { Plan::Nothing } else { Plan::Ticks(size) });
        }
        self.whole_after(&mut writer, position, size).map(Plan::Whole)
    }

    /// Plans to send everything. Blocks on the disk.
    pub(crate) fn plan_whole(&self, position: &Position) -> Result<Whole, FeedError> {
        let mut writer = self.lock();
        let size = read(&self.state).size();
        self.whole_after(&mut writer, position, size)
    }

    fn whole_after(
        &self,
        writer: &mut Writer,
        position: &Position,
        to: u64,
    ) -> Result<Whole, FeedError> {
        if writer.base < position.size {
            self.rebase(writer)?;
        }
        self.whole(position, to)
    }

    /// The head of a size, if it is kept.
    fn head_at(&self, writer: &Writer, size: u64) -> Result<Option<MapHead>, FeedError> {
        let signed = read(&self.state).signed.clone();
        if let Some(signed) = signed.filter(|signed| signed.size() == size) {
            return Ok(Some(signed.head.clone().into_head()));
        }
        let bytes = if size == writer.base {
            self.store.base()?.map(|base| base.head)
        } else if size > writer.ticks_after {
            self.store.tick(size)?.map(|tick| tick.head)
        } else {
            None
        };
        Ok(bytes.map(|bytes| MapHead::from_bytes(&bytes)).transpose()?)
    }

    /// The signed checkpoint of a size, if it is kept.
    fn checkpoint_at(&self, writer: &Writer, size: u64) -> Result<Option<String>, FeedError> {
        let signed = read(&self.state).signed.clone();
        if let Some(signed) = signed.filter(|signed| signed.size() == size) {
            return Ok(Some(signed.checkpoint.note().to_string()));
        }
        if size == writer.base {
            return Ok(self.store.base()?.map(|base| base.checkpoint));
        }
        if size <= writer.ticks_after {
            return Ok(None);
        }
        Ok(self.store.tick(size)?.map(|tick| tick.checkpoint))
    }

    fn whole(&self, position: &Position, to: u64) -> Result<Whole, FeedError> {
        let missing = FeedError::Order { what: "there is no base to start a follower from" };
        let base = self.store.base()?.ok_or(missing)?;
        let size = MapHead::from_bytes(&base.head)?.size;
        let mut snapshots = Vec::new();
        for (key, snapshot) in base.snapshots {
            if position.wants(key) {
                snapshots.push((key, self.store.open_snapshot(snapshot, key)?));
            }
        }
        let state = read(&self.state);
        let index = |leaf: u64| usize::try_from(leaf).unwrap_or(usize::MAX);
        let count = index((size - 1).saturating_sub(position.size));
        let leaves = state.log.leaf_hashes().skip(index(position.size)).take(count);
        Ok(Whole {
            start: position.size,
            leaves: leaves.copied().collect(),
            size,
            snapshots,
            tick: Tick { head: base.head, checkpoint: base.checkpoint, deltas: Vec::new() },
            to,
        })
    }
}

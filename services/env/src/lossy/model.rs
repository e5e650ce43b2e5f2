//! The disk as it is and as it would be after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::Loss;

#[derive(Default)]
pub(super) struct Model {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) durable_names: BTreeMap<PathBuf, Node>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Counts restarts: what was open before is closed.
    pub(super) life: u64,
    /// Changing calls so far.
    pub(super) calls: u64,
    /// The machine stops at the call after so many.
    pub(super) stop_after: Option<u64>,
    pub(super) stopped: bool,
    /// Bytes that still fit.
    pub(super) space: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File { inode: usize, permissions: u32 },
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) content: Vec<u8>,
    pub(super) durable: Vec<u8>,
}

impl Model {
    /// The same files on a machine that has just started.
    pub(super) fn copy(&self) -> Self {
        Self {
            inodes: self.inodes.clone(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            ..Self::default()
        }
    }

    pub(super) fn running(&self) -> io::Result<()> {
        if self.stopped { Err(io::Error::other("the machine has stopped")) } else { Ok(()) }
    }

    /// Counts a changing call; fails if the machine stops at it.
    pub(super) fn call(&mut self) -> io::Result<()> {
        self.running()?;
        self.stopped = self.stop_after == Some(self.calls);
        self.calls += 1;
        self.running()
    }

    pub(super) fn take_space(&mut self, bytes: usize) -> io::Result<()> {
        let Some(space) = &mut self.space else { return Ok(()) };
        match space.checked_sub(bytes as u64) {
            Some(left) => *space = left,
            None => return Err(io::ErrorKind::StorageFull.into()),
        }
        Ok(())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<(usize, u32)> {
        self.running()?;
        match self.names.get(path) {
            Some(Node::File { inode, permissions }) => Ok((*inode, *permissions)),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File { .. }) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn make_file(&mut self, path: &Path, permissions: u32) -> io::Result<usize> {
        self.parent(path)?;
        self.call()?;
        // A name takes space, too.
        self.take_space(1)?;
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.names.insert(path.to_owned(), Node::File { inode, permissions });
        Ok(inode)
    }

    pub(super) fn lose(&mut self, loss: Loss) {
        let mut dice = Dice(match loss {
            Loss::None => return,
            Loss::All => 0,
            Loss::Some(seed) => seed,
        });
        let mut keeps =
            |one_in_two: bool| loss != Loss::All && dice.roll(2) == u64::from(one_in_two);
        let all: BTreeSet<PathBuf> =
            self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        // A directory is written whole: of a rename in it, both halves stay or go.
        let mut kept = BTreeMap::new();
        let mut left = BTreeMap::new();
        for path in all {
            let (now, durable) = (self.names.get(&path), self.durable_names.get(&path));
            let parent = path.parent().unwrap_or(&path).to_owned();
            let is_kept = now != durable && *kept.entry(parent).or_insert_with(|| keeps(true));
            let node = if is_kept { now } else { durable };
            // In order, so that its parent was looked at before.
            let is_reachable = path.parent().is_none_or(|parent| left.contains_key(parent));
            if let Some(node) = node.filter(|_| is_reachable) {
                left.insert(path, *node);
            }
        }
        for inode in &mut self.inodes {
            let appended = inode.content.len().saturating_sub(inode.durable.len());
            let is_appended = inode.content.starts_with(&inode.durable);
            inode.content = match loss {
                Loss::Some(_) if is_appended => {
                    let kept = dice.roll(appended as u64 + 1) as usize;
                    inode.content[..inode.durable.len() + kept].to_vec()
                }
                Loss::Some(_) if dice.roll(2) == 0 => std::mem::take(&mut inode.content),
                _ => inode.durable.clone(),
            };
            inode.durable.clone_from(&inode.content);
        }
        self.names.clone_from(&left);
        self.durable_names = left;
    }
}

/// A few bits that a seed decides (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % sides
    }
}

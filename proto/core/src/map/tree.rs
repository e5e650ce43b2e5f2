//! The hashes of a map: a complete binary tree over its buckets, in one array.

use super::hash::{self, BucketHasher, Node};

/// Node 1 is the root, the children of node `i` are `2i` and `2i + 1`; node 0 is not used.
#[derive(Clone)]
pub(super) struct Tree {
    depth: u8,
    nodes: Vec<Node>,
}

impl Tree {
    /// The tree over empty buckets.
    pub(super) fn empty(depth: u8) -> Self {
        let mut nodes = Vec::with_capacity(2 << depth);
        nodes.push([0; 32]);
        for level in 0..=depth {
            let filled = nodes.len() + (1 << level);
            nodes.resize(filled, *hash::empty(depth - level));
        }
        Self { depth, nodes }
    }

    pub(super) const fn depth(&self) -> u8 {
        self.depth
    }

    pub(super) fn root(&self) -> &Node {
        &self.nodes[1]
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }

    /// Sets all buckets that `fill` hashes, then every node above.
    pub(super) fn build(&mut self, fill: impl FnOnce(&mut BucketHasher<'_>)) {
        self.hash_buckets(fill);
        for level in (0..self.depth).rev() {
            let (upper, children) = self.nodes.split_at_mut(2 << level);
            hash::nodes(&children[..2 << level], &mut upper[1 << level..]);
        }
    }

    /// Sets the buckets that `fill` hashes, which are `changed` (ascending), then the nodes above these.
    pub(super) fn update(&mut self, changed: &[u32], fill: impl FnOnce(&mut BucketHasher<'_>)) {
        self.hash_buckets(fill);
        let mut changed = changed.to_vec();
        let mut parents = Vec::new();
        for level in (0..self.depth).rev() {
            changed.iter_mut().for_each(|index| *index /= 2);
            changed.dedup();
            let (upper, children) = self.nodes.split_at_mut(2 << level);
            hash::scattered_nodes(&children[..2 << level], &changed, &mut parents);
            let upper = &mut upper[1 << level..];
            for (index, hash) in changed.iter().zip(&parents) {
                upper[*index as usize] = *hash;
            }
        }
    }

    fn hash_buckets(&mut self, fill: impl FnOnce(&mut BucketHasher<'_>)) {
        let mut hasher = BucketHasher::new(&mut self.nodes[1 << self.depth..]);
        fill(&mut hasher);
        hasher.finish();
    }

    /// The siblings on the way from node `index` of `level` to the root, lowest first.
    pub(super) fn siblings(&self, level: u8, index: u64) -> Vec<Node> {
        // At most 2^29 nodes.
        let mut node = (1_usize << level) + index as usize;
        let mut siblings = Vec::with_capacity(usize::from(level));
        while node > 1 {
            siblings.push(self.nodes[node ^ 1]);
            node /= 2;
        }
        siblings
    }
}

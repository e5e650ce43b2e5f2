//! The three keyed hashes of the map, and many of them at once.
//!
//! Every message is padded with zeros to whole blocks of 64 bytes. Padding costs no compression and makes messages of
//! equal length, which the SIMD lanes of BLAKE3 hash 3 to 4 times faster side by side than one after the other. No two
//! messages of one domain become equal by it: records have a fixed size, and a bucket starts with its count.

use std::array;
use std::sync::LazyLock;

use blake3::IncrementCounter;
use blake3::platform::{Platform, words_from_le_bytes_32};

use super::table::Slot;

/// A hash as stored in the tree.
pub(super) type Node = [u8; 32];

/// A block of BLAKE3, and the unit of padding.
pub(super) const BLOCK: usize = 64;
/// A message of at most this many blocks is one chunk of BLAKE3, so one run of compressions.
const CHUNK_BLOCKS: usize = 16;
/// Messages handed over at a time: the widest SIMD degree of BLAKE3.
const LANES: usize = 16;
/// Records that are collected before they are hashed; their blocks stay in the first-level cache.
const RECORD_BATCH: usize = 256;

/// Bytes of one row in a bucket's message: handle and record hash.
pub(super) const ENTRY: usize = 48;

// BLAKE3 §2.2, table 3.
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

static RECORD: LazyLock<Domain> = LazyLock::new(|| Domain::new("lanyard v1 record hash"));
static BUCKET: LazyLock<Domain> = LazyLock::new(|| Domain::new("lanyard v1 bucket"));
static NODE: LazyLock<Domain> = LazyLock::new(|| Domain::new("lanyard v1 node"));

/// Keyed BLAKE3 under a key that is derived from a context, so that hashes of different kinds never meet.
struct Domain {
    key: [u8; 32],
    words: [u32; 8],
}

impl Domain {
    fn new(context: &str) -> Self {
        let key = blake3::derive_key(context, &[]);
        Self { key, words: words_from_le_bytes_32(&key) }
    }

    fn hash(&self, message: &[u8]) -> Node {
        blake3::keyed_hash(&self.key, message).into()
    }

    /// Hashes up to [`LANES`] messages of at most one chunk, side by side.
    ///
    /// `Platform` is hidden from BLAKE3's documentation; a test holds it against `keyed_hash`.
    fn hash_lanes<const N: usize>(&self, messages: &[&[u8; N]], out: &mut [Node]) {
        Platform::detect().hash_many(
            messages,
            &self.words,
            0,
            IncrementCounter::No,
            KEYED_HASH,
            CHUNK_START,
            CHUNK_END | ROOT,
            out.as_flattened_mut(),
        );
    }

    fn hash_all<const N: usize>(&self, messages: &[[u8; N]], out: &mut [Node]) {
        for (messages, out) in messages.chunks(LANES).zip(out.chunks_mut(LANES)) {
            let last = messages.len() - 1;
            let lanes: [&[u8; N]; LANES] = array::from_fn(|lane| &messages[lane.min(last)]);
            self.hash_lanes(&lanes[..messages.len()], out);
        }
    }
}

/// The hash of a sealed record: version, big-endian, then 48 bytes.
pub(super) fn record(version_and_bytes: &[u8; 52]) -> Node {
    RECORD.hash(&record_block(version_and_bytes))
}

/// The hash of an inner node.
pub(super) fn node(left: &Node, right: &Node) -> Node {
    let mut message = [0; BLOCK];
    message[..32].copy_from_slice(left);
    message[32..].copy_from_slice(right);
    NODE.hash(&message)
}

/// Hashes the pairs of children in `children` into `parents`, half as many.
pub(super) fn nodes(children: &[Node], parents: &mut [Node]) {
    let (pairs, _) = children.as_flattened().as_chunks::<BLOCK>();
    NODE.hash_all(pairs, parents);
}

/// Hashes the pairs of children whose indices in `children` are given (pair `i` is children `2i` and `2i + 1`).
pub(super) fn scattered_nodes(children: &[Node], pairs: &[u32], parents: &mut Vec<Node>) {
    let (all, _) = children.as_flattened().as_chunks::<BLOCK>();
    parents.clear();
    parents.resize(pairs.len(), [0; 32]);
    for (pairs, parents) in pairs.chunks(LANES).zip(parents.chunks_mut(LANES)) {
        let last = pairs.len() - 1;
        let lanes: [&[u8; BLOCK]; LANES] =
            array::from_fn(|lane| &all[pairs[lane.min(last)] as usize]);
        NODE.hash_lanes(&lanes[..pairs.len()], parents);
    }
}

/// The hash of a bucket from the entries of its rows, in the order of their handles.
pub(super) fn bucket<'a>(entries: impl ExactSizeIterator<Item = (&'a [u8; 16], &'a Node)>) -> Node {
    let mut message = Vec::new();
    write_bucket(entries, &mut message);
    BUCKET.hash(&message)
}

/// The hash of an empty subtree of each height: a bucket at 0.
pub(super) fn empty(height: u8) -> &'static Node {
    static EMPTY: LazyLock<Vec<Node>> = LazyLock::new(|| {
        let mut hashes = vec![bucket([].into_iter())];
        for height in 0..usize::from(super::MAX_DEPTH) {
            hashes.push(node(&hashes[height], &hashes[height]));
        }
        hashes
    });
    &EMPTY[usize::from(height)]
}

fn record_block(version_and_bytes: &[u8; 52]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..52].copy_from_slice(version_and_bytes);
    block
}

/// Blocks of the message of a bucket with `rows` rows.
const fn bucket_blocks(rows: usize) -> usize {
    (4 + ENTRY * rows).div_ceil(BLOCK)
}

/// Appends a bucket's message: count, entries, zeros up to a whole block.
fn write_bucket<'a>(
    entries: impl ExactSizeIterator<Item = (&'a [u8; 16], &'a Node)>,
    message: &mut Vec<u8>,
) {
    let count = entries.len();
    let end = message.len() + BLOCK * bucket_blocks(count);
    // A map holds at most `u32::MAX` rows, and no proof is that long.
    message.extend_from_slice(&(count as u32).to_be_bytes());
    for (handle, hash) in entries {
        message.extend_from_slice(handle);
        message.extend_from_slice(hash);
    }
    message.resize(end, 0);
}

/// Hashes buckets in two steps, records and then buckets of equal length, many at a time.
pub(super) struct BucketHasher<'a> {
    leaves: &'a mut [Node],
    /// Rows of the buckets in `waiting`: handles, and records as padded blocks.
    handles: Vec<[u8; 16]>,
    records: Vec<[u8; BLOCK]>,
    hashes: Vec<Node>,
    /// Buckets whose records are not hashed yet: index and rows.
    waiting: Vec<(u32, usize)>,
    /// Messages by their length in blocks (less one).
    queues: [Queue; CHUNK_BLOCKS],
}

#[derive(Default)]
struct Queue {
    messages: Vec<u8>,
    buckets: Vec<u32>,
}

impl<'a> BucketHasher<'a> {
    /// Writes the hashes of buckets to their places in `leaves`.
    pub(super) fn new(leaves: &'a mut [Node]) -> Self {
        Self {
            leaves,
            handles: Vec::new(),
            records: Vec::new(),
            hashes: Vec::new(),
            waiting: Vec::new(),
            queues: array::from_fn(|_| Queue::default()),
        }
    }

    /// Adds a bucket with its rows in the order of their handles.
    pub(super) fn push<'s>(&mut self, bucket: u32, rows: impl Iterator<Item = &'s Slot>) {
        let start = self.handles.len();
        for row in rows {
            let (handle, record) = row.split();
            self.handles.push(*handle);
            self.records.push(record_block(record));
        }
        let count = self.handles.len() - start;
        if count == 0 {
            self.leaves[bucket as usize] = *empty(0);
            return;
        }
        self.waiting.push((bucket, count));
        if self.records.len() >= RECORD_BATCH {
            self.hash_records();
        }
    }

    /// Hashes what is still waiting.
    pub(super) fn finish(mut self) {
        self.hash_records();
        for blocks in 1..=CHUNK_BLOCKS {
            self.flush(blocks);
        }
    }

    fn hash_records(&mut self) {
        self.hashes.resize(self.records.len(), [0; 32]);
        RECORD.hash_all(&self.records, &mut self.hashes);
        let mut start = 0;
        for (bucket, count) in std::mem::take(&mut self.waiting) {
            let rows = start..start + count;
            start = rows.end;
            let entries = self.handles[rows.clone()].iter().zip(&self.hashes[rows]);
            let blocks = bucket_blocks(count);
            match self.queues.get_mut(blocks - 1) {
                Some(queue) => {
                    write_bucket(entries, &mut queue.messages);
                    queue.buckets.push(bucket);
                    if queue.buckets.len() == LANES {
                        self.flush(blocks);
                    }
                }
                None => self.leaves[bucket as usize] = self::bucket(entries),
            }
        }
        self.handles.clear();
        self.records.clear();
    }

    fn flush(&mut self, blocks: usize) {
        let queue = &mut self.queues[blocks - 1];
        let mut out = [[0; 32]; LANES];
        let out = &mut out[..queue.buckets.len()];
        hash_bucket_messages(blocks, &queue.messages, out);
        for (bucket, hash) in queue.buckets.iter().zip(out) {
            self.leaves[*bucket as usize] = *hash;
        }
        queue.messages.clear();
        queue.buckets.clear();
    }
}

/// Hashes messages of `blocks` blocks each, 1 to [`CHUNK_BLOCKS`].
fn hash_bucket_messages(blocks: usize, messages: &[u8], out: &mut [Node]) {
    macro_rules! by_length {
        ($($blocks:literal)*) => {
            match blocks {
                $($blocks => {
                    BUCKET.hash_all(messages.as_chunks::<{ $blocks * BLOCK }>().0, out);
                })*
                _ => {
                    for (message, out) in messages.chunks_exact(blocks * BLOCK).zip(out) {
                        *out = BUCKET.hash(message);
                    }
                }
            }
        };
    }
    by_length!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages as the documentation of the map describes them, hashed by BLAKE3's public function.
    fn reference(context: &str, parts: &[&[u8]]) -> Node {
        let mut message = parts.concat();
        message.resize(message.len().next_multiple_of(64), 0);
        blake3::keyed_hash(&blake3::derive_key(context, &[]), &message).into()
    }

    fn slots(count: usize) -> Vec<Slot> {
        (0..count)
            .map(|i| Slot::new(array::from_fn(|byte| (i * 31 + byte * 7) as u8 | 1)))
            .collect()
    }

    fn reference_bucket(slots: &[Slot]) -> Node {
        let mut message = (slots.len() as u32).to_be_bytes().to_vec();
        for slot in slots {
            let (handle, record) = slot.split();
            message.extend_from_slice(handle);
            message.extend_from_slice(&reference("lanyard v1 record hash", &[record]));
        }
        reference("lanyard v1 bucket", &[&message])
    }

    #[test]
    fn batches_hash_as_one_by_one() {
        // Every number of rows around the chunk boundary, each often enough to fill the lanes and leave a rest.
        let sizes: Vec<usize> = (0..19 * 40).map(|i| i % 40).collect();
        let mut leaves = vec![[0; 32]; sizes.len()];
        let mut hasher = BucketHasher::new(&mut leaves);
        for (bucket, &size) in sizes.iter().enumerate() {
            hasher.push(bucket as u32, slots(size).iter());
        }
        hasher.finish();
        for (bucket, &size) in sizes.iter().enumerate() {
            assert_eq!(leaves[bucket], reference_bucket(&slots(size)), "{size} rows");
        }
    }

    #[test]
    fn nodes_hash_alike_alone_together_and_scattered() {
        let children: Vec<Node> = (0..74).map(|i| [i as u8; 32]).collect();
        let mut parents = vec![[0; 32]; 37];
        nodes(&children, &mut parents);
        for (i, parent) in parents.iter().enumerate() {
            let (left, right) = (&children[2 * i], &children[2 * i + 1]);
            assert_eq!(*parent, node(left, right));
            assert_eq!(*parent, reference("lanyard v1 node", &[left, right]));
        }
        let mut scattered = Vec::new();
        let pairs: Vec<u32> = (0..37).step_by(2).collect();
        scattered_nodes(&children, &pairs, &mut scattered);
        let expected: Vec<Node> = pairs.iter().map(|&pair| parents[pair as usize]).collect();
        assert_eq!(scattered, expected);
    }

    #[test]
    fn empty_subtrees_are_made_of_empty_buckets() {
        assert_eq!(*empty(0), reference("lanyard v1 bucket", &[&[0; 4]]));
        assert_eq!(*empty(2), node(&node(empty(0), empty(0)), empty(1)));
    }
}

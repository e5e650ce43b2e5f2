//! What the jobs are made of, bare: no types, no checks, no wiping. The limits are sums of these.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use aes_gcm_siv::aead::AeadInOut as _;
use aes_gcm_siv::aes::Aes256Enc;
use aes_gcm_siv::{AesGcmSiv, KeyInit as _};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use blake3::IncrementCounter;
use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use blake3::platform::{Platform, words_from_le_bytes_32};
use lanyard_core::ids::{Authority, Epoch, Handle};
use lanyard_core::map::Map;

use crate::event::EPOCH;

/// The hashes that lead from a badge to a handle and a record's key: four of one block, one of them under a context.
pub(crate) struct Deriver {
    context: ContextKey,
    epoch: Vec<u8>,
}

impl Deriver {
    pub(crate) fn new(event: &str) -> Self {
        let mut epoch = Vec::new();
        for field in [b"epoch".as_slice(), event.as_bytes(), &EPOCH.get().to_be_bytes()] {
            append(&mut epoch, field);
        }
        Self { context: hash_derive_key_context("lanyard v1 seed"), epoch }
    }

    /// `S(a, gate)`: one hash.
    pub(crate) fn seed(&self, secret: &[u8; 32], authority: Authority) -> [u8; 32] {
        let name = authority.name().as_bytes();
        let mut message = [0; 64];
        let mut length = 0;
        for field in [secret.as_slice(), name, b"gate"] {
            message[length..length + 4].copy_from_slice(&(field.len() as u32).to_be_bytes());
            length += 4;
            message[length..length + field.len()].copy_from_slice(field);
            length += field.len();
        }
        let mut hasher = blake3::Hasher::new_from_context_key(&self.context);
        *hasher.update(&message[..length]).finalize().as_bytes()
    }

    /// `K`: one hash.
    pub(crate) fn epoch_key(&self, seed: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(seed, &self.epoch).as_bytes()
    }

    /// The handle: one hash.
    pub(crate) fn handle(epoch_key: &[u8; 32]) -> [u8; 16] {
        let hash = blake3::keyed_hash(epoch_key, b"handle");
        std::array::from_fn(|index| hash.as_bytes()[index])
    }

    /// The record's key: one hash.
    pub(crate) fn record_key(epoch_key: &[u8; 32], audience_key: &[u8; 32]) -> [u8; 32] {
        let mut message = [0; 46];
        message[3] = 6;
        message[4..10].copy_from_slice(b"record");
        message[13] = 32;
        message[14..].copy_from_slice(audience_key);
        *blake3::keyed_hash(epoch_key, &message).as_bytes()
    }
}

fn append(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
    bytes.extend_from_slice(field);
}

/// Handles are uniform: their own first bytes are a good hash.
#[derive(Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A hash table from handles to versions and sealed records, the record in the slot.
pub(crate) type BareTable = HashMap<[u8; 16], [u8; 52], BuildHasherDefault<FirstBytes>>;

pub(crate) fn bare_table(map: &Map) -> BareTable {
    map.rows()
        .map(|row| {
            let mut value = [0; 52];
            value[..4].copy_from_slice(&row.record.version().to_be_bytes());
            value[4..].copy_from_slice(row.record.bytes());
            (*row.handle.as_bytes(), value)
        })
        .collect()
}

/// A sealed record and all that opens it.
pub(crate) struct Sealed {
    pub(crate) key: [u8; 32],
    pub(crate) nonce: [u8; 12],
    pub(crate) aad: Vec<u8>,
    /// Ciphertext and tag.
    pub(crate) bytes: [u8; 48],
}

impl Sealed {
    pub(crate) fn new(
        key: [u8; 32],
        origin: &str,
        epoch: Epoch,
        handle: &Handle,
        version: u32,
        bytes: [u8; 48],
    ) -> Self {
        let mut aad = Vec::new();
        append(&mut aad, origin.as_bytes());
        append(&mut aad, &epoch.get().to_be_bytes());
        append(&mut aad, handle.as_bytes());
        append(&mut aad, &version.to_be_bytes());
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&version.to_be_bytes());
        Self { key, nonce, aad, bytes }
    }

    /// With AWS-LC.
    pub(crate) fn open_aws_lc(&self) -> Option<[u8; 32]> {
        let key = aws_lc_key(&self.key);
        let mut buffer = self.bytes;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let opened = key.open_in_place(nonce, Aad::from(&self.aad), &mut buffer).ok()?;
        opened.first_chunk().copied()
    }

    /// With RustCrypto.
    pub(crate) fn open_rust_crypto(&self) -> Option<[u8; 32]> {
        let cipher = AesGcmSiv::<Aes256Enc>::new((&self.key).into());
        let (text, tag) = self.bytes.split_first_chunk::<32>()?;
        let mut buffer = *text;
        let tag: &[u8; 16] = tag.first_chunk()?;
        let buffer_in_place = buffer.as_mut_slice().into();
        let nonce = (&self.nonce).into();
        cipher.decrypt_inout_detached(nonce, &self.aad, buffer_in_place, tag.into()).ok()?;
        Some(buffer)
    }

    /// With AWS-LC; the plaintext is what stands in the first 32 bytes.
    pub(crate) fn seal_aws_lc(&self) -> Option<[u8; 48]> {
        let key = aws_lc_key(&self.key);
        let mut buffer = self.bytes;
        let (text, tag) = buffer.split_at_mut(32);
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let made = key.seal_in_place_separate_tag(nonce, Aad::from(&self.aad), text).ok()?;
        tag.copy_from_slice(made.as_ref());
        Some(buffer)
    }

    /// With RustCrypto; the plaintext is what stands in the first 32 bytes.
    pub(crate) fn seal_rust_crypto(&self) -> Option<[u8; 48]> {
        let cipher = AesGcmSiv::<Aes256Enc>::new((&self.key).into());
        let mut buffer = self.bytes;
        let (text, tag) = buffer.split_at_mut(32);
        let nonce = (&self.nonce).into();
        let made = cipher.encrypt_inout_detached(nonce, &self.aad, text.into()).ok()?;
        tag.copy_from_slice(&made);
        Some(buffer)
    }
}

fn aws_lc_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("a key of 32 bytes"))
}

/// Messages that BLAKE3 hashes side by side at a time.
const LANES: usize = 16;

/// Keyed hashes of many messages of one length, 64 bytes or a multiple of it up to 1,024: BLAKE3 at its fastest.
pub(crate) struct ManyHashes<const N: usize> {
    messages: Vec<[u8; N]>,
    hashes: Vec<[u8; 32]>,
}

impl<const N: usize> ManyHashes<N> {
    pub(crate) fn new(count: usize) -> Self {
        Self { messages: vec![[7; N]; count], hashes: vec![[0; 32]; count] }
    }

    pub(crate) fn run(&mut self) {
        // BLAKE3 §2.2, table 3.
        const KEYED_HASH: u8 = 1 << 4;
        const CHUNK_START: u8 = 1;
        const CHUNK_END_AND_ROOT: u8 = 1 << 1 | 1 << 3;
        let platform = Platform::detect();
        let key = words_from_le_bytes_32(&[1; 32]);
        for (messages, out) in self.messages.chunks(LANES).zip(self.hashes.chunks_mut(LANES)) {
            let last = messages.len() - 1;
            let lanes: [&[u8; N]; LANES] = std::array::from_fn(|lane| &messages[lane.min(last)]);
            platform.hash_many(
                &lanes[..messages.len()],
                &key,
                0,
                IncrementCounter::No,
                KEYED_HASH,
                CHUNK_START,
                CHUNK_END_AND_ROOT,
                out.as_flattened_mut(),
            );
        }
        black_box(&self.hashes);
    }
}

/// A Merkle tree in one array, hashed as [`ManyHashes`] are, from the buckets up.
pub(crate) struct BareTree {
    /// Node 1 is the root, the children of node `i` are `2i` and `2i + 1`.
    nodes: Vec<[u8; 32]>,
}

impl BareTree {
    pub(crate) fn new(depth: u8) -> Self {
        Self { nodes: vec![[5; 32]; 2 << depth] }
    }

    /// Recomputes the nodes above these leaves, which are ascending.
    pub(crate) fn update(&mut self, leaves: &[usize]) {
        let first = self.nodes.len() / 2;
        let mut changed: Vec<usize> = leaves.iter().map(|leaf| first + leaf).collect();
        let mut hashes = ManyHashes::<64>::new(changed.len());
        while changed.first() != Some(&1) && !changed.is_empty() {
            changed.iter_mut().for_each(|node| *node /= 2);
            changed.dedup();
            hashes.messages.truncate(changed.len());
            hashes.hashes.truncate(changed.len());
            for (message, &node) in hashes.messages.iter_mut().zip(&changed) {
                message.copy_from_slice(self.nodes[2 * node..2 * node + 2].as_flattened());
            }
            hashes.run();
            for (hash, &node) in hashes.hashes.iter().zip(&changed) {
                self.nodes[node] = *hash;
            }
        }
    }
}

/// The hashes of records and buckets.
pub(crate) struct BucketHashes {
    records: ManyHashes<64>,
    buckets: ManyHashes<256>,
}

impl BucketHashes {
    /// Buckets are taken to have four blocks: what a bucket of four or five records has.
    pub(crate) fn new(records: usize, buckets: usize) -> Self {
        Self { records: ManyHashes::new(records), buckets: ManyHashes::new(buckets) }
    }

    pub(crate) fn run(&mut self) {
        self.records.run();
        self.buckets.run();
    }
}

//! Searching a party's bytes for people: many needles at once, in every dress that bytes wear.
//!
//! Each needle is found by its first six bytes: a bit map rules out nearly every place, a sorted table the rest. Memory grows
//! with the needles, not with what is searched.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::error::DemoError;

/// Bytes read at once.
const CHUNK: usize = 4 * 1024 * 1024;
/// By so many bytes a needle is found. Shorter ones turn up by chance and are not looked for.
pub(super) const WINDOW: usize = 6;

struct Needle {
    start: usize,
    len: usize,
    owner: u32,
    mark: u8,
}

/// What to look for, and whose it is.
#[derive(Default)]
pub(super) struct NeedleSet {
    bytes: Vec<u8>,
    needles: Vec<Needle>,
}

/// Needles ready to be searched for.
pub(super) struct Searcher {
    set: NeedleSet,
    index: Index,
    longest: usize,
}

/// What was found: marks by owner.
pub(super) struct Found(Vec<u8>);

impl Found {
    pub(super) fn none(owners: usize) -> Self {
        Self(vec![0; owners])
    }

    /// Owners of whom anything was found.
    pub(super) fn owners(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(|(_, marks)| **marks != 0).map(|(owner, _)| owner)
    }

    pub(super) fn count(&self) -> usize {
        self.owners().count()
    }

    pub(super) fn has(&self, owner: usize) -> bool {
        self.0.get(owner).is_some_and(|marks| *marks != 0)
    }
}

impl NeedleSet {
    /// Looks for `value` as it is, in hexadecimal, and inside anything in base64.
    pub(super) fn add(&mut self, owner: usize, mark: u8, value: &str) {
        let value = value.as_bytes();
        let owner = u32::try_from(owner).unwrap_or(u32::MAX);
        let mut add = |needle: &[u8]| {
            if needle.len() >= WINDOW {
                let (start, len) = (self.bytes.len(), needle.len());
                self.bytes.extend_from_slice(needle);
                self.needles.push(Needle { start, len, owner, mark });
            }
        };
        add(value);
        add(hex::encode(value).as_bytes());
        add(hex::encode_upper(value).as_bytes());
        for shift in 0..3 {
            let (standard, url) = in_base64(value, shift);
            add(standard.as_bytes());
            if url != standard {
                add(url.as_bytes());
            }
        }
    }

    pub(super) fn ready(self) -> Searcher {
        let first = |needle: &Needle| key(&self.bytes[needle.start..needle.start + WINDOW]);
        let entries = (0..).zip(&self.needles).map(|(number, needle)| (first(needle), number));
        let index = Index::new(entries.collect());
        let longest = self.needles.iter().map(|needle| needle.len).max().unwrap_or(0);
        Searcher { set: self, index, longest }
    }
}

/// The characters that `value` gives in base64, `shift` bytes after a multiple of three: those that depend on nothing
/// before or after it.
fn in_base64(value: &[u8], shift: usize) -> (String, String) {
    let shifted = [&[0; 2][..shift], value].concat();
    let first = (shift * 8).div_ceil(6);
    let last = shifted.len() * 8 / 6;
    let cut = |text: String| text.get(first..last).unwrap_or_default().to_owned();
    (cut(STANDARD_NO_PAD.encode(&shifted)), cut(URL_SAFE_NO_PAD.encode(&shifted)))
}

/// The first bytes of a needle as a number.
fn key(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// Needles by their first bytes.
struct Index {
    bits: Vec<u64>,
    shift: u32,
    entries: Vec<(u64, u32)>,
}

impl Index {
    fn new(mut entries: Vec<(u64, u32)>) -> Self {
        entries.sort_unstable();
        // About 64 bits a needle.
        let log = (entries.len().max(16) * 64).next_power_of_two().ilog2().min(28);
        let mut index = Self { bits: vec![0; 1 << (log - 6)], shift: 64 - log, entries };
        for place in 0..index.entries.len() {
            let bit = index.bit(index.entries[place].0);
            index.bits[bit >> 6] |= 1 << (bit & 63);
        }
        index
    }

    fn bit(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The needles that begin with this key.
    fn get(&self, key: u64) -> &[(u64, u32)] {
        let bit = self.bit(key);
        if self.bits[bit >> 6] >> (bit & 63) & 1 == 0 {
            return &[];
        }
        let first = self.entries.partition_point(|(one, _)| *one < key);
        let count = self.entries[first..].partition_point(|(one, _)| *one == key);
        &self.entries[first..first + count]
    }
}

impl Searcher {
    /// Searches a file; returns how many bytes it has.
    pub(super) fn search_file(&self, path: &Path, found: &mut Found) -> Result<u64, DemoError> {
        let mut file = File::open(path).map_err(DemoError::io(path))?;
        let mut buffer = Vec::with_capacity(CHUNK + 2 * self.longest + 2);
        let mut total = 0;
        loop {
            let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut buffer);
            let read = read.map_err(DemoError::io(path))?;
            if read == 0 {
                return Ok(total);
            }
            total += read as u64;
            self.search(&buffer, found);
            // What may have begun here.
            let kept = self.longest.min(buffer.len());
            buffer.drain(..buffer.len() - kept);
        }
    }

    /// Searches some bytes.
    pub(super) fn search(&self, bytes: &[u8], found: &mut Found) {
        const MASK: u64 = (1 << (8 * WINDOW)) - 1;
        let mut window = 0;
        for (place, byte) in bytes.iter().enumerate() {
            window = (window << 8 | u64::from(*byte)) & MASK;
            if let Some(start) = (place + 1).checked_sub(WINDOW) {
                for (_, number) in self.index.get(window) {
                    self.check(bytes, start, *number, found);
                }
            }
        }
    }

    fn check(&self, bytes: &[u8], start: usize, number: u32, found: &mut Found) {
        let needle = &self.set.needles[number as usize];
        let wanted = &self.set.bytes[needle.start..needle.start + needle.len];
        if bytes.get(start..start + needle.len) == Some(wanted) {
            found.0[needle.owner as usize] |= needle.mark;
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const NAMES: [&str; 4] = ["Zubo Kelmari", "حسین موسوی", "X12345678", "彬 李"];

    fn searcher() -> Searcher {
        let mut set = NeedleSet::default();
        for (owner, name) in NAMES.iter().enumerate() {
            set.add(owner, 1, name);
        }
        set.ready()
    }

    fn found(bytes: &[u8]) -> Vec<usize> {
        let mut found = Found::none(NAMES.len());
        searcher().search(bytes, &mut found);
        found.owners().collect()
    }

    #[test]
    fn people_are_found_in_every_dress_wherever_they_stand() {
        for (owner, name) in NAMES.iter().enumerate() {
            for before in 0..7 {
                let bytes = [&b"|||||||"[..before], name.as_bytes(), b"|and more"].concat();
                assert_eq!(found(&bytes), [owner], "raw, after {before}");
                assert_eq!(found(hex::encode(&bytes).as_bytes()), [owner], "hex, after {before}");
                let upper = hex::encode_upper(&bytes);
                assert_eq!(found(upper.as_bytes()), [owner], "HEX, after {before}");
                let text = STANDARD.encode(&bytes);
                assert_eq!(found(text.as_bytes()), [owner], "base64, after {before}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for text in ["", "Zubo Kelmar", "zubo kelmari", "李 彬", "X1234567"] {
            assert!(found(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_file_is_searched_across_the_edges_of_its_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for offset in [CHUNK - 5, CHUNK - 1, CHUNK, 2 * CHUNK - 3] {
            let mut bytes = vec![b'.'; 2 * CHUNK + 100];
            bytes[offset..offset + 12].copy_from_slice(NAMES[0].as_bytes());
            std::fs::write(&path, &bytes).unwrap();
            let mut found = Found::none(NAMES.len());
            let size = searcher().search_file(&path, &mut found).unwrap();
            assert_eq!((size, found.count()), (bytes.len() as u64, 1), "at {offset}");
            assert!(found.has(0) && !found.has(1));
        }
    }
}

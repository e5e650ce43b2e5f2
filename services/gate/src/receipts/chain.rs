//! The file of the hash chain: entries, and after each group its signed head.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::ids::Hash;
use lanyard_core::note::Note;
use lanyard_core::receipt::{ReceiptChain, ReceiptEntry, ReceiptOrigin};
use lanyard_env::{FileError, Files};

use super::frames::{FrameFile, FrameReader, is_complete, places, push};
use super::store::OpenError;
use super::writer::MAX_GROUP;
use crate::service::MAX_CHECKS;

const ENTRY: u8 = 1;
const HEAD: u8 = 2;
/// Bytes of an entry's frame.
const ENTRY_FRAME: usize = super::frames::HEADER + 1 + ReceiptEntry::SIZE;

/// Receipts from one mark to the next, about: how far an export has to skip.
const MARK_EVERY: u64 = 1_024;

/// Bytes that a disk writes whole or not at all.
const BLOCK: u64 = 512;

/// Bytes that one group may leave behind the last head: its entries with their frames, and a head.
const MAX_TORN: u64 = (MAX_GROUP + MAX_CHECKS) as u64 * 64 + 8 * 1024;

/// One frame of the file.
pub(super) enum ChainFrame {
    Entry(ReceiptEntry),
    Head { hash: Hash, note: String },
}

impl ChainFrame {
    fn push_entry(buffer: &mut Vec<u8>, entry: &ReceiptEntry) {
        let mut payload = [0; 1 + ReceiptEntry::SIZE];
        payload[0] = ENTRY;
        payload[1..].copy_from_slice(&entry.to_bytes());
        push(buffer, &payload);
    }

    fn push_head(buffer: &mut Vec<u8>, hash: Hash, note: &Note) {
        let mut writer = Writer::new();
        writer.u8(HEAD).raw(hash.as_bytes()).field(note.to_string().as_bytes());
        push(buffer, &writer.into_vec());
    }

    pub(super) fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("receipt frame", payload);
        let frame = match reader.u8()? {
            ENTRY => Self::Entry(ReceiptEntry::from_bytes(reader.raw(ReceiptEntry::SIZE)?)?),
            HEAD => {
                let hash = Hash::new(reader.array()?);
                let note = reader.text(super::frames::MAX_PAYLOAD)?.to_owned();
                Self::Head { hash, note }
            }
            _ => return Err(reader.invalid("unknown kind")),
        };
        reader.finish()?;
        Ok(frame)
    }
}

/// The end of a group: where reading can begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) chain: ReceiptChain,
}

/// What readers may read.
pub(super) struct Durable {
    /// Bytes of the file that hold whole groups.
    pub(super) length: u64,
    pub(super) chain: ReceiptChain,
    marks: Vec<Mark>,
}

impl Durable {
    /// The last mark before receipt `sequence`.
    pub(super) fn mark_before(&self, sequence: u64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.chain.sequence() < sequence);
        // The first mark is the start of the chain.
        self.marks[after.saturating_sub(1)]
    }

    fn advance(&mut self, length: u64, chain: ReceiptChain) {
        (self.length, self.chain) = (length, chain);
        let last = self.marks.last().map_or(0, |mark| mark.chain.sequence());
        if chain.sequence() >= last + MARK_EVERY {
            self.marks.push(Mark { offset: length, chain });
        }
    }
}

/// What is durable, for readers and the writer.
#[derive(Clone)]
pub(super) struct SharedDurable(Arc<Mutex<Durable>>);

impl SharedDurable {
    pub(super) fn lock(&self) -> MutexGuard<'_, Durable> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the end of the file is what a crash can leave of one group that was not synced, and so never answered: its beginning,
/// or all of it with blocks that did not reach the disk and read as zeros. Anything else was written whole and changed since.
pub(super) fn is_torn(
    files: &dyn Files,
    path: &Path,
    offset: u64,
    length: u64,
) -> Result<bool, FileError> {
    if length > MAX_TORN {
        return Ok(false);
    }
    // At most `MAX_TORN`.
    let mut end = vec![0; length as usize];
    files.open(path)?.read_exact_at(&mut end, offset)?;
    let heads = places(&end, HEAD);
    if has_unwritten_block(&end, offset) {
        // Of one group, the head stands behind entries, which all have one length.
        let is_one = |head: &usize| head.is_multiple_of(ENTRY_FRAME);
        return Ok(heads.len() <= 1 && heads.iter().all(is_one));
    }
    let entries = places(&end, ENTRY);
    let whole = entries.iter().zip((0..).step_by(ENTRY_FRAME)).take_while(|(at, next)| *at == next);
    let rest = &end[whole.count() * ENTRY_FRAME..];
    Ok(heads.is_empty() && !is_complete(rest))
}

/// Whether a block of a disk, in a file that grew from `offset` on by these bytes, is nothing but zeros. In what is written
/// here only the first bytes of a frame's length can be.
fn has_unwritten_block(bytes: &[u8], offset: u64) -> bool {
    // At most `BLOCK`.
    let first = (BLOCK - offset % BLOCK) as usize;
    let (first, rest) = bytes.split_at(first.min(bytes.len()));
    let blocks = std::iter::once(first).chain(rest.chunks(BLOCK as usize));
    blocks.filter(|block| block.len() > 3).any(|block| block.iter().all(|byte| *byte == 0))
}

/// The file, being appended to.
pub(super) struct ChainFile {
    file: FrameFile,
    durable: SharedDurable,
}

impl ChainFile {
    /// Reads the whole chain, and cuts off what no signed head covers.
    pub(super) fn open(
        files: &Arc<dyn Files>,
        path: PathBuf,
        origin: &ReceiptOrigin,
    ) -> Result<Self, OpenError> {
        let start = ReceiptChain::start(origin);
        let marks = vec![Mark { offset: 0, chain: start }];
        let mut durable = Durable { length: 0, chain: start, marks };
        let mut length = 0;
        if let Some(mut reader) = FrameReader::open(&**files, &path, 0, None)? {
            length = reader.end();
            let mut chain = start;
            while let Some(payload) = reader.next()? {
                match ChainFrame::parse(payload) {
                    Ok(ChainFrame::Entry(entry)) if chain.extend(&entry).is_ok() => {}
                    Ok(ChainFrame::Head { hash, .. }) if hash == chain.hash() => {
                        durable.advance(reader.offset(), chain);
                    }
                    _ => break,
                }
            }
        }
        let torn = length - durable.length;
        if torn > 0 && !is_torn(&**files, &path, durable.length, torn)? {
            return Err(OpenError::Damaged { path, offset: durable.length });
        }
        let mut file = FrameFile::new(files, path, durable.length);
        if torn > 0 {
            tracing::warn!(
                bytes = torn,
                "receipts: an unfinished group was never answered; cut off"
            );
            file.cut()?;
        }
        Ok(Self { file, durable: SharedDurable(Arc::new(Mutex::new(durable))) })
    }

    pub(super) fn durable(&self) -> &SharedDurable {
        &self.durable
    }

    /// The chain up to the last group.
    pub(super) fn chain(&self) -> ReceiptChain {
        self.durable.lock().chain
    }

    /// Writes one group and its head; not settled yet.
    pub(super) fn write(
        &mut self,
        entries: &[ReceiptEntry],
        hash: Hash,
        head: &Note,
    ) -> Result<(), FileError> {
        let mut buffer = Vec::with_capacity(64 * entries.len() + 512);
        for entry in entries {
            ChainFrame::push_entry(&mut buffer, entry);
        }
        ChainFrame::push_head(&mut buffer, hash, head);
        self.file.write(&buffer)
    }

    pub(super) fn settle(&mut self, chain: ReceiptChain) {
        self.file.settle();
        self.durable.lock().advance(self.file.settled(), chain);
    }

    pub(super) fn take_back(&mut self) {
        self.file.take_back();
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
}

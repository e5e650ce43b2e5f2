//! Receipts as one text file that proves itself: `lanyard receipt v1` texts of [`lanyard_core::receipt`], one after the
//! other, each beginning with that line.

use std::fmt::Write as _;

use lanyard_core::codec::CodecError;
use lanyard_core::note::{Note, NoteError};
use lanyard_core::receipt::{Receipt, ReceiptChain, ReceiptEntry, ReceiptError};
use lanyard_env::FileError;
use thiserror::Error;

use super::bodies::BodyReader;
use super::chain::{ChainFrame, Durable, Mark};
use super::frames::FrameReader;
use super::store::ReadPaths;

/// Why receipts cannot be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A frame of the chain does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An entry does not follow the one before.
    #[error(transparent)]
    Chain(#[from] ReceiptError),
    /// A head is no note.
    #[error(transparent)]
    Head(#[from] NoteError),
}

/// Receipts being read, a group at a time. Blocks on the disk.
pub struct Export {
    paths: ReadPaths,
    mark: Mark,
    /// Bytes of the chain that hold whole groups.
    length: u64,
    /// The first and the last receipt wanted.
    from: u64,
    to: u64,
    open: Option<(FrameReader, BodyReader)>,
}

impl Export {
    pub(super) fn new(paths: ReadPaths, durable: &Durable, from: u64, limit: u64) -> Self {
        let from = from.max(1);
        let last = durable.chain.sequence();
        let to = if limit == 0 { last } else { last.min(from.saturating_add(limit - 1)) };
        let mark = durable.mark_before(from);
        Self { paths, mark, length: durable.length, from, to, open: None }
    }

    /// The receipts wanted of the next group that has any, as text; `None` after the last.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn next_group(&mut self) -> Result<Option<String>, ExportError> {
        let ReadPaths { files, chain, bodies, sessions } = &self.paths;
        if self.open.is_none() {
            let (offset, end) = (self.mark.offset, Some(self.length));
            let Some(reader) = FrameReader::open(&**files, chain, offset, end)? else {
                return Ok(None);
            };
            let bodies = BodyReader::open(files, bodies.clone(), sessions.clone())?;
            self.open = Some((reader, bodies));
        }
        let Some((reader, bodies)) = &mut self.open else { return Ok(None) };
        while self.mark.chain.sequence() < self.to {
            let before = self.mark.chain;
            let mut entries = Vec::new();
            let head = loop {
                let Some(payload) = reader.next()? else { return Ok(None) };
                match ChainFrame::parse(payload)? {
                    ChainFrame::Entry(entry) => {
                        self.mark.chain.extend(&entry)?;
                        entries.push(entry);
                    }
                    ChainFrame::Head { note, .. } => break Note::parse(&note)?,
                }
            };
            if self.mark.chain.sequence() >= self.from {
                let wanted = self.from..=self.to;
                return group(before, &entries, &head, &wanted, bodies).map(Some);
            }
        }
        Ok(None)
    }
}

/// The receipts of a group that are wanted.
fn group(
    before: ReceiptChain,
    entries: &[ReceiptEntry],
    head: &Note,
    wanted: &std::ops::RangeInclusive<u64>,
    bodies: &mut BodyReader,
) -> Result<String, ExportError> {
    let mut text = String::new();
    let mut chain = before;
    for (index, entry) in entries.iter().enumerate() {
        let before = chain.hash();
        chain.extend(entry)?;
        if !wanted.contains(&entry.sequence) {
            continue;
        }
        let (sealed, session) = bodies.find(entry.sequence)?.unzip();
        let receipt = Receipt {
            before,
            entry: *entry,
            after: entries[index + 1..].to_vec(),
            head: head.clone(),
            session,
            sealed,
            opened: None,
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{receipt}");
    }
    Ok(text)
}

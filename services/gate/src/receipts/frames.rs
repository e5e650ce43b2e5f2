//! Files of frames, appended to: length (4), checksum (4), payload.
//!
//! The checksum tells a frame that was written whole from what a crash left; it is no defence against people.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_env::{AppendFile, FileError, Files, ReadAt};

/// Bytes of length and checksum.
pub(super) const HEADER: usize = 8;
/// The largest payload in bytes.
pub(super) const MAX_PAYLOAD: usize = 64 * 1024;
/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// Appends a frame.
pub(super) fn push(buffer: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!((1..=MAX_PAYLOAD).contains(&payload.len()));
    buffer.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    buffer.extend_from_slice(&checksum(payload));
    buffer.extend_from_slice(payload);
}

fn checksum(payload: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(payload).as_bytes();
    [a, b, c, d]
}

/// Where in `bytes` whole frames begin whose payload begins with `kind`, wherever they stand.
pub(super) fn places(bytes: &[u8], kind: u8) -> Vec<usize> {
    let is_whole = |frame: &[u8]| {
        let Some((header, rest)) = frame.split_first_chunk::<HEADER>() else { return false };
        let payload = rest.get(..length(header)).filter(|payload| payload.first() == Some(&kind));
        payload.is_some_and(|payload| checksum(payload) == header[4..])
    };
    (0..bytes.len()).filter(|start| is_whole(&bytes[*start..])).collect()
}

fn length(header: &[u8; HEADER]) -> usize {
    header[..4].iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
}

/// Whether `bytes`, which are no whole frame, have the length of one: they were all written, and changed since. Either its own
/// length says so, or, if that is what changed, its checksum.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else { return false };
    let length = length(header);
    (length > 0 && payload.len() >= length) || checksum(payload) == header[4..]
}

/// Reads frames in order, up to the first that is not whole.
pub(super) struct FrameReader {
    file: Box<dyn ReadAt>,
    end: u64,
    /// Where in the file `buffer` ends.
    read: u64,
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    next: usize,
}

impl FrameReader {
    /// Reads from `offset` up to `end`, or the file's; `None` if there is no such file.
    pub(super) fn open(
        files: &dyn Files,
        path: &Path,
        offset: u64,
        end: Option<u64>,
    ) -> Result<Option<Self>, FileError> {
        let file = match files.open(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            file => file?,
        };
        let length = file.len()?;
        let end = end.map_or(length, |end| end.min(length));
        Ok(Some(Self { file, end, read: offset, buffer: Vec::new(), next: 0 }))
    }

    /// Where the next frame begins in the file.
    pub(super) fn offset(&self) -> u64 {
        self.read - (self.buffer.len() - self.next) as u64
    }

    /// Where the file ended when it was opened, or where reading was told to end.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The next payload; `None` at the end, or where no whole frame follows.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, FileError> {
        let Some(payload) = self.whole_after(0)? else { return Ok(None) };
        self.next = payload.end;
        Ok(Some(&self.buffer[payload]))
    }

    /// The next payload, also behind a frame that is damaged. `None`, going no further, if there is none within the length
    /// that a frame may have.
    pub(super) fn next_past_damage(&mut self) -> Result<Option<&[u8]>, FileError> {
        for skipped in 0..=HEADER + MAX_PAYLOAD {
            if !self.fill(skipped + HEADER)? {
                break;
            }
            if let Some(payload) = self.whole_after(skipped)? {
                self.next = payload.end;
                return Ok(Some(&self.buffer[payload]));
            }
        }
        Ok(None)
    }

    /// Where in `buffer` the payload stands of the whole frame that begins after so many bytes more.
    fn whole_after(&mut self, skipped: usize) -> Result<Option<Range<usize>>, FileError> {
        if !self.fill(skipped + HEADER)? {
            return Ok(None);
        }
        let header = self.buffer[self.next + skipped..].first_chunk().copied();
        let Some(header) = header else { return Ok(None) };
        let length = length(&header);
        if !(1..=MAX_PAYLOAD).contains(&length) || !self.fill(skipped + HEADER + length)? {
            return Ok(None);
        }
        let start = self.next + skipped + HEADER;
        let payload = start..start + length;
        Ok((checksum(&self.buffer[payload.clone()]) == header[4..]).then_some(payload))
    }

    /// Makes `wanted` bytes from the next frame on available; false if the file has fewer.
    fn fill(&mut self, wanted: usize) -> Result<bool, FileError> {
        let have = self.buffer.len() - self.next;
        if have >= wanted {
            return Ok(true);
        }
        let left = self.end.saturating_sub(self.read);
        if left < (wanted - have) as u64 {
            return Ok(false);
        }
        self.buffer.drain(..self.next);
        self.next = 0;
        // At most a chunk and a frame.
        let more = left.min(CHUNK.max(wanted - have) as u64) as usize;
        self.buffer.resize(have + more, 0);
        self.file.read_exact_at(&mut self.buffer[have..], self.read)?;
        self.read += more as u64;
        Ok(true)
    }
}

/// A file of frames being appended to; what is not settled can be taken back.
pub(super) struct FrameFile {
    files: Arc<dyn Files>,
    path: PathBuf,
    file: Option<Box<dyn AppendFile>>,
    /// Bytes that are durable and stay.
    settled: u64,
}

impl FrameFile {
    /// The file at `path`, of which the first `settled` bytes stay; the rest is cut off before the first write.
    pub(super) fn new(files: &Arc<dyn Files>, path: PathBuf, settled: u64) -> Self {
        Self { files: Arc::clone(files), path, file: None, settled }
    }

    /// Appends and makes durable; not settled yet.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = self.files.append(&self.path)?;
                file.truncate(self.settled)?;
                self.file.insert(file)
            }
        };
        file.write_all(bytes)?;
        file.sync()
    }

    /// What was written stays.
    pub(super) fn settle(&mut self) {
        if let Some(file) = &self.file {
            self.settled = file.len();
        }
    }

    /// What was written is cut off before the next write.
    pub(super) fn take_back(&mut self) {
        self.file = None;
    }

    /// Cuts off what is not settled now.
    pub(super) fn cut(&mut self) -> Result<(), FileError> {
        if self.files.exists(&self.path)? {
            self.files.append(&self.path)?.truncate(self.settled)?;
        }
        Ok(())
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

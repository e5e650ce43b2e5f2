//! A folder of frame files, each begun after a while or a number of bytes, so that old ones can be removed whole.
//!
//! A file's name is `FIRST-STARTED`: the first receipt in it, and when it was begun in milliseconds.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::ids::Timestamp;
use lanyard_env::{FileError, Files};

use super::frames::{FrameFile, FrameReader, HEADER};

/// When a new file is begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    /// After this many milliseconds.
    pub(super) millis: u64,
    /// Or past this many bytes.
    pub(super) bytes: u64,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) started: Timestamp,
}

impl Segment {
    fn parse(name: &str) -> Option<Self> {
        let (first, started) = name.split_once('-')?;
        let started = Timestamp::from_millis(started.parse().ok()?);
        let first = first.parse().ok().filter(|first| *first > 0)?;
        Some(Self { first, started })
    }

    pub(super) fn name(self) -> String {
        format!("{:020}-{:013}", self.first, self.started.millis())
    }

    /// The last receipt that it holds, of `last` in all: those from `next` on stand there, whatever a group that failed left here.
    fn through(self, next: Option<&Self>, last: u64) -> u64 {
        next.map_or(last, |next| last.min(next.first - 1))
    }
}

/// What a file holds of what was answered.
struct Answered {
    /// Where it ends.
    end: u64,
    /// Where it is damaged first.
    damaged: Option<u64>,
}

impl Answered {
    /// Reads a file up to receipt `through`; `each` sees every payload.
    fn read(
        files: &dyn Files,
        path: &Path,
        segment: Segment,
        through: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Self, FileError> {
        let mut answered = Self { end: 0, damaged: None };
        let Some(mut reader) = FrameReader::open(files, path, 0, None)? else {
            return Ok(answered);
        };
        let mut seen = segment.first - 1;
        let mut kept = reader.end();
        while let Some(payload) = reader.next_past_damage()? {
            let (size, sequence) = (HEADER + payload.len(), sequence_of(payload));
            let is_answered = sequence.filter(|sequence| *sequence <= through);
            if is_answered.is_some() {
                each(payload);
            }
            let begun = reader.offset() - size as u64;
            let Some(sequence) = is_answered else {
                kept = begun;
                break;
            };
            if begun > answered.end {
                answered.damaged.get_or_insert(answered.end);
            }
            (seen, answered.end) = (sequence, reader.offset());
        }
        // Of each receipt there is a frame.
        if seen < through {
            answered.damaged.get_or_insert(answered.end);
            answered.end = kept;
        }
        Ok(answered)
    }
}

/// Where in a folder of receipts up to `last` the first damage is, if any: the file and the byte.
pub(super) fn first_damage(
    files: &dyn Files,
    dir: &Path,
    last: u64,
) -> Result<Option<(PathBuf, u64)>, FileError> {
    let segments = list(files, dir)?;
    for (place, segment) in segments.iter().enumerate() {
        let path = dir.join(segment.name());
        let through = segment.through(segments.get(place + 1), last);
        if let Some(offset) = Answered::read(files, &path, *segment, through, |_| {})?.damaged {
            return Ok(Some((path, offset)));
        }
    }
    Ok(None)
}

/// The files of a folder, in order.
pub(super) fn list(files: &dyn Files, dir: &Path) -> Result<VecDeque<Segment>, FileError> {
    let mut segments: Vec<_> =
        files.list(dir)?.iter().filter_map(|name| Segment::parse(name)).collect();
    segments.sort_unstable();
    Ok(segments.into())
}

/// The sequence number that each payload begins with.
pub(super) fn sequence_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// A folder of frame files, the newest being appended to.
pub(super) struct Segments {
    files: Arc<dyn Files>,
    dir: PathBuf,
    rotation: Rotation,
    segments: VecDeque<Segment>,
    newest: Option<FrameFile>,
}

impl Segments {
    /// Opens the folder; `each` sees every payload up to receipt `last`, oldest first. What follows was never answered,
    /// and is cut off. What is damaged before is passed over, and stays as it is.
    pub(super) fn open(
        files: &Arc<dyn Files>,
        dir: PathBuf,
        rotation: Rotation,
        last: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Self, FileError> {
        files.create_dir_all(&dir)?;
        let segments = list(&**files, &dir)?;
        let mut newest = None;
        for (place, segment) in segments.iter().enumerate() {
            let path = dir.join(segment.name());
            let through = segment.through(segments.get(place + 1), last);
            let answered = Answered::read(&**files, &path, *segment, through, &mut each)?;
            if let Some(offset) = answered.damaged {
                let path = path.display();
                tracing::error!(%path, offset, "receipts: damaged, and passed over; restore this file from a backup");
            }
            newest = Some(FrameFile::new(files, path, answered.end));
        }
        // Only the newest was being written.
        if let Some(newest) = &mut newest {
            newest.cut()?;
        }
        Ok(Self { files: Arc::clone(files), dir, rotation, segments, newest })
    }

    /// Writes frames that begin with receipt `first`; not settled yet.
    pub(super) fn write(
        &mut self,
        first: u64,
        now: Timestamp,
        frames: &[u8],
    ) -> Result<(), FileError> {
        let is_full = |file: &FrameFile, segment: &Segment| {
            file.settled() >= self.rotation.bytes
                || now.millis_since(segment.started) >= self.rotation.millis
        };
        let newest = match (&mut self.newest, self.segments.back()) {
            (Some(file), Some(segment)) if !is_full(file, segment) => file,
            (newest, _) => {
                let segment = Segment { first, started: now };
                let path = self.dir.join(segment.name());
                self.segments.push_back(segment);
                newest.insert(FrameFile::new(&self.files, path, 0))
            }
        };
        newest.write(frames)
    }

    pub(super) fn settle(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.settle();
        }
    }

    pub(super) fn take_back(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.take_back();
        }
    }

    /// Removes the oldest files as long as `is_past` says so of a file, given the one after it.
    pub(super) fn remove_while(
        &mut self,
        is_past: impl Fn(&Segment, Option<&Segment>) -> bool,
    ) -> Result<(), FileError> {
        while let Some(oldest) = self.segments.front()
            && is_past(oldest, self.segments.get(1))
        {
            if self.segments.len() == 1 {
                self.newest = None;
            }
            self.files.remove(&self.dir.join(oldest.name()))?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

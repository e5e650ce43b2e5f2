//! A folder of frame files, each begun after a while or a number of bytes, so that old ones can be removed whole.
//!
//! A file's name is `FIRST-STARTED`: the first receipt in it, and when it was begun in milliseconds.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::ids::Timestamp;
use lanyard_env::{FileError, Files};

use super::frames::{FrameFile, FrameReader};

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
        Some(Self { first: first.parse().ok()?, started })
    }

    pub(super) fn name(self) -> String {
        format!("{:020}-{:013}", self.first, self.started.millis())
    }
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
    /// and is cut off.
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
        for segment in &segments {
            let path = dir.join(segment.name());
            let mut settled = 0;
            if let Some(mut reader) = FrameReader::open(&**files, &path, 0, None)? {
                while let Some(payload) = reader.next()? {
                    if sequence_of(payload).is_none_or(|sequence| sequence > last) {
                        break;
                    }
                    each(payload);
                    settled = reader.offset();
                }
            }
            newest = Some(FrameFile::new(files, path, settled));
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

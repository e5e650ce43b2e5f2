//! The files of a stream: `FIRST.jsonl`, each begun when the one before is large or a day old.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::ids::Timestamp;
use lanyard_env::{AppendFile, FileError, Files};
use serde::Deserialize;

use super::event::Last;

const MAX_BYTES: u64 = 16 << 20;
const DAY: u64 = 24 * 60 * 60 * 1_000;

pub(super) struct StreamFiles {
    files: Arc<dyn Files>,
    dir: PathBuf,
    keep_millis: u64,
    open: Option<OpenFile>,
}

struct OpenFile {
    file: Box<dyn AppendFile>,
    /// When its first event since this process opened it was written.
    since: Timestamp,
}

/// The fields of a line by which a stream goes on.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    event: SeenEvent,
    lanyard: SeenLanyard,
}

#[derive(Deserialize)]
struct SeenEvent {
    sequence: u64,
}

#[derive(Deserialize)]
struct SeenLanyard {
    trail: u64,
}

impl StreamFiles {
    /// Opens the files, and says where the stream stands. A line that a crash cut off is taken away.
    pub(super) fn open(
        files: Arc<dyn Files>,
        dir: PathBuf,
        keep_days: u32,
    ) -> Result<(Self, Last), FileError> {
        files.create_dir_all(&dir)?;
        let keep_millis = u64::from(keep_days).max(1) * DAY;
        let stream = Self { files, dir, keep_millis, open: None };
        for (_, path) in stream.list()?.into_iter().rev() {
            if let Some(last) = stream.end_of(&path)? {
                let Seen { event, lanyard, .. } = last;
                return Ok((stream, Last { sequence: event.sequence, trail: lanyard.trail }));
            }
        }
        Ok((stream, Last::default()))
    }

    /// Appends lines, the first of which has this number; durable on return.
    pub(super) fn write(
        &mut self,
        first: u64,
        now: Timestamp,
        lines: &[u8],
    ) -> Result<(), FileError> {
        let is_done =
            |open: &OpenFile| open.file.len() >= MAX_BYTES || now.millis_since(open.since) >= DAY;
        if self.open.as_ref().is_some_and(is_done) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.remove_old(now)?;
                let file = self.files.append(&self.path(first))?;
                self.open.insert(OpenFile { file, since: now })
            }
        };
        let before = open.file.len();
        let written = open.file.write_all(lines).and_then(|()| open.file.sync());
        if written.is_err() {
            // The next try begins at a line again; if that fails too, in a file of its own.
            if open.file.truncate(before).is_err() {
                self.open = None;
            }
        }
        written
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:020}.jsonl"))
    }

    /// The files by the number of their first event.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>, FileError> {
        let mut found: Vec<_> = self
            .files
            .list(&self.dir)?
            .into_iter()
            .filter_map(|name| {
                let first = name.strip_suffix(".jsonl")?.parse().ok()?;
                Some((first, self.dir.join(name)))
            })
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The last line of a file, after taking away what a crash left of one.
    fn end_of(&self, path: &Path) -> Result<Option<Seen>, FileError> {
        let bytes = self.files.read(path)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            self.files.append(path)?.truncate(whole as u64)?;
        }
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        Ok(lines.rev().find_map(|line| serde_json::from_slice(line).ok()))
    }

    /// Removes files whose last event is older than is kept; the newest always stays, as it says where the stream stands.
    fn remove_old(&self, now: Timestamp) -> Result<(), FileError> {
        let files = self.list()?;
        let older = files.len().saturating_sub(1);
        for (_, path) in files.into_iter().take(older) {
            let Some(last) = self.end_of(&path)? else { continue };
            let written = last.timestamp.parse::<jiff::Timestamp>();
            let millis =
                written.map_or(0, |time| u64::try_from(time.as_millisecond()).unwrap_or(0));
            if now.millis_since(Timestamp::from_millis(millis)) <= self.keep_millis {
                return Ok(());
            }
            self.files.remove(&path)?;
        }
        Ok(())
    }
}

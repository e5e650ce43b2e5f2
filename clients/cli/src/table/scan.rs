//! A CSV file read row by row: what is in memory is a row and a block of the file.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lanyard_env::{Files, ReadAt};

use super::RowProblem;
use super::error::TableError;
use super::sheet::{Head, MAX_FIELD_BYTES, MAX_FILE_BYTES, Row};

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Ctrl-Z: ended files on old systems, and still ends some.
const END_MARK: u8 = 0x1a;
/// What separates columns in the wild.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];
/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// One line of a table.
pub(super) enum Line {
    /// As many columns as the first.
    Row(Row),
    /// More or fewer.
    Ragged(RowProblem),
}

/// Reads rows, the header apart.
pub(super) struct Scanner<R> {
    head: Head,
    reader: csv::Reader<Checked<R>>,
    record: csv::StringRecord,
    /// The first row of a file without a header.
    first: Option<Row>,
}

impl Scanner<FileBytes> {
    /// Opens a file in UTF-8.
    pub(super) fn open(
        files: &dyn Files,
        path: &Path,
        delimiter: char,
        has_header: bool,
    ) -> Result<Self, TableError> {
        let file = files.open(path)?;
        let length = file.len()?;
        if length > MAX_FILE_BYTES as u64 {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            return Err(TableError::TooLong { path: path.to_owned(), length });
        }
        Self::new(path, FileBytes { file, at: 0, length }, delimiter, has_header)
    }
}

impl<R: Read> Scanner<R> {
    /// Reads the header, if there is one. `path` stands in errors only.
    pub(super) fn new(
        path: &Path,
        bytes: R,
        delimiter: char,
        has_header: bool,
    ) -> Result<Self, TableError> {
        let reader = csv::ReaderBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(Checked::new(path, bytes));
        let head = Head { path: path.to_owned(), header: None, width: 0 };
        let record = csv::StringRecord::new();
        let mut scanner = Self { head, reader, record, first: None };
        let first = scanner.row()?.ok_or_else(|| TableError::Empty { path: path.to_owned() })?;
        if let [only] = first.fields.as_slice() {
            check_delimiter(path, only, delimiter)?;
        }
        scanner.head.width = first.fields.len();
        if has_header {
            let names = first.fields;
            let twice = names
                .iter()
                .enumerate()
                .find(|(place, name)| !name.is_empty() && names[..*place].contains(*name));
            if let Some((_, name)) = twice {
                let (path, name) = (path.to_owned(), name.clone());
                return Err(TableError::HeaderTwice { path, name });
            }
            scanner.head.header = Some(names);
        } else {
            scanner.first = Some(first);
        }
        Ok(scanner)
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn into_head(self) -> Head {
        self.head
    }

    /// The next line; `None` at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, TableError> {
        let row = match self.first.take() {
            Some(first) => Some(first),
            None => self.row()?,
        };
        let Some(row) = row else { return Ok(None) };
        let (found, expected) = (row.fields.len(), self.head.width);
        if found == expected {
            return Ok(Some(Line::Row(row)));
        }
        let problem = format!(
            "{found} columns, {expected} expected; is a delimiter or a quotation mark missing or too many?"
        );
        Ok(Some(Line::Ragged(RowProblem { line: row.line, column: String::new(), problem })))
    }

    fn row(&mut self) -> Result<Option<Row>, TableError> {
        let path = &self.head.path;
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => return Err(unwrapped(path, source)),
        }
        let byte = self.record.position().map_or(0, csv::Position::byte);
        let line = self.reader.get_mut().line_of(byte);
        if self.record.iter().any(|field| field.len() > MAX_FIELD_BYTES) {
            return Err(TableError::LongField { path: path.clone(), line });
        }
        Ok(Some(Row { line, fields: self.record.iter().map(str::to_owned).collect() }))
    }
}

/// What [`Checked`] found comes back through the CSV reader.
fn unwrapped(path: &Path, source: csv::Error) -> TableError {
    let path = path.to_owned();
    match source.into_kind() {
        csv::ErrorKind::Io(error) => match error.downcast::<TableError>() {
            Ok(error) => error,
            Err(error) => TableError::Csv { path, source: error.into() },
        },
        // The text is UTF-8 and rows may have any width: nothing else is left to refuse.
        kind => TableError::Csv { path, source: io::Error::other(format!("{kind:?}")).into() },
    }
}

/// A file's bytes from its beginning.
pub(super) struct FileBytes {
    file: Box<dyn ReadAt>,
    at: u64,
    length: u64,
}

impl Read for FileBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let read = self.file.read_exact_at(&mut buffer[..count], self.at);
        read.map_err(|error| io::Error::other(TableError::File(error)))?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Text in UTF-8 without a byte order mark, up to its end mark; counts lines. The CSV reader's own count is one short
/// after CRLF, and stops before blank lines.
struct Checked<R> {
    path: PathBuf,
    inner: R,
    /// Checked, and handed out up to `given`.
    block: Vec<u8>,
    given: usize,
    /// The beginning of a character whose end is in the next block.
    partial: Vec<u8>,
    started: bool,
    /// The line of the end mark.
    ended: Option<usize>,
    finished: bool,
    /// Bytes checked so far, and the line that they end in.
    checked: u64,
    lines: usize,
    /// Ends of lines that no row has passed yet: where each begins and ends.
    ends: VecDeque<(u64, u64)>,
    /// The last byte was a carriage return, here.
    carriage_return: Option<u64>,
    line: u64,
}

impl<R: Read> Checked<R> {
    fn new(path: &Path, inner: R) -> Self {
        Self {
            path: path.to_owned(),
            inner,
            block: Vec::new(),
            given: 0,
            partial: Vec::new(),
            started: false,
            ended: None,
            finished: false,
            checked: 0,
            lines: 1,
            ends: VecDeque::new(),
            carriage_return: None,
            line: 1,
        }
    }

    /// The line of the row that the reader found from `byte` on.
    fn line_of(&mut self, byte: u64) -> u64 {
        let mut from = byte;
        while let Some((begin, end)) = self.ends.front().copied() {
            // The row begins behind the ends of the lines before it.
            if begin > from {
                break;
            }
            from = from.max(end + 1);
            self.line += 1;
            self.ends.pop_front();
        }
        self.line
    }

    /// Reads and checks the next block.
    fn fill(&mut self) -> Result<(), TableError> {
        let mut block = std::mem::take(&mut self.partial);
        let begin = block.len();
        block.resize(begin + BLOCK, 0);
        let mut count = begin;
        // A first block that is not full is the whole file: marks at its beginning are seen whole.
        while count < block.len() {
            let failed = |source: io::Error| match source.downcast::<TableError>() {
                Ok(error) => error,
                Err(error) => TableError::Csv { path: self.path.clone(), source: error.into() },
            };
            match self.inner.read(&mut block[count..]).map_err(failed)? {
                0 => break,
                more => count += more,
            }
        }
        self.finished = count < block.len();
        block.truncate(count);
        if !std::mem::replace(&mut self.started, true) {
            if block.starts_with(b"\xff\xfe") || block.starts_with(b"\xfe\xff") {
                return Err(TableError::Utf16 { path: self.path.clone() });
            }
            if block.starts_with(BOM) {
                block.drain(..BOM.len());
            }
        }
        self.check(block)
    }

    fn check(&mut self, mut block: Vec<u8>) -> Result<(), TableError> {
        let path = || self.path.clone();
        let line =
            |at: usize| self.lines + block[..at].iter().filter(|byte| **byte == b'\n').count();
        if let Some(at) = block.iter().position(|byte| *byte == 0) {
            return Err(TableError::NotText { path: path(), line: line(at) });
        }
        let mark = block.iter().position(|byte| *byte == END_MARK);
        let (text, ended) = match (self.ended, mark) {
            (Some(line), _) => (0, Some(line)),
            (None, Some(at)) => (at, Some(line(at))),
            (None, None) => (block.len(), None),
        };
        let ends = block[text..].iter().all(|byte| *byte == END_MARK || byte.is_ascii_whitespace());
        if let (Some(line), false) = (ended, ends) {
            return Err(TableError::EndInside { path: path(), line });
        }
        let whole = match std::str::from_utf8(&block[..text]) {
            Ok(_) => text,
            // Cut by the block's end, unless the text ends here.
            Err(error) if error.error_len().is_none() && ended.is_none() && !self.finished => {
                error.valid_up_to()
            }
            Err(error) => {
                let line = line(error.valid_up_to());
                return Err(TableError::NotUtf8 { path: path(), line });
            }
        };
        self.partial = block[whole..text].to_vec();
        block.truncate(whole);
        self.ended = ended;
        self.count_lines(&block);
        (self.block, self.given) = (block, 0);
        Ok(())
    }

    fn count_lines(&mut self, block: &[u8]) {
        for (at, byte) in (self.checked..).zip(block) {
            let before = self.carriage_return.take();
            match byte {
                b'\n' => {
                    self.lines += 1;
                    self.ends.push_back((before.unwrap_or(at), at));
                    continue;
                }
                b'\r' => self.carriage_return = Some(at),
                _ => {}
            }
            self.ends.extend(before.map(|before| (before, before)));
        }
        self.checked += block.len() as u64;
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.block.len() && !self.finished {
            self.fill().map_err(io::Error::other)?;
        }
        let left = &self.block[self.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

/// A first line of one column that holds another delimiter was meant to have more.
fn check_delimiter(path: &Path, line: &str, delimiter: char) -> Result<(), TableError> {
    let count = |candidate: &char| line.matches(*candidate).count();
    let likely = DELIMITERS.into_iter().filter(|one| *one != delimiter).max_by_key(count);
    match likely.filter(|candidate| count(candidate) > 0) {
        Some(looks_like) => Err(TableError::Delimiter { path: path.to_owned(), looks_like }),
        None => Ok(()),
    }
}

//! A CSV file, read whole: rows with their lines.

use std::path::{Path, PathBuf};

use lanyard_env::Files;

use super::RowProblem;
use super::error::TableError;

/// The most bytes of a file: 1 GiB.
pub(super) const MAX_FILE_BYTES: usize = 1 << 30;
/// The most bytes of a field: no value is longer, but the rest of a file after an open quotation mark is.
pub(super) const MAX_FIELD_BYTES: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Ctrl-Z: ended files on old systems, and still ends some.
const END_MARK: u8 = 0x1a;
/// What separates columns in the wild.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line where it begins, from 1.
    pub line: u64,
    /// Its fields, without the blanks around them.
    pub fields: Vec<String>,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Sheet {
    path: PathBuf,
    header: Option<Vec<String>>,
    width: usize,
    rows: Vec<Row>,
    ragged: Vec<RowProblem>,
}

impl Sheet {
    /// Reads a file in UTF-8; a byte order mark and a Ctrl-Z at the end are tolerated.
    ///
    /// # Errors
    /// [`TableError`], naming the file and the line.
    pub fn read(
        files: &dyn Files,
        path: &Path,
        delimiter: char,
        has_header: bool,
    ) -> Result<Self, TableError> {
        let bytes = files.read(path)?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(TableError::TooLong { path: path.to_owned(), length: bytes.len() });
        }
        Self::parse(path, &bytes, delimiter, has_header)
    }

    /// Parses the bytes of a file; `path` stands in errors only.
    ///
    /// # Errors
    /// As [`Sheet::read`].
    pub fn parse(
        path: &Path,
        bytes: &[u8],
        delimiter: char,
        has_header: bool,
    ) -> Result<Self, TableError> {
        let text = text(path, bytes)?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut sheet = Self {
            path: path.to_owned(),
            header: None,
            width: 0,
            rows: Vec::new(),
            ragged: Vec::new(),
        };
        let mut lines = Lines { bytes: text.as_bytes(), at: 0, line: 1 };
        for record in reader.records() {
            let record =
                record.map_err(|source| TableError::Csv { path: path.to_owned(), source })?;
            let line = lines.of(record.position().map_or(0, csv::Position::byte));
            if record.iter().any(|field| field.len() > MAX_FIELD_BYTES) {
                return Err(TableError::LongField { path: path.to_owned(), line });
            }
            sheet.push(line, record.iter().map(str::to_owned).collect(), delimiter, has_header)?;
        }
        if sheet.width == 0 || (sheet.rows.is_empty() && sheet.ragged.is_empty()) {
            return Err(TableError::Empty { path: path.to_owned() });
        }
        Ok(sheet)
    }

    fn push(
        &mut self,
        line: u64,
        fields: Vec<String>,
        delimiter: char,
        has_header: bool,
    ) -> Result<(), TableError> {
        if self.width == 0 {
            if let [only] = fields.as_slice() {
                check_delimiter(&self.path, only, delimiter)?;
            }
            self.width = fields.len();
            if has_header {
                let twice = fields
                    .iter()
                    .enumerate()
                    .find(|(place, name)| !name.is_empty() && fields[..*place].contains(*name));
                if let Some((_, name)) = twice {
                    let (path, name) = (self.path.clone(), name.clone());
                    return Err(TableError::HeaderTwice { path, name });
                }
                self.header = Some(fields);
                return Ok(());
            }
        }
        if fields.len() == self.width {
            self.rows.push(Row { line, fields });
        } else {
            let (found, expected) = (fields.len(), self.width);
            let problem = format!(
                "{found} columns, {expected} expected; is a delimiter or a quotation mark missing or too many?"
            );
            self.ragged.push(RowProblem { line, column: String::new(), problem });
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its columns, if it has a header.
    #[must_use]
    pub fn header(&self) -> Option<&[String]> {
        self.header.as_deref()
    }

    /// How many columns it has.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Its rows, the header apart.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Rows with more or fewer columns than the first.
    #[must_use]
    pub fn ragged(&self) -> &[RowProblem] {
        &self.ragged
    }
}

/// Counts lines. The reader's own count is one short after CRLF, and stops before blank lines.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that the reader found from `byte` on.
    fn of(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(next) = self.bytes.get(self.at) {
            let ends_line = match next {
                b'\n' => true,
                b'\r' => self.bytes.get(self.at + 1) != Some(&b'\n'),
                // The row begins behind the ends of the lines before it.
                _ if self.at >= byte => break,
                _ => false,
            };
            self.line += u64::from(ends_line);
            self.at += 1;
        }
        self.line
    }
}

/// The file's text, up to its end mark.
fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, TableError> {
    let path = || path.to_owned();
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(TableError::Utf16 { path: path() });
    }
    let mut bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(TableError::NotText { path: path(), line: line_of(bytes, at) });
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == END_MARK) {
        let ends = bytes[at..].iter().all(|byte| *byte == END_MARK || byte.is_ascii_whitespace());
        if !ends {
            return Err(TableError::EndInside { path: path(), line: line_of(bytes, at) });
        }
        bytes = &bytes[..at];
    }
    std::str::from_utf8(bytes).map_err(|error| TableError::NotUtf8 {
        path: path(),
        line: line_of(bytes, error.valid_up_to()),
    })
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Sheet, TableError> {
        Sheet::parse(Path::new("people.csv"), bytes, ',', true)
    }

    fn refused(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn quotes_lines_and_blanks() {
        let sheet =
            parse(b"\xef\xbb\xbfa,b\r\n1, two words \r\n\r\n\"x, \"\"y\"\"\nz\",4\n5,6\n").unwrap();
        assert_eq!(sheet.header(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
        assert_eq!(sheet.rows()[0], Row { line: 2, fields: vec!["1".into(), "two words".into()] });
        assert_eq!(
            sheet.rows()[1],
            Row { line: 4, fields: vec!["x, \"y\"\nz".into(), "4".into()] }
        );
        assert_eq!(sheet.rows()[2].line, 6);
        assert_eq!(sheet.rows().len(), 3);
    }

    #[test]
    fn a_ctrl_z_ends_the_file_and_nothing_else() {
        for end in ["\x1a", "\r\n\x1a", "\n\x1a\r\n", "\n\x1a\x1a\n"] {
            assert_eq!(parse(format!("a,b\n1,2{end}").as_bytes()).unwrap().rows().len(), 1);
        }
        assert!(refused(b"a,b\n1,2\n\x1a\n3,4\n").contains("people.csv:3: a Ctrl-Z"));
    }

    #[test]
    fn wrong_encodings_and_delimiters_are_named() {
        assert!(refused(b"a,b\n1,M\xfcller\n").contains("people.csv:2: not UTF-8"));
        assert!(refused(b"\xff\xfea\0,\0").contains("UTF-16"));
        assert!(refused(b"a,b\n1,\0\n").contains("people.csv:2: a zero byte"));
        assert!(refused(b"a;b;c\n1;2;3\n").contains("delimiter = \";\""));
        assert!(refused(b"a\tb\n1\t2\n").contains("delimiter = \"\\t\""));
        assert!(refused(b"").contains("no rows"));
        assert!(refused(b"a,b\n").contains("no rows"));
        assert!(refused(b"a,a\n1,2\n").contains("\"a\" twice"));
    }

    #[test]
    fn ragged_rows_are_bad_rows_with_their_line() {
        let sheet = parse(b"a,b\n1,2\n3\n4,5,6\n7,8\n").unwrap();
        assert_eq!(sheet.rows().len(), 2);
        let lines: Vec<u64> = sheet.ragged().iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3, 4]);
        assert!(sheet.ragged()[0].problem.starts_with("1 columns, 2 expected"));
    }

    #[test]
    fn an_open_quotation_mark_is_suspected() {
        let mut bytes = b"a,b\n1,\"2\n".to_vec();
        bytes.extend(b"3,4\n".repeat(20_000));
        assert!(refused(&bytes).contains("people.csv:2: a field of more than"));
    }

    #[test]
    fn a_file_of_one_column_is_fine() {
        assert_eq!(parse(b"reference\nA-1\nA-2\n").unwrap().rows().len(), 2);
    }
}

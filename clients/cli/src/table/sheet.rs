//! A CSV file in memory: rows with their lines.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use lanyard_env::Files;

use super::RowProblem;
use super::error::TableError;
use super::scan::{Line, Scanner};

/// The most bytes of a file: 1 GiB.
pub(super) const MAX_FILE_BYTES: usize = 1 << 30;
/// The most bytes of a field: no value is longer, but the rest of a file after an open quotation mark is.
pub(super) const MAX_FIELD_BYTES: usize = 64 * 1024;

/// One row.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The line where it begins, from 1.
    pub line: u64,
    /// Its fields, without the blanks around them.
    pub fields: Vec<String>,
}

impl fmt::Debug for Row {
    /// Without the fields: they are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row(line {}, {} fields)", self.line, self.fields.len())
    }
}

/// What a table says of itself.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) path: PathBuf,
    /// The names of its columns, if it has a header.
    pub(super) header: Option<Vec<String>>,
    pub(super) width: usize,
}

/// A table in memory.
#[derive(Debug, Clone)]
pub struct Sheet {
    head: Head,
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
        Self::collect(Scanner::open(files, path, delimiter, has_header)?)
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
        Self::collect(Scanner::new(path, bytes, delimiter, has_header)?)
    }

    fn collect<R: Read>(mut scanner: Scanner<R>) -> Result<Self, TableError> {
        let (mut rows, mut ragged) = (Vec::new(), Vec::new());
        while let Some(line) = scanner.next_line()? {
            match line {
                Line::Row(row) => rows.push(row),
                Line::Ragged(problem) => ragged.push(problem),
            }
        }
        let head = scanner.into_head();
        if rows.is_empty() && ragged.is_empty() {
            return Err(TableError::Empty { path: head.path });
        }
        Ok(Self { head, rows, ragged })
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.head.path
    }

    /// The names of its columns, if it has a header.
    #[must_use]
    pub fn header(&self) -> Option<&[String]> {
        self.head.header.as_deref()
    }

    /// How many columns it has.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.head.width
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
    fn a_file_of_many_blocks_reads_as_a_small_one() {
        // Line ends of all kinds and characters of two bytes fall on every place of a block.
        for shift in 0..8 {
            let mut bytes = b"a,b\r\n".to_vec();
            bytes.extend(std::iter::repeat_n(b' ', shift));
            for row in 0..30_000 {
                let end = ["\n", "\r\n", "\r", "\r\n\r\n"][row % 4];
                bytes.extend(format!("\u{e9}{row},\"x\ny\"{end}").as_bytes());
            }
            let sheet = parse(&bytes).unwrap();
            assert_eq!(sheet.rows().len(), 30_000);
            for (number, row) in sheet.rows().iter().enumerate() {
                // Each row has two lines, and each fourth end is followed by a blank line.
                assert_eq!(row.line, 2 + 2 * number as u64 + number as u64 / 4, "row {number}");
                assert_eq!(row.fields, [format!("\u{e9}{number}"), "x\ny".to_owned()]);
            }
        }
    }

    #[test]
    fn what_is_wrong_in_a_later_block_is_named_by_its_line() {
        let rows = b"1,2\n".repeat(100_000);
        let late = |tail: &[u8]| refused(&[b"a,b\n", rows.as_slice(), tail].concat());
        assert!(late(b"1,M\xfcller\n").contains("people.csv:100002: not UTF-8"));
        assert!(late(b"1,\xc3").contains("people.csv:100002: not UTF-8"));
        assert!(late(b"1,\0\n").contains("people.csv:100002: a zero byte"));
        assert!(late(b"\x1a\n3,4\n").contains("people.csv:100002: a Ctrl-Z"));
        let tail = [b"\x1a", b"\n".repeat(200_000).as_slice()].concat();
        assert_eq!(
            parse(&[b"a,b\n", rows.as_slice(), &tail].concat()).unwrap().rows().len(),
            100_000
        );
    }

    #[test]
    fn a_file_of_one_column_is_fine() {
        assert_eq!(parse(b"reference\nA-1\nA-2\n").unwrap().rows().len(), 2);
    }
}

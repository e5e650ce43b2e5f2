//! A file's rows one by one, as often as asked: a first time to learn what is in it, a second time to send it.

use std::path::Path;
use std::sync::Arc;

use lanyard_core::profile::EventTimeZone;
use lanyard_env::{Env, Files};
use lanyard_wire::committee::v1::Person;
use lanyard_wire::police::v1::ListEntry;

use super::Read;
use super::error::{MappingError, TableError};
use super::mapping::Mapping;
use super::people::PeoplePlan;
use super::scan::{FileBytes, Line, Scanner};
use super::sheet::Row;
use super::watchlist::ListPlan;

/// Bad rows that are kept to be shown; all are counted.
const MAX_PROBLEMS: usize = 1_000;

/// How rows become what they say.
pub(super) trait Plan {
    /// What a row says.
    type Item;

    /// Reads a row: into `rows`, or into what is wrong or left out.
    fn read(&self, row: &Row, read: &mut Read<Self::Item>);
}

type ReadRow<T> = dyn Fn(&Row, &mut Read<T>) + Send + Sync;

/// The good rows of a file, with their lines.
pub struct Stream<T> {
    plan: Arc<ReadRow<T>>,
    scanner: Scanner<FileBytes>,
    read: Read<T>,
    bad: u64,
}

impl Stream<Person> {
    /// Opens a roster, as [`super::people`] does.
    ///
    /// # Errors
    /// [`MappingError`] if mapping and file do not go together.
    pub fn people(
        env: &Env,
        path: &Path,
        mapping: Option<&Mapping>,
        zone: &EventTimeZone,
    ) -> Result<Self, MappingError> {
        let scanner = scanner(&*env.files, path, mapping)?;
        let plan = PeoplePlan::new(scanner.head(), mapping, zone, env.now())?;
        let plan = Arc::new(move |row: &Row, read: &mut Read<Person>| plan.read(row, read));
        Ok(Self { plan, scanner, read: Read::default(), bad: 0 })
    }
}

impl Stream<ListEntry> {
    /// Opens a watchlist, as [`super::watchlist`] does; only joined files are in memory.
    ///
    /// # Errors
    /// [`MappingError`] if mapping and files do not go together.
    pub fn watchlist(
        env: &Env,
        path: &Path,
        mapping: Option<&Mapping>,
        join_dir: Option<&Path>,
    ) -> Result<Self, MappingError> {
        let scanner = scanner(&*env.files, path, mapping)?;
        let mut read = Read::default();
        let plan = ListPlan::new(&*env.files, scanner.head(), mapping, join_dir, &mut read)?;
        let plan = Arc::new(move |row: &Row, read: &mut Read<ListEntry>| plan.read(row, read));
        Ok(Self { plan, scanner, read, bad: 0 })
    }
}

fn scanner(
    files: &dyn Files,
    path: &Path,
    mapping: Option<&Mapping>,
) -> Result<Scanner<FileBytes>, TableError> {
    let (delimiter, header) =
        mapping.map_or((',', true), |mapping| (mapping.delimiter, mapping.header));
    Scanner::open(files, path, delimiter, header)
}

impl<T> Stream<T> {
    /// The same file from its beginning.
    ///
    /// # Errors
    /// [`TableError`] if it has gone.
    pub fn again(
        &self,
        env: &Env,
        path: &Path,
        mapping: Option<&Mapping>,
    ) -> Result<Self, TableError> {
        let scanner = scanner(&*env.files, path, mapping)?;
        Ok(Self { plan: Arc::clone(&self.plan), scanner, read: Read::default(), bad: 0 })
    }

    /// What was wrong and left out so far; of bad rows the first thousand, and how many there were.
    #[must_use]
    pub fn finish(self) -> (Read<T>, u64) {
        (self.read, self.bad)
    }

    fn next_row(&mut self) -> Result<Option<(u64, T)>, TableError> {
        while let Some(line) = self.scanner.next_line()? {
            let known = self.read.problems.len();
            match line {
                Line::Row(row) => (self.plan)(&row, &mut self.read),
                Line::Ragged(problem) => self.read.problems.push(problem),
            }
            self.bad += (self.read.problems.len() - known) as u64;
            self.read.problems.truncate(MAX_PROBLEMS);
            if let Some(row) = self.read.rows.pop() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

impl<T> Iterator for Stream<T> {
    type Item = Result<(u64, T), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

//! Who is to be enrolled and whom to look for: invented, or from files that were given.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lanyard_core::identity::{BirthDate, transliterate};
use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;
use lanyard_env::{Env, Mode};
use lanyard_wire::committee::v1::{ImportMode, Person};
use lanyard_wire::police::v1::ListEntry;

use super::DemoArgs;
use super::error::DemoError;
use super::people::{Cast, Inventor, Planted, SYNTHETIC_LIST, listed_name};
use super::plan::{CATEGORY, CREW};
use super::stages::Skipped;
use crate::error::CliError;
use crate::table::{self, Mapping, Read, Sheet};

/// The first number of entries that are added to a copy of a list; real ones are shorter.
const FIRST_PLANTED: usize = 90_000_001;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What the demo is run on.
pub(super) struct Input {
    pub(super) people: Vec<Person>,
    /// Whether bad rows are passed over, as in files that were given.
    pub(super) mode: ImportMode,
    pub(super) cast: Cast,
    pub(super) list: String,
    pub(super) entries: Vec<ListEntry>,
    pub(super) planted: Planted,
    /// Rows of the roster, and rows and values of the list, that reading left out.
    pub(super) roster_skipped: Vec<Skipped>,
    pub(super) list_skipped: Vec<Skipped>,
}

impl Input {
    /// Reads or invents; a copy of a list that was given is written into `dir`.
    pub(super) fn new(
        args: &DemoArgs,
        env: &Env,
        dir: &Path,
        zone: &EventTimeZone,
        now: Timestamp,
        inventor: &mut Inventor,
    ) -> Result<Self, DemoError> {
        let (mut people, mode, roster_skipped) = match &args.roster {
            None => (inventor.people(args.people), ImportMode::AllOrNothing, vec![]),
            Some(path) => {
                let read = read_roster(env, path, args.columns.as_deref(), zone)?;
                let skipped = left_out(&read);
                let people = read.rows.into_iter().map(|(_, person)| on_site(person)).collect();
                (people, ImportMode::ValidRows, skipped)
            }
        };
        let seed = args.seed;
        let Some(path) = &args.watchlist else {
            let (cast, free) = Cast::choose(&mut people, seed, Planted::INVENTED, now)?;
            let planted = Planted::invented(&cast, &free);
            let entries = inventor.watchlist(&people, &planted);
            let (list, list_skipped) = (SYNTHETIC_LIST.to_owned(), vec![]);
            return Ok(Self {
                people,
                mode,
                cast,
                list,
                entries,
                planted,
                roster_skipped,
                list_skipped,
            });
        };
        let spare = args.plant.saturating_sub(2);
        let (cast, free) = Cast::choose(&mut people, seed, spare, now)?;
        let by_name = [&[cast.refused, cast.pending][..], free.as_slice()].concat();
        let planted = Planted { by_document: vec![], by_name };
        let copy = plant(env, path, dir, &people, &planted.by_name)?;
        let read = read_list(env, &copy, args.watchlist_columns.as_deref(), path.parent())?;
        let list_skipped = left_out(&read);
        let entries = read.rows.into_iter().map(|(_, entry)| entry).collect();
        let list = path.file_stem().map_or_else(|| "list".into(), |name| name.to_string_lossy());
        let list = list.into_owned();
        Ok(Self { people, mode, cast, list, entries, planted, roster_skipped, list_skipped })
    }
}

fn read_roster(
    env: &Env,
    path: &Path,
    columns: Option<&Path>,
    zone: &EventTimeZone,
) -> Result<Read<Person>, CliError> {
    let files = &*env.files;
    let mapping = columns.map(|path| Mapping::read(files, path)).transpose()?;
    let shape = mapping.clone().unwrap_or_default();
    let sheet = Sheet::read(files, path, shape.delimiter, shape.header)?;
    Ok(table::people(&sheet, mapping.as_ref(), zone, env.now())?)
}

fn read_list(
    env: &Env,
    path: &Path,
    columns: Option<&Path>,
    beside: Option<&Path>,
) -> Result<Read<ListEntry>, CliError> {
    let files = &*env.files;
    let mapping = columns.map(|path| Mapping::read(files, path)).transpose()?;
    let shape = mapping.clone().unwrap_or_default();
    let sheet = Sheet::read(files, path, shape.delimiter, shape.header)?;
    Ok(table::watchlist(files, &sheet, mapping.as_ref(), beside)?)
}

/// Under the demo's own category and profile, whatever the file says.
fn on_site(mut person: Person) -> Person {
    person.category = CATEGORY.to_owned();
    person.profile = CREW.to_owned();
    person
}

/// What reading left out, by reason.
fn left_out<T>(read: &Read<T>) -> Vec<Skipped> {
    let mut reasons: BTreeMap<String, u64> = read.skipped.clone();
    for problem in &read.problems {
        *reasons.entry(format!("row: {}: {}", problem.column, problem.problem)).or_default() += 1;
    }
    reasons.into_iter().map(|(reason, count)| Skipped { reason, count }).collect()
}

/// Copies a list in the Treasury's format and adds people to it, written as that list writes them.
fn plant(
    env: &Env,
    list: &Path,
    dir: &Path,
    people: &[Person],
    planted: &[usize],
) -> Result<PathBuf, DemoError> {
    let mut text = env.files.read(list)?;
    // Some lists end with a Ctrl-Z.
    while text.last().is_some_and(|byte| matches!(byte, b'\x1a' | b'\r' | b'\n')) {
        text.pop();
    }
    for (number, index) in (FIRST_PLANTED..).zip(planted) {
        let line = listed_line(number, &people[*index]).ok_or_else(|| DemoError::Input {
            path: list.to_owned(),
            problem: "somebody chosen for it has no Latin name or no full birth date".to_owned(),
        })?;
        text.extend_from_slice(line.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    let copy = dir.join("watchlist-with-planted.csv");
    env.files.create_dir_all(dir)?;
    env.files.write_atomic(&copy, &text, Mode::Private)?;
    Ok(copy)
}

/// `,"SURNAME, Given","individual",…,"DOB 29 Apr 1945; …"` after a line break.
fn listed_line(number: usize, person: &Person) -> Option<String> {
    let latin = transliterate(&person.full_name).ok()?;
    let name = listed_name(&in_title_case(&latin));
    let date = BirthDate::parse(&person.birth_date).ok()?;
    let month = MONTHS.get(usize::from(date.month()).checked_sub(1)?)?;
    let mut line = format!("\r\n{number},\"{name}\",\"individual\",\"DEMO\"");
    for _ in 0..7 {
        line.push_str(",-0- ");
    }
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        ",\"DOB {:02} {month} {}; planted for a demonstration.\"",
        date.day(),
        date.year()
    );
    Some(line)
}

fn in_title_case(latin: &str) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => format!("{first}{}", rest.to_lowercase()),
        None => word.to_owned(),
    };
    latin.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use lanyard_core::identity::Name;

    use super::*;

    #[test]
    fn a_planted_entry_reads_back_as_the_same_name_and_date() {
        let person = Person {
            full_name: "Zoë Anne Ångström".into(),
            birth_date: "1945-04-29".into(),
            ..Person::default()
        };
        let line = listed_line(90_000_001, &person).unwrap();
        assert_eq!(
            line,
            "\r\n90000001,\"AANGSTROEM, Zoe Anne\",\"individual\",\"DEMO\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\
             \"DOB 29 Apr 1945; planted for a demonstration.\""
        );
        let listed = Name::parse("AANGSTROEM, Zoe Anne").unwrap();
        assert_eq!(listed.as_str(), Name::parse(&person.full_name).unwrap().as_str());
        assert!(listed_line(1, &Person { birth_date: "1945".into(), ..person }).is_none());
    }

    #[test]
    fn a_list_keeps_its_entries_and_gets_the_planted_ones() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::system();
        let list = dir.path().join("list.csv");
        std::fs::write(&list, "1,\"A, B\",\"individual\"\r\n\x1a").unwrap();
        let people = Inventor::new(3).people(2);
        let copy = plant(&env, &list, &dir.path().join("copy"), &people, &[1]).unwrap();
        let text = std::fs::read_to_string(copy).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "1,\"A, B\",\"individual\""));
        assert!(lines[1].starts_with("90000001,\""));
    }
}

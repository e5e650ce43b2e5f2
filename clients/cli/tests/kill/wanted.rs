//! Whom the police's list names.

use lanyard_wire::committee::v1::ScreeningState;
use lanyard_wire::police::v1 as police;

/// The list that stands from the start.
pub(crate) const WANTED: &str = "wanted";
/// How many of the first who are imported under load may be on it.
const FIRST: usize = 400;
/// One of so many is named by a document, one by name and birth date.
const EACH: usize = 8;

/// When those were born who are named by it.
pub(crate) const BIRTH_DATE: &str = "1980-07-08";

/// How somebody is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Not,
    ByDocument,
    ByName,
}

impl Wanted {
    /// Of a person with this prefix and number.
    pub(crate) fn of(prefix: &str, number: usize) -> Self {
        match number % EACH {
            _ if prefix != "L" || number >= FIRST => Self::Not,
            1 => Self::ByDocument,
            2 => Self::ByName,
            _ => Self::Not,
        }
    }

    pub(crate) fn of_reference(reference: &str) -> Self {
        let (prefix, number) = reference.split_once('-').expect("a reference");
        Self::of(prefix, number.parse().expect("a number"))
    }

    /// Whether screening may say so; `decided` is whether an officer has cleared the case.
    pub(crate) fn allows(self, state: ScreeningState, decided: bool) -> bool {
        match (self, state) {
            (Self::Not, state) => state == ScreeningState::Cleared,
            (Self::ByDocument, state) => state == ScreeningState::Refused,
            (Self::ByName, ScreeningState::Cleared) => true,
            // An officer's answer may be missing; until then the case is open.
            (Self::ByName, state) => state == ScreeningState::Pending && !decided,
        }
    }
}

/// The list's entries.
pub(crate) fn wanted() -> Vec<police::ListEntry> {
    let entry = |number| {
        let document = police::ListDocument {
            kind: "passport".to_owned(),
            issuer: "UTO".to_owned(),
            number: document(number),
        };
        let (names, birth_dates, documents) = match Wanted::of("L", number) {
            Wanted::Not => return None,
            Wanted::ByDocument => (vec![], vec![], vec![document]),
            Wanted::ByName => (vec![name(number)], vec![BIRTH_DATE.to_owned()], vec![]),
        };
        let label = format!("W-{number}");
        Some(police::ListEntry { line: number as u64, label, names, birth_dates, documents })
    };
    (0..FIRST).filter_map(entry).collect()
}

/// The number of somebody's passport.
pub(crate) fn document(number: usize) -> String {
    format!("K{number:07}")
}

/// The name of somebody who is named by it, unlike anybody else's.
pub(crate) fn name(number: usize) -> String {
    let letter = |place: usize| char::from(b'a' + (number / place % 26) as u8);
    let letters = [letter(26), letter(1)].iter().collect::<String>().repeat(3);
    format!("Wanda Q{letters}")
}

/// So many entries that name nobody.
pub(crate) fn strangers(count: usize) -> Vec<police::ListEntry> {
    let entry = |number| police::ListEntry {
        line: number as u64 + 1,
        label: format!("S-{number}"),
        names: vec!["Nemo Stranger".to_owned()],
        birth_dates: vec![format!("1950-01-{:02}", number + 1)],
        ..Default::default()
    };
    (0..count).map(entry).collect()
}

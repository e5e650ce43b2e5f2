//! People who do not exist.

use lanyard_core::identity::BirthDate;
use lanyard_wire::committee::v1::{Document, Person};
use lanyard_wire::police::v1::{ListDocument, ListEntry};

const GIVEN: [&str; 8] = ["Alva", "Bruno", "Chiara", "Dario", "Edda", "Farid", "Gréta", "Hugo"];
const FAMILY: [&str; 7] =
    ["Ahlström", "Berisha", "Çelik", "Dvořák", "Einarsson", "Ferreira", "Gößwein"];

/// `count` people, `P-0001` and on, each with a passport and a birth date of their own.
#[must_use]
pub fn people(count: usize) -> Vec<Person> {
    (0..count).map(person).collect()
}

fn person(number: usize) -> Person {
    let given = GIVEN[number % GIVEN.len()];
    let family = FAMILY[number % FAMILY.len()];
    let (month, day) = (number / 28 % 12 + 1, number % 28 + 1);
    Person {
        reference: format!("P-{number:04}"),
        full_name: format!("{given} {family} {}", letters(number)),
        birth_date: format!("1990-{month:02}-{day:02}"),
        documents: vec![Document {
            kind: "passport".to_owned(),
            issuer: "UTO".to_owned(),
            number: format!("X{number:07}"),
        }],
        category: "Volunteer".to_owned(),
        function: "helps".to_owned(),
        organisation: "Utopian Volunteers".to_owned(),
        profile: "crew".to_owned(),
        ..Person::default()
    }
}

/// A third name, so that no two people have the same.
fn letters(number: usize) -> String {
    let letter = |place: usize| char::from(b'a' + (number / place % 26) as u8);
    format!("K{}{}{}", letter(676), letter(26), letter(1))
}

/// The entry of a watchlist that this person matches: by document, or by name and birth date alone.
///
/// # Panics
/// If the person has no full birth date.
#[must_use]
pub fn list_entry(line: u64, person: &Person, by_document: bool) -> ListEntry {
    BirthDate::parse(&person.birth_date).expect("invented people have birth dates");
    let documents = person.documents.iter().map(|document| ListDocument {
        kind: document.kind.clone(),
        issuer: document.issuer.clone(),
        number: document.number.clone(),
    });
    ListEntry {
        line,
        label: format!("entry {line}"),
        names: vec![if by_document {
            "Somebody Else".to_owned()
        } else {
            person.full_name.clone()
        }],
        birth_dates: vec![person.birth_date.clone()],
        documents: if by_document { documents.collect() } else { Vec::new() },
    }
}

//! The police's own staff: the committee's own format without category and organisation.

use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;
use lanyard_wire::committee::v1::Person;
use lanyard_wire::staff::v1::{Document, Member};

use super::Read;
use super::error::MappingError;
use super::people::{STAFF, own_format, people};
use super::sheet::Sheet;

/// Reads a roster of staff, whose header names the columns.
///
/// # Errors
/// [`MappingError`] if the header does not fit; bad rows are in the result.
pub fn staff(
    sheet: &Sheet,
    zone: &EventTimeZone,
    now: Timestamp,
) -> Result<Read<Member>, MappingError> {
    let mapping = own_format(sheet.head(), &STAFF)?;
    let Read { rows, problems, skipped } = people(sheet, Some(&mapping), zone, now)?;
    let rows = rows.into_iter().map(|(line, person)| (line, member(person))).collect();
    Ok(Read { rows, problems, skipped })
}

fn member(person: Person) -> Member {
    let documents = person.documents.into_iter();
    Member {
        reference: person.reference,
        full_name: person.full_name,
        birth_date: person.birth_date,
        documents: documents
            .map(|one| Document { kind: one.kind, issuer: one.issuer, number: one.number })
            .collect(),
        function: person.function,
        profile: person.profile,
        not_before_minutes: person.not_before_minutes,
        not_after_minutes: person.not_after_minutes,
        portrait_hash: person.portrait_hash,
    }
}

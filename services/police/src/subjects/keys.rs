//! The keys of subjects, verified against the tag that stands with the subject.

use lanyard_party::StoreKey;
use lanyard_store::{DamagedRow, StoreError};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use crate::ids::{LocalHash, SubjectId};
use crate::tags;

/// Subjects read at a time.
const PAGE: i64 = 1_024;

/// The keys of one subject.
#[derive(Default)]
pub(crate) struct Held {
    /// Sorted.
    pub(crate) hashes: Vec<LocalHash>,
    /// Whether they are not those that were submitted.
    pub(crate) damaged: bool,
}

impl Held {
    /// Nothing is said from damaged keys.
    pub(crate) fn refuse_damaged(&self, subject: &SubjectId) -> Result<(), StoreError> {
        if self.damaged {
            let row = DamagedRow { table: "subject_keys", key: subject.to_string() };
            return Err(StoreError::Damaged { row });
        }
        Ok(())
    }

    /// Reads all rows of one subject.
    fn read(store_key: &StoreKey, subject: &SubjectId, rows: &[&AnyRow]) -> Self {
        let tag = rows.first().and_then(|row| row.try_get::<i64, _>("keys_tag").ok());
        let hashes: Vec<Vec<u8>> = rows.iter().filter_map(|row| row.try_get("hash").ok()).collect();
        let written = tags::subject_keys(store_key, subject, hashes.iter().map(Vec::as_slice));
        Self {
            hashes: hashes.iter().filter_map(|hash| LocalHash::from_slice(hash)).collect(),
            damaged: tag != Some(written),
        }
    }
}

/// The keys of a subject; none of one that is not known.
pub(crate) async fn of_subject(
    connection: &mut AnyConnection,
    store_key: &StoreKey,
    subject: &SubjectId,
) -> Result<Held, StoreError> {
    let rows = sqlx::query(
        "SELECT s.keys_tag, k.hash FROM subjects s LEFT JOIN subject_keys k ON k.subject_id = s.subject_id \
         WHERE s.subject_id = $1 ORDER BY k.hash",
    )
    .bind(subject.as_slice())
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(Held::default());
    }
    Ok(Held::read(store_key, subject, &rows.iter().collect::<Vec<_>>()))
}

/// The next subjects behind `after` by id, with their keys; none if there are no more. One whose own id is damaged is left
/// out.
pub(crate) async fn page(
    connection: &mut AnyConnection,
    store_key: &StoreKey,
    after: &mut Vec<u8>,
) -> Result<Option<Vec<(SubjectId, Held)>>, StoreError> {
    let rows = sqlx::query(
        "SELECT s.subject_id, s.keys_tag, k.hash FROM \
         (SELECT subject_id, keys_tag FROM subjects WHERE subject_id > $1 ORDER BY subject_id LIMIT $2) s \
         LEFT JOIN subject_keys k ON k.subject_id = s.subject_id ORDER BY s.subject_id, k.hash",
    )
    .bind(after.as_slice())
    .bind(PAGE)
    .fetch_all(&mut *connection)
    .await?;
    let id = |row: &AnyRow| row.try_get::<Vec<u8>, _>("subject_id");
    let Some(last) = rows.last() else { return Ok(None) };
    *after = id(last)?;
    let rows =
        rows.iter().map(|row| Ok((id(row)?, row))).collect::<Result<Vec<_>, StoreError>>()?;
    let subjects = rows.chunk_by(|(one, _), (other, _)| one == other).filter_map(|rows| {
        let subject = SubjectId::from_column("subjects", &rows[0].0).ok()?;
        let rows: Vec<&AnyRow> = rows.iter().map(|(_, row)| *row).collect();
        Some((subject, Held::read(store_key, &subject, &rows)))
    });
    Ok(Some(subjects.collect()))
}

//! Batches of a list's keys, sealed at rest while they are evaluated.

use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::identity::KeyKind;
use lanyard_core::oprf::Pseudonym;
use lanyard_party::Cell;
use lanyard_shareholder::{Batch, PseudonymError, Purpose};
use lanyard_store::{StoreError, next_number};
use zeroize::Zeroizing;

use super::staging::{self, ImportId, StagedKey};
use super::{Import, ImportError, Settled};
use crate::ids::LocalHash;

/// An entry that goes into a batch.
pub(super) struct Part {
    pub(super) label: String,
    /// Of its keys, in the order of the batch.
    pub(super) kinds: Vec<KeyKind>,
    /// How many entries of the list there are up to it.
    pub(super) end: u64,
}

/// A batch as it is stored.
pub(super) struct Kept {
    id: i64,
    import: ImportId,
    /// How many entries of the list there are up to its last.
    end: u64,
    /// The staged entry and the kinds of its keys, in the order of the batch.
    entries: Vec<(i64, Vec<KeyKind>)>,
    batch: Batch,
}

impl Kept {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new();
        writer.u64(self.import.number() as u64).u64(self.end).u32(self.entries.len() as u32);
        for (entry, kinds) in &self.entries {
            let kinds: Vec<u8> = kinds.iter().map(|kind| kind.byte()).collect();
            writer.u64(*entry as u64).field(&kinds);
        }
        writer.raw(&self.batch.to_bytes());
        Zeroizing::new(writer.into_vec())
    }

    fn parse(id: i64, bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("batch of a list", bytes);
        let (import, end) = (ImportId::new(reader.u64()? as i64), reader.u64()?);
        let mut entries = Vec::new();
        for _ in 0..reader.u32()? {
            let entry = reader.u64()? as i64;
            let kinds = reader.field(bytes.len())?.iter().map(|byte| KeyKind::from_byte(*byte));
            let kinds = kinds.collect::<Option<_>>().ok_or_else(|| reader.invalid("key kind"))?;
            entries.push((entry, kinds));
        }
        let batch = Batch::parse(reader.raw(reader.remaining())?)?;
        Ok(Self { id, import, end, entries, batch })
    }
}

const fn cell(id: i64) -> Cell<'static> {
    Cell { table: "list_batches", column: "body", row: id as u64 }
}

impl Import<'_> {
    /// The batches that an earlier run left, oldest first.
    pub(super) async fn kept(&self) -> Result<Vec<i64>, ImportError> {
        // As a writer: what a run that was broken off has sent to be committed is seen, or never comes.
        let mut transaction = self.store.begin().await?;
        let ids: Vec<(i64,)> = sqlx::query_as("SELECT id FROM list_batches ORDER BY id")
            .fetch_all(&mut *transaction)
            .await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }

    pub(super) async fn load(&self, id: i64) -> Result<Kept, ImportError> {
        let (sealed,): (Vec<u8>,) = sqlx::query_as("SELECT body FROM list_batches WHERE id = $1")
            .bind(id)
            .fetch_one(self.store.pool())
            .await?;
        let body = self.lists.store_key().open(cell(id), &sealed)?;
        let corrupt = StoreError::Corrupt { table: "list_batches", column: "body" };
        Ok(Kept::parse(id, &body).map_err(|_| corrupt)?)
    }

    /// Stores a new batch, and that its entries are in one; nothing of it has been asked yet.
    pub(super) async fn open(
        &self,
        import: ImportId,
        parts: Vec<Part>,
        batch: Batch,
    ) -> Result<Kept, ImportError> {
        let mut transaction = self.store.begin().await?;
        let end = parts.last().map_or(0, |part| part.end);
        let labels: Vec<&str> = parts.iter().map(|part| part.label.as_str()).collect();
        let first =
            staging::stage_entries(&mut transaction, self.lists.store_key(), import, &labels, end)
                .await?;
        let entries = (first..).zip(parts).map(|(entry, part)| (entry, part.kinds)).collect();
        let id = next_number(&mut transaction, "list_batch").await?;
        let kept = Kept { id, import, end, entries, batch };
        sqlx::query("INSERT INTO list_batches (id, body) VALUES ($1, $2)")
            .bind(id)
            .bind(self.lists.store_key().seal(cell(id), &kept.to_bytes(), &mut self.env.rng()))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(kept)
    }

    /// Evaluates a batch; what came of it is staged and the batch gone, or neither.
    pub(super) async fn settle(&self, kept: Kept) -> Result<Settled, ImportError> {
        let Kept { id, import, end, entries, batch } = kept;
        let evaluations = batch.evaluations();
        let pseudonyms = self.pseudonymiser.evaluate(Purpose::Watchlist, batch).await?;
        let staged: Vec<StagedKey> = entries
            .iter()
            .flat_map(|(entry, kinds)| kinds.iter().map(|kind| (*entry, *kind)))
            .zip(&pseudonyms)
            .map(|((entry, kind), pseudonym)| {
                let bytes: Zeroizing<[u8; Pseudonym::SIZE]> = pseudonym.to_bytes();
                StagedKey { entry, hash: LocalHash::of(self.lists.store_key(), &bytes), kind }
            })
            .collect();
        // A list with a gap must not take the place of a whole one.
        if staged.len() != entries.iter().map(|(_, kinds)| kinds.len()).sum::<usize>() {
            return Err(PseudonymError::Stopped.into());
        }
        let padding = staging::padding(&staged, &mut self.env.rng());
        let mut transaction = self.store.begin().await?;
        let store_key = self.lists.store_key();
        staging::stage_keys(&mut transaction, store_key, import, &staged, &padding, evaluations)
            .await?;
        sqlx::query("DELETE FROM list_batches WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Settled { entries: end, keys: staged.len() as u64 })
    }
}

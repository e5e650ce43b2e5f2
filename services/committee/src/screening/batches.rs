//! Batches of people on their way to the police, sealed at rest until the police have them.
//!
//! A batch is stored before a share holder is asked, with all that it takes to ask again byte for byte; then what came of
//! it takes its place; when the police have acknowledged it, it goes. After a kill at any moment the same steps go on from
//! what is stored, and a holder that has counted the batch does not count it again.

use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::identity::{Facts, KeyKind};
use lanyard_core::oprf::Pseudonym;
use lanyard_party::Cell;
use lanyard_shareholder::{Batch, PseudonymError, Purpose};
use lanyard_store::{StoreError, next_number, next_numbers};
use rand::Rng;
use zeroize::Zeroizing;

use super::{Screening, ScreeningError};

/// Counts the evaluations that batches took, padding included.
const EVALUATIONS: &str = "evaluations";

/// A person of a batch, as read when it was made.
pub(super) struct Member {
    pub(super) badge_number: i64,
    pub(super) subject_id: Vec<u8>,
    pub(super) binding: Vec<u8>,
    /// Of its keys, in the order of the batch; after evaluation of its pseudonyms, in their order, padding included.
    pub(super) kinds: Vec<KeyKind>,
}

/// How far a batch is.
pub(super) enum Stage {
    /// Its keys are being evaluated.
    Asked(Batch),
    /// Its pseudonyms go to the police.
    Evaluated {
        /// Padding included, so that the police are told the same again.
        pseudonyms: Vec<Pseudonym>,
        /// Up to where verdicts had been read before.
        verdicts: u64,
    },
}

/// A batch as it is stored.
pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) members: Vec<Member>,
    pub(super) stage: Stage,
}

impl Kept {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new();
        writer.u32(self.members.len() as u32);
        for member in &self.members {
            let kinds: Vec<u8> = member.kinds.iter().map(|kind| kind.byte()).collect();
            writer.u64(member.badge_number as u64).field(&member.subject_id);
            writer.field(&member.binding).field(&kinds);
        }
        match &self.stage {
            Stage::Asked(batch) => {
                writer.u8(1).raw(&batch.to_bytes());
            }
            Stage::Evaluated { pseudonyms, verdicts } => {
                writer.u8(2).u64(*verdicts);
                for pseudonym in pseudonyms {
                    writer.raw(pseudonym.to_bytes().as_slice());
                }
            }
        }
        Zeroizing::new(writer.into_vec())
    }

    fn parse(id: i64, bytes: &[u8]) -> Result<Self, CodecError> {
        const FIELD: usize = 1_024;
        let mut reader = Reader::new("batch of people", bytes);
        let count = reader.u32()? as usize;
        let mut members = Vec::new();
        for _ in 0..count {
            let badge_number = reader.u64()? as i64;
            let subject_id = reader.field(FIELD)?.to_vec();
            let binding = reader.field(FIELD)?.to_vec();
            let kinds = reader.field(FIELD)?.iter().map(|byte| KeyKind::from_byte(*byte));
            let kinds = kinds.collect::<Option<_>>().ok_or_else(|| reader.invalid("key kind"))?;
            members.push(Member { badge_number, subject_id, binding, kinds });
        }
        let stage = match reader.u8()? {
            1 => Stage::Asked(Batch::parse(reader.raw(reader.remaining())?)?),
            2 => {
                let verdicts = reader.u64()?;
                let mut pseudonyms = Vec::with_capacity(reader.remaining() / Pseudonym::SIZE);
                while reader.remaining() > 0 {
                    pseudonyms.push(Pseudonym::from_bytes(reader.array()?));
                }
                Stage::Evaluated { pseudonyms, verdicts }
            }
            _ => return Err(reader.invalid("stage")),
        };
        reader.finish()?;
        Ok(Self { id, members, stage })
    }
}

const fn cell(id: i64) -> Cell<'static> {
    Cell { table: "screening_batches", column: "body", row: id as u64 }
}

/// Fills each member up with random pseudonyms, which nobody can tell from variants: neither their number nor their place
/// says how many parts a name has.
fn pad(members: &mut [Member], pseudonyms: Vec<Pseudonym>, rng: &mut impl Rng) -> Vec<Pseudonym> {
    let mut pseudonyms = pseudonyms.into_iter();
    let mut padded = Vec::new();
    for member in members {
        let kinds = std::mem::take(&mut member.kinds);
        let mut keys: Vec<_> = kinds.into_iter().zip(pseudonyms.by_ref()).collect();
        while !keys.len().is_multiple_of(Facts::PERSON_KEYS) {
            let mut random = Zeroizing::new([0; Pseudonym::SIZE]);
            rng.fill_bytes(random.as_mut_slice());
            keys.push((KeyKind::Variant, Pseudonym::from_bytes(*random)));
        }
        keys.sort_unstable_by_key(|(_, pseudonym)| *pseudonym.to_bytes());
        for (kind, pseudonym) in keys {
            member.kinds.push(kind);
            padded.push(pseudonym);
        }
    }
    padded
}

impl Screening {
    /// The batches that an earlier run left, oldest first.
    pub(super) async fn kept(&self) -> Result<Vec<i64>, ScreeningError> {
        // As a writer: what a run that was broken off has sent to be committed is seen, or never comes.
        let mut transaction = self.store.begin().await?;
        let ids: Vec<(i64,)> = sqlx::query_as("SELECT id FROM screening_batches ORDER BY id")
            .fetch_all(&mut *transaction)
            .await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }

    pub(super) async fn load(&self, id: i64) -> Result<Kept, ScreeningError> {
        let (sealed,): (Vec<u8>,) =
            sqlx::query_as("SELECT body FROM screening_batches WHERE id = $1")
                .bind(id)
                .fetch_one(self.store.pool())
                .await?;
        let body = self.store_key.open(cell(id), &sealed)?;
        let corrupt = StoreError::Corrupt { table: "screening_batches", column: "body" };
        Ok(Kept::parse(id, &body).map_err(|_| corrupt)?)
    }

    /// Stores a new batch; nothing of it has been asked yet.
    pub(super) async fn open(
        &self,
        members: Vec<Member>,
        batch: Batch,
    ) -> Result<Kept, ScreeningError> {
        let mut transaction = self.store.begin().await?;
        let id = next_number(&mut transaction, "screening_batch").await?;
        let kept = Kept { id, members, stage: Stage::Asked(batch) };
        sqlx::query("INSERT INTO screening_batches (id, body) VALUES ($1, $2)")
            .bind(id)
            .bind(self.store_key.seal(cell(id), &kept.to_bytes(), &mut self.env.rng()))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(kept)
    }

    /// Puts what came of a batch in its place, and counts what it took.
    pub(super) async fn store_pseudonyms(
        &self,
        kept: &Kept,
        evaluations: u64,
    ) -> Result<(), ScreeningError> {
        let mut transaction = self.store.begin().await?;
        sqlx::query("UPDATE screening_batches SET body = $1 WHERE id = $2")
            .bind(self.store_key.seal(cell(kept.id), &kept.to_bytes(), &mut self.env.rng()))
            .bind(kept.id)
            .execute(&mut *transaction)
            .await?;
        next_numbers(&mut transaction, EVALUATIONS, evaluations as i64).await?;
        Ok(transaction.commit().await?)
    }

    /// Evaluations of all batches so far, padding included.
    pub(super) async fn evaluations(&self) -> Result<u64, ScreeningError> {
        let count: Option<(i64,)> = sqlx::query_as("SELECT value FROM counters WHERE name = $1")
            .bind(EVALUATIONS)
            .fetch_optional(self.store.pool())
            .await?;
        Ok(count.map_or(0, |(count,)| count as u64))
    }

    /// Evaluates a batch, unless that was done before, and stores its pseudonyms.
    pub(super) async fn evaluated(&self, kept: Kept) -> Result<Kept, ScreeningError> {
        let Kept { id, mut members, stage } = kept;
        let Stage::Asked(batch) = stage else { return Ok(Kept { id, members, stage }) };
        let evaluations = batch.evaluations();
        let verdicts = self.cursor().await?;
        let pseudonyms = self.pseudonymiser.evaluate(Purpose::Enrolment, batch).await?;
        if pseudonyms.len() != members.iter().map(|member| member.kinds.len()).sum::<usize>() {
            return Err(PseudonymError::Stopped.into());
        }
        let pseudonyms = pad(&mut members, pseudonyms, &mut self.env.rng());
        let kept = Kept { id, members, stage: Stage::Evaluated { pseudonyms, verdicts } };
        self.store_pseudonyms(&kept, evaluations).await?;
        Ok(kept)
    }
}

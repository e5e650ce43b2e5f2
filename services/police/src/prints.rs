//! Prints of badges: the seeds that the committee hands over, sealed at rest.

use lanyard_core::badge::Seed;
use lanyard_env::{Env, StartError};
use lanyard_party::{Cell, SealedBlobError, StoreKey};
use lanyard_store::{Store, StoreError, Transaction, next_number, next_numbers};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ids::SubjectId;

/// Bytes of the two seeds of one print: the police's for the gates, then the committee's for the police.
const SEEDS: usize = 64;

/// Why prints are refused or do not read back.
#[derive(Debug, Error)]
pub(crate) enum PrintError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Seeds do not open: nothing may be published over them.
    #[error(transparent)]
    Seeds(#[from] SealedBlobError),
    /// Two badges would have one record.
    #[error("prints[{index}]: its seed belongs to another print; derive the seeds anew")]
    SeedTaken {
        /// Its place in the request, from 0.
        index: usize,
    },
}

impl StartError for PrintError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Store(error) => error.is_permanent(),
            Self::Seeds(_) => true,
            Self::SeedTaken { .. } => false,
        }
    }
}

impl From<sqlx::Error> for PrintError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// One print of one badge, as the committee hands it over.
pub(crate) struct Print {
    pub(crate) subject_id: SubjectId,
    pub(crate) number: u16,
    pub(crate) seeds: PrintSeeds,
}

/// The two seeds of one print.
pub(crate) struct PrintSeeds(Zeroizing<[u8; SEEDS]>);

impl PrintSeeds {
    pub(crate) fn new(police_gate: &[u8; 32], committee_police: &[u8; 32]) -> Self {
        let mut seeds = Zeroizing::new([0; SEEDS]);
        seeds[..32].copy_from_slice(police_gate);
        seeds[32..].copy_from_slice(committee_police);
        Self(seeds)
    }

    /// Opens the seeds of a print in the store.
    pub(crate) fn open(
        store_key: &StoreKey,
        print: i64,
        sealed: &[u8],
    ) -> Result<Self, PrintError> {
        let opened = store_key.open(cell(print), sealed)?;
        let corrupt = StoreError::Corrupt { table: "prints", column: "seeds" };
        let seeds = opened.as_slice().try_into().map(Zeroizing::new);
        Ok(Self(seeds.map_err(|_| corrupt)?))
    }

    fn half(&self, from: usize) -> Seed {
        let mut seed = [0; 32];
        seed.copy_from_slice(&self.0[from..from + 32]);
        Seed::from_bytes(seed)
    }

    /// `S(police, gate)`.
    pub(crate) fn police_gate(&self) -> Seed {
        self.half(0)
    }

    /// `S(committee, police)`.
    pub(crate) fn committee_police(&self) -> Seed {
        self.half(32)
    }
}

fn cell(print: i64) -> Cell<'static> {
    Cell { table: "prints", column: "seeds", row: print as u64 }
}

/// How a badge in hand is found again: a keyed hash of its seed for the gates.
pub(crate) fn gate_tag(store_key: &StoreKey, police_gate: &Seed) -> [u8; 32] {
    store_key.local_hash("gate seed", police_gate.expose_bytes())
}

/// Stores prints, all or none. They may come before their subject: until then their record says not yet. The same print
/// again changes nothing; new seeds of a print replace the old, whose record stops.
pub(crate) async fn register(
    store: &Store,
    env: &Env,
    store_key: &StoreKey,
    prints: &[Print],
) -> Result<(), PrintError> {
    let mut transaction = store.begin().await?;
    for (index, print) in prints.iter().enumerate() {
        put(&mut transaction, env, store_key, index, print).await?;
    }
    Ok(transaction.commit().await?)
}

async fn put(
    transaction: &mut Transaction,
    env: &Env,
    store_key: &StoreKey,
    index: usize,
    print: &Print,
) -> Result<(), PrintError> {
    let tag = gate_tag(store_key, &print.seeds.police_gate());
    let number = i64::from(print.number);
    type Columns = (i64, Vec<u8>, i64, i64, Vec<u8>);
    let known: Option<Columns> = sqlx::query_as(
        "SELECT id, subject_id, print_number, replaced, seeds FROM prints WHERE gate_tag = $1",
    )
    .bind(tag.as_slice())
    .fetch_optional(&mut **transaction)
    .await?;
    let id = match known {
        Some((_, subject_id, known_number, ..))
            if subject_id != print.subject_id.as_slice() || known_number != number =>
        {
            return Err(PrintError::SeedTaken { index });
        }
        Some((id, _, _, replaced, sealed)) => {
            let opened = PrintSeeds::open(store_key, id, &sealed)?;
            if replaced == 0 && *opened.0 == *print.seeds.0 {
                return Ok(());
            }
            id
        }
        None => next_number(transaction, "print").await?,
    };
    let replaced: Vec<(i64,)> = sqlx::query_as(
        "SELECT id FROM prints WHERE subject_id = $1 AND print_number = $2 AND id <> $3 AND replaced = 0",
    )
    .bind(print.subject_id.as_slice())
    .bind(number)
    .bind(id)
    .fetch_all(&mut **transaction)
    .await?;
    for (old,) in replaced {
        let changed = next_number(transaction, "changed").await?;
        sqlx::query("UPDATE prints SET replaced = 1, changed = $1 WHERE id = $2")
            .bind(changed)
            .bind(old)
            .execute(&mut **transaction)
            .await?;
    }
    let changed = next_number(transaction, "changed").await?;
    sqlx::query(
        "INSERT INTO prints (id, subject_id, print_number, replaced, seeds, gate_tag, changed) \
         VALUES ($1, $2, $3, 0, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET replaced = 0, seeds = $4, changed = $6",
    )
    .bind(id)
    .bind(print.subject_id.as_slice())
    .bind(number)
    .bind(store_key.seal(cell(id), print.seeds.0.as_slice(), &mut env.rng()))
    .bind(tag.as_slice())
    .bind(changed)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Puts the prints of a subject before the publisher.
pub(crate) async fn mark_changed(
    transaction: &mut Transaction,
    subject_id: &[u8],
) -> Result<(), StoreError> {
    let prints: Vec<(i64,)> = sqlx::query_as("SELECT id FROM prints WHERE subject_id = $1")
        .bind(subject_id)
        .fetch_all(&mut **transaction)
        .await?;
    if prints.is_empty() {
        return Ok(());
    }
    let first = next_numbers(transaction, "changed", prints.len() as i64).await?;
    for (changed, (id,)) in (first..).zip(prints) {
        sqlx::query("UPDATE prints SET changed = $1 WHERE id = $2")
            .bind(changed)
            .bind(id)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// A print as the store holds it.
pub(crate) struct Held {
    pub(crate) subject_id: SubjectId,
    pub(crate) seeds: PrintSeeds,
}

type HeldColumns = (i64, Vec<u8>, Vec<u8>);

impl Held {
    fn read(store_key: &StoreKey, columns: &HeldColumns) -> Result<Self, PrintError> {
        let (id, subject, sealed) = columns;
        let seeds = PrintSeeds::open(store_key, *id, sealed)?;
        Ok(Self { subject_id: SubjectId::from_column("prints", subject)?, seeds })
    }
}

/// The print of the badge with this seed.
pub(crate) async fn by_seed(
    store: &Store,
    store_key: &StoreKey,
    police_gate: &Seed,
) -> Result<Option<Held>, PrintError> {
    let row: Option<HeldColumns> =
        sqlx::query_as("SELECT id, subject_id, seeds FROM prints WHERE gate_tag = $1")
            .bind(gate_tag(store_key, police_gate).as_slice())
            .fetch_optional(store.pool())
            .await?;
    row.map(|row| Held::read(store_key, &row)).transpose()
}

/// Numbers and seeds of all prints of a subject, oldest first.
pub(crate) async fn of_subject(
    store: &Store,
    store_key: &StoreKey,
    subject_id: &SubjectId,
) -> Result<Vec<(u32, PrintSeeds)>, PrintError> {
    let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT id, print_number, seeds FROM prints WHERE subject_id = $1 ORDER BY print_number, id",
    )
    .bind(subject_id.as_slice())
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|(id, number, sealed)| Ok((number as u32, PrintSeeds::open(store_key, id, &sealed)?)))
        .collect()
}

/// The print of this number in the store.
pub(crate) async fn by_id(
    store: &Store,
    store_key: &StoreKey,
    id: i64,
) -> Result<Option<Held>, PrintError> {
    let row: Option<HeldColumns> =
        sqlx::query_as("SELECT id, subject_id, seeds FROM prints WHERE id = $1")
            .bind(id)
            .fetch_optional(store.pool())
            .await?;
    row.map(|row| Held::read(store_key, &row)).transpose()
}

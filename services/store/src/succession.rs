//! Who publishes for a party that has several instances: one of them, by lease. PostgreSQL only.
//!
//! One row says whose term it is, until when by the database's clock, and the newest tick that may be signed. A tick is
//! recorded, whole, before it is signed, in one statement that holds only while the term lasts and only for a size that is
//! greater than the recorded one, or for the same size and root. So no two checkpoints of one size are ever signed, whoever
//! is paused, slow or cut off at what moment. And whoever comes next finds the tick that its predecessor may have signed
//! and finishes that one.

use std::time::Duration;

use lanyard_core::ids::Hash;
use sqlx::{AnyConnection, AnyPool};

use crate::{Location, QUICK_TIMEOUT, StoreError};

/// Ticks that stay recorded: a successor that followed until a minute or two ago needs no mirror.
const KEPT_TICKS: i64 = 64;

/// Bytes of a tick in one row.
const PART: usize = 1024 * 1024;

/// Milliseconds by the database's clock.
macro_rules! now {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}

/// The right to publish. Nobody else has the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term(i64);

impl Term {
    /// Its number; terms are counted from 1.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// Who publishes, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// `HOST:PORT` of the instance whose term it is or was last.
    pub address: String,
    /// The size of the newest tick recorded.
    pub size: u64,
    /// What it last said of changes that no signed checkpoint has.
    pub waiting: u64,
}

/// A tick as it is recorded.
pub struct RecordedTick {
    /// The size of the log with it.
    pub size: u64,
    /// The root of the log with it.
    pub root: Hash,
    /// What it consists of, in the words of whoever recorded it.
    pub parts: Vec<(String, Vec<u8>)>,
}

/// What became of a tick that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It may be signed.
    Yes,
    /// The term is over: another instance publishes.
    TermOver,
    /// A tick of this size with another root is recorded, or a greater size is.
    Otherwise {
        /// The size of the newest tick recorded.
        size: u64,
    },
}

/// The succession of publishers, on connections of its own: it does not wait for those who write rows.
#[derive(Clone)]
pub struct Succession {
    pool: AnyPool,
}

impl Succession {
    /// Connects when first used; the schema must be there.
    ///
    /// # Errors
    /// [`StoreError::Url`].
    pub fn new(location: &Location) -> Result<Self, StoreError> {
        Ok(Self { pool: location.pool(3, QUICK_TIMEOUT)? })
    }

    /// Begins a term for `lease` if nobody's lasts; `address` is where this instance is followed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_term(
        &self,
        address: &str,
        lease: Duration,
    ) -> Result<Option<Term>, StoreError> {
        sqlx::query(
            "INSERT INTO succession (id, term, address, expires_millis, size, root, waiting) \
             VALUES (1, 0, '', 0, 0, '', 0) ON CONFLICT (id) DO NOTHING",
        )
        .execute(&self.pool)
        .await?;
        let row: Option<(i64,)> = sqlx::query_as(concat!(
            "UPDATE succession SET term = term + 1, address = $1, expires_millis = ",
            now!(),
            " + $2 WHERE id = 1 AND expires_millis < ",
            now!(),
            " RETURNING term"
        ))
        .bind(address)
        .bind(millis(lease))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(term,)| Term(term)))
    }

    /// Has a term last for `lease` from now; `false` if it is over. `waiting` is for others to tell.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(
        &self,
        term: Term,
        lease: Duration,
        waiting: u64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(concat!(
            "UPDATE succession SET waiting = $3, expires_millis = ",
            now!(),
            " + $2 WHERE id = 1 AND term = $1 AND expires_millis >= ",
            now!()
        ))
        .bind(term.0)
        .bind(millis(lease))
        .bind(i64::try_from(waiting).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a term, so that another may begin at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end(&self, term: Term) -> Result<(), StoreError> {
        sqlx::query("UPDATE succession SET expires_millis = 0 WHERE id = 1 AND term = $1")
            .bind(term.0)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Who publishes; `None` before the first term.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn publishing(&self) -> Result<Option<Publishing>, StoreError> {
        let row: Option<(String, i64, i64)> =
            sqlx::query_as("SELECT address, size, waiting FROM succession WHERE term > 0")
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(address, size, waiting)| Publishing {
            address,
            size: size as u64,
            waiting: waiting as u64,
        }))
    }

    /// Records a tick, which may be signed when this returns [`Recorded::Yes`], and at any time after.
    ///
    /// # Errors
    /// [`StoreError`]; whether it is recorded is not known then, and it must not be signed.
    pub async fn record(&self, term: Term, tick: &RecordedTick) -> Result<Recorded, StoreError> {
        let size = i64::try_from(tick.size).unwrap_or(i64::MAX);
        let mut transaction = self.pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        // The row is held until the end: a term that runs out meanwhile is not another's before.
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(concat!(
            "SELECT size, root FROM succession WHERE id = 1 AND term = $1 AND expires_millis >= ",
            now!(),
            " FOR UPDATE"
        ))
        .bind(term.0)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((newest, root)) = row else { return Ok(Recorded::TermOver) };
        let otherwise = Recorded::Otherwise { size: newest as u64 };
        if size > newest {
            insert(&mut transaction, size, tick).await?;
        } else if size == newest {
            return Ok(if root == tick.root.as_bytes() { Recorded::Yes } else { otherwise });
        } else {
            // One of those before, which a successor catches up with.
            let known: Option<(Vec<u8>,)> =
                sqlx::query_as("SELECT root FROM recorded_ticks WHERE size = $1 AND part = 0")
                    .bind(size)
                    .fetch_optional(&mut *transaction)
                    .await?;
            let is_known = known.is_some_and(|(root,)| root == tick.root.as_bytes());
            return Ok(if is_known { Recorded::Yes } else { otherwise });
        }
        transaction.commit().await?;
        Ok(Recorded::Yes)
    }

    /// The tick recorded for a size, if it still is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recorded(&self, size: u64) -> Result<Option<RecordedTick>, StoreError> {
        let rows: Vec<(Vec<u8>, String, Vec<u8>)> = sqlx::query_as(
            "SELECT root, name, body FROM recorded_ticks WHERE size = $1 ORDER BY part",
        )
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let Some((root, ..)) = rows.first() else { return Ok(None) };
        let corrupt = || StoreError::Corrupt { table: "recorded_ticks", column: "root" };
        let root = <[u8; Hash::SIZE]>::try_from(root.as_slice()).map_err(|_| corrupt())?;
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        for (_, name, mut body) in rows {
            match parts.last_mut() {
                Some((last, whole)) if *last == name => whole.append(&mut body),
                _ => parts.push((name, body)),
            }
        }
        Ok(Some(RecordedTick { size, root: Hash::new(root), parts }))
    }
}

async fn insert(
    connection: &mut AnyConnection,
    size: i64,
    tick: &RecordedTick,
) -> Result<(), StoreError> {
    let root = tick.root.as_bytes().to_vec();
    sqlx::query("UPDATE succession SET size = $1, root = $2 WHERE id = 1")
        .bind(size)
        .bind(root.clone())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM recorded_ticks WHERE size <= $1 OR size >= $2")
        .bind(size - KEPT_TICKS)
        .bind(size)
        .execute(&mut *connection)
        .await?;
    // An empty part is one row too.
    let chunks = tick.parts.iter().flat_map(|(name, body)| {
        let empty = body.is_empty().then_some(&body[..]);
        body.chunks(PART).chain(empty).map(move |chunk| (name, chunk))
    });
    for (part, (name, chunk)) in (0_i64..).zip(chunks) {
        sqlx::query(
            "INSERT INTO recorded_ticks (size, part, root, name, body) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(size)
        .bind(part)
        .bind(root.clone())
        .bind(name.as_str())
        .bind(chunk)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

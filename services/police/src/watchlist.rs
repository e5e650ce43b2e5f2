//! Watchlists: read, turned into local hashes of pseudonyms, and put in the place of the list of the same name.
//!
//! Entries are taken as they arrive, evaluated in batches side by side, and staged; when all are there, the new list takes
//! the old one's place at once. A batch is stored, sealed, before a share holder is asked, with all that it takes to ask
//! again byte for byte, and goes in the transaction that stages what came of it. So an import that is killed at any moment
//! goes on where it was when the same content comes again, and no evaluation is counted twice or lost. In memory are the
//! batches under way.

mod batches;
mod entries;
mod staging;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use lanyard_core::identity::{Facts, IdentityKey};
use lanyard_core::ids::EventId;
use lanyard_env::Env;
use lanyard_party::SealedBlobError;
use lanyard_shareholder::{Batch, PseudonymError, Pseudonymiser};
use lanyard_store::{Store, StoreError};
use lanyard_wire::police::v1 as wire;
use thiserror::Error;
use tonic::Status;

use self::batches::{Kept, Part};
use self::entries::Entry;
use crate::act::Act;
use crate::lists::Lists;

pub(crate) use self::entries::Entries;
pub(crate) use self::staging::ImportId;
#[cfg(test)]
pub(crate) use self::staging::{StagedKey, begin, padding, stage_entries, stage_keys, switch};

/// Entries of a list that does not say how many it has: enough to fill batches.
const MANY: u64 = 1_000_000;

/// Why a list was not imported; the one of that name is as it was.
#[derive(Debug, Error)]
pub(crate) enum ImportError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Pseudonyms cannot be computed.
    #[error(transparent)]
    Pseudonym(#[from] PseudonymError),
    /// A batch does not open.
    #[error(transparent)]
    Sealed(#[from] SealedBlobError),
    /// The entries stopped coming.
    #[error("the entries broke off")]
    Entries(#[source] Box<Status>),
    /// Fewer or more entries came than were announced.
    #[error("{received} entries received, {announced} announced; send the list again")]
    Count {
        /// How many came.
        received: u64,
        /// How many were announced.
        announced: u64,
    },
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What is imported.
pub(crate) struct Source<'a> {
    pub(crate) list: &'a str,
    /// Names the content: an import of the same name and content goes on where it was. Empty if it shall not.
    pub(crate) content: &'a [u8],
    /// How many entries will come, or 0.
    pub(crate) announced: u64,
}

/// The police's side of a list's import. One at a time: each takes all cores.
pub(crate) struct Import<'a> {
    pub(crate) store: &'a Store,
    pub(crate) lists: &'a Lists,
    pub(crate) pseudonymiser: &'a Pseudonymiser,
    pub(crate) event: &'a EventId,
    pub(crate) env: &'a Env,
    /// Who replaces the list, asked when it is done.
    pub(crate) act: &'a (dyn Fn() -> Act<'a> + Sync),
}

/// Where the drawing of batches stands.
struct Drawing {
    import: ImportId,
    /// Keys that a batch has room for; an entry with more has one of its own.
    size: usize,
    /// Entries that an earlier run has put into batches.
    done: u64,
    entries: BoxStream<'static, Result<wire::ListEntry, Status>>,
    /// Read, but not in a batch yet.
    waiting: VecDeque<Part>,
    /// Their keys.
    keys: Vec<IdentityKey>,
    ended: bool,
}

impl Import<'_> {
    /// Computes the keys, replaces the list of this name in one transaction, and decides anew who matches. Reports after
    /// each batch.
    pub(crate) async fn run(
        &self,
        source: Source<'_>,
        entries: BoxStream<'static, Result<wire::ListEntry, Status>>,
        report: &mut (dyn FnMut(wire::ImportWatchlistResponse) + Send),
    ) -> Result<wire::ImportWatchlistResponse, ImportError> {
        // All that was asked before, for whatever list, is settled before anything else is asked: then it is among the
        // batches that holders recognise.
        let side_by_side = self.pseudonymiser.concurrency();
        let kept = futures::stream::iter(self.kept().await?);
        let kept = kept.map(|id| Ok(self.load(id))).try_buffered(1);
        let settled = kept.map_ok(|kept| self.settle(kept)).try_buffered(side_by_side);
        settled.try_for_each(|_| async { Ok(()) }).await?;

        let (import, done) = staging::begin(self.store, source.list, source.content).await?;
        let read = Mutex::new(Entries::new(self.event.clone()));
        let expected = if source.announced > 0 { source.announced.min(MANY) } else { MANY };
        let drawing = Drawing {
            import,
            size: self.pseudonymiser.batch_size(expected as usize * Facts::ENTRY_KEYS),
            done,
            entries,
            waiting: VecDeque::new(),
            keys: Vec::new(),
            ended: false,
        };
        let batches = futures::stream::try_unfold(drawing, |mut drawing| async {
            let kept = self.next_batch(&mut drawing, &read).await?;
            Ok(kept.map(|kept| (kept, drawing)))
        })
        .boxed();
        let settled = batches.map_ok(|kept| self.settle(kept)).try_buffered(side_by_side);
        let mut settled = pin!(settled);
        let mut progress = wire::ImportWatchlistResponse {
            entries: done,
            resumed: done,
            ..wire::ImportWatchlistResponse::default()
        };
        report(progress.clone());
        while let Some(Settled { entries, keys }) = settled.try_next().await? {
            progress.entries = entries;
            progress.keys += keys;
            report(progress.clone());
        }
        let read = read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (received, announced) = (read.received(), source.announced);
        if announced > 0 && received != announced {
            return Err(ImportError::Count { received, announced });
        }
        let switched =
            staging::switch(self.store, self.lists, source.list, import, (self.act)()).await?;
        Ok(wire::ImportWatchlistResponse {
            entries: received,
            resumed: done,
            keys: switched.keys,
            evaluations: switched.evaluations,
            matches: switched.matches,
            finished: true,
            ..read.progress()
        })
    }

    /// Draws and stores the next batch of entries; `None` if none is left.
    async fn next_batch(
        &self,
        drawing: &mut Drawing,
        read: &Mutex<Entries>,
    ) -> Result<Option<Kept>, ImportError> {
        let size = drawing.size;
        // One entry more than fits is read, and opens the next batch.
        while !drawing.ended && drawing.keys.len() < size {
            let next = drawing.entries.next().await.transpose();
            let Some(entry) = next.map_err(|status| ImportError::Entries(Box::new(status)))? else {
                drawing.ended = true;
                break;
            };
            let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = read.add(entry);
            let end = read.received();
            drop(read);
            let Some(entry) = entry.filter(|_| end > drawing.done) else { continue };
            let Entry { label, mut keys } = entry;
            let kinds = keys.iter().map(IdentityKey::kind).collect();
            drawing.keys.append(&mut keys);
            drawing.waiting.push_back(Part { label, kinds, end });
        }
        let mut count = 0;
        let fits = |part: &&Part| {
            let fits = count == 0 || count + part.kinds.len() <= size;
            count += if fits { part.kinds.len() } else { 0 };
            fits
        };
        let parts = drawing.waiting.iter().take_while(fits).count();
        let parts: Vec<Part> = drawing.waiting.drain(..parts).collect();
        let count: usize = parts.iter().map(|part| part.kinds.len()).sum();
        let keys: Vec<IdentityKey> = drawing.keys.drain(..count).collect();
        if keys.is_empty() {
            return Ok(None);
        }
        let batch = Batch::draw(&keys, &mut self.env.rng());
        self.open(drawing.import, parts, batch).await.map(Some)
    }
}

/// What a batch came to.
struct Settled {
    /// Entries up to its last.
    entries: u64,
    keys: u64,
}

/// All lists, by name.
pub(crate) async fn list(store: &Store) -> Result<Vec<wire::Watchlist>, StoreError> {
    store.refuse_damaged("watchlists", "1 = 1", &[]).await?;
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT name, entry_count, key_count, imported_millis FROM watchlists ORDER BY name",
    )
    .fetch_all(store.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|(name, entries, keys, imported)| wire::Watchlist {
            name,
            entries: entries as u64,
            keys: keys as u64,
            imported_millis: imported as u64,
        })
        .collect())
}

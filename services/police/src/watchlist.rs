//! Watchlists: read, turned into local hashes of pseudonyms, and put in the place of the list of the same name.

mod entries;

use lanyard_core::identity::{Facts, KeyKind};
use lanyard_core::oprf::Pseudonym;
use lanyard_env::Env;
use lanyard_party::StoreKey;
use lanyard_shareholder::{PseudonymError, Pseudonymiser, Purpose};
use lanyard_store::{AuditTrail, NewAuditEntry, Store, StoreError, next_number, next_numbers};
use lanyard_wire::police::v1 as wire;
use sqlx::{Any, Transaction};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::act::{Act, Acting};
use crate::ids::LocalHash;
use crate::matching::rematch;
use crate::states::kind_number;

pub(crate) use self::entries::{Entries, Keys};

/// Why a list was not imported; the one of that name is as it was.
#[derive(Debug, Error)]
pub(crate) enum ImportError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Pseudonyms cannot be computed.
    #[error(transparent)]
    Pseudonym(#[from] PseudonymError),
}

/// An import whose entries have all arrived.
pub(crate) struct Import<'a> {
    pub(crate) store: &'a Store,
    pub(crate) store_key: &'a StoreKey,
    pub(crate) pseudonymiser: &'a Pseudonymiser,
    pub(crate) acting: &'a Acting,
    pub(crate) operator: &'a str,
}

impl Import<'_> {
    /// Computes the keys, replaces the list of this name in one transaction, and decides anew who matches.
    pub(crate) async fn run(
        &self,
        list: &str,
        entries: Entries,
        mut report: impl FnMut(wire::ImportWatchlistResponse),
    ) -> Result<wire::ImportWatchlistResponse, ImportError> {
        let mut progress = entries.progress();
        let keys = entries.into_keys();
        let mut hashes: Vec<Option<LocalHash>> = vec![None; keys.identity.len()];
        self.pseudonymiser
            .for_each_batch(Purpose::Watchlist, &keys.identity, |finished| {
                for (place, pseudonym) in (finished.first..).zip(&finished.pseudonyms) {
                    let bytes: Zeroizing<[u8; Pseudonym::SIZE]> = pseudonym.to_bytes();
                    hashes[place] = Some(LocalHash::of(self.store_key, &bytes));
                }
                progress.keys += finished.pseudonyms.len() as u64;
                report(progress.clone());
            })
            .await?;
        // Every batch was handed over, or there was an error; a list with a gap must not take the place of a whole one.
        let hashes: Option<Vec<LocalHash>> = hashes.into_iter().collect();
        let hashes = hashes.ok_or(PseudonymError::Stopped)?;
        let padding = padding(&keys, &self.acting.env);
        let act = self.acting.by(self.operator);
        progress.matches = put(self.store, list, &keys, &hashes, &padding, act).await?;
        progress.finished = true;
        Ok(progress)
    }
}

/// Hashes that nothing matches, each with the place of its entry: in the store every entry has a multiple of so many keys that
/// their number does not tell its names and dates.
pub(crate) fn padding(keys: &Keys, env: &Env) -> Vec<(LocalHash, usize)> {
    let mut counts = vec![0_usize; keys.labels.len()];
    keys.entries.iter().for_each(|entry| counts[*entry] += 1);
    let mut padding = Vec::new();
    for (entry, count) in counts.into_iter().enumerate() {
        let missing = count.next_multiple_of(Facts::ENTRY_KEYS) - count;
        padding.extend((0..missing).map(|_| (LocalHash::random(&mut env.rng()), entry)));
    }
    padding
}

/// Puts a list in the place of the one of its name, decides anew who matches, and returns how many do; all at once.
pub(crate) async fn put(
    store: &Store,
    list: &str,
    keys: &Keys,
    hashes: &[LocalHash],
    padding: &[(LocalHash, usize)],
    act: Act<'_>,
) -> Result<u64, StoreError> {
    let mut transaction = store.begin().await?;
    replace(&mut transaction, list, keys, hashes, padding, act).await?;
    let matches = rematch(&mut transaction, act.now, act.delay_millis).await?;
    let change = AuditTrail::new_change(&mut transaction).await?;
    let reason = format!("{} entries with a key, {} keys", keys.labels.len(), hashes.len());
    let entry = NewAuditEntry {
        operator: act.operator,
        action: "import-watchlist",
        subject: list,
        reason: &reason,
    };
    AuditTrail::append(&mut transaction, act.now, change, &[entry]).await?;
    transaction.commit().await?;
    Ok(matches)
}

async fn replace(
    transaction: &mut Transaction<'static, Any>,
    list: &str,
    keys: &Keys,
    hashes: &[LocalHash],
    padding: &[(LocalHash, usize)],
    act: Act<'_>,
) -> Result<(), StoreError> {
    let known: Option<(i64,)> = sqlx::query_as("SELECT id FROM watchlists WHERE name = $1")
        .bind(list)
        .fetch_optional(&mut **transaction)
        .await?;
    let list_id = match known {
        Some((id,)) => id,
        None => next_number(transaction, "watchlist").await?,
    };
    for statement in [
        "DELETE FROM list_keys WHERE entry_id IN (SELECT id FROM list_entries WHERE list_id = $1)",
        "DELETE FROM list_entries WHERE list_id = $1",
    ] {
        sqlx::query(statement).bind(list_id).execute(&mut **transaction).await?;
    }
    sqlx::query(
        "INSERT INTO watchlists (id, name, entry_count, key_count, imported_millis) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET entry_count = $3, key_count = $4, imported_millis = $5",
    )
    .bind(list_id)
    .bind(list)
    .bind(keys.labels.len() as i64)
    .bind(hashes.len() as i64)
    .bind(act.now.millis() as i64)
    .execute(&mut **transaction)
    .await?;
    let first = next_numbers(transaction, "list_entry", keys.labels.len() as i64).await?;
    for (id, label) in (first..).zip(&keys.labels) {
        sqlx::query("INSERT INTO list_entries (id, list_id, label) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(list_id)
            .bind(label)
            .execute(&mut **transaction)
            .await?;
    }
    let real = hashes.iter().zip(&keys.identity).zip(&keys.entries);
    let real = real.map(|((hash, key), entry)| (hash, key.kind(), entry));
    let padding = padding.iter().map(|(hash, entry)| (hash, KeyKind::Variant, entry));
    for (hash, kind, entry) in real.chain(padding) {
        sqlx::query(
            "INSERT INTO list_keys (hash, entry_id, kind) VALUES ($1, $2, $3) \
             ON CONFLICT (hash, entry_id) DO NOTHING",
        )
        .bind(hash.as_slice())
        .bind(first + *entry as i64)
        .bind(kind_number(kind))
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// All lists, by name.
pub(crate) async fn list(store: &Store) -> Result<Vec<wire::Watchlist>, StoreError> {
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

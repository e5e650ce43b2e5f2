//! A list that is being imported: its entries and keys wait beside the lists until it is whole.

use std::collections::HashSet;

use lanyard_core::identity::{Facts, KeyKind};
use lanyard_party::StoreKey;
use lanyard_store::{
    AuditTrail, NewAuditEntry, SealValue, Store, StoreError, Transaction, next_number,
    next_numbers, placeholders,
};
use rand::Rng;
use sqlx::AssertSqlSafe;

use crate::act::Act;
use crate::ids::LocalHash;
use crate::lists::Lists;
use crate::rescreen;
use crate::states::kind_number;
use crate::tags;

/// Rows that one statement inserts.
const ROWS: usize = 128;

/// The import of one list.
#[derive(Clone, Copy)]
pub(crate) struct ImportId(i64);

impl ImportId {
    pub(super) const fn new(id: i64) -> Self {
        Self(id)
    }

    pub(super) const fn number(self) -> i64 {
        self.0
    }
}

/// What rows of an import are staged with.
struct Waiting {
    /// The id that the list has, or will have.
    list_id: i64,
    /// The sum of the tags of all that is staged.
    digest: i64,
}

impl Waiting {
    async fn load(transaction: &mut Transaction, import: ImportId) -> Result<Self, StoreError> {
        let (list_id, digest) =
            sqlx::query_as("SELECT list_id, digest FROM list_imports WHERE id = $1")
                .bind(import.0)
                .fetch_one(&mut **transaction)
                .await?;
        Ok(Self { list_id, digest })
    }
}

/// A key of a staged entry.
pub(crate) struct StagedKey {
    pub(crate) entry: i64,
    pub(crate) hash: LocalHash,
    pub(crate) kind: KeyKind,
}

/// What an import came to.
pub(crate) struct Switched {
    pub(crate) keys: u64,
    pub(crate) evaluations: u64,
    /// Subjects that match now.
    pub(crate) matches: u64,
}

/// Goes on with the import of this list and content, or begins one; returns how many entries are in batches already. What
/// was left of an import of the same list with other content goes, and of one that is damaged. No batch may be open.
pub(crate) async fn begin(
    store: &Store,
    list: &str,
    content: &[u8],
) -> Result<(ImportId, u64), StoreError> {
    let damaged = store.damaged("list_imports", "list = $1", &[SealValue::Text(list)]).await?;
    let mut transaction = store.begin().await?;
    let known: Option<(i64, Vec<u8>, i64)> =
        sqlx::query_as("SELECT id, content, entries FROM list_imports WHERE list = $1")
            .bind(list)
            .fetch_optional(&mut *transaction)
            .await?;
    if let Some((id, known, entries)) = known {
        if !content.is_empty() && known == content && damaged.is_empty() {
            return Ok((ImportId(id), entries as u64));
        }
        if damaged.is_empty() {
            discard(&mut transaction, ImportId(id)).await?;
        } else {
            give_up(&mut transaction, ImportId(id)).await?;
        }
    }
    let id = next_number(&mut transaction, "list_import").await?;
    let replaced: Option<(i64,)> = sqlx::query_as("SELECT id FROM watchlists WHERE name = $1")
        .bind(list)
        .fetch_optional(&mut *transaction)
        .await?;
    let list_id = match replaced {
        Some((id,)) => id,
        None => next_number(&mut transaction, "watchlist").await?,
    };
    sqlx::query(
        "INSERT INTO list_imports (id, list, list_id, content, entries, keys, evaluations, digest) \
         VALUES ($1, $2, $3, $4, 0, 0, 0, 0)",
    )
    .bind(id)
    .bind(list)
    .bind(list_id)
    .bind(content)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok((ImportId(id), 0))
}

async fn discard(transaction: &mut Transaction, import: ImportId) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM staged_keys WHERE entry_id IN (SELECT id FROM staged_entries WHERE import_id = $1)",
        "DELETE FROM staged_entries WHERE import_id = $1",
        "DELETE FROM list_imports WHERE id = $1",
    ] {
        sqlx::query(statement).bind(import.0).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Discards an import that is damaged, with what belongs to none any more.
async fn give_up(transaction: &mut Transaction, import: ImportId) -> Result<(), StoreError> {
    discard(transaction, import).await?;
    for statement in [
        "DELETE FROM staged_keys WHERE entry_id NOT IN \
         (SELECT e.id FROM staged_entries e JOIN list_imports i ON i.id = e.import_id)",
        "DELETE FROM staged_entries WHERE import_id NOT IN (SELECT id FROM list_imports)",
    ] {
        sqlx::query(statement).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Stages entries, and that `end` entries of the list are in batches; returns the id of the first.
pub(crate) async fn stage_entries(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    import: ImportId,
    labels: &[&str],
    end: u64,
) -> Result<i64, StoreError> {
    let Waiting { list_id, mut digest } = Waiting::load(transaction, import).await?;
    let first = next_numbers(transaction, "list_entry", labels.len() as i64).await?;
    let entries: Vec<(i64, &str)> = (first..).zip(labels.iter().copied()).collect();
    for entries in entries.chunks(ROWS) {
        let statement = format!(
            "INSERT INTO staged_entries (id, import_id, label, tag) VALUES {}",
            placeholders(1, entries.len(), 4)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (id, label) in entries {
            let tag = tags::list_entry(store_key, *id, list_id, label);
            digest = digest.wrapping_add(tag);
            query = query.bind(*id).bind(import.0).bind(*label).bind(tag);
        }
        query.execute(&mut **transaction).await?;
    }
    sqlx::query("UPDATE list_imports SET entries = $1, digest = $2 WHERE id = $3")
        .bind(end as i64)
        .bind(digest)
        .bind(import.0)
        .execute(&mut **transaction)
        .await?;
    Ok(first)
}

/// Hashes that nothing matches: in the store every entry has a multiple of so many keys that their number does not tell its
/// names and dates. The keys of an entry stand together.
pub(crate) fn padding(keys: &[StagedKey], rng: &mut impl Rng) -> Vec<StagedKey> {
    let mut padding = Vec::new();
    for keys in keys.chunk_by(|one, two| one.entry == two.entry) {
        let missing = keys.len().next_multiple_of(Facts::ENTRY_KEYS) - keys.len();
        padding.extend((0..missing).map(|_| StagedKey {
            entry: keys[0].entry,
            hash: LocalHash::random(rng),
            kind: KeyKind::Variant,
        }));
    }
    padding
}

/// Stages all keys of staged entries with their padding, and counts what the keys took.
pub(crate) async fn stage_keys(
    transaction: &mut Transaction,
    store_key: &StoreKey,
    import: ImportId,
    keys: &[StagedKey],
    padding: &[StagedKey],
    evaluations: u64,
) -> Result<(), StoreError> {
    let mut digest = Waiting::load(transaction, import).await?.digest;
    let mut known = HashSet::new();
    let once: Vec<&StagedKey> =
        keys.iter().chain(padding).filter(|key| known.insert((key.entry, key.hash))).collect();
    for keys in once.chunks(ROWS) {
        let statement = format!(
            "INSERT INTO staged_keys (entry_id, hash, kind, tag) VALUES {}",
            placeholders(1, keys.len(), 4)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for StagedKey { entry, hash, kind } in keys {
            let (hash, kind) = (hash.as_slice(), kind_number(*kind));
            let tag = tags::list_key(store_key, *entry, hash, kind);
            digest = digest.wrapping_add(tag);
            query = query.bind(*entry).bind(hash).bind(kind).bind(tag);
        }
        query.execute(&mut **transaction).await?;
    }
    sqlx::query(
        "UPDATE list_imports SET keys = keys + $1, evaluations = evaluations + $2, digest = $3 WHERE id = $4",
    )
    .bind(keys.len() as i64)
    .bind(evaluations as i64)
    .bind(digest)
    .bind(import.0)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Puts what is staged in the place of the list of this name, and decides anew who matches; all at once. If it is not what
/// was staged, the import is given up and the list stays as it is.
pub(crate) async fn switch(
    store: &Store,
    lists: &Lists,
    list: &str,
    import: ImportId,
    act: Act<'_>,
) -> Result<Switched, StoreError> {
    let switched = switch_sound(store, lists, list, import, act).await;
    if let Err(error) = &switched
        && error.is_damaged()
    {
        tracing::error!(list, %error, "damaged: the import is given up; send the list again");
        let mut transaction = store.begin().await?;
        give_up(&mut transaction, import).await?;
        transaction.commit().await?;
    }
    switched
}

async fn switch_sound(
    store: &Store,
    lists: &Lists,
    list: &str,
    import: ImportId,
    act: Act<'_>,
) -> Result<Switched, StoreError> {
    store.refuse_damaged("list_imports", "id = $1", &[SealValue::Number(import.0)]).await?;
    let mut transaction = store.begin().await?;
    let before = lists.guard(&mut transaction).await?;
    let Waiting { list_id, digest } = Waiting::load(&mut transaction, import).await?;
    let (keys, evaluations): (i64, i64) =
        sqlx::query_as("SELECT keys, evaluations FROM list_imports WHERE id = $1")
            .bind(import.0)
            .fetch_one(&mut *transaction)
            .await?;
    let (entries,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM staged_entries WHERE import_id = $1")
            .bind(import.0)
            .fetch_one(&mut *transaction)
            .await?;
    empty(&mut transaction, list_id, before.is_damaged()).await?;
    sqlx::query(
        "INSERT INTO watchlists (id, name, entry_count, key_count, imported_millis, digest) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(list_id)
    .bind(list)
    .bind(entries)
    .bind(keys)
    .bind(act.now.millis() as i64)
    .bind(digest)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO list_entries (id, list_id, label, tag) \
         SELECT id, $1, label, tag FROM staged_entries WHERE import_id = $2 ORDER BY id",
    )
    .bind(list_id)
    .bind(import.0)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO list_keys (hash, entry_id, kind, tag) SELECT k.hash, k.entry_id, k.kind, k.tag FROM staged_keys k \
         JOIN staged_entries e ON e.id = k.entry_id WHERE e.import_id = $1 ORDER BY k.hash, k.entry_id",
    )
    .bind(import.0)
    .execute(&mut *transaction)
    .await?;
    discard(&mut transaction, import).await?;
    let guard = lists.changed(&mut transaction).await?;
    // Another list that is damaged is none of this one's concern, and could never be replaced otherwise.
    if let Some(row) = guard.damage_of(list_id) {
        return Err(StoreError::Damaged { row: row.clone() });
    }
    let rescreened = rescreen::everyone(&mut transaction, &guard, act).await?;
    let change = AuditTrail::new_change(&mut transaction).await?;
    let reason = format!("{entries} entries with a key, {keys} keys");
    let mut audited = vec![NewAuditEntry {
        operator: act.operator,
        action: "import-watchlist",
        subject: list,
        reason: &reason,
    }];
    audited.extend(rescreened.changed.iter().map(|one| rescreen::audit_entry(one, act)));
    AuditTrail::append(&mut transaction, act.now, change, &audited).await?;
    transaction.commit().await?;
    lists.install(guard).await;
    let (keys, evaluations) = (keys as u64, evaluations as u64);
    Ok(Switched { keys, evaluations, matches: rescreened.matches })
}

/// Takes a list away, and with it what belongs to no list any more, if something is damaged.
async fn empty(
    transaction: &mut Transaction,
    list_id: i64,
    is_damaged: bool,
) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM list_keys WHERE entry_id IN (SELECT id FROM list_entries WHERE list_id = $1)",
        "DELETE FROM list_entries WHERE list_id = $1",
        "DELETE FROM watchlists WHERE id = $1",
    ] {
        sqlx::query(statement).bind(list_id).execute(&mut **transaction).await?;
    }
    if is_damaged {
        for statement in [
            "DELETE FROM list_keys WHERE entry_id NOT IN \
             (SELECT e.id FROM list_entries e JOIN watchlists w ON w.id = e.list_id)",
            "DELETE FROM list_entries WHERE list_id NOT IN (SELECT id FROM watchlists)",
        ] {
            sqlx::query(statement).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

//! A list that is being imported: its entries and keys wait beside the lists until it is whole.

use lanyard_core::identity::{Facts, KeyKind};
use lanyard_store::{
    AuditTrail, NewAuditEntry, Store, StoreError, next_number, next_numbers, placeholders,
};
use rand::Rng;
use sqlx::{Any, AssertSqlSafe, Transaction};

use crate::act::Act;
use crate::ids::LocalHash;
use crate::rescreen;
use crate::states::kind_number;

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
/// was left of an import of the same list with other content goes. No batch may be open.
pub(crate) async fn begin(
    store: &Store,
    list: &str,
    content: &[u8],
) -> Result<(ImportId, u64), StoreError> {
    let mut transaction = store.begin().await?;
    let known: Option<(i64, Vec<u8>, i64)> =
        sqlx::query_as("SELECT id, content, entries FROM list_imports WHERE list = $1")
            .bind(list)
            .fetch_optional(&mut *transaction)
            .await?;
    if let Some((id, known, entries)) = known {
        if !content.is_empty() && known == content {
            return Ok((ImportId(id), entries as u64));
        }
        discard(&mut transaction, ImportId(id)).await?;
    }
    let id = next_number(&mut transaction, "list_import").await?;
    sqlx::query(
        "INSERT INTO list_imports (id, list, content, entries, keys, evaluations) VALUES ($1, $2, $3, 0, 0, 0)",
    )
    .bind(id)
    .bind(list)
    .bind(content)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok((ImportId(id), 0))
}

async fn discard(
    transaction: &mut Transaction<'static, Any>,
    import: ImportId,
) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM staged_keys WHERE entry_id IN (SELECT id FROM staged_entries WHERE import_id = $1)",
        "DELETE FROM staged_entries WHERE import_id = $1",
        "DELETE FROM list_imports WHERE id = $1",
    ] {
        sqlx::query(statement).bind(import.0).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Stages entries, and that `end` entries of the list are in batches; returns the id of the first.
pub(crate) async fn stage_entries(
    transaction: &mut Transaction<'static, Any>,
    import: ImportId,
    labels: &[&str],
    end: u64,
) -> Result<i64, StoreError> {
    let first = next_numbers(transaction, "list_entry", labels.len() as i64).await?;
    let entries: Vec<(i64, &str)> = (first..).zip(labels.iter().copied()).collect();
    for entries in entries.chunks(ROWS) {
        let statement = format!(
            "INSERT INTO staged_entries (id, import_id, label) VALUES {}",
            placeholders(1, entries.len(), 3)
        );
        let query = sqlx::query(AssertSqlSafe(statement));
        entries
            .iter()
            .fold(query, |query, (id, label)| query.bind(*id).bind(import.0).bind(*label))
            .execute(&mut **transaction)
            .await?;
    }
    sqlx::query("UPDATE list_imports SET entries = $1 WHERE id = $2")
        .bind(end as i64)
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
    transaction: &mut Transaction<'static, Any>,
    import: ImportId,
    keys: &[StagedKey],
    padding: &[StagedKey],
    evaluations: u64,
) -> Result<(), StoreError> {
    for keys in keys.chunks(ROWS).chain(padding.chunks(ROWS)) {
        let statement = format!(
            "INSERT INTO staged_keys (entry_id, hash, kind) VALUES {} ON CONFLICT (entry_id, hash) DO NOTHING",
            placeholders(1, keys.len(), 3)
        );
        let query = sqlx::query(AssertSqlSafe(statement));
        keys.iter()
            .fold(query, |query, key| {
                query.bind(key.entry).bind(key.hash.as_slice()).bind(kind_number(key.kind))
            })
            .execute(&mut **transaction)
            .await?;
    }
    sqlx::query(
        "UPDATE list_imports SET keys = keys + $1, evaluations = evaluations + $2 WHERE id = $3",
    )
    .bind(keys.len() as i64)
    .bind(evaluations as i64)
    .bind(import.0)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Puts what is staged in the place of the list of this name, and decides anew who matches; all at once.
pub(crate) async fn switch(
    store: &Store,
    list: &str,
    import: ImportId,
    act: Act<'_>,
) -> Result<Switched, StoreError> {
    let mut transaction = store.begin().await?;
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
    let list_id = replace(&mut transaction, list, (entries, keys), act).await?;
    sqlx::query(
        "INSERT INTO list_entries (id, list_id, label) \
         SELECT id, $1, label FROM staged_entries WHERE import_id = $2 ORDER BY id",
    )
    .bind(list_id)
    .bind(import.0)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO list_keys (hash, entry_id, kind) SELECT k.hash, k.entry_id, k.kind FROM staged_keys k \
         JOIN staged_entries e ON e.id = k.entry_id WHERE e.import_id = $1 ORDER BY k.hash, k.entry_id",
    )
    .bind(import.0)
    .execute(&mut *transaction)
    .await?;
    discard(&mut transaction, import).await?;
    let rescreened = rescreen::everyone(&mut transaction, act).await?;
    let change = AuditTrail::new_change(&mut transaction).await?;
    let reason = format!("{entries} entries with a key, {keys} keys");
    let entry =
        |action, subject, reason| NewAuditEntry { operator: act.operator, action, subject, reason };
    let mut audited = vec![entry("import-watchlist", list, &reason)];
    let changed = rescreened.changed.iter();
    audited.extend(changed.map(|(subject, how)| entry("rescreen", subject, how)));
    AuditTrail::append(&mut transaction, act.now, change, &audited).await?;
    transaction.commit().await?;
    let (keys, evaluations) = (keys as u64, evaluations as u64);
    Ok(Switched { keys, evaluations, matches: rescreened.matches })
}

/// Empties the list of this name, or makes it, and returns its id.
async fn replace(
    transaction: &mut Transaction<'static, Any>,
    list: &str,
    (entries, keys): (i64, i64),
    act: Act<'_>,
) -> Result<i64, StoreError> {
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
    .bind(entries)
    .bind(keys)
    .bind(act.now.millis() as i64)
    .execute(&mut **transaction)
    .await?;
    Ok(list_id)
}

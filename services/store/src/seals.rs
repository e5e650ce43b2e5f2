//! Seals of rows: a keyed hash over every column, so that a flipped bit in a row is noticed before anything is signed,
//! released or answered from it.
//!
//! Whoever writes need not know. Triggers note each row that is written, with what it was before, and the transaction seals
//! what is noted before it commits: no row is ever on the disk without its seal. A row that was damaged before it was
//! written stays damaged: changing one column never puts a seal over another that nobody wrote.
//!
//! PostgreSQL has checksums of its own over its pages: there is nothing to seal, and a damaged page fails the statement.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::TryStreamExt as _;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::{Store, StoreError};

/// The key of a store's seals: 32 secret bytes, wiped on drop.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// A row that is not what was written there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedRow {
    /// The table.
    pub table: &'static str,
    /// The row's primary key as the store says it now: numbers, random ids in hex, or words that a party gave.
    pub key: String,
}

impl DamagedRow {
    /// The key, if it is one number.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.key.parse().ok()
    }
}

/// Leaves damaged rows out of a statement: ` AND COLUMN NOT IN (…)` for the rows of `table` whose key is one number.
#[must_use]
pub fn without(column: &str, table: &str, damaged: &BTreeSet<DamagedRow>) -> String {
    let of_table = damaged.iter().filter(|row| row.table == table);
    let numbers: Vec<_> = of_table.filter_map(|row| Some(row.number()?.to_string())).collect();
    if numbers.is_empty() {
        return String::new();
    }
    format!(" AND {column} NOT IN ({})", numbers.join(", "))
}

impl fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of table {}", self.key, self.table)
    }
}

/// The seals of a store.
pub(crate) struct Seals {
    key: SealKey,
    tables: Vec<SealedTable>,
    /// Tables that have no seals, of a store that is only looked at.
    unsealed: Vec<&'static str>,
    /// How often indexes were made anew.
    index_mends: AtomicU64,
}

struct SealedTable {
    name: &'static str,
    /// Columns and whether each belongs to the primary key, in the table's order; the seal is not among them.
    columns: Vec<(String, bool)>,
}

/// Counters tell publishers what is new: a number that is drawn twice hides a change. So nothing is committed with a number
/// while any counter is damaged.
const COUNTERS: &str = "counters";
const AUDIT: &str = "audit";
/// Sealed in every store.
const COMMON: [&str; 2] = [COUNTERS, AUDIT];
/// Rows in memory while they are being sealed.
const PAGE: i64 = 2_000;
/// Rows of one statement.
const ROWS: usize = 50;

impl SealedTable {
    /// All columns of a row as text, whatever a damaged one holds: the type and the bytes of each. `of` is what stands
    /// before a column's name.
    fn content(&self, of: &str) -> String {
        let one = |(column, _): &(String, bool)| {
            format!("typeof({of}{column}) || ' ' || hex({of}{column}) || '|'")
        };
        self.columns.iter().map(one).collect::<Vec<_>>().join(" || ")
    }

    fn key(&self) -> String {
        let one = |column: &String| {
            let column = format!("{}.{column}", self.name);
            format!(
                "'' || CASE typeof({column}) WHEN 'blob' THEN lower(hex({column})) ELSE {column} END"
            )
        };
        let columns = self.columns.iter().filter(|(_, is_key)| *is_key).map(|(name, _)| one(name));
        columns.collect::<Vec<_>>().join(" || ',' || ")
    }

    fn triggers(&self) -> [String; 2] {
        let Self { name, columns } = self;
        let (old, list) = (self.content("OLD."), columns.iter().map(|(name, _)| name.as_str()));
        let list = list.collect::<Vec<_>>().join(", ");
        [
            format!(
                "CREATE TRIGGER {name}_inserted AFTER INSERT ON {name} BEGIN INSERT INTO unsealed (relation, place, fresh, \
                 content, seal) VALUES ('{name}', NEW.rowid, 1, '', NULL) ON CONFLICT (relation, place) DO NOTHING; END"
            ),
            format!(
                "CREATE TRIGGER {name}_updated AFTER UPDATE OF {list} ON {name} BEGIN INSERT INTO unsealed (relation, place, \
                 fresh, content, seal) VALUES ('{name}', NEW.rowid, 0, {old}, OLD.seal) ON CONFLICT (relation, place) \
                 DO NOTHING; END"
            ),
        ]
    }
}

impl Seals {
    /// The seals of a store that is only looked at.
    pub(crate) async fn unchanged(
        store: &Store,
        key: SealKey,
        tables: &[&'static str],
    ) -> Result<Self, StoreError> {
        let (mut sealed, mut unsealed) = (Vec::new(), Vec::new());
        for name in COMMON.iter().chain(tables) {
            let (table, has_seals) = describe(&mut *store.pool().acquire().await?, name).await?;
            if has_seals { sealed.push(table) } else { unsealed.push(*name) }
        }
        Ok(Self { key, tables: sealed, unsealed, index_mends: AtomicU64::new(0) })
    }

    pub(crate) fn unsealed(&self) -> impl Iterator<Item = &'static str> {
        self.unsealed.iter().copied()
    }

    /// The tables from which something is decided.
    pub(crate) fn decisive_tables(&self) -> impl Iterator<Item = &'static str> {
        self.tables.iter().map(|table| table.name).filter(|name| *name != AUDIT)
    }

    pub(crate) const fn index_mends(&self) -> &AtomicU64 {
        &self.index_mends
    }

    fn seal(&self, table: &str, content: &str) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key.0);
        hasher.update(&(table.len() as u64).to_be_bytes());
        hasher.update(table.as_bytes()).update(content.as_bytes());
        hasher.finalize().as_bytes()[..16].to_vec()
    }

    /// Seals the rows that this transaction has written.
    pub(crate) async fn seal_written(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<(), StoreError> {
        let noted: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT relation FROM unsealed")
            .fetch_all(&mut *connection)
            .await?;
        for table in &self.tables {
            if noted.iter().any(|(name,)| name == table.name) {
                while self.seal_page(connection, table).await? {}
                if table.name == COUNTERS
                    && let Some(row) = self.damaged(connection, table, "1 = 1", &[]).await?.pop()
                {
                    return Err(StoreError::Damaged { row });
                }
            }
        }
        Ok(())
    }

    /// Seals the first rows of a table that are noted, but for those that were damaged before they were written; `false` if
    /// none is noted any more.
    async fn seal_page(
        &self,
        connection: &mut AnyConnection,
        table: &SealedTable,
    ) -> Result<bool, StoreError> {
        let name = table.name;
        let statement = format!(
            "SELECT u.place, u.fresh, u.content AS before, hex(u.seal) AS sealed, n.content AS content FROM (SELECT * FROM \
             unsealed WHERE relation = '{name}' ORDER BY place LIMIT {PAGE}) u LEFT JOIN (SELECT rowid AS place, {} AS \
             content FROM {name}) n ON n.place = u.place ORDER BY u.place",
            table.content(""),
        );
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut *connection).await?;
        let (mut sealed, mut last) = (Vec::new(), 0);
        for row in &rows {
            last = row.try_get("place")?;
            let fresh = row.try_get::<i64, _>("fresh")? != 0;
            let (before, seal): (&str, &str) = (row.try_get("before")?, row.try_get("sealed")?);
            // A row that was removed again has no content.
            let Ok(content) = row.try_get::<&str, _>("content") else { continue };
            if fresh || seal == hex(&self.seal(name, before)) {
                sealed.push((last, self.seal(name, content)));
            } else {
                tracing::error!(table = name, "a damaged row was written to; it stays damaged");
            }
        }
        for rows in sealed.chunks(ROWS) {
            let statement = format!(
                "UPDATE {name} SET seal = v.column2 FROM (VALUES {}) AS v WHERE {name}.rowid = v.column1",
                crate::placeholders(1, rows.len(), 2)
            );
            let query = sqlx::query(AssertSqlSafe(statement));
            rows.iter()
                .fold(query, |query, (place, seal)| query.bind(*place).bind(seal.as_slice()))
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query("DELETE FROM unsealed WHERE relation = $1 AND place <= $2")
            .bind(name)
            .bind(last)
            .execute(&mut *connection)
            .await?;
        Ok(rows.len() as i64 == PAGE)
    }

    async fn damaged(
        &self,
        connection: &mut AnyConnection,
        table: &SealedTable,
        condition: &str,
        values: &[SealValue<'_>],
    ) -> Result<Vec<DamagedRow>, StoreError> {
        let name = table.name;
        let statement = format!(
            "SELECT {} AS named, {} AS content, hex(seal) AS seal FROM {name} WHERE {condition}",
            table.key(),
            table.content(""),
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for value in values {
            query = match value {
                SealValue::Number(number) => query.bind(*number),
                SealValue::Bytes(bytes) => query.bind(*bytes),
                SealValue::Text(text) => query.bind(*text),
            };
        }
        let mut damaged = Vec::new();
        let mut rows = query.fetch(connection);
        while let Some(row) = rows.try_next().await? {
            if row.try_get::<&str, _>("seal")? != hex(&self.seal(name, row.try_get("content")?)) {
                let key = row.try_get::<String, _>("named").unwrap_or_default();
                damaged.push(DamagedRow { table: name, key });
            }
        }
        Ok(damaged)
    }
}

impl Store {
    /// Seals the rows of these tables from now on, and once those that stand in a table that was never sealed, and compares
    /// their indexes with them. Tables need a primary key.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::DamagedPage`].
    pub async fn with_seals(
        mut self,
        key: SealKey,
        tables: &[&'static str],
    ) -> Result<Self, StoreError> {
        if self.engine() != Engine::Sqlite {
            return Ok(self);
        }
        let mut transaction = self.begin().await?;
        execute(
            &mut transaction,
            "CREATE TABLE IF NOT EXISTS unsealed (relation TEXT NOT NULL, place BIGINT NOT NULL, fresh BIGINT NOT NULL, \
             content TEXT NOT NULL, seal BLOB, PRIMARY KEY (relation, place))",
        )
        .await?;
        let mut sealed = Vec::new();
        for name in COMMON.iter().chain(tables) {
            sealed.push(prepare(&mut transaction, name).await?);
        }
        let index_mends = AtomicU64::new(0);
        let seals = Seals { key, tables: sealed, unsealed: Vec::new(), index_mends };
        seals.seal_written(&mut transaction).await?;
        transaction.commit().await?;
        self.seals = Some(Arc::new(seals));
        self.mend_indexes().await?;
        Ok(self)
    }

    /// The rows of a sealed table that are not what was written there, among those that `condition` chooses: SQL with
    /// `$1`, `$2`, … for `values`, from the program and never from a request. `1 = 1` is all.
    ///
    /// # Errors
    /// [`StoreError::Query`]. With a damaged row, none.
    pub async fn damaged(
        &self,
        table: &'static str,
        condition: &str,
        values: &[SealValue<'_>],
    ) -> Result<Vec<DamagedRow>, StoreError> {
        let Some(seals) = &self.seals else { return Ok(Vec::new()) };
        let Some(sealed) = seals.tables.iter().find(|sealed| sealed.name == table) else {
            return Ok(Vec::new());
        };
        let mut connection = self.pool().acquire().await?;
        seals.damaged(&mut connection, sealed, condition, values).await
    }

    /// Refuses to go on if one of the chosen rows is damaged: see [`Store::damaged`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`], naming the first.
    pub async fn refuse_damaged(
        &self,
        table: &'static str,
        condition: &str,
        values: &[SealValue<'_>],
    ) -> Result<(), StoreError> {
        match self.damaged(table, condition, values).await?.into_iter().next() {
            Some(row) => Err(StoreError::Damaged { row }),
            None => Ok(()),
        }
    }

    /// All damaged rows of all sealed tables.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn all_damaged(&self) -> Result<Vec<DamagedRow>, StoreError> {
        let tables = self.seals.iter().flat_map(|seals| &seals.tables).map(|table| table.name);
        let mut damaged = Vec::new();
        for table in tables {
            damaged.extend(self.damaged(table, "1 = 1", &[]).await?);
        }
        Ok(damaged)
    }
}

/// What a condition of [`Store::damaged`] compares with.
#[derive(Debug, Clone, Copy)]
pub enum SealValue<'a> {
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Words.
    Text(&'a str),
}

async fn execute(connection: &mut AnyConnection, statement: &str) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(connection).await?;
    Ok(())
}

/// Gives a table its column for seals and its triggers, if it has none yet. What stands in it then is taken as it is.
async fn prepare(
    connection: &mut AnyConnection,
    name: &'static str,
) -> Result<SealedTable, StoreError> {
    let (table, has_seals) = describe(connection, name).await?;
    if !has_seals {
        execute(connection, &format!("ALTER TABLE {name} ADD COLUMN seal BLOB")).await?;
        execute(
            connection,
            &format!(
                "INSERT INTO unsealed (relation, place, fresh, content, seal) SELECT '{name}', rowid, 1, '', NULL FROM {name}"
            ),
        )
        .await?;
        for trigger in table.triggers() {
            execute(connection, &trigger).await?;
        }
    }
    Ok(table)
}

/// The columns of a table, and whether it has seals.
async fn describe(
    connection: &mut AnyConnection,
    name: &'static str,
) -> Result<(SealedTable, bool), StoreError> {
    let statement = format!("SELECT name, pk FROM pragma_table_info('{name}')");
    let found = sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await?;
    let mut columns = Vec::new();
    for row in &found {
        columns.push((row.try_get::<String, _>("name")?, row.try_get::<i64, _>("pk")? != 0));
    }
    let has_seals = columns.iter().any(|(column, _)| column == "seal");
    columns.retain(|(column, _)| column != "seal");
    Ok((SealedTable { name, columns }, has_seals))
}

/// As SQLite writes it.
fn hex(bytes: &[u8]) -> String {
    hex::encode_upper(bytes)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests copy stores
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{Schema, next_number};

    const STEPS: Schema = Schema::new(&[
        "CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT NOT NULL, tag BYTES NOT NULL, status BIGINT NOT NULL)",
    ]);

    async fn open(folder: &TempDir) -> Store {
        let store = crate::tests::open(folder.path(), &STEPS).await;
        store.with_seals(SealKey::from_bytes([7; 32]), &["people"]).await.unwrap()
    }

    async fn run(store: &Store, statement: &str) {
        let mut transaction = store.begin().await.unwrap();
        execute(&mut transaction, statement).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// As a failing disk would: no trigger hears of it.
    async fn damage(folder: &TempDir, set: &str) {
        let store = crate::tests::open(folder.path(), &STEPS).await;
        let mut connection = store.pool().acquire().await.unwrap();
        flip(&mut connection, "people", set).await;
        drop(connection);
        store.close().await;
    }

    async fn flip(connection: &mut AnyConnection, table: &'static str, set: &str) {
        let (sealed, _) = describe(connection, table).await.unwrap();
        let dropped = ["inserted", "updated"].map(|name| format!("DROP TRIGGER {table}_{name}"));
        let update = format!("UPDATE {table} SET {set}");
        for statement in dropped.into_iter().chain([update]).chain(sealed.triggers()) {
            execute(connection, &statement).await.unwrap();
        }
    }

    async fn keys(store: &Store) -> Vec<String> {
        let damaged = store.all_damaged().await.unwrap();
        damaged.into_iter().map(|row| row.key).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_sound_and_what_was_not_is_named() {
        let folder = TempDir::new().unwrap();
        let store = open(&folder).await;
        for id in 1..=4 {
            let row = format!(
                "INSERT INTO people (id, name, tag, status) VALUES ({id}, 'Ada {id}', X'00FF{id:02}', 1)"
            );
            run(&store, &row).await;
        }
        run(&store, "UPDATE people SET status = 2 WHERE id > 2").await;
        assert_eq!(keys(&store).await, [""; 0]);
        for (set, key) in [
            ("status = 3 WHERE id = 1", "1"),
            ("name = 'Adb 1' WHERE id = 1", "1"),
            ("tag = X'00FE01' WHERE id = 1", "1"),
            ("id = 9 WHERE id = 1", "9"),
            // Another type, and text that is none.
            ("tag = CAST(tag AS TEXT) WHERE id = 1", "1"),
            ("name = CAST(X'FFFE' AS TEXT) WHERE id = 1", "1"),
            ("seal = X'00112233445566778899AABBCCDDEEFF' WHERE id = 1", "1"),
            ("seal = NULL WHERE id = 1", "1"),
            ("seal = (SELECT seal FROM people WHERE id = 2) WHERE id = 1", "1"),
        ] {
            store.close().await;
            let copy = TempDir::new().unwrap();
            std::fs::copy(folder.path().join("test.db"), copy.path().join("test.db")).unwrap();
            damage(&copy, set).await;
            let store = open(&copy).await;
            assert_eq!(keys(&store).await, [key], "{set}");
            let refused = store.refuse_damaged("people", "1 = 1", &[]).await.unwrap_err();
            let text = refused.to_string();
            assert!(text.contains(&format!("row {key} of table people")), "{text}");
            assert!(
                store.refuse_damaged("people", "id = $1", &[SealValue::Number(2)]).await.is_ok()
            );
        }
    }

    #[tokio::test]
    async fn writing_to_a_damaged_row_does_not_heal_it() {
        let folder = TempDir::new().unwrap();
        let store = open(&folder).await;
        run(
            &store,
            "INSERT INTO people (id, name, tag, status) VALUES (1, 'Ada', X'00', 1), (2, 'Ben', X'00', 1)",
        )
        .await;
        assert_eq!(keys(&store).await, [""; 0]);
        store.close().await;
        damage(&folder, "name = 'Adb' WHERE id = 1").await;
        let store = open(&folder).await;
        run(&store, "UPDATE people SET status = 2").await;
        assert_eq!(keys(&store).await, ["1"]);
        run(&store, "UPDATE people SET status = 3").await;
        assert_eq!(keys(&store).await, ["1"]);
    }

    #[tokio::test]
    async fn a_row_is_never_there_without_its_seal() {
        let folder = TempDir::new().unwrap();
        let store = open(&folder).await;
        run(&store, "INSERT INTO people (id, name, tag, status) VALUES (1, 'Ada', X'00', 1)").await;
        run(&store, "UPDATE people SET status = 2").await;
        let mut transaction = store.begin().await.unwrap();
        next_number(&mut transaction, "change").await.unwrap();
        transaction.commit().await.unwrap();
        // Seen by another connection, before anybody has looked.
        for table in ["people", COUNTERS] {
            let count = format!("SELECT COUNT(*) FROM {table} WHERE seal IS NULL");
            let (bare,): (i64,) =
                sqlx::query_as(AssertSqlSafe(count)).fetch_one(store.pool()).await.unwrap();
            assert_eq!(bare, 0, "{table}");
        }
        assert_eq!(keys(&store).await, [""; 0]);
        store.close().await;
        damage(&folder, "status = 3").await;
        assert_eq!(keys(&open(&folder).await).await, ["1"]);
    }

    #[tokio::test]
    async fn no_number_is_drawn_beside_a_damaged_counter() {
        let folder = TempDir::new().unwrap();
        let store = open(&folder).await;
        let draw = async |counter| {
            let mut transaction = store.begin().await?;
            let number = next_number(&mut transaction, counter).await?;
            transaction.commit().await.map(|()| number)
        };
        assert_eq!((draw("change").await.unwrap(), draw("change").await.unwrap()), (1, 2));
        for (damaged, mended) in [
            ("value = 0 WHERE name = 'change'", "value = 2 WHERE name = 'change'"),
            // The number that is drawn stands in no row then.
            ("name = 'changf' WHERE name = 'change'", "name = 'change' WHERE name = 'changf'"),
        ] {
            let mut connection = store.pool().acquire().await.unwrap();
            flip(&mut connection, COUNTERS, damaged).await;
            for counter in ["change", "other"] {
                let refused = draw(counter).await.unwrap_err();
                assert!(refused.is_damaged(), "{damaged}: {refused}");
            }
            flip(&mut connection, COUNTERS, mended).await;
        }
        assert_eq!((draw("change").await.unwrap(), draw("other").await.unwrap()), (3, 1));
    }

    #[tokio::test]
    async fn rows_that_were_never_sealed_are_sealed_once() {
        let folder = TempDir::new().unwrap();
        let store = crate::tests::open(folder.path(), &STEPS).await;
        run(&store, "INSERT INTO people (id, name, tag, status) VALUES (1, 'Ada', X'00', 1)").await;
        store.close().await;
        let store = open(&folder).await;
        assert_eq!(keys(&store).await, [""; 0]);
        store.close().await;
        damage(&folder, "status = 5").await;
        assert_eq!(keys(&open(&folder).await).await, ["1"]);
    }
}

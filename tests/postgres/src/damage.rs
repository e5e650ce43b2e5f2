//! What a failing disk does to rows.

use std::fmt::Write as _;

use lanyard_store::{Store, next_number};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe};

/// A value that was exchanged.
pub struct Damage {
    statement: String,
}

/// Exchanges what stands in a column of the first row that `condition` chooses, as a failing disk would: no trigger and no
/// reference hears of it.
///
/// # Panics
/// If there is no such row.
pub async fn damage(pool: &AnyPool, table: &str, column: &str, condition: &str) -> Damage {
    let mut connection = pool.acquire().await.expect("the test's store");
    let place = if is_postgres(pool) { "ctid" } else { "rowid" };
    let kind: (String,) = sqlx::query_as(AssertSqlSafe(match place {
        "ctid" => format!("SELECT pg_typeof({column})::text FROM {table} LIMIT 1"),
        _ => {
            format!("SELECT typeof({column}) FROM {table} WHERE {condition} ORDER BY rowid LIMIT 1")
        }
    }))
    .fetch_one(&mut *connection)
    .await
    .expect("a row");
    let (flipped, before) = match (kind.0.as_str(), place) {
        ("text", "ctid") => (format!("{column} || '!'"), format!("quote_literal({column})")),
        ("bytea", _) => (
            format!("{column} || '\\x00'::bytea"),
            format!("'''\\x' || encode({column}, 'hex') || '''::bytea'"),
        ),
        (_, "ctid") => (format!("{column} # 64"), format!("{column}::text")),
        ("integer", _) => {
            (format!("({column} | 64) - ({column} & 64)"), format!("quote({column})"))
        }
        ("text", _) => (format!("{column} || '!'"), format!("quote({column})")),
        _ => (format!("CAST({column} || X'00' AS BLOB)"), format!("quote({column})")),
    };
    let select = format!(
        "SELECT CAST({place} AS TEXT), {before} FROM {table} WHERE {condition} ORDER BY {place} LIMIT 1"
    );
    let (row, before): (String, String) =
        sqlx::query_as(AssertSqlSafe(select)).fetch_one(&mut *connection).await.expect("a row");
    let row = if place == "ctid" { format!("'{row}'") } else { row };
    let update = format!(
        "UPDATE {table} SET {column} = {flipped} WHERE {place} = {row} RETURNING CAST({place} AS TEXT)"
    );
    let row = unheard(pool, &mut connection, update).await.expect("the row");
    let row = if place == "ctid" { format!("'{row}'") } else { row };
    let statement = format!(
        "UPDATE {table} SET {column} = {before} WHERE {place} = {row} RETURNING CAST({place} AS TEXT)"
    );
    Damage { statement }
}

impl Damage {
    /// Puts back what stood there, unheard as well.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn undo(self, pool: &AnyPool) {
        let mut connection = pool.acquire().await.expect("the test's store");
        unheard(pool, &mut connection, self.statement).await;
    }
}

/// Has an index of SQLite not hear of what `change` does.
///
/// # Panics
/// If the store fails.
pub async fn unindexed<T>(pool: &AnyPool, index: &str, change: impl Future<Output = T>) -> T {
    let mut connection = pool.acquire().await.expect("the test's store");
    let row = format!("name = '{index}'");
    let kept = format!("CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE {row}");
    let hide = format!("DELETE FROM sqlite_schema WHERE {row}");
    edit_schema(&mut connection, &[&kept, &hide]).await;
    let changed = change.await;
    edit_schema(&mut connection, &["INSERT INTO sqlite_schema SELECT * FROM kept"]).await;
    run(&mut connection, "DROP TABLE kept").await;
    changed
}

/// Other connections read a schema again when its version changes.
async fn edit_schema(connection: &mut AnyConnection, statements: &[&str]) {
    run(connection, "PRAGMA writable_schema = ON").await;
    for statement in statements {
        run(connection, statement).await;
    }
    let (version,): (i64,) = sqlx::query_as("PRAGMA schema_version")
        .fetch_one(&mut *connection)
        .await
        .expect("the test's store");
    run(connection, &format!("PRAGMA schema_version = {}", version + 1)).await;
    run(connection, "PRAGMA writable_schema = RESET").await;
}

async fn run(connection: &mut AnyConnection, statement: &str) {
    let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    query.execute(connection).await.expect("the test's store");
}

/// Removes the first row that `condition` chooses, unheard.
///
/// # Panics
/// If the store fails.
pub async fn lose(pool: &AnyPool, table: &str, condition: &str) {
    let mut connection = pool.acquire().await.expect("the test's store");
    let place = if is_postgres(pool) { "ctid" } else { "rowid" };
    let first = format!("SELECT {place} FROM {table} WHERE {condition} ORDER BY {place} LIMIT 1");
    let delete =
        format!("DELETE FROM {table} WHERE {place} = ({first}) RETURNING CAST({place} AS TEXT)");
    unheard(pool, &mut connection, delete).await.expect("the row");
}

/// Every column of those tables, the engine's own left out.
///
/// # Panics
/// If there is no row in one of them, as nothing in it can be damaged then; if the store fails.
pub async fn columns(pool: &AnyPool, tables: &[&'static str]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for table in tables {
        let (count,): (i64,) =
            sqlx::query_as(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
                .fetch_one(pool)
                .await
                .expect("a table");
        let columns = match is_postgres(pool) {
            true => format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}' \
                 ORDER BY ordinal_position"
            ),
            false => format!("SELECT name FROM pragma_table_info('{table}')"),
        };
        let columns: Vec<(String,)> =
            sqlx::query_as(AssertSqlSafe(columns)).fetch_all(pool).await.expect("its columns");
        assert!(count > 0, "there is no row in {table}");
        found.extend(columns.into_iter().map(|(column,)| (*table, column)));
    }
    found
}

/// Damages each column of those tables, and of those that are sealed in every store, one after the other, in the first row
/// that `condition` chooses. The store says that this row is damaged and no other; `check` looks at what comes of it.
///
/// # Panics
/// If the store says anything else, or fails.
pub async fn damage_each_column(
    store: &Store,
    tables: &[&'static str],
    condition: impl Fn(&str) -> String,
    check: impl AsyncFn(&'static str, &str),
) {
    let tables = [tables, &["counters", "audit"]].concat();
    for (table, column) in columns(store.pool(), &tables).await {
        let flipped = damage(store.pool(), table, &column, &condition(table)).await;
        let damaged = store.all_damaged().await.expect("the test's store");
        assert_eq!(damaged.len(), 1, "{table}.{column}: {damaged:?}");
        assert_eq!(damaged[0].table, table);
        check(table, &column).await;
        flipped.undo(store.pool()).await;
        let damaged = store.all_damaged().await.expect("the test's store");
        assert_eq!(damaged, [], "{table}.{column}");
    }
}

/// Puts other seeds into a print of an authority, sealed as a row and opening for nobody; what stood there.
///
/// # Panics
/// If the store fails.
pub async fn exchange_seeds(store: &Store, print: i64, seeds: &[u8]) -> Vec<u8> {
    let mut transaction = store.begin().await.expect("the test's store");
    let before: (Vec<u8>,) = sqlx::query_as("SELECT seeds FROM prints WHERE id = $1")
        .bind(print)
        .fetch_one(&mut *transaction)
        .await
        .expect("a print");
    let changed = next_number(&mut transaction, "changed").await.expect("the test's store");
    sqlx::query("UPDATE prints SET seeds = $1, changed = $2 WHERE id = $3")
        .bind(seeds)
        .bind(changed)
        .bind(print)
        .execute(&mut *transaction)
        .await
        .expect("the test's store");
    transaction.commit().await.expect("the test's store");
    before.0
}

fn is_postgres(pool: &AnyPool) -> bool {
    pool.connect_options().database_url.scheme().starts_with("postgres")
}

/// Runs a statement that no trigger and no reference hears of, and returns the first value of its row.
async fn unheard(
    pool: &AnyPool,
    connection: &mut AnyConnection,
    statement: String,
) -> Option<String> {
    let run = async |connection: &mut AnyConnection, statement: &str| {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(connection)
            .await
            .expect("a statement of a test");
    };
    let (before, after) = if is_postgres(pool) {
        let role = |role: &str| format!("SET session_replication_role = {role}");
        (role("replica"), role("origin"))
    } else {
        let triggers: Vec<(String, String)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
                .fetch_all(&mut *connection)
                .await
                .expect("its triggers");
        // In a transaction: a service that writes meanwhile is heard.
        let mut before = "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE;".to_owned();
        let mut after = String::new();
        for (name, sql) in triggers {
            // Writing to a String does not fail.
            let _ = write!(before, "DROP TRIGGER {name};");
            let _ = write!(after, "{sql};");
        }
        after.push_str("COMMIT; PRAGMA foreign_keys = ON;");
        (before, after)
    };
    run(connection, &before).await;
    let row: Option<(String,)> = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_optional(&mut *connection)
        .await
        .expect("a statement of a test");
    run(connection, &after).await;
    row.map(|(value,)| value)
}

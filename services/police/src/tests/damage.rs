//! A flipped bit in any row that can reach a signature or a verdict: noticed, closed, and nobody else's concern.

use lanyard_core::record::Status;
use lanyard_store::Store;
use lanyard_test_postgres::TestStore;

use super::world::{World, id, person, store_key, submission};
use crate::registry::PrintRegistry;

/// Exchanges what stands in a column for something else, as a failing disk would: no trigger hears of it. What stood there is
/// returned, as SQL.
async fn damage(store: &Store, table: &str, column: &str, value: Option<&str>) -> Vec<String> {
    let mut connection = store.pool().acquire().await.unwrap();
    let run = async |connection: &mut sqlx::AnyConnection, statement: String| {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await.unwrap();
    };
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let before: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT quote({column}) FROM {table} ORDER BY rowid LIMIT 1"
    )))
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    run(&mut connection, "PRAGMA foreign_keys = OFF".to_owned()).await;
    for (name, _) in &triggers {
        run(&mut connection, format!("DROP TRIGGER {name}")).await;
    }
    let flipped = format!(
        "CASE typeof({column}) WHEN 'integer' THEN ({column} | 64) - ({column} & 64) WHEN 'text' THEN {column} || '!' \
         ELSE CAST({column} || X'00' AS BLOB) END"
    );
    let value = value.unwrap_or(&flipped);
    let first = format!("(SELECT MIN(rowid) FROM {table})");
    run(&mut connection, format!("UPDATE {table} SET {column} = {value} WHERE rowid = {first}"))
        .await;
    for (_, sql) in triggers {
        run(&mut connection, sql).await;
    }
    run(&mut connection, "PRAGMA foreign_keys = ON".to_owned()).await;
    before.into_iter().map(|(value,)| value).collect()
}

/// Every column of a sealed table of which there is a row.
async fn columns(store: &Store) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for table in crate::registry::SEALED {
        let (count,): (i64,) =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
                .fetch_one(store.pool())
                .await
                .unwrap();
        let columns: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT name FROM pragma_table_info('{table}')"
        )))
        .fetch_all(store.pool())
        .await
        .unwrap();
        if count > 0 {
            found.extend(columns.into_iter().map(|(column,)| (*table, column)));
        }
    }
    found
}

#[tokio::test]
async fn a_flipped_bit_in_any_column_closes_what_depends_on_it_and_nothing_else() {
    let world = World::over(TestStore::sqlite()).await;
    for number in [1, 2] {
        world.submit(&[submission(number, &[person("Ada Sample")])]).await;
        world.print(number, 1, number).await.unwrap();
    }
    world.release().await;
    let statuses = async || {
        let registry = PrintRegistry::new(world.store.clone(), store_key().into());
        let changes = lanyard_authority::Registry::changes(&registry, 0, 100).await.unwrap();
        let mut found: Vec<_> =
            changes.entries.iter().map(|one| (one.id, one.record.status)).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(statuses().await, [(1, Status::Valid), (2, Status::Valid)]);
    let columns = columns(&world.store).await;
    assert!(columns.len() > 15, "{columns:?}");
    for (table, column) in columns {
        let before = damage(&world.store, table, &column, None).await;
        let damaged = world.store.all_damaged().await.unwrap();
        assert_eq!(damaged.len(), 1, "{table}.{column}: {damaged:?}");
        assert_eq!(damaged[0].table, table);
        let found = statuses().await;
        let good = found.iter().filter(|(_, status)| *status == Status::Valid).count();
        assert_eq!(good, 1, "{table}.{column}: {found:?}");
        if table == "subjects" {
            assert_eq!(world.verdict(1).await, None, "{column}: a damaged verdict was released");
            assert!(world.verdict(2).await.is_some());
        }
        damage(&world.store, table, &column, before.first().map(String::as_str)).await;
        assert_eq!(world.store.all_damaged().await.unwrap(), [], "{table}.{column}");
    }
    assert_eq!(statuses().await, [(1, Status::Valid), (2, Status::Valid)]);
    assert!(world.released(0).await.iter().any(|one| one.subject_id == id(1)));
}

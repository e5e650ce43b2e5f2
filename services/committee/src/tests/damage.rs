//! A flipped bit in any row that can reach a signature: noticed, closed, and nobody else's concern.

use super::*;

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
    let desk = Desk::over(TestStore::sqlite()).await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    desk.issue(2, 1).await;
    desk.change(StatusAction::Suspend, "A-1").await;
    desk.change(StatusAction::Reinstate, "A-1").await;
    assert_eq!(desk.published().await, [(1, Status::Valid), (2, Status::Valid)]);
    let columns = columns(&desk.store).await;
    assert!(columns.len() > 30, "{columns:?}");
    for (table, column) in columns {
        let before = damage(&desk.store, table, &column, None).await;
        let damaged = desk.store.all_damaged().await.unwrap();
        assert_eq!(damaged.len(), 1, "{table}.{column}: {damaged:?}");
        assert_eq!(damaged[0].table, table);
        let published = desk.published().await;
        if matches!(table, "people" | "prints") {
            let good = published.iter().filter(|(_, status)| *status == Status::Valid);
            assert_eq!(good.count(), 1, "{table}.{column}: {published:?}");
            assert!(published.contains(&(2, Status::Valid)), "{table}.{column}: {published:?}");
        }
        if table == "profiles" {
            let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
            assert_eq!(registry.profiles().await.unwrap(), ProfileTable::default());
        }
        damage(&desk.store, table, &column, before.first().map(String::as_str)).await;
        assert_eq!(desk.store.all_damaged().await.unwrap(), [], "{table}.{column}");
    }
    assert_eq!(desk.published().await, [(1, Status::Valid), (2, Status::Valid)]);
}

#[tokio::test]
async fn a_damaged_row_is_told_to_a_publisher_that_runs_and_stays_closed_whatever_is_written() {
    let desk = Desk::over(TestStore::sqlite()).await;
    let people = vec![person("A-1", "Ada Sample"), person("A-2", "Bo Sample")];
    desk.import(people, wire::ImportMode::AllOrNothing).await;
    desk.issue(1, 1).await;
    desk.issue(2, 1).await;
    let registry = PrintRegistry::new(desk.store.clone(), Arc::clone(&desk.store_key));
    let cursor = registry.changes(0, 100).await.unwrap().cursor;
    damage(&desk.store, "people", "not_after", None).await;
    // Whoever writes to it does not heal it: the new status is there, and the record is closed.
    desk.change(StatusAction::Suspend, "A-1").await;
    desk.change(StatusAction::Reinstate, "A-1").await;
    let changes = registry.changes(cursor, 100).await.unwrap();
    let statuses: Vec<_> = changes.entries.iter().map(|one| (one.id, one.record.status)).collect();
    assert_eq!(statuses, [(1, Status::Suspended)]);
    assert!(registry.changes(changes.cursor, 100).await.unwrap().entries.is_empty());
    let refused = desk.store.refuse_damaged("people", "1 = 1", &[]).await.unwrap_err();
    assert!(refused.to_string().contains("row 1 of table people is damaged"), "{refused}");
}

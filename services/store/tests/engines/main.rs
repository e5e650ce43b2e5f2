//! The store over both engines: see `lanyard_test_postgres`.

#![allow(clippy::disallowed_methods)]

mod postgres;

use lanyard_core::ids::{Authority, EventId};
use lanyard_store::{
    Location, Owner, Schema, Store, StoreError, next_number, next_numbers, placeholders,
};
use lanyard_test_postgres::TestStore;

const STEPS: Schema =
    Schema::new(&["CREATE TABLE things (id BIGINT PRIMARY KEY, body BYTES, name TEXT)"]);

fn owner() -> Owner {
    Owner { party: Authority::Police, event: EventId::parse("games").unwrap() }
}

fn locate(place: &TestStore) -> Location {
    Location::parse(place.url(), place.folder()).unwrap()
}

async fn open(place: &TestStore, schema: &Schema) -> Result<Store, StoreError> {
    Store::open(&locate(place), &owner(), schema).await
}

#[tokio::test]
async fn a_store_keeps_what_was_committed() {
    let place = TestStore::new().await;
    let store = open(&place, &STEPS).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    assert_eq!(next_number(&mut transaction, "things").await.unwrap(), 1);
    assert_eq!(next_numbers(&mut transaction, "things", 5).await.unwrap(), 2);
    sqlx::query("INSERT INTO things (id, body) VALUES ($1, $2)")
        .bind(1_i64)
        .bind(vec![1_u8, 2, 3])
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let mut dropped = store.begin().await.unwrap();
    assert_eq!(next_number(&mut dropped, "things").await.unwrap(), 7);
    drop(dropped);
    store.close().await;

    let store = open(&place, &STEPS).await.unwrap();
    let (body,): (Vec<u8>,) = sqlx::query_as("SELECT body FROM things WHERE id = 1")
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_eq!(body, [1, 2, 3]);
    let mut transaction = store.begin().await.unwrap();
    assert_eq!(next_number(&mut transaction, "things").await.unwrap(), 7);
}

#[tokio::test]
async fn a_store_of_an_unknown_version_is_refused() {
    const NEWER: Schema =
        Schema::new(&["CREATE TABLE a (id BIGINT)", "CREATE TABLE b (id BIGINT)"]);
    const OLDER: Schema = Schema::new(&["CREATE TABLE a (id BIGINT)"]);
    let place = TestStore::new().await;
    let store = open(&place, &NEWER).await.unwrap();
    let refused = open(&place, &OLDER).await.err();
    assert!(matches!(refused, Some(StoreError::Newer { found: 3, known: 2 })), "{refused:?}");
    sqlx::query("DELETE FROM schema_version WHERE version = 2")
        .execute(store.pool())
        .await
        .unwrap();
    let refused = open(&place, &NEWER).await.err();
    assert!(matches!(refused, Some(StoreError::UnknownSchema)), "{refused:?}");
}

#[tokio::test]
async fn a_schema_grows_by_its_new_steps() {
    const FIRST: Schema = Schema::new(&["CREATE TABLE a (id BIGINT)"]);
    const SECOND: Schema =
        Schema::new(&["CREATE TABLE a (id BIGINT)", "ALTER TABLE a ADD COLUMN name TEXT"]);
    let place = TestStore::new().await;
    open(&place, &FIRST).await.unwrap().close().await;
    let store = open(&place, &SECOND).await.unwrap();
    sqlx::query("INSERT INTO a (id, name) VALUES (1, 'x')").execute(store.pool()).await.unwrap();
    open(&place, &SECOND).await.unwrap();
}

#[tokio::test]
async fn a_store_of_another_event_or_party_is_refused() {
    let place = TestStore::new().await;
    open(&place, &STEPS).await.unwrap();
    let party = Owner { party: Authority::Committee, ..owner() };
    let event = Owner { event: EventId::parse("other-games").unwrap(), ..owner() };
    for foreign in [party, event] {
        let refused = Store::open(&locate(&place), &foreign, &STEPS).await.err().unwrap();
        assert!(matches!(refused, StoreError::Foreign { .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains("that of police of event games"), "{said}");
    }
    open(&place, &STEPS).await.unwrap();
}

#[tokio::test]
async fn text_sorts_by_its_bytes() {
    let place = TestStore::new().await;
    let store = open(&place, &STEPS).await.unwrap();
    for (id, name) in (1_i64..).zip(["b", "a", "B", "ä", "Z", "-"]) {
        sqlx::query("INSERT INTO things (id, name) VALUES ($1, $2)")
            .bind(id)
            .bind(name)
            .execute(store.pool())
            .await
            .unwrap();
    }
    let names: Vec<(String,)> = sqlx::query_as("SELECT name FROM things ORDER BY name")
        .fetch_all(store.pool())
        .await
        .unwrap();
    let names: String = names.into_iter().map(|(name,)| name).collect();
    assert_eq!(names, "-BZabä");
}

/// As the registry of a publisher does: goes on after the last number that it saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_goes_on_after_a_number_misses_nothing() {
    const WRITERS: i64 = 4;
    const EACH: i64 = 20;
    let place = TestStore::new().await;
    let store = open(&place, &STEPS).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    let mut transaction = store.begin().await.unwrap();
                    let id = next_number(&mut transaction, "things").await.unwrap();
                    tokio::task::yield_now().await;
                    sqlx::query("INSERT INTO things (id) VALUES ($1)")
                        .bind(id)
                        .execute(&mut *transaction)
                        .await
                        .unwrap();
                    transaction.commit().await.unwrap();
                }
            })
        })
        .collect();
    let (mut seen, mut cursor) = (0, 0_i64);
    while cursor < WRITERS * EACH {
        let rows: Vec<(i64,)> = sqlx::query_as("SELECT id FROM things WHERE id > $1 ORDER BY id")
            .bind(cursor)
            .fetch_all(store.pool())
            .await
            .unwrap();
        seen += rows.len() as i64;
        cursor = rows.last().map_or(cursor, |(id,)| *id);
    }
    assert_eq!(seen, WRITERS * EACH);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[test]
fn placeholders_count_on_from_row_to_row() {
    assert_eq!(placeholders(2, 2, 2), "($2, $3), ($4, $5)");
    assert_eq!(placeholders(1, 1, 3), "($1, $2, $3)");
}

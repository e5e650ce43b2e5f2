//! The store over both engines: see `lanyard_test_postgres`.

#![allow(clippy::disallowed_methods)]

mod postgres;

use lanyard_core::ids::{Authority, EventId};
use lanyard_party::{Found, Report};
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

/// What an inspection finds of the store, which is one thing or nothing.
async fn inspected(location: &Location, owner: &Owner, schema: &Schema) -> (Found, String) {
    let mut report = Report::default();
    Store::inspect(location, owner, schema, &mut report).await;
    let [found] = report.findings() else { panic!("{}", report.table()) };
    (found.found, found.detail.clone())
}

#[tokio::test]
async fn an_inspection_refuses_what_starting_refuses_and_makes_nothing() {
    let (place, mine) = (TestStore::new().await, owner());
    let location = locate(&place);
    for _ in 0..2 {
        let (found, detail) = inspected(&location, &mine, &STEPS).await;
        assert!(found == Found::Good && detail.contains("first start makes it"), "{detail}");
    }
    open(&place, &STEPS).await.unwrap().close().await;
    let (found, detail) = inspected(&location, &mine, &STEPS).await;
    assert!(found == Found::Good && detail.contains("answers"), "{detail}");
    let foreign = Owner { party: Authority::Committee, ..owner() };
    let (found, detail) = inspected(&location, &foreign, &STEPS).await;
    assert!(found == Found::Bad && detail.contains("that of police of event games"), "{detail}");

    const OLDER: Schema = Schema::new(&[]);
    let (found, detail) = inspected(&location, &mine, &OLDER).await;
    assert!(found == Found::Bad && detail.contains("use a newer program"), "{detail}");
    let store = open(&place, &STEPS).await.unwrap();
    sqlx::query("DELETE FROM schema_version WHERE version = 1")
        .execute(store.pool())
        .await
        .unwrap();
    let (found, detail) = inspected(&location, &mine, &STEPS).await;
    assert!(found == Found::Bad && detail.contains("did not make its schema"), "{detail}");
}

#[tokio::test]
async fn the_folder_of_a_sqlite_file_has_to_be_there() {
    let place = TestStore::sqlite();
    let location = Location::parse("sqlite://none/police.db", place.folder()).unwrap();
    let (found, detail) = inspected(&location, &owner(), &STEPS).await;
    assert!(found == Found::Bad && detail.contains("there is no folder"), "{detail}");
    let refused = Store::open(&location, &owner(), &STEPS).await.err().unwrap();
    assert!(matches!(refused, StoreError::NoFolder { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damage() {
    let place = TestStore::sqlite();
    let location = locate(&place);
    std::fs::write(location.file().unwrap(), "no database, but long enough").unwrap();
    let (found, detail) = inspected(&location, &owner(), &STEPS).await;
    assert!(found == Found::Bad && detail.contains("restore the store"), "{detail}");
    let refused = Store::open(&location, &owner(), &STEPS).await.err().unwrap();
    assert!(refused.is_damaged_page(), "{refused:?}");
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

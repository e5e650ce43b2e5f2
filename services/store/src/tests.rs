//! What a power cut and a full disk do to a SQLite store. What both engines do is tested in `tests/engines`.

#![allow(clippy::disallowed_methods)] // tests do to files what a power cut does

use std::path::Path;

use lanyard_core::ids::{Authority, EventId};

use super::*;

const STEPS: Schema = Schema::new(&["CREATE TABLE things (id BIGINT PRIMARY KEY, body BYTES)"]);

pub(crate) async fn open(folder: &Path, schema: &Schema) -> Store {
    let owner = Owner { party: Authority::Police, event: EventId::parse("games").unwrap() };
    let location = Location::parse("sqlite://test.db", folder).unwrap();
    Store::open(&location, &owner, schema).await.unwrap()
}

async fn insert(store: &Store, id: i64) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    sqlx::query("INSERT INTO things (id, body) VALUES ($1, $2)")
        .bind(id)
        .bind(vec![7_u8; 3_000])
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn count(store: &Store) -> i64 {
    let counted: (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM things").fetch_one(store.pool()).await.unwrap();
    counted.0
}

/// Each connection syncs the log at each commit: with less, a power cut takes what was acknowledged.
#[tokio::test]
async fn every_connection_syncs_at_every_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &STEPS).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = store.pool().acquire().await.unwrap();
        let (synchronous,): (i64,) =
            sqlx::query_as("PRAGMA synchronous").fetch_one(&mut *connection).await.unwrap();
        let (journal,): (String,) =
            sqlx::query_as("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
        assert_eq!((synchronous, journal.as_str()), (2, "wal"));
        held.push(connection);
    }
}

/// A power cut in the middle of a commit leaves the log cut anywhere, or with rubbish behind what was synced: what was
/// committed before is there, and of the rest all or nothing.
#[tokio::test]
async fn a_log_that_is_cut_anywhere_holds_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &STEPS).await;
    let log = folder.path().join("test.db-wal");
    let mut lengths = Vec::new();
    for id in 1..=3 {
        insert(&store, id).await.unwrap();
        lengths.push(std::fs::metadata(&log).unwrap().len() as usize);
    }
    let (main, whole) =
        (std::fs::read(folder.path().join("test.db")).unwrap(), std::fs::read(&log).unwrap());
    assert_eq!(whole.len(), lengths[2], "the log was not folded in meanwhile");
    let (synced, end) = (lengths[1], lengths[2]);
    for cut in (synced..=end).step_by(509).chain([end]) {
        for rubbish in [0, 777] {
            let copy = tempfile::tempdir().unwrap();
            std::fs::write(copy.path().join("test.db"), &main).unwrap();
            let left = [&whole[..cut], &vec![0xA5; rubbish]].concat();
            std::fs::write(copy.path().join("test.db-wal"), left).unwrap();
            let store = open(copy.path(), &STEPS).await;
            assert_eq!(count(&store).await, if cut == end { 3 } else { 2 }, "cut at {cut}");
            insert(&store, 9).await.unwrap();
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_full_store_says_so_and_goes_on_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &STEPS).await;
    let limit = async |pages: u32| {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = store.pool().acquire().await.unwrap();
            let pragma = format!("PRAGMA max_page_count = {pages}");
            sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&mut *connection).await.unwrap();
            held.push(connection);
        }
    };
    limit(40).await;
    let mut kept = 0;
    let full = loop {
        match insert(&store, kept + 1).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(full.is_full(), "{full:?}");
    assert!(full.to_string().contains("the disk is full"), "{full}");
    assert_eq!(count(&store).await, kept, "nothing was half written");
    limit(1_000).await;
    // On each connection, that of the transaction that failed among them: they take turns.
    for more in 1..=i64::from(CONNECTIONS) {
        insert(&store, kept + more).await.unwrap();
    }
}

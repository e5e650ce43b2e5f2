//! PostgreSQL for tests.
//!
//! `DATABASE_URL` names a server, or else the installed one is started: once a test process, as an ordinary user, on a Unix
//! socket, in a folder that goes with it. Each test has a database of its own there.
//!
//! | `LANYARD_TEST_STORE` | tests of the store's users run over |
//! | --- | --- |
//! | unset, `sqlite` | SQLite |
//! | `postgres` | PostgreSQL, which must be there |
//!
//! Tests that need PostgreSQL whatever the variable says skip loudly where there is none: see [`database`].

// Starts a server and makes folders: that is what it is for.
#![allow(clippy::disallowed_methods)]

mod damage;
mod server;

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use url::Url;

pub use damage::{Damage, columns, damage, damage_each_column, exchange_seeds, lose, unindexed};
pub use server::{NoServer, Server, dump, restore};

/// The variable that says what the tests of the store's users run over.
pub const SWITCH: &str = "LANYARD_TEST_STORE";

/// A new, empty store for one test.
pub struct TestStore {
    url: String,
    folder: TempDir,
}

impl TestStore {
    /// An URL as `config.toml` has it, relative to [`TestStore::folder`].
    ///
    /// # Panics
    /// If PostgreSQL is asked for and not there.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for a test's store");
        let url = match asked() {
            None => "sqlite://test.db".to_owned(),
            Some(place) => place.create_database().await,
        };
        Self { url, folder }
    }

    /// A SQLite store whatever [`SWITCH`] says: for what is done on SQLite only.
    ///
    /// # Panics
    /// If there can be no folder for it.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder for a test's store");
        Self { url: "sqlite://test.db".to_owned(), folder }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All that the store holds, to be searched; bytes as they are.
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn everything(&self) -> Vec<u8> {
        if self.url.starts_with("postgres") {
            return everything_in(&self.url).await;
        }
        let mut bytes = Vec::new();
        for file in std::fs::read_dir(self.folder()).expect("the test's folder") {
            bytes.extend(std::fs::read(file.expect("a file of it").path()).expect("readable"));
        }
        bytes
    }

    /// A folder of the test's own.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// The URL of a new, empty PostgreSQL database if [`SWITCH`] asks for one; `None` if it asks for SQLite. Blocks.
///
/// # Panics
/// If PostgreSQL is asked for and not there.
#[must_use]
pub fn asked_database() -> Option<String> {
    let place = asked()?;
    // On a thread of its own: the caller may be within a runtime.
    let created = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(place.create_database())
    });
    Some(created.join().expect("a database of the test's own"))
}

/// The URL of a new, empty PostgreSQL database; `None`, said loudly, where there is no server.
///
/// # Panics
/// If PostgreSQL is asked for by [`SWITCH`] and not there.
pub async fn database() -> Option<String> {
    match shared() {
        Ok(place) => Some(place.create_database().await),
        Err(missing) => {
            skip(missing);
            None
        }
    }
}

/// A server of one test's own, to be stopped and started; `None`, said loudly, where none is installed.
///
/// # Panics
/// If PostgreSQL is asked for by [`SWITCH`] and not there.
pub fn own_server() -> Option<Server> {
    match Server::start() {
        Ok(server) => Some(server),
        Err(missing) => {
            skip(&missing);
            None
        }
    }
}

/// Every row of every table as text, and every value of bytes in it once more as it is: all that a database holds, to be
/// searched.
///
/// # Panics
/// If it cannot be read.
pub async fn everything_in(url: &str) -> Vec<u8> {
    let mut connection = PgConnection::connect(url).await.expect("the test's database");
    let tables =
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let tables: Vec<(String,)> =
        sqlx::query_as(tables).fetch_all(&mut connection).await.expect("its tables");
    let mut everything = Vec::new();
    for (table,) in tables {
        let rows: Vec<(String,)> =
            sqlx::query_as(AssertSqlSafe(format!("SELECT t::text FROM {table} t")))
                .fetch_all(&mut connection)
                .await
                .expect("its rows");
        for (row,) in rows {
            for value in row.split("\\x").skip(1) {
                let digits = value.bytes().map_while(|digit| char::from(digit).to_digit(16));
                let digits: Vec<u32> = digits.collect();
                everything
                    .extend(digits.as_chunks().0.iter().map(|[high, low]| (high * 16 + low) as u8));
            }
            everything.extend(row.into_bytes());
        }
    }
    everything
}

/// The server that [`SWITCH`] asks for.
fn asked() -> Option<&'static Place> {
    match std::env::var(SWITCH).as_deref() {
        Err(_) | Ok("sqlite") => None,
        Ok("postgres") => match shared() {
            Ok(place) => Some(place),
            Err(missing) => panic!("{SWITCH}=postgres: {missing}"),
        },
        Ok(other) => panic!("{SWITCH}={other}: use sqlite or postgres"),
    }
}

fn skip(missing: &NoServer) {
    let asked = std::env::var(SWITCH).is_ok_and(|asked| asked == "postgres");
    assert!(!asked, "{SWITCH}=postgres: {missing}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not `eprintln!`, which a test that passes keeps to itself.
    writeln!(std::io::stderr(), "SKIPPED {name}: {missing}").expect("standard error");
}

/// The server that the tests of this process share.
enum Place {
    Given(Url),
    Started(Server),
}

fn shared() -> Result<&'static Place, &'static NoServer> {
    static SHARED: OnceLock<Result<Place, NoServer>> = OnceLock::new();
    let place = SHARED.get_or_init(|| match std::env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => Ok(Place::Given(
            Url::parse(&url).expect("DATABASE_URL: use postgres://USER@HOST/DATABASE"),
        )),
        _ => Server::start().map(Place::Started),
    });
    place.as_ref()
}

impl Place {
    async fn create_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lanyard_test_{}_{number}", std::process::id());
        let url = match self {
            Self::Started(server) => Url::parse(&server.url("postgres")).expect("a server's URL"),
            Self::Given(url) => url.clone(),
        };
        let mut connection =
            PgConnection::connect(url.as_str()).await.expect("the server of DATABASE_URL answers");
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE template0"),
        ] {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .expect("the user of DATABASE_URL may create databases");
        }
        let mut url = url;
        url.set_path(&name);
        url.into()
    }
}

//! Where the authorities of a test's event keep their rows: in SQLite, or in PostgreSQL if `LANYARD_TEST_STORE` says so.

use std::path::{Path, PathBuf};

use lanyard_store::{Documents, Location};
use lanyard_test_postgres::{asked_database, dump, everything_in, restore};
use sqlx::AnyPool;

use crate::TestEvent;

impl TestEvent {
    /// Has the rows of both authorities kept in databases of their own, if PostgreSQL is asked for.
    pub(crate) fn place_stores(&self) {
        for authority in ["committee", "police"] {
            let Some(url) = asked_database() else { return };
            self.place_store(authority, &url);
        }
    }

    /// Has the rows of an authority kept at `url`.
    ///
    /// # Panics
    /// If its configuration cannot be written.
    pub fn place_store(&self, authority: &str, url: &str) {
        let path = self.folder(authority).join("config.toml");
        let config = std::fs::read_to_string(&path).expect("the ceremony wrote it");
        let before = format!("store = \"{}\"", self.store_url(authority));
        let config = config.replace(&before, &format!("store = \"{url}\""));
        std::fs::write(&path, config).expect("it can be written");
    }

    fn store_url(&self, authority: &str) -> String {
        let config = std::fs::read_to_string(self.folder(authority).join("config.toml"));
        let config = config.expect("the ceremony wrote it");
        let url = config.lines().find_map(|line| line.strip_prefix("store = \""));
        url.expect("authorities have stores").trim_end_matches('"').to_owned()
    }

    /// Whether an authority keeps its rows in PostgreSQL.
    #[must_use]
    pub fn is_over_postgres(&self, authority: &str) -> bool {
        self.postgres(authority).is_some()
    }

    /// The rows of an authority, past its service.
    ///
    /// # Panics
    /// If they cannot be reached.
    pub async fn rows(&self, authority: &str) -> AnyPool {
        sqlx::any::install_default_drivers();
        AnyPool::connect(&self.rows_url(authority)).await.expect("the authority's store")
    }

    /// Where the rows of an authority are, whoever asks.
    ///
    /// # Panics
    /// If its configuration cannot be read.
    #[must_use]
    pub fn rows_url(&self, authority: &str) -> String {
        let url = self.store_url(authority);
        match url.strip_prefix("sqlite://") {
            Some(file) => format!("sqlite://{}", self.folder(authority).join(file).display()),
            None => url,
        }
    }

    /// All rows of a member that lie elsewhere than in its folder, to be searched; bytes as they are.
    ///
    /// # Panics
    /// If they cannot be read.
    pub async fn rows_elsewhere(&self, member: &str) -> Vec<u8> {
        match self.postgres(member) {
            Some(url) => everything_in(&url).await,
            None => Vec::new(),
        }
    }

    /// Has PostgreSQL write all of a table to its file, and returns which that is, below its data folder.
    ///
    /// # Panics
    /// If that fails.
    pub async fn written(&self, authority: &str, table: &str) -> String {
        let rows = self.rows(authority).await;
        sqlx::query("CHECKPOINT").execute(&rows).await.expect("a superuser");
        let asked = sqlx::query_as("SELECT pg_relation_filepath($1)").bind(table);
        let (file,): (String,) = asked.fetch_one(&rows).await.expect("a table");
        rows.close().await;
        file
    }

    /// The names in a folder that an authority keeps once, however many instances of its service there are: in its data
    /// folder, or in the database.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn kept(&self, authority: &str, folder: &str) -> Vec<String> {
        if !self.is_over_postgres(authority) {
            let names = std::fs::read_dir(self.folder(authority).join("data").join(folder));
            let names = names.expect("it is there").map(|entry| entry.expect("a file").file_name());
            return names.map(|name| name.to_string_lossy().into_owned()).collect();
        }
        let location = Location::parse(&self.store_url(authority), Path::new("/"));
        let location = location.expect("an URL that services take");
        let prefix = match folder {
            "" => "store/".to_owned(),
            folder => format!("store/{folder}/"),
        };
        // On a thread of its own: the caller may be within a runtime.
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let documents = Documents::new(&location).expect("an URL that services take");
                let names = documents.names(&prefix).await.expect("the authority's store");
                names.into_iter().map(|name| name[prefix.len()..].to_owned()).collect()
            })
        });
        asked.join().expect("names")
    }

    /// Copies a member's rows beside its backup in `to`, if they lie elsewhere than in its folder. Its service may run.
    ///
    /// # Panics
    /// If that fails.
    pub fn copy_rows(&self, member: &str, to: &Path) {
        if let Some(url) = self.postgres(member) {
            dump(&url, &dumped(member, to));
        }
    }

    /// Puts a member's backup, a copy of its folder and its rows, in the place of both; its service does not run.
    ///
    /// # Panics
    /// If that fails.
    pub fn restore(&self, member: &str, from: &Path) {
        std::fs::remove_dir_all(self.folder(member)).expect("its folder");
        copy_folder(&from.join(member), &self.folder(member));
        if self.is_over_postgres(member) {
            self.restore_rows(member, from);
        }
    }

    /// Puts the rows of a member's backup in the place of those that it has; its service does not run.
    ///
    /// # Panics
    /// If that fails.
    pub fn restore_rows(&self, member: &str, from: &Path) {
        if let Some(url) = self.postgres(member) {
            return restore(&url, &dumped(member, from));
        }
        let file = format!("data/{member}.db");
        let kept = from.join(member).join(&file);
        if kept.exists() {
            let place = self.folder(member).join(&file);
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", place.display()));
            }
            std::fs::copy(kept, place).expect("it can be copied");
        }
    }

    /// Where a member keeps its rows, if that is PostgreSQL.
    fn postgres(&self, member: &str) -> Option<String> {
        let is_authority = ["committee", "police"].contains(&member);
        is_authority.then(|| self.store_url(member)).filter(|url| url.starts_with("postgres"))
    }
}

fn dumped(member: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{member}.dump"))
}

/// Copies a folder with all that is in it.
///
/// # Panics
/// If that fails.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("what is in it");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its kind").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

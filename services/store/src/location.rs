//! Where a store is: parsed from the URL in `config.toml`, with nothing in it that must not be shown.

use std::fmt;
use std::path::Path;

use sqlx::any::AnyConnectOptions;
use url::Url;
use zeroize::Zeroizing;

use crate::StoreError;
use crate::engine::{Access, Engine};

/// What an URL of PostgreSQL may say behind the `?`. Anything else would be passed over in silence, or be a part of a
/// password that was not written as URLs want it.
const PARAMETERS: [&str; 5] = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// Where a store is. Has no Debug: it may hold a password.
#[derive(Clone)]
pub struct Location {
    pub(crate) engine: Engine,
    pub(crate) access: Access,
    url: Zeroizing<String>,
    shown: String,
}

impl Location {
    /// Parses an URL. Relative paths in it lie under `folder`.
    ///
    /// `sqlite://FILE`, or `postgres://USER@HOST:PORT/DATABASE` with, behind a `?`, `host` for the folder of a Unix socket,
    /// `sslmode`, `sslrootcert`, `sslcert` and `sslkey`. A server that is neither on this machine nor said to be without TLS
    /// has to prove its name (`sslmode=verify-full`).
    ///
    /// # Errors
    /// [`StoreError::Url`]. Nothing of the URL is repeated in it, since a password may stand anywhere in a wrong one.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, StoreError> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            if path.is_empty() {
                return Err(refused("the path of the SQLite file is missing"));
            }
            let path = folder.join(path);
            let path = path.to_str().ok_or_else(|| refused("its path must be UTF-8"))?;
            let url = Zeroizing::new(format!("sqlite://{path}"));
            let (engine, access) = (Engine::Sqlite, Access::Write);
            return Ok(Self { engine, access, url, shown: path.to_owned() });
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Self::postgres(text, folder);
        }
        Err(refused("it is of no known kind"))
    }

    fn postgres(text: &str, folder: &Path) -> Result<Self, StoreError> {
        let mut url = Url::parse(text).map_err(|_| refused("it is no URL"))?;
        let database = url.path().trim_start_matches('/').to_owned();
        if database.is_empty() || database.contains(['/', '@', ':']) || url.fragment().is_some() {
            return Err(refused("it names no database, or something in it is not written %XX"));
        }
        let mut given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        for (place, (name, value)) in given.iter().enumerate() {
            let known = PARAMETERS.contains(&name.as_str());
            let twice = given[..place].iter().any(|(other, _)| other == name);
            if !known || twice || value.is_empty() {
                return Err(refused("it has an unknown, repeated or empty parameter behind the ?"));
            }
        }
        let value = |name: &str| given.iter().find(|(of, _)| of == name).map(|(_, value)| value);
        let host = url.host_str().unwrap_or_default().to_owned();
        let socket = value("host").cloned().or_else(|| host.strip_prefix("%2F").map(str::to_owned));
        if value("host").is_some_and(|host| !host.starts_with('/')) {
            return Err(refused("its parameter host is for the folder of a Unix socket only"));
        }
        if host.is_empty() && socket.is_none() {
            return Err(refused("it names no host"));
        }
        let here = socket.is_some() || ["localhost", "127.0.0.1", "[::1]"].contains(&&*host);
        match value("sslmode").map(String::as_str) {
            Some("disable" | "verify-ca" | "verify-full") => {}
            Some(_) => {
                return Err(refused(
                    "its sslmode proves nothing of the server: use verify-full, verify-ca or disable",
                ));
            }
            None => {
                let mode = if here { "disable" } else { "verify-full" };
                given.push(("sslmode".to_owned(), mode.to_owned()));
            }
        }
        for (name, value) in &mut given {
            if ["sslrootcert", "sslcert", "sslkey"].contains(&name.as_str()) {
                let path = folder.join(&*value);
                value.clear();
                value.push_str(path.to_str().ok_or_else(|| refused("its paths must be UTF-8"))?);
            }
        }
        url.query_pairs_mut().clear().extend_pairs(&given);
        let place = if socket.is_some() { "a Unix socket" } else { &host };
        let port = url.port().unwrap_or(5432);
        let shown = format!("PostgreSQL at {place}, port {port}, database {database}");
        let (engine, access) = (Engine::Postgres, Access::Write);
        Ok(Self { engine, access, url: Zeroizing::new(url.to_string()), shown })
    }

    /// The same store with a password that was kept elsewhere. A SQLite file has none.
    ///
    /// # Errors
    /// [`StoreError::Url`] if this is a SQLite file, or a password stands in the URL too.
    pub fn with_password(mut self, password: &str) -> Result<Self, StoreError> {
        let mut url = Url::parse(&self.url).map_err(|_| refused("it is no URL"))?;
        if self.engine == Engine::Sqlite || url.password().is_some() {
            return Err(refused("there is a password file, but no place for its password"));
        }
        url.set_password(Some(password))
            .map_err(|()| refused("there is a password file, but the URL names no host"))?;
        self.url = Zeroizing::new(url.to_string());
        Ok(self)
    }

    /// Whether several instances of a party's service may share the store.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.engine == Engine::Postgres
    }

    /// The file of a SQLite store.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        (self.engine == Engine::Sqlite).then(|| Path::new(&self.shown))
    }

    /// Whether the folder of a SQLite file is there; the file may be made.
    pub(crate) fn check_folder(&self) -> Result<(), StoreError> {
        match self.file().and_then(Path::parent).filter(|folder| !folder.is_dir()) {
            Some(folder) => Err(StoreError::NoFolder { folder: folder.to_owned() }),
            None => Ok(()),
        }
    }

    /// The same store to be looked at: nothing is made or changed.
    pub(crate) fn read_only(&self) -> Self {
        Self { access: Access::Read, ..self.clone() }
    }

    pub(crate) fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        let mode = match (self.engine, self.access) {
            (Engine::Sqlite, Access::Write) => "?mode=rwc",
            (Engine::Sqlite, Access::Read) => "?mode=ro",
            (Engine::Postgres, _) => "",
        };
        let url = Zeroizing::new(format!("{}{mode}", *self.url));
        url.parse().map_err(|_| refused("it is no URL"))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

const fn refused(problem: &'static str) -> StoreError {
    StoreError::Url { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    fn parse(text: &str) -> Result<Location, StoreError> {
        Location::parse(text, Path::new("/srv/police"))
    }

    #[test]
    fn a_server_elsewhere_has_to_prove_its_name() {
        let url = |text| parse(text).unwrap().url.to_string();
        assert!(url("postgres://lanyard@db.example/police").ends_with("?sslmode=verify-full"));
        assert!(url("postgres://lanyard@localhost/police").ends_with("?sslmode=disable"));
        let socket = url("postgres://lanyard@localhost/police?host=/run/postgresql");
        assert!(socket.contains("host=%2Frun%2Fpostgresql"), "{socket}");
        let with_root = url("postgres://u@db.example/police?sslrootcert=tls/db.pem");
        assert!(with_root.contains("%2Fsrv%2Fpolice%2Ftls%2Fdb.pem"), "{with_root}");
        for mode in ["allow", "prefer", "require", "of-course"] {
            assert!(parse(&format!("postgres://u@db.example/police?sslmode={mode}")).is_err());
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_a_word_of_it() {
        for text in [
            "mysql://u:hunter2@host/db",
            "postgres//u:hunter2@host/db",
            "postgres://u:hunter2@host",
            "postgres://u:hunter2@host/",
            "postgres://u:hunter2@host:http/db",
            "postgres://u:hunter2@host/db?passwort=hunter2",
            "postgres://u:hunter2@host/db?sslmode=hunter2",
            "postgres://u:hunter2@host/db?host=hunter2",
            "postgres://u:hunter2@host/db?sslkey=a&sslkey=b",
            "postgres://u:12/hunter2@host/db",
            "postgres://u:12?hunter2@host/db",
            "postgres://u:12#hunter2@host/db",
            "sqlite://",
        ] {
            let refused = parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            let said = format!("{refused} {refused:?}");
            assert!(!said.contains(SECRET), "{said}");
            assert!(said.contains("postgres://USER@HOST/DATABASE"), "{said}");
        }
    }

    #[test]
    fn a_password_is_used_and_not_shown() {
        let location = parse("postgres://u@127.0.0.1:5433/police").unwrap();
        let location = location.with_password("hunter2 /?#").unwrap();
        assert!(location.url.contains("hunter2%20%2F%3F%23"));
        assert!(location.options().is_ok());
        assert_eq!(location.to_string(), "PostgreSQL at 127.0.0.1, port 5433, database police");
        assert!(location.with_password("again").is_err(), "two passwords");
        let sqlite = parse("sqlite://police.db").unwrap();
        assert_eq!(sqlite.to_string(), "/srv/police/police.db");
        assert!(sqlite.with_password("x").is_err(), "a SQLite file has no password");
    }
}

//! `[objects]` in `config.toml`.

use std::fmt;
use std::path::PathBuf;

use http::Uri;
use serde::{Deserialize, Serialize};

use crate::error::ObjectsError;

/// Where a party's objects are, and what it does with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsConfig {
    /// A folder, or `s3://BUCKET/PREFIX`, of one event only. A party that archives and names none has a folder of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreUrl>,
    /// Whether this party archives there what it mirrors and publishes. Else it only reads.
    #[serde(default, skip_serializing_if = "is_false")]
    pub archive: bool,
    /// Hours for which objects stay that the newest state needs no longer.
    #[serde(default = "day")]
    pub keep_hours: u32,
    /// The `http://` or `https://` address of an S3-compatible store; without it, that of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// The store's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The file with the credentials, of mode 0600, relative to the party's folder; without it, they come from the
    /// environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// The file with the certificate authorities of the store, PEM, relative to the party's folder; without it, those of the
    /// system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// Where a party archives that names no store, relative to its folder.
const OWN_FOLDER: &str = "data/archive";

impl ObjectsConfig {
    /// Where the objects are.
    ///
    /// # Errors
    /// [`ObjectsError::NoStore`] if there is nothing to read.
    pub(crate) fn store(&self) -> Result<StoreUrl, ObjectsError> {
        match &self.store {
            Some(store) => Ok(store.clone()),
            None if self.archive => Ok(StoreUrl::Folder(OWN_FOLDER.into())),
            None => Err(ObjectsError::NoStore),
        }
    }
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

const fn day() -> u32 {
    24
}

/// A folder or a prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreUrl {
    /// A folder, relative to the party's.
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`.
    S3 {
        /// The bucket.
        bucket: String,
        /// Names joined by `/`; empty for the whole bucket.
        prefix: String,
    },
}

const FORMS: &str = "use a folder, or s3://BUCKET/PREFIX with lower-case letters, digits, dots and hyphens in BUCKET";

impl TryFrom<String> for StoreUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // What is refused is not repeated: it may hold a password.
        let Some((scheme, rest)) = text.split_once("://") else {
            let is_folder = !text.is_empty() && !text.contains('\0');
            return if is_folder { Ok(Self::Folder(text.into())) } else { Err(FORMS.to_owned()) };
        };
        if rest.contains(['@', '?', '#']) {
            return Err("the store's URL has no room for credentials or options: they go into the environment or a file \
                 named by `credentials`, and into the other fields of [objects]"
                .to_owned());
        }
        if scheme != "s3" {
            let hint = if scheme.starts_with("http") {
                "; the server's address goes into `endpoint`"
            } else {
                ""
            };
            return Err(format!("{scheme}:// is no scheme of a store: {FORMS}{hint}"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
        let prefix = prefix.trim_end_matches('/');
        let is_part = |part: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(is_plain)
        };
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
            return Err(FORMS.to_owned());
        }
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            return Err("the store's PREFIX: names of letters, digits, dots, hyphens and underscores, joined by /".to_owned());
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The address of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(String);

impl Endpoint {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim_end_matches('/').to_owned();
        let is_good = text.parse::<Uri>().is_ok_and(|uri| {
            let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
            let is_bare = uri.path() == "/" && uri.query().is_none();
            has_scheme
                && is_bare
                && uri.authority().is_some_and(|place| !place.as_str().contains('@'))
        });
        if is_good {
            Ok(Self(text))
        } else {
            Err("endpoint: use https://HOST:PORT, without path or credentials".to_owned())
        }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, String> {
        StoreUrl::try_from(text.to_owned())
    }

    #[test]
    fn folders_and_buckets_are_read_and_written_alike() {
        for text in
            ["archive", "/srv/lanyard/archive", "s3://games-2028", "s3://games-2028/archive/a_1"]
        {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let S3 { bucket, prefix } = parse("s3://games-2028/archive/").unwrap() else { panic!() };
        assert_eq!((bucket.as_str(), prefix.as_str()), ("games-2028", "archive"));
    }
    use StoreUrl::S3;

    #[test]
    fn wrong_urls_are_refused_with_what_to_write_and_no_password_is_repeated() {
        for (text, hint) in [
            ("", "use a folder"),
            ("s3://", "use a folder"),
            ("s3://UPPER/x", "lower-case"),
            ("s3://bucket/a//b", "PREFIX"),
            ("s3://bucket/../b", "PREFIX"),
            ("gs://bucket/x", "gs:// is no scheme"),
            ("https://store.example/bucket", "goes into `endpoint`"),
            ("s3://key:hunter2@bucket/x", "no room for credentials"),
            ("s3://bucket/x?X-Amz-Signature=hunter2", "no room for credentials"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(hint) && !error.contains("hunter2"), "{text}: {error}");
        }
        for text in [
            "store.example",
            "ftp://store.example",
            "https://u:hunter2@store.example",
            "https://a/b",
        ] {
            let error = Endpoint::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("https://HOST:PORT") && !error.contains("hunter2"), "{text}");
        }
        assert!(Endpoint::try_from("http://127.0.0.1:7070/".to_owned()).unwrap().is_plain());
    }
}

//! What proves to a bucket who this party is: from the environment or a file, never from the configuration, never shown.

use std::path::{Path, PathBuf};

use lanyard_env::Files;
use lanyard_party::read_private_text;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::ObjectsError;

/// Credentials of an S3-compatible store.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    #[serde(default)]
    pub(crate) session_token: Option<String>,
}

impl Credentials {
    /// From the file, or from the variables that other software for such stores reads, too; `None` if there are none.
    pub(crate) fn find(
        files: &dyn Files,
        file: Option<&Path>,
    ) -> Result<Option<Self>, ObjectsError> {
        if let Some(path) = file {
            return Self::read(files, path).map(Some);
        }
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(access_key_id), Some(secret_access_key)) =
            (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"))
        else {
            return Ok(None);
        };
        let session_token = get("AWS_SESSION_TOKEN");
        Ok(Some(Self { access_key_id, secret_access_key, session_token }))
    }

    fn read(files: &dyn Files, path: &Path) -> Result<Self, ObjectsError> {
        let text = read_private_text(files, path)?;
        // The parser's own words would repeat the line.
        let malformed = |path: PathBuf| ObjectsError::CredentialsFile { path };
        toml::from_str(&text).map_err(|_| malformed(path.to_owned()))
    }
}

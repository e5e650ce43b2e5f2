//! What a verifier remembers of a log, so that nobody rolls it back or shows it another one.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::freshness::ClockFloor;
use lanyard_core::ids::{Hash, Origin, Timestamp};
use lanyard_core::log::ConsistencyProof;
use lanyard_env::{Env, FileError, Mode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why what was remembered cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not one of ours.
    #[error(
        "{}: {problem}; restore it from a backup: without it, an old state of the log could be shown as new",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file is of another log.
    #[error("{}: it is of the log {found}, not of {expected}; give another folder", path.display())]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose was asked for.
        expected: Origin,
    },
}

/// The newest verified state of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The log's origin.
    pub origin: String,
    /// How many leaves it had.
    pub size: u64,
    /// Its root at that size.
    pub root: Hash,
    /// The signed checkpoint: evidence, should the log ever contradict it.
    pub checkpoint: String,
    /// The highest time that a quorum of witnesses vouched for: the clock does not run behind it.
    pub clock_floor_millis: u64,
}

impl Kept {
    /// What a verified checkpoint says.
    #[must_use]
    pub fn of(checkpoint: &VerifiedCheckpoint, clock_floor: ClockFloor) -> Self {
        let said = checkpoint.checkpoint();
        Self {
            origin: said.origin().to_owned(),
            size: said.size(),
            root: said.root(),
            checkpoint: checkpoint.note().to_string(),
            clock_floor_millis: clock_floor.highest().millis(),
        }
    }

    /// The clock's floor.
    #[must_use]
    pub const fn clock_floor(&self) -> ClockFloor {
        ClockFloor::new(Timestamp::from_millis(self.clock_floor_millis))
    }
}

/// `DIR/EVENT-AUTHORITY.json`.
pub(crate) struct KeptFile<'a> {
    env: &'a Env,
    dir: &'a Path,
    origin: &'a Origin,
}

impl<'a> KeptFile<'a> {
    pub(crate) const fn new(env: &'a Env, dir: &'a Path, origin: &'a Origin) -> Self {
        Self { env, dir, origin }
    }

    fn path(&self) -> PathBuf {
        let name = self.origin.as_str().trim_start_matches("lanyard/").replace('/', "-");
        self.dir.join(format!("{name}.json"))
    }

    pub(crate) fn read(&self) -> Result<Option<Kept>, KeptError> {
        let path = self.path();
        let Some(bytes) = self.env.files.read_if_exists(&path)? else { return Ok(None) };
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| {
            let (path, problem) = (path.clone(), error.to_string());
            KeptError::Malformed { path, problem }
        })?;
        if kept.origin == self.origin.as_str() {
            return Ok(Some(kept));
        }
        let (found, expected) = (kept.origin, self.origin.clone());
        Err(KeptError::OtherLog { path, found, expected })
    }

    pub(crate) fn write(&self, kept: &Kept) -> Result<(), KeptError> {
        let path = self.path();
        self.write_json(&path, kept)
    }

    /// Saves what proves misbehaviour, and says where.
    pub(crate) fn save_evidence(
        &self,
        kind: &'static str,
        kept: &Kept,
        shown: &VerifiedCheckpoint,
        consistency: &ConsistencyProof,
    ) -> Result<PathBuf, KeptError> {
        let time_millis = self.env.now().millis();
        let path = self.dir.join(format!("evidence-{time_millis}-{kind}.json"));
        let consistency =
            consistency.hashes().iter().map(|hash| BASE64.encode(hash.as_bytes())).collect();
        let evidence = Evidence {
            kind,
            time_millis,
            kept: &kept.checkpoint,
            shown: shown.note().to_string(),
            consistency,
        };
        self.write_json(&path, &evidence)?;
        Ok(path)
    }

    fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), KeptError> {
        let mut json = serde_json::to_vec_pretty(value).map_err(|error| KeptError::Malformed {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        json.push(b'\n');
        self.env.files.create_dir_all(self.dir)?;
        Ok(self.env.files.write_atomic(path, &json, Mode::Private)?)
    }
}

/// Two signed checkpoints that cannot both be of one honest log.
#[derive(Serialize)]
struct Evidence<'a> {
    kind: &'static str,
    time_millis: u64,
    kept: &'a str,
    shown: String,
    consistency: Vec<String>,
}

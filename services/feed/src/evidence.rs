//! Evidence: what was signed, sent and kept when somebody was caught, as files that speak for themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::ids::{Hash, Origin, Timestamp};
use lanyard_core::log::ConsistencyProof;
use lanyard_core::note::Note;
use lanyard_env::Mode;
use serde::{Deserialize, Serialize};

use crate::FeedError;
use crate::store::Store;

/// Files that are kept at most: a liar who goes on must not fill the disk.
const MAX_FILES: usize = 256;

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Misdeed {
    /// The authority signed two logs. Proves itself: two signed checkpoints, and the root of the one at the size of the
    /// other.
    Fork,
    /// The leaves and the head that were sent do not lead to the signed root.
    Inconsistent,
    /// The rows that were sent are not those that the signed head commits to: forged, omitted or old.
    WrongRows,
    /// An authority's own head goes back to an earlier epoch or manifest. Proves itself: both heads are signed.
    RolledBack,
}

impl Misdeed {
    const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Inconsistent => "inconsistent",
            Self::WrongRows => "wrong-rows",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// One file of evidence, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What somebody did.
    pub misdeed: Misdeed,
    /// Whether the signatures in this file prove it to anyone, against the authority; if not, it is this party's word
    /// against the sender's.
    pub proves_itself: bool,
    /// When it was noticed, in milliseconds since the Unix epoch.
    pub noticed_at: Timestamp,
    /// The log.
    pub origin: String,
    /// Who sent it.
    pub sender: String,
    /// What was wrong, for people.
    pub problem: String,
    /// The signed checkpoint that was kept here.
    pub kept: Option<String>,
    /// The signed checkpoint that was sent.
    pub sent: String,
    /// The root of the log kept here at the size of the checkpoint that was sent.
    pub kept_root: Option<Hash>,
    /// Consistency of that root with the checkpoint kept (RFC 6962).
    pub consistency: Vec<Hash>,
    /// The head kept here and the head sent, in base64.
    pub heads: Vec<String>,
}

impl Evidence {
    pub(crate) fn new(
        misdeed: Misdeed,
        origin: &Origin,
        sender: &str,
        sent: &VerifiedCheckpoint,
        problem: &FeedError,
    ) -> Self {
        Self {
            misdeed,
            proves_itself: matches!(misdeed, Misdeed::Fork | Misdeed::RolledBack),
            noticed_at: Timestamp::default(),
            origin: origin.as_str().to_owned(),
            sender: sender.to_owned(),
            problem: problem.to_string(),
            kept: None,
            sent: sent.note().to_string(),
            kept_root: None,
            consistency: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// What, of which log, and who sent it.
    pub(crate) fn in_short(&self) -> String {
        format!("{} of {} from {}", self.misdeed.name(), self.origin, self.sender)
    }

    pub(crate) fn kept(mut self, note: &Note) -> Self {
        self.kept = Some(note.to_string());
        self
    }

    pub(crate) fn roots(mut self, kept_root: Hash, consistency: &ConsistencyProof) -> Self {
        self.kept_root = Some(kept_root);
        self.consistency = consistency.hashes().to_vec();
        self
    }

    pub(crate) fn head(mut self, bytes: &[u8]) -> Self {
        self.heads.push(BASE64.encode(bytes));
        self
    }

    /// Saves it, unless the same was saved before or there is plenty already.
    pub(crate) fn save(mut self, store: &Store, now: Timestamp) -> Result<(), FeedError> {
        // What is the same but for the time and the sender is the same deed.
        let of = (self.misdeed.name(), &self.sent, &self.kept_root, &self.heads);
        let digest = blake3::hash(format!("{of:?}").as_bytes()).to_hex();
        let suffix = format!("-{}-{}.json", self.misdeed.name(), &digest[..16]);
        self.noticed_at = now;
        let dir = store.path("evidence");
        let names = store.files().list(&dir)?;
        if names.len() >= MAX_FILES || names.iter().any(|name| name.ends_with(&suffix)) {
            return Ok(());
        }
        let json = serde_json::to_vec_pretty(&self).unwrap_or_default();
        let path = dir.join(format!("{:013}{suffix}", now.millis()));
        store.files().write_atomic(&path, &json, Mode::Private)?;
        tracing::error!(
            origin = self.origin, sender = self.sender, problem = self.problem,
            path = %path.display(), "evidence of misbehaviour saved"
        );
        Ok(())
    }
}

//! Why something that was received, published or read is refused.

use std::error::Error as StdError;
use std::path::PathBuf;

use lanyard_core::audience_key::AudienceKeyError;
use lanyard_core::checkpoint::CheckpointError;
use lanyard_core::codec::CodecError;
use lanyard_core::cosignature::CosignatureError;
use lanyard_core::freshness::FreshnessError;
use lanyard_core::head::HeadError;
use lanyard_core::ids::{Epoch, Origin};
use lanyard_core::log::LogError;
use lanyard_core::map::MapError;
use lanyard_core::map::snapshot::SnapshotError;
use lanyard_core::note::NoteError;
use lanyard_core::profile::ProfileError;
use lanyard_env::{FileError, StartError};
use lanyard_wire::convert::WireError;
use thiserror::Error;

use crate::DirectoryKey;

/// A manifest that its store did not accept.
#[derive(Debug, Error)]
#[error("manifest refused: {0}")]
pub struct ManifestRefused(Box<dyn StdError + Send + Sync>);

impl ManifestRefused {
    /// With the store's own reason.
    pub fn new(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// Why a mirror refuses. What it had, it still has.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FeedError {
    /// A field of a message has a value that no one may send.
    #[error("feed: {0}")]
    Wire(#[from] WireError),
    /// A note does not parse.
    #[error("feed: {0}")]
    Note(#[from] NoteError),
    /// Not signed by the authority, or no checkpoint of its log.
    #[error("feed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The map head is malformed, of another log, or not the newest leaf of its checkpoint.
    #[error("feed: {0}")]
    Head(#[from] HeadError),
    /// A cosignature was altered on its way.
    #[error("feed: {0}")]
    Cosignature(#[from] CosignatureError),
    /// A time lies ahead of the clock here.
    #[error("feed: {0}")]
    Time(#[from] FreshnessError),
    /// The manifest is not the successor of the one here.
    #[error("feed: {0}")]
    Manifest(#[from] ManifestRefused),
    /// A head names a manifest that is not known here.
    #[error(
        "feed: the head of size {size} names a manifest that is not known here; fetch it first"
    )]
    UnknownManifest {
        /// The size of the log with that head.
        size: u64,
    },
    /// A head names an older manifest than the head before it.
    #[error("feed: the head of size {size} goes back from manifest version {from} to {to}")]
    ManifestRolledBack {
        /// The size of the log with that head.
        size: u64,
        /// The version of the head before.
        from: u32,
        /// The version that it names.
        to: u32,
    },
    /// A head goes back to an earlier epoch.
    #[error("feed: the head of size {size} goes back from epoch {from} to {to}")]
    EpochRolledBack {
        /// The size of the log with that head.
        size: u64,
        /// The epoch that was live.
        from: Epoch,
        /// The epoch that the head says is live.
        to: Epoch,
    },
    /// The authority signed another log than the one kept here. Evidence was saved.
    #[error(
        "feed: the authority signed another log of size {size} than the one kept here; evidence was saved"
    )]
    Fork {
        /// The size.
        size: u64,
    },
    /// What was received does not lead from the log kept here to the signed one. Evidence was saved.
    #[error(
        "feed: the signed log of size {size} does not extend the one of size {have} kept here; evidence was saved"
    )]
    Inconsistent {
        /// The size kept here.
        have: u64,
        /// The size signed.
        size: u64,
    },
    /// Leaves of the log are missing.
    #[error("feed: leaves from {expected} on are needed, leaf {found} came")]
    Gap {
        /// The first leaf needed.
        expected: u64,
        /// The leaf that came.
        found: u64,
    },
    /// A directory was neither here nor sent.
    #[error("feed: the {directory} of size {size} is neither here nor was it sent")]
    MissingSnapshot {
        /// Which one.
        directory: DirectoryKey,
        /// The size of the log.
        size: u64,
    },
    /// Something for a directory that the head does not list or that is not mirrored.
    #[error("feed: the {directory} is not in the head or not mirrored here")]
    UnknownDirectory {
        /// Which one.
        directory: DirectoryKey,
    },
    /// A delta does not decode.
    #[error("feed: delta of the {directory}: {source}")]
    Delta {
        /// Which directory.
        directory: DirectoryKey,
        /// What is wrong.
        source: CodecError,
    },
    /// A delta does not fit the directory. Evidence was saved.
    #[error("feed: delta of the {directory}: {source}; evidence was saved")]
    Map {
        /// Which directory.
        directory: DirectoryKey,
        /// What is wrong.
        source: MapError,
    },
    /// A snapshot is not the one committed to. Evidence was saved.
    #[error("feed: {source}; evidence was saved")]
    Snapshot {
        /// What is wrong.
        source: SnapshotError,
    },
    /// The rows sent are not those that the head commits to. Evidence was saved.
    #[error(
        "feed: the rows sent for the {directory} are not those that the head of size {size} commits to; \
         evidence was saved"
    )]
    Directory {
        /// Which directory.
        directory: DirectoryKey,
        /// The size of the log.
        size: u64,
    },
    /// A directory's audience key was exchanged, which nothing allows.
    #[error("feed: the head of size {size} exchanges the audience key of the {directory}")]
    AudienceKeyChanged {
        /// Which directory.
        directory: DirectoryKey,
        /// The size of the log.
        size: u64,
    },
    /// An audience key sealed to this verifier does not open, or is not the one committed to.
    #[error("feed: {0}")]
    AudienceKey(#[from] AudienceKeyError),
    /// A profile table is not the one committed to, or does not open.
    #[error("feed: profile table of the {directory}: {source}")]
    Profiles {
        /// Which directory.
        directory: DirectoryKey,
        /// What is wrong.
        source: ProfileError,
    },
    /// The feed comes through this mirror already.
    #[error("feed: it follows this mirror in turn")]
    Circle,
    /// More was sent than can be right.
    #[error("feed: more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// Something came out of order.
    #[error("feed: {what}")]
    Order {
        /// What.
        what: &'static str,
    },
    /// A prepared tick waits for its signature.
    #[error("feed: the tick of size {size} is prepared and not signed; publish it first")]
    Unsigned {
        /// Its size.
        size: u64,
    },
    /// A checkpoint was to be published that is not the prepared one.
    #[error("feed: not the checkpoint of the tick that was prepared")]
    NotPrepared,
    /// What was asked cannot be proved now: the newest state has no quorum yet.
    #[error(
        "feed: the {directory} cannot be proved before witnesses cosign its newest state; ask again"
    )]
    NotProvable {
        /// Which directory.
        directory: DirectoryKey,
    },
    /// The log refuses.
    #[error("feed: {0}")]
    Log(#[from] LogError),
    /// The disk refuses.
    #[error("feed: {0}")]
    Disk(#[from] FileError),
    /// The folder is another log's.
    #[error(
        "feed: {}: it is of the log {found:?}, this is {expected}; put this event's folder back, or move that one away to \
         fetch this log anew",
        path.display()
    )]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// The log that it is of.
        found: String,
        /// The log that is mirrored there.
        expected: Origin,
    },
    /// What is on the disk is not what was written there.
    #[error("feed: {}: {problem}; restore it from a copy, or move the folder away to fetch it anew", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl FeedError {
    /// Whether the one who sent it is to blame, rather than this machine: another upstream should be asked.
    #[must_use]
    pub const fn is_senders_fault(&self) -> bool {
        !matches!(
            self,
            Self::Time(_)
                | Self::Circle
                | Self::Unsigned { .. }
                | Self::NotPrepared
                | Self::NotProvable { .. }
                | Self::Disk(_)
                | Self::Foreign { .. }
                | Self::Corrupt { .. }
        )
    }
}

impl StartError for FeedError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_permanent(),
            Self::Time(_) => false,
            // Of a folder that is being opened, all others say that it is not what was written there.
            _ => true,
        }
    }
}

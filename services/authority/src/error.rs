//! Why nothing was published.

use lanyard_core::audience_key::AudienceKeyError;
use lanyard_core::checkpoint::CheckpointError;
use lanyard_core::hpke_box::BoxError;
use lanyard_core::ids::{Audience, Epoch};
use lanyard_core::map::MapError;
use lanyard_core::record::RecordError;
use lanyard_env::{FileError, StartError};
use lanyard_feed::FeedError;
use lanyard_party::KeyFileError;
use lanyard_store::StoreError;
use thiserror::Error;

/// Why nothing was published. What was signed before stays as it is, and what changed waits.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record cannot be sealed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A delta cannot be made.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The checkpoint cannot be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log's key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// An audience key cannot be sealed.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// The copy of an audience key in the own feed does not open.
    #[error("audience key in the own feed: {0}; was keys/ restored from another backup?")]
    OwnCopy(#[from] AudienceKeyError),
    /// The audience key of a published directory is gone.
    #[error(
        "audience key of epoch {epoch} for {audience}: {problem}; restore the keys folder from the backup"
    )]
    AudienceKey {
        /// The epoch.
        epoch: Epoch,
        /// The audience.
        audience: Audience,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What this machine signed cannot be read.
    #[error(
        "{}: not what was written there; remove the file: then all that was published is compared with the store as after \
         a restored backup, and nothing is signed until a quorum of witnesses has answered",
        path.display()
    )]
    Signed {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The epoch that was decided on cannot be read.
    #[error("{}: not what was written there; remove the file, and start a new epoch again", path.display())]
    Decided {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The own mirror refuses.
    #[error("own feed: {0}")]
    Feed(#[from] FeedError),
    /// The store that several instances share does not answer: nothing may be signed without it.
    #[error(transparent)]
    Succession(StoreError),
    /// What an operator does cannot be written to the audit trail, and so is not done.
    #[error("audit trail: {0}")]
    Trail(#[source] StoreError),
    /// Another instance publishes.
    #[error("the term of this instance is over: another one publishes")]
    TermOver,
    /// The shared store has recorded another tick of this size, or a later one.
    #[error("the store has recorded another tick, up to size {size}: it goes first")]
    RecordedOtherwise {
        /// The size of the newest.
        size: u64,
    },
    /// The party's store does not answer.
    #[error("store: {0}")]
    Registry(Box<dyn StartError + Send + Sync>),
    /// A worker thread died.
    #[error("publisher: a worker ended early")]
    Worker,
}

impl StartError for PublishError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::File(error) => error.is_permanent(),
            Self::Key(error) => error.is_permanent(),
            Self::Feed(error) => error.is_permanent(),
            Self::OwnCopy(_) | Self::AudienceKey { .. } | Self::Decided { .. } => true,
            error => error.is_damage(),
        }
    }
}

impl PublishError {
    /// Whether the party's store is damaged: nothing more is signed before somebody restores it.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Succession(error) | Self::Trail(error) => error.is_permanent(),
            Self::Registry(error) => error.is_permanent(),
            _ => false,
        }
    }

    /// Whether it may be over in a moment, where several instances share a store: the store is away, which keeps the audience
    /// keys too, or another instance was faster.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::File(_)
                | Self::Succession(_)
                | Self::TermOver
                | Self::RecordedOtherwise { .. }
                | Self::Registry(_)
        )
    }
}

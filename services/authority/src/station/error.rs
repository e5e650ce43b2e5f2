//! Why an authority's service does not start or run.

use lanyard_core::threshold::ThresholdError;
use lanyard_env::{FileError, StartError};
use lanyard_feed::{FeedError, UpstreamError};
use lanyard_objects::ObjectsError;
use lanyard_party::{IdentityFileError, KeyFileError, ManifestStoreError, PeerError};
use lanyard_shareholder::{LedgerError, PseudonymError};
use lanyard_store::StoreError;
use lanyard_telemetry::TelemetryError;
use lanyard_transport::{AcceptorError, AnchorError};
use lanyard_witness::{MemoryError, RouteError};
use thiserror::Error;

use crate::error::PublishError;

/// Why an authority's service does not start or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StationError {
    /// The data folder cannot be used, or another process has it.
    #[error(transparent)]
    File(#[from] FileError),
    /// No manifest, or one that does not hold.
    #[error(transparent)]
    Manifest(#[from] ManifestStoreError),
    /// A key is missing or damaged.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The service's certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// A certificate authority of the manifest cannot be used.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// A peer is not configured.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The upstreams.
    #[error(transparent)]
    Upstreams(#[from] UpstreamError),
    /// Fewer witnesses are configured than the manifest's quorum.
    #[error(
        "config.toml: [witnesses] has {configured} that the manifest names, too few for its quorum of {needed}; add the \
         others, or correct their names"
    )]
    TooFewWitnesses {
        /// How many of the configured ones the manifest names.
        configured: usize,
        /// The quorum.
        needed: u8,
    },
    /// A witness's URL is none.
    #[error("config.toml: witnesses.{name}: {source}")]
    Route {
        /// The witness.
        name: String,
        /// What is wrong with it.
        source: RouteError,
    },
    /// A feed on disk cannot be opened.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The object store cannot be used.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The witness's memory cannot be used.
    #[error(transparent)]
    Witness(#[from] MemoryError),
    /// The count of evaluations cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The manifest's share holders do not hold.
    #[error("manifest: share holders: {0}")]
    Holders(#[from] ThresholdError),
    /// The key shares do not fit together.
    #[error(transparent)]
    Pseudonyms(#[from] PseudonymError),
    /// The port cannot be opened.
    #[error(transparent)]
    Listen(#[from] AcceptorError),
    /// The party's store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address for metrics cannot be opened.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// What was published cannot be taken up.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl StartError for StationError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::File(error) => error.is_permanent(),
            Self::Manifest(error) => error.is_permanent(),
            Self::Key(error) => error.is_permanent(),
            Self::Identity(error) => error.is_permanent(),
            Self::Anchor(error) => error.is_permanent(),
            Self::Peer(error) => error.is_permanent(),
            Self::Upstreams(error) => error.is_permanent(),
            Self::TooFewWitnesses { .. } | Self::Holders(_) => true,
            Self::Route { source, .. } => source.is_permanent(),
            Self::Feed(error) => error.is_permanent(),
            Self::Objects(error) => error.is_permanent(),
            Self::Witness(error) => error.is_permanent(),
            Self::Ledger(error) => error.is_permanent(),
            Self::Pseudonyms(error) => error.is_permanent(),
            Self::Listen(error) => error.is_permanent(),
            Self::Store(error) => error.is_permanent(),
            Self::Telemetry(error) => error.is_permanent(),
            Self::Publish(error) => error.is_permanent(),
        }
    }
}

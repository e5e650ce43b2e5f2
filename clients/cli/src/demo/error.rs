//! What can keep the demo from showing anything.

use std::path::PathBuf;
use std::time::Duration;

use lanyard_ceremony::{CeremonyError, MemberError, PlanError};
use lanyard_client::{ClientError, ThinError};
use lanyard_core::attestation::AttestationCodecError;
use lanyard_core::ids::IdError;
use lanyard_core::manifest::ManifestError;
use lanyard_core::profile::ProfileError;
use lanyard_core::receipt::ReceiptError;
use lanyard_env::FileError;
use lanyard_liar::LiarError;
use lanyard_party::KeyFileError;
use thiserror::Error;

use crate::cluster::ClusterError;
use crate::error::CliError;

/// Why a step of the demo failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum DemoError {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A name in the plan.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// An id in the plan.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A time zone or profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A date.
    #[error(transparent)]
    Date(#[from] jiff::Error),
    /// The ceremony.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// The processes.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A call.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A thin verifier.
    #[error(transparent)]
    Thin(#[from] ThinError),
    /// The lying sponsor.
    #[error(transparent)]
    Liar(#[from] LiarError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A file of a party.
    #[error(transparent)]
    File(#[from] FileError),
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// An attestation.
    #[error(transparent)]
    Attestation(#[from] AttestationCodecError),
    /// The event's manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What the command line's other parts say.
    #[error(transparent)]
    Cli(Box<CliError>),
    /// A file that was given or made here.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A roster or list that was given.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Too few people who can play the parts.
    #[error(
        "the roster has {found} people with a Latin name and a full birth date, {needed} are needed"
    )]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// Something did not happen in time.
    #[error("{what}: not within {} s", limit.as_secs())]
    NotInTime {
        /// What.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// An answer that makes no sense here.
    #[error("{what}")]
    Unexpected {
        /// What came.
        what: String,
    },
}

impl From<CliError> for DemoError {
    fn from(error: CliError) -> Self {
        Self::Cli(Box::new(error))
    }
}

impl DemoError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(super) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into() }
    }
}

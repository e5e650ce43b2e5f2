//! What a command can end with, and its exit code.

use std::io;
use std::path::PathBuf;

use lanyard_ceremony::{CeremonyError, MemberError, PlanError};
use lanyard_client::badge::QrCodeError;
use lanyard_client::{ClientError, ThinError};
use lanyard_core::attestation::AttestationCodecError;
use lanyard_core::badge::BadgeTextError;
use lanyard_core::hpke_box::BoxError;
use lanyard_core::ids::IdError;
use lanyard_core::manifest::ManifestError;
use lanyard_core::receipt::ReceiptError;
use lanyard_env::FileError;
use lanyard_party::{IdentityFileError, KeyFileError, ManifestStoreError, TomlError};
use lanyard_shareholder::LedgerError;
use lanyard_store::StoreError;
use thiserror::Error;

use crate::cluster::ClusterError;
use crate::table::{MappingError, TableError};

/// Why a command did not end well. Every message says what to do next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// The answer is no, and has been shown.
    #[error("the answer is no")]
    Negative,
    /// The input is bad, and how has been shown.
    #[error("the input is bad")]
    BadRows,
    /// An option is missing or out of its domain.
    #[error("{option}: {problem}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file is there that would be overwritten.
    #[error("{}: is there already; give another place, or --replace", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Reading from or writing to the terminal or a pipe.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A service, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A verified lookup.
    #[error(transparent)]
    Thin(#[from] ThinError),
    /// A step of the ceremony.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// An event's plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A member's name.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The processes of an event.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A CSV file.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A mapping of columns.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A TOML file.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A certificate of a folder.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// An authority's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A share holder's count of evaluations.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The manifests of a folder.
    #[error(transparent)]
    ManifestStore(#[from] ManifestStoreError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A badge text or code.
    #[error(transparent)]
    Badge(#[from] BadgeTextError),
    /// An id on the command line.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A QR code.
    #[error(transparent)]
    Qr(#[from] QrCodeError),
    /// An attestation from a service.
    #[error(transparent)]
    AttestationCodec(#[from] AttestationCodecError),
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A key for boxes.
    #[error(transparent)]
    Box(#[from] BoxError),
}

impl CliError {
    /// Whether what there is to say has been said.
    #[must_use]
    pub const fn is_said(&self) -> bool {
        matches!(self, Self::Negative | Self::BadRows)
    }

    /// 2 for wrong usage or input, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::BadRows
            | Self::Option { .. }
            | Self::Content { .. }
            | Self::Exists { .. }
            | Self::Table(_)
            | Self::Mapping(_)
            | Self::Toml(_)
            | Self::Plan(_)
            | Self::Member(_)
            | Self::Badge(_)
            | Self::Id(_) => 2,
            Self::Client(error) if error.is_bad_input() => 2,
            _ => 1,
        }
    }

    pub(crate) fn option(option: &'static str, problem: impl ToString) -> Self {
        Self::Option { option, problem: problem.to_string() }
    }

    pub(crate) fn content(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::Content { path: path.into(), problem: problem.to_string() }
    }
}

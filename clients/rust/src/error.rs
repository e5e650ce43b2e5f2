//! What can go wrong between a client and a service.

use std::path::PathBuf;

use lanyard_party::{IdentityFileError, ManifestStoreError, PeerError, TomlError};
use lanyard_transport::{AnchorError, ConnectError, PartyName, Role, status};
use thiserror::Error;
use tonic::{Code, Response, Status};

/// Why a client cannot act, or its call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The folder's `config.toml`.
    #[error(transparent)]
    Config(#[from] TomlError),
    /// The folder's manifests.
    #[error(transparent)]
    Manifest(#[from] ManifestStoreError),
    /// The person's certificate or key.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// The manifest's certificate authorities.
    #[error(transparent)]
    Anchors(#[from] AnchorError),
    /// An address.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A channel.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The folder cannot be read.
    #[error(transparent)]
    File(#[from] lanyard_env::FileError),
    /// The folder is another party's.
    #[error("{}: this is the folder of {found}, and this is for {expected}; give the right folder", folder.display())]
    OtherParty {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: PartyName,
        /// Whose was needed.
        expected: PartyName,
    },
    /// Nobody in the folder has a role that may do this.
    #[error(
        "{}: nobody here is {}; add them with: lanyard ceremony add-operator",
        folder.display(), role_names(.roles)
    )]
    Nobody {
        /// The folder with people's certificates.
        folder: PathBuf,
        /// The roles that would do.
        roles: Vec<Role>,
    },
    /// Several people have the role.
    #[error("{}: several people may do this, {}; say which with --as NAME", folder.display(), names.join(", "))]
    Several {
        /// The folder with people's certificates.
        folder: PathBuf,
        /// Who.
        names: Vec<String>,
    },
    /// The person named has no certificate here.
    #[error("{}: {name:?} is not there as {}; here are {}", folder.display(), role_names(.roles), names.join(", "))]
    Unknown {
        /// The folder with people's certificates.
        folder: PathBuf,
        /// Who was named.
        name: String,
        /// The roles that would do.
        roles: Vec<Role>,
        /// Who is there, with their roles.
        names: Vec<String>,
    },
    /// A call failed.
    #[error("cannot {what}: {message}")]
    Call {
        /// What was asked for.
        what: &'static str,
        /// The gRPC code.
        code: Code,
        /// The stable reason, if a Lanyard service gave one.
        reason: Option<String>,
        /// What to tell a person.
        message: String,
    },
}

fn role_names(roles: &[Role]) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ")
}

impl ClientError {
    /// A failed call; `what` completes "cannot …".
    #[must_use]
    pub fn failed(what: &'static str, error: &Status) -> Self {
        Self::Call {
            what,
            code: error.code(),
            reason: status::reason(error),
            message: status::explain(error),
        }
    }

    /// Whether the service did not take the call on, so that the same call may be made again.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Call { code: Code::Unavailable | Code::DeadlineExceeded, .. }
                | Self::Call { code: Code::Cancelled | Code::Unknown, reason: None, .. }
        )
    }

    /// Whether what was given is wrong, not the service: a request that was refused as malformed, another party's folder,
    /// or a name that is not there.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Call { code: Code::InvalidArgument | Code::OutOfRange, .. }
                | Self::OtherParty { .. }
                | Self::Nobody { .. }
                | Self::Several { .. }
                | Self::Unknown { .. }
        )
    }
}

/// The answer of a call, or an error that says what could not be done; `what` completes "cannot …".
///
/// # Errors
/// [`ClientError::Call`].
pub fn call<T>(what: &'static str, answer: Result<Response<T>, Status>) -> Result<T, ClientError> {
    answer.map(Response::into_inner).map_err(|error| ClientError::failed(what, &error))
}

/// As [`call`], for one message of a stream.
///
/// # Errors
/// [`ClientError::Call`].
pub fn item<T>(what: &'static str, message: Result<T, Status>) -> Result<T, ClientError> {
    message.map_err(|error| ClientError::failed(what, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_says_what_and_why() {
        let error = ClientError::failed("suspend", &status::malformed("reason: say why"));
        assert_eq!(error.to_string(), "cannot suspend: reason: say why");
        assert!(error.is_bad_input() && !error.is_unreachable());
        let broken = ClientError::failed("suspend", &Status::cancelled("operation was canceled"));
        assert!(broken.is_unreachable());
        assert!(broken.to_string().contains("refuses this certificate"), "{broken}");
    }
}

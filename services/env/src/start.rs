//! Errors that keep a service from starting.

use std::io::ErrorKind;

use crate::{FileError, NetworkError};

/// An error that keeps a service from starting or ends it, sorted by whether trying again may help.
pub trait StartError: std::error::Error {
    /// Whether it stays until somebody changes something: the configuration, a key, a damaged file, another party's store.
    /// What may pass is not permanent: a database that is down, a disk that is full, a port in use, a clock that is wrong.
    fn is_permanent(&self) -> bool;
}

impl StartError for FileError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::PermissionDenied { .. })
    }
}

impl StartError for NetworkError {
    fn is_permanent(&self) -> bool {
        // An address that this machine does not have may come up with its interface.
        matches!(self, Self::Bind { source, .. } if source.kind() == ErrorKind::PermissionDenied)
    }
}

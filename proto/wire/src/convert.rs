//! Wire enums and ids to core types and back: parse, don't validate.

use lanyard_core::ids::{Audience, Authority, Epoch};
use thiserror::Error;

use crate::{common, feed};

/// A field whose value no one may send.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// An enum value that is unspecified or unknown to this version.
    #[error("{field}: unknown value {value}")]
    UnknownEnum {
        /// The field.
        field: &'static str,
        /// The number sent.
        value: i32,
    },
    /// A field that must be there.
    #[error("{field}: missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A bytes field of the wrong size.
    #[error("{field}: {expected} bytes expected, {found} found")]
    Size {
        /// The field.
        field: &'static str,
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
}

/// Reads a bytes field of a fixed size.
///
/// # Errors
/// [`WireError::Size`].
pub fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Size { field, expected: N, found: bytes.len() })
}

impl From<Authority> for common::v1::Authority {
    fn from(authority: Authority) -> Self {
        match authority {
            Authority::Committee => Self::Committee,
            Authority::Police => Self::Police,
        }
    }
}

impl TryFrom<common::v1::Authority> for Authority {
    type Error = WireError;
    fn try_from(authority: common::v1::Authority) -> Result<Self, WireError> {
        match authority {
            common::v1::Authority::Committee => Ok(Self::Committee),
            common::v1::Authority::Police => Ok(Self::Police),
            common::v1::Authority::Unspecified => {
                Err(WireError::UnknownEnum { field: "authority", value: 0 })
            }
        }
    }
}

impl From<Audience> for common::v1::Audience {
    fn from(audience: Audience) -> Self {
        match audience {
            Audience::Gate => Self::Gate,
            Audience::Police => Self::Police,
            Audience::Sponsor => Self::Sponsor,
        }
    }
}

/// Reads an audience from the number on the wire.
///
/// # Errors
/// [`WireError::UnknownEnum`].
pub fn audience(value: i32) -> Result<Audience, WireError> {
    match common::v1::Audience::try_from(value) {
        Ok(common::v1::Audience::Gate) => Ok(Audience::Gate),
        Ok(common::v1::Audience::Police) => Ok(Audience::Police),
        Ok(common::v1::Audience::Sponsor) => Ok(Audience::Sponsor),
        _ => Err(WireError::UnknownEnum { field: "audience", value }),
    }
}

impl feed::v1::DirectoryId {
    /// Names the directory of an epoch and audience.
    #[must_use]
    pub fn of(epoch: Epoch, audience: Audience) -> Self {
        Self { epoch: epoch.get(), audience: common::v1::Audience::from(audience).into() }
    }

    /// The epoch and audience named.
    ///
    /// # Errors
    /// [`WireError::UnknownEnum`].
    pub fn parts(&self) -> Result<(Epoch, Audience), WireError> {
        Ok((Epoch::new(self.epoch), audience(self.audience)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_read_back() {
        for audience in Audience::ALL {
            let id = feed::v1::DirectoryId::of(Epoch::new(7), audience);
            assert_eq!(id.parts(), Ok((Epoch::new(7), audience)));
        }
        assert!(feed::v1::DirectoryId { epoch: 1, audience: 9 }.parts().is_err());
        assert!(feed::v1::DirectoryId { epoch: 1, audience: 0 }.parts().is_err());
    }

    #[test]
    fn arrays_have_their_size() {
        assert_eq!(array::<2>("nonce", &[1, 2]), Ok([1, 2]));
        let error = array::<2>("nonce", &[1]).unwrap_err().to_string();
        assert_eq!(error, "nonce: 2 bytes expected, 1 found");
    }
}

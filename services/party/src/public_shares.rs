//! `keys/public_shares.json`: every holder's public share, as the key generation or a refresh left them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_core::threshold::{PublicShare, PublicShares, ShareIndex, ThresholdError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why the file does not hold public shares.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublicSharesError {
    /// A share is not 32 bytes in base64.
    #[error("the share of {party} is not 32 bytes in base64")]
    Encoding {
        /// Whose.
        party: String,
    },
    /// The shares do not belong together.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
}

/// One holder's public share with its party's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedShare {
    party: String,
    index: u8,
    element: String,
}

impl NamedShare {
    /// The share of `party`.
    #[must_use]
    pub fn new(party: &str, share: &PublicShare) -> Self {
        Self {
            party: party.to_owned(),
            index: share.index().get(),
            element: BASE64.encode(share.as_bytes()),
        }
    }

    fn share(&self) -> Result<PublicShare, PublicSharesError> {
        let bytes = BASE64.decode(&self.element).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes =
            bytes.ok_or_else(|| PublicSharesError::Encoding { party: self.party.clone() })?;
        Ok(PublicShare::from_bytes(ShareIndex::new(self.index)?, &bytes)?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicSharesFile {
    generation: u32,
    threshold: u8,
    shares: Vec<NamedShare>,
}

impl PublicSharesFile {
    pub(crate) const fn new(generation: u32, threshold: u8, shares: Vec<NamedShare>) -> Self {
        Self { generation, threshold, shares }
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn shares(&self) -> Result<PublicShares, PublicSharesError> {
        let shares = self.shares.iter().map(NamedShare::share).collect::<Result<Vec<_>, _>>()?;
        Ok(PublicShares::new(self.threshold, shares)?)
    }
}

//! Whom to trust and how to reach it, as manifest and configuration say.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanyard_core::manifest::Manifest;
use lanyard_env::{Env, StartError};
use lanyard_telemetry::{Incident, Incidents};
use lanyard_transport::{
    Admission, AnchorError, ConnectError, Expected, PartyName, PeerIdError, Tls, TrustAnchors,
    connect,
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::config::{CommonConfig, PeerAddress};
use crate::manifest_store::ManifestStore;

/// Why a peer cannot be reached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Not in `[peers]`.
    #[error("config.toml: [peers] has no address for {name:?}; add {name} = \"HOST:PORT\"")]
    Unknown {
        /// The peer.
        name: String,
    },
    /// Not a party's name.
    #[error("config.toml: peer {name:?}: {source}")]
    Name {
        /// The peer.
        name: String,
        /// What is wrong with it.
        source: PeerIdError,
    },
    /// The channel cannot be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl StartError for PeerError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::Connect(_))
    }
}

/// The certificate authorities of all parties of a manifest, and the gates that it lets in.
///
/// # Errors
/// [`AnchorError`] if one of them is not a certificate.
pub fn trust_anchors(manifest: &Manifest) -> Result<TrustAnchors, AnchorError> {
    TrustAnchors::admitting(admission(manifest), authorities(manifest))
}

/// Keeps the anchors those of the newest manifest until `shutdown`, and tells of each.
pub(crate) async fn follow_trust(
    anchors: TrustAnchors,
    manifests: Arc<ManifestStore>,
    incidents: Incidents,
    shutdown: CancellationToken,
) {
    let mut newest = manifests.subscribe();
    while let Some(Ok(())) = shutdown.run_until_cancelled(newest.changed()).await {
        let manifest = Arc::clone(&newest.borrow_and_update());
        incidents.tell(Incident::ManifestAdopted, manifest.version);
        if let Err(error) = anchors.replace(admission(&manifest), authorities(&manifest)) {
            tracing::error!(%error, "keeping the previous certificate authorities");
        }
    }
}

fn admission(manifest: &Manifest) -> Admission {
    let gates = manifest.gates.iter().map(|gate| gate.name.clone());
    Admission::of(gates, manifest.revoked_certificates.iter().copied())
}

fn authorities(manifest: &Manifest) -> impl Iterator<Item = (PartyName, &str)> {
    // A valid manifest has no other parties than these.
    manifest.parties.iter().filter_map(|party| {
        Some((party.name.parse().ok()?, party.certificate_authority_pem.as_str()))
    })
}

/// The peers of `[peers]`.
#[derive(Clone)]
pub struct Peers {
    env: Env,
    tls: Tls,
    addresses: BTreeMap<String, PeerAddress>,
}

impl Peers {
    /// The peers of a configuration.
    #[must_use]
    pub fn new(env: &Env, tls: &Tls, config: &CommonConfig) -> Self {
        Self { env: env.clone(), tls: tls.clone(), addresses: config.peers.clone() }
    }

    /// The address of a peer.
    ///
    /// # Errors
    /// [`PeerError::Unknown`].
    pub fn address(&self, name: &str) -> Result<&str, PeerError> {
        let address = self.addresses.get(name).map(PeerAddress::as_str);
        address.ok_or_else(|| PeerError::Unknown { name: name.to_owned() })
    }

    /// A channel to a service of `party` at another address than that of `[peers]`.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn channel_at(&self, party: &str, address: &PeerAddress) -> Result<Channel, PeerError> {
        Ok(connect(&self.env, &self.tls, address.as_str(), &expected(party)?)?)
    }

    /// A channel to a peer's service; it connects when first used and again when lost.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn channel(&self, name: &str) -> Result<Channel, PeerError> {
        let expected = expected(name)?;
        Ok(connect(&self.env, &self.tls, self.address(name)?, &expected)?)
    }
}

/// Who must answer at the address of a peer: `committee`, `police`, `sponsor`, `trustee`, or a gate by its name.
///
/// # Errors
/// [`PeerError::Name`].
pub fn expected(name: &str) -> Result<Expected, PeerError> {
    if name.starts_with("gate-") {
        return Ok(Expected::named(PartyName::Gate, name));
    }
    name.parse()
        .map(Expected::party)
        .map_err(|source| PeerError::Name { name: name.to_owned(), source })
}

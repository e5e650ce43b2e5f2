//! What the service of a party starts with, whichever it is. An authority's station does the same around its store.

use std::sync::Arc;

use lanyard_env::{Env, FileError, StartError};
use lanyard_telemetry::{Telemetry, TelemetryError};
use lanyard_transport::{
    Acceptor, AcceptorError, AnchorError, Expected, Identity, Limits, PartyName, PeerId, Tls,
    TrustAnchors,
};
use thiserror::Error;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::audit::AuditStream;
use crate::config::{CommonConfig, PartyConfig};
use crate::folder::{DataLock, Folder, IdentityFileError};
use crate::manifest_store::{ManifestStore, ManifestStoreError};
use crate::observe::observe_party;
use crate::peers::trust_anchors;

/// Why the service of a party does not start, whichever it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotStarted {
    /// The data folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The address for metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestStoreError),
    /// The service's certificate.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// The certificate is somebody else's.
    #[error(
        "tls/service.pem is for {found}, not for the {party}'s service; put the right file there"
    )]
    OtherParty {
        /// Whom it is for.
        found: PeerId,
        /// Whose service this is.
        party: PartyName,
    },
    /// The certificate is not this gate's.
    #[error(
        "tls/service.pem is for {found}, config.toml says gate {name}; put the right file there"
    )]
    OtherGate {
        /// Whom it is for.
        found: PeerId,
        /// The name in `config.toml`.
        name: String,
    },
    /// The manifest's certificate authorities.
    #[error(transparent)]
    Anchors(#[from] AnchorError),
    /// The address.
    #[error(transparent)]
    Acceptor(#[from] AcceptorError),
}

impl StartError for NotStarted {
    fn is_permanent(&self) -> bool {
        match self {
            Self::File(error) => error.is_permanent(),
            Self::Telemetry(error) => error.is_permanent(),
            Self::Manifest(error) => error.is_permanent(),
            Self::Identity(error) => error.is_permanent(),
            Self::Anchors(error) => error.is_permanent(),
            Self::Acceptor(error) => error.is_permanent(),
            Self::OtherParty { .. } | Self::OtherGate { .. } => true,
        }
    }
}

/// What the service of one party goes on with. Whoever has it has the party's data folder.
pub struct Started {
    /// The folder.
    pub folder: Folder,
    /// What operators see, until this is dropped.
    pub telemetry: Telemetry,
    /// All manifests.
    pub manifests: Arc<ManifestStore>,
    identity: Identity,
    anchors: TrustAnchors,
    _listening: DropGuard,
    _lock: DataLock,
}

impl Started {
    /// Takes what all parties have: data folder, address for metrics, manifest, certificate. Blocks on the disk, within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub async fn common<S>(
        config: &PartyConfig<S>,
        env: &Env,
        party: PartyName,
    ) -> Result<Self, NotStarted> {
        let folder = Folder::open(&config.folder, env);
        let lock = folder.lock_data()?;
        let telemetry = Telemetry::new(config.common.telemetry);
        let listening = CancellationToken::new();
        let guard = listening.clone().drop_guard();
        telemetry.listen(env, listening).await?;
        let manifests = Arc::new(ManifestStore::open(&folder)?);
        let identity = folder.service_identity()?;
        let (found, name) = (identity.peer(), &config.common.name);
        if !own_service(party, name).accepts(&found) {
            return Err(match party {
                PartyName::Gate => NotStarted::OtherGate { found, name: name.clone() },
                party => NotStarted::OtherParty { found, party },
            });
        }
        let anchors = trust_anchors(&manifests.current())?;
        Ok(Self { folder, telemetry, manifests, identity, anchors, _listening: guard, _lock: lock })
    }

    /// The own certificate and whom to trust, by the clock of `env`.
    #[must_use]
    pub fn tls(&self, env: &Env) -> Tls {
        Tls::new(env, self.identity.clone(), self.anchors.clone())
    }

    /// Opens the service's address, and the audit stream that hears of its calls, if one is configured.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub async fn listen(
        &self,
        config: &CommonConfig,
        env: &Env,
        tls: &Tls,
    ) -> Result<(Acceptor, Option<AuditStream>), NotStarted> {
        let mut acceptor = Acceptor::bind(env, config.listen, tls, Limits::default()).await?;
        let (stream, name) = (config.audit_stream.as_ref(), &config.name);
        let audit = AuditStream::open(env, &self.folder, stream, name, None, &self.telemetry)?;
        if let Some(audit) = &audit {
            acceptor = acceptor.observed_by(audit.observer());
        }
        observe_party(&self.telemetry, &self.identity, &self.manifests);
        Ok((acceptor, audit))
    }
}

/// Whom the certificate of a party's service is for. There are many gates, told apart by name.
pub(crate) fn own_service(party: PartyName, name: &str) -> Expected {
    match party {
        PartyName::Gate => Expected::named(party, name),
        party => Expected::party(party),
    }
}

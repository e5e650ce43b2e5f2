//! The own certificate and key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use lanyard_core::ids::Timestamp;
use lanyard_env::{Env, FileError, Files, StartError};
use lanyard_telemetry::{Incident, Incidents};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::peer::PeerId;
use crate::tls::provider;
use crate::verify::{CertificateRefused, claimed_peer, valid_until};

/// Why an identity cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// No certificate chain in PEM.
    #[error("own certificate: no certificate in PEM found")]
    Certificate,
    /// No private key in PEM.
    #[error("own key: no private key in PEM found")]
    Key,
    /// The key is of an unknown kind or belongs to another certificate.
    #[error("own certificate and key do not fit together: {source}")]
    Mismatch {
        /// The TLS library's reason.
        source: rustls::Error,
    },
    /// The certificate is not an identity.
    #[error("own certificate: {0}")]
    Refused(#[from] CertificateRefused),
    /// The renewed certificate is somebody else's.
    #[error("the renewed certificate is for {found}, this is {own}: put the right file back")]
    OtherPeer {
        /// Who this is.
        own: PeerId,
        /// Whom the new certificate is for.
        found: PeerId,
    },
}

impl StartError for IdentityError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::File(error) if !error.is_permanent())
    }
}

/// This process's certificate chain and key. Clones share one state; a renewed certificate takes effect for the next
/// handshake, on either side.
#[derive(Clone)]
pub struct Identity(Arc<Shared>);

struct Shared {
    current: ArcSwap<Current>,
    files: Option<(PathBuf, PathBuf)>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    peer: PeerId,
    valid_until: Timestamp,
}

impl Identity {
    /// Reads the chain (own certificate first) and the PKCS #8, SEC 1 or PKCS #1 key, both PEM.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let current = ArcSwap::from_pointee(Current::from_pem(chain_pem, key_pem)?);
        Ok(Self(Arc::new(Shared { current, files: None })))
    }

    /// As [`Identity::from_pem`], from files, which [`Identity::reload`] reads again.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(files: &dyn Files, chain: &Path, key: &Path) -> Result<Self, IdentityError> {
        let current = ArcSwap::from_pointee(Current::load(files, chain, key)?);
        let files = Some((chain.to_owned(), key.to_owned()));
        Ok(Self(Arc::new(Shared { current, files })))
    }

    /// Reads the files again; `true` if another certificate was there. Does nothing if the identity did not come from files.
    ///
    /// # Errors
    /// [`IdentityError`]; the identity stays as it was.
    pub fn reload(&self, files: &dyn Files) -> Result<bool, IdentityError> {
        match &self.0.files {
            Some((chain, key)) => self.replace(Current::load(files, chain, key)?),
            None => Ok(false),
        }
    }

    /// Takes a renewed certificate and its key.
    ///
    /// # Errors
    /// [`IdentityError`]; the identity stays as it was.
    pub fn replace_pem(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), IdentityError> {
        self.replace(Current::from_pem(chain_pem, key_pem)?).map(drop)
    }

    fn replace(&self, renewed: Current) -> Result<bool, IdentityError> {
        let own = self.peer();
        if renewed.peer != own {
            return Err(IdentityError::OtherPeer { own, found: renewed.peer });
        }
        let changed = renewed.certified.cert != self.certified().cert;
        self.0.current.store(Arc::new(renewed));
        Ok(changed)
    }

    /// Reads the files again each `interval` until `shutdown`, and tells of another certificate. A renewal in progress (a new
    /// certificate beside the old key) is logged and tried again.
    pub async fn reload_every(
        self,
        env: Env,
        interval: Duration,
        incidents: Incidents,
        shutdown: CancellationToken,
    ) {
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let (identity, files) = (self.clone(), Arc::clone(&env.files));
            match lanyard_env::blocking(move || identity.reload(&*files)).await {
                Ok(Ok(true)) => {
                    let until = self.valid_until().seconds();
                    tracing::info!(until, "another certificate in use");
                    incidents.tell(Incident::CertificateChanged, until);
                }
                Ok(Err(error)) => tracing::warn!(%error, "keeping the previous certificate"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }

    /// Who this is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.0.current.load().peer.clone()
    }

    /// When the certificate ends.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        self.0.current.load().valid_until
    }

    /// The certificates, the own one first.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.certified().cert.clone()
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.current.load().certified)
    }
}

impl Current {
    fn load(files: &dyn Files, chain: &Path, key: &Path) -> Result<Self, IdentityError> {
        Self::from_pem(&files.read(chain)?, &Zeroizing::new(files.read(key)?))
    }

    fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::Certificate)?;
        let own = chain.first().ok_or(IdentityError::Certificate)?;
        let (peer, valid_until) = (claimed_peer(own)?, valid_until(own)?);
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| IdentityError::Key)?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|source| IdentityError::Mismatch { source })?;
        Ok(Self { certified: Arc::new(certified), peer, valid_until })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer())
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

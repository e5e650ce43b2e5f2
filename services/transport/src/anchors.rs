//! Which certificate authority speaks for which party.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use thiserror::Error;
use tokio::sync::watch;

use crate::peer::PartyName;
use crate::tls::provider;
use crate::verify::CertificateRefused;

/// Why trust anchors are refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Not PEM, or no certificate in it.
    #[error("certificate authority of {party}: no certificate in PEM found")]
    Pem {
        /// The party.
        party: PartyName,
    },
    /// A certificate that cannot be an anchor.
    #[error("certificate authority of {party}: {source}")]
    Certificate {
        /// The party.
        party: PartyName,
        /// The TLS library's reason.
        source: rustls::Error,
    },
}

/// The authorities of one party.
pub(crate) struct Anchor {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) clients: Arc<dyn ClientCertVerifier>,
}

type Anchors = HashMap<PartyName, Arc<Anchor>>;

/// The certificate authorities of all parties, as the manifest in force names them. Clones share one state, so that
/// a new manifest takes effect at once, on open connections too.
#[derive(Clone)]
pub struct TrustAnchors(Arc<Shared>);

struct Shared {
    anchors: ArcSwap<Anchors>,
    changes: watch::Sender<()>,
}

impl TrustAnchors {
    /// Trusts, for each party, the certificates in its PEM text. A party may occur several times, as it does while
    /// it changes its authority.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn from_pem<'a>(
        authorities: impl IntoIterator<Item = (PartyName, &'a str)>,
    ) -> Result<Self, AnchorError> {
        let anchors = ArcSwap::from_pointee(read(authorities)?);
        Ok(Self(Arc::new(Shared { anchors, changes: watch::Sender::new(()) })))
    }

    /// Replaces all of them. Connections whose peer is then no longer trusted are closed.
    ///
    /// # Errors
    /// [`AnchorError`]; nothing is then changed.
    pub fn replace<'a>(
        &self,
        authorities: impl IntoIterator<Item = (PartyName, &'a str)>,
    ) -> Result<(), AnchorError> {
        self.0.anchors.store(Arc::new(read(authorities)?));
        self.0.changes.send_replace(());
        Ok(())
    }

    /// Tells of replacements.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    pub(crate) fn of(&self, party: PartyName) -> Result<Arc<Anchor>, CertificateRefused> {
        let anchors = self.0.anchors.load();
        anchors.get(&party).cloned().ok_or(CertificateRefused::UnknownParty { party })
    }
}

fn read<'a>(
    authorities: impl IntoIterator<Item = (PartyName, &'a str)>,
) -> Result<Anchors, AnchorError> {
    let mut stores: HashMap<PartyName, RootCertStore> = HashMap::new();
    for (party, pem) in authorities {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| AnchorError::Pem { party })?;
        if certificates.is_empty() {
            return Err(AnchorError::Pem { party });
        }
        let store = stores.entry(party).or_insert_with(RootCertStore::empty);
        for certificate in certificates {
            let added = store.add(certificate);
            added.map_err(|source| AnchorError::Certificate { party, source })?;
        }
    }
    stores.into_iter().map(|(party, roots)| Ok((party, Arc::new(anchor(party, roots)?)))).collect()
}

fn anchor(party: PartyName, roots: RootCertStore) -> Result<Anchor, AnchorError> {
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .build()
        .map_err(|error| {
            let source = rustls::Error::General(error.to_string());
            AnchorError::Certificate { party, source }
        })?;
    Ok(Anchor { roots, clients })
}

//! Which certificate authority speaks for which party, and whom of those that it certified the manifest lets in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use lanyard_core::ids::Hash;
use lanyard_env::StartError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use thiserror::Error;
use tokio::sync::watch;

use crate::peer::{PartyName, PeerId, Role};
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

impl StartError for AnchorError {
    fn is_permanent(&self) -> bool {
        true
    }
}

/// Whom, of those that a party's authority certified, the manifest lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    gates: Option<BTreeSet<String>>,
    revoked: BTreeSet<Hash>,
}

impl Admission {
    /// Everyone whom an authority certified.
    #[must_use]
    pub fn everyone() -> Self {
        Self::default()
    }

    /// Of the gates these, each with its people, whose names are `GATE.NAME`; and nobody whose certificate's public key
    /// has one of the `revoked` hashes. All gates are one party with one authority, so that the list alone tells those
    /// that are in use from one that was stolen.
    #[must_use]
    pub fn of(
        gates: impl IntoIterator<Item = String>,
        revoked: impl IntoIterator<Item = Hash>,
    ) -> Self {
        Self { gates: Some(gates.into_iter().collect()), revoked: revoked.into_iter().collect() }
    }

    fn check(&self, peer: &PeerId, key: Hash) -> Result<(), CertificateRefused> {
        if self.revoked.contains(&key) {
            return Err(CertificateRefused::Revoked { peer: peer.clone() });
        }
        let Some(gates) = self.gates.as_ref().filter(|_| peer.party() == PartyName::Gate) else {
            return Ok(());
        };
        let gate = match (peer.role(), peer.name().split_once('.')) {
            (Role::Service, _) => Some(peer.name()),
            (_, Some((gate, _))) => Some(gate),
            (_, None) => None,
        };
        if gate.is_some_and(|gate| gates.contains(gate)) {
            return Ok(());
        }
        Err(CertificateRefused::NoGate { peer: peer.clone() })
    }
}

/// The authorities of one party.
pub(crate) struct Anchor {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) clients: Arc<dyn ClientCertVerifier>,
}

type Anchors = HashMap<PartyName, Arc<Anchor>>;

/// The certificate authorities of all parties, as the manifest in force names them, and whom it lets in. Clones share one
/// state, so that a new manifest takes effect at once, on open connections too.
#[derive(Clone)]
pub struct TrustAnchors(Arc<Shared>);

struct Shared {
    trusted: ArcSwap<Trusted>,
    changes: watch::Sender<()>,
}

struct Trusted {
    anchors: Anchors,
    admission: Admission,
}

impl TrustAnchors {
    /// Trusts, for each party, the certificates in its PEM text, and everyone whom they certify. A party may occur several
    /// times, as it does while it changes its authority.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn from_pem<'a>(
        authorities: impl IntoIterator<Item = (PartyName, &'a str)>,
    ) -> Result<Self, AnchorError> {
        Self::admitting(Admission::everyone(), authorities)
    }

    /// As [`TrustAnchors::from_pem`], but lets in only whom `admission` does.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn admitting<'a>(
        admission: Admission,
        authorities: impl IntoIterator<Item = (PartyName, &'a str)>,
    ) -> Result<Self, AnchorError> {
        let trusted = ArcSwap::from_pointee(Trusted { anchors: read(authorities)?, admission });
        Ok(Self(Arc::new(Shared { trusted, changes: watch::Sender::new(()) })))
    }

    /// Replaces all of them. Connections whose peer is then no longer trusted are closed.
    ///
    /// # Errors
    /// [`AnchorError`]; nothing is then changed.
    pub fn replace<'a>(
        &self,
        admission: Admission,
        authorities: impl IntoIterator<Item = (PartyName, &'a str)>,
    ) -> Result<(), AnchorError> {
        self.0.trusted.store(Arc::new(Trusted { anchors: read(authorities)?, admission }));
        self.0.changes.send_replace(());
        Ok(())
    }

    /// Tells of replacements.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// The authorities that may certify `peer`, whose certificate has a public key of this hash.
    pub(crate) fn of(&self, peer: &PeerId, key: Hash) -> Result<Arc<Anchor>, CertificateRefused> {
        let trusted = self.0.trusted.load();
        trusted.admission.check(peer, key)?;
        let party = peer.party();
        trusted.anchors.get(&party).cloned().ok_or(CertificateRefused::UnknownParty { party })
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

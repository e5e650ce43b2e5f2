//! Checking a peer's certificate: its one identity, then the chain to exactly that party's authority.

use std::fmt;
use std::sync::Arc;

use lanyard_core::ids::{Hash, Timestamp};
use lanyard_core::manifest::certificate_key_hash;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError, SignatureScheme,
};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::anchors::TrustAnchors;
use crate::peer::{PartyName, PeerId, PeerIdError, Role};

/// Why a certificate is not accepted as a peer's, before its chain is looked at.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateRefused {
    /// Not an X.509 certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Not exactly one alternative name, a URI.
    #[error("the certificate must carry one URI as its only alternative name")]
    NotOneUri,
    /// The URI is not an identity.
    #[error("the certificate's {0}")]
    Identity(#[from] PeerIdError),
    /// No authority is known for the party.
    #[error("no certificate authority is known for party {party}: check the manifest")]
    UnknownParty {
        /// The party claimed.
        party: PartyName,
    },
    /// A gate, or one of its people, that the manifest does not name.
    #[error(
        "{peer} belongs to no gate of the manifest in force: it was expelled, or its certificate is of before gates' people \
         were named GATE.NAME; renew that with the gates' authority"
    )]
    NoGate {
        /// Who it claims to be.
        peer: PeerId,
    },
    /// The manifest revokes the certificate's key.
    #[error("the certificate of {peer} is revoked in the manifest; renew it")]
    Revoked {
        /// Who it claims to be.
        peer: PeerId,
    },
    /// A genuine server, but another than was asked for.
    #[error("the server is {found}, not {expected}: check the address")]
    OtherServer {
        /// Who was expected.
        expected: Expected,
        /// Who answered.
        found: PeerId,
    },
}

impl From<CertificateRefused> for TlsError {
    fn from(refused: CertificateRefused) -> Self {
        Self::InvalidCertificate(rustls::CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// Which server a client wants: the service of a party, of a given name or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    party: PartyName,
    name: Option<Arc<str>>,
}

impl Expected {
    /// Any service of `party`: right where a party has one.
    #[must_use]
    pub const fn party(party: PartyName) -> Self {
        Self { party, name: None }
    }

    /// The service `name` of `party`.
    #[must_use]
    pub fn named(party: PartyName, name: &str) -> Self {
        Self { party, name: Some(name.into()) }
    }

    /// Whether `peer` is it.
    #[must_use]
    pub fn accepts(&self, peer: &PeerId) -> bool {
        peer.role() == Role::Service
            && peer.party() == self.party
            && self.name.as_deref().is_none_or(|name| name == peer.name())
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("*");
        write!(f, "spiffe://{}/{}/{name}", self.party, Role::Service)
    }
}

/// The identity that a certificate claims; says nothing of who signed it.
pub(crate) fn claimed_peer(certificate: &CertificateDer<'_>) -> Result<PeerId, CertificateRefused> {
    let parsed = parse(certificate)?;
    let names = parsed.subject_alternative_name().map_err(|_| CertificateRefused::Unreadable)?;
    match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) => Ok(uri.parse()?),
        _ => Err(CertificateRefused::NotOneUri),
    }
}

/// By what a manifest names a certificate that is revoked.
pub(crate) fn key_hash(certificate: &CertificateDer<'_>) -> Result<Hash, CertificateRefused> {
    Ok(certificate_key_hash(parse(certificate)?.public_key().raw))
}

/// When a certificate ends.
pub(crate) fn valid_until(
    certificate: &CertificateDer<'_>,
) -> Result<Timestamp, CertificateRefused> {
    let seconds = parse(certificate)?.validity().not_after.timestamp();
    Ok(Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0)))
}

fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertificateRefused> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(CertificateRefused::Unreadable),
    }
}

/// Verifies that a chain is that of the peer it claims, at `now`, for use as a client.
pub(crate) fn verify_client(
    anchors: &TrustAnchors,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<PeerId, TlsError> {
    let (end_entity, intermediates) =
        chain.split_first().ok_or(TlsError::NoCertificatesPresented)?;
    let peer = claimed_peer(end_entity)?;
    let anchor = anchors.of(&peer, key_hash(end_entity)?)?;
    anchor.clients.verify_client_cert(end_entity, intermediates, now)?;
    Ok(peer)
}

/// Checks clients for a server.
pub(crate) struct ClientVerifier {
    pub(crate) anchors: TrustAnchors,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientVerifier")
    }
}

impl ClientCertVerifier for ClientVerifier {
    /// No hints: a caller has one certificate, and need not be told whom the server trusts.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let peer = claimed_peer(end_entity)?;
        let anchor = self.anchors.of(&peer, key_hash(end_entity)?)?;
        anchor.clients.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(tls13_only())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks servers for a client.
pub(crate) struct ServerVerifier {
    pub(crate) expected: Expected,
    pub(crate) anchors: TrustAnchors,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerVerifier({})", self.expected)
    }
}

impl ServerCertVerifier for ServerVerifier {
    /// The TLS server name plays no part: the identity is what was asked for.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let found = claimed_peer(end_entity)?;
        let anchor = self.anchors.of(&found, key_hash(end_entity)?)?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &anchor.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        // Only now is it known that it is that server, so that the error may say so.
        if !self.expected.accepts(&found) {
            let expected = self.expected.clone();
            return Err(CertificateRefused::OtherServer { expected, found }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(tls13_only())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn tls13_only() -> TlsError {
    TlsError::General("TLS 1.3 only".to_owned())
}

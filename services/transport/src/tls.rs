//! TLS 1.3 on aws-lc-rs, both ends with certificates.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lanyard_env::{Clock, Env, StartError};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::UnixTime;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, ServerConfig};
use thiserror::Error;

use crate::anchors::TrustAnchors;
use crate::identity::Identity;
use crate::verify::{ClientVerifier, Expected, ServerVerifier, verify_client};

/// ALPN names (RFC 7301 §6).
pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    })
});

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// Why other parties refuse the own certificate.
#[derive(Debug, Error)]
#[error("other parties refuse it: {0}")]
pub struct OwnCertificateRefused(#[source] rustls::Error);

impl OwnCertificateRefused {
    /// Whether another time of day would do: the clock here may be wrong, and a certificate that ended may be renewed.
    #[must_use]
    pub const fn is_about_time(&self) -> bool {
        use CertificateError as Refused;
        matches!(
            self.0,
            rustls::Error::InvalidCertificate(
                Refused::Expired
                    | Refused::ExpiredContext { .. }
                    | Refused::NotValidYet
                    | Refused::NotValidYetContext { .. }
            )
        )
    }
}

impl StartError for OwnCertificateRefused {
    fn is_permanent(&self) -> bool {
        !self.is_about_time()
    }
}

/// Everything that a handshake needs: the clock, the own identity and whom to trust. Cloning is cheap and shares
/// identity and anchors.
#[derive(Clone)]
pub struct Tls {
    time: Arc<EnvTime>,
    identity: Identity,
    anchors: TrustAnchors,
}

impl Tls {
    /// Handshakes with the clock of `env`.
    #[must_use]
    pub fn new(env: &Env, identity: Identity, anchors: TrustAnchors) -> Self {
        Self { time: Arc::new(EnvTime(Arc::clone(&env.clock))), identity, anchors }
    }

    /// The own identity.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whom to trust.
    #[must_use]
    pub const fn anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    /// Whether other parties accept the own certificate now: it chains to the authority that they trust for this party, and
    /// is in its time.
    ///
    /// # Errors
    /// [`OwnCertificateRefused`].
    pub fn verify_own(&self) -> Result<(), OwnCertificateRefused> {
        let verified = verify_client(&self.anchors, &self.identity.chain(), self.now());
        verified.map(drop).map_err(OwnCertificateRefused)
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.time.now()
    }

    /// For a server: every client has a certificate.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let anchors = self.anchors.clone();
        let verifier = Arc::new(ClientVerifier { anchors, provider: provider() });
        let time = Arc::clone(&self.time) as Arc<dyn TimeProvider>;
        let mut config = ServerConfig::builder_with_details(provider(), time)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(self.identity.clone()));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        // A resumed session would skip the check of the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For a client of the expected server, speaking the protocol `alpn`.
    pub(crate) fn client_config(
        &self,
        expected: &Expected,
        alpn: &[u8],
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let (expected, anchors) = (expected.clone(), self.anchors.clone());
        let verifier = Arc::new(ServerVerifier { expected, anchors, provider: provider() });
        let time = Arc::clone(&self.time) as Arc<dyn TimeProvider>;
        let mut config = ClientConfig::builder_with_details(provider(), time)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(self.identity.clone()));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

struct EnvTime(Arc<dyn Clock>);

impl EnvTime {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0.now().seconds()))
    }
}

impl fmt::Debug for EnvTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvTime")
    }
}

impl TimeProvider for EnvTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

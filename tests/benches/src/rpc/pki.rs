//! Certificates of a gate, a sponsor and those who call them.

use std::path::Path;

use lanyard_core::ids::Timestamp;
use lanyard_env::Env;
use lanyard_transport::certificates::{CertificateAuthority, make_csr};
use lanyard_transport::{Identity, PartyName, PeerId, Role, Tls, TrustAnchors};

use super::Failure;

const PARTIES: [PartyName; 2] = [PartyName::Gate, PartyName::Sponsor];

/// What the client side holds; the servers' side is written to the folder.
pub(crate) struct Pki {
    anchors: TrustAnchors,
    gate: CertificateAuthority,
}

impl Pki {
    pub(crate) fn create(dir: &Path) -> Result<Self, Failure> {
        let (from, until) = period();
        let authority = |party| CertificateAuthority::generate(party, from, until);
        let [gate, sponsor] = [authority(PartyName::Gate)?, authority(PartyName::Sponsor)?];
        for (party, authority, name) in
            [(PartyName::Gate, &gate, "gate-1"), (PartyName::Sponsor, &sponsor, "main")]
        {
            let (chain, key) = issue(authority, &PeerId::new(party, Role::Service, name)?)?;
            std::fs::write(dir.join(format!("{party}-ca.pem")), authority.certificate_pem())?;
            std::fs::write(dir.join(format!("{party}.pem")), chain)?;
            std::fs::write(dir.join(format!("{party}.key")), key)?;
        }
        Ok(Self { anchors: anchors(dir)?, gate })
    }

    /// Someone of the gate's.
    pub(crate) fn caller(&self, env: &Env, role: Role) -> Result<Tls, Failure> {
        let (chain, key) = issue(&self.gate, &PeerId::new(PartyName::Gate, role, "bench")?)?;
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
        Ok(Tls::new(env, identity, self.anchors.clone()))
    }
}

/// The servers' side of it.
pub(crate) fn server(env: &Env, dir: &Path, party: PartyName) -> Result<Tls, Failure> {
    let [chain, key] = files(dir, party)?;
    Ok(Tls::new(env, Identity::from_pem(&chain, &key)?, anchors(dir)?))
}

/// Chain and key of a server, PEM.
pub(crate) fn files(dir: &Path, party: PartyName) -> Result<[Vec<u8>; 2], Failure> {
    let read = |ending: &str| std::fs::read(dir.join(format!("{party}.{ending}")));
    Ok([read("pem")?, read("key")?])
}

/// The certificate of the authority that signs the callers, PEM.
pub(crate) fn callers_authority(dir: &Path) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(dir.join(format!("{}-ca.pem", PartyName::Gate)))?)
}

fn anchors(dir: &Path) -> Result<TrustAnchors, Failure> {
    let read = |party| std::fs::read_to_string(dir.join(format!("{party}-ca.pem")));
    let texts = PARTIES.map(read);
    let mut pems = Vec::new();
    for (party, text) in std::iter::zip(PARTIES, texts) {
        pems.push((party, text?));
    }
    Ok(TrustAnchors::from_pem(pems.iter().map(|(party, text)| (*party, text.as_str())))?)
}

fn issue(authority: &CertificateAuthority, peer: &PeerId) -> Result<(String, String), Failure> {
    let (from, until) = period();
    let request = make_csr(peer)?;
    let chain = authority.issue(peer, &request.csr_pem, from, until)?;
    Ok((chain, request.key_pem.to_string()))
}

fn period() -> (Timestamp, Timestamp) {
    let now = Env::system().now();
    (now.minus_millis(3_600_000), now.plus_millis(24 * 3_600_000))
}

//! Certificates of anyone, signed by anyone.

use std::collections::BTreeMap;

use lanyard_core::ids::Timestamp;
use lanyard_transport::certificates::{CertificateAuthority, make_csr};
use lanyard_transport::{PartyName, PeerId, Role};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use crate::event::TestEvent;

/// A certificate and its key, PEM.
pub struct Certified {
    /// The certificate.
    pub chain_pem: String,
    /// The key.
    pub key_pem: String,
}

/// The certificate authorities of an event's parties, as whoever stole their keys has them.
pub struct Authorities {
    from: Timestamp,
    until: Timestamp,
    pems: BTreeMap<PartyName, (String, String)>,
}

impl Authorities {
    /// Reads all parties' authorities.
    ///
    /// # Panics
    /// If one is not there.
    #[must_use]
    pub fn of(event: &TestEvent) -> Self {
        let now = event.env().now();
        let read = |folder: &str, file: &str| {
            let path = event.folder(folder).join("ca").join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let pems = PartyName::ALL.iter().map(|party| {
            let folder = if *party == PartyName::Gate { "gate-ca" } else { party.name() };
            (*party, (read(folder, "ca.pem"), read(folder, "ca.key")))
        });
        let (from, until) = (now.minus_millis(60_000), now.plus_millis(3_600_000));
        Self { from, until, pems: pems.collect() }
    }

    /// A certificate as the party's own authority gives it.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn certify(&self, peer: &PeerId) -> Certified {
        let (certificate, key) = &self.pems[&peer.party()];
        let authority = CertificateAuthority::from_pem(peer.party(), certificate, key);
        self.certified_by(&authority.expect("the authority reads"), peer)
    }

    /// A certificate by an authority of the same name with another key.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn certify_by_stranger(&self, peer: &PeerId) -> Certified {
        let stranger = CertificateAuthority::generate(peer.party(), self.from, self.until);
        self.certified_by(&stranger.expect("an authority"), peer)
    }

    fn certified_by(&self, authority: &CertificateAuthority, peer: &PeerId) -> Certified {
        let request = make_csr(peer).expect("a request");
        let chain = authority.issue(peer, &request.csr_pem, self.from, self.until);
        Certified { chain_pem: chain.expect("a certificate"), key_pem: request.key_pem.to_string() }
    }

    /// A certificate in which another party's authority says that the bearer is `peer`. The product's own authority
    /// does not sign such a thing; whoever has its key does.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn certify_by_other(&self, other: PartyName, peer: &PeerId) -> Certified {
        let (certificate, key) = &self.pems[&other];
        let key = KeyPair::from_pem(key).expect("the authority's key reads");
        let issuer = Issuer::from_ca_cert_pem(certificate, key).expect("its certificate reads");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, peer.name());
        let uri = peer.to_string().try_into().expect("an identity is ASCII");
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let own = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&own, &issuer).expect("a certificate");
        Certified { chain_pem: signed.pem(), key_pem: own.serialize_pem() }
    }

    /// One identity of every party and role.
    ///
    /// # Panics
    /// Never: the names are valid.
    #[must_use]
    pub fn everyone() -> Vec<PeerId> {
        let roles = |party| Role::ALL.iter().map(move |role| (party, *role));
        let all = PartyName::ALL.iter().copied().flat_map(roles);
        let name = |party, role| match (party, role) {
            (PartyName::Gate, Role::Service) => "gate-1",
            (PartyName::Gate, _) => "gate-1.probe",
            _ => "probe",
        };
        all.map(|(party, role)| PeerId::new(party, role, name(party, role)).expect("a valid name"))
            .collect()
    }
}

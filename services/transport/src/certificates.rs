//! A party's certificate authority: one root that signs its services and people, nothing in between.
//!
//! Keys are ECDSA P-256, which every TLS stack reads. Their randomness is the TLS library's own.

use lanyard_core::ids::{Hash, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::peer::{PartyName, PeerId, Role};
use crate::verify::{CertificateRefused, key_hash};

/// By what a manifest revokes the first certificate of a PEM text.
///
/// # Errors
/// [`CertificateRefused::Unreadable`].
pub fn certificate_key(pem: &[u8]) -> Result<Hash, CertificateRefused> {
    let certificate = CertificateDer::from_pem_slice(pem);
    key_hash(&certificate.map_err(|_| CertificateRefused::Unreadable)?)
}

/// Why a certificate was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The authority's certificate is not that of the party.
    #[error("the authority's certificate is not one of party {party}: check the file")]
    OtherAuthority {
        /// The party expected.
        party: PartyName,
    },
    /// The authority's key is not that of its certificate.
    #[error(
        "the authority's key of party {party} does not belong to its certificate: check the files"
    )]
    OtherKey {
        /// The party.
        party: PartyName,
    },
    /// The authority signs for its own party only.
    #[error("the authority of {party} cannot certify {peer}")]
    OtherParty {
        /// The authority's party.
        party: PartyName,
        /// Who asked.
        peer: PeerId,
    },
    /// The request names somebody else.
    #[error("the certificate request is not for {peer}: make it anew")]
    OtherRequest {
        /// Who was to be certified.
        peer: PeerId,
    },
    /// The period is empty or outside the years 1970 to 9999.
    #[error("the certificate's period is empty or out of range")]
    Period,
    /// Unreadable or damaged input, or a request whose signature is wrong.
    #[error("certificate, key or request: {source}")]
    Encoding {
        /// The library's reason.
        #[from]
        source: rcgen::Error,
    },
}

/// A key and the request to certify it.
pub struct KeyAndRequest {
    /// PKCS #8 private key, PEM: a secret of whoever made it.
    pub key_pem: Zeroizing<String>,
    /// PKCS #10 request, PEM: public.
    pub csr_pem: String,
}

/// Makes a new key for `peer` and the request for its certificate.
///
/// # Errors
/// [`CertificateError::Encoding`] if the library fails.
pub fn make_csr(peer: &PeerId) -> Result<KeyAndRequest, CertificateError> {
    let key = KeyPair::generate()?;
    let csr_pem = leaf_params(peer)?.serialize_request(&key)?.pem()?;
    Ok(KeyAndRequest { key_pem: Zeroizing::new(key.serialize_pem()), csr_pem })
}

/// A party's certificate authority with its key.
pub struct CertificateAuthority {
    party: PartyName,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// Makes a new authority with a new key.
    ///
    /// # Errors
    /// [`CertificateError::Period`].
    pub fn generate(
        party: PartyName,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = period(not_before, not_after)?;
        params.distinguished_name = common_name(&authority_name(party));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { party, certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// Reads back an authority that [`CertificateAuthority::generate`] made.
    ///
    /// # Errors
    /// [`CertificateError::OtherAuthority`], [`CertificateError::OtherKey`] or [`CertificateError::Encoding`].
    pub fn from_pem(
        party: PartyName,
        certificate_pem: &str,
        key_pem: &str,
    ) -> Result<Self, CertificateError> {
        let other = || CertificateError::OtherAuthority { party };
        let der =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| other())?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| other())?;
        let name = certificate.subject().iter_common_name().next();
        if name.and_then(|name| name.as_str().ok()) != Some(&authority_name(party)) {
            return Err(other());
        }
        let key = KeyPair::from_pem(key_pem)?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(CertificateError::OtherKey { party });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { party, certificate_pem: certificate_pem.to_owned(), issuer })
    }

    /// The party.
    #[must_use]
    pub const fn party(&self) -> PartyName {
        self.party
    }

    /// The certificate, PEM: public, for the manifest.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, PKCS #8 PEM.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Certifies `peer`'s request. Nothing of the request is taken over but the key.
    ///
    /// # Errors
    /// [`CertificateError::OtherParty`], [`CertificateError::OtherRequest`], [`CertificateError::Period`] or
    /// [`CertificateError::Encoding`].
    pub fn issue(
        &self,
        peer: &PeerId,
        csr_pem: &str,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<String, CertificateError> {
        if peer.party() != self.party {
            return Err(CertificateError::OtherParty { party: self.party, peer: peer.clone() });
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem)?;
        if request.params.subject_alt_names != [uri(peer)?] {
            return Err(CertificateError::OtherRequest { peer: peer.clone() });
        }
        let mut params = leaf_params(peer)?;
        (params.not_before, params.not_after) = period(not_before, not_after)?;
        params.serial_number = Some(serial(request.public_key.der_bytes(), not_before, not_after));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }
}

fn leaf_params(peer: &PeerId) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(peer.name());
    params.subject_alt_names = vec![uri(peer)?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if peer.role() == Role::Service {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    Ok(params)
}

fn uri(peer: &PeerId) -> Result<SanType, CertificateError> {
    Ok(SanType::URI(peer.to_string().try_into()?))
}

fn authority_name(party: PartyName) -> String {
    format!("lanyard {party} authority")
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A serial that differs for each key and period, positive and of 16 bytes (RFC 5280 §4.1.2.2).
fn serial(key: &[u8], not_before: Timestamp, not_after: Timestamp) -> SerialNumber {
    let mut hasher = blake3::Hasher::new_derive_key("lanyard v1 certificate serial");
    hasher.update(&not_before.millis().to_be_bytes());
    hasher.update(&not_after.millis().to_be_bytes());
    hasher.update(key);
    let mut serial = [0; 16];
    hasher.finalize_xof().fill(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn period(
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<(OffsetDateTime, OffsetDateTime), CertificateError> {
    let date = |timestamp: Timestamp| {
        let seconds = i64::try_from(timestamp.seconds()).map_err(|_| CertificateError::Period)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertificateError::Period)
    };
    if not_before < not_after {
        Ok((date(not_before)?, date(not_after)?))
    } else {
        Err(CertificateError::Period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const UNTIL: Timestamp = Timestamp::from_seconds(1_900_000_000);

    fn authority(party: PartyName) -> CertificateAuthority {
        CertificateAuthority::generate(party, FROM, UNTIL).unwrap()
    }

    #[test]
    fn an_authority_reads_back_only_as_its_own_party_with_its_own_key() {
        let police = authority(PartyName::Police);
        let (certificate, key) = (police.certificate_pem(), police.key_pem());
        assert!(CertificateAuthority::from_pem(PartyName::Police, certificate, &key).is_ok());
        assert!(matches!(
            CertificateAuthority::from_pem(PartyName::Gate, certificate, &key),
            Err(CertificateError::OtherAuthority { .. })
        ));
        let other = authority(PartyName::Police).key_pem();
        assert!(matches!(
            CertificateAuthority::from_pem(PartyName::Police, certificate, &other),
            Err(CertificateError::OtherKey { .. })
        ));
    }

    #[test]
    fn an_authority_signs_for_its_own_party_and_the_peer_in_the_request() {
        let police = authority(PartyName::Police);
        let anna = PeerId::new(PartyName::Police, Role::Operator, "anna").unwrap();
        let ben = PeerId::new(PartyName::Police, Role::Operator, "ben").unwrap();
        let gate = PeerId::new(PartyName::Gate, Role::Service, "gate-1").unwrap();
        let request = make_csr(&anna).unwrap();
        assert!(police.issue(&anna, &request.csr_pem, FROM, UNTIL).is_ok());
        assert!(matches!(
            police.issue(&ben, &request.csr_pem, FROM, UNTIL),
            Err(CertificateError::OtherRequest { .. })
        ));
        let request = make_csr(&gate).unwrap();
        assert!(matches!(
            police.issue(&gate, &request.csr_pem, FROM, UNTIL),
            Err(CertificateError::OtherParty { .. })
        ));
    }

    #[test]
    fn an_empty_period_and_a_damaged_request_are_refused() {
        let police = authority(PartyName::Police);
        let anna = PeerId::new(PartyName::Police, Role::Operator, "anna").unwrap();
        let csr = make_csr(&anna).unwrap().csr_pem;
        assert!(matches!(police.issue(&anna, &csr, UNTIL, FROM), Err(CertificateError::Period)));
        assert!(police.issue(&anna, &csr[..200], FROM, UNTIL).is_err());
    }
}

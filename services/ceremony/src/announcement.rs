//! What a member makes public of itself: its CA's certificate and its public keys.

use lanyard_core::hpke_box::HpkePublicKey;
use lanyard_core::note::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::member::Member;

/// A member's public keys, signed by its ceremony key. Who lacks a key leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Who announces.
    pub member: Member,
    /// Signs the member's files in the exchange folder.
    pub ceremony: VerifyingKey,
    /// The certificate of its CA, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_pem: Option<String>,
    /// A gate's request for a certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_request_pem: Option<String>,
    /// An authority's log key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<VerifyingKey>,
    /// An authority's manifest key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<VerifyingKey>,
    /// A witness's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<VerifyingKey>,
    /// A gate's receipts key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<VerifyingKey>,
    /// Seals to the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hpke: Option<HpkePublicKey>,
    /// Seals the bodies of receipts, to the police.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<HpkePublicKey>,
}

impl Announcement {
    pub(crate) fn new(member: &Member, ceremony: VerifyingKey) -> Self {
        Self {
            member: member.clone(),
            ceremony,
            certificate_authority_pem: None,
            certificate_request_pem: None,
            log: None,
            manifest: None,
            witness: None,
            receipts: None,
            hpke: None,
            audit: None,
        }
    }
}

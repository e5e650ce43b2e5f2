//! What a member makes public of itself: its CA's certificate and its public keys.

use lanyard_core::hpke_box::HpkePublicKey;
use lanyard_core::ids::Hash;
use lanyard_core::manifest::ReplacedKey;
use lanyard_core::note::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::member::Member;

/// A member's public keys, signed by its ceremony key. Who lacks a key leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Who announces.
    pub member: Member,
    /// How often it has announced, this time included; left out the first time. A later one must be signed by the same
    /// ceremony key, or accepted by its fingerprint.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub number: u32,
    /// Whose place it takes: the fingerprint of that announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Hash>,
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
    /// An authority's earlier manifest keys, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_manifest: Vec<VerifyingKey>,
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
    /// Keys that others took the place of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<ReplacedKey>,
}

const fn first() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
const fn is_first(number: &u32) -> bool {
    *number == 1
}

impl Announcement {
    pub(crate) fn new(member: &Member, ceremony: VerifyingKey) -> Self {
        Self {
            member: member.clone(),
            number: first(),
            replaces: None,
            ceremony,
            certificate_authority_pem: None,
            certificate_request_pem: None,
            log: None,
            manifest: None,
            former_manifest: Vec::new(),
            witness: None,
            receipts: None,
            hpke: None,
            audit: None,
            replaced: Vec::new(),
        }
    }
}

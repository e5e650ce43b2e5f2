//! The manifest: the versioned public description of one event, signed by both authorities.
//!
//! Its text is the line `lanyard manifest v1` and pretty JSON; it travels as a signed note. [`Manifest`] is plain data;
//! only [`verify_manifest`] and [`VerifiedManifest::accept_successor`] make the [`VerifiedManifest`] that parties work
//! under.

mod epochs;
#[cfg(test)]
pub(crate) mod fixture;
mod lookup;
mod problem;
mod replaced;
#[cfg(test)]
mod tests;
mod validate;
mod verified;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use epochs::EpochPlan;
pub use lookup::PATIENCE_TICKS;
pub use problem::{ManifestError, Problem};
pub use replaced::{KeyEnd, LogKeys, LogPosition, ReplacedKey};
pub use verified::{ManifestTrust, VerifiedManifest, sign_manifest, verify_manifest};

use crate::decision::{AccessPoint, StalenessTier};
use crate::hpke_box::HpkePublicKey;
use crate::ids::{Audience, EventId, Hash};
use crate::note::VerifyingKey;
use crate::profile::EventTimeZone;

/// First line of a manifest's text.
const HEADER: &str = "lanyard manifest v1\n";
/// The most bytes of a manifest with its signatures: 4 MiB.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// The public description of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// From 1, one more with each change.
    pub version: u32,
    /// Hash of the version before; none in version 1.
    pub previous: Option<Hash>,
    /// The event.
    pub event: EventId,
    /// Its name for people.
    pub title: String,
    /// The zone in which days and hours of profiles are meant.
    pub time_zone: EventTimeZone,
    /// When which epoch is live.
    pub epochs: EpochPlan,
    /// Milliseconds from one map head to the next.
    pub tick_millis: u32,
    /// By how many milliseconds a time may be ahead of the clock.
    pub skew_millis: u32,
    /// How changes hide among other rows.
    pub padding: Padding,
    /// The parties and their certificate authorities.
    pub parties: Vec<Party>,
    /// The authorities' keys.
    pub authorities: Authorities,
    /// Who cosigns. A witness that bears an authority's name is that authority's and does not count for its own log.
    pub witnesses: Vec<Witness>,
    /// How many witnesses make a checkpoint count: more than half of those of each log.
    pub quorum: u8,
    /// Venues.
    pub venues: Vec<Venue>,
    /// Zones.
    pub zones: Vec<Zone>,
    /// Staleness tiers by name; zones refer to them.
    pub staleness_tiers: BTreeMap<String, StalenessTier>,
    /// Categories that profiles may show.
    pub categories: Vec<String>,
    /// Doors, gates and desks.
    pub access_points: Vec<AccessPoint>,
    /// Who holds the shares of the pseudonym key.
    pub share_holders: ShareHolders,
    /// How many evaluations a share holder gives whom, and for what.
    pub quotas: Vec<Quota>,
    /// Who receives audience keys.
    pub verifiers: Vec<Verifier>,
    /// Gate services and the access points that each serves.
    pub gates: Vec<Gate>,
    /// What receipt bodies are sealed to.
    pub audit_key: HpkePublicKey,
    /// How screening answers.
    pub screening: Screening,
    /// Keys that others took the place of, or that nobody shall use any more. Left out while there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<ReplacedKey>,
    /// Certificates that nobody accepts any more, by [`certificate_key_hash`]. Left out while there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_certificates: Vec<Hash>,
}

/// By what a manifest names a certificate to be refused: BLAKE3 of its public key (X.509's SubjectPublicKeyInfo, DER), so
/// that a new certificate for the same key is refused as well.
#[must_use]
pub fn certificate_key_hash(public_key_info: &[u8]) -> Hash {
    blake3::hash(public_key_info).into()
}

/// How changes hide among other rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    /// Rows re-sealed a tick: normally, with more changes, with yet more. Ascending.
    pub reseals: [u32; 3],
    /// At least this many decoy rows a directory.
    pub decoy_floor: u32,
    /// And at least this many decoys for each hundred real rows.
    pub decoy_percent: u8,
    /// An epoch's first tick re-seals at least this many of each hundred rows; 1 or more.
    pub catch_up_percent: u8,
    /// The sponsor's directories are re-sealed whole this often, in seconds, and stay as they are in between.
    pub sponsor_reseal_seconds: u32,
}

/// A party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// `committee`, `police`, `sponsor`, `trustee` or `gate`.
    pub name: String,
    /// The one certificate authority whose certificates may name the party, in PEM.
    pub certificate_authority_pem: String,
}

/// Both authorities' keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorities {
    /// The organising committee's.
    pub committee: AuthorityKeys,
    /// The police's.
    pub police: AuthorityKeys,
}

/// One authority's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityKeys {
    /// Signs checkpoints; its name is the log's origin.
    pub log: VerifyingKey,
    /// Signs the next manifest.
    pub manifest: VerifyingKey,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// The party's name, or any other name of a foreign witness.
    pub name: String,
    /// Verifies its cosignatures.
    pub key: VerifyingKey,
}

/// A venue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venue {
    /// Its code, as profiles and access points write it.
    pub code: String,
    /// Its name for people.
    pub name: String,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its code, as profiles and access points write it.
    pub code: String,
    /// Its name for people.
    pub name: String,
    /// Its staleness tier.
    pub tier: String,
}

/// Who holds the shares of the pseudonym key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareHolders {
    /// How many of them it takes: 2 or more.
    pub threshold: u8,
    /// The holders.
    pub holders: Vec<ShareHolder>,
}

/// A share holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareHolder {
    /// The party.
    pub party: String,
    /// The index of its share, from 1.
    pub index: u8,
}

/// How many evaluations a share holder gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The party that counts.
    pub holder: String,
    /// The party that is counted.
    pub caller: String,
    /// What for.
    pub purpose: String,
    /// How many evaluations in the event's whole life.
    pub evaluations: u64,
}

/// Who receives audience keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Party and name, for example `gate/gate-1`.
    pub id: String,
    /// Whose records it may open.
    pub audiences: Vec<Audience>,
    /// What the audience keys are sealed to.
    pub key: HpkePublicKey,
}

impl Verifier {
    /// The party, the part before the slash.
    #[must_use]
    pub fn party(&self) -> &str {
        self.id.split_once('/').map_or("", |(party, _)| party)
    }
}

/// A gate service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Verifies its receipts.
    pub receipts: VerifyingKey,
    /// The ids of the access points that it serves.
    pub access_points: Vec<String>,
}

/// How screening answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screening {
    /// Verdicts are released this many seconds after they were asked for, so that time tells nothing.
    pub verdict_delay_seconds: u32,
    /// Of ten thousand admissions at a gate, how many are referred at random.
    pub secondary_check_per_10k: u16,
}

impl Manifest {
    /// The text to sign: header and pretty JSON, one final newline.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`] names the field that does not hold.
    pub fn to_text(&self) -> Result<String, ManifestError> {
        validate::validate(self)?;
        Ok(self.render())
    }

    fn render(&self) -> String {
        let json = serde_json::to_string_pretty(self)
            .expect("the manifest has no map with other keys than text, and no failing field");
        format!("{HEADER}{json}\n")
    }

    /// Parses and validates a text, of which nobody need have signed: for review before signing.
    ///
    /// # Errors
    /// [`ManifestError`] names the line and column, or the field.
    pub fn parse_text(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { length: text.len() });
        }
        let json = text.strip_prefix(HEADER).ok_or(ManifestError::Header)?;
        let manifest: Self = serde_json::from_str(json).map_err(|error| ManifestError::Json {
            // The header is the first line.
            line: error.line() + 1,
            column: error.column(),
            problem: error.to_string(),
        })?;
        validate::validate(&manifest)?;
        // One manifest has one text, so that nothing hides in a repeated key or in blanks.
        if manifest.render() == text { Ok(manifest) } else { Err(ManifestError::NotCanonical) }
    }

    /// The hash by which map heads and successors name a manifest's text: BLAKE3.
    #[must_use]
    pub fn hash_text(text: &str) -> Hash {
        blake3::hash(text.as_bytes()).into()
    }
}

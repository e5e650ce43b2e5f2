//! A complete manifest with all its keys, for tests.

use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::cosignature::WitnessKey;
use crate::hpke_box::HpkeSecretKey;
use crate::ids::{Authority, Epoch, Origin, Timestamp};
use crate::note::{KeyName, SigningKey};

/// A complete manifest, and the two keys that sign it.
pub(crate) struct Fixture {
    pub(crate) manifest: Manifest,
    pub(crate) committee: SigningKey,
    pub(crate) police: SigningKey,
    pub(crate) logs: [SigningKey; 2],
    pub(crate) witnesses: Vec<WitnessKey>,
}

pub(crate) fn fixture() -> Fixture {
    let mut rng = ChaCha20Rng::seed_from_u64(28);
    let name = |text: &str| KeyName::parse(text).unwrap();
    let mut key = |text: &str| SigningKey::generate(name(text), &mut rng);
    let event = EventId::parse("games-2028").unwrap();
    let logs = Authority::ALL.map(|authority| key(Origin::new(&event, authority).as_str()));
    let (committee, police) = (key("committee/manifest"), key("police/manifest"));
    let receipts = key("gate/gate-1/receipts");
    let public = |key: &SigningKey| key.verifying_key().clone();
    let parties = ["committee", "police", "sponsor", "trustee", "gate"];
    let witness_names = ["trustee", "committee", "police", "sponsor"];
    let witnesses: Vec<_> = witness_names
        .iter()
        .map(|party| WitnessKey::generate(name(&format!("witness/{party}")), &mut rng))
        .collect();
    let mut sealed_to = || HpkeSecretKey::generate(&mut rng).public_key();
    let verifier =
        |id: &str, audience, key| Verifier { id: id.into(), audiences: vec![audience], key };
    let manifest = Manifest {
        version: 1,
        previous: None,
        event,
        title: "Summer Games «2028»".into(),
        time_zone: EventTimeZone::parse("America/Los_Angeles").unwrap(),
        epochs: EpochPlan {
            first: Epoch::new(1),
            starts_at: Timestamp::from_seconds(1_847_000_000),
            length_minutes: 1_440,
            publish_lead_minutes: 120,
        },
        tick_millis: 2_000,
        skew_millis: 5_000,
        padding: Padding {
            reseals: [256, 4_096, 65_536],
            decoy_floor: 1_000,
            decoy_percent: 5,
            catch_up_percent: 1,
            sponsor_reseal_seconds: 3_600,
        },
        parties: parties
            .iter()
            .map(|party| Party {
                name: (*party).into(),
                certificate_authority_pem: format!(
                    "-----BEGIN CERTIFICATE-----\n{party}\n-----END CERTIFICATE-----\n"
                ),
            })
            .collect(),
        authorities: Authorities {
            committee: AuthorityKeys { log: public(&logs[0]), manifest: public(&committee) },
            police: AuthorityKeys { log: public(&logs[1]), manifest: public(&police) },
        },
        witnesses: std::iter::zip(witness_names, &witnesses)
            .map(|(name, key)| Witness { name: name.into(), key: key.verifying_key().clone() })
            .collect(),
        quorum: 2,
        venues: vec![Venue { code: "STA".into(), name: "Stadium".into() }],
        zones: vec![
            Zone { code: "BLUE".into(), name: "Field of play".into(), tier: "inner".into() },
            Zone { code: "WHITE".into(), name: "Circulation".into(), tier: "outer".into() },
        ],
        staleness_tiers: [
            ("inner".into(), StalenessTier { fresh_seconds: 10, limit_seconds: 60 }),
            ("outer".into(), StalenessTier { fresh_seconds: 60, limit_seconds: 3_600 }),
        ]
        .into(),
        categories: vec!["Athlete".into(), "Media".into()],
        access_points: vec![
            AccessPoint { id: "north-1".into(), venue: "STA".into(), zone: "BLUE".into() },
            AccessPoint { id: "north-2".into(), venue: "STA".into(), zone: "WHITE".into() },
        ],
        share_holders: ShareHolders {
            threshold: 2,
            holders: std::iter::zip(["committee", "police", "trustee"], 1..)
                .map(|(party, index)| ShareHolder { party: party.into(), index })
                .collect(),
        },
        quotas: vec![Quota {
            holder: "trustee".into(),
            caller: "police".into(),
            purpose: "watchlist".into(),
            evaluations: 100_000,
        }],
        verifiers: vec![
            verifier("gate/gate-1", Audience::Gate, sealed_to()),
            verifier("police/desk", Audience::Police, sealed_to()),
            verifier("sponsor/desk", Audience::Sponsor, sealed_to()),
        ],
        gates: vec![Gate {
            name: "gate-1".into(),
            receipts: public(&receipts),
            access_points: vec!["north-1".into(), "north-2".into()],
        }],
        audit_key: sealed_to(),
        screening: Screening { verdict_delay_seconds: 60, secondary_check_per_10k: 0 },
        replaced: Vec::new(),
        revoked_certificates: Vec::new(),
    };
    Fixture { manifest, committee, police, logs, witnesses }
}

impl Fixture {
    pub(crate) fn trust(&self) -> ManifestTrust {
        ManifestTrust {
            committee: self.committee.verifying_key().clone(),
            police: self.police.verifying_key().clone(),
        }
    }

    pub(crate) fn sign(&self, manifest: &Manifest) -> String {
        let text = manifest.to_text().unwrap();
        sign_manifest(&text, &[&self.committee, &self.police]).unwrap().to_string()
    }

    pub(crate) fn verified(&self) -> VerifiedManifest {
        verify_manifest(&self.sign(&self.manifest), &self.trust()).unwrap()
    }
}

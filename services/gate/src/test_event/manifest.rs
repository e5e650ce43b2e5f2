//! The manifest of the tests' event.

use lanyard_core::cosignature::WitnessKey;
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Audience, Timestamp};
use lanyard_core::manifest::{
    Authorities, AuthorityKeys, EpochPlan, Gate, Manifest, Padding, Party, Quota, Screening,
    ShareHolder, ShareHolders, Venue, Verifier, Witness, Zone,
};
use lanyard_core::note::SigningKey;
use lanyard_core::profile::EventTimeZone;

use super::{FRESH, LIMIT, ONE, START, event_id};

pub(super) fn manifest(
    per_10k: u16,
    logs: &[SigningKey; 2],
    keys: &[SigningKey; 2],
    witnesses: &[WitnessKey],
    gate: &HpkeSecretKey,
    audit: &HpkeSecretKey,
    receipts: &SigningKey,
) -> Manifest {
    let public = |key: &SigningKey| key.verifying_key().clone();
    let authority =
        |index: usize| AuthorityKeys { log: public(&logs[index]), manifest: public(&keys[index]) };
    let point = |id: &str, zone: &str| AccessPoint {
        id: id.into(),
        venue: "STA".into(),
        zone: zone.into(),
    };
    let pem = |party| format!("-----BEGIN CERTIFICATE-----\n{party}\n-----END CERTIFICATE-----\n");
    Manifest {
        version: 1,
        previous: None,
        event: event_id(),
        title: "Games".into(),
        time_zone: EventTimeZone::parse("Europe/Paris").unwrap(),
        epochs: EpochPlan {
            first: ONE,
            starts_at: Timestamp::from_seconds(START),
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
        parties: ["committee", "police", "sponsor", "trustee", "gate"]
            .map(|name| Party { name: name.into(), certificate_authority_pem: pem(name) })
            .into(),
        authorities: Authorities { committee: authority(0), police: authority(1) },
        witnesses: std::iter::zip(["trustee", "sponsor"], witnesses)
            .map(|(name, key)| Witness { name: name.into(), key: key.verifying_key().clone() })
            .collect(),
        quorum: 2,
        venues: vec![
            Venue { code: "STA".into(), name: "Stadium".into() },
            Venue { code: "ARENA".into(), name: "Arena".into() },
        ],
        zones: ["BLUE", "WHITE"]
            .map(|code| Zone { code: code.into(), name: code.into(), tier: "inner".into() })
            .into(),
        staleness_tiers: [(
            "inner".into(),
            StalenessTier { fresh_seconds: FRESH, limit_seconds: LIMIT },
        )]
        .into(),
        categories: vec!["Athlete".into()],
        access_points: vec![
            point("north-1", "BLUE"),
            point("north-2", "BLUE"),
            point("south-1", "BLUE"),
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
            evaluations: 1_000,
        }],
        verifiers: vec![Verifier {
            id: "gate/gate-1".into(),
            audiences: vec![Audience::Gate],
            key: gate.public_key(),
        }],
        gates: vec![Gate {
            name: "gate-1".into(),
            receipts: public(receipts),
            access_points: vec!["north-1".into(), "north-2".into()],
        }],
        audit_key: audit.public_key(),
        screening: Screening { verdict_delay_seconds: 60, secondary_check_per_10k: per_10k },
        replaced: Vec::new(),
        revoked_certificates: Vec::new(),
    }
}

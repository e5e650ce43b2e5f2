//! One event from fixed seeds: a manifest and its keys, one authority's published directory.

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{BadgeSecret, EpochKey};
use lanyard_core::binding::Binding;
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::head::{DirectoryHead, MapHead};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Hash, Origin, Timestamp};
use lanyard_core::log::{Log, leaf_hash};
use lanyard_core::manifest::{
    Authorities, AuthorityKeys, EpochPlan, Gate, Manifest, ManifestTrust, Padding, Party, Quota,
    Screening, ShareHolder, ShareHolders, Venue, VerifiedManifest, Verifier, Witness, Zone,
    sign_manifest, verify_manifest,
};
use lanyard_core::map::{Map, Row};
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_core::profile::EventTimeZone;
use lanyard_core::record::{Minutes, ProfileId, Record, SealedRecord, Status};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

pub(crate) const EVENT: &str = "games-2028";
pub(crate) const EPOCH: Epoch = Epoch::new(3);
/// Leaves of the published log.
pub(crate) const SIZE: u64 = 21;
/// The badge that has the profile 12.
pub(crate) const BADGE: u8 = 7;

pub(crate) fn event() -> EventId {
    EventId::parse(EVENT).unwrap()
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn key(name: &str, seed: u64) -> SigningKey {
    SigningKey::generate(KeyName::parse(name).unwrap(), &mut rng(seed))
}

pub(crate) fn witness_key(name: &str, seed: u64) -> WitnessKey {
    WitnessKey::generate(KeyName::parse(name).unwrap(), &mut rng(seed))
}

/// A manifest with all keys that vectors need.
pub(crate) struct World {
    pub(crate) manifest: Manifest,
    pub(crate) committee: SigningKey,
    pub(crate) police: SigningKey,
    /// Of the committee and the police.
    pub(crate) logs: [SigningKey; 2],
    /// Of trustee, committee, police, sponsor.
    pub(crate) witnesses: [WitnessKey; 4],
}

impl World {
    pub(crate) fn new() -> Self {
        let logs = Authority::ALL
            .map(|it| key(Origin::new(&event(), it).as_str(), 0x10 + u64::from(it.byte())));
        let (committee, police) = (key("committee/manifest", 0x21), key("police/manifest", 0x22));
        let names = ["trustee", "committee", "police", "sponsor"];
        let mut seeds = 0x30..;
        let witnesses =
            names.map(|name| witness_key(&format!("witness/{name}"), seeds.next().unwrap()));
        let manifest = manifest(&logs, [&committee, &police], &witnesses, &names);
        Self { manifest, committee, police, logs, witnesses }
    }

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

    pub(crate) fn checkpoint(&self, log: &Log, cosigned: &[(usize, u64)]) -> VerifiedCheckpoint {
        let origin = Origin::new(&event(), Authority::Committee);
        let checkpoint = Checkpoint::new(&origin, log.size(), log.root());
        let mut checkpoint = checkpoint.sign(&self.logs[0]).unwrap();
        for (witness, seconds) in cosigned {
            cosign(&mut checkpoint, &self.witnesses[*witness], *seconds);
        }
        checkpoint
    }
}

pub(crate) fn cosign(checkpoint: &mut VerifiedCheckpoint, witness: &WitnessKey, seconds: u64) {
    let cosignature = witness.cosign(checkpoint, Timestamp::from_seconds(seconds)).unwrap();
    checkpoint.attach(&cosignature).unwrap();
}

fn manifest(
    logs: &[SigningKey; 2],
    signers: [&SigningKey; 2],
    witnesses: &[WitnessKey; 4],
    witness_names: &[&str; 4],
) -> Manifest {
    let public = |key: &SigningKey| key.verifying_key().clone();
    let sealed_to = |seed| HpkeSecretKey::generate(&mut rng(seed)).public_key();
    let verifier = |id: &str, audience, seed| Verifier {
        id: id.to_owned(),
        audiences: vec![audience],
        key: sealed_to(seed),
    };
    let access_point = |id: &str, zone: &str| AccessPoint {
        id: id.to_owned(),
        venue: "STA".to_owned(),
        zone: zone.to_owned(),
    };
    Manifest {
        version: 1,
        previous: None,
        event: event(),
        title: "Summer Games 2028".to_owned(),
        time_zone: EventTimeZone::parse("Europe/Paris").unwrap(),
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
        parties: ["committee", "police", "sponsor", "trustee", "gate"]
            .map(|party| Party {
                name: party.to_owned(),
                certificate_authority_pem: format!(
                    "-----BEGIN CERTIFICATE-----\n{party}\n-----END CERTIFICATE-----\n"
                ),
            })
            .into(),
        authorities: Authorities {
            committee: AuthorityKeys { log: public(&logs[0]), manifest: public(signers[0]) },
            police: AuthorityKeys { log: public(&logs[1]), manifest: public(signers[1]) },
        },
        witnesses: std::iter::zip(witness_names, witnesses)
            .map(|(name, key)| Witness {
                name: (*name).to_owned(),
                key: key.verifying_key().clone(),
            })
            .collect(),
        quorum: 2,
        venues: vec![Venue { code: "STA".to_owned(), name: "Stadium".to_owned() }],
        zones: [("BLUE", "Field of play", "inner"), ("WHITE", "Circulation", "outer")]
            .map(|(code, name, tier)| Zone {
                code: code.to_owned(),
                name: name.to_owned(),
                tier: tier.to_owned(),
            })
            .into(),
        staleness_tiers: [
            ("inner".to_owned(), StalenessTier { fresh_seconds: 10, limit_seconds: 60 }),
            ("outer".to_owned(), StalenessTier { fresh_seconds: 60, limit_seconds: 3_600 }),
        ]
        .into(),
        categories: vec!["Athlete".to_owned(), "Media".to_owned()],
        access_points: vec![access_point("north-1", "BLUE"), access_point("north-2", "WHITE")],
        share_holders: ShareHolders {
            threshold: 2,
            holders: std::iter::zip(["trustee", "committee", "police"], 1..)
                .map(|(party, index)| ShareHolder { party: party.to_owned(), index })
                .collect(),
        },
        quotas: vec![Quota {
            holder: "trustee".to_owned(),
            caller: "police".to_owned(),
            purpose: "watchlist".to_owned(),
            evaluations: 100_000,
        }],
        verifiers: vec![
            verifier("gate/gate-1", Audience::Gate, 0x41),
            verifier("police/police", Audience::Police, 0x42),
        ],
        gates: vec![Gate {
            name: "gate-1".to_owned(),
            receipts: public(&key("lanyard/games-2028/gate/gate-1/receipts", 0x51)),
            access_points: vec!["north-1".to_owned(), "north-2".to_owned()],
        }],
        audit_key: sealed_to(0x43),
        screening: Screening { verdict_delay_seconds: 60, secondary_check_per_10k: 0 },
        replaced: Vec::new(),
        revoked_certificates: Vec::new(),
    }
}

/// The committee's published directory for gates: 40 badges, 20 earlier ticks, two cosignatures.
pub(crate) struct Published {
    pub(crate) world: World,
    pub(crate) manifest: VerifiedManifest,
    pub(crate) map: Map,
    pub(crate) log: Log,
    pub(crate) head: MapHead,
    pub(crate) checkpoint: VerifiedCheckpoint,
}

pub(crate) fn audience_key() -> AudienceKey {
    AudienceKey::from_bytes([0xa1; 32])
}

pub(crate) fn epoch_key(badge: u8) -> EpochKey {
    let secret = BadgeSecret::from_bytes([badge; 32]);
    secret.seed(Authority::Committee, Audience::Gate).epoch_key(&event(), EPOCH)
}

pub(crate) fn row(badge: u8) -> Row {
    let key = epoch_key(badge);
    let handle = key.handle();
    let origin = Origin::new(&event(), Authority::Committee);
    let record = Record {
        status: if badge % 2 == 1 { Status::Valid } else { Status::Suspended },
        profile: ProfileId::new(12),
        not_before: Minutes::MIN,
        not_after: Minutes::MAX,
        binding: Binding::new([badge; 20]),
    };
    let key = key.record_key(&audience_key());
    let version = u32::from(badge);
    let record = SealedRecord::seal(&key, &origin, EPOCH, &handle, version, &record).unwrap();
    Row { handle, record }
}

impl Published {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let manifest = world.verified();
        let map = Map::build(3, (1..=40).map(row)).unwrap();
        let head = MapHead {
            event: event(),
            authority: Authority::Committee,
            size: SIZE,
            time: Timestamp::from_seconds(2_000),
            manifest: manifest.hash(),
            live_epoch: EPOCH,
            directories: vec![DirectoryHead {
                epoch: EPOCH,
                audience: Audience::Gate,
                commitment: map.commitment(),
                audience_key: audience_key().commitment(),
                profiles: Hash::new([0; 32]),
            }],
        };
        let log = log_with(&head);
        let checkpoint = world.checkpoint(&log, &[(0, 2_001), (2, 2_003)]);
        Self { world, manifest, map, log, head, checkpoint }
    }
}

/// The log whose newest leaf is `head`.
pub(crate) fn log_with(head: &MapHead) -> Log {
    let earlier = (1..SIZE).map(|tick| leaf_hash(&tick.to_be_bytes()));
    earlier.chain([leaf_hash(&head.to_bytes().unwrap())]).collect()
}

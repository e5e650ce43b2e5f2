//! Both authorities' gate directories, published and cosigned, in mirrors that a gate can open.

use std::path::Path;
use std::sync::Arc;

use lanyard_core::audience_key::SealedAudienceKey;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Audience, Authority, Hash, Origin};
use lanyard_core::manifest::{
    Authorities, AuthorityKeys, EpochPlan, Gate, Manifest, ManifestTrust, Padding, Party,
    Screening, ShareHolder, ShareHolders, Venue, VerifiedManifest, Verifier, Witness, Zone,
    sign_manifest, verify_manifest,
};
use lanyard_core::note::{KeyName, NoteError, SigningKey};
use lanyard_core::profile::{EventTimeZone, Profile, ProfileTable, Session};
use lanyard_env::Env;
use lanyard_feed::{
    Content, DirectoryDraft, DirectoryKey, Draft, ManifestRefused, ManifestSource, Mirror,
    MirrorConfig, Recipient,
};

use super::Failure;
use crate::event::{EPOCH, PROFILE, Publisher, event};

/// The gate.
pub(crate) const GATE: &str = "gate-1";
/// Its door.
pub(crate) const ACCESS_POINT: &str = "north-1";

const VERIFIER: &str = "gate/gate-1";

/// Knowledge stays fresh for as long as the measurement takes: nobody ticks.
const TIER: StalenessTier = StalenessTier { fresh_seconds: 36_000, limit_seconds: 86_400 };

struct OneManifest(Arc<VerifiedManifest>);

impl ManifestSource for OneManifest {
    fn current(&self) -> Arc<VerifiedManifest> {
        Arc::clone(&self.0)
    }

    fn accept(&self, note: &str) -> Result<Arc<VerifiedManifest>, ManifestRefused> {
        self.0.accept_successor(note).map(Arc::new).map_err(ManifestRefused::new)
    }

    fn version_of(&self, hash: &Hash) -> Option<u32> {
        (self.0.hash() == *hash).then_some(self.0.version)
    }

    fn notes_after(&self, _: u32) -> Vec<String> {
        Vec::new()
    }
}

/// Everybody's keys.
struct Keys {
    logs: [SigningKey; 2],
    manifest: [SigningKey; 2],
    witnesses: [WitnessKey; 2],
    receipts: SigningKey,
    gate: Arc<HpkeSecretKey>,
    audit: HpkeSecretKey,
}

impl Keys {
    fn generate(env: &Env) -> Result<Self, NoteError> {
        let signing = |name: &str| -> Result<SigningKey, NoteError> {
            Ok(SigningKey::generate(KeyName::parse(name)?, &mut env.rng()))
        };
        let witness = |name: &str| -> Result<WitnessKey, NoteError> {
            Ok(WitnessKey::generate(KeyName::parse(name)?, &mut env.rng()))
        };
        let log = |authority| signing(Origin::new(&event(), authority).as_str());
        Ok(Self {
            logs: [log(Authority::Committee)?, log(Authority::Police)?],
            manifest: [signing("committee/manifest")?, signing("police/manifest")?],
            witnesses: [witness("witness/trustee")?, witness("witness/sponsor")?],
            receipts: signing(&format!("lanyard/{}/gate/{GATE}/receipts", event()))?,
            gate: Arc::new(HpkeSecretKey::generate(&mut env.rng())),
            audit: HpkeSecretKey::generate(&mut env.rng()),
        })
    }
}

/// What a gate's server is made of.
pub(crate) struct Published {
    pub(crate) manifest: Arc<VerifiedManifest>,
    pub(crate) receipts_key: SigningKey,
    /// The committee's and the police's.
    pub(crate) mirrors: [Arc<Mirror>; 2],
}

impl Published {
    /// Publishes badges 0 to `people` into mirrors under `dir`.
    pub(crate) fn create(env: &Env, dir: &Path, people: u32) -> Result<Self, Failure> {
        let keys = Keys::generate(env)?;
        let [committee, police] = &keys.manifest;
        let text = manifest(env, &keys)?.to_text()?;
        let note = sign_manifest(&text, &[committee, police])?;
        let trust = ManifestTrust {
            committee: committee.verifying_key().clone(),
            police: police.verifying_key().clone(),
        };
        let manifest = Arc::new(verify_manifest(&note.to_string(), &trust)?);
        let publish = |authority| publish(env, dir, &manifest, &keys, authority, people);
        let mirrors = [publish(Authority::Committee)?, publish(Authority::Police)?];
        Ok(Self { manifest, receipts_key: keys.receipts, mirrors })
    }
}

fn publish(
    env: &Env,
    dir: &Path,
    manifest: &Arc<VerifiedManifest>,
    keys: &Keys,
    authority: Authority,
    people: u32,
) -> Result<Arc<Mirror>, Failure> {
    let config = MirrorConfig {
        authority,
        audiences: vec![Audience::Gate],
        recipient: Some(Recipient { id: VERIFIER.to_owned(), key: Arc::clone(&keys.gate) }),
        publisher: true,
    };
    let manifests = Arc::new(OneManifest(Arc::clone(manifest)));
    let mirror = Mirror::open(env.clone(), &dir.join(authority.name()), config, manifests)?;
    let publisher = Publisher::new(authority);
    let directory = DirectoryDraft {
        key: DirectoryKey::new(EPOCH, Audience::Gate),
        content: Content::New {
            rows: publisher.rows(people),
            audience_key: publisher.key.commitment(),
        },
        profiles: Some(profiles()?.seal(&publisher.key, &publisher.origin, EPOCH)),
    };
    let draft = Draft {
        time: env.now(),
        manifest: manifest.hash(),
        live_epoch: EPOCH,
        directories: vec![directory],
    };
    let log_key = match authority {
        Authority::Committee => &keys.logs[0],
        Authority::Police => &keys.logs[1],
    };
    let mut checkpoint = mirror.prepare(draft)?.sign(log_key)?;
    mirror.publish(&checkpoint)?;
    let sealed = SealedAudienceKey::seal(
        &publisher.key,
        &publisher.event,
        authority,
        Audience::Gate,
        EPOCH,
        VERIFIER,
        &keys.gate.public_key(),
        &mut env.rng(),
    )?;
    mirror.publish_keys(vec![sealed])?;
    for witness in &keys.witnesses {
        let cosignature = witness.cosign(&checkpoint, env.now())?;
        checkpoint.attach(&cosignature)?;
    }
    mirror.cosigned(&checkpoint.note().to_string(), "witnesses")?;
    Ok(mirror)
}

fn profiles() -> Result<ProfileTable, Failure> {
    let profile = Profile {
        id: PROFILE,
        category: "Athlete".into(),
        venues: ["STA".to_owned()].into(),
        zones: ["BLUE".to_owned()].into(),
        sessions: vec![Session::parse("daily 00:00-00:00")?],
    };
    Ok(ProfileTable::new(vec![profile])?)
}

fn manifest(env: &Env, keys: &Keys) -> Result<Manifest, Failure> {
    let public = |key: &SigningKey| key.verifying_key().clone();
    let authority = |index: usize| AuthorityKeys {
        log: public(&keys.logs[index]),
        manifest: public(&keys.manifest[index]),
    };
    let pem = |party| format!("-----BEGIN CERTIFICATE-----\n{party}\n-----END CERTIFICATE-----\n");
    Ok(Manifest {
        version: 1,
        previous: None,
        event: event(),
        title: "Games".into(),
        time_zone: EventTimeZone::parse("Europe/Paris")?,
        epochs: EpochPlan {
            first: EPOCH,
            starts_at: env.now().minus_millis(3_600_000),
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
        witnesses: std::iter::zip(["trustee", "sponsor"], &keys.witnesses)
            .map(|(name, key)| Witness { name: name.into(), key: key.verifying_key().clone() })
            .collect(),
        quorum: 2,
        venues: vec![Venue { code: "STA".into(), name: "Stadium".into() }],
        zones: vec![Zone { code: "BLUE".into(), name: "Field".into(), tier: "inner".into() }],
        staleness_tiers: [("inner".into(), TIER)].into(),
        categories: vec!["Athlete".into()],
        access_points: vec![AccessPoint {
            id: ACCESS_POINT.into(),
            venue: "STA".into(),
            zone: "BLUE".into(),
        }],
        share_holders: ShareHolders {
            threshold: 2,
            holders: std::iter::zip(["committee", "police", "trustee"], 1..)
                .map(|(party, index)| ShareHolder { party: party.into(), index })
                .collect(),
        },
        quotas: vec![],
        verifiers: vec![Verifier {
            id: VERIFIER.into(),
            audiences: vec![Audience::Gate],
            key: keys.gate.public_key(),
        }],
        gates: vec![Gate {
            name: GATE.into(),
            receipts: public(&keys.receipts),
            access_points: vec![ACCESS_POINT.into()],
        }],
        audit_key: keys.audit.public_key(),
        screening: Screening { verdict_delay_seconds: 60, secondary_check_per_10k: 0 },
        replaced: Vec::new(),
        revoked_certificates: Vec::new(),
    })
}

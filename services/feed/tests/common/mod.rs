//! A tiny event: an authority made of core primitives, witnesses, mirrors and a way to tamper with what travels.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::disallowed_methods)]

mod lying;
pub mod net;
mod publisher;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Handle, Hash, Origin, Timestamp};
use lanyard_core::manifest::{
    Authorities, AuthorityKeys, EpochPlan, Gate, Manifest, ManifestTrust, Padding, Party, Quota,
    Screening, ShareHolder, ShareHolders, Venue, VerifiedManifest, Verifier, Witness, Zone,
    sign_manifest, verify_manifest,
};
use lanyard_core::map::{Delta, Row};
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_core::profile::{EventTimeZone, Profile, ProfileTable, SealedProfiles};
use lanyard_core::record::{ProfileId, SealedRecord};
use lanyard_env::{Clock, Env, Files, LossyDisk, ManualClock, SeededEntropy};
use lanyard_feed::{
    Applied, Content, DirectoryDraft, DirectoryKey, Draft, Evidence, FeedError, FeedServer,
    ManifestRefused, ManifestSource, Mirror, MirrorConfig, Recipient,
};
use lanyard_wire::feed::v1::FollowResponse;
use lanyard_wire::feed::v1::feed_service_server::FeedService as _;
use rand::Rng as _;
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Request;

pub use lying::*;
pub use publisher::Publisher;

pub const EPOCH: Epoch = Epoch::new(1);
pub const START: u64 = 1_847_000_000;
pub const TICK: u64 = 2_000;

/// Manifests in memory.
pub struct Manifests(Mutex<Vec<Arc<VerifiedManifest>>>);

impl ManifestSource for Manifests {
    fn current(&self) -> Arc<VerifiedManifest> {
        Arc::clone(self.0.lock().unwrap().last().unwrap())
    }

    fn accept(&self, note: &str) -> Result<Arc<VerifiedManifest>, ManifestRefused> {
        let current = self.current();
        let next = Arc::new(current.accept_successor(note).map_err(ManifestRefused::new)?);
        if next.version > current.version {
            self.0.lock().unwrap().push(Arc::clone(&next));
        }
        Ok(next)
    }

    fn version_of(&self, hash: &Hash) -> Option<u32> {
        let all = self.0.lock().unwrap();
        all.iter().find(|one| one.hash() == *hash).map(|one| one.version)
    }

    fn notes_after(&self, version: u32) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|one| one.version > version).map(|one| one.note().to_string()).collect()
    }
}

/// The world's clock, ahead.
struct Ahead {
    clock: ManualClock,
    millis: u64,
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.clock.now().plus_millis(self.millis)
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

/// Everything but the mirrors.
pub struct World {
    pub env: Env,
    pub clock: ManualClock,
    pub dir: TempDir,
    pub manifest: Manifest,
    pub manifest_keys: [SigningKey; 2],
    pub log_key: SigningKey,
    pub witnesses: Vec<WitnessKey>,
    pub gate: Arc<HpkeSecretKey>,
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

impl World {
    pub fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(START + 3_600));
        let mut env = Env::for_test(clock.clone());
        env.entropy = Arc::new(SeededEntropy::new([7; 32]));
        let mut rng = env.rng();
        let event = EventId::parse("games-2028").unwrap();
        let origins = Authority::ALL.map(|authority| Origin::new(&event, authority));
        let [log_key, police_log] =
            origins.map(|origin| SigningKey::generate(name(origin.as_str()), &mut rng));
        let manifest_keys = ["committee/manifest", "police/manifest"]
            .map(|text| SigningKey::generate(name(text), &mut rng));
        let names = ["trustee", "committee", "police", "sponsor"];
        let witnesses: Vec<_> = names
            .iter()
            .map(|party| WitnessKey::generate(name(&format!("witness/{party}")), &mut rng))
            .collect();
        let gate = Arc::new(HpkeSecretKey::generate(&mut rng));
        let receipts = SigningKey::generate(name("gate/gate-1/receipts"), &mut rng);
        let public = |key: &SigningKey| key.verifying_key().clone();
        let other = || HpkeSecretKey::generate(&mut env.rng()).public_key();
        let verifier =
            |id: &str, audience, key| Verifier { id: id.into(), audiences: vec![audience], key };
        let manifest = Manifest {
            version: 1,
            previous: None,
            event,
            title: "Games".into(),
            time_zone: EventTimeZone::parse("Europe/Paris").unwrap(),
            epochs: EpochPlan {
                first: EPOCH,
                starts_at: Timestamp::from_seconds(START),
                length_minutes: 1_440,
                publish_lead_minutes: 120,
            },
            tick_millis: u32::try_from(TICK).unwrap(),
            skew_millis: 5_000,
            padding: Padding {
                reseals: [256, 4_096, 65_536],
                decoy_floor: 1_000,
                decoy_percent: 5,
                catch_up_percent: 1,
                sponsor_reseal_seconds: 3_600,
            },
            parties: ["committee", "police", "sponsor", "trustee", "gate"]
                .iter()
                .map(|party| Party {
                    name: (*party).into(),
                    certificate_authority_pem: format!(
                        "-----BEGIN CERTIFICATE-----\n{party}\n-----END CERTIFICATE-----\n"
                    ),
                })
                .collect(),
            authorities: Authorities {
                committee: AuthorityKeys {
                    log: public(&log_key),
                    manifest: public(&manifest_keys[0]),
                },
                police: AuthorityKeys {
                    log: public(&police_log),
                    manifest: public(&manifest_keys[1]),
                },
            },
            witnesses: std::iter::zip(names, &witnesses)
                .map(|(name, key)| Witness { name: name.into(), key: key.verifying_key().clone() })
                .collect(),
            quorum: 2,
            venues: vec![Venue { code: "STA".into(), name: "Stadium".into() }],
            zones: vec![Zone { code: "BLUE".into(), name: "Field".into(), tier: "inner".into() }],
            staleness_tiers: [(
                "inner".into(),
                StalenessTier { fresh_seconds: 10, limit_seconds: 60 },
            )]
            .into(),
            categories: vec!["Athlete".into()],
            access_points: vec![AccessPoint {
                id: "north-1".into(),
                venue: "STA".into(),
                zone: "BLUE".into(),
            }],
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
            verifiers: vec![
                verifier("gate/gate-1", Audience::Gate, gate.public_key()),
                verifier("police/desk", Audience::Police, other()),
                verifier("sponsor/desk", Audience::Sponsor, other()),
            ],
            gates: vec![Gate {
                name: "gate-1".into(),
                receipts: public(&receipts),
                access_points: vec!["north-1".into()],
            }],
            audit_key: other(),
            screening: Screening { verdict_delay_seconds: 60, secondary_check_per_10k: 0 },
            replaced: Vec::new(),
            revoked_certificates: Vec::new(),
        };
        let dir = TempDir::new().unwrap();
        Self { env, clock, dir, manifest, manifest_keys, log_key, witnesses, gate }
    }

    pub fn manifests(&self) -> Arc<Manifests> {
        let keys = [&self.manifest_keys[0], &self.manifest_keys[1]];
        let note = sign_manifest(&self.manifest.to_text().unwrap(), &keys).unwrap();
        let trust = ManifestTrust {
            committee: keys[0].verifying_key().clone(),
            police: keys[1].verifying_key().clone(),
        };
        let manifest = verify_manifest(&note.to_string(), &trust).unwrap();
        Arc::new(Manifests(Mutex::new(vec![Arc::new(manifest)])))
    }

    /// A second version, signed.
    pub fn next_manifest(&self) -> String {
        let mut next = self.manifest.clone();
        next.version = 2;
        next.previous = Some(self.manifests().current().hash());
        next.title = "Games, second version".into();
        let keys = [&self.manifest_keys[0], &self.manifest_keys[1]];
        sign_manifest(&next.to_text().unwrap(), &keys).unwrap().to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self, audiences: &[Audience]) -> MirrorConfig {
        MirrorConfig {
            authority: Authority::Committee,
            audiences: audiences.to_vec(),
            recipient: None,
            publisher: false,
        }
    }

    pub fn open(&self, name: &str, config: MirrorConfig) -> Result<Arc<Mirror>, FeedError> {
        Mirror::open(self.env.clone(), &self.path(name), config, self.manifests())
    }

    /// A mirror of all audiences that opens nothing.
    pub fn mirror(&self, name: &str) -> Arc<Mirror> {
        self.open(name, self.config(&Audience::ALL)).unwrap()
    }

    /// A gate's mirror.
    pub fn gate(&self, name: &str) -> Arc<Mirror> {
        self.open(name, self.gate_config()).unwrap()
    }

    /// A gate's mirror on a machine whose clock is ahead by so many milliseconds.
    pub fn gate_ahead(&self, name: &str, millis: u64) -> Arc<Mirror> {
        let clock = Arc::new(Ahead { clock: self.clock.clone(), millis });
        let env = Env { clock, ..self.env.clone() };
        Mirror::open(env, &self.path(name), self.gate_config(), self.manifests()).unwrap()
    }

    pub fn gate_config(&self) -> MirrorConfig {
        let recipient = Recipient { id: "gate/gate-1".into(), key: Arc::clone(&self.gate) };
        MirrorConfig { recipient: Some(recipient), ..self.config(&[Audience::Gate]) }
    }

    pub fn publisher(&self, name: &str) -> Publisher<'_> {
        let mirror = Mirror::open(
            self.env.clone(),
            &self.path(name),
            MirrorConfig { publisher: true, ..self.config(&Audience::ALL) },
            self.manifests(),
        );
        Publisher::new(self, mirror.unwrap())
    }
}

pub fn key(epoch: u32, audience: Audience) -> DirectoryKey {
    DirectoryKey::new(Epoch::new(epoch), audience)
}

pub fn gate_key() -> DirectoryKey {
    key(1, Audience::Gate)
}

/// Handles that look uniform and are known.
pub fn handle(number: u32) -> Handle {
    let hash = lanyard_core::log::leaf_hash(&number.to_be_bytes());
    Handle::new(hash.as_bytes()[..16].try_into().unwrap())
}

pub fn row(number: u32, version: u32) -> Row {
    Row { handle: handle(number), record: SealedRecord::new(version, [version as u8; 48]).unwrap() }
}

pub fn rows(count: u32) -> Vec<Row> {
    (0..count).map(|number| row(number, 1)).collect()
}

pub fn put(numbers: &[u32], version: u32) -> Content {
    let rows = numbers.iter().map(|number| row(*number, version)).collect();
    Content::Delta(Delta::new(vec![], rows).unwrap())
}

pub fn table(category: &str) -> ProfileTable {
    let profile = Profile {
        id: ProfileId::new(1),
        category: category.into(),
        venues: Default::default(),
        zones: Default::default(),
        sessions: vec![],
    };
    ProfileTable::new(vec![profile]).unwrap()
}

pub fn server(mirror: &Arc<Mirror>) -> FeedServer {
    FeedServer::new([Arc::clone(mirror)], CancellationToken::new())
}

/// All that a server sends a mirror now.
pub async fn sent(from: &Arc<Mirror>, to: &Arc<Mirror>) -> Vec<FollowResponse> {
    let response = server(from).follow(Request::new(to.follow_request())).await.unwrap();
    let mut stream = response.into_inner();
    let mut sent = Vec::new();
    let idle = Duration::from_millis(150);
    while let Ok(Some(Ok(response))) = tokio::time::timeout(idle, stream.next()).await {
        sent.push(response);
    }
    sent
}

/// Applies all of it, until something is refused.
pub fn apply(to: &Arc<Mirror>, sent: Vec<FollowResponse>) -> Result<Vec<Applied>, FeedError> {
    let mut intake = to.intake("upstream");
    sent.into_iter().map(|response| intake.apply(response)).collect()
}

/// Brings `to` up to date.
pub async fn pull(from: &Arc<Mirror>, to: &Arc<Mirror>) {
    let applied = apply(to, sent(from, to).await);
    applied.unwrap();
    assert_eq!(to.read().size(), from.read().size());
}

/// The folder of a mirror on a machine of its own.
pub const FOLDER: &str = "/data/feed";

pub fn open_on(
    world: &World,
    disk: &LossyDisk,
    config: MirrorConfig,
) -> Result<Arc<Mirror>, FeedError> {
    let env = Env { files: disk.files(), ..world.env.clone() };
    Mirror::open(env, Path::new(FOLDER), config, world.manifests())
}

/// How long the log is: signed, and with a quorum.
pub fn sizes(mirror: &Mirror) -> (u64, u64) {
    let view = mirror.read();
    (view.size(), view.quorum().map_or(0, |quorum| quorum.size()))
}

/// Takes what `from` sends until nothing is missing.
pub async fn catch_up(from: &Arc<Mirror>, to: &Arc<Mirror>) {
    let response = server(from).follow(Request::new(to.follow_request())).await.unwrap();
    let (mut stream, mut intake) = (response.into_inner(), to.intake("upstream"));
    while sizes(to) != sizes(from) || to.is_incomplete() {
        intake.apply(stream.next().await.unwrap().unwrap()).unwrap();
    }
}

/// What a gate's mirror says of a handle: version under the signed and under the cosigned head.
pub fn versions(mirror: &Mirror, number: u32) -> (Option<u32>, Option<u32>) {
    let view = mirror.read();
    let directory = view.directory(EPOCH, Audience::Gate).expect("the directory is there");
    let version = |found| match found {
        lanyard_feed::Lookup::Found(record) => Some(SealedRecord::version(&record)),
        lanyard_feed::Lookup::Absent | lanyard_feed::Lookup::Missing => None,
    };
    let handle = handle(number);
    (version(directory.lookup_signed(&handle)), version(directory.lookup_quorum(&handle)))
}

pub fn evidence(dir: &Path, files: &dyn Files) -> Vec<Evidence> {
    let dir = dir.join("evidence");
    let names = files.list(&dir).unwrap();
    let read = |name: &String| files.read(&dir.join(name)).unwrap();
    names.iter().map(|name| serde_json::from_slice(&read(name)).unwrap()).collect()
}

/// Copies a folder, as a backup does.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

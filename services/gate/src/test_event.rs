//! A tiny event for tests: two authorities that publish to mirrors which a gate can open, witnesses, badges.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::badge::{BadgeSecret, BadgeText, CodeEpochs, ScopedCode};
use lanyard_core::binding::Binding;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{Audience, Authority, Epoch, EventId, Hash, Origin, Timestamp};
use lanyard_core::manifest::{ManifestTrust, VerifiedManifest, sign_manifest, verify_manifest};
use lanyard_core::map::{Delta, Row};
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_core::profile::{Profile, ProfileTable, Session};
use lanyard_core::receipt::ReceiptOrigin;
use lanyard_core::record::{Minutes, ProfileId, Record, SealedRecord, Status};
use lanyard_env::{Env, ManualClock, SeededEntropy};
use lanyard_feed::{
    Content, DirectoryDraft, DirectoryKey, Draft, ManifestRefused, ManifestSource, Mirror,
    MirrorConfig, Recipient,
};
use tempfile::TempDir;

use crate::check::{Checked, Checker};
use crate::receipts::ReceiptSetup;
use crate::rules::{Rules, SharedRules};

mod manifest;

use manifest::manifest;

pub(crate) const ONE: Epoch = Epoch::new(1);
pub(crate) const TWO: Epoch = Epoch::new(2);
/// When epoch 1 begins.
const START: u64 = 1_847_000_000;
const DAY: u64 = 86_400;
/// Limits of zone BLUE in seconds.
pub(crate) const FRESH: u32 = 10;
pub(crate) const LIMIT: u32 = 60;

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

/// An authority, as simple as it can be.
pub(crate) struct Publisher {
    authority: Authority,
    log_key: SigningKey,
    pub(crate) mirror: Arc<Mirror>,
    state: Mutex<Published>,
}

#[derive(Default)]
struct Published {
    live: u32,
    /// The rows' versions; a directory that is not published yet has staged rows only.
    versions: BTreeMap<Epoch, BTreeMap<u8, u32>>,
    staged: BTreeMap<Epoch, Vec<Row>>,
    new: Vec<Epoch>,
    signed: Option<VerifiedCheckpoint>,
}

pub(crate) struct TestEvent {
    pub(crate) clock: ManualClock,
    pub(crate) env: Env,
    pub(crate) dir: TempDir,
    pub(crate) manifest: Arc<VerifiedManifest>,
    pub(crate) committee: Publisher,
    pub(crate) police: Publisher,
    pub(crate) checker: Checker,
    pub(crate) rules: SharedRules,
    pub(crate) audit: HpkeSecretKey,
    receipts_key: String,
    /// By how many milliseconds the gate's clock is ahead of everybody else's.
    wrong_by: AtomicI64,
    witnesses: Vec<WitnessKey>,
    gate: Arc<HpkeSecretKey>,
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn event_id() -> EventId {
    EventId::parse("games-2028").unwrap()
}

pub(crate) fn secret(badge: u8) -> BadgeSecret {
    BadgeSecret::from_bytes([badge; 32])
}

pub(crate) fn badge_text(badge: u8) -> String {
    BadgeText::new(&secret(badge), &event_id()).expose_str().to_owned()
}

pub(crate) fn code(badge: u8, audience: Audience, epochs: impl Into<CodeEpochs>) -> String {
    ScopedCode::derive(&secret(badge), &event_id(), audience, epochs)
        .to_text(&event_id())
        .to_string()
}

/// A record of profile 1 that is good for the whole event.
pub(crate) fn good() -> Record {
    Record {
        status: Status::Valid,
        profile: ProfileId::new(1),
        not_before: Minutes::MIN,
        not_after: Minutes::MAX,
        binding: Binding::new([3; 20]),
    }
}

/// What the police say of a cleared person.
pub(crate) fn cleared() -> Record {
    Record { profile: ProfileId::UNRESTRICTED, ..good() }
}

pub(crate) fn with(status: Status, record: Record) -> Record {
    Record { status, ..record }
}

fn profiles() -> ProfileTable {
    let profile = |id, venues: &[&str], zones: &[&str], sessions: &[&str]| Profile {
        id: ProfileId::new(id),
        category: "Athlete".into(),
        venues: venues.iter().map(|&code| code.to_owned()).collect(),
        zones: zones.iter().map(|&code| code.to_owned()).collect(),
        sessions: sessions.iter().map(|text| Session::parse(text).unwrap()).collect(),
    };
    // Epoch 1 begins on 2028-07-12, a Wednesday.
    ProfileTable::new(vec![
        profile(1, &[], &[], &[]),
        profile(2, &["ARENA"], &[], &[]),
        profile(3, &[], &["WHITE"], &[]),
        profile(4, &[], &[], &["2028-01-01 10:00-11:00"]),
    ])
    .unwrap()
}

impl TestEvent {
    /// Epoch 1 with badge 1 good in both directories and a quorum behind it.
    pub(crate) fn new() -> Self {
        Self::with_secondary_checks(0)
    }

    pub(crate) fn with_secondary_checks(per_10k: u16) -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(START + 3_600));
        let mut env = Env::for_test(clock.clone());
        env.entropy = Arc::new(SeededEntropy::new([7; 32]));
        let mut rng = env.rng();
        let origins = Authority::ALL.map(|authority| Origin::new(&event_id(), authority));
        let logs = origins.map(|origin| SigningKey::generate(name(origin.as_str()), &mut rng));
        let keys = ["committee/manifest", "police/manifest"]
            .map(|text| SigningKey::generate(name(text), &mut rng));
        let witnesses: Vec<_> = ["trustee", "sponsor"]
            .iter()
            .map(|party| WitnessKey::generate(name(&format!("witness/{party}")), &mut rng))
            .collect();
        let gate = Arc::new(HpkeSecretKey::generate(&mut rng));
        let audit = HpkeSecretKey::generate(&mut rng);
        let receipts =
            SigningKey::generate(name("lanyard/games-2028/gate/gate-1/receipts"), &mut rng);
        let manifest = manifest(per_10k, &logs, &keys, &witnesses, &gate, &audit, &receipts);
        let note = sign_manifest(&manifest.to_text().unwrap(), &[&keys[0], &keys[1]]).unwrap();
        let trust = ManifestTrust {
            committee: keys[0].verifying_key().clone(),
            police: keys[1].verifying_key().clone(),
        };
        let manifest = Arc::new(verify_manifest(&note.to_string(), &trust).unwrap());
        let dir = TempDir::new().unwrap();
        let publisher = |authority: Authority, log_key| {
            let recipient = Recipient { id: "gate/gate-1".to_owned(), key: Arc::clone(&gate) };
            let config = MirrorConfig {
                authority,
                audiences: vec![Audience::Gate],
                recipient: Some(recipient),
                publisher: true,
            };
            let manifests = Arc::new(OneManifest(Arc::clone(&manifest)));
            let path = dir.path().join(authority.name());
            let mirror = Mirror::open(env.clone(), &path, config, manifests).unwrap();
            Publisher { authority, log_key, mirror, state: Mutex::default() }
        };
        let [committee_log, police_log] = logs;
        let committee = publisher(Authority::Committee, committee_log);
        let police = publisher(Authority::Police, police_log);
        let mirrors = (Arc::clone(&committee.mirror), Arc::clone(&police.mirror));
        let checker = Checker::new(env.clone(), mirrors.0, mirrors.1);
        let rules = Rules::new(Arc::clone(&manifest), "gate-1", &[]);
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let receipts_key = receipts.format().to_string();
        let event = Self {
            clock,
            env,
            dir,
            manifest,
            committee,
            police,
            checker,
            rules,
            audit,
            receipts_key,
            wrong_by: AtomicI64::new(0),
            witnesses,
            gate,
        };
        event.put(1, good(), cleared());
        event
    }

    /// Publishes both records of a badge in epoch 1, with a quorum.
    pub(crate) fn put(&self, badge: u8, committee: Record, police: Record) {
        self.stage(&self.committee, ONE, badge, committee);
        self.stage(&self.police, ONE, badge, police);
        self.settle();
    }

    /// A tick of both, with a quorum.
    pub(crate) fn settle(&self) {
        for publisher in [&self.committee, &self.police] {
            self.tick(publisher);
            self.cosign(publisher);
        }
    }

    pub(crate) fn stage(&self, publisher: &Publisher, epoch: Epoch, badge: u8, record: Record) {
        let mut state = publisher.state.lock().unwrap();
        if !state.versions.contains_key(&epoch) {
            state.new.push(epoch);
        }
        let version = state.versions.entry(epoch).or_default().entry(badge).or_default();
        *version += 1;
        let key =
            secret(badge).seed(publisher.authority, Audience::Gate).epoch_key(&event_id(), epoch);
        let (origin, handle) = (publisher.mirror.origin(), key.handle());
        let record_key = key.record_key(&publisher.audience_key(epoch));
        let record = SealedRecord::seal(&record_key, origin, epoch, &handle, *version, &record);
        let row = Row { handle, record: record.unwrap() };
        let staged = state.staged.entry(epoch).or_default();
        staged.retain(|other| other.handle != handle);
        staged.push(row);
    }

    /// Begins an epoch with the publisher's next tick; earlier directories end.
    pub(crate) fn begin(&self, publisher: &Publisher, epoch: Epoch) {
        let mut state = publisher.state.lock().unwrap();
        state.live = epoch.get();
        state.versions.retain(|of, _| *of >= epoch);
    }

    /// Signs what is staged.
    pub(crate) fn tick(&self, publisher: &Publisher) {
        let mut state = publisher.state.lock().unwrap();
        state.live = state.live.max(1);
        let new = std::mem::take(&mut state.new);
        let mut staged = std::mem::take(&mut state.staged);
        let directories = state.versions.keys().map(|epoch| {
            let key = DirectoryKey::new(*epoch, Audience::Gate);
            let rows = staged.remove(epoch).unwrap_or_default();
            let audience_key = publisher.audience_key(*epoch);
            if new.contains(epoch) {
                let profiles = profiles().seal(&audience_key, publisher.mirror.origin(), *epoch);
                let audience_key = audience_key.commitment();
                let content = Content::New { rows, audience_key };
                return DirectoryDraft { key, content, profiles: Some(profiles) };
            }
            let content = match rows.is_empty() {
                true => Content::Unchanged,
                false => Content::Delta(Delta::new(vec![], rows).unwrap()),
            };
            DirectoryDraft { key, content, profiles: None }
        });
        let draft = Draft {
            time: self.time_elsewhere(),
            manifest: self.manifest.hash(),
            live_epoch: Epoch::new(state.live),
            directories: directories.collect(),
        };
        let checkpoint = publisher.mirror.prepare(draft).unwrap();
        let signed = checkpoint.sign(&publisher.log_key).unwrap();
        publisher.mirror.publish(&signed).unwrap();
        state.signed = Some(signed);
        drop(state);
        new.into_iter().for_each(|epoch| self.deliver_key(publisher, epoch));
    }

    fn deliver_key(&self, publisher: &Publisher, epoch: Epoch) {
        let sealed = SealedAudienceKey::seal(
            &publisher.audience_key(epoch),
            &event_id(),
            publisher.authority,
            Audience::Gate,
            epoch,
            "gate/gate-1",
            &self.gate.public_key(),
            &mut self.env.rng(),
        );
        publisher.mirror.publish_keys(vec![sealed.unwrap()]).unwrap();
    }

    /// Has the witnesses cosign the newest head.
    pub(crate) fn cosign(&self, publisher: &Publisher) {
        let mut checkpoint = publisher.state.lock().unwrap().signed.clone().unwrap();
        for witness in &self.witnesses {
            let cosignature = witness.cosign(&checkpoint, self.time_elsewhere()).unwrap();
            checkpoint.attach(&cosignature).unwrap();
        }
        let note = checkpoint.note().to_string();
        publisher.mirror.cosigned(&note, "witnesses").unwrap();
    }

    /// The time by everybody's clocks but the gate's.
    pub(crate) fn time_elsewhere(&self) -> Timestamp {
        let wrong_by = self.wrong_by.load(Ordering::SeqCst);
        Timestamp::from_millis(self.env.now().millis().saturating_add_signed(-wrong_by))
    }

    /// Sets the gate's clock wrong by so many seconds, ahead or behind.
    pub(crate) fn set_wrong_by(&self, seconds: i64) {
        let millis = self.time_elsewhere().millis().saturating_add_signed(seconds * 1_000);
        self.clock.set(Timestamp::from_millis(millis));
        self.wrong_by.store(seconds * 1_000, Ordering::SeqCst);
    }

    /// Lets time pass, with a tick each two seconds.
    pub(crate) fn live_through(&self, seconds: u64) {
        for _ in 0..seconds / 2 {
            self.clock.advance_millis(2_000);
            self.settle();
        }
    }

    /// Moves the clock to `seconds` after the beginning of an epoch.
    pub(crate) fn set_clock(&self, epoch: Epoch, seconds: u64) {
        let days = u64::from(epoch.get()) - 1;
        self.clock.set(Timestamp::from_seconds(START + days * DAY + seconds));
    }

    pub(crate) fn check(&self, credential: &str) -> Checked {
        self.check_at("north-1", credential)
    }

    pub(crate) fn check_at(&self, access_point: &str, credential: &str) -> Checked {
        let rules = self.rules.load();
        self.checker.check(&rules, rules.door(access_point).unwrap(), credential)
    }

    /// What the gate shows.
    pub(crate) fn shown(&self, credential: &str) -> String {
        self.check(credential).decision.shown().to_string()
    }

    pub(crate) fn receipts_dir(&self) -> PathBuf {
        self.dir.path().join("receipts")
    }

    pub(crate) fn receipt_origin(&self) -> ReceiptOrigin {
        ReceiptOrigin::new(&event_id(), "gate-1").unwrap()
    }

    pub(crate) fn receipt_setup(&self) -> ReceiptSetup {
        ReceiptSetup {
            env: self.env.clone(),
            dir: self.receipts_dir(),
            origin: self.receipt_origin(),
            key: SigningKey::parse(&self.receipts_key).unwrap(),
            keep_bodies_days: 30,
            rules: Arc::clone(&self.rules),
        }
    }
}

impl Publisher {
    fn audience_key(&self, epoch: Epoch) -> AudienceKey {
        let mut bytes = [self.authority.byte(); 32];
        bytes[0] = epoch.get() as u8;
        AudienceKey::from_bytes(bytes)
    }
}

use std::sync::Mutex;

use lanyard_core::audience_key::{AudienceKey, SealedAudienceKey};
use lanyard_core::badge::{BadgeSecret, BadgeText, CodeEpochs};
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::WitnessKey;
use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::hpke_box::HpkeSecretKey;
use lanyard_core::ids::{EventId, Hash, Origin, Timestamp};
use lanyard_core::manifest::{
    Authorities, AuthorityKeys, EpochPlan, Gate, Manifest, ManifestTrust, Padding, Party, Quota,
    Screening, ShareHolder, ShareHolders, Venue, VerifiedManifest, Verifier, Witness, Zone,
    sign_manifest, verify_manifest,
};
use lanyard_core::map::{Delta, Row};
use lanyard_core::note::{KeyName, SigningKey};
use lanyard_core::profile::{EventTimeZone, ProfileTable};
use lanyard_core::record::{Record, SealedRecord};
use lanyard_env::{Env, ManualClock};
use lanyard_feed::{
    Content, DirectoryDraft, DirectoryKey, Draft, ManifestRefused, MirrorConfig, Recipient,
};
use lanyard_transport::PeerId;
use tempfile::TempDir;

use super::*;

const START: u64 = 1_847_000_000;
const ONE: Epoch = Epoch::new(1);
const TWO: Epoch = Epoch::new(2);
const LIMIT: u64 = 60;

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

/// The committee's directory for the sponsor, with badge 1 valid, and a desk on it.
struct Event {
    clock: ManualClock,
    env: Env,
    log_key: SigningKey,
    witnesses: Vec<WitnessKey>,
    manifest: Arc<VerifiedManifest>,
    mirror: Arc<Mirror>,
    desk: Desk,
    signed: Mutex<Option<VerifiedCheckpoint>>,
    _dir: TempDir,
}

fn event_id() -> EventId {
    EventId::parse("games-2028").unwrap()
}

fn code(badge: u8, audience: Audience, epochs: impl Into<CodeEpochs>) -> String {
    let secret = BadgeSecret::from_bytes([badge; 32]);
    ScopedCode::derive(&secret, &event_id(), audience, epochs).to_text(&event_id()).to_string()
}

fn audience_key(epoch: Epoch) -> AudienceKey {
    AudienceKey::from_bytes([epoch.get() as u8; 32])
}

impl Event {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(START + 3_600));
        let env = Env::for_test(clock.clone());
        let mut rng = env.rng();
        let name = |text: &str| KeyName::parse(text).unwrap();
        let mut key = |text: &str| SigningKey::generate(name(text), &mut rng);
        let logs = lanyard_core::ids::Authority::ALL
            .map(|authority| key(Origin::new(&event_id(), authority).as_str()));
        let keys = [key("committee/manifest"), key("police/manifest")];
        let receipts = key("gate/gate-1/receipts");
        let witnesses: Vec<_> = ["witness/trustee", "witness/police"]
            .map(|text| WitnessKey::generate(name(text), &mut rng))
            .into();
        let sponsor = Arc::new(HpkeSecretKey::generate(&mut rng));
        let audit = HpkeSecretKey::generate(&mut rng);
        let manifest = manifest(&logs, &keys, &receipts, &witnesses, [&sponsor, &audit]);
        let note = sign_manifest(&manifest.to_text().unwrap(), &[&keys[0], &keys[1]]).unwrap();
        let trust = ManifestTrust {
            committee: keys[0].verifying_key().clone(),
            police: keys[1].verifying_key().clone(),
        };
        let manifest = Arc::new(verify_manifest(&note.to_string(), &trust).unwrap());
        let manifests = Arc::new(OneManifest(Arc::clone(&manifest)));
        let dir = TempDir::new().unwrap();
        let recipient = Recipient { id: "sponsor/sponsor".to_owned(), key: sponsor };
        let config = MirrorConfig {
            authority: Authority::Committee,
            audiences: vec![Audience::Sponsor],
            recipient: Some(recipient),
            publisher: true,
        };
        let mirror =
            Mirror::open(env.clone(), dir.path(), config, Arc::clone(&manifests) as _).unwrap();
        let desk = Desk::new(Arc::clone(&mirror), manifests);
        let [log_key, _] = logs;
        let signed = Mutex::default();
        let event =
            Self { clock, env, log_key, witnesses, manifest, mirror, desk, signed, _dir: dir };
        let content = event.new_directory(ONE);
        event.tick(ONE, vec![content]);
        event.cosign();
        event
    }

    fn row(&self, epoch: Epoch, badge: u8, version: u32, status: RecordStatus) -> Row {
        let key = BadgeSecret::from_bytes([badge; 32])
            .seed(Authority::Committee, Audience::Sponsor)
            .epoch_key(&event_id(), epoch);
        let (handle, origin) = (key.handle(), self.mirror.origin());
        let record_key = key.record_key(&audience_key(epoch));
        let record = Record::bare(status);
        let record = SealedRecord::seal(&record_key, origin, epoch, &handle, version, &record);
        Row { handle, record: record.unwrap() }
    }

    fn new_directory(&self, epoch: Epoch) -> DirectoryDraft {
        let key = DirectoryKey::new(epoch, Audience::Sponsor);
        let audience_key = audience_key(epoch);
        let profiles = ProfileTable::default().seal(&audience_key, self.mirror.origin(), epoch);
        let rows = vec![
            self.row(epoch, 1, 1, RecordStatus::Valid),
            self.row(epoch, 2, 1, RecordStatus::Invalid),
        ];
        let audience_key = audience_key.commitment();
        DirectoryDraft {
            key,
            content: Content::New { rows, audience_key },
            profiles: Some(profiles),
        }
    }

    fn change(&self, version: u32, status: RecordStatus) -> DirectoryDraft {
        let delta = Delta::new(vec![], vec![self.row(ONE, 1, version, status)]).unwrap();
        let key = DirectoryKey::new(ONE, Audience::Sponsor);
        DirectoryDraft { key, content: Content::Delta(delta), profiles: None }
    }

    fn unchanged(&self, epoch: Epoch) -> DirectoryDraft {
        let key = DirectoryKey::new(epoch, Audience::Sponsor);
        DirectoryDraft { key, content: Content::Unchanged, profiles: None }
    }

    fn tick(&self, live_epoch: Epoch, directories: Vec<DirectoryDraft>) {
        let epochs: Vec<_> = directories.iter().map(|one| one.key.epoch).collect();
        let manifest = self.manifest.hash();
        let draft = Draft { time: self.env.now(), manifest, live_epoch, directories };
        let checkpoint = self.mirror.prepare(draft).unwrap();
        let signed = checkpoint.sign(&self.log_key).unwrap();
        self.mirror.publish(&signed).unwrap();
        *self.signed.lock().unwrap() = Some(signed);
        let verifier = self.manifest.verifier("sponsor/sponsor").unwrap();
        for epoch in epochs {
            let sealed = SealedAudienceKey::seal(
                &audience_key(epoch),
                &event_id(),
                Authority::Committee,
                Audience::Sponsor,
                epoch,
                &verifier.id,
                &verifier.key,
                &mut self.env.rng(),
            );
            self.mirror.publish_keys(vec![sealed.unwrap()]).unwrap();
        }
    }

    fn cosign(&self) {
        let mut checkpoint = self.signed.lock().unwrap().clone().unwrap();
        for witness in &self.witnesses {
            let cosignature = witness.cosign(&checkpoint, self.env.now()).unwrap();
            checkpoint.attach(&cosignature).unwrap();
        }
        self.mirror.cosigned(&checkpoint.note().to_string(), "witnesses").unwrap();
    }

    fn verdict(&self, badge: u8) -> CodeVerdict {
        self.desk.check(&code(badge, Audience::Sponsor, ONE)).0
    }
}

#[test]
fn a_code_is_valid_or_not_and_nothing_else() {
    let event = Event::new();
    assert_eq!(event.verdict(1), CodeVerdict::Valid);
    assert_eq!(event.verdict(2), CodeVerdict::NotValid);
    assert_eq!(event.verdict(3), CodeVerdict::NotValid);
    let badge = BadgeText::new(&BadgeSecret::from_bytes([1; 32]), &event_id());
    for other in [
        "hello",
        badge.expose_str(),
        &code(1, Audience::Gate, ONE),
        &code(1, Audience::Sponsor, Epoch::new(0)),
        &code(1, Audience::Sponsor, TWO),
    ] {
        assert_eq!(event.desk.check(other).0, CodeVerdict::NotValid);
    }
}

#[test]
fn valid_takes_both_states() {
    let event = Event::new();
    event.tick(ONE, vec![event.change(2, RecordStatus::Invalid)]);
    assert_eq!(event.verdict(1), CodeVerdict::NotValid, "a stop counts once signed");
    event.cosign();
    event.tick(ONE, vec![event.change(3, RecordStatus::Valid)]);
    assert_eq!(event.verdict(1), CodeVerdict::NotValid, "its end waits for the quorum");
    event.cosign();
    assert_eq!(event.verdict(1), CodeVerdict::Valid);
}

#[test]
fn old_knowledge_is_undetermined_and_says_its_age() {
    let event = Event::new();
    let code = code(1, Audience::Sponsor, ONE);
    event.clock.advance_millis(LIMIT * 1_000);
    assert_eq!(event.desk.check(&code), (CodeVerdict::Valid, LIMIT));
    event.clock.advance_millis(1);
    assert_eq!(event.desk.check(&code), (CodeVerdict::Undetermined, LIMIT + 1));
    event.tick(ONE, vec![event.unchanged(ONE)]);
    assert_eq!(event.desk.check(&code).0, CodeVerdict::Undetermined);
    event.cosign();
    assert_eq!(event.desk.check(&code), (CodeVerdict::Valid, 1), "witnesses tell whole seconds");
}

#[test]
fn an_epoch_counts_from_its_first_cosigned_tick() {
    let event = Event::new();
    event.clock.set(Timestamp::from_seconds(START + 86_400 - 1));
    event.tick(ONE, vec![event.unchanged(ONE), event.new_directory(TWO)]);
    event.cosign();
    event.clock.advance_millis(1_000);
    let [one, two] = [ONE, TWO].map(|epoch| code(1, Audience::Sponsor, epoch));
    let both =
        code(1, Audience::Sponsor, event.manifest.code_epochs(Audience::Sponsor, event.env.now()));
    let verdicts = || [&one, &two, &both].map(|code| event.desk.check(code).0);
    use CodeVerdict::{NotValid, Undetermined, Valid};
    assert_eq!(verdicts(), [Valid, Undetermined, Valid], "the first tick is on its way");
    event.tick(TWO, vec![event.unchanged(TWO)]);
    assert_eq!(verdicts(), [Undetermined, Undetermined, Valid], "it has no quorum yet");
    event.cosign();
    assert_eq!(verdicts(), [NotValid, Valid, Valid]);
}

#[test]
fn without_an_epochs_first_tick_nothing_is_known() {
    let event = Event::new();
    event.clock.set(Timestamp::from_seconds(START + 86_400 - 1));
    event.tick(ONE, vec![event.unchanged(ONE), event.new_directory(TWO)]);
    event.cosign();
    let both = code(1, Audience::Sponsor, CodeEpochs::both(ONE));
    event.clock.advance_millis(1_000 + event.manifest.allowed_millis());
    assert_eq!(event.desk.check(&both).0, CodeVerdict::Valid);
    event.clock.advance_millis(1);
    assert_eq!(event.desk.check(&both).0, CodeVerdict::Undetermined);
}

#[tokio::test]
async fn only_the_sponsors_desks_may_ask() {
    let event = Event::new();
    for (peer, allowed) in [
        ("spiffe://sponsor/desk/desk", true),
        ("spiffe://sponsor/operator/eve", false),
        ("spiffe://police/desk/desk", false),
    ] {
        let code = code(1, Audience::Sponsor, ONE);
        let mut request = Request::new(CheckCodeRequest { code });
        request.extensions_mut().insert(peer.parse::<PeerId>().unwrap());
        let answer = event.desk.check_code(request).await;
        assert_eq!(answer.is_ok(), allowed, "{peer}");
    }
}

fn manifest(
    logs: &[SigningKey; 2],
    keys: &[SigningKey; 2],
    receipts: &SigningKey,
    witnesses: &[WitnessKey],
    [sponsor, audit]: [&HpkeSecretKey; 2],
) -> Manifest {
    let public = |key: &SigningKey| key.verifying_key().clone();
    let authority =
        |index: usize| AuthorityKeys { log: public(&logs[index]), manifest: public(&keys[index]) };
    let pem = |party| format!("-----BEGIN CERTIFICATE-----\n{party}\n-----END CERTIFICATE-----\n");
    let parties = ["committee", "police", "sponsor", "trustee", "gate"];
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
        parties: parties
            .map(|name| Party { name: name.into(), certificate_authority_pem: pem(name) })
            .into(),
        authorities: Authorities { committee: authority(0), police: authority(1) },
        witnesses: std::iter::zip(["trustee", "sponsor"], witnesses)
            .map(|(name, key)| Witness { name: name.into(), key: key.verifying_key().clone() })
            .collect(),
        quorum: 2,
        venues: vec![Venue { code: "STA".into(), name: "Stadium".into() }],
        zones: vec![Zone { code: "BLUE".into(), name: "Field".into(), tier: "inner".into() }],
        staleness_tiers: [
            ("inner".into(), StalenessTier { fresh_seconds: 5, limit_seconds: 20 }),
            ("outer".into(), StalenessTier { fresh_seconds: 10, limit_seconds: LIMIT as u32 }),
        ]
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
        verifiers: vec![Verifier {
            id: "sponsor/sponsor".into(),
            audiences: vec![Audience::Sponsor],
            key: sponsor.public_key(),
        }],
        gates: vec![Gate {
            name: "gate-1".into(),
            receipts: public(receipts),
            access_points: vec!["north-1".into()],
        }],
        audit_key: audit.public_key(),
        screening: Screening { verdict_delay_seconds: 60, secondary_check_per_10k: 0 },
        replaced: Vec::new(),
        revoked_certificates: Vec::new(),
    }
}

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::badge::BadgeSecret;
use crate::checkpoint::{Checkpoint, VerifiedCheckpoint};
use crate::cosignature::WitnessKey;
use crate::head::{DirectoryHead, HeadError, MapHead};
use crate::ids::{EventId, Origin, Timestamp};
use crate::log::{Log, leaf_hash};
use crate::manifest::VerifiedManifest;
use crate::manifest::fixture::{Fixture, fixture};
use crate::map::{Map, Row};
use crate::note::KeyName;
use crate::record::{Record, Status};

const EPOCH: Epoch = Epoch::new(3);
const BADGE: u8 = 7;

/// One authority's published directory for gates with 40 badges, two cosignatures, and what it was made from.
struct Published {
    fixture: Fixture,
    manifest: VerifiedManifest,
    audience_key: AudienceKey,
    map: Map,
    log: Log,
    head: MapHead,
    checkpoint: VerifiedCheckpoint,
}

fn event() -> EventId {
    EventId::parse("games-2028").unwrap()
}

fn epoch_key(badge: u8) -> EpochKey {
    BadgeSecret::from_bytes([badge; 32])
        .seed(Authority::Committee, Audience::Gate)
        .epoch_key(&event(), EPOCH)
}

fn row(badge: u8, audience_key: &AudienceKey) -> Row {
    let key = epoch_key(badge);
    let handle = key.handle();
    let status = if badge % 2 == 1 { Status::Valid } else { Status::Suspended };
    let origin = Origin::new(&event(), Authority::Committee);
    let record = SealedRecord::seal(
        &key.record_key(audience_key),
        &origin,
        EPOCH,
        &handle,
        u32::from(badge),
        &Record::bare(status),
    );
    Row { handle, record: record.unwrap() }
}

fn audience_key(byte: u8) -> AudienceKey {
    AudienceKey::from_bytes([byte; 32])
}

impl Published {
    fn new() -> Self {
        let fixture = fixture();
        let manifest = fixture.verified();
        let audience_key = audience_key(0xa1);
        let map = Map::build(3, (1..=40).map(|badge| row(badge, &audience_key))).unwrap();
        let directory = DirectoryHead {
            epoch: EPOCH,
            audience: Audience::Gate,
            commitment: map.commitment(),
            audience_key: audience_key.commitment(),
            profiles: Hash::new([0; 32]),
        };
        let mut log = Log::new();
        for tick in 1..21u8 {
            log.append(leaf_hash(&[tick]));
        }
        let head = MapHead {
            event: event(),
            authority: Authority::Committee,
            size: 21,
            time: Timestamp::from_seconds(2_000),
            manifest: manifest.hash(),
            live_epoch: EPOCH,
            directories: vec![directory],
        };
        log.append(leaf_hash(&head.to_bytes().unwrap()));
        let mut checkpoint =
            Checkpoint::new(&head.origin(), 21, log.root()).sign(&fixture.logs[0]).unwrap();
        for (witness, seconds) in [(0, 2_001), (2, 2_003)] {
            cosign(&mut checkpoint, &fixture.witnesses[witness], seconds);
        }
        Self { fixture, manifest, audience_key, map, log, head, checkpoint }
    }

    fn attest(&self, badge: u8) -> Attestation {
        let handle = epoch_key(badge).handle();
        Attestation {
            manifest: self.manifest.hash(),
            authority: Authority::Committee,
            audience: Audience::Gate,
            epoch: EPOCH,
            handle,
            record: self.map.get(&handle),
            map_proof: self.map.prove(&handle),
            head: self.head.to_bytes().unwrap(),
            log_proof: TlogProof {
                extra: None,
                index: 20,
                proof: self.log.inclusion_proof(20, 21).unwrap(),
                checkpoint: self.checkpoint.note().clone(),
            },
            opening: None,
        }
    }

    fn opened(&self, badge: u8) -> Attestation {
        let audience_key = AudienceKey::from_bytes(*self.audience_key.expose_bytes());
        let opening = Some(Opening { epoch_key: epoch_key(badge), audience_key });
        Attestation { opening, ..self.attest(badge) }
    }

    fn verify(&self, attestation: &Attestation) -> Result<VerifiedAttestation, AttestationError> {
        verify_attestation(attestation, &self.manifest)
    }

    /// The good attestation of the badge with one change, which must be refused.
    fn refused(&self, change: impl FnOnce(&mut Attestation)) -> AttestationError {
        let mut attestation = self.opened(BADGE);
        change(&mut attestation);
        self.verify(&attestation).unwrap_err()
    }

    /// The same log with another newest leaf, signed and cosigned all the same.
    fn with_head(&self, change: impl FnOnce(&mut MapHead)) -> Attestation {
        let mut head = self.head.clone();
        change(&mut head);
        let mut log = Log::new();
        for tick in 1..21u8 {
            log.append(leaf_hash(&[tick]));
        }
        let bytes = head.to_bytes().unwrap();
        log.append(leaf_hash(&bytes));
        let mut checkpoint = Checkpoint::new(&self.head.origin(), 21, log.root())
            .sign(&self.fixture.logs[0])
            .unwrap();
        for witness in [0, 2] {
            cosign(&mut checkpoint, &self.fixture.witnesses[witness], 2_001);
        }
        let mut attestation = self.opened(BADGE);
        attestation.head = bytes;
        attestation.log_proof.proof = log.inclusion_proof(20, 21).unwrap();
        attestation.log_proof.checkpoint = checkpoint.note().clone();
        attestation
    }

    /// The good attestation, cosigned by these witnesses instead.
    fn cosigned_by(&self, witnesses: &[&WitnessKey]) -> Attestation {
        let mut checkpoint = Checkpoint::new(&self.head.origin(), 21, self.log.root())
            .sign(&self.fixture.logs[0])
            .unwrap();
        for (witness, seconds) in witnesses.iter().zip(2_001..) {
            cosign(&mut checkpoint, witness, seconds);
        }
        let mut attestation = self.opened(BADGE);
        attestation.log_proof.checkpoint = checkpoint.note().clone();
        attestation
    }
}

fn cosign(checkpoint: &mut VerifiedCheckpoint, witness: &WitnessKey, seconds: u64) {
    let cosignature = witness.cosign(checkpoint, Timestamp::from_seconds(seconds)).unwrap();
    checkpoint.attach(&cosignature).unwrap();
}

#[test]
fn a_record_is_proven_sealed_and_opened() {
    let published = Published::new();
    let sealed = published.verify(&published.attest(BADGE)).unwrap();
    assert!(matches!(sealed.attested(), Attested::Sealed(_)));
    assert_eq!(sealed.record(), None);
    let opened = published.verify(&published.opened(BADGE)).unwrap();
    assert_eq!(opened.record(), Some(&Record::bare(Status::Valid)));
    assert_eq!((opened.authority(), opened.audience()), (Authority::Committee, Audience::Gate));
    assert_eq!((opened.epoch(), opened.head().size), (EPOCH, 21));
    assert_eq!(opened.time(), Timestamp::from_seconds(2_000));
    assert_eq!(opened.quorum_time(), Timestamp::from_seconds(2_001));
    assert_eq!(opened.freshness(), Timestamp::from_seconds(2_000));
    assert_eq!(opened.directory(), &published.head.directories[0]);
    let suspended = published.verify(&published.opened(8)).unwrap();
    assert_eq!(suspended.record().unwrap().status, Status::Suspended);
}

#[test]
fn absence_is_proven_and_tied_to_the_badge() {
    let published = Published::new();
    let absent = published.opened(99);
    assert_eq!(published.verify(&absent).unwrap().attested(), &Attested::Absent);
    let other = Attestation { opening: published.opened(98).opening, ..published.attest(99) };
    assert_eq!(published.verify(&other).unwrap_err(), AttestationError::OtherEpochKey);
}

#[test]
fn a_forged_omitted_or_exchanged_record_is_refused() {
    let published = Published::new();
    let forged = SealedRecord::new(7, [0; 48]).unwrap();
    assert_eq!(published.refused(|a| a.record = Some(forged)), AttestationError::OtherRecord);
    let bytes = *published.attest(BADGE).record.unwrap().bytes();
    let older = SealedRecord::new(6, bytes).unwrap();
    assert_eq!(published.refused(|a| a.record = Some(older)), AttestationError::OtherRecord);
    assert_eq!(published.refused(|a| a.record = None), AttestationError::RecordLeftOut);
    let claimed = Attestation { record: Some(forged), ..published.opened(99) };
    assert_eq!(published.verify(&claimed).unwrap_err(), AttestationError::RecordNotThere);
    // The proof of another place in the map proves nothing of this handle.
    let far = (1..=40)
        .map(|badge| published.attest(badge))
        .find(|other| other.handle.top() >> 61 != published.attest(BADGE).handle.top() >> 61)
        .unwrap();
    let refused = published.refused(|a| a.map_proof = far.map_proof);
    assert!(matches!(refused, AttestationError::Map(_)));
    let refused = published.refused(|a| a.handle = far.handle);
    assert!(matches!(refused, AttestationError::Map(_)));
}

#[test]
fn checkpoint_quorum_and_head_must_hold() {
    let published = Published::new();
    let [a, own, b, c] = [0, 1, 2, 3].map(|index| &published.fixture.witnesses[index]);
    assert!(published.verify(&published.cosigned_by(&[a, c])).is_ok());
    let name = KeyName::parse("witness/stranger").unwrap();
    let stranger = WitnessKey::generate(name, &mut ChaCha20Rng::seed_from_u64(5));
    for (found, too_few) in [
        (0, vec![]),
        (1, vec![b]),
        (1, vec![a, a, a]),
        (1, vec![a, &stranger]),
        // The committee's own witness does not count for the committee's log.
        (1, vec![a, own]),
    ] {
        assert_eq!(
            published.verify(&published.cosigned_by(&too_few)).unwrap_err(),
            AttestationError::NoQuorum { found, needed: 2 }
        );
    }

    let police = published.refused(|a| a.authority = Authority::Police);
    assert!(matches!(police, AttestationError::Checkpoint(_)));

    let foreign = {
        let mut other = Checkpoint::new(&published.head.origin(), 22, published.log.root())
            .sign(&published.fixture.logs[0])
            .unwrap();
        cosign(&mut other, a, 2_001);
        let mut checkpoint = published.checkpoint.note().clone();
        checkpoint.add(other.note().signatures()[1].clone()).unwrap();
        published.refused(|a| a.log_proof.checkpoint = checkpoint)
    };
    assert!(matches!(foreign, AttestationError::Cosignature(_)));

    let refused = published.refused(|a| *a.head.last_mut().unwrap() ^= 1);
    assert!(matches!(refused, AttestationError::Head(_)));
    let index = published.refused(|a| a.log_proof.index = 19);
    assert_eq!(index, AttestationError::NotNewest { index: 19, size: 21 });
    let stale = published.with_head(|head| head.size = 20);
    let refused = published.verify(&stale).unwrap_err();
    assert!(matches!(
        refused,
        AttestationError::Head(HeadError::Size { head: 20, checkpoint: 21 })
    ));
}

#[test]
fn another_manifest_directory_or_opening_is_refused() {
    let published = Published::new();
    let wrong = Hash::new([1; 32]);
    let given = published.manifest.hash();
    let expected = AttestationError::OtherManifest { found: wrong, given };
    assert_eq!(published.refused(|a| a.manifest = wrong), expected);
    let other_head = published.with_head(|head| head.manifest = wrong);
    assert_eq!(published.verify(&other_head).unwrap_err(), expected);

    let (epoch, audience) = (EPOCH.next(), Audience::Gate);
    let refused = published.refused(|a| a.epoch = epoch);
    assert_eq!(refused, AttestationError::NoDirectory { epoch, audience });
    let (epoch, audience) = (EPOCH, Audience::Sponsor);
    let refused = published.refused(|a| a.audience = audience);
    assert_eq!(refused, AttestationError::NoDirectory { epoch, audience });

    let opening =
        |badge, key| Some(Opening { epoch_key: epoch_key(badge), audience_key: audience_key(key) });
    let refused = published.refused(|a| a.opening = opening(8, 0xa1));
    assert_eq!(refused, AttestationError::OtherEpochKey);
    let refused = published.refused(|a| a.opening = opening(BADGE, 0xa2));
    assert_eq!(refused, AttestationError::OtherAudienceKey);
    // A head that commits to another audience key than the records are sealed under: the authority's own doing.
    let lying = published.with_head(|head| {
        head.directories[0].audience_key = audience_key(0xa2).commitment();
    });
    let lying = Attestation { opening: opening(BADGE, 0xa2), ..lying };
    assert!(matches!(published.verify(&lying).unwrap_err(), AttestationError::Record(_)));
}

#[test]
fn bytes_and_text_read_back() {
    let published = Published::new();
    for attestation in [published.attest(BADGE), published.opened(BADGE), published.opened(99)] {
        let bytes = attestation.to_bytes();
        let again = Attestation::from_bytes(&bytes).unwrap();
        assert_eq!(*again.to_bytes(), *bytes);
        let text = attestation.to_text();
        let again = Attestation::parse_text(&text).unwrap();
        assert_eq!(*again.to_text(), *text);
        assert_eq!(*again.to_bytes(), *bytes);
        assert_eq!(published.verify(&again), published.verify(&attestation));
        for end in 0..bytes.len() {
            assert!(Attestation::from_bytes(&bytes[..end]).is_err());
        }
        assert!(Attestation::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
    let text = published.attest(BADGE).to_text();
    assert!(text.starts_with("lanyard attestation v1\nmanifest "));
    let proof = &text[text.find("\n\n").unwrap() + 2..];
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nindex 20\n"));
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", Published::new().opened(BADGE));
    assert!(shown.starts_with("Attestation { authority: Committee"));
    assert!(!shown.contains("opening") && !shown.contains("key"));
}

#[test]
fn malformed_text_is_named_by_line() {
    let text = Published::new().opened(BADGE).to_text();
    let refused = |text: &str| Attestation::parse_text(text).unwrap_err();
    assert_eq!(refused(&text.replacen("v1", "v2", 1)), AttestationTextError::Header);
    let lines: Vec<&str> = text.lines().collect();
    let names = [
        "manifest",
        "authority",
        "audience",
        "epoch",
        "handle",
        "record",
        "map-proof",
        "head",
        "epoch-key",
        "audience-key",
    ];
    for (index, expected) in names.into_iter().enumerate() {
        let mut broken = lines.clone();
        let changed = format!("{expected} ?");
        broken[index + 1] = &changed;
        match refused(&broken.join("\n")) {
            AttestationTextError::Line { line, name, .. } => {
                assert_eq!((line, name), (index + 2, expected));
            }
            other => panic!("{expected}: {other}"),
        }
        let mut missing = lines.clone();
        missing.remove(index + 1);
        assert!(Attestation::parse_text(&(missing.join("\n") + "\n")).is_err(), "{expected}");
    }
    let extra = text.replacen("tlog-proof@v1\n", "tlog-proof@v1\nextra AAAA\n", 1);
    assert_eq!(refused(&extra), AttestationTextError::Extra);
    let tail = text.replacen("\n\nc2sp", "\nc2sp", 1);
    assert!(matches!(refused(&tail), AttestationTextError::Line { line: 12, .. }));
    let cut = &text[..text.len() - 1];
    assert!(matches!(refused(cut), AttestationTextError::Proof(_)));
}

/// Built once: the property tests only change its bytes.
static PUBLISHED: std::sync::LazyLock<(Published, Vec<u8>, String)> =
    std::sync::LazyLock::new(|| {
        let published = Published::new();
        let good = published.opened(BADGE);
        let (bytes, text) = (good.to_bytes().to_vec(), good.to_text().to_string());
        (published, bytes, text)
    });

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_changed_byte_verifies(at in any::<prop::sample::Index>(), to: u8) {
        let (published, bytes, _) = &*PUBLISHED;
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        let mut changed = bytes.clone();
        changed[at] = to;
        if let Ok(attestation) = Attestation::from_bytes(&changed) {
            prop_assert!(published.verify(&attestation).is_err());
        }
    }

    #[test]
    fn no_changed_character_verifies(at in any::<prop::sample::Index>(), to in "[ -~\n]") {
        let (published, _, text) = &*PUBLISHED;
        let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
        let start = starts[at.index(starts.len())];
        let end = start + text[start..].chars().next().unwrap().len_utf8();
        prop_assume!(text[start..end] != to);
        let changed = format!("{}{to}{}", &text[..start], &text[end..]);
        if let Ok(attestation) = Attestation::parse_text(&changed) {
            prop_assert!(published.verify(&attestation).is_err());
        }
    }

    #[test]
    fn parsing_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,99}") {
        let _ = Attestation::from_bytes(&bytes);
        bytes.splice(0..0, MAGIC.iter().copied());
        let _ = Attestation::from_bytes(&bytes);
        let with_header = format!("lanyard attestation v1\n{text}");
        prop_assert!(Attestation::parse_text(&with_header).is_err());
    }
}

use lanyard_core::attestation::{Attestation, Attested, Opening, verify_attestation};
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::head::MapHead;
use lanyard_core::ids::{Audience, Authority, Epoch, Hash, Timestamp};
use lanyard_core::manifest::{ManifestTrust, verify_manifest};
use lanyard_core::map::Map;
use lanyard_core::record::SealedRecord;
use lanyard_core::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run, with};
use crate::world::{
    BADGE, EPOCH, Published, SIZE, audience_key, cosign, epoch_key, log_with, row, witness_key,
};

pub(crate) const FILE: FileOf = FileOf {
    description: "Attestations: what an authority's directory says of one badge, provable offline. The file form: named lines, a blank line, and \
        a C2SP tlog-proof of the map head. Verified against the manifest of its time: signature of the log, quorum of witnesses, the head as \
        the newest leaf, the map proof, the handle of the opened epoch key, the commitment of the opened audience key, the record.",
    shared,
    cases,
    run: operate,
};

fn shared() -> Value {
    let published = Published::new();
    json!({
        "committee_key": published.world.committee.verifying_key().to_string(),
        "police_key": published.world.police.verifying_key().to_string(),
        "manifest": published.manifest.note().to_string(),
    })
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    match operation {
        "verify" => {
            let trust =
                ManifestTrust { committee: input.parse("committee_key"), police: input.parse("police_key") };
            let manifest = run(verify_manifest(input.text("manifest"), &trust))?;
            let attestation = run(Attestation::parse_text(input.text("attestation")))?;
            let verified = run(verify_attestation(&attestation, &manifest))?;
            Ok(json!({
                "authority": verified.authority().name(),
                "audience": verified.audience().name(),
                "epoch": verified.epoch().get(),
                "handle": hexed(verified.handle().as_bytes()),
                "says": match verified.attested() {
                    Attested::Absent => json!("absent"),
                    Attested::Sealed(_) => json!("sealed"),
                    Attested::Opened(record) => super::record::shown(record),
                },
                "time": verified.time().millis(),
                "quorum_time": verified.quorum_time().millis(),
            }))
        }
        "binary" => {
            let attestation = run(Attestation::parse_text(input.text("attestation")))?;
            Ok(hexed(attestation.to_bytes().as_slice()))
        }
        other => panic!("no operation {other}"),
    }
}

impl Published {
    fn attest(&self, badge: u8, opening: bool) -> Attestation {
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
                index: SIZE - 1,
                proof: self.log.inclusion_proof(SIZE - 1, SIZE).unwrap(),
                checkpoint: self.checkpoint.note().clone(),
            },
            opening: opening
                .then(|| Opening { epoch_key: epoch_key(badge), audience_key: audience_key() }),
        }
    }

    /// The good attestation with one change.
    fn changed(&self, change: impl FnOnce(&mut Attestation)) -> Value {
        let mut attestation = self.attest(BADGE, true);
        change(&mut attestation);
        text(&attestation)
    }

    /// The same log with another newest leaf, signed and cosigned all the same.
    fn with_head(&self, change: impl FnOnce(&mut MapHead)) -> Value {
        let mut head = self.head.clone();
        change(&mut head);
        let log = log_with(&head);
        self.changed(|it| {
            it.head = head.to_bytes().unwrap();
            it.log_proof.proof = log.inclusion_proof(SIZE - 1, SIZE).unwrap();
            let checkpoint = self.world.checkpoint(&log, &[(0, 2_001), (2, 2_001)]);
            it.log_proof.checkpoint = checkpoint.note().clone();
        })
    }

    fn cosigned_by(&self, cosigned: &[(usize, u64)]) -> Value {
        let checkpoint = self.world.checkpoint(&self.log, cosigned);
        self.changed(|it| it.log_proof.checkpoint = checkpoint.note().clone())
    }
}

fn text(attestation: &Attestation) -> Value {
    json!({ "attestation": attestation.to_text().as_str() })
}

fn cases(cases: &mut Cases) {
    let published = Published::new();
    cases.good("opened", "A record and what it says", "verify", text(&published.attest(BADGE, true)));
    cases.good("sealed", "A record, not opened", "verify", text(&published.attest(BADGE, false)));
    cases.good("suspended", "A record that says no", "verify", text(&published.attest(8, true)));
    cases.good("absent", "No record under the badge's handle", "verify", text(&published.attest(99, true)));
    cases.good("binary", "The fixed encoding", "binary", text(&published.attest(BADGE, true)));
    records(cases, &published);
    heads(cases, &published);
    texts(cases, &published);
}

fn records(cases: &mut Cases, published: &Published) {
    let other = row(9);
    let forged = SealedRecord::new(u32::from(BADGE), [0xf0; 48]).unwrap();
    let older = Map::build(3, (1..=39).map(row)).unwrap();
    for (name, description, input, kind) in [
        ("omitted-record", "A record is there and is not shown", published.changed(|it| it.record = None), "record-left-out"),
        ("invented-record", "A record is shown and is not there", {
            let mut absent = published.attest(99, false);
            absent.record = Some(forged);
            text(&absent)
        }, "record-not-there"),
        ("forged-record", "Not the directory's record", published.changed(|it| it.record = Some(forged)), "other-record"),
        ("other-badges-record", "Another badge's record", published.changed(|it| it.record = Some(other.record)), "other-record"),
        ("other-version", "The record with another version", published.changed(|it| {
            let record = it.record.unwrap();
            it.record = Some(SealedRecord::new(record.version() + 1, *record.bytes()).unwrap());
        }), "other-record"),
        ("other-handle", "Another badge's handle: its proof is not this one", published.changed(|it| it.handle = other.handle), "map/rows"),
        ("older-map", "A proof of an older map", published.changed(|it| it.map_proof = older.prove(&it.handle)), "map/root"),
        ("other-epoch-key", "Opened with another badge's key", published.changed(|it| it.opening.as_mut().unwrap().epoch_key = epoch_key(9)), "other-epoch-key"),
        ("other-audience-key", "Opened with another audience key", published.changed(|it| {
            it.opening.as_mut().unwrap().audience_key = AudienceKey::from_bytes([0xa2; 32]);
        }), "other-audience-key"),
    ] {
        cases.bad(&format!("refuses-{name}"), description, "verify", input, kind);
    }
    let unreadable = {
        // The authority committed to a record that no key opens.
        let mut row = row(BADGE);
        row.record = forged;
        let others = (1..=40).filter(|badge| *badge != BADGE).map(super::world::row);
        let map = Map::build(3, others.chain([row])).unwrap();
        let mut world = Published::new();
        world.head.directories[0].commitment = map.commitment();
        world.log = log_with(&world.head);
        world.checkpoint = world.world.checkpoint(&world.log, &[(0, 2_001), (2, 2_003)]);
        world.map = map;
        text(&world.attest(BADGE, true))
    };
    let description = "A record that its own key does not open";
    cases.bad("refuses-unreadable-record", description, "verify", unreadable, "record/sealed");
}

fn heads(cases: &mut Cases, published: &Published) {
    let witness = &published.world.witnesses;
    assert_eq!(witness.len(), 4);
    let strangers = {
        let mut checkpoint = published.world.checkpoint(&published.log, &[(0, 2_001)]);
        cosign(&mut checkpoint, &witness_key("witness/stranger", 0x97), 2_001);
        published.changed(|it| it.log_proof.checkpoint = checkpoint.note().clone())
    };
    let earlier = published.log.leaf_hashes().take(20).copied().collect();
    let earlier = published.world.checkpoint(&earlier, &[(0, 2_001), (2, 2_001)]);
    for (name, description, input, kind) in [
        ("one-cosignature", "One witness is no quorum", published.cosigned_by(&[(0, 2_001)]), "no-quorum"),
        ("no-cosignature", "Signed by the log alone", published.cosigned_by(&[]), "no-quorum"),
        ("one-witness-twice", "One witness counts once", published.cosigned_by(&[(0, 2_001), (0, 2_002)]), "no-quorum"),
        ("stranger", "An unknown witness does not count", strangers, "no-quorum"),
        ("own-cosignature", "The authority is no witness of its own log", published.cosigned_by(&[(0, 2_001), (1, 2_001)]), "no-quorum"),
        ("older-checkpoint", "A checkpoint that the head is not in", published.changed(|it| it.log_proof.checkpoint = earlier.note().clone()), "head/size"),
        ("mutated-head", "A head that the log does not have", published.changed(|it| {
            let mut head = published.head.clone();
            head.time = Timestamp::from_seconds(9_999);
            it.head = head.to_bytes().unwrap();
        }), "head/log/not-included"),
        ("other-index", "A log proof of another leaf", published.changed(|it| it.log_proof.index = 19), "not-newest"),
        ("other-authority", "Said to be the police's", published.changed(|it| it.authority = Authority::Police), "checkpoint/note/unsigned"),
        ("other-audience", "No directory for the police in this head", published.changed(|it| it.audience = Audience::Police), "no-directory"),
        ("other-epoch", "No directory of that epoch", published.changed(|it| it.epoch = Epoch::new(4)), "no-directory"),
        ("other-manifest", "Made under another manifest", published.changed(|it| it.manifest = Hash::new([9; 32])), "other-manifest"),
        ("head-of-other-manifest", "The head was made under another manifest", published.with_head(|head| head.manifest = Hash::new([9; 32])), "other-manifest"),
        ("head-of-other-event", "The log's newest leaf is of another event", published.with_head(|head| {
            head.event = lanyard_core::ids::EventId::parse("games-2032").unwrap();
        }), "head/other-log"),
        ("head-of-other-size", "The log's newest leaf says another size", published.with_head(|head| head.size = 20), "head/size"),
        ("head-with-other-key", "The head commits to another audience key", published.with_head(|head| {
            head.directories[0].audience_key = Hash::new([9; 32]);
        }), "other-audience-key"),
    ] {
        cases.bad(&format!("refuses-{name}"), description, "verify", input, kind);
    }
}

fn texts(cases: &mut Cases, published: &Published) {
    let good = text(&published.attest(BADGE, true));
    let good_text = good["attestation"].as_str().unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(good_text.contains(from), "{from:?}");
        with(&good, json!({ "attestation": good_text.replacen(from, to, 1) }))
    };
    for (name, description, input, kind) in [
        ("other-header", "Version 2", replaced("attestation v1", "attestation v2"), "header"),
        ("unknown-authority", "Neither committee nor police", replaced("authority committee", "authority sponsor"), "line"),
        ("leading-zero", "Numbers have none", replaced("epoch 3", "epoch 03"), "line"),
        ("swapped-lines", "Lines have their order", replaced("audience gate\nepoch 3", "epoch 3\naudience gate"), "line"),
        ("version-0", "Versions start at 1", replaced("record 7 ", "record 0 "), "line"),
        ("no-blank-line", "The log proof must stand apart", replaced("\n\nc2sp.org", "\nc2sp.org"), "line"),
        ("extra-data", "The log proof has extra data", replaced("\nindex 20", "\nextra AAAA\nindex 20"), "extra"),
        ("carriage-return", "Lines end in a newline only", replaced("v1\n", "v1\r\n"), "header"),
        ("truncated", "The signatures are missing", {
            let end = good_text.rfind("\n\n").unwrap();
            with(&good, json!({ "attestation": &good_text[..end] }))
        }, "proof/note/no-signature-block"),
    ] {
        cases.bad(&format!("text-refuses-{name}"), description, "verify", input, kind);
    }
}

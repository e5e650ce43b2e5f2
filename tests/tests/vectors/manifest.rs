use lanyard_core::ids::{Epoch, Hash, Timestamp};
use lanyard_core::manifest::{KeyEnd, LogPosition, Manifest, ManifestTrust, ReplacedKey, verify_manifest};
use lanyard_core::note::{Note, SigningKey};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run};
use crate::world::World;

pub(crate) const FILE: FileOf = FileOf {
    description: "Manifests: a signed note (C2SP) whose text is the line `lanyard manifest v1` and pretty JSON. Both authorities sign; a \
        successor is signed by both keys of the manifest before it. The hash is BLAKE3 of the text without signatures.",
    shared,
    cases,
    run: operate,
};

fn shared() -> Value {
    let world = World::new();
    json!({
        "committee_key": world.committee.verifying_key().to_string(),
        "police_key": world.police.verifying_key().to_string(),
        "held": world.sign(&world.manifest),
    })
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let trust = ManifestTrust { committee: input.parse("committee_key"), police: input.parse("police_key") };
    let verified = match operation {
        "verify" => run(verify_manifest(input.text("note"), &trust))?,
        "succeed" => {
            let held = run(verify_manifest(input.text("held"), &trust))?;
            run(held.accept_successor(input.text("note")))?
        }
        "find-epoch" => {
            let held = run(verify_manifest(input.text("held"), &trust))?;
            let epoch = held.epoch_at(input.time("time"));
            return Ok(json!({ "epoch": epoch.get(), "start": held.epoch_start(epoch).millis() }));
        }
        other => panic!("no operation {other}"),
    };
    Ok(json!({ "version": verified.version, "hash": hexed(verified.hash().as_bytes()) }))
}

fn cases(cases: &mut Cases) {
    let world = World::new();
    let note = |note: String| json!({ "note": note });
    let signed = world.sign(&world.manifest);
    cases.good("manifest", "Signed by both", "verify", note(signed.clone()));
    let held = world.verified();
    let next = Manifest { version: 2, previous: Some(held.hash()), quorum: 3, ..world.manifest.clone() };
    cases.good("successor", "The next version names the one before", "succeed", note(world.sign(&next)));

    let text = world.manifest.to_text().unwrap();
    let one = Note::sign(&text, &[&world.committee]).unwrap().to_string();
    cases.bad("manifest-refuses-one-signature", "The police did not sign", "verify", note(one), "note/unsigned");
    let altered = signed.replacen("\"quorum\": 2", "\"quorum\": 3", 1);
    cases.bad("manifest-refuses-altered", "The text was altered", "verify", note(altered), "note/bad-signature");
    let by_both = |text: &str| Note::sign(text, &[&world.committee, &world.police]).unwrap().to_string();
    for (name, description, text, kind) in [
        ("other-header", "Another first line", "lanyard manifest v2\n{}\n", "header"),
        ("no-json", "No JSON", "lanyard manifest v1\nnothing\n", "json"),
        ("unknown-field", "A field that is not known", "lanyard manifest v1\n{\"colour\": 1}\n", "json"),
    ] {
        let name = format!("manifest-refuses-{name}");
        cases.bad(&name, description, "verify", note(by_both(text)), kind);
    }
    let one_key = json!({ "note": by_both("lanyard manifest v1\n{}\n"), "police_key": world.committee.verifying_key().to_string() });
    cases.bad("manifest-refuses-one-trusted-key", "One key cannot stand for both", "verify", one_key, "one-trusted-key");

    let mut fork = world.manifest.clone();
    fork.title = "Other Games".to_owned();
    let mut elsewhere = next.clone();
    elsewhere.previous = Some(lanyard_core::ids::Hash::new([0; 32]));
    let mut back = next.clone();
    back.epochs.first = Epoch::new(0);
    for (name, description, manifest, kind) in [
        ("fork", "Another manifest of the same version", fork, "forked"),
        ("other-previous", "It follows another manifest", elsewhere, "other-previous"),
        ("epochs-run-back", "Its epochs start earlier", back, "epochs-run-back"),
    ] {
        let name = format!("successor-refuses-{name}");
        cases.bad(&name, description, "succeed", note(world.sign(&manifest)), kind);
    }
    replaced(cases, &world, &next);
    let newer = world.sign(&next);
    let rollback = json!({ "held": newer, "note": signed });
    cases.bad("successor-refuses-rollback", "An older version", "succeed", rollback, "rollback");

    let start = world.manifest.epochs.starts_at.millis();
    let day = 24 * 60 * 60 * 1_000;
    for (name, time) in [("first", start), ("last-millisecond", start + day - 1), ("second", start + day), ("before", start - 1)] {
        let input = json!({ "time": time });
        cases.good(&format!("epoch-{name}"), "Which epoch is live", "find-epoch", input);
    }
}

/// Keys that others took the place of. Without any, the field is left out, as in all other manifests here.
fn replaced(cases: &mut Cases, world: &World, next: &Manifest) {
    let note = |manifest: &Manifest| json!({ "note": world.sign(manifest) });
    let log = world.logs[0].verifying_key().clone();
    let mut rng = ChaCha20Rng::seed_from_u64(0x5ea1);
    let mut rotated = next.clone();
    rotated.authorities.committee.log = SigningKey::generate(log.name().clone(), &mut rng).verifying_key().clone();
    rotated.replaced = vec![ReplacedKey { key: log, until: None }];
    cases.good("successor-replaces-a-log-key", "Old and new key count side by side", "succeed", note(&rotated));

    let mut ended = rotated.clone();
    let last = LogPosition { size: 7, root: Hash::new([7; 32]) };
    ended.replaced[0].until = Some(KeyEnd { time: Timestamp::from_millis(1), log: Some(last) });
    ended.revoked_certificates = vec![Hash::new([8; 32])];
    cases.good("successor-ends-a-log-key", "The old key counts up to size 7", "succeed", note(&ended));

    let held = world.sign(&ended);
    let mut third = Manifest { version: 3, previous: Some(Manifest::hash_text(&ended.to_text().unwrap())), ..ended.clone() };
    cases.good("successor-keeps-an-end", "An end stays", "succeed", json!({ "held": held, "note": world.sign(&third) }));
    third.revoked_certificates.clear();
    let input = json!({ "held": held, "note": world.sign(&third) });
    cases.bad("successor-refuses-revocation-taken-back", "A revoked certificate would count", "succeed", input, "revocation-taken-back");
    third.replaced[0].until = None;
    let input = json!({ "held": held, "note": world.sign(&third) });
    cases.bad("successor-refuses-end-taken-back", "A key that has ended would count", "succeed", input, "end-taken-back");
}

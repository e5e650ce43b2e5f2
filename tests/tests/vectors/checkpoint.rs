use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::cosignature::{quorum_time, verify_cosignatures};
use lanyard_core::note::{Note, VerifyingKey};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, run, with};
use crate::world::{Published, World, cosign, key, witness_key};

pub(crate) const FILE: FileOf = FileOf {
    description: "Checkpoints (C2SP tlog-checkpoint, signed-note), cosignatures (C2SP tlog-cosignature, Ed25519 `cosignature/v1`, algorithm \
        byte 0x04) and their quorum: the time of the q-th newest, one a witness, told apart by public keys. Ed25519 strictly.",
    shared: || Value::Null,
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    if operation == "parse-key" {
        let key = run(VerifyingKey::parse(input.text("key")))?;
        return Ok(json!({ "name": key.name().as_str(), "key_id": key.key_id().to_string() }));
    }
    let note = run(Note::parse(input.text("note")))?;
    let key = run(VerifyingKey::parse(input.text("log_key")))?;
    let checkpoint = run(verify_checkpoint(&note, &key))?;
    match operation {
        "verify" => Ok(json!({
            "origin": checkpoint.origin(), "size": checkpoint.size(), "root": checkpoint.root().to_string(),
        })),
        "quorum" => {
            let keys = input.texts("witness_keys").into_iter();
            let keys = keys.map(|key| run(VerifyingKey::parse(key))).collect::<Result<Vec<_>, _>>()?;
            let cosignatures = run(verify_cosignatures(&checkpoint, &keys))?;
            let time = quorum_time(&cosignatures, input.u8("quorum"));
            Ok(json!({ "witnesses": cosignatures.len(), "time": time.map(|time| time.millis()) }))
        }
        other => panic!("no operation {other}"),
    }
}

fn cases(cases: &mut Cases) {
    let published = Published::new();
    let world = &published.world;
    let log_key = world.logs[0].verifying_key().to_string();
    let plain = world.checkpoint(&published.log, &[]).note().to_string();
    let good = json!({ "log_key": log_key, "note": plain });
    cases.good("checkpoint", "Signed by its log", "verify", good.clone());
    let cosigned = published.checkpoint.note().to_string();
    let input = with(&good, json!({ "note": cosigned }));
    cases.good("checkpoint-cosigned", "Other signatures are ignored", "verify", input);

    let signed = |text: &str| {
        let note = Note::sign(text, &[&world.logs[0]]).unwrap();
        json!({ "note": note.to_string() })
    };
    let (text, _) = plain.split_once("\n\n").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (origin, root) = (lines[0], lines[2]);
    cases.good("checkpoint-of-empty-log", "Size 0", "verify", with(&good, signed(&format!("{origin}\n0\n{root}\n"))));
    let extended = signed(&format!("{text}\nan extension\n"));
    cases.good("checkpoint-extended", "Extension lines are kept and mean nothing", "verify", with(&good, extended));

    let other_log = key(origin, 0x99);
    let foreign = key("example.org/log", 0x98);
    let signature = plain.lines().last().unwrap();
    let mutated_signature = {
        let at = plain.len() - 10;
        let replacement = if &plain[at..=at] == "A" { "B" } else { "A" };
        format!("{}{replacement}{}", &plain[..at], &plain[at + 1..])
    };
    let note = |note: String| json!({ "note": note });
    let by = |key: &lanyard_core::note::SigningKey| Note::sign(&format!("{text}\n"), &[key]).unwrap().to_string();
    for (name, description, change, kind) in [
        ("unsigned", "Signed by another key of the same name", note(by(&other_log)), "note/unsigned"),
        ("mutated-size", "Another size under the signature", note(plain.replacen("\n21\n", "\n22\n", 1)), "note/bad-signature"),
        ("mutated-signature", "Another signature", note(mutated_signature), "note/bad-signature"),
        ("other-origin", "The key signs for another log", json!({ "note": by(&foreign), "log_key": foreign.verifying_key().to_string() }), "wrong-origin"),
        ("no-signature", "The text alone", note(format!("{text}\n")), "no-signature-block"),
        ("no-blank-line", "Text and signature run together", note(format!("{text}\n{signature}\n")), "no-signature-block"),
        ("unfinished", "No newline at the end", note(plain.trim_end().to_owned()), "unfinished-line"),
        ("carriage-return", "Lines end in a newline only", note(plain.replacen('\n', "\r\n", 1)), "control-character"),
        ("leading-zero", "Sizes have none", signed(&format!("{origin}\n021\n{root}\n")), "text"),
        ("signed-size", "Nor a sign", signed(&format!("{origin}\n+21\n{root}\n")), "text"),
        ("short-root", "31 bytes", signed(&format!("{origin}\n21\n{}\n", &root[..42])), "text"),
        ("missing-root", "Two lines", signed(&format!("{origin}\n21\n")), "text"),
        ("empty-extension", "An empty line before another", signed(&format!("{text}\n\nmore\n")), "text"),
    ] {
        cases.bad(&format!("checkpoint-refuses-{name}"), description, "verify", with(&good, change), kind);
    }
    keys(cases, &log_key);
    quorums(cases, &published);
}

fn keys(cases: &mut Cases, good: &str) {
    let key = |key: &str| json!({ "key": key });
    cases.good("key", "NAME+ID+BASE64", "parse-key", key(good));
    let (name, rest) = good.split_once('+').unwrap();
    let (id, encoded) = rest.split_once('+').unwrap();
    // The identity point, of small order, under its own right id.
    let weak = {
        use base64::Engine as _;
        use sha2::Digest as _;
        let mut bytes = [0; 33];
        (bytes[0], bytes[1]) = (1, 1);
        let digest = sha2::Sha256::new().chain_update(name).chain_update(b"\n").chain_update(bytes).finalize();
        let id: [u8; 4] = digest[..4].try_into().unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("{name}+{}+{encoded}", hex::encode(id))
    };
    for (label, description, given, kind) in [
        ("other-id", "The id is of another key", format!("{name}+00000000+{encoded}"), "key"),
        ("capital-id", "Ids are in lower case", format!("{name}+{}+{encoded}", id.to_uppercase()), "key"),
        ("no-name", "Nothing before the first plus", format!("+{id}+{encoded}"), "name"),
        ("space-in-name", "Names have no spaces", format!("a b+{id}+{encoded}"), "name"),
        ("short", "32 bytes", format!("{name}+{id}+{}", &encoded[..43]), "key"),
        ("small-order", "A public key that every message verifies under", weak, "key"),
    ] {
        cases.bad(&format!("key-refuses-{label}"), description, "parse-key", key(&given), kind);
    }
}

fn quorums(cases: &mut Cases, published: &Published) {
    let world = &published.world;
    let witness_keys: Vec<_> = world.witnesses.iter().map(|key| key.verifying_key().to_string()).collect();
    let good = json!({
        "log_key": world.logs[0].verifying_key().to_string(), "witness_keys": witness_keys, "quorum": 2,
    });
    let cosigned = |by: &[(usize, u64)]| json!({ "note": world.checkpoint(&published.log, by).note().to_string() });
    let stranger = {
        let mut checkpoint = world.checkpoint(&published.log, &[(0, 100)]);
        cosign(&mut checkpoint, &witness_key("witness/stranger", 0x97), 200);
        json!({ "note": checkpoint.note().to_string() })
    };
    for (name, description, change) in [
        ("none", "Nobody cosigned", cosigned(&[])),
        ("one-of-two", "Too few: no time", cosigned(&[(0, 100)])),
        ("two", "The second newest time", cosigned(&[(0, 100), (2, 300)])),
        ("three", "The second newest of three", cosigned(&[(0, 100), (2, 300), (3, 200)])),
        ("one-witness-twice", "Counts once, with its newest", cosigned(&[(0, 100), (0, 300)])),
        ("one-ahead", "One witness alone moves nothing forward", cosigned(&[(0, 100), (2, 4_000_000_000)])),
        ("stranger", "An unknown witness does not count", stranger),
    ] {
        cases.good(&format!("quorum-{name}"), description, "quorum", with(&good, change));
    }
    let note = world.checkpoint(&published.log, &[(0, 100), (2, 300)]).note().to_string();
    let other = World::new().checkpoint(&lanyard_core::log::Log::new(), &[(0, 100)]).note().to_string();
    // A line of the same witness, made for another checkpoint.
    let line = other.lines().last().unwrap();
    let mut lines: Vec<&str> = note.lines().collect();
    let place = lines.iter().position(|it| it.contains(" witness/trustee ")).unwrap();
    lines[place] = line;
    let replayed = json!({ "note": lines.join("\n") + "\n" });
    let description = "A cosignature of another checkpoint";
    cases.bad("quorum-refuses-replayed", description, "quorum", with(&good, replayed), "bad");
    let log_key = good["log_key"].clone();
    let wrong = with(&good, json!({ "note": note, "witness_keys": [log_key] }));
    cases.bad("quorum-refuses-log-key", "A log's key is no witness's", "quorum", wrong, "key/wrong-algorithm");
}

use lanyard_core::head::{DirectoryHead, MapHead, verify_head};
use lanyard_core::ids::{Audience, Authority, Epoch, Hash, Origin, Timestamp};
use lanyard_core::log::InclusionProof;
use lanyard_core::map::Commitment;
use lanyard_core::note::{Note, VerifyingKey};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, flipped, hexed, run, with};
use crate::world::{Published, SIZE, event, log_with};

pub(crate) const FILE: FileOf = FileOf {
    description: "Map heads: `lanyard map head v1\\n`, event (length u32 and bytes), authority (1: committee 1, police 2), size of the log that it \
        is the last leaf of (8), milliseconds (8), manifest hash (32), live epoch (4), number of directories (1), then for each, \
        ascending: epoch (4), audience (1: gate 1, police 2, sponsor 3), root (32), depth (1), count (4), commitment of the audience \
        key (32), hash of the sealed profile table (32). Big-endian. A verifier accepts a head as leaf N-1 of a signed checkpoint of \
        size N and no other.",
    shared: || Value::Null,
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    match operation {
        "encode" => run(head(input).to_bytes()).map(hexed),
        "decode" => run(MapHead::from_bytes(&input.bytes("bytes"))).map(|head| shown(&head)),
        "verify" => {
            let origin = Origin::new(&input.event(), input.authority());
            let key = run(VerifyingKey::parse(input.text("log_key")))?;
            let note = run(Note::parse(input.text("checkpoint")))?;
            let checkpoint = run(lanyard_core::checkpoint::verify_checkpoint(&note, &key))?;
            let hashes = input.texts("inclusion").into_iter();
            let hashes = hashes.map(|it| Hash::new(hex::decode(it).unwrap().try_into().unwrap()));
            let inclusion = run(InclusionProof::new(hashes.collect()))?;
            let head = run(verify_head(&origin, &checkpoint, &input.bytes("head"), &inclusion))?;
            Ok(json!({ "leaf_hash": hexed(head.leaf_hash().as_bytes()) }))
        }
        other => panic!("no operation {other}"),
    }
}

fn head(input: &Input<'_>) -> MapHead {
    let directory = |directory: Input<'_>| DirectoryHead {
        epoch: directory.epoch(),
        audience: directory.audience(),
        commitment: Commitment {
            root: directory.hash("root"),
            depth: directory.u8("depth"),
            count: directory.u32("count"),
        },
        audience_key: directory.hash("audience_key_commitment"),
        profiles: directory.hash("profiles_hash"),
    };
    MapHead {
        event: input.event(),
        authority: input.authority(),
        size: input.u64("size"),
        time: input.time("time"),
        manifest: input.hash("manifest"),
        live_epoch: Epoch::new(input.u32("live_epoch")),
        directories: input.list("directories").into_iter().map(directory).collect(),
    }
}

fn shown(head: &MapHead) -> Value {
    let directory = |directory: &DirectoryHead| {
        json!({
            "epoch": directory.epoch.get(), "audience": directory.audience.name(),
            "root": hexed(directory.commitment.root.as_bytes()), "depth": directory.commitment.depth,
            "count": directory.commitment.count,
            "audience_key_commitment": hexed(directory.audience_key.as_bytes()),
            "profiles_hash": hexed(directory.profiles.as_bytes()),
        })
    };
    json!({
        "event": head.event.as_str(), "authority": head.authority.name(), "size": head.size, "time": head.time.millis(),
        "manifest": hexed(head.manifest.as_bytes()), "live_epoch": head.live_epoch.get(),
        "directories": head.directories.iter().map(directory).collect::<Vec<_>>(),
    })
}

fn sample() -> MapHead {
    let directory = |epoch: u32, audience: Audience| DirectoryHead {
        epoch: Epoch::new(epoch),
        audience,
        commitment: Commitment { root: Hash::new([audience.byte(); 32]), depth: 3, count: 40 },
        audience_key: Hash::new([0xa0; 32]),
        profiles: Hash::new([0xb0; 32]),
    };
    MapHead {
        event: event(),
        authority: Authority::Committee,
        size: 5,
        time: Timestamp::from_millis(1_847_000_002_500),
        manifest: Hash::new([0x77; 32]),
        live_epoch: Epoch::new(3),
        directories: vec![
            directory(3, Audience::Gate),
            directory(3, Audience::Police),
            directory(4, Audience::Gate),
        ],
    }
}

fn cases(cases: &mut Cases) {
    let good = shown(&sample());
    let directories = good["directories"].as_array().unwrap().clone();
    cases.good("encode", "Three directories", "encode", good.clone());
    cases.good("encode-none", "Before anything is published", "encode", with(&good, json!({ "directories": [] })));
    let police = json!({ "authority": "police", "directories": [directories[0]] });
    cases.good("encode-police", "The police publish for gates", "encode", with(&good, police));
    let order = [directories[1].clone(), directories[0].clone()];
    let twice = [directories[0].clone(), directories[0].clone()];
    let far = with(&directories[0], json!({ "epoch": 5 }));
    let past = with(&directories[0], json!({ "epoch": 2 }));
    for (name, description, change) in [
        ("size-0", "A log that holds it has a leaf", json!({ "size": 0 })),
        ("out-of-order", "Directories descending", json!({ "directories": order })),
        ("directory-twice", "One directory twice", json!({ "directories": twice })),
        ("far-epoch", "Neither the live epoch nor the next", json!({ "directories": [far] })),
        ("past-epoch", "An epoch that has ended", json!({ "directories": [past] })),
        ("police-for-police", "The police publish for gates only", json!({ "authority": "police", "directories": [directories[1]] })),
    ] {
        cases.bad(&format!("encode-refuses-{name}"), description, "encode", with(&good, change), "contents");
    }

    let bytes = sample().to_bytes().unwrap();
    let decode = |bytes: &[u8]| json!({ "bytes": hexed(bytes) });
    cases.good("decode", "The way back", "decode", decode(&bytes));
    let after_event = 20 + 4 + event().as_bytes().len();
    let changed = |index: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[index] = byte;
        bytes
    };
    let count = after_event + 1 + 8 + 8 + 32 + 4;
    for (name, description, bytes, kind) in [
        ("other-magic", "Version 2", changed(18, b'2'), "codec/invalid"),
        ("bad-event", "An event id in capitals", changed(24, b'G'), "codec/invalid"),
        ("authority-3", "No such authority", changed(after_event, 3), "codec/invalid"),
        ("seven-directories", "At most six", changed(count, 7), "codec/invalid"),
        ("audience-4", "No such audience", changed(count + 5, 4), "codec/invalid"),
        ("depth-29", "Too deep", changed(count + 1 + 5 + 32, 29), "codec/invalid"),
        ("truncated", "The last byte is missing", bytes[..bytes.len() - 1].to_vec(), "codec/truncated"),
        ("trailing", "One byte too many", [&bytes[..], &[0]].concat(), "codec/trailing"),
        ("size-0", "Decoded, it is refused all the same", changed(after_event + 8, 0), "contents"),
    ] {
        cases.bad(&format!("decode-refuses-{name}"), description, "decode", decode(&bytes), kind);
    }
    verification(cases);
}

fn verification(cases: &mut Cases) {
    let published = Published::new();
    let bytes = published.head.to_bytes().unwrap();
    let inclusion = published.log.inclusion_proof(SIZE - 1, SIZE).unwrap();
    let inclusion: Vec<_> = inclusion.hashes().iter().map(|hash| hexed(hash.as_bytes())).collect();
    let good = json!({
        "event": event().as_str(), "authority": "committee",
        "log_key": published.world.logs[0].verifying_key().to_string(),
        "checkpoint": published.checkpoint.note().to_string(), "head": hexed(&bytes), "inclusion": inclusion,
    });
    cases.good("verify", "The newest leaf of a signed log", "verify", good.clone());
    let mut smaller = published.head.clone();
    smaller.size -= 1;
    // The log's signer put a head of another size at its end.
    let lying = log_with(&smaller);
    let lying_checkpoint = published.world.checkpoint(&lying, &[]);
    let time = 20 + 4 + event().as_bytes().len() + 1 + 8 + 7;
    for (name, description, change, kind) in [
        ("mutated-head", "One bit of its time flipped", json!({ "head": hexed(flipped(&bytes, time)) }), "log/not-included"),
        ("missing-hash", "The proof is too short", json!({ "inclusion": inclusion[1..] }), "log/length"),
        ("other-authority", "The other authority's was asked for", json!({ "authority": "police" }), "other-log"),
        ("other-event", "Another event's was asked for", json!({ "event": "games-2032" }), "other-log"),
        (
            "other-size",
            "It says another size than the checkpoint",
            json!({ "head": hexed(smaller.to_bytes().unwrap()), "checkpoint": lying_checkpoint.note().to_string() }),
            "size",
        ),
    ] {
        cases.bad(&format!("verify-refuses-{name}"), description, "verify", with(&good, change), kind);
    }
}

use lanyard_core::ids::Handle;
use lanyard_core::map::{Commitment, Delta, Map, MapProof, Prefix, PrefixProof, RecordHash, Row};
use lanyard_core::record::SealedRecord;
use rand::Rng as _;
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, flipped, hexed, run, with};
use crate::world::rng;

pub(crate) const FILE: FileOf = FileOf {
    description: "The directory's map. A flat Merkle tree over 2^depth buckets by the top bits of the handle; BLAKE3 keyed by \
        derive_key(context, ``), messages padded with zeros to whole blocks of 64 bytes. record hash: `lanyard v1 record hash` over \
        version (4), sealed record (48); bucket: `lanyard v1 bucket` over count (4), (handle (16), record hash (32))* by ascending \
        handle; node: `lanyard v1 node` over left (32), right (32). A row is handle (16), version (4), sealed record (48).",
    shared: || Value::Null,
    cases,
    run: operate,
};

const DEPTH: u8 = 3;

fn rows(count: u8) -> Vec<Row> {
    let mut rng = rng(0x3a);
    let row = |version: u8| {
        let (mut handle, mut sealed) = ([0; 16], [0; 48]);
        rng.fill_bytes(&mut handle);
        rng.fill_bytes(&mut sealed);
        let record = SealedRecord::new(version.into(), sealed).unwrap();
        Row { handle: Handle::new(handle), record }
    };
    (1..=count).map(row).collect()
}

fn listed(rows: &[Row]) -> Value {
    json!(rows.iter().map(|row| hexed(row.to_bytes())).collect::<Vec<_>>())
}

fn shown(commitment: &Commitment) -> Value {
    let Commitment { root, depth, count } = commitment;
    json!({ "root": hexed(root.as_bytes()), "depth": depth, "count": count })
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let map = || -> Result<Map, String> {
        let rows = input.texts("rows").into_iter().map(|row| {
            let bytes = hex::decode(row).unwrap().try_into().unwrap();
            run(Row::from_bytes(&bytes))
        });
        run(Map::build(input.u8("depth"), rows.collect::<Result<Vec<_>, _>>()?))
    };
    let commitment = || {
        let commitment = input.inner("commitment");
        let (depth, count) = (commitment.u8("depth"), commitment.u32("count"));
        Commitment { root: commitment.hash("root"), depth, count }
    };
    match operation {
        "record-hash" => {
            let record = run(SealedRecord::new(input.u32("version"), input.array("sealed")))?;
            Ok(hexed(RecordHash::of(&record).hash().as_bytes()))
        }
        "build" => Ok(shown(&map()?.commitment())),
        "apply" => {
            let mut map = map()?;
            let delta = run(Delta::from_bytes(&input.bytes("delta")))?;
            let _undo = run(map.apply(&delta))?;
            Ok(shown(&map.commitment()))
        }
        "prove" => Ok(hexed(map()?.prove(&input.handle()).to_bytes())),
        "prove-prefix" => Ok(hexed(map()?.prove_prefix(prefix(input)?).to_bytes())),
        "verify" => {
            let proof = run(MapProof::from_bytes(&input.bytes("proof")))?;
            let found = run(proof.verify(&commitment(), &input.handle()))?;
            Ok(json!({ "record_hash": found.map(|hash| hexed(hash.hash().as_bytes())) }))
        }
        "verify-prefix" => {
            let proof = run(PrefixProof::from_bytes(&input.bytes("proof")))?;
            Ok(listed(&run(proof.verify(&commitment(), prefix(input)?))?))
        }
        other => panic!("no operation {other}"),
    }
}

/// The prefix: its bits, and as many bytes as they need.
fn prefix(input: &Input<'_>) -> Result<Prefix, String> {
    let mut top = [0; 8];
    let bytes = input.bytes("prefix");
    top[..bytes.len()].copy_from_slice(&bytes);
    run(Prefix::new(input.u8("prefix_bits"), u64::from_be_bytes(top)))
}

fn cases(cases: &mut Cases) {
    let all = rows(24);
    let input = json!({ "version": 1, "sealed": hexed([0x5e; 48]) });
    cases.good("record-hash", "A sealed record and its version", "record-hash", input);
    let build = |depth: u8, rows: &[Row]| json!({ "depth": depth, "rows": listed(rows) });
    let mut reversed = all.clone();
    reversed.reverse();
    for (name, description, input) in [
        ("empty", "No row, one bucket", build(0, &[])),
        ("empty-deep", "No row, 256 buckets", build(8, &[])),
        ("one", "One row, one bucket", build(0, &all[..1])),
        ("rows", "24 rows in 8 buckets", build(DEPTH, &all)),
        ("rows-reversed", "The order in which rows come is nothing", build(DEPTH, &reversed)),
        ("rows-deeper", "The depth is part of the root", build(DEPTH + 1, &all)),
    ] {
        cases.good(&format!("build-{name}"), description, "build", input);
    }
    let twice = [all[0], all[0]];
    cases.bad("build-refuses-duplicate", "One handle twice", "build", build(0, &twice), "duplicate");
    cases.bad("build-refuses-depth-29", "Too deep", "build", build(29, &[]), "depth");
    let map = Map::build(DEPTH, all.clone()).unwrap();
    deltas(cases, &all);
    proofs(cases, &map, &all);
    prefix_proofs(cases, &map);
}

fn deltas(cases: &mut Cases, all: &[Row]) {
    let before = json!({ "depth": DEPTH, "rows": listed(&all[..20]) });
    let apply = |delta: &[u8]| with(&before, json!({ "delta": hexed(delta) }));
    let replaced = Row { handle: all[3].handle, record: SealedRecord::new(99, [0x99; 48]).unwrap() };
    let removed = vec![all[5].handle, all[7].handle];
    let delta = Delta::new(removed, vec![all[20], replaced]).unwrap().to_bytes();
    cases.good("apply", "Two rows removed, one replaced, one inserted", "apply", apply(&delta));
    cases.good("apply-nothing", "No change", "apply", apply(&[0; 8]));
    let missing = Delta::new(vec![all[23].handle], Vec::new()).unwrap().to_bytes();
    let mut out_of_order = Delta::new(vec![all[0].handle, all[1].handle], Vec::new()).unwrap().to_bytes();
    out_of_order[4..36].rotate_left(16);
    let mut version_0 = Delta::new(Vec::new(), vec![all[20]]).unwrap().to_bytes();
    version_0[24..28].fill(0);
    let mut overlapping = Delta::new(vec![all[3].handle], Vec::new()).unwrap().to_bytes();
    overlapping.truncate(20);
    overlapping.extend([0, 0, 0, 1]);
    overlapping.extend(replaced.to_bytes());
    for (name, description, delta, kind) in [
        ("missing", "Removes what is not there", missing, "missing"),
        ("out-of-order", "Handles descending", out_of_order, "invalid"),
        ("overlap", "Removes and puts one handle", overlapping, "invalid"),
        ("version-0", "Versions start at 1", version_0, "invalid"),
        ("truncated", "The last byte is missing", delta[..delta.len() - 1].to_vec(), "truncated"),
        ("trailing", "One byte too many", [&delta[..], &[0]].concat(), "trailing"),
        ("huge-count", "Says 2^32 - 1 rows and has none", vec![0xff, 0xff, 0xff, 0xff], "truncated"),
    ] {
        cases.bad(&format!("apply-refuses-{name}"), description, "apply", apply(&delta), kind);
    }
}

fn proofs(cases: &mut Cases, map: &Map, all: &[Row]) {
    let commitment = shown(&map.commitment());
    // One that shares its bucket.
    let shares = |row: &&Row| map.rows_under(Prefix::of(&row.handle, DEPTH)).count() > 2;
    let present = all.iter().find(shares).unwrap().handle;
    let mut absent = *present.as_bytes();
    absent[15] ^= 1;
    let absent = Handle::new(absent);
    let prove = |handle: &Handle| json!({ "depth": DEPTH, "rows": listed(all), "handle": hexed(handle.as_bytes()) });
    cases.good("prove", "The bucket, and the hashes beside its way up", "prove", prove(&present));
    let proof = map.prove(&present).to_bytes();
    let verify = |handle: &Handle, proof: &[u8]| {
        json!({ "commitment": commitment, "handle": hexed(handle.as_bytes()), "proof": hexed(proof) })
    };
    let good = verify(&present, &proof);
    cases.good("verify-presence", "Yields the record's hash", "verify", good.clone());
    cases.good("verify-absence", "The same bucket proves what is not in it", "verify", verify(&absent, &proof));
    let empty = Map::build(0, []).unwrap();
    let input = json!({
        "commitment": shown(&empty.commitment()), "handle": hexed(present.as_bytes()),
        "proof": hexed(empty.prove(&present).to_bytes()),
    });
    cases.good("verify-absence-in-empty-map", "Nothing is in an empty map", "verify", input);

    // One byte of count, siblings of 32, four bytes of count, entries of 48.
    let entries = 1 + 32 * usize::from(DEPTH) + 4;
    let omitted = {
        let at = (entries..proof.len()).step_by(48).find(|at| proof[*at..][..16] == *present.as_bytes()).unwrap();
        let mut omitted = [&proof[..at], &proof[at + 48..]].concat();
        omitted[entries - 1] -= 1;
        omitted
    };
    let mut swapped = proof.clone();
    swapped[entries..entries + 96].rotate_left(48);
    let fewer = [&[DEPTH - 1], &proof[33..]].concat();
    let more = [&[DEPTH + 1][..], &[0; 32], &proof[1..]].concat();
    let mut siblings_swapped = proof.clone();
    siblings_swapped[1..65].rotate_left(32);
    let elsewhere = all.iter().find(|row| Prefix::of(&row.handle, DEPTH) != Prefix::of(&present, DEPTH)).unwrap();
    let smaller = Map::build(DEPTH, all[..23].to_vec()).unwrap();
    for (name, description, input, kind) in [
        ("omitted-record", "The record is left out of the bucket", verify(&present, &omitted), "root"),
        ("mutated-handle", "One bit of an entry's handle flipped", verify(&present, &flipped(&proof, entries + 15)), "root"),
        ("mutated-record-hash", "One bit of a record's hash flipped", verify(&present, &flipped(&proof, entries + 16)), "root"),
        ("mutated-sibling", "One bit of a sibling flipped", verify(&present, &flipped(&proof, 1)), "root"),
        ("swapped-siblings", "Siblings in another order", verify(&present, &siblings_swapped), "root"),
        ("swapped-entries", "Entries out of order", verify(&present, &swapped), "rows"),
        ("other-bucket", "A proof of another bucket", verify(&elsewhere.handle, &proof), "rows"),
        ("missing-sibling", "One hash too few", verify(&present, &fewer), "length"),
        ("extra-sibling", "One hash too many", verify(&present, &more), "length"),
        ("truncated", "The last byte is missing", verify(&present, &proof[..proof.len() - 1]), "truncated"),
        ("trailing", "One byte too many", verify(&present, &[&proof[..], &[0]].concat()), "trailing"),
        ("other-root", "Of another map", with(&good, json!({ "commitment": shown(&smaller.commitment()) })), "root"),
    ] {
        cases.bad(&format!("verify-refuses-{name}"), description, "verify", input, kind);
    }
}

fn prefix_proofs(cases: &mut Cases, map: &Map) {
    let rows: Vec<Row> = map.rows().collect();
    let commitment = shown(&map.commitment());
    let prefix_of = |row: &Row, bits: u8| {
        let top = Prefix::of(&row.handle, bits);
        (top, hexed(&top.top().to_be_bytes()[..usize::from(bits.div_ceil(8))]))
    };
    for bits in [0, 2, 3, 5, 16] {
        let (prefix, text) = prefix_of(&rows[4], bits);
        let proof = map.prove_prefix(prefix).to_bytes();
        let input = json!({ "commitment": commitment, "prefix": text, "prefix_bits": bits, "proof": hexed(proof) });
        let description = "All rows under a prefix, provably complete";
        cases.good(&format!("verify-prefix-of-{bits}-bits"), description, "verify-prefix", input);
    }
    let (prefix, text) = prefix_of(&rows[4], 2);
    let proof = map.prove_prefix(prefix);
    let bytes = proof.to_bytes();
    let good = json!({ "commitment": commitment, "prefix": text, "prefix_bits": 2, "proof": hexed(&bytes) });
    let prove = json!({ "depth": DEPTH, "rows": listed(&rows), "prefix": text, "prefix_bits": 2 });
    cases.good("prove-prefix", "Rows whole, hashes beside the way up", "prove-prefix", prove);
    // Count and two siblings, two counts of zero, the rows' count.
    let start = 1 + 64 + 4 + 4 + 4;
    let mut omitted = [&bytes[..start], &bytes[start + Row::SIZE..]].concat();
    omitted[start - 1] -= 1;
    let mut swapped = bytes.clone();
    swapped[start..start + 2 * Row::SIZE].rotate_left(Row::SIZE);
    let change = |bytes: &[u8]| with(&good, json!({ "proof": hexed(bytes) }));
    for (name, description, input, kind) in [
        ("omitted-row", "A row is left out", change(&omitted), "root"),
        ("mutated-row", "One bit of a sealed record flipped", change(&flipped(&bytes, start + 40)), "root"),
        ("swapped-rows", "Rows out of order", change(&swapped), "rows"),
        ("narrower-prefix", "Rows outside the prefix asked for", with(&good, json!({ "prefix_bits": 3 })), "length"),
        ("truncated", "The last byte is missing", change(&bytes[..bytes.len() - 1]), "truncated"),
        ("bits-after-prefix", "Bits beyond those that count are set", with(&good, json!({ "prefix": "ff" })), "prefix"),
    ] {
        cases.bad(&format!("verify-prefix-refuses-{name}"), description, "verify-prefix", input, kind);
    }
}

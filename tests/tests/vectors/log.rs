use lanyard_core::ids::Hash;
use lanyard_core::log::{
    ConsistencyProof, InclusionProof, Log, empty_root, leaf_hash, verify_consistency,
    verify_inclusion,
};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run, with};

pub(crate) const FILE: FileOf = FileOf {
    description: "The log of map heads: RFC 6962 §2.1 with SHA-256. Leaf i of the logs here is the one byte i. Proofs list their hashes as \
        RFC 6962 orders them.",
    shared: || Value::Null,
    cases,
    run: operate,
};

fn log(size: u64) -> Log {
    (0..size).map(|leaf| leaf_hash(&[leaf as u8])).collect()
}

fn listed(hashes: &[Hash]) -> Value {
    json!(hashes.iter().map(|hash| hexed(hash.as_bytes())).collect::<Vec<_>>())
}

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let proof = || -> Vec<Hash> {
        let hashes = input.texts("proof").into_iter();
        hashes.map(|hash| Hash::new(hex::decode(hash).unwrap().try_into().unwrap())).collect()
    };
    match operation {
        "leaf-hash" => Ok(hexed(leaf_hash(&input.bytes("leaf")).as_bytes())),
        "root" => Ok(hexed(log(input.u64("size")).root().as_bytes())),
        "inclusion-proof" => {
            let (index, size) = (input.u64("index"), input.u64("size"));
            run(log(size).inclusion_proof(index, size)).map(|proof| listed(proof.hashes()))
        }
        "consistency-proof" => {
            let (old, new) = (input.u64("old_size"), input.u64("new_size"));
            run(log(new).consistency_proof(old, new)).map(|proof| listed(proof.hashes()))
        }
        "verify-inclusion" => {
            let proof = run(InclusionProof::new(proof()))?;
            let (index, size) = (input.u64("index"), input.u64("size"));
            let (leaf, root) = (input.hash("leaf_hash"), input.hash("root"));
            run(verify_inclusion(&leaf, index, size, &proof, &root)).map(|()| json!("included"))
        }
        "verify-consistency" => {
            let proof = run(ConsistencyProof::new(proof()))?;
            let (old, new) = (input.u64("old_size"), input.u64("new_size"));
            let (old_root, new_root) = (input.hash("old_root"), input.hash("new_root"));
            run(verify_consistency(old, &old_root, new, &new_root, &proof)).map(|()| json!("consistent"))
        }
        other => panic!("no operation {other}"),
    }
}

fn cases(cases: &mut Cases) {
    cases.good("leaf-empty", "The empty leaf", "leaf-hash", json!({ "leaf": "" }));
    cases.good("leaf", "A leaf", "leaf-hash", json!({ "leaf": "00" }));
    for size in [0, 1, 2, 3, 7, 8, 21] {
        cases.good(&format!("root-of-{size}"), "The root at a size", "root", json!({ "size": size }));
    }
    inclusion(cases);
    consistency(cases);
}

fn inclusion(cases: &mut Cases) {
    let input = |index: u64, size: u64| {
        let log = log(size);
        json!({
            "index": index, "size": size, "leaf_hash": hexed(leaf_hash(&[index as u8]).as_bytes()), "root": hexed(log.root().as_bytes()),
            "proof": listed(log.inclusion_proof(index, size).unwrap().hashes()),
        })
    };
    for (index, size) in [(0, 1), (0, 2), (2, 3), (5, 8), (20, 21), (13, 21)] {
        let name = format!("inclusion-of-{index}-in-{size}");
        cases.good(&name, "A leaf is in the log", "verify-inclusion", input(index, size));
    }
    cases.good("prove-inclusion", "A proof", "inclusion-proof", json!({ "index": 13, "size": 21 }));
    let beyond = json!({ "index": 21, "size": 21 });
    cases.bad("prove-inclusion-refuses-beyond", "No such leaf", "inclusion-proof", beyond, "index");

    let good = input(13, 21);
    let hashes = good["proof"].as_array().unwrap().clone();
    let mut swapped = hashes.clone();
    swapped.swap(0, 1);
    let longer = [&hashes[..], &hashes[..1]].concat();
    let endless = vec![hashes[0].clone(); 64];
    let other = hexed(leaf_hash(&[14]).as_bytes());
    for (name, description, change, kind) in [
        ("other-leaf", "Another leaf's hash", json!({ "leaf_hash": other }), "not-included"),
        ("other-index", "Another place", json!({ "index": 12 }), "not-included"),
        ("other-root", "Another log", json!({ "root": hexed(log(20).root().as_bytes()) }), "not-included"),
        ("swapped-hashes", "Hashes in another order", json!({ "proof": swapped }), "not-included"),
        ("missing-hash", "One hash too few", json!({ "proof": hashes[1..] }), "length"),
        ("extra-hash", "One hash too many", json!({ "proof": longer }), "length"),
        ("endless", "64 hashes", json!({ "proof": endless }), "length"),
        ("index-beyond", "A leaf beyond the size", json!({ "index": 21 }), "index"),
        ("empty-log", "Nothing is in an empty log", json!({ "index": 0, "size": 0, "proof": [] }), "index"),
    ] {
        let name = format!("inclusion-refuses-{name}");
        cases.bad(&name, description, "verify-inclusion", with(&good, change), kind);
    }
}

fn consistency(cases: &mut Cases) {
    let input = |old: u64, new: u64| {
        let log = log(new);
        json!({
            "old_size": old, "old_root": hexed(log.root_at(old).unwrap().as_bytes()),
            "new_size": new, "new_root": hexed(log.root().as_bytes()),
            "proof": listed(log.consistency_proof(old, new).unwrap().hashes()),
        })
    };
    for (old, new) in [(0, 0), (0, 5), (1, 2), (4, 8), (7, 21), (16, 21), (21, 21)] {
        let name = format!("consistency-of-{old}-and-{new}");
        cases.good(&name, "The newer log extends the older", "verify-consistency", input(old, new));
    }
    cases.good("prove-consistency", "A proof", "consistency-proof", json!({ "old_size": 7, "new_size": 21 }));
    let shrunk = json!({ "old_size": 21, "new_size": 7 });
    cases.bad("prove-consistency-refuses-shrunk", "A log never shrinks", "consistency-proof", shrunk, "shrunk");

    let good = input(7, 21);
    let hashes = good["proof"].as_array().unwrap().clone();
    let longer = [&hashes[..], &hashes[..1]].concat();
    let other = hexed(log(20).root().as_bytes());
    let forked = hexed(leaf_hash(&[0xff]).as_bytes());
    for (name, description, input, kind) in [
        ("rewritten-history", "The old root is of another log", with(&good, json!({ "old_root": forked })), "inconsistent"),
        ("other-new-root", "The new root is of another log", with(&good, json!({ "new_root": other })), "inconsistent"),
        ("missing-hash", "One hash too few", with(&good, json!({ "proof": hashes[1..] })), "length"),
        ("extra-hash", "One hash too many", with(&good, json!({ "proof": longer })), "length"),
        ("shrunk", "A log never shrinks", with(&good, json!({ "old_size": 21, "new_size": 7 })), "shrunk"),
        ("forked", "Two roots of one size", with(&input(7, 7), json!({ "new_root": forked })), "inconsistent"),
        ("proof-of-equal", "Nothing is to be proved of one size", with(&input(7, 7), json!({ "proof": hashes })), "length"),
        ("empty-old-root", "The root of the empty log is fixed", with(&input(0, 5), json!({ "old_root": forked })), "inconsistent"),
    ] {
        cases.bad(&format!("consistency-refuses-{name}"), description, "verify-consistency", input, kind);
    }
    assert_eq!(log(0).root(), empty_root());
}

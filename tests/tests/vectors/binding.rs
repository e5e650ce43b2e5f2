use lanyard_core::binding::{Binding, BindingSalt};
use lanyard_core::ids::BadgeNumber;
use serde_json::json;

use crate::format::{Cases, FileOf, Input, Outcome, hexed, with};

pub(crate) const FILE: FileOf = FileOf {
    description: "Bindings: keyed_hash(salt, identity keys in byte order | portrait hash, empty if there is none | badge number u32)[..20], \
        each field behind its length (u32, big-endian). Twenty zeros are no binding and agree with nothing.",
    shared: || json!({}),
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    match operation {
        "compute" => {
            let keys = input.texts("identity_keys");
            let keys: Vec<_> = keys.iter().map(|key| hex::decode(key).unwrap()).collect();
            let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
            let salt = BindingSalt::from_bytes(input.array("salt"));
            let portrait = input.find("portrait_hash").map(|_| input.hash("portrait_hash"));
            let number = BadgeNumber::new(input.u32("badge_number"));
            Ok(hexed(Binding::compute(&salt, &keys, portrait.as_ref(), number).as_bytes()))
        }
        "agree" => {
            let [first, second] = ["first", "second"].map(|key| Binding::new(input.array(key)));
            Ok(json!(first.agrees_with(&second)))
        }
        other => panic!("no operation {other}"),
    }
}

fn cases(cases: &mut Cases) {
    let good = json!({
        "salt": hexed([0x5a; 32]), "identity_keys": ["0a0b", "0102"], "portrait_hash": hexed([0x70; 32]), "badge_number": 17,
    });
    for (name, description, change) in [
        ("person", "Two identity keys and a portrait", json!({})),
        ("keys-in-order", "The same: keys are sorted", json!({ "identity_keys": ["0102", "0a0b"] })),
        ("no-portrait", "Without a portrait", json!({ "portrait_hash": null })),
        ("no-key", "Without an identity key", json!({ "identity_keys": [] })),
        ("other-key", "Another person behind the badge", json!({ "identity_keys": ["0102", "0a0c"] })),
        ("other-portrait", "Another portrait", json!({ "portrait_hash": hexed([0x71; 32]) })),
        ("other-badge", "Another badge", json!({ "badge_number": 18 })),
        ("other-salt", "Another salt", json!({ "salt": hexed([0x5b; 32]) })),
        ("keys-not-joined", "Lengths keep keys apart", json!({ "identity_keys": ["01020a0b"] })),
    ] {
        cases.good(&format!("binding-{name}"), description, "compute", with(&good, change));
    }
    for (name, description, first, second) in [
        ("equal", "Equal ones agree", [1; 20], [1; 20]),
        ("different", "Different ones do not", [1; 20], [2; 20]),
        ("none", "Two missing ones do not: nothing was submitted", [0; 20], [0; 20]),
    ] {
        let input = json!({ "first": hexed(first), "second": hexed(second) });
        cases.good(&format!("agree-{name}"), description, "agree", input);
    }
}

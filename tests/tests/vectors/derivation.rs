use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{IssuingKey, Seed};
use lanyard_core::ids::{Audience, Authority, BadgeNumber, PrintNumber};
use serde_json::json;

use crate::format::{Cases, FileOf, Input, Outcome, hexed};
use crate::world::EVENT;

pub(crate) const FILE: FileOf = FileOf {
    description: "What is derived from what, with BLAKE3; `|` joins fields, each behind its length (u32, big-endian). \
        badge secret s = derive_key(`lanyard v1 badge`, issuing key | event | badge number u32 | print number u16); \
        seed S = derive_key(`lanyard v1 seed`, s | authority | audience); epoch key K = keyed_hash(S, `epoch` | event | epoch u32); \
        handle = keyed_hash(K, `handle`)[..16]; record key = keyed_hash(K, `record` | audience key G); \
        commitment of G = derive_key(`lanyard v1 audience key commitment`, G).",
    shared: || json!({ "event": EVENT }),
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    Ok(match operation {
        "badge-secret" => {
            let key = IssuingKey::from_bytes(input.array("issuing_key"));
            let number = BadgeNumber::new(input.u32("badge_number"));
            let print = PrintNumber::new(input.u16("print_number"));
            hexed(key.badge_secret(&input.event(), number, print).expose_bytes())
        }
        "seed" => hexed(input.badge_secret().seed(input.authority(), input.audience()).expose_bytes()),
        "epoch-key" => {
            let seed = Seed::from_bytes(input.array("seed"));
            hexed(seed.epoch_key(&input.event(), input.epoch()).expose_bytes())
        }
        "handle" => hexed(input.epoch_key().handle().as_bytes()),
        "record-key" => {
            let audience_key = AudienceKey::from_bytes(input.array("audience_key"));
            hexed(input.epoch_key().record_key(&audience_key).expose_bytes())
        }
        "audience-key-commitment" => {
            hexed(AudienceKey::from_bytes(input.array("audience_key")).commitment().as_bytes())
        }
        other => panic!("no operation {other}"),
    })
}

fn cases(cases: &mut Cases) {
    let issuing = [0x11; 32];
    let secret = |name: &str, description: &str, number: u32, print: u16, cases: &mut Cases| {
        let input = json!({ "issuing_key": hexed(issuing), "badge_number": number, "print_number": print });
        cases.good(name, description, "badge-secret", input);
    };
    secret("badge-secret", "The first print of a badge", 1, 1, cases);
    secret("badge-secret-of-second-print", "A reprint is another badge", 1, 2, cases);
    secret("badge-secret-of-last-number", "The largest numbers", u32::MAX, u16::MAX, cases);
    let input = json!({
        "event": "games-2032", "issuing_key": hexed(issuing), "badge_number": 1, "print_number": 1,
    });
    cases.good("badge-secret-of-other-event", "The event is part of it", "badge-secret", input);
    for (authority, audience) in Authority::ALL
        .into_iter()
        .flat_map(|authority| Audience::published_by(authority).iter().map(move |it| (authority, *it)))
    {
        let input = json!({
            "badge_secret": hexed([0x22; 32]), "authority": authority.name(), "audience": audience.name(),
        });
        let name = format!("seed-of-{authority}-for-{audience}");
        cases.good(&name, "One seed for each authority and audience", "seed", input);
    }
    for epoch in [0, 1, 20_000, u32::MAX] {
        let input = json!({ "seed": hexed([0x33; 32]), "epoch": epoch });
        cases.good(&format!("epoch-key-{epoch}"), "One key for each epoch", "epoch-key", input);
    }
    let key = hexed([0x44; 32]);
    cases.good("handle", "The lookup key", "handle", json!({ "epoch_key": key }));
    for byte in [0x55, 0x56] {
        let input = json!({ "epoch_key": key, "audience_key": hexed([byte; 32]) });
        let name = format!("record-key-under-{byte:02x}");
        cases.good(&name, "The key that seals the record", "record-key", input);
    }
    let input = json!({ "audience_key": hexed([0x55; 32]) });
    cases.good("audience-key-commitment", "What the map head says of it", "audience-key-commitment", input);
}

use lanyard_core::badge::{BadgeText, CodeEpochs, Presented, ScopedCode};
use lanyard_core::ids::{Audience, Authority, Epoch};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, hexed, run};
use crate::world::{EVENT, event};

pub(crate) const FILE: FileOf = FileOf {
    description: "The texts that carry badges. Badge: `LY1:` and base45 (RFC 9285) of version (1 byte), event tag (4), badge secret \
        (32), checksum (4). Scoped code: `LYS:` and base45 of version, event tag, audience (1), epoch (4), the committee's epoch key \
        (32), for gates the police's (32); around a change of epochs the same keys of the next epoch; checksum (4). Tag and checksums are the first 4 bytes of derive_key with the contexts \
        `lanyard v1 event tag` of the event, `lanyard v1 badge checksum` and `lanyard v1 scoped code checksum` of all before.",
    shared: || json!({ "event": EVENT }),
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let event = input.event();
    match operation {
        "badge-text" => Ok(json!(BadgeText::new(&input.badge_secret(), &event).expose_str())),
        "parse-badge-text" => {
            let secret = run(BadgeText::parse(input.text("text"), &event))?;
            Ok(hexed(secret.expose_bytes()))
        }
        "scoped-code" => {
            let secret = input.badge_secret();
            let epoch = input.epoch();
            let epochs = if input.is("next_too") { CodeEpochs::both(epoch) } else { epoch.into() };
            let code = ScopedCode::derive(&secret, &event, input.audience(), epochs);
            Ok(json!(code.to_text(&event).as_str()))
        }
        "parse-scoped-code" => {
            run(ScopedCode::parse(input.text("text"), &event)).map(|code| scoped(&code))
        }
        "parse-presented" => run(Presented::parse(input.text("text"), &event)).map(|it| match it {
            Presented::Badge(secret) => json!({ "badge_secret": hexed(secret.expose_bytes()) }),
            Presented::Scoped(code) => scoped(&code),
        }),
        other => panic!("no operation {other}"),
    }
}

fn scoped(code: &ScopedCode) -> Value {
    let epochs = code.epochs();
    let of = |epoch: Epoch| {
        let key = |authority| code.key(authority, epoch).map(|key| hexed(key.expose_bytes()));
        json!({
            "epoch": epoch.get(),
            "committee": key(Authority::Committee),
            "police": key(Authority::Police),
        })
    };
    let mut keys = vec![of(epochs.oldest())];
    if epochs.newest() > epochs.oldest() {
        keys.push(of(epochs.newest()));
    }
    json!({ "audience": code.audience().name(), "keys": keys })
}

/// A text of these bytes, with a checksum that is right.
fn sealed(prefix: &str, context: &str, mut bytes: Vec<u8>) -> String {
    let checksum = blake3::derive_key(context, &bytes);
    bytes.extend_from_slice(&checksum[..4]);
    format!("{prefix}{}", base45::encode(bytes))
}

fn cases(cases: &mut Cases) {
    const SECRET: [u8; 32] = [0x5e; 32];
    let secret = lanyard_core::badge::BadgeSecret::from_bytes(SECRET);
    let text = |text: &str| json!({ "text": text });
    cases.good("badge", "A badge's text", "badge-text", json!({ "badge_secret": hexed(SECRET) }));
    cases.good("badge-of-zeros", "The smallest secret", "badge-text", json!({ "badge_secret": hexed([0; 32]) }));
    let good = BadgeText::new(&secret, &event());
    let good = good.expose_str();
    cases.good("parse-badge", "The way back", "parse-badge-text", text(good));
    cases.good("present-badge", "Told by its first characters", "parse-presented", text(good));

    let tag = &blake3::derive_key("lanyard v1 event tag", EVENT.as_bytes())[..4];
    let badge = |bytes: &[&[u8]]| sealed("LY1:", "lanyard v1 badge checksum", bytes.concat());
    let other_tag = &blake3::derive_key("lanyard v1 event tag", b"games-2032")[..4];
    let mut wrong_sum = base45::decode(&good[4..]).unwrap();
    wrong_sum[40] ^= 1;
    let swapped = format!("{}{}{}", &good[..10], if &good[10..11] == "A" { "B" } else { "A" }, &good[11..]);
    for (name, description, given, kind) in [
        ("empty", "Nothing", String::new(), "not-a-lanyard-code"),
        ("url", "Another code", "https://example.org/a".to_owned(), "not-a-lanyard-code"),
        ("lower-case-prefix", "The prefix is in capitals", good.replacen("LY1", "ly1", 1), "not-a-lanyard-code"),
        ("leading-space", "Nothing stands before it", format!(" {good}"), "not-a-lanyard-code"),
        ("scoped-prefix", "A badge's bytes behind the other prefix", good.replacen("LY1", "LYS", 1), "not-a-lanyard-code"),
        ("truncated", "The last character is missing", good[..good.len() - 1].to_owned(), "length"),
        ("trailing-newline", "One character too many", format!("{good}\n"), "length"),
        ("not-base45", "A character that base45 does not have", format!("{}a{}", &good[..10], &good[11..]), "base45"),
        ("base45-overflow", "Three characters that stand for more than 65,535", format!("LY1::::{}", &good[7..]), "base45"),
        ("version-2", "An unknown version", badge(&[&[2], tag, &SECRET]), "version"),
        ("checksum", "A checksum with one bit flipped", format!("LY1:{}", base45::encode(&wrong_sum)), "checksum"),
        ("misread-character", "One character misread", swapped, "checksum"),
        ("other-event", "Issued for another event", badge(&[&[1], other_tag, &SECRET]), "other-event"),
    ] {
        cases.bad(&format!("badge-refuses-{name}"), description, "parse-badge-text", text(&given), kind);
    }
    scoped_codes(cases, &secret, tag, other_tag);
}

fn scoped_codes(
    cases: &mut Cases,
    secret: &lanyard_core::badge::BadgeSecret,
    tag: &[u8],
    other_tag: &[u8],
) {
    let text = |text: &str| json!({ "text": text });
    for audience in Audience::ALL {
        let name = audience.name();
        let epoch = Epoch::new(7);
        for (of, description, epochs, next_too) in [
            ("", "A code for one audience and epoch", epoch.into(), false),
            ("-in-two-epochs", "A code for one audience, of an epoch and the next", CodeEpochs::both(epoch), true),
        ] {
            let input = json!({
                "badge_secret": hexed(secret.expose_bytes()), "audience": name, "epoch": 7, "next_too": next_too,
            });
            cases.good(&format!("scoped-for-{name}{of}"), description, "scoped-code", input);
            let code = ScopedCode::derive(secret, &event(), audience, epochs).to_text(&event());
            let name = format!("parse-scoped-for-{name}{of}");
            cases.good(&name, "The way back", "parse-scoped-code", text(&code));
        }
    }
    let scoped = |bytes: &[&[u8]]| sealed("LYS:", "lanyard v1 scoped code checksum", bytes.concat());
    let epoch = 7_u32.to_be_bytes();
    let good = scoped(&[&[1], tag, &[3], &epoch, &[9; 32]]);
    cases.good("present-scoped", "Told by its first characters", "parse-presented", text(&good));
    let mut wrong_sum = base45::decode(&good[4..]).unwrap();
    *wrong_sum.last_mut().unwrap() ^= 1;
    for (name, description, given, kind) in [
        ("badge-prefix", "A code's bytes behind the other prefix", good.replacen("LYS", "LY1", 1), "not-a-lanyard-code"),
        ("truncated", "The last character is missing", good[..good.len() - 1].to_owned(), "length"),
        ("one-key-for-gate", "A gate's code has two keys or four", scoped(&[&[1], tag, &[1], &epoch, &[9; 32]]), "length"),
        ("three-keys-for-gate", "A gate's code has two keys or four", scoped(&[&[1], tag, &[1], &epoch, &[9; 96]]), "length"),
        ("two-keys-in-the-last-epoch", "After the last epoch there is none", scoped(&[&[1], tag, &[3], &[0xff; 4], &[9; 64]]), "length"),
        ("four-keys-for-sponsor", "A sponsor's code has one key or two", scoped(&[&[1], tag, &[3], &epoch, &[9; 128]]), "length"),
        ("audience-0", "No such audience", scoped(&[&[1], tag, &[0], &epoch, &[9; 32]]), "audience"),
        ("version-0", "An unknown version", scoped(&[&[0], tag, &[3], &epoch, &[9; 32]]), "version"),
        ("checksum", "A checksum with one bit flipped", format!("LYS:{}", base45::encode(&wrong_sum)), "checksum"),
        ("other-event", "Made for another event", scoped(&[&[1], other_tag, &[3], &epoch, &[9; 32]]), "other-event"),
    ] {
        cases.bad(&format!("scoped-refuses-{name}"), description, "parse-scoped-code", text(&given), kind);
    }
}

use aes_gcm_siv::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm_siv::Aes256GcmSiv;
use lanyard_core::audience_key::AudienceKey;
use lanyard_core::badge::{EpochKey, RecordKey};
use lanyard_core::binding::Binding;
use lanyard_core::ids::Origin;
use lanyard_core::record::{Minutes, ProfileId, Record, SealedRecord, Status};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, flipped, hexed, run, with};
use crate::world::EVENT;

pub(crate) const FILE: FileOf = FileOf {
    description: "Records: status (1 byte), flags (1, zero), profile (2), first minute (4), last minute (4), binding (20), big-endian; and \
        their sealed form, AES-256-GCM-SIV (RFC 8452) under the record key, nonce = version as 12 bytes, additional data = \
        origin | epoch u32 | handle | version u32, each field behind its length (u32).",
    shared: || json!({ "event": EVENT }),
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let origin = || Origin::new(&input.event(), input.authority());
    let key = || RecordKey::from_bytes(input.array("record_key"));
    match operation {
        "encode" => Ok(hexed(record(input).to_bytes())),
        "decode" => run(Record::from_bytes(&input.bytes("bytes"))).map(|record| shown(&record)),
        "seal" => {
            let (version, record) = (input.u32("version"), record(input));
            let (epoch, handle) = (input.epoch(), input.handle());
            let sealed = SealedRecord::seal(&key(), &origin(), epoch, &handle, version, &record);
            run(sealed).map(|sealed| hexed(sealed.bytes()))
        }
        "open" => {
            let sealed = run(SealedRecord::new(input.u32("version"), input.array("sealed")))?;
            let opened = sealed.open(&key(), &origin(), input.epoch(), &input.handle());
            run(opened).map(|record| shown(&record))
        }
        other => panic!("no operation {other}"),
    }
}

fn record(input: &Input<'_>) -> Record {
    Record {
        status: Status::from_byte(input.u8("status")).expect("a status"),
        profile: ProfileId::new(input.u16("profile")),
        not_before: Minutes::new(input.u32("not_before")),
        not_after: Minutes::new(input.u32("not_after")),
        binding: Binding::new(input.array("binding")),
    }
}

pub(crate) fn shown(record: &Record) -> Value {
    json!({
        "status": record.status.byte(),
        "profile": record.profile.get(),
        "not_before": record.not_before.get(),
        "not_after": record.not_after.get(),
        "binding": hexed(record.binding.as_bytes()),
    })
}

fn cases(cases: &mut Cases) {
    let good = json!({
        "status": 1, "profile": 12, "not_before": 30_800_000, "not_after": 30_830_000, "binding": hexed([0xb1; 20]),
    });
    for status in Status::ALL {
        let input = with(&good, json!({ "status": status.byte() }));
        let name = format!("encode-{}", crate::format::kind(status));
        cases.good(&name, "A record of each status", "encode", input);
    }
    let bytes = {
        let mut bytes = Record::bare(Status::Valid).to_bytes();
        bytes[4..8].copy_from_slice(&30_800_000_u32.to_be_bytes());
        bytes
    };
    let decode = |bytes: &[u8]| json!({ "bytes": hexed(bytes) });
    let changed = |index: usize, byte: u8| {
        let mut bytes = bytes;
        bytes[index] = byte;
        bytes
    };
    cases.good("decode", "The way back", "decode", decode(&bytes));
    for (name, description, bytes, kind) in [
        ("status-0", "No such status", changed(0, 0).to_vec(), "invalid"),
        ("status-8", "No such status", changed(0, 8).to_vec(), "invalid"),
        ("flag", "No flag is defined", changed(1, 1).to_vec(), "invalid"),
        ("truncated", "31 bytes", bytes[..31].to_vec(), "truncated"),
        ("trailing", "33 bytes", [&bytes[..], &[0]].concat(), "trailing"),
    ] {
        cases.bad(&format!("decode-refuses-{name}"), description, "decode", decode(&bytes), kind);
    }

    let epoch_key = EpochKey::from_bytes([0x44; 32]);
    let record_key = epoch_key.record_key(&AudienceKey::from_bytes([0x55; 32]));
    let place = json!({
        "authority": "committee", "epoch": 7, "handle": hexed(epoch_key.handle().as_bytes()),
        "record_key": hexed(record_key.expose_bytes()), "version": 9,
    });
    let seal = with(&place, good);
    cases.good("seal", "A record of the committee", "seal", seal.clone());
    let next = with(&seal, json!({ "version": 10 }));
    cases.good("seal-again", "The next version looks like another record", "seal", next);
    let version_0 = with(&seal, json!({ "version": 0 }));
    cases.bad("seal-refuses-version-0", "Versions start at 1", "seal", version_0, "version");

    let complete = with(&seal, json!({ "event": EVENT }));
    let sealed = operate("seal", &Input::alone(&complete)).unwrap();
    let sealed = hex::decode(sealed.as_str().unwrap()).unwrap();
    let open = with(&place, json!({ "sealed": hexed(&sealed) }));
    cases.good("open", "The way back", "open", open.clone());
    let other_key = epoch_key.record_key(&AudienceKey::from_bytes([0x56; 32]));
    for (name, description, change) in [
        ("other-audience-key", "Sealed under another audience key", json!({ "record_key": hexed(other_key.expose_bytes()) })),
        ("other-epoch", "Of another epoch", json!({ "epoch": 8 })),
        ("other-handle", "Under another handle", json!({ "handle": hexed([0; 16]) })),
        ("other-version", "Under another version: replayed", json!({ "version": 8 })),
        ("other-authority", "Of another authority", json!({ "authority": "police" })),
        ("other-event", "Of another event", json!({ "event": "games-2032" })),
        ("mutated-ciphertext", "One bit of the ciphertext flipped", json!({ "sealed": hexed(flipped(&sealed, 0)) })),
        ("mutated-tag", "One bit of the tag flipped", json!({ "sealed": hexed(flipped(&sealed, 47)) })),
        ("decoy", "A decoy: random bytes", json!({ "sealed": hexed([0xd0; 48]) })),
    ] {
        cases.bad(&format!("open-refuses-{name}"), description, "open", with(&open, change), "sealed");
    }
    let unknown = lying(&seal, &flipped(&Record::bare(Status::Valid).to_bytes(), 1));
    let lying = with(&open, json!({ "sealed": hexed(unknown) }));
    let description = "It opens, but has a flag that nobody defined";
    cases.bad("open-refuses-flag", description, "open", lying, "contents/invalid");
    let version_0 = with(&open, json!({ "version": 0 }));
    cases.bad("open-refuses-version-0", "Versions start at 1", "open", version_0, "version");
}

/// Seals bytes that are no record, as only whoever has the record key can.
fn lying(place: &Value, record: &[u8]) -> Vec<u8> {
    let input = Input::alone(place);
    let origin = format!("lanyard/{EVENT}/{}", input.text("authority"));
    let version = input.u32("version").to_be_bytes();
    let aad = lanyard_core::codec::join(&[
        origin.as_bytes(),
        &input.u32("epoch").to_be_bytes(),
        &input.bytes("handle"),
        &version,
    ]);
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&version);
    let cipher = Aes256GcmSiv::new(&input.array::<32>("record_key").into());
    cipher.encrypt(&nonce.into(), Payload { msg: record, aad: &aad }).unwrap()
}

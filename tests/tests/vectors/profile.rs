use lanyard_core::audience_key::AudienceKey;
use lanyard_core::decision::AccessPoint;
use lanyard_core::ids::{Origin, Timestamp};
use lanyard_core::profile::{EventTimeZone, Profile, ProfileTable, SealedProfiles, Session};
use serde_json::{Value, json};

use crate::format::{Cases, FileOf, Input, Outcome, flipped, hexed, run, with};
use crate::world::EVENT;

pub(crate) const FILE: FileOf = FileOf {
    description: "Profiles: where and when a badge is good, by the event's own clocks; the table's encoding; its sealed form, AES-256-GCM-SIV \
        under keyed_hash(audience key, `profiles`), nonce of zeros, additional data origin | epoch u32; its hash, \
        derive_key(`lanyard v1 profile table`, sealed table). A session lasts from its first minute to before its end; one that ends at or \
        before its start ends on the next day and belongs to the day it starts on. Times are given in UTC.",
    shared: || json!({ "event": EVENT, "authority": "committee" }),
    cases,
    run: operate,
};

fn operate(operation: &str, input: &Input<'_>) -> Outcome {
    let key = || AudienceKey::from_bytes(input.array("audience_key"));
    let origin = || Origin::new(&input.event(), input.authority());
    match operation {
        "parse-session" => {
            run(Session::parse(input.text("text"))).map(|session| json!(session.to_string()))
        }
        "check" => {
            let profile: Profile = input.parse("profile");
            let access_point: AccessPoint = input.parse("access_point");
            let zone = run(EventTimeZone::parse(input.text("time_zone")))?;
            let now: jiff::Timestamp = input.text("now").parse().unwrap();
            let now = Timestamp::from_millis(now.as_millisecond().try_into().unwrap());
            run(profile.check(&access_point, now, &zone)).map(|()| json!("good"))
        }
        "encode-table" => Ok(hexed(run(ProfileTable::new(input.parse("profiles")))?.to_bytes())),
        "decode-table" => run(ProfileTable::from_bytes(&input.bytes("bytes"))).map(|it| shown(&it)),
        "seal-table" => {
            let table = run(ProfileTable::new(input.parse("profiles")))?;
            let sealed = table.seal(&key(), &origin(), input.epoch());
            Ok(json!({ "sealed": hexed(sealed.as_bytes()), "hash": hexed(sealed.hash().as_bytes()) }))
        }
        "open-table" => {
            let sealed = SealedProfiles::new(input.bytes("sealed"));
            run(sealed.open(&key(), &origin(), input.epoch())).map(|table| shown(&table))
        }
        other => panic!("no operation {other}"),
    }
}

fn shown(table: &ProfileTable) -> Value {
    json!(table.iter().collect::<Vec<_>>())
}

fn cases(cases: &mut Cases) {
    sessions(cases);
    checks(cases);
    tables(cases);
}

fn sessions(cases: &mut Cases) {
    let text = |text: &str| json!({ "text": text });
    for (name, given) in [
        ("daily", "daily 08:00-22:00"),
        ("weekdays", "mon-fri,sun 20:00-02:00"),
        ("week-end-round-the-week", "sat-mon 06:00-18:00"),
        ("dates", "2028-07-15,2028-07-14 10:00-18:00"),
        ("whole-day", "daily 00:00-00:00"),
    ] {
        cases.good(&format!("session-{name}"), "In its normal form", "parse-session", text(given));
    }
    for (name, given, kind) in [
        ("no-times", "daily", "session"),
        ("one-time", "daily 08:00", "session"),
        ("hour-24", "daily 08:00-24:00", "time-of-day"),
        ("minute-60", "daily 08:60-09:00", "time-of-day"),
        ("one-digit-hour", "daily 8:00-22:00", "time-of-day"),
        ("unknown-day", "mon-fry 08:00-22:00", "days"),
        ("capital-day", "Mon 08:00-22:00", "days"),
        ("no-such-date", "2028-02-30 08:00-22:00", "days"),
        ("date-form", "2028-7-1 08:00-22:00", "days"),
        ("mixed-days", "mon,2028-07-14 08:00-22:00", "days"),
    ] {
        let name = format!("session-refuses-{name}");
        cases.bad(&name, "Not days and hours", "parse-session", text(given), kind);
    }
}

fn checks(cases: &mut Cases) {
    let profile = |venues: &[&str], zones: &[&str], sessions: &[&str]| {
        json!({ "id": 1, "category": "Athlete", "venues": venues, "zones": zones, "sessions": sessions })
    };
    let at = |profile: Value, time_zone: &str, now: &str| {
        json!({
            "profile": profile, "time_zone": time_zone, "now": now,
            "access_point": { "id": "north-3", "venue": "STA", "zone": "FOP" },
        })
    };
    let paris = |profile: Value, now: &str| at(profile, "Europe/Paris", now);
    let noon = "2028-07-14T10:00:00Z";
    for (name, description, input) in [
        ("no-restriction", "Empty lists are no restriction", paris(profile(&[], &[], &[]), noon)),
        ("listed", "Venue, zone and session fit", paris(profile(&["STA", "POOL"], &["FOP"], &["fri 08:00-18:00"]), noon)),
        ("second-session", "One session is enough", paris(profile(&[], &[], &["mon 08:00-18:00", "fri 12:00-12:01"]), noon)),
    ] {
        cases.good(&format!("check-{name}"), description, "check", input);
    }
    for (name, description, input, kind) in [
        ("wrong-venue", "First of all the venue", paris(profile(&["POOL"], &["VIP"], &["mon 08:00-09:00"]), noon), "wrong-venue"),
        ("wrong-zone", "Then the zone", paris(profile(&["STA"], &["VIP"], &["mon 08:00-09:00"]), noon), "wrong-zone"),
        ("wrong-day", "Then the day", paris(profile(&["STA"], &["FOP"], &["mon 08:00-18:00"]), noon), "wrong-time"),
        ("wrong-hour", "And the hour", paris(profile(&["STA"], &["FOP"], &["fri 13:00-18:00"]), noon), "wrong-time"),
    ] {
        cases.bad(&format!("check-refuses-{name}"), description, "check", input, kind);
    }
    // Local time in Paris is two hours ahead in July. 2028-07-14 is a Friday.
    let night = || profile(&[], &[], &["fri 22:00-02:30"]);
    let summer = || profile(&[], &[], &["sat 22:00-03:30"]);
    for (name, description, input, inside) in [
        ("before-opening", "One second early", paris(night(), "2028-07-14T19:59:59Z"), false),
        ("at-opening", "The first second", paris(night(), "2028-07-14T20:00:00Z"), true),
        ("at-midnight", "Belongs to the day before", paris(night(), "2028-07-14T22:00:00Z"), true),
        ("last-second", "On Saturday, in the Friday session", paris(night(), "2028-07-15T00:29:59Z"), true),
        ("at-closing", "The end is outside", paris(night(), "2028-07-15T00:30:00Z"), false),
        ("early-the-same-day", "The night before is Thursday's", paris(night(), "2028-07-13T23:00:00Z"), false),
        ("evening-after", "Saturday has no session", paris(night(), "2028-07-15T20:00:00Z"), false),
        ("clocks-forward-last", "03:29 after the skipped hour", paris(summer(), "2028-03-26T01:29:59Z"), true),
        ("clocks-forward-over", "03:30 after the skipped hour", paris(summer(), "2028-03-26T01:30:00Z"), false),
        ("clocks-back-repeated", "02:30, the second time", paris(summer(), "2028-10-29T01:30:00Z"), true),
        ("clocks-back-over", "03:30", paris(summer(), "2028-10-29T02:30:00Z"), false),
        ("other-zone", "The event's clocks count, not UTC", at(night(), "America/Los_Angeles", "2028-07-15T05:00:00Z"), true),
        ("half-hour-zone", "A zone half an hour off", at(night(), "Asia/Kolkata", "2028-07-14T16:30:00Z"), true),
    ] {
        let name = format!("session-across-midnight-{name}");
        if inside {
            cases.good(&name, description, "check", input);
        } else {
            cases.bad(&name, description, "check", input, "wrong-time");
        }
    }
}

fn tables(cases: &mut Cases) {
    let first = json!({ "id": 1, "category": "Athlete", "venues": ["POOL", "STA"], "zones": ["FOP"], "sessions": ["daily 06:00-23:00"] });
    let second = json!({ "id": 12, "category": "Media", "venues": [], "zones": [], "sessions": ["2028-07-14,2028-07-15 22:00-02:30"] });
    let profiles = |profiles: Value| json!({ "profiles": profiles });
    let both = profiles(json!([second, first]));
    cases.good("table", "Sorted by number", "encode-table", both.clone());
    cases.good("table-empty", "No profile", "encode-table", profiles(json!([])));
    let zero = with(&first, json!({ "id": 0 }));
    let long = with(&first, json!({ "category": "a".repeat(65) }));
    for (name, description, given, kind) in [
        ("number-0", "Profile 0 means no restriction", json!([zero]), "unrestricted"),
        ("number-twice", "Two of one number", json!([first, first]), "duplicate"),
        ("long-category", "65 bytes", json!([long]), "limit"),
    ] {
        let name = format!("table-refuses-{name}");
        cases.bad(&name, description, "encode-table", profiles(given), kind);
    }
    let table = ProfileTable::new(serde_json::from_value(both["profiles"].clone()).unwrap()).unwrap();
    let bytes = table.to_bytes();
    let decode = |bytes: &[u8]| json!({ "bytes": hexed(bytes) });
    cases.good("decode-table", "The way back", "decode-table", decode(&bytes));
    let mut reversed = ProfileTable::new(vec![table.iter().next().unwrap().clone()]).unwrap().to_bytes();
    reversed[4] = 2;
    let again = reversed[5..].to_vec();
    reversed.extend(again);
    for (name, description, bytes, kind) in [
        ("version-2", "An unknown version", [&[2], &bytes[1..]].concat(), "codec/invalid"),
        ("truncated", "The last byte is missing", bytes[..bytes.len() - 1].to_vec(), "codec/truncated"),
        ("trailing", "One byte too many", [&bytes[..], &[0]].concat(), "codec/trailing"),
        ("out-of-order", "One profile twice", reversed, "codec/invalid"),
    ] {
        cases.bad(&format!("decode-table-refuses-{name}"), description, "decode-table", decode(&bytes), kind);
    }

    let place = json!({ "audience_key": hexed([0x55; 32]), "epoch": 7 });
    cases.good("seal-table", "For one audience and epoch", "seal-table", with(&both, place.clone()));
    let origin = Origin::new(&crate::world::event(), lanyard_core::ids::Authority::Committee);
    let key = AudienceKey::from_bytes([0x55; 32]);
    let sealed = table.seal(&key, &origin, lanyard_core::ids::Epoch::new(7));
    let sealed = sealed.as_bytes();
    let open = with(&place, json!({ "sealed": hexed(sealed) }));
    cases.good("open-table", "The way back", "open-table", open.clone());
    for (name, description, change) in [
        ("other-audience-key", "Sealed under another key", json!({ "audience_key": hexed([0x56; 32]) })),
        ("other-epoch", "An old table replayed", json!({ "epoch": 8 })),
        ("other-authority", "Of another authority", json!({ "authority": "police" })),
        ("other-event", "Of another event", json!({ "event": "games-2032" })),
        ("mutated", "One bit flipped", json!({ "sealed": hexed(flipped(sealed, 0)) })),
        ("truncated", "Shorter than a tag", json!({ "sealed": "00" })),
    ] {
        cases.bad(&format!("open-table-refuses-{name}"), description, "open-table", with(&open, change), "sealed");
    }
}

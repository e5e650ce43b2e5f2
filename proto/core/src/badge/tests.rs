use proptest::prelude::*;

use super::base45::{decode_into, encode_into, encoded_len};
use super::*;
use crate::codec::join;

fn event() -> EventId {
    EventId::parse("games-2028").unwrap()
}

fn other_event() -> EventId {
    EventId::parse("games-2032").unwrap()
}

fn badge() -> BadgeSecret {
    let issuing = IssuingKey::from_bytes([7; 32]);
    issuing.badge_secret(&event(), BadgeNumber::new(41), PrintNumber::new(1))
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    encode_into(bytes, &mut text);
    text
}

/// The text of these bytes with a checksum that fits them, whatever else is wrong.
fn with_checksum(prefix: &str, context: &'static str, bytes: &[u8]) -> String {
    let sum = blake3::derive_key(context, bytes);
    format!("{prefix}{}", encode(&[bytes, &sum[..4]].concat()))
}

fn badge_bytes(version: u8) -> Vec<u8> {
    let tag = &blake3::derive_key("lanyard v1 event tag", event().as_bytes())[..4];
    [&[version], tag, badge().expose_bytes()].concat()
}

const BADGE_CHECKSUM: &str = "lanyard v1 badge checksum";
const SCOPED_CHECKSUM: &str = "lanyard v1 scoped code checksum";

/// DESIGN §3, with nothing but BLAKE3's own functions.
#[test]
fn derivations_are_those_of_the_design() {
    let (event, e) = (event(), 300_u32);
    let s = blake3::derive_key(
        "lanyard v1 badge",
        &join(&[&[7; 32], event.as_bytes(), &41_u32.to_be_bytes(), &1_u16.to_be_bytes()]),
    );
    assert_eq!(badge().expose_bytes(), &s);

    let seed = blake3::derive_key("lanyard v1 seed", &join(&[&s, b"police", b"gate"]));
    let ours = badge().seed(Authority::Police, Audience::Gate);
    assert_eq!(ours.expose_bytes(), &seed);

    let key = blake3::keyed_hash(&seed, &join(&[b"epoch", event.as_bytes(), &e.to_be_bytes()]));
    let ours = ours.epoch_key(&event, Epoch::new(e));
    assert_eq!(ours.expose_bytes(), key.as_bytes());

    let handle = blake3::keyed_hash(key.as_bytes(), b"handle");
    assert_eq!(ours.handle().as_bytes()[..], handle.as_bytes()[..16]);

    let audience_key = AudienceKey::from_bytes([9; 32]);
    let record_key = blake3::keyed_hash(key.as_bytes(), &join(&[b"record", &[9; 32]]));
    assert_eq!(ours.record_key(&audience_key).expose_bytes(), record_key.as_bytes());
}

#[test]
fn every_input_changes_what_is_derived() {
    let issuing = IssuingKey::from_bytes([7; 32]);
    let (number, print) = (BadgeNumber::new(41), PrintNumber::new(1));
    let secrets = [
        issuing.badge_secret(&event(), number, print),
        issuing.badge_secret(&other_event(), number, print),
        issuing.badge_secret(&event(), BadgeNumber::new(42), print),
        issuing.badge_secret(&event(), number, PrintNumber::new(2)),
        IssuingKey::from_bytes([8; 32]).badge_secret(&event(), number, print),
    ];
    let mut handles = Vec::new();
    for secret in &secrets {
        for authority in Authority::ALL {
            for audience in Audience::ALL {
                let seed = secret.seed(authority, audience);
                for epoch in [1, 2].map(Epoch::new) {
                    handles.push(seed.epoch_key(&event(), epoch).handle());
                    handles.push(seed.epoch_key(&other_event(), epoch).handle());
                }
            }
        }
    }
    let count = handles.len();
    handles.sort_unstable();
    handles.dedup();
    assert_eq!(handles.len(), count);
}

#[test]
fn the_longest_event_and_origin_fit_the_buffers() {
    let event = EventId::parse(&"x".repeat(64)).unwrap();
    let issuing = IssuingKey::from_bytes([7; 32]);
    let secret = issuing.badge_secret(&event, BadgeNumber::new(u32::MAX), PrintNumber::new(1));
    for authority in Authority::ALL {
        for audience in Audience::ALL {
            let key = secret.seed(authority, audience).epoch_key(&event, Epoch::new(u32::MAX));
            let (handle, epoch) = (key.handle(), Epoch::new(u32::MAX));
            let record_key = key.record_key(&AudienceKey::from_bytes([1; 32]));
            let record = crate::record::Record::bare(crate::record::Status::Valid);
            let origin = crate::ids::Origin::new(&event, authority);
            let sealed = crate::record::SealedRecord::seal(
                &record_key,
                &origin,
                epoch,
                &handle,
                u32::MAX,
                &record,
            );
            assert!(sealed.is_ok());
        }
    }
}

#[test]
fn base45_agrees_with_rfc_9285() {
    for (plain, text) in [("AB", "BB8"), ("Hello!!", "%69 VD92EX0"), ("base-45", "UJCLQE7W581")] {
        assert_eq!(encode(plain.as_bytes()), text);
        let mut bytes = vec![0; plain.len()];
        assert_eq!(decode_into(text.as_bytes(), &mut bytes), Some(()));
        assert_eq!(bytes, plain.as_bytes());
    }
}

#[test]
fn base45_refuses_groups_out_of_range() {
    // 65,536 in three characters, 256 in two; the second would wrap around to 0.
    assert_eq!(decode_into(b"GGW", &mut [0; 2]), None);
    assert_eq!(decode_into(b"FGW", &mut [0; 2]), Some(()));
    assert_eq!(decode_into(b"V5", &mut [0; 1]), None);
    assert_eq!(decode_into(b"U5", &mut [0; 1]), Some(()));
}

#[test]
fn a_badge_text_has_66_characters_of_qr_alphanumeric() {
    let text = BadgeText::new(&badge(), &event());
    assert_eq!((text.expose_str().len(), BadgeText::LENGTH), (66, 66));
    const { assert!(BadgeText::LENGTH <= 80) };
    let alphanumeric = |c: u8| b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".contains(&c);
    assert!(text.expose_str().bytes().all(alphanumeric));
    assert!(BadgeText::parse(text.expose_str(), &event()).unwrap() == badge());
    let expected = with_checksum("LY1:", BADGE_CHECKSUM, &badge_bytes(1));
    assert_eq!(text.expose_str(), expected);
}

fn refusal(text: &str) -> BadgeTextError {
    let error = Presented::parse(text, &event()).err().expect("refused");
    let message = error.to_string();
    // Nothing of a presented text may reach a log.
    let body = text.get(4..).unwrap_or_default();
    assert!(body.len() < 12 || !message.contains(&body[..12]), "{message}");
    error
}

#[test]
fn refuses_what_is_not_a_lanyard_code() {
    let good = BadgeText::new(&badge(), &event());
    for text in ["", "LY1", "ly1:", "HC1:NCFOXN", &good.expose_str()[1..], "é1:"] {
        assert_eq!(refusal(text), BadgeTextError::NotALanyardCode, "{text}");
    }
}

#[test]
fn refuses_a_wrong_length() {
    let good = BadgeText::new(&badge(), &event());
    let good = good.expose_str();
    assert_eq!(refusal(&good[..65]), BadgeTextError::Length { length: 65, expected: 66 });
    let long = format!("{good}\n");
    assert_eq!(refusal(&long), BadgeTextError::Length { length: 67, expected: 66 });
    assert!(matches!(refusal(&"LY1:A".repeat(100_000)), BadgeTextError::Length { .. }));
}

#[test]
fn refuses_what_is_not_base45() {
    let good = BadgeText::new(&badge(), &event()).expose_str().to_owned();
    for bad in ["a", "_", "\0", "\u{7f}"] {
        let text = format!("{}{bad}{}", &good[..20], &good[21..]);
        assert_eq!(refusal(&text), BadgeTextError::Base45, "{bad:?}");
    }
    // The largest group of three is 91,124.
    let text = format!("{}:::{}", &good[..19], &good[22..]);
    assert_eq!(refusal(&text), BadgeTextError::Base45);
    // Two bytes long, one character wide.
    let text = format!("{}é{}", &good[..20], &good[22..]);
    assert_eq!(refusal(&text), BadgeTextError::Base45);
}

#[test]
fn refuses_an_unknown_version() {
    let text = with_checksum("LY1:", BADGE_CHECKSUM, &badge_bytes(2));
    assert_eq!(refusal(&text), BadgeTextError::Version { version: 2 });
}

#[test]
fn refuses_another_event() {
    let text = BadgeText::new(&badge(), &other_event());
    assert_eq!(refusal(text.expose_str()), BadgeTextError::OtherEvent);
    let code = ScopedCode::derive(&badge(), &other_event(), Audience::Gate, Epoch::new(1));
    assert_eq!(refusal(&code.to_text(&other_event())), BadgeTextError::OtherEvent);
}

#[test]
fn refuses_a_wrong_checksum() {
    let text = with_checksum("LY1:", SCOPED_CHECKSUM, &badge_bytes(1));
    assert_eq!(refusal(&text), BadgeTextError::Checksum);
}

#[test]
fn every_misread_character_is_noticed() {
    let good = BadgeText::new(&badge(), &event()).expose_str().to_owned();
    for index in 4..good.len() {
        for character in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".chars() {
            let text = format!("{}{character}{}", &good[..index], &good[index + 1..]);
            assert!(text == good || BadgeText::parse(&text, &event()).is_err(), "at {index}");
        }
    }
}

#[test]
fn a_scoped_code_carries_only_the_keys_of_its_audience_and_epochs() {
    let epoch = Epoch::new(12);
    let lengths = |audience| if audience == Audience::Gate { [121, 217] } else { [73, 121] };
    for audience in Audience::ALL {
        for (epochs, length) in
            [CodeEpochs::from(epoch), CodeEpochs::both(epoch)].into_iter().zip(lengths(audience))
        {
            let text = ScopedCode::derive(&badge(), &event(), audience, epochs).to_text(&event());
            assert_eq!(text.len(), length);
            let Ok(Presented::Scoped(read)) = Presented::parse(&text, &event()) else {
                panic!("a scoped code reads back")
            };
            assert_eq!((read.audience(), read.epochs()), (audience, epochs));
            assert_eq!(read.to_text(&event()), text);
            for (authority, of) in Authority::ALL
                .into_iter()
                .flat_map(|authority| [11, 12, 13, 14].map(|of| (authority, Epoch::new(of))))
            {
                let publishes = Audience::published_by(authority).contains(&audience);
                let is_for = of == epochs.oldest() || of == epochs.newest();
                let expected = badge().seed(authority, audience).epoch_key(&event(), of);
                match read.key(authority, of) {
                    Some(key) => assert!(publishes && is_for && *key == expected),
                    None => assert!(!publishes || !is_for),
                }
            }
        }
    }
}

#[test]
fn a_scoped_code_of_another_audience_or_epoch_opens_nothing() {
    let epoch = Epoch::new(12);
    let code = ScopedCode::derive(&badge(), &event(), Audience::Gate, epoch);
    let presented = Presented::parse(&code.to_text(&event()), &event()).unwrap();
    let full = Presented::Badge(badge());
    let key = |presented: &Presented, audience, epoch| {
        presented.epoch_key(&event(), Authority::Committee, audience, epoch)
    };
    assert!(key(&presented, Audience::Gate, epoch) == key(&full, Audience::Gate, epoch));
    assert!(key(&presented, Audience::Gate, epoch).is_some());
    assert!(key(&presented, Audience::Gate, epoch.next()).is_none());
    assert!(key(&presented, Audience::Sponsor, epoch).is_none());
}

#[test]
fn refuses_scoped_codes_with_a_foreign_audience_or_too_few_keys() {
    let code = ScopedCode::derive(&badge(), &event(), Audience::Police, Epoch::new(1));
    let text = code.to_text(&event());
    let mut bytes = vec![0; 46];
    decode_into(&text.as_bytes()[4..], &mut bytes).unwrap();
    bytes.truncate(42);
    bytes[5] = 9;
    let foreign = with_checksum("LYS:", SCOPED_CHECKSUM, &bytes);
    assert_eq!(refusal(&foreign), BadgeTextError::Audience { audience: 9 });
    bytes[5] = Audience::Gate.byte();
    let short = with_checksum("LYS:", SCOPED_CHECKSUM, &bytes);
    assert_eq!(refusal(&short), BadgeTextError::Length { length: 73, expected: 121 });
    bytes[0] = 3;
    let later = with_checksum("LYS:", SCOPED_CHECKSUM, &bytes);
    assert_eq!(refusal(&later), BadgeTextError::Version { version: 3 });
    assert_eq!(refusal(&text[..72]), BadgeTextError::Length { length: 72, expected: 73 });
    let misread = format!("{}0", &text[..72]);
    assert!(matches!(refusal(&misread), BadgeTextError::Checksum | BadgeTextError::Base45));
}

proptest! {
    #[test]
    fn base45_agrees_with_another_implementation(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        let text = encode(&bytes);
        prop_assert_eq!(&text, &::base45::encode(&bytes));
        prop_assert_eq!(text.len(), encoded_len(bytes.len()));
        let mut decoded = vec![0; bytes.len()];
        prop_assert_eq!(decode_into(text.as_bytes(), &mut decoded), Some(()));
        prop_assert_eq!(decoded, bytes);
    }

    #[test]
    fn what_decodes_has_one_text(text in "[0-9A-Z $%*+./:-]{3,9}", length in 2_usize..7) {
        let mut bytes = vec![0; length];
        if decode_into(text.as_bytes(), &mut bytes).is_some() {
            prop_assert_eq!(encode(&bytes), text);
        }
    }

    #[test]
    fn badge_texts_round_trip(secret in any::<[u8; 32]>()) {
        let text = BadgeText::new(&BadgeSecret::from_bytes(secret), &event());
        let read = BadgeText::parse(text.expose_str(), &event());
        prop_assert!(read.is_ok_and(|read| *read.expose_bytes() == secret));
    }

    #[test]
    fn arbitrary_texts_never_panic(text in ".{0,240}", prefix in "(LY1:|LYS:)?") {
        let text = prefix + &text;
        prop_assert!(Presented::parse(&text, &event()).is_err());
    }
}

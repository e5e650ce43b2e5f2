use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::ids::{Authority, EventId};
use crate::secret::tests::outside_vectors;

struct Place {
    key: RecordKey,
    origin: Origin,
    epoch: Epoch,
    handle: Handle,
}

impl Place {
    fn new() -> Self {
        let event = EventId::parse("games").unwrap();
        Self {
            key: RecordKey::from_bytes([1; 32]),
            origin: Origin::new(&event, Authority::Committee),
            epoch: Epoch::new(7),
            handle: Handle::new([2; 16]),
        }
    }

    fn seal(&self, version: u32, record: &Record) -> SealedRecord {
        SealedRecord::seal(&self.key, &self.origin, self.epoch, &self.handle, version, record)
            .unwrap()
    }

    fn open(&self, sealed: &SealedRecord) -> Result<Record, RecordError> {
        sealed.open(&self.key, &self.origin, self.epoch, &self.handle)
    }
}

fn sample() -> Record {
    Record {
        status: Status::Valid,
        profile: ProfileId::new(0x0102),
        not_before: Minutes::new(0x03040506),
        not_after: Minutes::new(0x0708090a),
        binding: Binding::new([0xbb; 20]),
    }
}

#[test]
fn a_record_has_its_documented_layout() {
    let mut expected = vec![1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    expected.extend([0xbb; 20]);
    assert_eq!(sample().to_bytes()[..], expected);
    assert_eq!(SealedRecord::SIZE + 4, 52);
}

#[test]
fn strict_decoding_refuses_status_flags_and_length() {
    let good = sample().to_bytes();
    for status in (0..=255).filter(|status| !(1..=7).contains(status)) {
        let mut bytes = good;
        bytes[0] = status;
        assert!(Record::from_bytes(&bytes).is_err(), "status {status}");
    }
    for flags in 1..=255 {
        let mut bytes = good;
        bytes[1] = flags;
        assert!(Record::from_bytes(&bytes).is_err(), "flags {flags}");
    }
    assert!(matches!(Record::from_bytes(&good[..31]), Err(CodecError::Truncated { .. })));
    let long = [&good[..], &[0]].concat();
    assert!(matches!(Record::from_bytes(&long), Err(CodecError::Trailing { .. })));
}

#[test]
fn opens_only_in_its_place() {
    let place = Place::new();
    let sealed = place.seal(3, &sample());
    assert_eq!(place.open(&sealed), Ok(sample()));

    let refused = Err(RecordError::Sealed { version: 3 });
    let other_key = Place { key: RecordKey::from_bytes([9; 32]), ..Place::new() };
    assert_eq!(other_key.open(&sealed), refused);
    let other_epoch = Place { epoch: Epoch::new(8), ..Place::new() };
    assert_eq!(other_epoch.open(&sealed), refused);
    let other_handle = Place { handle: Handle::new([3; 16]), ..Place::new() };
    assert_eq!(other_handle.open(&sealed), refused);
    let event = EventId::parse("games").unwrap();
    let police = Place { origin: Origin::new(&event, Authority::Police), ..Place::new() };
    assert_eq!(police.open(&sealed), refused);
    let event = EventId::parse("other").unwrap();
    let other_event = Place { origin: Origin::new(&event, Authority::Committee), ..Place::new() };
    assert_eq!(other_event.open(&sealed), refused);
    let other_version = SealedRecord::new(4, *sealed.bytes()).unwrap();
    assert_eq!(place.open(&other_version), Err(RecordError::Sealed { version: 4 }));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let place = Place::new();
    let sealed = place.seal(1, &sample());
    for bit in 0..48 * 8 {
        let mut bytes = *sealed.bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = SealedRecord::new(1, bytes).unwrap();
        assert_eq!(place.open(&flipped), Err(RecordError::Sealed { version: 1 }), "bit {bit}");
    }
}

#[test]
fn contents_that_are_no_record_are_refused() {
    let place = Place::new();
    let aad = additional_data(&place.origin, place.epoch, &place.handle, 1);
    let mut bytes = [0; 48];
    let (contents, tag) = bytes.split_at_mut(32);
    let sealed = Cipher::new(place.key.expose_bytes()).seal(&nonce(1), aad.as_slice(), contents);
    tag.copy_from_slice(&sealed);
    let opened = place.open(&SealedRecord::new(1, bytes).unwrap());
    assert!(matches!(opened, Err(RecordError::Contents { version: 1, .. })), "{opened:?}");
}

#[test]
fn version_zero_does_not_exist() {
    let place = Place::new();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    assert_eq!(SealedRecord::new(0, [0; 48]), Err(RecordError::Version));
    assert_eq!(SealedRecord::decoy(0, &mut rng), Err(RecordError::Version));
    let sealed =
        SealedRecord::seal(&place.key, &place.origin, place.epoch, &place.handle, 0, &sample());
    assert_eq!(sealed, Err(RecordError::Version));
}

#[test]
fn sealing_again_under_the_next_version_looks_unrelated() {
    let place = Place::new();
    let (first, second) = (place.seal(1, &sample()), place.seal(2, &sample()));
    let equal = first.bytes().iter().zip(second.bytes()).filter(|(a, b)| a == b).count();
    assert!(equal < 6, "{equal} of 48 bytes are equal");
}

#[test]
fn a_decoy_opens_for_nobody() {
    let place = Place::new();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let decoy = SealedRecord::decoy(1, &mut rng).unwrap();
    assert_ne!(decoy, SealedRecord::decoy(1, &mut rng).unwrap());
    assert_eq!(place.open(&decoy), Err(RecordError::Sealed { version: 1 }));
}

/// Every 256-bit case of Wycheproof through the cipher that seals records.
#[test]
fn wycheproof_aes_gcm_siv() {
    let Some(vectors) = outside_vectors("wycheproof_aes_gcm_siv_test.json") else { return };
    let (mut valid, mut invalid) = (0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        if group["keySize"] != 256 {
            continue;
        }
        for case in group["tests"].as_array().unwrap() {
            let field = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
            let (id, aad, message, ciphertext) =
                (&case["tcId"], field("aad"), field("msg"), field("ct"));
            let cipher = Cipher::new(&field("key").try_into().unwrap());
            let tag: [u8; 16] = field("tag").try_into().unwrap();
            let nonce: [u8; 12] = field("iv").try_into().unwrap();

            let mut opened = [ciphertext.as_slice(), &tag].concat();
            let open = cipher.open(&nonce, &aad, &mut opened);
            if case["result"] == "valid" {
                assert_eq!(open, Some(message.clone().as_mut_slice()), "case {id}");
                let mut sealed = message.clone();
                assert_eq!(cipher.seal(&nonce, &aad, &mut sealed), tag, "case {id}");
                assert_eq!(sealed, ciphertext, "case {id}");
                valid += 1;
            } else {
                assert_eq!(open, None, "case {id}");
                invalid += 1;
            }
        }
    }
    assert_eq!(valid + invalid, 103);
    assert!(invalid > 0);
}

fn records() -> impl Strategy<Value = Record> {
    (1_u8..=7, any::<u16>(), any::<u32>(), any::<u32>(), any::<[u8; 20]>()).prop_map(
        |(status, profile, not_before, not_after, binding)| Record {
            status: Status::from_byte(status).unwrap(),
            profile: ProfileId::new(profile),
            not_before: Minutes::new(not_before),
            not_after: Minutes::new(not_after),
            binding: Binding::new(binding),
        },
    )
}

proptest! {
    #[test]
    fn records_round_trip(record in records(), version in 1_u32..) {
        prop_assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
        let place = Place::new();
        prop_assert_eq!(place.open(&place.seal(version, &record)), Ok(record));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_have_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(record) = Record::from_bytes(&bytes) {
            prop_assert_eq!(&record.to_bytes()[..], &bytes[..]);
        }
    }
}

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;

use super::*;

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn key(seed: u64, text: &str) -> SigningKey {
    SigningKey::generate(name(text), &mut ChaCha20Rng::seed_from_u64(seed))
}

#[test]
fn the_example_of_the_specification_parses_and_prints() {
    let text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let note = Note::parse(text).unwrap();
    assert!(note.text().ends_with("subito sera.\n"));
    assert_eq!(note.signatures()[0].key_id().to_string(), "367ba04b");
    assert_eq!(note.to_string(), text);
}

/// The keys and the note of the tests of Go's golang.org/x/mod/sumdb/note.
#[test]
fn keys_and_signatures_agree_with_the_go_package() {
    let signer = SigningKey::parse(
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
    )
    .unwrap();
    let verifier =
        VerifyingKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
            .unwrap();
    assert_eq!(signer.verifying_key(), &verifier);
    let text = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    let note = Note::sign(text, &[&signer]).unwrap();
    assert_eq!(
        note.signatures()[0].to_string(),
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    );
    assert_eq!(note.verify(&[verifier]).unwrap().text(), text);
}

#[test]
fn keys_read_back_and_others_are_refused() {
    let signing = key(1, "a.example/log");
    let text = signing.format();
    let again = SigningKey::parse(&text).unwrap();
    assert_eq!(again.verifying_key(), signing.verifying_key());
    let public = signing.verifying_key().to_string();
    assert_eq!(VerifyingKey::parse(&public).as_ref(), Ok(signing.verifying_key()));
    let id = signing.verifying_key().key_id().to_string();
    for bad in [
        String::new(),
        "a".into(),
        "a+b".into(),
        public.replace(&id, "00000000"),
        public.replace(&id, &id.to_uppercase()).replace("log", "LOG"),
        public.replace(&id, "+1234567"),
        format!("{public}A"),
        public[..public.len() - 1].to_owned(),
        public.replace("a.example", "a example"),
    ] {
        assert!(VerifyingKey::parse(&bad).is_err(), "{bad}");
        assert!(SigningKey::parse(&format!("PRIVATE+KEY+{bad}")).is_err(), "{bad}");
    }
    assert!(SigningKey::parse(&public).is_err());
    // The error repeats nothing of a secret.
    let broken = text.replace("PRIVATE+KEY+a.example/log+", "PRIVATE+KEY+a.example/log+x");
    let error = SigningKey::parse(&broken).err().unwrap().to_string();
    assert!(!error.contains(&text[text.len() - 20..]));
}

#[test]
fn weak_and_non_canonical_public_keys_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    for bytes in [identity, [0; 32]] {
        let refused = VerifyingKey::from_bytes(name("weak"), Algorithm::Ed25519, &bytes);
        assert!(refused.unwrap_err().to_string().contains("small order"));
    }
    // p + 3 is a second encoding of y = 3, a good point that the library below accepts in both.
    let mut second = [0xff; 32];
    second[0] = 0xf0;
    second[31] = 0x7f;
    assert!(ed25519_dalek::VerifyingKey::from_bytes(&second).is_ok_and(|key| !key.is_weak()));
    let refused = VerifyingKey::from_bytes(name("second"), Algorithm::Ed25519, &second);
    assert!(refused.unwrap_err().to_string().contains("canonically"));
}

#[test]
fn unknown_keys_are_ignored_and_known_bad_ones_refuse_the_note() {
    let (a, b, c) = (key(1, "a"), key(2, "b"), key(3, "c"));
    let note = Note::sign("hello\n", &[&a, &b]).unwrap();
    let keys = |list: &[&SigningKey]| -> Vec<VerifyingKey> {
        list.iter().map(|key| key.verifying_key().clone()).collect()
    };
    assert_eq!(note.verify(&keys(&[&a, &c])).unwrap().signers().len(), 1);
    assert!(note.verify_all(&keys(&[&a, &b])).is_ok());
    let missing = note.verify_all(&keys(&[&a, &c])).unwrap_err();
    assert_eq!(missing, NoteError::Unsigned { expected: vec![name("c")] });
    assert!(matches!(note.verify(&keys(&[&c])), Err(NoteError::Unsigned { .. })));
    assert!(matches!(note.verify(&[]), Err(NoteError::Unsigned { .. })));
    // The same name under another key is another key.
    assert!(matches!(note.verify(&keys(&[&key(9, "a")])), Err(NoteError::Unsigned { .. })));
    let changed = Note::parse(&note.to_string().replace("hello", "hullo")).unwrap();
    let refused = changed.verify(&keys(&[&a])).unwrap_err();
    assert_eq!(refused, NoteError::BadSignature { name: name("a") });
}

#[test]
fn malformed_notes_are_refused_with_their_reason() {
    let good = Note::sign("text\n", &[&key(1, "a")]).unwrap().to_string();
    let line = good.lines().last().unwrap();
    let refused = |note: &str| Note::parse(note).unwrap_err();
    assert_eq!(refused(""), NoteError::NoSignatureBlock);
    assert_eq!(refused("text\n"), NoteError::NoSignatureBlock);
    assert_eq!(refused("text\n\n"), NoteError::NoSignatureBlock);
    assert_eq!(refused(good.trim_end()), NoteError::UnfinishedLine);
    assert_eq!(
        refused(&good.replace("text", "te\rxt")),
        NoteError::ControlCharacter { byte: b'\r', offset: 2 }
    );
    assert_eq!(
        refused(&"x".repeat(MAX_NOTE_BYTES + 1)),
        NoteError::TooLong { length: MAX_NOTE_BYTES + 1, limit: MAX_NOTE_BYTES }
    );
    assert_eq!(Note::parse_bytes(b"ab\xff", 99).unwrap_err(), NoteError::NotUtf8 { offset: 2 });
    let many = format!("text\n\n{}", format!("{line}\n").repeat(MAX_SIGNATURES + 1));
    assert_eq!(refused(&many), NoteError::TooManySignatures { limit: MAX_SIGNATURES });
    for bad in [
        line.replace("— ", "- "),
        line.replace("— a", "— "),
        line.replace("— a", "— a+b"),
        line.replace("— a ", "— a"),
        line.trim_end_matches('=').to_owned(),
        "— a AAAAAA==".to_owned(),
        format!("— a {}", "A".repeat(12_000)),
    ] {
        let note = format!("text\n\n{line}\n{bad}\n");
        assert!(
            matches!(refused(&note), NoteError::SignatureLine { line: 2, .. }),
            "{bad} {:?}",
            refused(&note)
        );
    }
}

#[test]
fn text_that_could_not_be_read_back_is_not_signed() {
    for bad in ["", "no newline", "tab\t\n"] {
        assert!(Note::sign(bad, &[&key(1, "a")]).is_err(), "{bad:?}");
    }
    let blank = Note::sign("a\n\n", &[&key(1, "a")]).unwrap();
    assert_eq!(Note::parse(&blank.to_string()).unwrap(), blank);
}

#[test]
fn merging_keeps_one_copy_and_refuses_another_text() {
    let (a, b) = (key(1, "a"), key(2, "b"));
    let mut note = Note::sign("x\n", &[&a]).unwrap();
    note.merge(&Note::sign("x\n", &[&a, &b]).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 2);
    assert_eq!(note.merge(&Note::sign("y\n", &[&b]).unwrap()), Err(NoteError::OtherText));
}

/// C2SP/wycheproof, Ed25519. `verify_strict` may refuse what the vectors accept, never the other way round. It is
/// stricter than RFC 8032 for a small-order R or public key; no valid case of this set has either, so none is lost.
#[test]
fn wycheproof_ed25519() {
    let Ok(shared) = std::env::var("LANYARD_SHARED") else {
        println!("skipped: LANYARD_SHARED not set");
        return;
    };
    let path = format!("{shared}/vectors/wycheproof_ed25519_test.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let (mut cases, mut stricter) = (0, Vec::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        let public: [u8; 32] = bytes(&group["publicKey"]["pk"]).try_into().unwrap();
        let key = VerifyingKey::from_bytes(name("wycheproof"), Algorithm::Ed25519, &public);
        for test in group["tests"].as_array().unwrap() {
            cases += 1;
            let accepted = key
                .as_ref()
                .is_ok_and(|key| key.verify(&bytes(&test["msg"]), &bytes(&test["sig"])).is_some());
            let id = test["tcId"].as_u64().unwrap();
            match test["result"].as_str().unwrap() {
                "valid" if accepted => {}
                "valid" => stricter.push(id),
                _ => assert!(!accepted, "case {id} must be refused: {}", test["comment"]),
            }
        }
    }
    assert_eq!(cases, 151);
    assert_eq!(stricter, Vec::<u64>::new());
}

proptest! {
    #[test]
    fn parsing_never_panics(note in "(— |\n|[a+=/ ]|\\PC){0,40}") {
        let _ = Note::parse(&note);
        let _ = VerifyingKey::parse(&note);
        let _ = SigningKey::parse(&note);
    }

    #[test]
    fn what_parses_prints_the_same(text in "([ -~é]{0,9}\n){1,5}", seeds in 1u64..4) {
        let keys: Vec<_> = (0..seeds).map(|seed| key(seed, &format!("key/{seed}"))).collect();
        let note = Note::sign(&text, &keys.iter().collect::<Vec<_>>()).unwrap();
        let printed = note.to_string();
        let again = Note::parse(&printed).unwrap();
        prop_assert_eq!(again.to_string(), printed);
        prop_assert_eq!(again.text(), &text);
        prop_assert!(again.verify(&[keys[0].verifying_key().clone()]).is_ok());
    }

    #[test]
    fn a_changed_note_never_verifies(at in 0usize..120, to in any::<char>()) {
        let signing = key(7, "a");
        let good = Note::sign("some text\nof two lines\n", &[&signing]).unwrap().to_string();
        let mut characters: Vec<char> = good.chars().collect();
        let at = at % characters.len();
        prop_assume!(characters[at] != to);
        characters[at] = to;
        let changed: String = characters.into_iter().collect();
        let verified =
            Note::parse(&changed).and_then(|note| note.verify(&[signing.verifying_key().clone()]));
        prop_assert!(verified.is_err());
    }
}

//! Who ends up with which secret.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lanyard_ceremony::Member;
use lanyard_env::Env;
use lanyard_party::{Folder, Generation};

use crate::support::{PASSPHRASE, files_under, sample_plan, shared};

/// The 32 secret bytes of each private key file of a folder.
fn secrets(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut secrets = BTreeMap::new();
    for path in files_under(folder) {
        if path.extension().is_some_and(|extension| extension == "key") {
            let text = fs::read_to_string(&path).unwrap();
            secrets.insert(path, secret_of(&text));
        }
    }
    let folder = Folder::open(folder, &Env::system());
    if folder.issuing_key_path().exists() {
        let key = folder.issuing_key(PASSPHRASE).unwrap();
        secrets.insert(folder.issuing_key_path(), key.expose_bytes().to_vec());
    }
    secrets
}

fn secret_of(text: &str) -> Vec<u8> {
    if text.starts_with("-----BEGIN PRIVATE KEY-----") {
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).unwrap();
        // SEC 1 (RFC 5915) inside PKCS #8: version 1, then an OCTET STRING of 32 bytes.
        let start = der.windows(5).position(|w| w == [0x02, 0x01, 0x01, 0x04, 0x20]).unwrap() + 5;
        return der[start..start + 32].to_vec();
    }
    let line = text.trim_end();
    let encoded = match line.strip_prefix("PRIVATE+KEY+") {
        Some(rest) => rest.splitn(3, '+').nth(2).unwrap(),
        None => line.rsplit(' ').next().unwrap(),
    };
    let bytes = STANDARD.decode(encoded).unwrap();
    bytes[bytes.len() - 32..].to_vec()
}

/// The secret as it could stand in a file: raw, hexadecimal, and base64 at each of the three alignments.
fn needles(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut needles = vec![
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
        hex::encode_upper(secret).into_bytes(),
    ];
    for skip in 0..3 {
        let whole = &secret[skip..skip + (secret.len() - skip) / 3 * 3];
        needles.push(STANDARD.encode(whole).into_bytes());
        needles.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    needles
}

pub(crate) fn holds(content: &[u8], secret: &[u8]) -> bool {
    let text: Vec<u8> = content.iter().copied().filter(|b| *b != b'\n').collect();
    needles(secret).iter().any(|needle| {
        content.windows(needle.len()).any(|window| window == needle)
            || text.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn every_folder_holds_its_own_secrets_only() {
    let dir = shared();
    let contents: Vec<(PathBuf, Vec<u8>)> =
        files_under(dir).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let mut found = 0;
    for member in sample_plan().members() {
        let folder = dir.join(member.name());
        for (path, secret) in secrets(&folder) {
            for (other, content) in &contents {
                let inside = other.starts_with(&folder);
                let holds = holds(content, &secret);
                assert!(inside || !holds, "{} is in {}", path.display(), other.display());
                // The search works: it finds the secret where it belongs, the sealed one nowhere.
                let sealed = path.extension().is_some_and(|extension| extension == "age");
                if *other == path {
                    assert_eq!(holds, !sealed, "{}", path.display());
                    found += 1;
                }
                assert!(!(sealed && holds), "{} is open in {}", path.display(), other.display());
            }
        }
    }
    // committee 9, police 9 with the audit key, sponsor 6, trustee 7, gate-ca 2, gate-1 7; see the folders.
    assert!(found >= 38, "only {found} secrets were looked for");
}

#[test]
fn public_shares_stay_among_the_holders() {
    let dir = shared();
    let trustee = Folder::open(dir.join("trustee"), &Env::system());
    let public = trustee.public_shares(Generation::FIRST).unwrap();
    let holders = ["trustee", "committee", "police"].map(|name| dir.join(name));
    for path in files_under(dir) {
        if holders.iter().any(|holder| path.starts_with(holder)) {
            continue;
        }
        let content = fs::read(&path).unwrap();
        for share in public.shares() {
            assert!(!holds(&content, share.as_bytes()), "a public share is in {}", path.display());
        }
        assert!(!holds(&content, public.group_key().as_bytes()), "{}", path.display());
    }
}

#[test]
fn private_files_are_for_their_owner_and_the_round_secrets_are_gone() {
    let env = Env::system();
    for path in files_under(shared()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!name.ends_with(".secret"), "{} was left behind", path.display());
        let private = name.ends_with(".key") || name.ends_with(".age");
        let mode = env.files.permissions(&path).unwrap();
        assert!(!private || mode == 0o600, "{}: {mode:o}", path.display());
    }
}

#[test]
fn a_folder_has_the_keys_of_its_party_and_no_others() {
    let names = |member: &Member| -> Vec<String> {
        let keys = shared().join(member.name()).join("keys");
        files_under(&keys)
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let expected = |member: &Member| -> &[&str] {
        match member {
            Member::Committee => &[
                "ceremony.key",
                "hpke.key",
                "issuing.age",
                "log.key",
                "manifest.key",
                "public_shares.json",
                "share.key",
                "store.key",
                "witness.key",
            ],
            Member::Police => &[
                "audit.key",
                "ceremony.key",
                "hpke.key",
                "issuing.age",
                "log.key",
                "manifest.key",
                "public_shares.json",
                "share.key",
                "store.key",
                "witness.key",
            ],
            Member::Sponsor => &["ceremony.key", "hpke.key", "witness.key"],
            Member::Trustee => {
                &["ceremony.key", "hpke.key", "public_shares.json", "share.key", "witness.key"]
            }
            Member::GateAuthority => &["ceremony.key"],
            Member::Gate(_) => &["ceremony.key", "hpke.key", "receipts.key"],
        }
    };
    for member in sample_plan().members() {
        assert_eq!(names(&member), expected(&member), "{member}");
    }
}

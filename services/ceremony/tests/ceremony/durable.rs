//! Manifests and keys on a machine that stops at any call or whose disk flips bits.

use std::path::{Path, PathBuf};

use lanyard_ceremony::Seat;
use lanyard_env::Loss;
use lanyard_party::{Folder, Generation, ManifestStore, ShareStore};

use crate::support::{EVENT, env_on, on_disk, sample_plan};

/// An accepted manifest stays accepted, an interrupted one can be accepted again, and the chain always holds.
#[test]
fn no_call_at_which_it_stops_makes_a_party_forget_its_manifest() {
    let base = on_disk();
    let (env, dir) = (env_on(&base), Path::new(EVENT));
    let seat = |name: &str| Seat::open(&env, &dir.join(name), &dir.join("exchange")).unwrap();
    let mut plan = sample_plan();
    plan.quotas[0].evaluations += 1;
    seat("committee").draft_manifest(&plan).unwrap();
    for authority in ["committee", "police"] {
        seat(authority).sign_manifest(&plan).unwrap();
    }
    seat("committee").adopt().unwrap();
    let adopted =
        ManifestStore::open(&Folder::open(dir.join("committee"), &env)).unwrap().current();
    assert_eq!(adopted.version, 2);
    let note = adopted.note().to_string();

    let mut crashes = 0;
    for calls in 0.. {
        let mut ended = true;
        for loss in [Loss::None, Loss::All, Loss::Some(calls)] {
            let disk = base.copy();
            let folder = Folder::open(dir.join("trustee"), &env_on(&disk));
            let store = ManifestStore::open(&folder).unwrap();
            disk.stop_after(calls);
            let accepted = store.accept(&note).is_ok();
            assert_eq!(accepted, !disk.is_stopped());
            crashes += u32::from(!accepted);
            ended &= accepted;
            disk.restart(loss);
            let store = ManifestStore::open(&folder).unwrap();
            assert!(!accepted || store.current().version == 2, "{calls}, {loss:?}");
            store.accept(&note).unwrap();
            assert_eq!(store.current().version, 2);
            assert_eq!(ManifestStore::open(&folder).unwrap().current().version, 2);
        }
        if ended {
            break;
        }
    }
    assert!(crashes > 20, "only {crashes} crashes");
}

/// Reads all that signs, opens or is believed, as a service does at its start; the first that does not hold.
fn load(folder: &Folder) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    let files = folder.files();
    let there = |path: PathBuf| files.exists(&path).unwrap();
    ManifestStore::open(folder).map_err(|error| failed(&error))?;
    folder.service_identity().map_err(|error| failed(&error))?;
    macro_rules! keys {
        ($($path:ident => $key:ident),*) => {
            $(if there(folder.$path()) { folder.$key().map_err(|error| failed(&error))?; })*
        };
    }
    keys!(
        log_key_path => log_key, manifest_key_path => manifest_key, witness_key_path => witness_key,
        receipts_key_path => receipts_key, hpke_key_path => hpke_key, audit_key_path => audit_key,
        store_key_path => store_key
    );
    if there(folder.path().join("keys/share.key")) {
        ShareStore::open(folder).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// With any one bit flipped in what a party's service reads at its start, it does not start, and says which file it is.
#[test]
fn a_flipped_bit_in_a_key_a_manifest_or_what_is_pinned_keeps_a_service_from_starting() {
    let disk = on_disk();
    let env = env_on(&disk);
    let mut flipped = 0;
    for member in ["committee", "police", "sponsor", "trustee", "gate-1"] {
        let folder = Folder::open(Path::new(EVENT).join(member), &env);
        load(&folder).unwrap();
        let public = || folder.public_shares(Generation::FIRST).ok();
        let expected = public();
        let is_read = |path: &PathBuf| {
            let name = path.strip_prefix(folder.path()).map(|name| name.to_string_lossy());
            // The issuing key is sealed under a passphrase, the ceremony's is none of the service's; `manifest.note` is a
            // copy that is put right at each start.
            name.is_ok_and(|name| {
                (name.starts_with("keys/")
                    && !name.ends_with(".age")
                    && name != "keys/ceremony.key")
                    || name.starts_with("manifests/")
                    || name == "trust.json"
            })
        };
        for path in disk.paths().iter().filter(|path| is_read(path)) {
            let length = env.files.read(path).unwrap().len();
            for place in (0..length).step_by(1 + length / 150) {
                disk.tamper(path, |bytes| bytes[place] ^= 1 << (place % 7));
                flipped += 1;
                let loaded = load(&folder);
                // The names beside the shares are for people.
                let is_label = path.ends_with("public_shares.json") && public() == expected;
                disk.tamper(path, |bytes| bytes[place] ^= 1 << (place % 7));
                let Err(text) = loaded else {
                    if is_label {
                        continue;
                    }
                    panic!(
                        "bit {} of byte {place} of {} does not count",
                        place % 7,
                        path.display()
                    );
                };
                // A public share and the share are compared; either may be the damaged one. So are certificate and key.
                let named = path.with_file_name("").to_string_lossy().into_owned();
                assert!(text.contains(&named) || text.contains(EVENT), "{text}");
            }
        }
        load(&folder).unwrap();
    }
    assert!(flipped > 2_000, "only {flipped} bits");
}

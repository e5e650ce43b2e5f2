//! Someone has all that the police have: files, keys, database, the passphrase of their issuing key. Every secret in it is
//! tried as a badge, as a seed and as an epoch key, with every badge whose police half is known.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use lanyard_client::badge::derive_print;
use lanyard_core::badge::{BadgeSecret, BadgeText, EpochKey, ScopedCode, Seed};
use lanyard_core::ids::{Audience, Authority, BadgeNumber, Epoch, EventId, PrintNumber};
use lanyard_party::{Cell, Folder, StoreKey};
use lanyard_tests::{Desk, PASSPHRASE, TestEvent};
use sqlx::AnyPool;

use crate::MAIN;

/// Checks under way at once.
const TOGETHER: usize = 32;
/// Numbers of the committee's badges that a thief of the police's issuing key tries.
const NUMBERS: u32 = 12;

/// All that was found in the police's folder.
struct Loot {
    /// Whatever is or could be a secret of 32 bytes.
    secrets: Vec<[u8; 32]>,
    /// `S(police, gate)` of everyone: the police's half of every badge.
    police_gate: Vec<[u8; 32]>,
}

/// Tries it all at a gate. Of all badges, only those of the police's own staff may open it.
pub(crate) async fn attack(
    event: &TestEvent,
    desk: &Desk,
    badges: &HashMap<String, String>,
    staff: &[String],
) {
    let manifest = desk.registrar.manifest();
    let (id, epoch) = (&manifest.event, manifest.epoch_at(desk.registrar.env().now()));
    let mut loot = find(event).await;
    assert!(loot.police_gate.len() >= badges.len() + staff.len());
    let own: Vec<BadgeSecret> =
        staff.iter().map(|text| BadgeText::parse(text, id).unwrap()).collect();

    let admitted = admitted(desk, id, epoch, &loot).await;
    // What opened the gate is the staff's own, and all of the staff's was found: the search is not blind.
    for secret in &own {
        let halves = halves(secret, id, epoch);
        assert!(admitted.contains_key(&halves), "a staff badge was not found in the store");
    }
    assert_eq!(admitted.len(), own.len(), "{:?}", admitted.values());

    // With the defence taken out, the same search opens the gate: one seed that the police never get is enough.
    let victim = BadgeText::parse(&badges["P-0001"], id).unwrap();
    loot.secrets = vec![*victim.seed(Authority::Committee, Audience::Gate).expose_bytes()];
    let opened = self::admitted(desk, id, epoch, &loot).await;
    assert_eq!(opened.into_keys().collect::<Vec<_>>(), [halves(&victim, id, epoch)]);
}

/// Both halves of a badge at the gates in an epoch.
fn halves(secret: &BadgeSecret, event: &EventId, epoch: Epoch) -> [[u8; 32]; 2] {
    [Authority::Committee, Authority::Police].map(|authority| {
        *secret.seed(authority, Audience::Gate).epoch_key(event, epoch).expose_bytes()
    })
}

/// What opens the gate, by the two halves that were shown.
async fn admitted(
    desk: &Desk,
    event: &EventId,
    epoch: Epoch,
    loot: &Loot,
) -> BTreeMap<[[u8; 32]; 2], &'static str> {
    let mut tries = BTreeMap::new();
    // As the secret of a badge.
    for secret in &loot.secrets {
        let secret = BadgeSecret::from_bytes(*secret);
        let text = BadgeText::new(&secret, event).expose_str().to_owned();
        tries.insert(halves(&secret, event, epoch), (text, "a secret as a badge"));
    }
    // As the committee's half, seed or epoch key, beside each police half.
    let epoch_key =
        |seed: &[u8; 32]| *Seed::from_bytes(*seed).epoch_key(event, epoch).expose_bytes();
    for police in &loot.police_gate {
        let police = epoch_key(police);
        for secret in &loot.secrets {
            for committee in [epoch_key(secret), *secret] {
                let halves = [committee, police];
                let text = code(event, epoch, halves);
                tries.entry(halves).or_insert((text, "a secret beside a police half"));
            }
        }
    }
    assert!(tries.len() > loot.secrets.len() * loot.police_gate.len());
    let shown = tries.into_iter().map(async |(halves, (credential, what))| {
        let checked = desk.check(&credential, MAIN).await.unwrap();
        assert_ne!(checked.reason, "MALFORMED", "{what}: the attacker writes badges well");
        (checked.verdict == "ADMIT").then_some((halves, what))
    });
    let shown = futures::stream::iter(shown).buffer_unordered(TOGETHER);
    shown.filter_map(async |admitted| admitted).collect().await
}

/// A code for the gates of any two halves, as docs and vectors describe it.
fn code(event: &EventId, epoch: Epoch, [committee, police]: [[u8; 32]; 2]) -> String {
    let tag = blake3::derive_key("lanyard v1 event tag", event.as_bytes());
    let mut bytes = vec![1];
    bytes.extend_from_slice(&tag[..4]);
    bytes.push(Audience::Gate.byte());
    bytes.extend_from_slice(&epoch.get().to_be_bytes());
    bytes.extend_from_slice(&committee);
    bytes.extend_from_slice(&police);
    let checksum = blake3::derive_key("lanyard v1 scoped code checksum", &bytes);
    bytes.extend_from_slice(&checksum[..4]);
    format!("LYS:{}", base45::encode(bytes))
}

#[test]
fn a_code_of_halves_is_a_code() {
    let event = EventId::parse("games").unwrap();
    let (secret, epoch) = (BadgeSecret::from_bytes([7; 32]), Epoch::new(3));
    let derived = ScopedCode::derive(&secret, &event, Audience::Gate, epoch);
    let key = |authority| *derived.key(authority, epoch).map(EpochKey::expose_bytes).unwrap();
    let halves = [key(Authority::Committee), key(Authority::Police)];
    assert_eq!(code(&event, epoch, halves), derived.to_text(&event).as_str());
}

async fn find(event: &TestEvent) -> Loot {
    let env = lanyard_env::Env::system();
    let folder = Folder::open(event.folder("police"), &env);
    let rows = event.rows("police").await;
    let mut loot = Loot { secrets: Vec::new(), police_gate: Vec::new() };
    database(&mut loot, &rows, &folder.store_key().unwrap()).await;
    rows.close().await;
    key_files(&mut loot, &folder.path().join("keys"));
    // The issuing key opens the police's own badges, and under the committee's numbers nothing.
    let key = folder.issuing_key(PASSPHRASE).unwrap();
    let event = desk_event(&folder);
    loot.secrets.push(*key.expose_bytes());
    for number in (1..=NUMBERS).chain((0..NUMBERS).map(|n| BadgeNumber::FIRST_OF_POLICE.get() + n))
    {
        for print in [1, 2] {
            let number = BadgeNumber::new(number);
            let secret = key.badge_secret(&event, number, PrintNumber::new(print));
            loot.secrets.push(*secret.expose_bytes());
            let derived = derive_print(&key, &event, number, PrintNumber::new(print)).seeds;
            loot.secrets.push(derived.committee_gate.try_into().unwrap());
        }
    }
    loot.secrets.sort_unstable();
    loot.secrets.dedup();
    loot
}

fn desk_event(folder: &Folder) -> EventId {
    lanyard_party::ManifestStore::open(folder).unwrap().current().event.clone()
}

/// Every sealed cell, opened, in pieces of 32 bytes.
async fn database(loot: &mut Loot, pool: &AnyPool, store_key: &StoreKey) {
    for table in ["prints", "staff_prints"] {
        let sql = format!("SELECT id, seeds FROM {table}");
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        assert!(!rows.is_empty(), "{table}");
        for (id, sealed) in rows.iter().filter(|(_, sealed)| !sealed.is_empty()) {
            let cell = Cell { table, column: "seeds", row: *id as u64 };
            let opened = store_key.open(cell, sealed).unwrap();
            let pieces = opened.as_chunks::<32>().0;
            loot.police_gate.push(pieces[0]);
            loot.secrets.extend_from_slice(pieces);
        }
    }
}

/// Whatever in key files reads as 32 bytes or more, in hexadecimal or base64.
fn key_files(loot: &mut Loot, dir: &Path) {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
        for word in words.filter(|word| word.len() >= 43) {
            let hexadecimal = hex::decode(word).ok();
            let base64 = BASE64_STANDARD.decode(word).ok();
            for bytes in hexadecimal.into_iter().chain(base64) {
                let first = bytes.first_chunk::<32>().into_iter();
                let pieces = first.chain(bytes.last_chunk::<32>());
                loot.secrets.extend(pieces);
                found += 1;
            }
        }
    }
    assert!(found > 3, "key files hold secrets");
}

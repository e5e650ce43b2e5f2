//! Whoever has a key is found by it, however often runs were merged.

use std::collections::BTreeMap;

use lanyard_core::identity::IdentityKey;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::world::{OFFICER, World, entry, hash, passport};
use crate::ids::SubjectId;
use crate::rescreen;
use crate::subjects::Submission;
use crate::subjects::key_index::subjects_with;

const SUBJECTS: u16 = 700;
/// Documents that several people have: as names are.
const SHARED: u16 = 90;

fn subject(number: u16) -> SubjectId {
    let mut bytes = [0x5a; SubjectId::SIZE];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    SubjectId::new(bytes)
}

fn document(number: u16) -> IdentityKey {
    passport(&format!("X{number}"))
}

/// A subject with its own document and a few that others have too.
fn submission(number: u16, rng: &mut StdRng) -> (Submission, Vec<u16>) {
    let mut documents: Vec<u16> = (0..3).map(|_| rng.random_range(0..SHARED)).collect();
    documents.push(SHARED + number);
    documents.sort_unstable();
    documents.dedup();
    let mut keys: Vec<_> = documents.iter().map(|document_| hash(&document(*document_))).collect();
    keys.sort_unstable();
    (Submission { id: subject(number), binding: [0; 20], keys }, documents)
}

async fn submitted() -> (World, BTreeMap<u16, Vec<u16>>) {
    let world = World::new().await;
    let mut rng = StdRng::seed_from_u64(7);
    let mut held = BTreeMap::new();
    let mut next = 0;
    while next < SUBJECTS {
        let end = SUBJECTS.min(next + rng.random_range(1..6));
        // And somebody known with other keys than before.
        let again = (next > 0).then(|| rng.random_range(0..next));
        let mut submissions = Vec::new();
        for number in (next..end).chain(again) {
            let (submission, documents) = submission(number, &mut rng);
            submissions.push(submission);
            held.insert(number, documents);
        }
        world.submit(&submissions).await;
        next = end;
    }
    (world, held)
}

#[tokio::test]
async fn a_key_leads_to_all_who_have_it_now_and_to_nobody_else() {
    let (world, held) = submitted().await;
    for document_ in 0..SHARED + SUBJECTS {
        let expected: Vec<_> = held
            .iter()
            .filter(|(_, documents)| documents.contains(&document_))
            .map(|(number, _)| subject(*number))
            .collect();
        let key = hash(&document(document_));
        let (lists, act) = (&world.lists, world.act(OFFICER));
        let found = subjects_with(&world.store, lists, &key, usize::MAX, act).await.unwrap();
        assert_eq!(found, expected, "document {document_}");
        let few = subjects_with(&world.store, lists, &key, 2, act).await.unwrap();
        assert_eq!(few, expected[..expected.len().min(2)]);
    }
    let (runs,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM key_runs")
        .fetch_one(world.store.pool())
        .await
        .unwrap();
    assert!(runs < 4 * 8, "merged as they grow: {runs}");
}

#[tokio::test]
async fn a_changed_list_finds_everyone_by_any_key() {
    let (world, held) = submitted().await;
    let listed = [3, SHARED + 5, SHARED + 699];
    let passports: Vec<String> = listed.iter().map(|number| format!("X{number}")).collect();
    let passports: Vec<&str> = passports.iter().map(String::as_str).collect();
    let expected =
        held.values().filter(|documents| listed.iter().any(|one| documents.contains(one))).count();
    assert!(expected > 3);
    let matches = world.import("a", vec![entry("A-1", "Nobody Known", &passports)]).await;
    assert_eq!(matches, expected as u64);
    let mut transaction = world.store.begin().await.unwrap();
    let guard = world.lists.guard(&mut transaction).await.unwrap();
    let again = rescreen::everyone(&mut transaction, &guard, world.act(OFFICER)).await.unwrap();
    assert_eq!((again.matches, again.changed.len()), (expected as u64, 0));
}

/// Whichever block is lost, its neighbour misses it, and everyone is found; also if there is no neighbour any more.
#[tokio::test]
async fn a_lost_block_hides_nobody() {
    let world = World::new().await;
    let keys = |number: u16| [document(2 * number), document(2 * number + 1)].map(|key| hash(&key));
    let submissions: Vec<_> = (0..160)
        .map(|number| {
            let mut keys = keys(number).to_vec();
            keys.sort_unstable();
            Submission { id: subject(number), binding: [0; 20], keys }
        })
        .collect();
    world.submit(&submissions).await;
    let act = world.act(OFFICER);
    for place in 0..6 {
        let blocks: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT body FROM key_blocks ORDER BY run_id, first")
                .fetch_all(world.store.pool())
                .await
                .unwrap();
        assert_eq!(blocks.len(), 5);
        let pool = world.store.pool();
        if let Some((body,)) = blocks.get(place) {
            let lost = sqlx::query("DELETE FROM key_blocks WHERE body = $1").bind(body);
            lost.execute(pool).await.unwrap();
        } else {
            for table in ["DELETE FROM key_blocks", "DELETE FROM key_runs"] {
                sqlx::query(table).execute(pool).await.unwrap();
            }
        }
        for (number, key) in (0..160).flat_map(|number| keys(number).map(|key| (number, key))) {
            let found = subjects_with(&world.store, &world.lists, &key, 9, act).await.unwrap();
            assert_eq!(found, [subject(number)], "block {place}");
        }
    }
}

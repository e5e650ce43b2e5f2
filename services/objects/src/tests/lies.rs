//! What a store may try: the same as a mirror, and no more. Each lie is refused, what was visible stays, evidence is kept.

use bytes::Bytes;
use lanyard_core::ids::Hash;
use lanyard_core::map::Delta;
use lanyard_feed::Misdeed;
use lanyard_wire::feed::v1::follow_response::Update;
use object_store::path::Path;

use super::faulty::{names, read, remove, write};
use super::*;
use crate::messages::{Decoder, encode};
use crate::newest::Piece;

/// A gate at size 2, and an archive with one tick more.
async fn one_tick_more(world: &World) -> (Arc<Faulty>, Objects, Arc<Mirror>) {
    let (store, objects) = memory(world);
    let mut committee = published(world, "committee", 1);
    let gate = world.gate("gate");
    brought(&committee.mirror, &gate).await;
    committee.settled(put(&[1, 2], 3));
    archived(world, &objects, &committee.mirror).await;
    (store, objects, gate)
}

/// The newest object of ticks.
async fn newest_ticks(world: &World, objects: &Objects) -> crate::newest::Object {
    let list = newest(world, objects).await.unwrap();
    *list.objects.iter().rfind(|object| matches!(object.piece, Piece::Ticks { .. })).unwrap()
}

fn path(object: &crate::newest::Object) -> Path {
    format!("committee/{}", object.name()).into()
}

/// Refused with these words; nothing visible has changed, and with the right object all is well.
async fn is_refused(world: &World, objects: &Objects, gate: &Arc<Mirror>, words: &str) {
    let refused = follow_objects(world, objects, gate).await.unwrap_err().to_string();
    assert!(refused.contains(words), "{refused}");
    assert_eq!((gate.read().size(), versions(gate, 1)), (2, (Some(2), Some(2))));
}

async fn is_well_with(
    world: &World,
    (store, objects): (&Faulty, &Objects),
    gate: &Arc<Mirror>,
    (name, bytes): (&Path, Bytes),
) {
    write(store, name, bytes).await;
    eventually("it takes the true one", async || {
        follow_objects(world, objects, gate).await.unwrap() == 3
    })
    .await;
    assert_eq!(versions(gate, 2).0, Some(3));
}

#[tokio::test]
async fn cut_short_longer_exchanged_and_damaged_objects_are_refused() {
    let world = world();
    let (store, objects, gate) = one_tick_more(&world).await;
    let object = newest_ticks(&world, &objects).await;
    let name = path(&object);
    let honest = read(&store, &name).await;
    let mut flipped = honest.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let cut = honest.slice(..honest.len() - 1);
    let empty = Bytes::new();
    for (wrong, words) in [
        (flipped.into(), "damaged, cut short or exchanged"),
        (cut, "damaged, cut short or exchanged"),
        (empty, "damaged, cut short or exchanged"),
        (Bytes::from([honest.as_ref(), b"x"].concat()), "longer than the newest list says"),
    ] {
        write(&store, &name, wrong).await;
        is_refused(&world, &objects, &gate, words).await;
    }
    is_well_with(&world, (&store, &objects), &gate, (&name, honest)).await;
}

#[tokio::test]
async fn a_withheld_object_is_named() {
    let world = world();
    let (store, objects, gate) = one_tick_more(&world).await;
    let object = newest_ticks(&world, &objects).await;
    let (name, honest) = (path(&object), read(&store, &path(&object)).await);
    remove(&store, &name).await;
    is_refused(&world, &objects, &gate, &object.name()).await;
    is_well_with(&world, (&store, &objects), &gate, (&name, honest)).await;
}

/// Puts a forged object in the place of a listed one, and a list that fits it.
async fn forge(
    store: &Faulty,
    world: &World,
    objects: &Objects,
    object: crate::newest::Object,
    bytes: Vec<u8>,
) {
    let mut list = newest(world, objects).await.unwrap();
    let forged = crate::newest::Object {
        length: bytes.len() as u64,
        hash: Hash::new(*blake3::hash(&bytes).as_bytes()),
        ..object
    };
    write(store, &path(&object), bytes.into()).await;
    list.objects.iter_mut().filter(|one| **one == object).for_each(|one| *one = forged);
    write(store, &"committee/newest".into(), list.to_bytes().into()).await;
}

#[tokio::test]
async fn a_forged_record_in_a_list_that_fits_it_is_refused_and_kept() {
    let world = world();
    let (store, objects, gate) = one_tick_more(&world).await;
    let object = newest_ticks(&world, &objects).await;
    let mut decoder = Decoder::default();
    decoder.push(&read(&store, &path(&object)).await);
    let mut forged = Vec::new();
    while let Some(message) = decoder.next().unwrap() {
        let mut update = message.update.unwrap();
        if let Update::Tick(tick) = &mut update
            && let Some(sent) = tick.deltas.first_mut()
        {
            let mut rows = Delta::from_bytes(&sent.delta).unwrap().upserts().to_vec();
            rows[0].record = row(0, 9).record;
            sent.delta = Delta::new(vec![], rows).unwrap().to_bytes().into();
        }
        forged.extend_from_slice(&encode(update));
    }
    forge(&store, &world, &objects, object, forged).await;
    is_refused(&world, &objects, &gate, "evidence was saved").await;
    let evidence = kept(&world, "gate");
    assert_eq!(evidence.len(), 1);
    assert_eq!((evidence[0].misdeed, evidence[0].sender.as_str()), (Misdeed::WrongRows, "objects"));
}

#[tokio::test]
async fn a_forged_snapshot_in_a_list_that_fits_it_starts_nobody() {
    let world = world();
    let (store, objects, _) = one_tick_more(&world).await;
    let list = newest(&world, &objects).await.unwrap();
    let is_gates = |object: &&crate::newest::Object| matches!(object.piece, Piece::Snapshot { directory, .. } if directory == gate_key());
    let object = *list.objects.iter().find(is_gates).unwrap();
    let mut forged = read(&store, &path(&object)).await.to_vec();
    let last = forged.len() - 40;
    forged[last] ^= 1;
    forge(&store, &world, &objects, object, forged).await;
    let fresh = world.gate("fresh");
    assert!(follow_objects(&world, &objects, &fresh).await.is_err());
    assert_eq!(fresh.read().size(), 0);
    assert_eq!(kept(&world, "fresh").len(), 1);
}

#[tokio::test]
async fn a_list_that_went_back_takes_nobody_back() {
    let world = world();
    let (store, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    archived(&world, &objects, &committee.mirror).await;
    let list = Path::from("committee/newest");
    let old = read(&store, &list).await;
    committee.settled(put(&[1], 3));
    archived(&world, &objects, &committee.mirror).await;
    let gate = gate_from(&world, &objects, "gate", 3).await;
    write(&store, &list, old).await;
    // An authority that asks for its own head learns that there is no more; a gate looks for another upstream.
    assert_eq!(follow_objects(&world, &objects, &gate).await.unwrap(), 3);
    assert_eq!(versions(&gate, 1).0, Some(3));
    // Whoever starts now is shown an old state, whose age it sees.
    let late = gate_from(&world, &objects, "late", 2).await;
    assert!(late.read().freshness() < gate.read().freshness());
}

#[tokio::test]
async fn a_fork_is_refused_and_kept() {
    let world = world();
    let (_, objects) = memory(&world);
    let committee = published(&world, "committee", 1);
    let gate = world.gate("gate");
    brought(&committee.mirror, &gate).await;
    let mut fork = world.publisher("fork");
    fork.begin(70);
    fork.settled(put(&[1], 8));
    fork.settled(put(&[1], 9));
    archived(&world, &objects, &fork.mirror).await;
    is_refused(&world, &objects, &gate, "evidence was saved").await;
    assert!(!kept(&world, "gate").is_empty());
}

#[tokio::test]
async fn garbage_for_a_list_is_refused_and_replaced_by_the_next_writer() {
    let world = world();
    let (store, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    archived(&world, &objects, &committee.mirror).await;
    let gate = gate_from(&world, &objects, "gate", 2).await;
    let list = Path::from("committee/newest");
    write(&store, &list, Bytes::from_static(b"garbage")).await;
    let refused = follow_objects(&world, &objects, &gate).await.unwrap_err().to_string();
    assert!(refused.contains("committee/newest"), "{refused}");
    committee.settled(put(&[1], 3));
    archived(&world, &objects, &committee.mirror).await;
    assert_eq!(gate_from(&world, &objects, "gate-2", 3).await.read().size(), 3);
    // But one of a later version of this software stays.
    write(&store, &list, Bytes::from_static(b"lanyard objects v2\n")).await;
    let mut archiving = archive(&world, &objects, &committee.mirror);
    let state = archiving.until("it refuses", |state| state.failures > 0).await;
    assert!(state.problem.unwrap().contains("another version"));
    assert_eq!(names(&store, "newest").await.len(), 1);
}

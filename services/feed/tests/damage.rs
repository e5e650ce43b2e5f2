//! One bit flipped in a file of any kind: what is opened is what was there, or part of it that is fetched again; or it is not
//! opened, and the file is named.
#![allow(clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use lanyard_core::checkpoint::Checkpoint;
use lanyard_core::ids::Audience;
use lanyard_env::{Files as _, LossyDisk};
use lanyard_feed::{DirectoryDraft, DirectoryKey, FeedError, Lookup, Mirror, MirrorConfig, View};

/// How long a mirror may take to be whole again, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Four ticks, each of which puts its size as the version of handle 1; the last brings a directory of the next epoch.
fn publish(committee: &mut Publisher<'_>) {
    committee.begin(60);
    for version in [2, 3] {
        committee.settled(put(&[1], version));
    }
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), put(&[1], 4));
    directories.push(committee.directory(next, rows(30)));
    committee.world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    committee.seal_keys(next);
    committee.cosign(&signed);
}

/// Every file, the kind of it, and the disk with one bit of it flipped: the first byte, the last, and some between.
fn flipped(disk: &LossyDisk) -> impl Iterator<Item = (String, String, LossyDisk)> {
    disk.paths().into_iter().flat_map(move |path| {
        let kind = path.strip_prefix(FOLDER).unwrap().iter().next().unwrap();
        let kind = kind.to_str().unwrap().to_owned();
        let length = disk.files().read(&path).unwrap().len();
        let places: BTreeSet<_> = (0..length).step_by(97).chain([length - 1]).collect();
        places.into_iter().map(move |place| {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
            (format!("{}, byte {place} of {length}", path.display()), kind.clone(), copy)
        })
    })
}

fn is_named(error: &FeedError, place: &str) -> bool {
    let text = error.to_string();
    let path = place.split_once(',').unwrap().0;
    text.contains(path) && text.contains("restore it from a copy")
}

/// That what is held is a state which the authority published: `whole` has all of them.
fn assert_published(mirror: &Mirror, whole: &Mirror, place: &str) {
    let (view, whole) = (mirror.read(), whole.read());
    let size = view.size();
    assert!(size <= whole.size(), "{place}");
    let root = |view: &View<'_>| view.log().root_at(size).unwrap();
    assert_eq!(root(&view), root(&whole), "{place}");
    let Some(directory) = view.directory(EPOCH, Audience::Gate) else {
        assert!(mirror.is_incomplete(), "{place}: a directory is missing, and nobody misses it");
        return;
    };
    let Lookup::Found(record) = directory.lookup_signed(&handle(1)) else {
        panic!("{place}: handle 1 is not there")
    };
    assert_eq!(u64::from(record.version()), size, "{place}");
}

#[tokio::test]
async fn a_follower_shows_nothing_that_was_not_published_and_fetches_what_is_damaged() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    publish(&mut committee);
    let disk = LossyDisk::new();
    let gate = open_on(&world, &disk, world.gate_config()).unwrap();
    pull(&committee.mirror, &gate).await;
    drop(gate);
    let (mut refused, mut mended) = (BTreeSet::new(), BTreeSet::new());
    for (place, kind, copy) in flipped(&disk) {
        let gate = match open_on(&world, &copy, world.gate_config()) {
            Err(error) => {
                assert!(is_named(&error, &place), "{place}: {error}");
                refused.insert(kind);
                continue;
            }
            Ok(gate) => gate,
        };
        assert_published(&gate, &committee.mirror, &place);
        let whole = tokio::time::timeout(PATIENCE, catch_up(&committee.mirror, &gate)).await;
        whole.unwrap_or_else(|_| panic!("{place}: it is not fetched again"));
        drop(gate);
        let gate = open_on(&world, &copy, world.gate_config()).unwrap();
        assert!(!gate.is_incomplete(), "{place}: what was fetched again is not kept");
        assert_eq!((sizes(&gate), versions(&gate, 1)), ((4, 4), (Some(4), Some(4))), "{place}");
        mended.insert(kind);
    }
    assert_eq!(refused, ["base", "leaves"].map(str::to_owned).into());
    let fetched = ["keys", "profiles", "quorum", "snapshots", "ticks"];
    assert_eq!(mended, fetched.map(str::to_owned).into());
}

/// As an authority that starts: the prepared tick goes out, and with the next whatever its feed has lost.
async fn mend(committee: &mut Publisher<'_>, prepared: &Checkpoint, place: &str) {
    let world = committee.world;
    committee.mirror.publish(&committee.sign(prepared)).unwrap();
    let mut directories = committee.unchanged(gate_key(), put(&[1], 6));
    let mirror = Arc::clone(&committee.mirror);
    let has_table = |key: &DirectoryKey| {
        mirror.read().directory(key.epoch, key.audience).unwrap().sealed_profiles().is_some()
    };
    for DirectoryDraft { key, profiles, .. } in &mut directories {
        if !has_table(key) {
            *profiles = Some(committee.sealed_table(*key, "Athlete"));
        }
    }
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    for epoch in [1, 2] {
        committee.seal_keys(key(epoch, Audience::Gate));
    }
    committee.cosign(&signed);
    assert!(!committee.mirror.is_incomplete(), "{place}: something is lost for good");
    let gate = open_on(world, &LossyDisk::new(), world.gate_config()).unwrap();
    let whole = tokio::time::timeout(PATIENCE, catch_up(&committee.mirror, &gate)).await;
    whole.unwrap_or_else(|_| panic!("{place}: a gate does not get all"));
    assert_eq!(versions(&gate, 1), (Some(6), Some(6)), "{place}");
}

#[tokio::test]
async fn an_authority_signs_nothing_over_what_is_damaged() {
    let world = World::new();
    let config = MirrorConfig { publisher: true, ..world.config(&Audience::ALL) };
    let disk = LossyDisk::new();
    let mut committee = world.publisher("unused");
    committee.mirror = open_on(&world, &disk, config.clone()).unwrap();
    publish(&mut committee);
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    let mut directories = committee.unchanged(gate_key(), put(&[1], 5));
    directories.push(committee.directory(key(2, Audience::Police), rows(30)));
    let prepared = committee.mirror.prepare(committee.draft(directories)).unwrap();
    let keys = committee.keys.clone();
    drop(committee);
    let (mut refused, mut mended) = (BTreeSet::new(), BTreeSet::new());
    for (place, kind, copy) in flipped(&disk) {
        let mirror = match open_on(&world, &copy, config.clone()) {
            Err(error) => {
                assert!(is_named(&error, &place), "{place}: {error}");
                refused.insert(kind);
                continue;
            }
            Ok(mirror) => mirror,
        };
        assert_published(&mirror, &sponsor, &place);
        assert_eq!(
            (sizes(&mirror), mirror.unsigned()),
            ((4, 4), Some(prepared.clone())),
            "{place}"
        );
        let mut committee = world.publisher("unused");
        (committee.mirror, committee.keys) = (mirror, keys.clone());
        mend(&mut committee, &prepared, &place).await;
        mended.insert(kind);
    }
    let expected = ["base", "draft", "leaves", "quorum", "snapshots", "ticks"];
    assert_eq!(refused, expected.map(str::to_owned).into());
    assert_eq!(mended, ["keys", "profiles"].map(str::to_owned).into());
}

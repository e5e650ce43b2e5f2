use std::collections::HashSet;

use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::Authority;
use lanyard_core::map::Map;
use lanyard_core::record::{Minutes, ProfileId};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn padding() -> Padding {
    Padding {
        reseals: [32, 128, 1_024],
        decoy_floor: 64,
        decoy_percent: 5,
        catch_up_percent: 1,
        sponsor_reseal_seconds: 3_600,
    }
}

fn binder() -> Binder {
    let event = EventId::parse("games").unwrap();
    Binder {
        origin: Origin::new(&event, Authority::Committee),
        event,
        epoch: Epoch::new(3),
        audience: Audience::Gate,
        key: AudienceKey::from_bytes([7; 32]),
    }
}

fn entry(id: u64, status: Status) -> Entry {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&id.to_be_bytes());
    let record = Record {
        status,
        profile: ProfileId::new(1),
        not_before: Minutes::MIN,
        not_after: Minutes::MAX,
        binding: Binding::new([id as u8; 20]),
    };
    Entry { id, seeds: vec![(Audience::Gate, Seed::from_bytes(seed))], record }
}

fn desired(count: u64) -> Desired {
    (1..=count).map(|id| (id, entry(id, Status::Valid))).collect()
}

fn published(count: u64) -> (Sealer, Map, Desired, ChaCha20Rng) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let desired = desired(count);
    let (sealer, rows) = Sealer::build(binder(), &desired, &padding(), NOW, &mut rng).unwrap();
    (sealer, Map::build(4, rows).unwrap(), desired, rng)
}

/// What the directory says of an entry.
fn says(map: &Map, entry: &Entry) -> Option<Record> {
    let binder = binder();
    let handle = binder.handle(entry)?;
    binder.open(entry, &Row { handle, record: map.get(&handle)? })
}

fn change(sealer: &mut Sealer, desired: &mut Desired, id: u64, status: Status) {
    let entry = entry(id, status);
    sealer.consider(&entry, NOW);
    desired.insert(id, entry);
}

fn tick(sealer: &mut Sealer, map: &mut Map, desired: &Desired, rng: &mut ChaCha20Rng) -> Delta {
    let (delta, rows) = sealer.draft(desired, &padding(), Amount::Step, NOW, rng).unwrap();
    let _undo = map.apply(&delta).unwrap();
    sealer.commit(rows);
    delta
}

#[test]
fn a_tick_with_a_stop_looks_like_a_tick_without() {
    let (mut sealer, mut map, mut desired, mut rng) = published(500);
    let shape = |delta: &Delta| (delta.removed().len(), delta.upserts().len());
    let quiet = shape(&tick(&mut sealer, &mut map, &desired, &mut rng));
    change(&mut sealer, &mut desired, 17, Status::Suspended);
    change(&mut sealer, &mut desired, 501, Status::Valid);
    let busy = shape(&tick(&mut sealer, &mut map, &desired, &mut rng));
    assert_eq!(quiet, (2, 32));
    assert_eq!(busy, quiet);
    assert_eq!(says(&map, &desired[&17]).unwrap().status, Status::Suspended);
    assert_eq!(says(&map, &desired[&501]).unwrap().status, Status::Valid);
    assert_eq!(sealer.waiting(), 0);
}

#[test]
fn stops_go_first_and_more_changes_take_larger_steps() {
    let (mut sealer, mut map, mut desired, mut rng) = published(3_000);
    for id in 1..=1_500 {
        let status = if id > 1_400 { Status::Revoked } else { Status::Valid };
        let mut entry = entry(id, status);
        entry.record.profile = ProfileId::new(2);
        sealer.consider(&entry, NOW);
        desired.insert(id, entry);
    }
    let delta = tick(&mut sealer, &mut map, &desired, &mut rng);
    assert_eq!(delta.upserts().len(), 1_024);
    for id in 1_401..=1_500 {
        assert_eq!(says(&map, &desired[&id]).unwrap().status, Status::Revoked, "{id}");
    }
    tick(&mut sealer, &mut map, &desired, &mut rng);
    assert_eq!(sealer.waiting(), 0);
}

#[test]
fn new_badges_take_decoys_and_the_directory_grows_in_blocks() {
    let (mut sealer, mut map, mut desired, mut rng) = published(0);
    assert_eq!(map.len(), 64);
    for id in 1..=20 {
        change(&mut sealer, &mut desired, id, Status::Valid);
    }
    tick(&mut sealer, &mut map, &desired, &mut rng);
    assert_eq!(map.len(), 64, "twenty badges stand where decoys stood");
    for id in 21..=60 {
        change(&mut sealer, &mut desired, id, Status::Valid);
    }
    tick(&mut sealer, &mut map, &desired, &mut rng);
    assert_eq!(sealer.rows(), map.len());
    assert!(map.len() >= 60 + 64 / 2);
    for id in 1..=60 {
        assert!(says(&map, &desired[&id]).is_some(), "{id}");
    }
}

#[test]
fn a_restart_finds_what_was_published_and_what_waits() {
    let (mut sealer, mut map, mut desired, mut rng) = published(200);
    tick(&mut sealer, &mut map, &desired, &mut rng);
    desired.insert(9, entry(9, Status::Suspended));
    let mut recovered = Sealer::recover(binder(), &desired, map.rows(), NOW);
    assert_eq!(recovered.rows(), map.len());
    assert_eq!(recovered.waiting(), 1);
    tick(&mut recovered, &mut map, &desired, &mut rng);
    assert_eq!(says(&map, &desired[&9]).unwrap().status, Status::Suspended);
}

#[test]
fn a_sweep_re_seals_every_row_once() {
    let (mut sealer, mut map, desired, mut rng) = published(2_500);
    let before: HashSet<_> = map.rows().map(|row| *row.record.bytes()).collect();
    sealer.begin_sweep();
    while sealer.is_sweeping() {
        tick(&mut sealer, &mut map, &desired, &mut rng);
    }
    assert!(map.rows().all(|row| !before.contains(row.record.bytes())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn after_enough_ticks_the_directory_says_what_is_desired(
        changes in prop::collection::vec((1_u64..150, 0_usize..3), 1..200),
    ) {
        let (mut sealer, mut map, mut desired, mut rng) = published(80);
        for chunk in changes.chunks(20) {
            for (id, status) in chunk {
                let status = [Status::Valid, Status::Suspended, Status::Revoked][*status];
                change(&mut sealer, &mut desired, *id, status);
            }
            tick(&mut sealer, &mut map, &desired, &mut rng);
        }
        while sealer.waiting() > 0 {
            tick(&mut sealer, &mut map, &desired, &mut rng);
        }
        for entry in desired.values() {
            prop_assert_eq!(says(&map, entry), Some(entry.record));
        }
        prop_assert_eq!(sealer.rows(), map.len());
    }
}

/// A stop that waited for the next tick would be good again in between, whatever the number of changes.
#[test]
fn the_first_tick_of_an_epoch_holds_all_that_waits() {
    for changes in [1, 31, 32, 33, 127, 128, 1_000, 1_024, 1_100, 2_500] {
        let (mut sealer, mut map, mut desired, mut rng) = published(3_000);
        for id in 1..=changes {
            let status = if id % 2 == 0 { Status::Suspended } else { Status::Revoked };
            change(&mut sealer, &mut desired, id, status);
        }
        for id in 3_001..=3_000 + changes / 8 {
            change(&mut sealer, &mut desired, id, Status::Valid);
        }
        let amount = Amount::CatchUp(40);
        let (delta, rows) = sealer.draft(&desired, &padding(), amount, NOW, &mut rng).unwrap();
        let _undo = map.apply(&delta).unwrap();
        sealer.commit(rows);
        assert_eq!(sealer.waiting(), 0, "{changes} changes");
        let is_step = |rows| [40, 128, 1_024, 2_048, 3_072].contains(&rows);
        assert!(is_step(delta.upserts().len()), "{changes} changes: {}", delta.upserts().len());
    }
}

//! What a crash, a damaged disk or a full one leaves, and that nothing goes back.
#![allow(clippy::disallowed_methods)]

mod common;

use std::path::PathBuf;

use common::*;
use lanyard_core::ids::Audience;
use lanyard_feed::{Content, FeedError};

fn only_tick(world: &World, mirror: &str, size: u64) -> PathBuf {
    world.path(mirror).join("ticks").join(format!("{size:020}"))
}

#[tokio::test]
async fn a_restart_offline_knows_what_was_known() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(400);
    committee.settled(put(&[1], 2));
    committee.tick(put(&[2], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let before = (versions(&gate, 1), versions(&gate, 2), gate.read().freshness());
    drop(gate);
    // Even with the clock set back by years.
    world.clock.set(lanyard_core::ids::Timestamp::from_seconds(1_000_000_000));
    let gate = world.gate("gate");
    assert_eq!((versions(&gate, 1), versions(&gate, 2), gate.read().freshness()), before);
    assert_eq!(versions(&gate, 2), (Some(2), Some(1)));
    assert!(!gate.is_incomplete());
    assert!(gate.now().seconds() >= START, "the clock does not run behind the witnesses");
}

#[tokio::test]
async fn a_truncated_last_tick_is_left_out_and_fetched_again() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    for version in 2..5 {
        committee.settled(put(&[1], version));
    }
    pull(&committee.mirror, &gate).await;
    let size = gate.read().size();
    drop(gate);
    let path = only_tick(&world, "gate", size);
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 1, 31, 32, 33, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let gate = world.gate("gate");
        assert_eq!(gate.read().size(), size - 1, "cut to {length} bytes");
        assert_eq!(versions(&gate, 1).0, Some(3));
    }
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    assert_eq!(versions(&gate, 1), (Some(4), Some(4)));
    drop(gate);
    assert_eq!(versions(&world.gate("gate"), 1), (Some(4), Some(4)));
}

#[tokio::test]
async fn a_publisher_does_not_forget_a_damaged_tick() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    committee.tick(put(&[1], 2));
    let size = committee.mirror.read().size();
    drop(committee);
    let path = only_tick(&world, "committee", size);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let config = lanyard_feed::MirrorConfig { publisher: true, ..world.config(&Audience::ALL) };
    let refused = world.open("committee", config).err().unwrap();
    assert!(matches!(refused, FeedError::Corrupt { .. }), "{refused}");
    assert!(refused.to_string().contains(path.to_str().unwrap()), "{refused}");
}

#[tokio::test]
async fn a_damaged_directory_is_fetched_again_and_the_log_is_not_forgotten() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    committee.settled(put(&[1], 2));
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    let size = sponsor.read().size();
    drop(sponsor);
    let dir = world.path("sponsor/snapshots");
    let names = world.env.files.list(&dir).unwrap();
    let victim = names.iter().find(|name| name.ends_with("1-gate")).unwrap();
    let mut bytes = std::fs::read(dir.join(victim)).unwrap();
    bytes[100] ^= 1;
    std::fs::write(dir.join(victim), bytes).unwrap();
    let sponsor = world.mirror("sponsor");
    assert_eq!(sponsor.read().size(), size);
    assert!(sponsor.is_incomplete());
    assert!(sponsor.read().directory(EPOCH, Audience::Gate).is_none());
    // At the very same size, and it serves nobody in the meantime.
    let gate = world.gate("gate");
    assert!(sent(&sponsor, &gate).await.iter().all(|response| {
        use lanyard_wire::feed::v1::follow_response::Update;
        !matches!(response.update, Some(Update::Tick(_) | Update::Snapshot(_)))
    }));
    pull(&committee.mirror, &sponsor).await;
    assert!(!sponsor.is_incomplete());
    assert_eq!(versions(&sponsor, 1), (Some(2), Some(2)));
    drop(sponsor);
    let sponsor = world.mirror("sponsor");
    assert_eq!(versions(&sponsor, 1), (Some(2), Some(2)));
    pull(&sponsor, &gate).await;
    assert_eq!(versions(&gate, 1), (Some(2), Some(2)));
}

#[tokio::test]
async fn a_damaged_log_is_not_opened() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(10);
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    drop(gate);
    for name in ["base", "leaves"] {
        let path = world.path("gate").join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[10] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let refused = world.open("gate", world.gate_config()).err().unwrap();
        assert!(matches!(refused, FeedError::Corrupt { .. }), "{name}: {refused}");
        std::fs::write(&path, &good).unwrap();
    }
    assert_eq!(versions(&world.gate("gate"), 1), (Some(2), Some(2)));
}

#[tokio::test]
async fn a_prepared_tick_survives_and_nothing_else_may_be_signed() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let keys = committee.keys.clone();
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), put(&[1], 2));
    directories.push(committee.directory(next, rows(50)));
    let prepared = committee.mirror.prepare(committee.draft(directories)).unwrap();
    assert_eq!(versions(&committee.mirror, 1), (Some(1), None), "nobody sees it");
    let again = committee.draft(committee.unchanged(gate_key(), Content::Unchanged));
    assert!(matches!(committee.mirror.prepare(again), Err(FeedError::Unsigned { .. })));
    drop(committee);
    let mut committee = world.publisher("committee");
    committee.keys = keys;
    assert_eq!(committee.mirror.unsigned(), Some(prepared.clone()));
    assert_eq!(versions(&committee.mirror, 1), (Some(1), None));
    // Another checkpoint of that size is refused, and so is another's signature.
    let root = committee.mirror.read().log().root();
    let other = lanyard_core::checkpoint::Checkpoint::new(
        committee.mirror.origin(),
        prepared.size(),
        lanyard_core::log::leaf_hash(root.as_bytes()),
    );
    let refused = committee.mirror.publish(&committee.sign(&other));
    assert!(matches!(refused, Err(FeedError::NotPrepared)));
    committee.mirror.publish(&committee.sign(&prepared)).unwrap();
    assert_eq!(versions(&committee.mirror, 1), (Some(2), None));
    assert!(committee.mirror.read().directory(next.epoch, Audience::Gate).is_some());
    assert_eq!(committee.mirror.unsigned(), None);
    drop(committee);
    let committee = world.publisher("committee");
    assert_eq!(committee.mirror.unsigned(), None);
    assert_eq!(versions(&committee.mirror, 1), (Some(2), None));
}

#[tokio::test]
async fn an_authority_restored_from_a_backup_takes_what_it_signed_since_from_a_mirror() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    // The backup has a prepared tick that later turned out otherwise.
    copy(&world.path("committee"), &world.path("backup"));
    let stale = world.publisher("backup");
    let draft = stale.draft(stale.unchanged(gate_key(), put(&[9], 9)));
    stale.mirror.prepare(draft).unwrap();
    committee.tick(put(&[1], 2));
    committee.settled(put(&[1], 3));
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    pull(&sponsor, &stale.mirror).await;
    assert_eq!(stale.mirror.unsigned(), None);
    assert_eq!(versions(&stale.mirror, 1), (Some(3), Some(3)));
    assert_eq!(versions(&stale.mirror, 9), (Some(1), Some(1)));
}

#[tokio::test]
async fn old_ticks_make_way_for_a_new_base_and_late_followers_start_from_it() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(3_000);
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    let gate = world.gate("gate");
    pull(&sponsor, &gate).await;
    let all: Vec<u32> = (0..2_000).collect();
    for version in 2..40 {
        committee.settled(put(&all, version));
        pull(&committee.mirror, &sponsor).await;
    }
    for name in ["committee", "sponsor"] {
        let kept = world.env.files.list(&world.path(name).join("ticks")).unwrap().len();
        assert!((1..30).contains(&kept), "{name} keeps {kept} ticks");
        let kept = world.env.files.list(&world.path(name).join("snapshots")).unwrap().len();
        assert_eq!(kept, 3, "{name}: one snapshot a directory");
    }
    drop(sponsor);
    let sponsor = world.mirror("sponsor");
    assert_eq!(versions(&sponsor, 7), (Some(39), Some(39)));
    // A little behind: deltas. Far behind, or new: the base.
    let count = |sent: &[lanyard_wire::feed::v1::FollowResponse]| {
        use lanyard_wire::feed::v1::follow_response::Update;
        let is_part = |one: &&lanyard_wire::feed::v1::FollowResponse| {
            matches!(one.update, Some(Update::Snapshot(_)))
        };
        sent.iter().filter(is_part).count()
    };
    assert!(count(&sent(&sponsor, &gate).await) > 0);
    pull(&sponsor, &gate).await;
    assert_eq!(versions(&gate, 7), (Some(39), Some(39)));
    committee.settled(put(&[1], 40));
    pull(&committee.mirror, &sponsor).await;
    assert_eq!(count(&sent(&sponsor, &gate).await), 0);
    pull(&sponsor, &gate).await;
    drop(gate);
    let gate = world.gate("gate");
    assert_eq!(
        (versions(&gate, 1), versions(&gate, 7)),
        ((Some(40), Some(40)), (Some(39), Some(39)))
    );
    assert!(!gate.is_incomplete());
    let log = committee.mirror.read().log().root();
    assert_eq!(gate.read().log().root(), log);
}

/// Found by the simulation: such a follower was sent the ticks that are kept, the snapshot that one of them brings was
/// not, and it was told to follow again for as long as the base stayed, which is an epoch.
#[tokio::test]
async fn a_follower_that_missed_the_publication_of_an_epoch_and_the_base_after_it_is_started_anew()
{
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(3_000);
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), Content::Unchanged);
    directories.push(committee.directory(next, rows(30)));
    world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    let published = committee.publish(draft);
    committee.cosign(&published);
    let draft = committee.draft(committee.unchanged(next, put(&[1], 2)));
    let changed = committee.publish(draft);
    committee.cosign(&changed);
    let snapshots = world.path("committee/snapshots");
    let names = || world.env.files.list(&snapshots).unwrap();
    let brought = names().into_iter().find(|name| name.ends_with("2-gate")).unwrap();
    let all: Vec<u32> = (0..2_000).collect();
    for version in 3..13 {
        committee.settled(put(&all, version));
    }
    assert!(!names().contains(&brought), "a base was made");
    pull(&committee.mirror, &gate).await;
    assert_eq!(gate.read().size(), committee.mirror.read().size());
    assert_eq!(versions(&gate, 7), (Some(12), Some(12)));
    assert!(gate.read().directory(next.epoch, next.audience).is_some());
}

#[tokio::test]
async fn a_mirror_takes_at_most_two_and_a_half_times_its_snapshots_in_memory() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    let count = 300_000;
    let directory = committee.directory(gate_key(), rows(count));
    let draft = committee.draft(vec![directory]);
    committee.publish(draft);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    // As many ticks without a quorum as are kept apart, and one large one.
    for version in 2..70 {
        let start = version * 256;
        committee.tick(put(&(start..start + 256).collect::<Vec<_>>(), version));
    }
    committee.tick(put(&(0..65_536).collect::<Vec<_>>(), 100));
    pull(&committee.mirror, &gate).await;
    let snapshot = count as usize * 68;
    let memory = gate.read().memory_bytes();
    assert!(memory * 2 <= snapshot * 5, "{memory} bytes for a snapshot of {snapshot}");
    assert_eq!(versions(&gate, 600), (Some(100), None));
}

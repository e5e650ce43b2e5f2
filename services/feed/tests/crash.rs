//! Machines that stop at any call, with or without what was not synced.
#![allow(clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::*;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::ids::Audience;
use lanyard_env::{Files as _, Loss, LossyDisk};
use lanyard_feed::{FeedError, Mirror, MirrorConfig};
use lanyard_wire::feed::v1::FollowResponse;

/// As a service does that takes its folder.
fn settle(disk: &LossyDisk) {
    let files = disk.files();
    if files.exists(Path::new(FOLDER)).unwrap() {
        files.settle(Path::new("/data")).unwrap();
    }
}

/// Kill -9, power loss, and a power loss that keeps some.
fn losses(calls: u64) -> [Loss; 3] {
    [Loss::None, Loss::All, Loss::Some(calls)]
}

/// A follower stops at every single call in turn: what was visible is there after a restart, and what was not is there
/// whole or not at all.
#[tokio::test]
async fn a_crash_at_any_call_loses_nothing_that_was_visible() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(60);
    committee.settled(put(&[1], 2));
    let first = sent(&committee.mirror, &world.gate("nobody")).await;
    let before = world.gate("before");
    apply(&before, first.clone()).unwrap();
    for version in 3..6 {
        committee.settled(put(&[1], version));
    }
    let mut directories = committee.unchanged(gate_key(), put(&[1], 6));
    directories.push(committee.directory(key(2, Audience::Gate), rows(30)));
    world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    let signed = committee.publish(draft);
    committee.seal_keys(key(2, Audience::Gate));
    committee.cosign(&signed);
    let second = sent(&committee.mirror, &before).await;
    let whole: Vec<_> = first.into_iter().chain(second).collect();

    let mut crashes = 0;
    for calls in 0.. {
        let mut ended = true;
        for loss in losses(calls) {
            let stopped = follow_until(&world, &committee.mirror, &whole, calls, loss).await;
            crashes += u32::from(stopped);
            ended &= !stopped;
        }
        if ended {
            break;
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 100, "only {crashes} crashes");
}

/// Whether the machine stopped.
async fn follow_until(
    world: &World,
    upstream: &Arc<Mirror>,
    whole: &[FollowResponse],
    calls: u64,
    loss: Loss,
) -> bool {
    let newest = upstream.read().size();
    let disk = LossyDisk::new();
    disk.stop_after(calls);
    let mut seen = (0, 0);
    if let Ok(gate) = open_on(world, &disk, world.gate_config()) {
        let mut intake = gate.intake("upstream");
        let failed = whole.iter().cloned().any(|response| intake.apply(response).is_err());
        seen = sizes(&gate);
        assert!(failed || seen.0 == newest);
    }
    let stopped = disk.is_stopped();
    disk.restart(loss);
    settle(&disk);
    let gate = open_on(world, &disk, world.gate_config()).unwrap();
    let (size, quorum) = sizes(&gate);
    // What the next process shows survives a power cut, too.
    drop(gate);
    disk.restart(Loss::All);
    let gate = open_on(world, &disk, world.gate_config()).unwrap();
    assert_eq!(sizes(&gate), (size, quorum), "after {calls} calls, {loss:?}, and a power cut");
    assert!(size >= seen.0 && quorum >= seen.1, "after {calls} calls, {loss:?}: {seen:?} was seen");
    if size > 0 {
        let expected = if size == newest { 6 } else { u32::try_from(size).unwrap() };
        assert_eq!(versions(&gate, 1).0, Some(expected), "after {calls} calls, {loss:?}");
    }
    catch_up(upstream, &gate).await;
    assert_eq!(versions(&gate, 1), (Some(6), Some(6)));
    stopped
}

/// The same for an authority that publishes.
#[tokio::test]
async fn a_publisher_that_crashes_at_any_call_signs_one_checkpoint_a_size() {
    let world = World::new();
    let base = LossyDisk::new();
    let config = MirrorConfig { publisher: true, ..world.config(&Audience::ALL) };
    let mut committee = world.publisher("unused");
    committee.mirror = open_on(&world, &base, config.clone()).unwrap();
    committee.begin(40);
    let keys = committee.keys.clone();
    drop(committee);
    let (mut failed, mut crashes) = (0, 0);
    for calls in 0.. {
        let mut ended = true;
        for loss in losses(calls) {
            let disk = base.copy();
            disk.stop_after(calls);
            let mut signed = Vec::new();
            if let Ok(mirror) = open_on(&world, &disk, config.clone()) {
                let mut committee = world.publisher("unused");
                (committee.mirror, committee.keys) = (mirror, keys.clone());
                failed += u32::from(publish_until(&mut committee, &mut signed));
            }
            let stopped = disk.is_stopped();
            crashes += u32::from(stopped);
            ended &= !stopped;
            disk.restart(loss);
            settle(&disk);

            let mut committee = world.publisher("unused");
            committee.mirror = open_on(&world, &disk, config.clone()).unwrap();
            committee.keys = keys.clone();
            if let Some(unsigned) = committee.mirror.unsigned() {
                let one = committee.sign(&unsigned);
                committee.mirror.publish(&one).unwrap();
                signed.push(one);
            }
            let known = committee.mirror.read().size();
            let left = signed.iter().map(|one| one.checkpoint().size()).max();
            assert!(Some(known) >= left, "{left:?} was signed, and only {known} is known");
            let version = u32::try_from(known).unwrap() + 1;
            signed.push(committee.tick(put(&[1], version)));
            for (index, one) in signed.iter().enumerate() {
                let rest = &signed[index..];
                assert!(rest.iter().all(|other| !one.contradicts(other)), "{calls}, {loss:?}");
            }
            assert_eq!(versions(&committee.mirror, 1).0, Some(version));
        }
        if ended {
            break;
        }
    }
    println!("{crashes} crashes, {failed} between signing and publishing");
    assert!(crashes > 100 && failed > 10, "{crashes} crashes, {failed} of a signed tick");
}

/// Three ticks, as far as the disk lets them; whether one was signed and could not be published.
fn publish_until(committee: &mut Publisher<'_>, signed: &mut Vec<VerifiedCheckpoint>) -> bool {
    for version in 2..5 {
        let mut directories = committee.unchanged(gate_key(), put(&[1], version));
        if version == 3 {
            directories.push(committee.directory(key(2, Audience::Gate), rows(30)));
        }
        let Ok(checkpoint) = committee.mirror.prepare(committee.draft(directories)) else {
            return false;
        };
        let one = committee.sign(&checkpoint);
        signed.push(one.clone());
        if committee.mirror.publish(&one).is_err() {
            return true;
        }
    }
    false
}

/// A tick that was signed and could not be published for want of space goes out, and nothing else, once there is space:
/// without a restart.
#[tokio::test]
async fn a_full_disk_holds_a_tick_back_and_lets_it_go_later() {
    let world = World::new();
    let disk = LossyDisk::new();
    let config = MirrorConfig { publisher: true, ..world.config(&Audience::ALL) };
    let mut committee = world.publisher("unused");
    committee.mirror = open_on(&world, &disk, config).unwrap();
    committee.begin(40);
    for space in (0..6_000).step_by(101) {
        let size = committee.mirror.read().size();
        let version = u32::try_from(size).unwrap() + 1;
        disk.set_space(Some(space));
        world.clock.advance_millis(TICK);
        let draft = committee.draft(committee.unchanged(gate_key(), put(&[1], version)));
        match committee.mirror.prepare(draft) {
            Err(error) => {
                assert!(error.to_string().contains("the disk is full; free space"), "{error}");
                disk.set_space(None);
                assert_eq!(committee.mirror.read().size(), size);
                committee.tick(put(&[1], version));
            }
            Ok(checkpoint) => {
                let one = committee.sign(&checkpoint);
                if committee.mirror.publish(&one).is_err() {
                    disk.set_space(None);
                    let other = committee.draft(committee.unchanged(gate_key(), put(&[1], 99)));
                    let refused = committee.mirror.prepare(other);
                    assert!(matches!(refused, Err(FeedError::Unsigned { .. })), "{refused:?}");
                    committee.mirror.publish(&one).unwrap();
                }
                disk.set_space(None);
            }
        }
        assert_eq!(committee.mirror.read().size(), size + 1);
        assert_eq!(versions(&committee.mirror, 1).0, Some(version));
    }
}

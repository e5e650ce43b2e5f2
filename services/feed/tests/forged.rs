//! Forks, roll-backs and altered heads, whoever makes them.
#![allow(clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::*;
use lanyard_core::checkpoint::{Checkpoint, verify_checkpoint};
use lanyard_core::head::MapHead;
use lanyard_core::ids::{Audience, Epoch};
use lanyard_core::log::{ConsistencyProof, verify_consistency};
use lanyard_core::note::{Note, SigningKey};
use lanyard_feed::{DirectoryDraft, FeedError, Misdeed};
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{Cosigned, FollowResponse, LogLeaves, Tick};

#[tokio::test]
async fn a_fork_is_refused_and_its_evidence_convinces_a_stranger() {
    let world = World::new();
    let mut one = world.publisher("one");
    one.begin(50);
    let mut other = world.publisher("other");
    other.keys = one.keys.clone();
    world.clock.advance_millis(1);
    other.begin(50);
    let gate = world.gate("gate");
    one.settled(put(&[1], 2));
    one.settled(put(&[1], 3));
    pull(&one.mirror, &gate).await;
    // The authority itself shows the gate another log, of the same size, a smaller one and a larger one.
    let second = other.tick(put(&[1], 7));
    let cosigned = Cosigned { checkpoint: other.cosigned(&second).note().to_string() };
    let refused = apply(&gate, vec![response(Update::Cosigned(cosigned))]);
    assert!(matches!(refused, Err(FeedError::Fork { size: 2 })), "{refused:?}");
    let evidence = kept(&world, "gate").remove(0);
    assert_eq!(evidence.misdeed, Misdeed::Fork);
    assert!(evidence.proves_itself);
    let check = |note: &str| {
        verify_checkpoint(&Note::parse(note).unwrap(), world.log_key.verifying_key()).unwrap()
    };
    let (ours, theirs) = (check(evidence.kept.as_deref().unwrap()), check(&evidence.sent));
    let proof = ConsistencyProof::new(evidence.consistency).unwrap();
    let root = evidence.kept_root.unwrap();
    verify_consistency(theirs.size(), &root, ours.size(), &ours.root(), &proof).unwrap();
    assert_ne!(root, theirs.root());

    let third = other.tick(put(&[1], 8));
    let cosigned = Cosigned { checkpoint: third.note().to_string() };
    let refused = apply(&gate, vec![response(Update::Cosigned(cosigned))]);
    assert!(matches!(refused, Err(FeedError::Fork { size: 3 })));
    // A server that follows the other log gives itself away.
    let given = sent(&other.mirror, &gate).await;
    assert!(matches!(apply(&gate, given), Err(FeedError::Fork { size: 3 })));
    let empty = world.gate("empty");
    other.tick(put(&[1], 9));
    let mut larger = sent(&other.mirror, &empty).await;
    larger.retain(|response| !matches!(response.update, Some(Update::Leaves(_))));
    let last = larger.iter().rposition(|one| matches!(one.update, Some(Update::Tick(_)))).unwrap();
    let refused = apply(&gate, vec![larger.swap_remove(last)]);
    assert!(matches!(refused, Err(FeedError::Inconsistent { have: 3, size: 4 })), "{refused:?}");
    assert_eq!(kept(&world, "gate").len(), 3);
    assert_eq!(versions(&gate, 1), (Some(3), Some(3)));
}

#[tokio::test]
async fn leaves_that_lead_elsewhere_are_refused() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    // A new epoch makes a base, so that what came before travels as leaves.
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), put(&[1], 2));
    directories.push(committee.directory(next, rows(50)));
    let draft = committee.draft(directories);
    committee.publish(draft);
    committee.live = next.epoch;
    let content = put(&[1], 3);
    let draft = committee.draft(vec![DirectoryDraft { key: next, content, profiles: None }]);
    let signed = committee.publish(draft);
    committee.cosign(&signed);
    let gate = world.gate("gate");
    let honest = sent(&committee.mirror, &gate).await;
    let of_leaves = |sent: &FollowResponse| matches!(&sent.update, Some(Update::Leaves(leaves)) if leaves.hashes.len() == 64);
    let place = honest.iter().position(of_leaves).unwrap();
    apply(&gate, honest.clone()).unwrap();
    let gate = world.gate("other");
    for (start, count, hash) in [(0, 2, 7_u8), (1, 2, 7), (0, 1, 7), (0, 3, 7)] {
        let leaves = LogLeaves { start, hashes: vec![hash; 32 * count] };
        let mut lie = honest.clone();
        lie[place] = response(Update::Leaves(leaves));
        let refused = apply(&gate, lie).unwrap_err();
        let expected = matches!(refused, FeedError::Gap { .. } | FeedError::Inconsistent { .. });
        assert!(expected, "{refused}");
        assert_eq!(gate.read().size(), 0);
    }
    let odd = LogLeaves { start: 0, hashes: vec![0; 33] };
    assert!(matches!(apply(&gate, vec![response(Update::Leaves(odd))]), Err(FeedError::Wire(_))));
    apply(&gate, honest).unwrap();
    assert_eq!((gate.read().size(), gate.read().quorum().unwrap().size()), (3, 3));
}

#[tokio::test]
async fn an_altered_head_checkpoint_or_cosignature_is_refused() {
    let world = World::new();
    let (committee, gate, honest) = one_tick_behind(&world).await;
    type Change = Box<dyn Fn(&mut Tick)>;
    let lies: Vec<(&str, Change)> = vec![
        (
            "a head's byte",
            Box::new(|tick| {
                let mut head = tick.head.to_vec();
                let at = head.len() - 40;
                head[at] ^= 1;
                tick.head = head.into();
            }),
        ),
        ("no head", Box::new(|tick| tick.head = Bytes::new())),
        ("an old head", {
            let old = committee.mirror.read().quorum().unwrap().signed().bytes().clone();
            let mut head = MapHead::from_bytes(&old).unwrap();
            head.size -= 1;
            Box::new(move |tick| tick.head = head.to_bytes().unwrap().into())
        }),
        ("no checkpoint", Box::new(|tick| tick.checkpoint.clear())),
        (
            "a checkpoint's size",
            Box::new(|tick| {
                tick.checkpoint = tick.checkpoint.replacen("\n3\n", "\n4\n", 1);
            }),
        ),
        ("a stranger's signature", {
            let name = world.log_key.verifying_key().name().clone();
            let stranger = SigningKey::generate(name, &mut world.env.rng());
            Box::new(move |tick| {
                let text = Note::parse(&tick.checkpoint).unwrap().text().to_owned();
                tick.checkpoint = Note::sign(&text, &[&stranger]).unwrap().to_string();
            })
        }),
        (
            "an unknown directory",
            Box::new(|tick| {
                tick.deltas[0].directory.as_mut().unwrap().epoch = 9;
            }),
        ),
        ("a nameless directory", Box::new(|tick| tick.deltas[0].directory = None)),
        (
            "a delta twice",
            Box::new(|tick| {
                let again = tick.deltas[0].clone();
                tick.deltas.push(again);
            }),
        ),
        (
            "half a delta",
            Box::new(|tick| {
                let delta = &mut tick.deltas[0].delta;
                *delta = delta.slice(..delta.len() - 1);
            }),
        ),
    ];
    for (what, lie) in lies {
        assert!(apply(&gate, with_tick(honest.clone(), lie)).is_err(), "{what}");
        assert_eq!(gate.read().size(), 2, "{what}");
    }
    // A cosignature that was altered is refused; the tick itself was good and signed.
    let text = committee.mirror.read().quorum().unwrap().checkpoint().note().to_string();
    let line = text.lines().last().unwrap();
    let altered = text.replace(&line[line.len() - 20..line.len() - 10], "AAAAAAAAAA");
    apply(&gate, honest.iter().take(honest.len() - 1).cloned().collect()).unwrap();
    let cosigned = Cosigned { checkpoint: altered };
    let refused = apply(&gate, vec![response(Update::Cosigned(cosigned))]);
    assert!(matches!(refused, Err(FeedError::Cosignature(_))), "{refused:?}");
    assert_eq!(versions(&gate, 1), (Some(3), Some(2)));
    apply(&gate, honest).unwrap();
    assert_eq!(versions(&gate, 1), (Some(3), Some(3)));
}

#[tokio::test]
async fn an_authority_that_goes_back_in_epoch_is_refused_and_kept() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    let directories = Audience::ALL.map(|audience| committee.directory(key(2, audience), rows(20)));
    committee.live = Epoch::new(2);
    let draft = committee.draft(directories.into());
    committee.publish(draft);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    // Its own mirror does not stop it: the gate does.
    committee.live = Epoch::new(1);
    world.clock.advance_millis(TICK);
    let directories = Audience::ALL.map(|audience| DirectoryDraft {
        key: key(2, audience),
        content: lanyard_feed::Content::Unchanged,
        profiles: None,
    });
    let draft = committee.draft(directories.into());
    let checkpoint = committee.mirror.prepare(draft).unwrap();
    committee.mirror.publish(&committee.sign(&checkpoint)).unwrap();
    let lie = sent(&committee.mirror, &gate).await;
    assert!(matches!(apply(&gate, lie), Err(FeedError::EpochRolledBack { .. })));
    let kept = kept(&world, "gate");
    assert!(kept[0].misdeed == Misdeed::RolledBack && kept[0].proves_itself);
    assert_eq!(gate.read().size(), 1);
}

#[tokio::test]
async fn a_head_from_the_future_waits_for_the_clock() {
    let world = World::new();
    let (mut committee, gate, honest) = one_tick_behind(&world).await;
    apply(&gate, honest).unwrap();
    // The authority's clock, and its witnesses', not the time.
    world.clock.set(world.env.now().plus_millis(60_000));
    committee.settled(put(&[1], 4));
    let ahead = sent(&committee.mirror, &gate).await;
    world.clock.set(world.env.now().minus_millis(60_000));
    let refused = apply(&gate, ahead.clone()).unwrap_err();
    assert!(matches!(refused, FeedError::Time(_)) && !refused.is_senders_fault(), "{refused}");
    assert_eq!(versions(&gate, 1).0, Some(3));
    world.clock.advance_millis(60_000);
    apply(&gate, ahead).unwrap();
    assert_eq!(versions(&gate, 1).0, Some(4));
}

#[tokio::test]
async fn a_head_under_an_unknown_manifest_is_refused() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(20);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    world.clock.advance_millis(TICK);
    let mut draft = committee.draft(committee.unchanged(gate_key(), put(&[1], 2)));
    draft.manifest = lanyard_core::log::leaf_hash(b"another");
    committee.publish(draft);
    let lie = sent(&committee.mirror, &gate).await;
    assert!(matches!(apply(&gate, lie), Err(FeedError::UnknownManifest { size: 2 })));
}

#[test]
fn a_checkpoint_signed_for_another_origin_is_not_the_prepared_one() {
    let world = World::new();
    let committee = world.publisher("committee");
    let origin =
        lanyard_core::ids::Origin::new(&world.manifest.event, lanyard_core::ids::Authority::Police);
    let root = lanyard_core::log::leaf_hash(b"x");
    assert!(Checkpoint::new(&origin, 1, root).sign(&world.log_key).is_err());
    assert_eq!(committee.mirror.unsigned(), None);
}

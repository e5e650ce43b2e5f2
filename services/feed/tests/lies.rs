//! What a sender may try (DESIGN §12): each lie is refused, what was visible stays, and what can be proved is kept.
#![allow(clippy::disallowed_methods)]

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::*;
use lanyard_core::ids::{Audience, Epoch};
use lanyard_core::map::{Delta, Map};
use lanyard_feed::{Applied, FeedError, Misdeed};
use lanyard_telemetry::{Incident, Telemetry};
use lanyard_wire::feed::v1::follow_response::Update;
use lanyard_wire::feed::v1::{DirectoryId, FollowResponse, LogLeaves};
use prost::Message as _;
use rand::{Rng as _, RngExt as _};

#[tokio::test]
async fn a_forged_record_is_refused_and_kept() {
    let world = World::new();
    let (_committee, gate, honest) = one_tick_behind(&world).await;
    let (telemetry, told) = (Telemetry::new(None), Arc::new(Mutex::new(Vec::new())));
    gate.observe(&telemetry);
    let heard = Arc::clone(&told);
    telemetry.incidents().heard_by(move |incident, about| {
        heard.lock().unwrap().push((incident, about));
    });
    let forged = with_tick(honest.clone(), |tick| {
        let delta = Delta::from_bytes(&tick.deltas[0].delta).unwrap();
        let mut rows = delta.upserts().to_vec();
        rows[0].record = row(0, 9).record;
        tick.deltas[0].delta = Delta::new(vec![], rows).unwrap().to_bytes().into();
    });
    let refused = apply(&gate, forged).unwrap_err();
    assert!(matches!(refused, FeedError::Directory { .. }), "{refused}");
    assert!(refused.is_senders_fault());
    let kept = kept(&world, "gate");
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].misdeed, kept[0].sender.as_str()), (Misdeed::WrongRows, "upstream"));
    assert_eq!(gate.times_caught(), 1);
    let about = format!("wrong-rows of {} from upstream", gate.origin());
    assert_eq!(*told.lock().unwrap(), [(Incident::MisdeedNoticed, about)]);
    unharmed(&world, gate, honest).await;
}

#[tokio::test]
async fn an_omitted_record_is_refused_and_kept() {
    let world = World::new();
    let (_committee, gate, honest) = one_tick_behind(&world).await;
    let some = with_tick(honest.clone(), |tick| {
        let delta = Delta::from_bytes(&tick.deltas[0].delta).unwrap();
        let rows = delta.upserts()[1..].to_vec();
        tick.deltas[0].delta = Delta::new(vec![], rows).unwrap().to_bytes().into();
    });
    assert!(matches!(apply(&gate, some), Err(FeedError::Directory { .. })));
    let all = with_tick(honest.clone(), |tick| tick.deltas.clear());
    assert!(matches!(apply(&gate, all), Err(FeedError::Directory { .. })));
    // The same deed twice is one file.
    assert_eq!(kept(&world, "gate").len(), 1);
    assert_eq!(gate.times_caught(), 2);
    unharmed(&world, gate, honest).await;
}

#[tokio::test]
async fn a_record_omitted_from_a_snapshot_is_refused_and_kept() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(200);
    let gate = world.gate("gate");
    let honest = sent(&committee.mirror, &gate).await;
    let tampered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut sent = honest.clone();
        for response in &mut sent {
            if let Some(Update::Snapshot(chunk)) = &mut response.update {
                let mut data = chunk.data.to_vec();
                change(&mut data);
                chunk.data = Bytes::from(data);
            }
        }
        sent
    };
    let forged = tampered(&|data| *data.last_mut().unwrap() ^= 1);
    assert!(matches!(apply(&gate, forged), Err(FeedError::Snapshot { .. })));
    assert_eq!(kept(&world, "gate").len(), 1);
    let omitted = tampered(&|data| data.truncate(data.len() - 68));
    assert!(matches!(apply(&gate, omitted), Err(FeedError::Snapshot { .. })));
    let truncated = tampered(&|data| data.truncate(data.len() - 1));
    assert!(matches!(apply(&gate, truncated), Err(FeedError::Snapshot { .. })));
    let longer = tampered(&|data| data.push(0));
    assert!(matches!(apply(&gate, longer), Err(FeedError::Snapshot { .. })));
    let missing = honest
        .iter()
        .filter(|response| !matches!(response.update, Some(Update::Snapshot(_))))
        .cloned()
        .collect();
    assert!(matches!(apply(&gate, missing), Err(FeedError::MissingSnapshot { .. })));
    assert_eq!(gate.read().size(), 0);
    assert!(world.env.files.list(&world.path("gate/incoming")).unwrap().is_empty());
    apply(&gate, honest).unwrap();
    assert_eq!(versions(&gate, 1).0, Some(1));
}

#[tokio::test]
async fn an_old_state_changes_nothing() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let gate = world.gate("gate");
    let first = sent(&committee.mirror, &gate).await;
    apply(&gate, first.clone()).unwrap();
    committee.settled(put(&[1], 2));
    let second = sent(&committee.mirror, &gate).await;
    apply(&gate, second.clone()).unwrap();
    let state = (versions(&gate, 1), gate.read().size(), gate.read().freshness());
    for old in [first, second] {
        let applied = apply(&gate, old).unwrap();
        assert!(!applied.iter().any(|one| matches!(one, Applied::Tick { .. })), "{applied:?}");
    }
    assert_eq!((versions(&gate, 1), gate.read().size(), gate.read().freshness()), state);
    // A mirror that is behind says so when it is asked.
    let behind = world.mirror("behind");
    let request = tonic::Request::new(gate.follow_request());
    use lanyard_wire::feed::v1::feed_service_server::FeedService as _;
    use tokio_stream::StreamExt as _;
    let mut stream = server(&behind).follow(request).await.unwrap().into_inner();
    assert!(matches!(stream.next().await.unwrap().unwrap().update, Some(Update::Route(_))));
    let refused = stream.next().await.unwrap().unwrap_err();
    assert_eq!(lanyard_transport::status::reason(&refused).as_deref(), Some("BEHIND"));
}

#[tokio::test]
async fn an_old_epochs_snapshot_and_profile_table_are_refused_when_replayed() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let gate = world.gate("gate");
    let old = sent(&committee.mirror, &gate).await;
    apply(&gate, old.clone()).unwrap();
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(gate_key(), put(&[1], 2));
    // The same rows, so that only names tell them apart.
    let mut draft = committee.directory(next, rows(100));
    draft.profiles = Some(committee.sealed_table(next, "Media"));
    directories.push(draft);
    world.clock.advance_millis(TICK);
    let draft = committee.draft(directories);
    committee.publish(draft);
    committee.seal_keys(next);
    let honest = sent(&committee.mirror, &gate).await;
    let of = |sent: &[FollowResponse], epoch: u32| {
        let found = sent.iter().find_map(|response| match &response.update {
            Some(Update::Snapshot(chunk)) if chunk.directory.as_ref()?.epoch == epoch => {
                Some(chunk.data.clone())
            }
            _ => None,
        });
        found.unwrap()
    };
    let replayed = of(&old, 1);
    let mut lie = honest.clone();
    for response in &mut lie {
        if let Some(Update::Snapshot(chunk)) = &mut response.update {
            chunk.data = replayed.clone();
        }
    }
    assert!(matches!(apply(&gate, lie), Err(FeedError::Snapshot { .. })));
    assert_eq!(kept(&world, "gate").len(), 1);
    // The old table under the new epoch's name is not what the head names: it is never used.
    let old_table = old.iter().find_map(|response| match &response.update {
        Some(Update::Profiles(profiles)) => Some(profiles.sealed.clone()),
        _ => None,
    });
    let mut lie = honest.clone();
    for response in &mut lie {
        if let Some(Update::Profiles(profiles)) = &mut response.update {
            profiles.directory = Some(DirectoryId::of(next.epoch, next.audience));
            profiles.sealed = old_table.clone().unwrap();
        }
    }
    apply(&gate, lie).unwrap();
    assert!(gate.is_incomplete(), "and another upstream is asked");
    {
        let view = gate.read();
        let directory = view.directory(next.epoch, Audience::Gate).unwrap();
        assert!(directory.sealed_profiles().is_none());
    }
    pull(&committee.mirror, &gate).await;
    assert!(!gate.is_incomplete());
}

#[tokio::test]
async fn an_audience_key_of_another_epoch_or_recipient_is_refused() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(20);
    let gate = world.gate("gate");
    let honest = sent(&committee.mirror, &gate).await;
    let flipped = |honest: &[FollowResponse]| {
        let mut lie = honest.to_vec();
        for response in &mut lie {
            if let Some(Update::Key(key)) = &mut response.update {
                *key.sealed.last_mut().unwrap() ^= 1;
            }
        }
        lie
    };
    let refused = apply(&gate, flipped(&honest)).unwrap_err();
    assert!(matches!(refused, FeedError::AudienceKey(_)), "{refused}");
    assert!(refused.is_senders_fault() && gate.is_incomplete());
    // A mirror that cannot open it passes on what it got; the next honest upstream puts it right.
    let blind = world.mirror("blind");
    let lie = flipped(&sent(&committee.mirror, &blind).await);
    apply(&blind, lie).unwrap();
    assert!(apply(&gate, sent(&blind, &gate).await).is_err());
    pull(&committee.mirror, &blind).await;
    pull(&blind, &gate).await;
    assert!(!gate.is_incomplete());
    // Nobody can fill it with keys for strangers.
    let stranger = lanyard_wire::feed::v1::SealedKey {
        directory: Some(DirectoryId::of(EPOCH, Audience::Gate)),
        recipient: "gate/stranger".into(),
        sealed: vec![0; 1_168],
    };
    let applied = apply(&blind, vec![response(Update::Key(stranger))]).unwrap();
    assert_eq!(applied, [Applied::Ignored]);
}

#[tokio::test]
async fn too_much_of_anything_is_refused() {
    let world = World::new();
    let (_committee, gate, honest) = one_tick_behind(&world).await;
    let table = |bytes: usize| {
        response(Update::Profiles(lanyard_wire::feed::v1::SealedProfiles {
            directory: Some(DirectoryId::of(EPOCH, Audience::Gate)),
            sealed: vec![1; bytes],
        }))
    };
    let huge = apply(&gate, vec![table(5 * 1024 * 1024)]);
    assert!(matches!(huge, Err(FeedError::TooMuch { .. })));
    assert!(matches!(apply(&gate, vec![table(10); 40]), Err(FeedError::TooMuch { .. })));
    let leaves = (0..1_100_u64).map(|index| {
        let hashes = vec![0; 32 * 4_096];
        response(Update::Leaves(LogLeaves { start: index * 4_096, hashes }))
    });
    assert!(matches!(apply(&gate, leaves.collect()), Err(FeedError::TooMuch { .. })));
    let chunk = |epoch: u32| {
        response(Update::Snapshot(lanyard_wire::feed::v1::SnapshotChunk {
            log_size: 3,
            directory: Some(DirectoryId::of(Epoch::new(epoch), Audience::Gate)),
            data: Bytes::from_static(b"x"),
            last: false,
        }))
    };
    assert!(matches!(apply(&gate, (1..9).map(chunk).collect()), Err(FeedError::TooMuch { .. })));
    assert!(world.env.files.list(&world.path("gate/incoming")).unwrap().is_empty());
    unharmed(&world, gate, honest).await;
}

/// Whatever is cut, flipped, repeated, swapped or left out: the mirror refuses or ends where an honest one ends.
#[tokio::test]
async fn mutated_messages_never_show_anything_else() {
    let world = World::new();
    let mut committee = world.publisher("committee");
    committee.begin(60);
    for version in 2..5 {
        committee.settled(put(&[1, version], version));
    }
    let fresh = world.gate("fresh");
    let honest = sent(&committee.mirror, &fresh).await;
    let truth = |size: u64| if size == 0 { None } else { Some(u32::try_from(size).unwrap()) };
    let mut rng = world.env.rng();
    for round in 0..300 {
        let name = format!("gate-{}", round % 10);
        let gate = world.gate(&name);
        let mut sent = honest.clone();
        let victim = rng.random_range(0..sent.len());
        match rng.random_range(0..5) {
            0 => drop(sent.remove(victim)),
            1 => sent.insert(victim, sent[victim].clone()),
            2 => {
                let other = rng.random_range(0..sent.len());
                sent.swap(victim, other);
            }
            _ => {
                let mut bytes = sent[victim].encode_to_vec();
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] ^= 1 << rng.random_range(0..8),
                    1 => bytes.truncate(at),
                    _ => bytes.insert(at, rng.next_u32() as u8),
                }
                let Ok(mutated) = FollowResponse::decode(bytes.as_slice()) else { continue };
                sent[victim] = mutated;
            }
        }
        let _ = apply(&gate, sent);
        let size = gate.read().size();
        if size > 0 {
            assert_eq!(versions(&gate, 1).0, truth(size), "round {round}");
            let view = gate.read();
            let signed = view.signed().unwrap().head();
            let found = view.directory(EPOCH, Audience::Gate).unwrap();
            let expected = signed.directory(EPOCH, Audience::Gate).unwrap().commitment;
            let rows: Vec<_> = found.rows().collect();
            assert_eq!(Map::build(expected.depth, rows).unwrap().commitment(), expected);
        }
    }
    pull(&committee.mirror, &fresh).await;
}

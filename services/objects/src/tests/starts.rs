//! Starting and following from an archive alone.

use lanyard_core::ids::{Audience, Epoch};
use lanyard_feed::{Content, DirectoryDraft, SyncState, follow};

use super::*;
use crate::newest::Piece;

#[tokio::test]
async fn a_gate_starts_from_the_archive_alone_and_follows_it() {
    let world = world();
    for (store, objects) in stores(&world) {
        let mut committee = published(&world, &format!("committee-{store:p}"), 3);
        archived(&world, &objects, &committee.mirror).await;
        let gate = gate_from(&world, &objects, &format!("gate-{store:p}"), 4).await;
        assert_eq!(versions(&gate, 1), (Some(4), Some(4)), "signed and cosigned");
        assert!(!gate.is_incomplete(), "directory, profile table and audience key are there");

        // It follows along, ticks and cosignatures, while the archive goes on.
        let mut archiving = archive(&world, &objects, &committee.mirror);
        let (sync, synced) = watch::channel(SyncState::default());
        let token = CancellationToken::new();
        let _stop = token.clone().drop_guard();
        let upstreams = vec![objects.upstream(&manifests(&world))];
        tokio::spawn(follow(Arc::clone(&gate), upstreams, sync, token));
        for version in 5..9 {
            committee.settled(put(&[1], version));
            archiving.has(u64::from(version)).await;
        }
        eventually("the gate follows", async || versions(&gate, 1) == (Some(8), Some(8))).await;
        assert_eq!(synced.borrow().upstream.as_deref(), Some("objects"));
    }
}

#[tokio::test]
async fn asking_whether_there_is_more_is_one_request() {
    let world = world();
    let (store, objects) = memory(&world);
    let committee = published(&world, "committee", 1);
    archived(&world, &objects, &committee.mirror).await;
    let place = place(&world, &objects);
    let Found::List { tag, .. } = place.newest(None).await.unwrap() else { panic!() };
    let before = store.reads();
    assert!(matches!(place.newest(Some(&tag)).await.unwrap(), Found::Unchanged));
    assert_eq!(store.reads(), before + 1);
}

#[tokio::test]
async fn a_party_restarts_where_the_archive_is_and_writes_no_snapshot_again() {
    let world = world();
    let (store, objects) = memory(&world);
    let mut committee = published(&world, "committee", 2);
    archived(&world, &objects, &committee.mirror).await;
    let before = faulty::names(&store, "snapshots").await;
    committee.settled(put(&[1, 2], 7));
    archived(&world, &objects, &committee.mirror).await;
    assert_eq!(faulty::names(&store, "snapshots").await, before);
    let gate = gate_from(&world, &objects, "gate", 4).await;
    assert_eq!(versions(&gate, 2), (Some(7), Some(7)));
}

#[tokio::test]
async fn single_ticks_become_one_object_and_followers_notice_nothing() {
    let world = world();
    let (_, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    let mut archiving = archive(&world, &objects, &committee.mirror);
    archiving.has(2).await;
    let behind = gate_from(&world, &objects, "behind", 2).await;
    for version in 3..120 {
        committee.settled(put(&[1], version));
        archiving.has(u64::from(version)).await;
    }
    let runs = newest(&world, &objects).await.unwrap().objects.into_iter();
    let merged =
        runs.filter(|object| matches!(object.piece, Piece::Ticks { from, to } if to - from >= 60));
    assert!(merged.count() >= 1);
    eventually("it catches up", async || {
        follow_objects(&world, &objects, &behind).await.unwrap();
        versions(&behind, 1).0 == Some(119)
    })
    .await;
    let fresh = gate_from(&world, &objects, "fresh", 119).await;
    assert_eq!(versions(&fresh, 1).0, Some(119));
}

#[tokio::test]
async fn the_next_epoch_arrives_and_a_new_list_begins() {
    let world = world();
    let (_, objects) = memory(&world);
    let mut committee = published(&world, "committee", 2);
    let mut archiving = archive(&world, &objects, &committee.mirror);
    archiving.has(3).await;
    let early = gate_from(&world, &objects, "early", 3).await;
    // Its directory is brought by a tick.
    let next = key(2, Audience::Gate);
    let mut directories = committee.unchanged(next, Content::Unchanged);
    directories.push(committee.directory(next, rows(300)));
    world.clock.advance_millis(TICK);
    let signed = committee.publish(committee.draft(directories));
    committee.cosign(&signed);
    archiving.has(4).await;
    follow_objects(&world, &objects, &early).await.unwrap();
    assert!(early.read().directory(Epoch::new(2), Audience::Gate).is_some());
    let late = gate_from(&world, &objects, "late", 4).await;
    assert!(late.read().directory(Epoch::new(2), Audience::Gate).is_some());
    // It goes live: the mirror makes a new base, and so does the archive.
    committee.live = Epoch::new(2);
    let draft = committee.draft(vec![DirectoryDraft {
        key: next,
        content: Content::Unchanged,
        profiles: None,
    }]);
    world.clock.advance_millis(TICK);
    let signed = committee.publish(draft);
    committee.cosign(&signed);
    eventually("a new list", async || newest(&world, &objects).await.unwrap().base >= 5).await;
    let after = gate_from(&world, &objects, "after", 5).await;
    assert!(after.read().directory(EPOCH, Audience::Gate).is_none());
    follow_objects(&world, &objects, &early).await.unwrap();
    assert_eq!(early.read().size(), 5);
}

#[tokio::test]
async fn a_newer_manifest_comes_with_the_archive() {
    let world = world();
    let (_, objects) = memory(&world);
    let committee = published(&world, "committee", 1);
    let mut intake = committee.mirror.intake("ceremony");
    let update = lanyard_wire::feed::v1::ManifestUpdate { note: world.next_manifest() };
    intake
        .apply(response(lanyard_wire::feed::v1::follow_response::Update::Manifest(update)))
        .unwrap();
    archived(&world, &objects, &committee.mirror).await;
    let gate = gate_from(&world, &objects, "gate", 2).await;
    assert_eq!(gate.follow_request().manifest_version, 2);
}

//! A store that is slow, full or forgetful, and what is removed from it.

use bytes::Bytes;

use super::faulty::{Fault, names, remove, write};
use super::*;
use crate::sweep::sweep;

#[tokio::test]
async fn a_store_that_takes_nothing_delays_no_publication_and_is_caught_up_with() {
    let world = world();
    let (store, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    let mut archiving = archive(&world, &objects, &committee.mirror);
    archiving.has(2).await;
    store.hold(Some("ticks"));
    // Far more than any queue holds. A publication that waited for the store would never end.
    for version in 3..200 {
        committee.settled(put(&[1], version));
        tokio::task::yield_now().await;
    }
    assert_eq!(committee.mirror.read().size(), 199);
    assert!(archiving.state.borrow().size < 199);
    store.hold(None);
    archiving.has(199).await;
    let gate = gate_from(&world, &objects, "gate", 199).await;
    assert_eq!(versions(&gate, 1).0, Some(199));
}

#[tokio::test]
async fn a_full_store_is_said_delays_nothing_and_is_caught_up_with() {
    let world = world();
    let (store, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    let mut archiving = archive(&world, &objects, &committee.mirror);
    archiving.has(2).await;
    store.fail_after(0, Fault::Full);
    committee.settled(put(&[1], 3));
    let state = archiving.until("it is full", |state| state.failures > 0).await;
    assert!(state.problem.unwrap().contains("the disk is full; free space there"));
    committee.settled(put(&[1], 4));
    assert_eq!(versions(&committee.mirror, 1), (Some(4), Some(4)));
    // Readers still have what was there.
    assert_eq!(gate_from(&world, &objects, "gate", 2).await.read().size(), 2);
    store.mend();
    archiving.until("it goes on", |state| state.size == 4 && state.failures == 0).await;
}

#[tokio::test]
async fn what_is_needed_is_never_removed_and_the_rest_goes_after_the_retention() {
    let world = world();
    for (store, objects) in stores(&world) {
        let name = format!("committee-{store:p}");
        let mut committee = published(&world, &name, 2);
        archived(&world, &objects, &committee.mirror).await;
        // The store loses an object: all is archived anew, and the old objects are needed no longer.
        let first = names(&store, "committee/snapshots").await;
        remove(&store, &first[0]).await;
        let others = objects.place().path("police/ticks/orphan");
        write(&store, &others, Bytes::from_static(b"x")).await;
        // Some stores tell time in seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        committee.settled(put(&[1], 4));
        archived(&world, &objects, &committee.mirror).await;
        let (place, origin) = (place(&world, &objects), committee.mirror.origin());
        assert_eq!(sweep(&place, origin, HOUR).await.unwrap(), 0, "readers may still want it");
        assert!(sweep(&place, origin, Duration::ZERO).await.unwrap() >= 4);
        assert_eq!(sweep(&place, origin, Duration::ZERO).await.unwrap(), 0);
        assert!(
            names(&store, "committee/snapshots").await.iter().all(|name| !first.contains(name))
        );
        assert!(names(&store, "police").await.contains(&others), "another log's is left alone");
        let gate = gate_from(&world, &objects, &format!("gate-{store:p}"), 4).await;
        assert_eq!(versions(&gate, 1), (Some(4), Some(4)));
        assert!(!gate.is_incomplete());
    }
}

#[tokio::test]
async fn an_object_younger_than_the_list_is_never_removed() {
    let world = world();
    let (store, objects) = memory(&world);
    let committee = published(&world, "committee", 1);
    archived(&world, &objects, &committee.mirror).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Another writer's, which it has not listed yet.
    let young = "committee/ticks/young".into();
    write(&store, &young, Bytes::from_static(b"x")).await;
    let place = place(&world, &objects);
    sweep(&place, committee.mirror.origin(), Duration::ZERO).await.unwrap();
    assert_eq!(names(&store, "young").await.len(), 1);
}

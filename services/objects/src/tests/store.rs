//! A store that is slow, full or forgetful, and what is removed from it.

use bytes::Bytes;

use lanyard_env::StartError as _;
use lanyard_party::{Found, Report};

use super::faulty::{Fault, flip, names, remove, write};
use super::*;
use crate::sweep::sweep;
use crate::{ObjectsConfig, ObjectsError, StoreUrl};

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

/// What is damaged keeps its length.
#[tokio::test]
async fn a_damaged_object_is_found_by_whoever_takes_over_and_all_is_archived_anew() {
    let world = world();
    for (store, objects) in stores(&world) {
        let name = format!("committee-{store:p}");
        let mut committee = published(&world, &name, 2);
        archived(&world, &objects, &committee.mirror).await;
        let first = names(&store, "committee/snapshots").await;
        flip(&store, &first[0]).await;
        committee.settled(put(&[1], 4));
        archived(&world, &objects, &committee.mirror).await;
        let gate = gate_from(&world, &objects, &format!("gate-{store:p}"), 4).await;
        assert_eq!(versions(&gate, 1), (Some(4), Some(4)));
    }
}

#[tokio::test]
async fn a_damaged_object_is_found_while_the_archive_goes_on() {
    let world = world();
    let (store, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    let mut archiving = archive(&world, &objects, &committee.mirror);
    archiving.has(2).await;
    let first = newest(&world, &objects).await.unwrap().objects[0];
    flip(&store, &place(&world, &objects).path(&first.name())).await;
    let mut version = 2;
    while newest(&world, &objects).await.unwrap().objects.contains(&first) {
        version += 1;
        assert!(version < 100, "nobody has read it back");
        committee.settled(put(&[1], version));
        archiving.has(u64::from(version)).await;
    }
    let gate = gate_from(&world, &objects, "gate", u64::from(version)).await;
    assert_eq!(versions(&gate, 1).0, Some(version));
}

/// Without, a power cut takes objects that the newest list names.
#[tokio::test]
async fn the_objects_of_a_folder_are_synced() {
    let world = world();
    let objects = Objects::open(&in_folder(None, true), &world.path("party"), &world.env).unwrap();
    let store = format!("{:?}", objects.place().store());
    assert!(store.contains("LocalFileSystem") && store.contains("fsync: true"), "{store}");
}

fn in_folder(store: Option<&str>, archive: bool) -> ObjectsConfig {
    let store = store.map(|store| StoreUrl::try_from(store.to_owned()).unwrap());
    let (endpoint, region, credentials, ca) = (None, None, None, None);
    ObjectsConfig { store, archive, keep_hours: 1, endpoint, region, credentials, ca }
}

#[tokio::test]
async fn whoever_archives_and_names_no_store_has_a_folder_of_its_own() {
    let world = world();
    let party = world.path("party");
    let objects = Objects::open(&in_folder(None, true), &party, &world.env).unwrap();
    objects.check(&world.manifests().current().event).await.unwrap();
    assert!(party.join("data/archive/event").is_file());
    // Nobody reads from a folder that nobody writes to.
    let refused = Objects::open(&in_folder(None, false), &party, &world.env).unwrap_err();
    assert!(matches!(refused, ObjectsError::NoStore) && refused.is_permanent());
    let said = refused.to_string();
    assert!(said.contains("store is missing") && said.contains("data/archive"), "{said}");
}

/// What an inspection finds of a store, for a party that has started before or not.
async fn inspected(world: &World, config: &ObjectsConfig, is_fresh: bool) -> (Found, String) {
    let (party, event) = (world.path("party"), world.manifests().current().event.clone());
    let mut report = Report::default();
    Objects::inspect(Some(config), &party, &world.env, &event, is_fresh, &mut report).await;
    let [found] = report.findings() else { panic!("{}", report.table()) };
    (found.found, found.detail.clone())
}

#[tokio::test]
async fn an_inspection_finds_a_foreign_store_and_writes_nothing() {
    let world = world();
    let config = in_folder(None, true);
    let (found, detail) = inspected(&world, &config, true).await;
    assert!(found == Found::Good && detail.contains("not there yet"), "{detail}");
    let folder = world.path("party").join("data/archive");
    assert!(!folder.exists());
    std::fs::create_dir_all(&folder).unwrap();
    let (found, detail) = inspected(&world, &config, true).await;
    assert!(found == Found::Good && detail.contains("answers"), "{detail}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::write(folder.join("event"), "lanyard objects of the event other-games\n").unwrap();
    for (is_fresh, expected) in [(true, Found::Bad), (false, Found::Warning)] {
        let (found, detail) = inspected(&world, &config, is_fresh).await;
        assert_eq!(found, expected, "{detail}");
        assert!(detail.contains("other-games") && detail.contains("of its own"), "{detail}");
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

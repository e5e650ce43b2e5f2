//! Two writers of one log, and one that slept.

use super::*;
use crate::ObjectsError;

#[tokio::test]
async fn of_two_writers_one_stands_by_and_takes_over() {
    let world = world();
    for (store, objects) in stores(&world) {
        let mut committee = published(&world, &format!("committee-{store:p}"), 1);
        let sponsor = world.mirror(&format!("sponsor-{store:p}"));
        brought(&committee.mirror, &sponsor).await;
        let mut first = archive(&world, &objects, &committee.mirror);
        first.has(2).await;
        let second = archive(&world, &objects, &sponsor);
        let mut seen = 0;
        for version in 3..8 {
            committee.settled(put(&[1], version));
            brought(&committee.mirror, &sponsor).await;
            eventually("one of them archives it", async || {
                let size = newest(&world, &objects).await.map_or(0, |newest| newest.size);
                assert!(size >= seen, "from {seen} back to {size}");
                seen = size;
                size == u64::from(version)
            })
            .await;
            let gate = gate_from(
                &world,
                &objects,
                &format!("gate-{store:p}-{version}"),
                u64::from(version),
            )
            .await;
            assert_eq!(versions(&gate, 1).0, Some(version));
        }
        let stands_by = |one: &Archiving| one.state.borrow().standby;
        // Who finds the other's list newer than its own stands by; with news, that shows.
        let mut version = 7;
        while stands_by(&first) == stands_by(&second) {
            version += 1;
            assert!(version < 60, "one of them stands by");
            committee.settled(put(&[1], version));
            brought(&committee.mirror, &sponsor).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // The other dies.
        let (active, mut other) = if stands_by(&first) { (second, first) } else { (first, second) };
        drop(active);
        version += 1;
        committee.settled(put(&[1], version));
        brought(&committee.mirror, &sponsor).await;
        other.has(u64::from(version)).await;
    }
}

#[tokio::test]
async fn a_writer_that_slept_cannot_put_its_list_over_a_newer_one() {
    let world = world();
    for (store, objects) in stores(&world) {
        let mut committee = published(&world, &format!("committee-{store:p}"), 1);
        // It is about to write its list, and sleeps.
        let place = place(&world, &objects);
        archived(&world, &objects, &committee.mirror).await;
        let Found::List { bytes, tag, .. } = place.newest(None).await.unwrap() else { panic!() };
        // Meanwhile another goes on for long: in a folder, the number that the sleeper would take is swept.
        for version in 3..30 {
            committee.settled(put(&[1], version));
            archived(&world, &objects, &committee.mirror).await;
        }
        let before = newest(&world, &objects).await.unwrap();
        assert_eq!(place.replace(Some(&tag), bytes.clone()).await.unwrap(), None);
        assert_eq!(
            place.replace(None, bytes).await.unwrap(),
            None,
            "nor may one that knows of none"
        );
        assert_eq!(newest(&world, &objects).await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_restored_party_archives_nothing_before_it_has_caught_up() {
    let world = world();
    let (_, objects) = memory(&world);
    let mut committee = published(&world, "committee", 1);
    copy(&world.path("committee"), &world.path("backup"));
    committee.settled(put(&[1], 3));
    archived(&world, &objects, &committee.mirror).await;
    let before = newest(&world, &objects).await.unwrap();
    let restored = world.mirror("backup");
    let mut archiving = archive(&world, &objects, &restored);
    let state = archiving.until("it refuses", |state| state.failures > 0).await;
    assert!(state.problem.unwrap().contains("nothing is archived until it has caught up"));
    assert_eq!(newest(&world, &objects).await.unwrap(), before);
    // From the archive itself it catches up.
    eventually("it catches up", async || {
        follow_objects(&world, &objects, &restored).await.unwrap() == 3
    })
    .await;
}

#[tokio::test]
async fn the_list_of_another_log_is_never_replaced() {
    let world = world();
    let (_, objects) = memory(&world);
    let mine = published(&world, "committee", 2);
    // The same keys, another log: what an authority does that forks.
    let mut other = world.publisher("fork");
    other.begin(50);
    other.settled(put(&[1], 9));
    archived(&world, &objects, &other.mirror).await;
    let before = newest(&world, &objects).await.unwrap();
    let mut archiving = archive(&world, &objects, &mine.mirror);
    let state = archiving.until("it refuses", |state| state.failures > 0).await;
    assert!(state.problem.unwrap().contains("evidence was saved"));
    assert_eq!(newest(&world, &objects).await.unwrap(), before);
    assert_eq!(kept(&world, "committee").len(), 1);

    // Another event with the same name: signed by nobody known here.
    let mut foreign = World::new();
    foreign.log_key = lanyard_core::note::SigningKey::generate(
        lanyard_core::note::KeyName::parse("lanyard/games-2028/committee").unwrap(),
        &mut lanyard_env::Env::system().rng(),
    );
    foreign.manifest.authorities.committee.log = foreign.log_key.verifying_key().clone();
    let committee = published(&foreign, "committee", 1);
    let mut archiving = archive(&foreign, &objects, &committee.mirror);
    let state = archiving.until("it refuses", |state| state.failures > 0).await;
    let problem = state.problem.unwrap();
    assert!(problem.contains("not signed by this event's authority"), "{problem}");
    assert_eq!(newest(&world, &objects).await.unwrap(), before);
}

#[tokio::test]
async fn another_event_is_refused_with_what_to_change() {
    let world = world();
    for (_, objects) in stores(&world) {
        objects.check(&world.manifest.event).await.unwrap();
        objects.check(&world.manifest.event).await.unwrap();
        let other = lanyard_core::ids::EventId::parse("games-2032").unwrap();
        let error = objects.check(&other).await.unwrap_err();
        assert!(
            matches!(&error, ObjectsError::OtherEvent { found, .. } if found == "games-2028"),
            "{error}"
        );
        assert!(error.to_string().contains("[objects] store"), "{error}");
    }
}

//! A writer that dies after any of its requests, or whose answer is lost, leaves an archive that is whole; the next one goes on.

use super::faulty::Fault;
use super::*;

#[tokio::test]
async fn a_writer_of_a_bucket_may_die_before_any_request() {
    dies_everywhere(0, Fault::Before).await;
}

#[tokio::test]
async fn a_writer_of_a_bucket_may_die_after_any_request() {
    dies_everywhere(0, Fault::After).await;
}

#[tokio::test]
async fn a_writer_of_a_folder_may_die_before_any_request() {
    dies_everywhere(1, Fault::Before).await;
}

#[tokio::test]
async fn a_writer_of_a_folder_may_die_after_any_request() {
    dies_everywhere(1, Fault::After).await;
}

async fn dies_everywhere(kind: usize, fault: Fault) {
    let world = world();
    let committee = published(&world, "committee", 3);
    let mut requests = 0;
    while dies(&world, &committee.mirror, kind, requests, fault).await {
        requests += 1;
    }
    // Keys and tables, three snapshots, two runs of ticks, the list: each was the last at least once.
    assert!(requests >= 7, "{requests}");
}

/// Lets a writer die after so many requests; `false` if it did not come to that.
async fn dies(
    world: &World,
    mirror: &Arc<Mirror>,
    kind: usize,
    requests: u64,
    fault: Fault,
) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (store, objects) = if kind == 0 {
        over(world, Arc::new(InMemory::new()), true)
    } else {
        over(world, Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()), false)
    };
    store.fail_after(requests, fault);
    let size = mirror.read().size();
    let mut archiving = archive(world, &objects, mirror);
    archiving.until("it dies or succeeds", |state| state.failures > 0 || state.size == size).await;
    // Nothing of it goes on: the store does not answer it any more, and then it is gone.
    drop(archiving);
    let died = store.has_failed();
    let left = format!("left-{kind}-{requests}-{}", fault as u8);
    if let Some(list) = newest(world, &objects).await {
        let gate = gate_from(world, &objects, &left, list.size).await;
        assert!(!gate.is_incomplete() || list.size < size);
    }
    store.mend();
    archived(world, &objects, mirror).await;
    let gate = gate_from(world, &objects, &format!("{left}-next"), size).await;
    eventually("the quorum, too", async || {
        follow_objects(world, &objects, &gate).await.unwrap();
        versions(&gate, 1) == (Some(4), Some(4))
    })
    .await;
    died
}

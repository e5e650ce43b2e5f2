//! Archives of a tiny event: what a reader makes of them after every crash, whoever else writes, whatever the store does.
#![allow(clippy::disallowed_methods)]

#[path = "../../../feed/tests/common/mod.rs"]
mod common;
mod faulty;

mod crash;
mod lies;
mod s3;
mod starts;
mod store;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use faulty::Faulty;
use lanyard_feed::{FollowError, ManifestSource, Mirror, catch_up};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::newest::Newest;
use crate::place::{Found, Place};
use crate::{ArchiveState, Objects};

const HOUR: Duration = Duration::from_secs(3_600);
/// How long anything may take that is bound to happen.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a reader waits for more.
const PATIENCE: Duration = Duration::from_millis(150);

fn world() -> World {
    let mut world = World::new();
    world.manifest.tick_millis = 100;
    world
}

/// One store of each kind: objects that are replaced, as in a bucket; numbered lists, as in a folder; and a real bucket, if
/// there is a server.
fn stores(world: &World) -> Vec<(Arc<Faulty>, Objects)> {
    let folder = world.path("archive");
    std::fs::create_dir_all(&folder).unwrap();
    let folder = over(world, Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap()), false);
    [memory(world), folder].into_iter().chain(s3::bucket(world)).collect()
}

fn memory(world: &World) -> (Arc<Faulty>, Objects) {
    over(world, Arc::new(InMemory::new()), true)
}

fn over(world: &World, store: Arc<dyn ObjectStore>, matches: bool) -> (Arc<Faulty>, Objects) {
    let faulty = Faulty::over(store);
    let objects = Objects::over(Arc::clone(&faulty) as _, matches, HOUR, &world.env);
    (faulty, objects)
}

fn manifests(world: &World) -> Arc<dyn ManifestSource> {
    world.manifests()
}

/// An archive that runs until this is dropped.
struct Archiving {
    state: watch::Receiver<ArchiveState>,
    _stop: DropGuard,
}

fn archive(world: &World, objects: &Objects, mirror: &Arc<Mirror>) -> Archiving {
    let archive = objects.archive(mirror, &manifests(world));
    let state = archive.watch();
    let token = CancellationToken::new();
    tokio::spawn(archive.run(token.clone()));
    Archiving { state, _stop: token.drop_guard() }
}

impl Archiving {
    async fn until(
        &mut self,
        what: &str,
        holds: impl FnMut(&ArchiveState) -> bool,
    ) -> ArchiveState {
        let waited = tokio::time::timeout(LIMIT, self.state.wait_for(holds)).await;
        waited.unwrap_or_else(|_| panic!("{what}")).unwrap().clone()
    }

    async fn has(&mut self, size: u64) {
        self.until("it is archived", |state| state.size >= size).await;
    }
}

/// Archives all that a mirror has, and stops.
async fn archived(world: &World, objects: &Objects, mirror: &Arc<Mirror>) {
    let size = mirror.read().size();
    let mut archiving = archive(world, objects, mirror);
    archiving.has(size).await;
    // The quorum follows at once, if there is one.
    let quorum = mirror.read().quorum().map(|quorum| quorum.signed().head().size);
    eventually("the quorum is archived", async || {
        let newest = newest(world, objects).await;
        quorum.is_none() || newest.is_some_and(|newest| !newest.cosigned.is_empty())
    })
    .await;
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

fn place(world: &World, objects: &Objects) -> Place {
    objects.place().of(&world.manifests().current().origin(lanyard_core::ids::Authority::Committee))
}

async fn newest(world: &World, objects: &Objects) -> Option<Newest> {
    let origin = world.manifests().current().origin(lanyard_core::ids::Authority::Committee);
    match place(world, objects).newest(None).await.unwrap() {
        Found::List { bytes, .. } => Some(Newest::from_bytes(&bytes, &origin).unwrap()),
        _ => None,
    }
}

/// Brings a mirror up to date from the store alone.
async fn follow_objects(
    world: &World,
    objects: &Objects,
    mirror: &Arc<Mirror>,
) -> Result<u64, FollowError> {
    catch_up(mirror, &objects.upstream(&manifests(world)), PATIENCE).await
}

/// A gate with an empty folder, started from the store alone, as far as `size`.
async fn gate_from(world: &World, objects: &Objects, name: &str, size: u64) -> Arc<Mirror> {
    let gate = world.gate(name);
    eventually("the gate has started", async || {
        follow_objects(world, objects, &gate).await.unwrap() >= size
    })
    .await;
    gate
}

/// Brings a mirror up to date from another.
async fn brought(from: &Arc<Mirror>, to: &Arc<Mirror>) {
    eventually("it is up to date", async || {
        apply(to, sent(from, to).await).unwrap();
        to.read().size() == from.read().size()
    })
    .await;
}

/// Publishes a first state and `ticks` more, each cosigned: badge 1 ends with version `ticks` + 1.
fn published<'w>(world: &'w World, name: &str, ticks: u32) -> Publisher<'w> {
    let mut committee = world.publisher(name);
    committee.begin(200);
    for version in 2..ticks + 2 {
        committee.settled(put(&[1], version));
    }
    committee
}

//! Two instances of an authority's service over one PostgreSQL: one publishes, and when it dies, is paused or loses the
//! database, the log goes on as one log, and gates go on.

#![allow(clippy::disallowed_methods)]

mod balancer;
mod world;

use std::time::{Duration, Instant};

use lanyard_authority::LEASE;
use lanyard_core::ids::Authority;
use lanyard_tests::{eventually, run_together};
use lanyard_wire::common::v1::StatusAction;

use self::world::{Instance, World};

/// Who is stopped by the instance that lives on, at the first and the second kill and while one is paused; whom the churn
/// changes; and somebody good.
const STOPPED: [usize; 3] = [0, 1, 2];
const CHANGING: usize = 3;
const GOOD: usize = 4;
const PEOPLE: usize = 5;

/// Until the other instance's first checkpoint: the lease runs out, and it ticks. The rest is for its look every half second,
/// the mirrors and witnesses that it asks first, and a machine that does much else.
const TAKEOVER: Duration = LEASE.saturating_add(TICK).saturating_add(Duration::from_secs(6));

/// Of the sample plan in tests.
const TICK: Duration = Duration::from_secs(1);

/// Not a test: the process that the tests run as an instance.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn instance() {
    world::serve();
}

#[test]
fn several_instances_of_the_committee_publish_one_log() {
    publish_one_log(Authority::Committee);
}

#[test]
fn several_instances_of_the_police_publish_one_log() {
    publish_one_log(Authority::Police);
}

fn publish_one_log(authority: Authority) {
    let Some(server) = lanyard_test_postgres::own_server() else { return };
    let mut world = World::start(authority, PEOPLE, server);
    run_together(async {
        let (load, scanner) = world.gate_load(GOOD);
        let through = load.during(&scanner, async {
            publisher_killed(&mut world).await;
            publisher_paused(&mut world).await;
            database_down(&mut world).await;
            world.lets_somebody_new_in().await;
        });
        through.await;
        let sizes = world.collectors_agree().await;
        assert!(sizes > 10, "{sizes} checkpoints");
    });
}

/// kill -9 under load, twice, so that both have published; a stop that the other one acknowledged is kept.
async fn publisher_killed(world: &mut World) {
    for person in &STOPPED[..2] {
        let churn = world.churn(CHANGING);
        let publisher = world.publisher().await;
        let other = publisher.other();
        world.change(other, StatusAction::Suspend, *person).await.unwrap();
        let killed = Instant::now();
        world.kill(publisher);
        world.point_at(other);
        // What was recorded by now is its predecessor's.
        let recorded = world.recorded().await;
        world.serves_more_than(other, recorded).await;
        let took = killed.elapsed();
        println!("killed: the other's first checkpoint after {:.1} s", took.as_secs_f64());
        assert!(took < TAKEOVER, "{took:?}");
        world.refused(*person).await;
        churn.stop();
        world.start_instance(publisher);
    }
}

/// SIGSTOP for longer than the lease: the other publishes, and the first, woken, signs nothing of its own.
async fn publisher_paused(world: &mut World) {
    let publisher = world.publisher().await;
    let other = publisher.other();
    world.pause(publisher);
    world.point_at(other);
    let before = world.collected();
    world.collected_more_than(before + 2).await;
    world.resume(publisher);
    world.change(other, StatusAction::Suspend, STOPPED[2]).await.unwrap();
    world.refused(STOPPED[2]).await;
    assert_eq!(world.publisher().await, other, "whoever was paused took the turn back");
    // It serves again all the same.
    eventually("the paused instance answers", async || world.answers(publisher).await.ok()).await;
}

/// The database goes and comes back: neither ends, nothing is acknowledged meanwhile, and publishing goes on.
async fn database_down(world: &mut World) {
    let person = STOPPED[0];
    world.server.crash();
    let refused = world.change(Instance::A, StatusAction::Reinstate, person).await;
    assert!(refused.is_err(), "acknowledged without a database");
    world.server.resume();
    let before = world.collected();
    world.collected_more_than(before + 2).await;
    let publisher = world.publisher().await;
    eventually("a change is taken again", async || {
        world.change(publisher.other(), StatusAction::Reinstate, person).await.ok()
    })
    .await;
    world.admitted(person).await;
}

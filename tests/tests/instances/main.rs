//! Two instances of the police's service over one PostgreSQL: one publishes, and when it dies, is paused or loses the
//! database, the log goes on as one log.

#![allow(clippy::disallowed_methods)]

mod balancer;
mod world;

use std::time::{Duration, Instant};

use lanyard_authority::LEASE;
use lanyard_tests::{eventually, run_together};
use lanyard_wire::common::v1::StatusAction;

use self::world::{Instance, World};

const MAIN: &str = "sta-main";

/// Until the other instance's first checkpoint: the lease runs out, and it ticks. The rest is for its look every half second,
/// the mirrors and witnesses that it asks first, and a machine that does much else.
const TAKEOVER: Duration = LEASE.saturating_add(TICK).saturating_add(Duration::from_secs(6));

/// Of the sample plan in tests.
const TICK: Duration = Duration::from_secs(1);

/// Not a test: the process that the tests run as an instance.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn instance() {
    let Ok(config) = std::env::var(world::CONFIG) else { return };
    world::serve(config.as_ref());
}

#[test]
fn several_instances_publish_one_log() {
    let Some(server) = lanyard_test_postgres::own_server() else { return };
    let mut world = World::start(server);
    let badges = run_together(world.publish_people(4));

    publisher_killed(&mut world, &badges);
    publisher_paused(&mut world, &badges);
    database_down(&mut world, &badges);

    let sizes = run_together(world.collectors_agree());
    assert!(sizes > 10, "{sizes} checkpoints");
}

/// kill -9 under load, twice, so that both have published; a stop that the other one acknowledged is kept.
fn publisher_killed(world: &mut World, badges: &[String]) {
    for badge in &badges[..2] {
        let load = world.load(&badges[3]);
        let publisher = run_together(world.publisher());
        let other = publisher.other();
        run_together(async {
            world.change(other, StatusAction::Suspend, badge).await.unwrap();
        });
        let killed = Instant::now();
        world.kill(publisher);
        world.point_at(other);
        // What was recorded by now is its predecessor's.
        let recorded = run_together(world.recorded());
        run_together(world.serves_more_than(other, recorded));
        let took = killed.elapsed();
        println!("killed: the other's first checkpoint after {:.1} s", took.as_secs_f64());
        assert!(took < TAKEOVER, "{took:?}");
        run_together(world.refused(badge, MAIN));
        load.stop();
        world.start_instance(publisher);
    }
}

/// SIGSTOP for longer than the lease: the other publishes, and the first, woken, signs nothing of its own.
fn publisher_paused(world: &mut World, badges: &[String]) {
    let publisher = run_together(world.publisher());
    let other = publisher.other();
    world.pause(publisher);
    world.point_at(other);
    let before = world.collected();
    run_together(world.collected_more_than(before + 2));
    world.resume(publisher);
    run_together(async {
        world.change(other, StatusAction::Suspend, &badges[2]).await.unwrap();
        world.refused(&badges[2], MAIN).await;
        assert_eq!(world.publisher().await, other, "whoever was paused took the turn back");
        // It serves again all the same.
        eventually("the paused instance answers", async || world.answers(publisher).await.ok())
            .await;
    });
}

/// The database goes and comes back: neither ends, nothing is acknowledged meanwhile, and publishing goes on.
fn database_down(world: &mut World, badges: &[String]) {
    world.server.crash();
    let refused = run_together(world.change(Instance::A, StatusAction::Reinstate, &badges[0]));
    assert!(refused.is_err(), "acknowledged without a database");
    world.server.resume();
    let before = world.collected();
    run_together(world.collected_more_than(before + 2));
    run_together(async {
        let publisher = world.publisher().await;
        eventually("a change is taken again", async || {
            world.change(publisher.other(), StatusAction::Reinstate, &badges[0]).await.ok()
        })
        .await;
        world.admitted(&badges[0], MAIN).await;
    });
}

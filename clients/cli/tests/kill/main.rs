//! kill -9 at any moment loses nothing that was acknowledged.
//!
//! A whole event runs as processes under load: people are imported and screened, badges suspended and reinstated by both
//! authorities, checked at the gate. Processes are killed at random moments and started again. Whatever a party answered is
//! written down here, and at the end every party is asked for it.
//!
//! `LANYARD_KILLS` sets how many processes are killed (12 unless told), `LANYARD_SEED` repeats a run's choices.

#![allow(clippy::disallowed_methods)]

mod acknowledged;
mod event;
mod load;

use std::time::{Duration, Instant};

use lanyard_ceremony::Member;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::acknowledged::Acknowledged;
use crate::event::Event;

/// How long a process may take to listen again, on a busy machine.
const READY: Duration = Duration::from_secs(60);

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect(variable))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let kills = number("LANYARD_KILLS", 12);
    let seed = number("LANYARD_SEED", u64::from(std::process::id()));
    println!("{kills} kills, LANYARD_SEED={seed}");
    let mut event = Event::start().await;
    let badges = event.issue_and_screen().await;
    let acknowledged = Acknowledged::default();
    let stop = CancellationToken::new();
    let load = load::start(&event, &badges, &acknowledged, &stop);

    let mut rng = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..900))).await;
        let members = event.cluster.members();
        let member: &Member = members.choose(&mut rng).expect("an event has members");
        println!("{:6.1} s: kill {kill}: {member}", started.elapsed().as_secs_f64());
        event.cluster.restart(member).await.expect("a process is killed and started");
        event.cluster.wait_ready(READY).await.expect("a killed process starts again");
    }
    // What the last restart left undone ends by itself.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    for task in load {
        task.await.expect("the load goes on");
    }
    acknowledged.check(&event, &badges).await;
    event.cluster.stop_all().await.expect("all stop when asked to");
}

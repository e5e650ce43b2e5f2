//! kill -9 at any moment loses nothing that was acknowledged.
//!
//! A whole event runs as processes under load: people are imported, screened and issued badges, badges suspended and
//! reinstated by both authorities, reissued, checked at the gate. Whatever a party answered is written down here, every
//! checkpoint that was shown too, and at the end every party is asked for it.
//!
//! First every process dies once at each of its named crash points (`points.rs`; docs/DURABILITY.md says what each leaves
//! behind), then processes are killed at random moments, and at last every party is restored from a backup that was taken while
//! it ran.
//!
//! `LANYARD_KILLS` sets how many are killed at random (200 unless told), `LANYARD_RESTORES` how often all are restored (once),
//! `LANYARD_SEED` repeats a run's choices.

#![allow(clippy::disallowed_methods)]

mod acknowledged;
mod backup;
mod event;
mod fsck;
mod load;
mod observer;
mod points;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lanyard::cluster::ClusterError;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::acknowledged::Acknowledged;
use crate::event::Event;
use crate::observer::Observer;

/// How long a process may take to listen again, on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Without a death at a new point for so long, there is none left that the load reaches.
const CALM: Duration = Duration::from_secs(6);
/// No more points are looked for after this.
const POINTS: Duration = Duration::from_secs(240);

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect(variable))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return points::serve(&arguments);
    }
    // What libtest understands: a list, and names to choose by.
    const NAME: &str = "nothing_acknowledged_is_lost";
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    if names.peek().is_some() && !names.any(|name| NAME.contains(name.as_str())) {
        return ExitCode::SUCCESS;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(nothing_acknowledged_is_lost());
    ExitCode::SUCCESS
}

async fn nothing_acknowledged_is_lost() {
    let kills = number("LANYARD_KILLS", 200);
    let mut rng = StdRng::seed_from_u64(number("LANYARD_SEED", u64::from(std::process::id())));
    println!(
        "{kills} kills, LANYARD_SEED={}",
        number("LANYARD_SEED", u64::from(std::process::id()))
    );
    let started = Instant::now();
    let elapsed = || format!("{:6.1} s", started.elapsed().as_secs_f64());
    let mut event = Event::create().await;
    // Everything is made for the first time while processes die.
    points::arm(event.cluster.dir(), true);
    event.cluster.start_all().expect("processes start");
    let mut deaths = die_at_points(&mut event).await;
    points::arm(event.cluster.dir(), false);
    event.cluster.wait_ready(READY).await.expect("all listen");
    println!("{}: {deaths} deaths at crash points of the first start", elapsed());

    let badges = event.issue_and_screen().await;
    let acknowledged = Acknowledged::default();
    let stop = CancellationToken::new();
    let aside = tempfile::tempdir().expect("a temporary directory");
    let observer = Observer::start(&event, aside.path());
    let load = load::start(&event, &badges, &acknowledged, &stop);
    points::arm(event.cluster.dir(), true);
    deaths += die_at_points(&mut event).await;
    points::arm(event.cluster.dir(), false);
    println!("{}: {deaths} deaths at crash points in all", elapsed());
    check_points(&event);

    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..600))).await;
        let members = event.cluster.members();
        let member = members.choose(&mut rng).expect("an event has members");
        event.cluster.restart(member).await.expect("a process is killed and started");
        // Sometimes others die while one starts.
        if rng.random_ratio(2, 3) {
            event.cluster.wait_ready(READY).await.expect("a killed process starts again");
        }
        if kill % 20 == 0 {
            println!("{}: kill {kill}: {member}", elapsed());
        }
    }
    event.cluster.wait_ready(READY).await.expect("all listen");
    // What the last restart left undone ends by itself.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let under_load = tempfile::tempdir().expect("a temporary directory");
    backup::of_all(&event.cluster, under_load.path());
    stop.cancel();
    for task in load {
        task.await.expect("the load goes on");
    }
    for round in 1..=number("LANYARD_RESTORES", 1) {
        let backups = tempfile::tempdir().expect("a temporary directory");
        backup::of_all(&event.cluster, backups.path());
        backup::restore_all(&mut event, backups.path(), READY).await;
        println!("{}: round {round}: every party restored from its backup", elapsed());
    }
    acknowledged.check(&event, &badges).await;
    observer.check(&event).await;
    fsck::all_sound(&event.cluster);
    event.cluster.stop_all().await.expect("all stop when asked to");
    println!("{}: {} kills, nothing lost", elapsed(), deaths + kills);
    fsck::all_sound(&event.cluster);
    fsck::finds_what_is_damaged(&event.cluster);
    println!("{}: and every folder is sound", elapsed());
}

/// Starts again whoever dies, until nobody does; returns how often somebody died.
async fn die_at_points(event: &mut Event) -> u64 {
    let (started, mut last, mut deaths) = (Instant::now(), Instant::now(), 0);
    while last.elapsed() < CALM && started.elapsed() < POINTS {
        match event.cluster.check() {
            Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(ClusterError::Died { member, status, tail, .. }) => {
                use std::os::unix::process::ExitStatusExt as _;
                assert_eq!(status.signal(), Some(9), "{member} did not start again: {tail}");
                event.cluster.start(&member).expect("a process starts again");
                (last, deaths) = (Instant::now(), deaths + 1);
            }
            Err(error) => panic!("{error}"),
        }
    }
    deaths
}

/// Every kind of file that a process died at stands in the documentation, with what it leaves behind.
fn check_points(event: &Event) {
    let documentation = include_str!("../../../../docs/DURABILITY.md");
    let mut kinds = BTreeSet::new();
    for member in event.cluster.members() {
        let points = points::died_at(event.cluster.dir(), member.name());
        println!("{member}: {} points", points.len());
        kinds.extend(points.iter().filter_map(|point| Some(point.split_once(": ")?.0.to_owned())));
    }
    let is_explained = |kind: &&String| documentation.contains(&format!("`{kind}`"));
    let unexplained: Vec<_> = kinds.iter().filter(|kind| !is_explained(kind)).collect();
    assert!(
        unexplained.is_empty(),
        "docs/DURABILITY.md does not say what it means: {unexplained:?}"
    );
    for kind in ["feeds/AUTHORITY/draft", "feeds/AUTHORITY/ticks/*", "receipts/chain", "witness/*"]
    {
        assert!(kinds.contains(kind), "nobody died at {kind}");
    }
}

//! kill -9 at any moment loses nothing that was acknowledged.
//!
//! A whole event runs as processes under load: people are imported, screened against a list of the police, cleared by a rule or
//! an officer, refused, and issued badges; badges are suspended and reinstated by both authorities, reissued, checked at the
//! gate and let in by its supervisor; lists and staff are imported, pseudonyms evaluated, epochs begun out of turn, the manifest amended.
//! Whatever a party answered is written down here, every checkpoint that was shown too, and every party is asked for it.
//!
//! First every process dies once at each of its crash points, which `reached.rs` names one by one (docs/DURABILITY.md says what
//! each leaves behind), then processes are killed at random moments, then everybody is asked, and at last every party is
//! restored from a backup that was taken while it ran, and asked again. Whenever a witness has died, its memory is held against
//! what it had cosigned, before it is started again.
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
mod quota;
mod reached;
mod restart;
mod wanted;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lanyard::cluster::{ClusterError, Death};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::acknowledged::Acknowledged;
use crate::event::Event;
use crate::observer::Observer;

/// How long a process may take to listen again, on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Without a death at a new point for so long, the first start is over.
const CALM: Duration = Duration::from_secs(6);
/// The same under load, where the list says whether all was reached.
const SHORT_CALM: Duration = Duration::from_secs(3);
/// How long the points are waited for that are listed, on a busy machine.
const POINTS: Duration = Duration::from_secs(600);

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
    let mut deaths = die_at_points(&mut event, None, CALM).await;
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
    deaths += die_at_all_points(&mut event, &observer, &acknowledged).await;
    points::arm(event.cluster.dir(), false);
    println!("{}: {deaths} deaths at crash points in all", elapsed());
    reached::check(event.cluster.dir());

    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..600))).await;
        let members = event.cluster.members();
        let member = members.choose(&mut rng).expect("an event has members");
        event.cluster.kill(member).await.expect("a process is killed");
        observer.compare_memory(&event, member);
        event.cluster.start(member).expect("it is started again");
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
    acknowledged.check(&event, &badges).await;
    println!("{}: everybody stands by what was acknowledged", elapsed());
    for round in 1..=number("LANYARD_RESTORES", 1) {
        let backups = tempfile::tempdir().expect("a temporary directory");
        backup::of_all(&event.cluster, backups.path());
        backup::restore_all(&mut event, backups.path(), READY).await;
        println!("{}: round {round}: every party restored from its backup", elapsed());
    }
    acknowledged.check(&event, &badges).await;
    observer.check(&event).await;
    fsck::all_sound(&event.cluster);
    restart::of_the_committee(&mut event, &acknowledged).await;
    event.cluster.stop_all().await.expect("all stop when asked to");
    println!("{}: {} kills, nothing lost", elapsed(), deaths + kills);
    fsck::all_sound(&event.cluster);
    fsck::finds_what_is_damaged(&event.cluster);
    println!("{}: and every folder is sound", elapsed());
}

/// Starts again whoever dies, until nobody does for a while; returns how often somebody died.
async fn die_at_points(event: &mut Event, observer: Option<&Observer>, calm: Duration) -> u64 {
    let (mut last, mut deaths) = (Instant::now(), 0);
    while last.elapsed() < calm {
        match event.cluster.check() {
            Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(ClusterError::Died(Death { member, status, tail, .. })) => {
                use std::os::unix::process::ExitStatusExt as _;
                assert_eq!(status.signal(), Some(9), "{member} did not start again: {tail}");
                if let Some(observer) = observer {
                    observer.compare_memory(event, &member);
                }
                event.cluster.start(&member).expect("a process starts again");
                (last, deaths) = (Instant::now(), deaths + 1);
            }
            Err(error) => panic!("{error}"),
        }
    }
    deaths
}

/// The same under load, until every listed point was reached. Two threads of one process may be at two points at once, of which one
/// kills: what happens once only is done again then.
async fn die_at_all_points(
    event: &mut Event,
    observer: &Observer,
    acknowledged: &Acknowledged,
) -> u64 {
    let (started, mut deaths) = (Instant::now(), 0);
    loop {
        event.amend(acknowledged).await;
        acknowledged.note().epochs = [None; 2];
        deaths += die_at_points(event, Some(observer), SHORT_CALM).await;
        let missing = reached::missing(event.cluster.dir());
        if missing.is_empty() || started.elapsed() >= POINTS {
            return deaths;
        }
    }
}

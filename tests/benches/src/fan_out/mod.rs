//! Row 6: from a suspension at the police to the gates' refusal, while one mirror has two thousand followers.
//!
//! All parties' services are processes of their own, over mTLS. Full gates are a gate's mirrors, its following and its
//! decision, each on what it verified itself; the other followers ask for the same and read what comes, and let whatever is
//! measured go first, as they would on machines of their own. Gates decide again
//! whenever something became visible, so that the time of the refusal is known to the millisecond and no scanner's polling
//! takes part of the machine.

mod event;
mod followers;
mod gates;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanyard_ceremony::Member;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::setpriority_process;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::event::World;
use self::followers::{Followers, Reading};
use self::gates::{Gates, Refusal};
use crate::measure::{CpuTime, resident_bytes_of};
use crate::report::{Report, megabytes, time};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Open connections of the mirror, full gates among them.
const FOLLOWERS: usize = 2_000;
/// Full gates.
const GATES: usize = 20;
/// Mirrors of the second level, between them for all followers.
const SECOND_LEVEL: usize = 4;
/// Followers that stop to read.
const STALLED: usize = 200;
/// Suspensions in each run, and the pause between two of them, at random, in milliseconds.
const SUSPENSIONS: usize = 120;
const PAUSE_MILLIS: std::ops::Range<u64> = 250..750;
/// What the way from the police to the last gate may take beyond a tick.
const WAY: Duration = Duration::from_millis(100);
/// The nice value of whoever lets all others go first.
const LAST: i32 = 19;
/// Longest wait for the last refusal.
const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime of its own, which ends without waiting for anybody.
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    pub(crate) fn new(workers: usize) -> Result<Self, Failure> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(builder.worker_threads(workers).enable_all().build()?)))
    }

    /// One thread that lets all others go first, as if it were on a machine of its own.
    pub(crate) fn elsewhere() -> Result<Self, Failure> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let yields = || {
            // It measures the worse without.
            let _ = setpriority_process(None, LAST);
        };
        Ok(Self(Some(builder.worker_threads(1).enable_all().on_thread_start(yields).build()?)))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, Failure> {
        let runtime = self.0.as_ref().ok_or("the runtime has ended")?;
        Ok(runtime.spawn(task))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whom gates and followers follow.
struct Scene {
    what: &'static str,
    sources: Vec<Member>,
    stalled: usize,
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let files = event::raise_open_files();
    let needed = 2 * FOLLOWERS as u64;
    if files < needed {
        return Err(format!("{files} open files are allowed, {needed} needed: ulimit -n").into());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(report))
}

async fn run(report: &mut Report) -> Result<(), Failure> {
    let second = event::second_level(SECOND_LEVEL, GATES);
    let scenes = [
        Scene { what: "of one mirror", sources: vec![Member::Sponsor], stalled: 0 },
        Scene {
            what: "of one mirror, 200 of whom do not read",
            sources: vec![Member::Sponsor],
            stalled: STALLED,
        },
        Scene {
            what: "of a tree of two levels, four mirrors under one",
            sources: second,
            stalled: 0,
        },
    ];
    let mut world = World::start(GATES, SECOND_LEVEL, scenes.len() * SUSPENSIONS).await?;
    for scene in &scenes {
        run_scene(report, &mut world, scene).await?;
    }
    world.stop().await
}

async fn run_scene(report: &mut Report, world: &mut World, scene: &Scene) -> Result<(), Failure> {
    let before: Vec<_> =
        scene.sources.iter().map(|one| resident_bytes_of(world.process(one))).collect();
    let badges = world.badges(SUSPENSIONS)?;
    let gates = Gates::start(world, GATES, &scene.sources, &badges)?;
    let reading = Reading { total: FOLLOWERS - GATES, stalled: scene.stalled };
    let followers = Followers::connect(world, GATES, &scene.sources, reading).await?;
    gates.admit_all(PATIENCE).await?;

    let processes: Vec<u32> = scene.sources.iter().map(|one| world.process(one)).collect();
    let (began, ticks) = (CpuTime::of(&processes), followers.ticks());
    let mut asked = Vec::new();
    let mut random = StdRng::seed_from_u64(6);
    for (number, badge) in badges.iter().enumerate().take(SUSPENSIONS) {
        tokio::time::sleep(Duration::from_millis(random.random_range(PAUSE_MILLIS))).await;
        gates.watch(number);
        let requested = Instant::now();
        world.suspend(badge).await?;
        asked.push((requested, Instant::now()));
    }
    let refusals = gates.refusals(SUSPENSIONS * GATES, PATIENCE).await?;
    let cpu = CpuTime::of(&processes).since(&began);
    let ticks = followers.ticks() - ticks;
    followers.check()?;

    let tick = world.tick();
    let times = Times::of(&asked, &refusals);
    let figure =
        format!("{} (50th: {})", millis(times.requested.at(0.99)), millis(times.requested.at(0.5)));
    let bar = (times.requested.at(0.99).as_secs_f64() / (tick + WAY).as_secs_f64(), 1.0);
    let limit = format!("a tick + {} ms {}", WAY.as_millis(), millis(tick + WAY));
    let what = format!(
        "suspended → refused, 99th percentile, {GATES} full gates among {FOLLOWERS} followers {}",
        scene.what
    );
    report.bar("6", what, figure, limit, bar);
    let spread = format!(
        "{}, {}, {}",
        millis(times.acknowledged.at(0.5)),
        millis(times.acknowledged.at(0.99)),
        millis(times.acknowledged.at(1.0))
    );
    report.note("6", "  from the police's answer: 50th, 99th, last", spread);
    let spread = format!(
        "{}, {}, {}",
        millis(times.spread.at(0.5)),
        millis(times.spread.at(0.99)),
        millis(times.spread.at(1.0))
    );
    report.note("6", "  from the first gate's refusal to the last's: 50th, 99th, last", spread);
    let each = cpu * 1e9 / ticks.max(1) as f64;
    report.note("6", "  mirrors' CPU, each follower and tick", time(each));
    let after = scene.sources.iter().map(|one| resident_bytes_of(world.process(one)));
    let grown: u64 = std::iter::zip(after, before)
        .filter_map(|(after, before)| Some(after?.saturating_sub(before?)))
        .sum();
    let figure = format!(
        "{} for all, {:.0} kB each",
        megabytes(grown as f64),
        grown as f64 / 1e3 / FOLLOWERS as f64
    );
    report.note("6", "  mirrors' memory for followers", figure);
    drop((followers, gates));
    // The mirrors notice.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

/// Durations, sorted.
struct Durations(Vec<Duration>);

impl Durations {
    fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The smallest that this share of them does not exceed.
    fn at(&self, share: f64) -> Duration {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

struct Times {
    requested: Durations,
    acknowledged: Durations,
    spread: Durations,
}

impl Times {
    fn of(asked: &[(Instant, Instant)], refusals: &[Refusal]) -> Self {
        let (mut requested, mut acknowledged) = (Vec::new(), Vec::new());
        let mut ends: BTreeMap<usize, (Instant, Instant)> = BTreeMap::new();
        for refusal in refusals {
            let (at_request, at_answer) = asked[refusal.badge];
            requested.push(refusal.time - at_request);
            // It may be at a gate before the answer is here.
            acknowledged.push(refusal.time.saturating_duration_since(at_answer));
            let (first, last) = ends.entry(refusal.badge).or_insert((refusal.time, refusal.time));
            (*first, *last) = ((*first).min(refusal.time), (*last).max(refusal.time));
        }
        let spread = ends.values().map(|(first, last)| *last - *first).collect();
        Self {
            requested: Durations::new(requested),
            acknowledged: Durations::new(acknowledged),
            spread: Durations::new(spread),
        }
    }
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

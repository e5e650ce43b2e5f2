//! One course of events: the machines, the operations at their times, and the judgement.

mod apply;
mod copies;
mod last_look;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lanyard_ceremony::Member;
use lanyard_core::ids::Authority;
use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::{Env, Files as _};
use lanyard_party::{Folder, ManifestStore};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use turmoil::Sim;

use self::copies::Copies;

use crate::checkpoints::Checkpoints;
use crate::clock::TrueTime;
use crate::defect::Defect;
use crate::desk::Desk;
use crate::disk::{Backup, SimDisk, Watcher};
use crate::event::{Event, GATES, LIAR, LIAR_PORT, start};
use crate::judged::Judged;
use crate::ledger::Ledger;
use crate::links::RECOVERY_MILLIS;
use crate::machine::{self, Machine};
use crate::network::Wires;
use crate::op::{MACHINES, Step};
use crate::people::{People, Task};
use crate::shared::{Shared, Violation};

/// A step of the simulation.
const STEP: Duration = Duration::from_millis(10);
/// How long machines may take until everybody whom they enrol at first is let in, in milliseconds.
const READY_MILLIS: u64 = 90_000;
/// How long the last look may take.
const RECKON_MILLIS: u64 = 40_000;
/// Latency of a message, but for delays.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(30));
/// Bytes of stack for all machines.
const STACK: usize = 32 * 1024 * 1024;
/// The machine of the people.
const DESK: &str = "desk";

/// What is to happen.
pub struct Course<'a> {
    /// Decides on everything that is left to chance.
    pub seed: u64,
    /// What is done.
    pub steps: &'a [Step],
    /// What is broken on purpose.
    pub defect: Option<Defect>,
}

/// What happened.
pub struct Ended {
    /// What did not hold.
    pub violation: Option<Violation>,
    /// Everything, line by line.
    pub trace: Vec<String>,
    /// Simulated milliseconds.
    pub millis: u64,
    /// Checkpoints seen.
    pub checkpoints: usize,
    /// How often each invariant was looked at.
    pub(crate) judged: Judged,
    /// Answers of gates, by verdict and reason.
    pub answers: BTreeMap<String, u64>,
}

/// All that runs.
struct World<'a> {
    sim: Sim<'a>,
    shared: Shared,
    time: TrueTime,
    machines: BTreeMap<&'static str, Machine>,
    ended: Ends,
    chance: ChaCha8Rng,
    tasks: mpsc::UnboundedSender<Task>,
    /// Each witness's memory, by second.
    memories: BTreeMap<&'static str, Vec<Backup>>,
    copies: Copies,
    /// When everybody was let in.
    ready_at: Option<u64>,
    defect: Option<Defect>,
}

/// Services that ended by themselves, and why.
type Ends = Arc<Mutex<Vec<(&'static str, String)>>>;

/// Runs a course. Once a process: see `crate::randomness`.
///
/// # Panics
/// If the event cannot be read.
#[must_use]
pub fn run(event: &Event, dir: &Path, course: &Course<'_>) -> Ended {
    crate::randomness::seed_system(course.seed);
    // A thread that has drawn nothing yet: hash maps draw once a thread.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let running = thread.spawn_scoped(scope, || run_here(event, dir, course));
        let running = running.expect("the system has a thread left");
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run_here(event: &Event, dir: &Path, course: &Course<'_>) -> Ended {
    crate::sqlite::install();
    lanyard_env::work_in_line();
    let time = TrueTime::new(start());
    let wires = Wires::new(ports(event));
    let manifest = manifest(event, dir);
    let shared = Shared::new(time.clone(), Ledger::new(known_logs(&manifest)));
    let panicked = watch_panics();
    let (tasks, received) = mpsc::unbounded_channel();
    let mut world = World {
        sim: turmoil::Builder::new()
            .rng_seed(course.seed)
            .tick_duration(STEP)
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(LATENCY.0)
            .max_message_latency(LATENCY.1)
            .tcp_capacity(4_096)
            .build(),
        machines: machines(event, dir, &time, &shared, course.defect),
        shared,
        time,
        ended: Ends::default(),
        chance: ChaCha8Rng::seed_from_u64(course.seed ^ 0x5eed),
        tasks,
        memories: BTreeMap::new(),
        copies: Copies::for_course(course.steps),
        ready_at: None,
        defect: course.defect,
    };
    world.start_services(event, &wires, course.seed);
    let (ready, reckoned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    world.start_people(event, dir, &wires, received, &ready, &reckoned);

    world.run_until(READY_MILLIS, &panicked, || ready.load(Ordering::SeqCst), "nobody is let in");
    world.all_are_ready();
    for step in course.steps {
        world.run_for(step.after, &panicked);
        if world.shared.violation().is_some() {
            break;
        }
        world.shared.trace(format!("> {step}"));
        world.apply(step.op);
    }
    world.mend_all();
    world.run_for(RECOVERY_MILLIS + 15_000, &panicked);
    if world.shared.violation().is_none() {
        world.tell(Task::Reckon);
        let done = || reckoned.load(Ordering::SeqCst);
        world.run_until(RECKON_MILLIS, &panicked, done, "the last look does not end");
        world.look_at_disks(&manifest);
    }
    let ledger = world.shared.ledger();
    Ended {
        violation: world.shared.violation(),
        trace: world.shared.traced(),
        millis: world.time.elapsed(),
        checkpoints: ledger.checkpoints.count(),
        judged: ledger.judged.clone(),
        answers: ledger.answers.clone(),
    }
}

fn ports(event: &Event) -> BTreeMap<u16, String> {
    let mut ports: BTreeMap<u16, String> =
        event.ports.iter().map(|(member, port)| (*port, member.name().to_owned())).collect();
    ports.insert(LIAR_PORT, LIAR.to_owned());
    ports
}

/// The event's manifest, as the trustee has it.
fn manifest(event: &Event, dir: &Path) -> Arc<VerifiedManifest> {
    let disk = SimDisk::new(Arc::new(|_, _| {}));
    let folder = dir.join("trustee");
    fill(&disk, event, &Member::Trustee, &folder);
    let env = Env { files: Arc::new(disk), ..Env::system() };
    let manifests = ManifestStore::open(&Folder::open(folder, &env)).expect("the ceremony made it");
    manifests.current()
}

/// Both logs' names and keys.
fn known_logs(manifest: &VerifiedManifest) -> Checkpoints {
    let key = |authority| manifest.log_key(authority).clone();
    let origin = |authority| manifest.origin(authority).as_str().to_owned();
    Checkpoints::new(Authority::ALL.map(key), Authority::ALL.map(origin))
}

fn fill(disk: &SimDisk, event: &Event, member: &Member, folder: &Path) {
    for (path, bytes) in event.files(member) {
        disk.put(&folder.join(path), bytes, 0o600);
    }
}

fn machines(
    event: &Event,
    dir: &Path,
    time: &TrueTime,
    shared: &Shared,
    defect: Option<Defect>,
) -> BTreeMap<&'static str, Machine> {
    let of = |(name, member): (&'static str, Member)| {
        let folder = dir.join(name);
        // For SQLite, which has no other disk.
        std::fs::create_dir_all(folder.join("data")).expect("there is space");
        let told = shared.clone();
        let watcher: Watcher =
            Arc::new(move |path: &Path, bytes: &[u8]| told.wrote(name, path, bytes));
        let disk = SimDisk::new(watcher);
        fill(&disk, event, &member, &folder);
        if name == GATES[1] {
            through_the_liar(&disk, &folder, event.ports[&Member::Sponsor]);
        }
        let machine = Machine { name, member, folder, disk, clock: time.clock() };
        if let Some(defect) = defect {
            defect.build_in(&machine);
        }
        (name, machine)
    };
    let member = |name: &str| name.parse().expect("machines bear members' names");
    let all = MACHINES.into_iter().map(|name| (name, member(name)));
    all.chain(defect.and_then(Defect::another)).map(of).collect()
}

/// The second gate finds the sponsor where the mirror that may lie stands.
fn through_the_liar(disk: &SimDisk, folder: &Path, sponsor: u16) {
    let path = folder.join("config.toml");
    let text = disk.read(&path).expect("the ceremony made it");
    let text = String::from_utf8(text).expect("it is TOML");
    let text = text.replace(&format!("127.0.0.1:{sponsor}"), &format!("127.0.0.1:{LIAR_PORT}"));
    disk.put(&path, text.into_bytes(), 0o600);
}

/// A panic anywhere is a failure, whatever catches it.
fn watch_panics() -> Arc<Mutex<Option<String>>> {
    let panicked = Arc::new(Mutex::new(None));
    let told = Arc::clone(&panicked);
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("{info}");
        told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(info.to_string());
    }));
    panicked
}

impl World<'_> {
    fn start_services(&mut self, event: &Event, wires: &Wires, seed: u64) {
        for (name, machine) in &self.machines {
            let (machine, wires, ended) = (machine.clone(), wires.clone(), Arc::clone(&self.ended));
            let starts = Arc::new(AtomicU64::new(0));
            let name = *name;
            self.sim.host(name, move || {
                let start = starts.fetch_add(1, Ordering::SeqCst);
                let env = machine.env(&wires, seed, start);
                let (member, folder) = (machine.member.clone(), machine.folder.clone());
                let (disk, ended) = (machine.disk.clone(), Arc::clone(&ended));
                async move {
                    // A task of the runtime, so that a crash drops it where its connections can be closed.
                    let serving = async move { machine::serve(&member, &folder, env).await };
                    let why = match tokio::spawn(serving).await {
                        Ok(Ok(())) => "it ended".to_owned(),
                        Ok(Err(error)) => error,
                        Err(error) => error.to_string(),
                    };
                    // A machine that stops in a write may end in any way.
                    if !disk.has_stopped() {
                        let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                        ended.push((name, why));
                    }
                    std::future::pending::<()>().await;
                    Ok(())
                }
            });
        }
        let sponsor = self.machines["sponsor"].clone();
        let (shared, wires) = (self.shared.clone(), wires.clone());
        let upstream = format!("127.0.0.1:{}", event.ports[&Member::Sponsor]);
        let liar = Machine { name: LIAR, clock: self.time.clock(), ..sponsor };
        let ended = Arc::clone(&self.ended);
        self.sim.host(LIAR, move || {
            let (shared, env) = (shared.clone(), liar.env(&wires, seed, 0));
            let (folder, upstream) = (liar.folder.clone(), upstream.clone());
            let ended = Arc::clone(&ended);
            async move {
                if let Err(why) = machine::lie(&shared, &folder, env, &upstream).await {
                    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                    ended.push((LIAR, why));
                }
                Ok(())
            }
        });
    }

    fn start_people(
        &mut self,
        event: &Event,
        dir: &Path,
        wires: &Wires,
        received: mpsc::UnboundedReceiver<Task>,
        ready: &Arc<AtomicBool>,
        reckoned: &Arc<AtomicBool>,
    ) {
        let disk = SimDisk::new(Arc::new(|_, _| {}));
        for member in event.ports.keys() {
            fill(&disk, event, member, &dir.join(member.name()));
        }
        let desk = Machine {
            name: DESK,
            member: Member::Committee,
            folder: dir.to_owned(),
            disk,
            clock: self.time.clock(),
        };
        let env = desk.env(wires, 0, 0);
        let stray = self.defect.and_then(Defect::stray);
        let (shared, key, dir) = (self.shared.clone(), event.issuing_key(), PathBuf::from(dir));
        let (ready, reckoned) = (Arc::clone(ready), Arc::clone(reckoned));
        self.sim.client(DESK, async move {
            let people = People::new(Desk::open(&env, &dir), shared, key, stray);
            people.act(received, ready, reckoned).await;
            Ok(())
        });
    }

    fn run_until(
        &mut self,
        millis: u64,
        panicked: &Mutex<Option<String>>,
        done: impl Fn() -> bool,
        otherwise: &str,
    ) {
        let until = self.time.elapsed() + millis;
        while !done() && self.shared.violation().is_none() {
            self.step(panicked);
            if self.time.elapsed() > until {
                self.shared.violate("all-recovers", otherwise);
            }
        }
    }

    fn run_for(&mut self, millis: u64, panicked: &Mutex<Option<String>>) {
        let until = self.time.elapsed() + millis;
        while self.time.elapsed() < until && self.shared.violation().is_none() {
            self.step(panicked);
        }
    }

    fn step(&mut self, panicked: &Mutex<Option<String>>) {
        if let Err(error) = self.sim.step() {
            self.shared.violate("no-panic", error.to_string());
        }
        let elapsed = self.sim.elapsed().as_millis();
        self.time.set_elapsed(u64::try_from(elapsed).unwrap_or(u64::MAX));
        if let Some(panic) = panicked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.shared.violate("no-panic", panic);
        }
        let stopped: Vec<&'static str> = self
            .machines
            .values()
            .filter(|machine| machine.disk.has_stopped())
            .map(|machine| machine.name)
            .collect();
        for name in stopped {
            self.shared.trace(format!("{name} stopped in a write"));
            self.crash(name);
        }
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, why) in ended {
            self.shared.violate("no-panic", format!("{name} ended by itself: {why}"));
        }
        if self.time.elapsed().is_multiple_of(1_000) {
            self.every_second();
        }
    }
}

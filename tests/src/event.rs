//! One event in a temporary folder, its services as threads of this process.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lanyard_ceremony::{Addresses, EventPlan, EventTree, Member, init_all};
use lanyard_client::Connection;
use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;
use lanyard_env::{Clock, Env, SystemClock};
use lanyard_party::{PartyConfig, chain};
use lanyard_transport::Role;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Opens the issuing key of every event here.
pub const PASSPHRASE: &str = "correct horse battery";

/// How long a service may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The sample plan of the repository, made small and quick, in the hour after midnight: no epoch ends during a test.
///
/// # Panics
/// If the sample does not read.
#[must_use]
pub fn sample_plan() -> EventPlan {
    let env = Env::system();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/cli/samples/event.toml");
    let mut plan = EventPlan::read(&*env.files, &path).expect("the sample plan reads");
    plan.time_zone = hour_after_midnight(env.now());
    plan.tick_millis = 1_000;
    plan.padding.reseals = [64, 1_024, 16_384];
    plan.padding.decoy_floor = 64;
    plan.padding.sponsor_reseal_seconds = 2;
    plan.screening.verdict_delay_seconds = 0;
    plan
}

fn hour_after_midnight(now: Timestamp) -> EventTimeZone {
    let hour = now.seconds() / 3_600 % 24;
    // POSIX signs: Etc/GMT+5 is five hours behind UTC.
    let name = match hour {
        0 => "Etc/UTC".to_owned(),
        1..=12 => format!("Etc/GMT+{hour}"),
        _ => format!("Etc/GMT-{}", 24 - hour),
    };
    EventTimeZone::parse(&name).expect("whole hours have zones")
}

/// The system's clock, which tests move forward for everyone who shares it.
#[derive(Debug, Clone, Default)]
pub struct ShiftedClock(Arc<AtomicU64>);

impl ShiftedClock {
    /// Moves it forward to `time`; never back.
    pub fn jump_to(&self, time: Timestamp) {
        self.0.fetch_add(time.millis_since(self.now()), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_millis(self.0.load(Ordering::SeqCst))
    }
}

/// An event and whichever of its services run.
pub struct TestEvent {
    env: Env,
    dir: TempDir,
    tree: EventTree,
    running: BTreeMap<Member, Running>,
}

/// One service: a thread with a runtime of its own, so that stopping it leaves no task behind.
struct Running {
    shutdown: CancellationToken,
    thread: JoinHandle<Result<(), String>>,
}

impl TestEvent {
    /// Makes an event of this plan; nothing runs yet.
    ///
    /// # Panics
    /// If the ceremony fails.
    #[must_use]
    pub fn make(plan: &EventPlan) -> Self {
        Self::make_in(plan, Env::system())
    }

    /// As [`TestEvent::make`], in a world of its own, as one with another clock.
    ///
    /// # Panics
    /// If the ceremony fails.
    #[must_use]
    pub fn make_in(plan: &EventPlan, env: Env) -> Self {
        let mut event = Self::made_in(plan, &env);
        event.env = env;
        event
    }

    /// Makes an event in a world of its own, as one that has another time; its services run in the real one.
    ///
    /// # Panics
    /// If the ceremony fails.
    #[must_use]
    pub fn made_in(plan: &EventPlan, ceremony: &Env) -> Self {
        let env = Env::system();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let tree = init_all(ceremony, dir.path(), plan, &addresses(plan), PASSPHRASE, |_, _| {})
            .expect("the ceremony succeeds");
        let event = Self { env, dir, tree, running: BTreeMap::new() };
        event.place_stores();
        event
    }

    /// Makes an event of the sample plan and starts every service.
    ///
    /// # Panics
    /// If the ceremony fails or a service does not start.
    #[must_use]
    pub fn started() -> Self {
        let mut event = Self::make(&sample_plan());
        event.start_all();
        event
    }

    /// Starts every service that does not run.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start_all(&mut self) {
        for member in self.members() {
            self.start(member.name());
        }
    }

    /// Starts a service, and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&mut self, name: &str) {
        self.start_in(name, self.env.clone());
    }

    /// Starts a service in a world of its own, and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_in(&mut self, name: &str, env: Env) {
        let member: Member = name.parse().expect("a member's name");
        if self.running.contains_key(&member) {
            return;
        }
        let shutdown = CancellationToken::new();
        let (config, stop) = (self.folder(name).join("config.toml"), shutdown.clone());
        let party = member.clone();
        let thread = std::thread::spawn(move || run_member(&party, &config, env, stop));
        let address = self.address(name);
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if thread.is_finished() {
                panic!("{name} ended: {:?}", thread.join());
            }
            assert!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.running.insert(member, Running { shutdown, thread });
    }

    /// Why a service does not start.
    ///
    /// # Panics
    /// If it starts, or has not ended in this time.
    #[must_use]
    pub fn refused(&self, name: &str, limit: Duration) -> String {
        let member: Member = name.parse().expect("a member's name");
        let (config, env) = (self.folder(name).join("config.toml"), self.env.clone());
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let thread = std::thread::spawn(move || run_member(&member, &config, env, shutdown));
        let deadline = Instant::now() + limit;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.cancel();
        let ended = thread.join().unwrap_or_else(|_| panic!("{name} panicked"));
        ended.err().unwrap_or_else(|| panic!("{name} started"))
    }

    /// Asks a service to stop; it answers what is in progress first.
    ///
    /// # Panics
    /// If it does not run.
    pub fn ask_to_stop(&self, name: &str) {
        let member: Member = name.parse().expect("a member's name");
        self.running.get(&member).expect("it runs").shutdown.cancel();
    }

    /// Stops a service, and waits for its end.
    ///
    /// # Panics
    /// If it does not run or failed.
    pub fn stop(&mut self, name: &str) {
        let member: Member = name.parse().expect("a member's name");
        let Running { shutdown, thread } = self.running.remove(&member).expect("it runs");
        shutdown.cancel();
        let ended = thread.join().unwrap_or_else(|_| panic!("{name} panicked"));
        ended.unwrap_or_else(|error| panic!("{name} failed: {error}"));
    }

    /// Stops every service that runs.
    ///
    /// # Panics
    /// If one failed.
    pub fn stop_all(&mut self) {
        for running in self.running.values() {
            running.shutdown.cancel();
        }
        for member in self.members() {
            if self.running.contains_key(&member) {
                self.stop(member.name());
            }
        }
    }

    /// Every member that has a service.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.tree.services.keys().cloned().collect()
    }

    /// The event's directory, with the folders of all members and the exchange folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A member's folder.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where a member's service listens.
    ///
    /// # Panics
    /// If the member has no service.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.tree.services[&name.parse::<Member>().expect("a member's name")]
    }

    /// The environment that services run in.
    #[must_use]
    pub const fn env(&self) -> &Env {
        &self.env
    }

    /// The only person or desk of a member who has this role.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn person(&self, member: &str, role: Role) -> Connection {
        self.person_in(&self.env, member, role)
    }

    /// As [`TestEvent::person`], in a world of their own.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn person_in(&self, env: &Env, member: &str, role: Role) -> Connection {
        Connection::open(env, &self.folder(member), &[role], None)
            .unwrap_or_else(|error| panic!("{member}: {error}"))
    }
}

impl Drop for TestEvent {
    fn drop(&mut self) {
        // A test that failed keeps its own message; its services end with the process.
        if !std::thread::panicking() {
            self.stop_all();
        }
    }
}

fn addresses(plan: &EventPlan) -> Addresses {
    let members = plan.members().into_iter().filter(|member| member.service().is_some());
    members.map(|member| (member, free_address())).collect()
}

/// A port that is free, and stays so until its service binds it: each is given once in a process, and none is among those
/// (from 32768 on) that the system gives to whoever connects or binds to any.
///
/// # Panics
/// If none is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at once begin far from each other.
    let begin = std::process::id().wrapping_mul(769);
    loop {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        assert!(given < COUNT, "no port is free");
        let port = FIRST + begin.wrapping_add(given) % COUNT;
        let port = u16::try_from(port).expect("below 32000");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().expect("it is bound");
        }
    }
}

/// Runs a member's service until it is asked to stop.
///
/// # Errors
/// Why it does not start, or has ended.
pub fn run_member(
    member: &Member,
    config: &Path,
    env: Env,
    shutdown: CancellationToken,
) -> Result<(), String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        runtime.worker_threads(2).enable_all().build().map_err(|error| error.to_string())?;
    let serving = async {
        match member {
            Member::Committee => {
                lanyard_committee::serve(read(&env, config)?, env, shutdown).await.map_err(text)
            }
            Member::Police => {
                lanyard_police::serve(read(&env, config)?, env, shutdown).await.map_err(text)
            }
            Member::Sponsor => {
                lanyard_sponsor::serve(read(&env, config)?, env, shutdown).await.map_err(text)
            }
            Member::Trustee => {
                lanyard_trustee::serve(read(&env, config)?, env, shutdown).await.map_err(text)
            }
            Member::Gate(_) => {
                lanyard_gate::serve(read(&env, config)?, env, shutdown).await.map_err(text)
            }
            Member::GateAuthority => Err("the gates' authority runs no service".to_owned()),
        }
    };
    let ended = runtime.block_on(serving);
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

fn read<S: DeserializeOwned>(env: &Env, config: &Path) -> Result<PartyConfig<S>, String> {
    PartyConfig::read(&*env.files, config).map_err(text)
}

fn text(error: impl std::error::Error) -> String {
    chain(&error)
}

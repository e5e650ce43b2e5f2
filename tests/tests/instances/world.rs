//! An event of which one authority runs as two processes over one database, behind a balancer.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lanyard_client::Connection;
use lanyard_core::ids::{Audience, Authority};
use lanyard_env::Env;
use lanyard_feed::{Mirror, MirrorConfig, SyncState, Upstream, follow};
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_store::{Location, Publishing, Succession};
use lanyard_test_postgres::Server;
use lanyard_tests::{
    Desk, Load, TestEvent, copy_folder, eventually, free_address, people, run_member, run_together,
    sample_plan,
};
use lanyard_transport::{PartyName, Role, Tls, connect};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::police::v1 as police;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::balancer::Balancer;

/// The variables with whose instance a process is, and with the path of its `config.toml`.
const MEMBER: &str = "LANYARD_TEST_INSTANCE_OF";
const CONFIG: &str = "LANYARD_TEST_INSTANCE";

const MAIN: &str = "sta-main";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instance {
    A,
    B,
}

impl Instance {
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::B];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Runs an instance, if this process is to be one.
pub(crate) fn serve() {
    let [Ok(member), Ok(config)] = [MEMBER, CONFIG].map(std::env::var) else { return };
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::INFO).init();
    let (member, never) = (member.parse().unwrap(), CancellationToken::new());
    run_member(&member, config.as_ref(), Env::system(), never).unwrap();
}

/// One instance: its folder, and its process.
struct Member {
    folder: PathBuf,
    address: SocketAddr,
    process: Option<Child>,
}

/// Somebody who was let in.
#[derive(Clone)]
struct Person {
    reference: String,
    badge: String,
}

pub(crate) struct World {
    event: TestEvent,
    authority: Authority,
    balancer: Balancer,
    members: [Member; 2],
    succession: Succession,
    /// One mirror of each instance's own feed: it takes nothing that does not follow from what it has.
    collectors: Vec<Arc<Mirror>>,
    people: Vec<Person>,
    runtime: Runtime,
    pub(crate) server: Server,
}

/// Changes of one person, over and over, at both instances.
pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Churn {
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

impl World {
    /// Both instances of the authority, everybody else, and so many people who are known at the gate.
    pub(crate) fn start(authority: Authority, people: usize, server: Server) -> Self {
        let event = TestEvent::make(&sample_plan());
        let url = server.url("postgres");
        let name = authority.name();
        let members = Instance::ALL.map(|instance| {
            let folder = event.folder(&format!("{name}-{instance:?}"));
            let address = free_address();
            copy_with(&event.folder(name), &folder, address, &url);
            Member { folder, address, process: None }
        });
        let targets = members.iter().map(|member| member.address).collect();
        let balancer = Balancer::start(event.address(name), targets);
        let runtime = Runtime::new().unwrap();
        let location = Location::parse(&url, Path::new("/")).unwrap();
        let succession = {
            let _inside = runtime.enter();
            Succession::new(&location).unwrap()
        };
        let mut world = Self {
            event,
            authority,
            balancer,
            members,
            succession,
            collectors: Vec::new(),
            people: Vec::new(),
            runtime,
            server,
        };
        // Both on an empty database, at once.
        for instance in Instance::ALL {
            world.spawn(instance);
        }
        for instance in Instance::ALL {
            world.listens(instance);
        }
        // Nothing on their machines tells whether the database was restored, and no witness answers yet.
        std::thread::sleep(Duration::from_secs(3));
        let recorded = world.runtime.block_on(world.succession.publishing()).unwrap();
        assert_eq!(recorded.map_or(0, |publishing| publishing.size), 0, "signed without a word");
        for member in world.event.members().iter().filter(|member| member.name() != name) {
            world.event.start(member.name());
        }
        for instance in Instance::ALL {
            let collector = world.collect(instance);
            world.collectors.push(collector);
        }
        world.people = run_together(world.published(people));
        world
    }

    fn member(&self, instance: Instance) -> &Member {
        &self.members[instance as usize]
    }

    fn spawn(&mut self, instance: Instance) {
        let member = &mut self.members[instance as usize];
        let log = File::options().create(true).append(true).open(member.folder.join("log"));
        let log = log.unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "instance", "--nocapture"])
            .env(MEMBER, self.authority.name())
            .env(CONFIG, member.folder.join("config.toml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        member.process = Some(process.unwrap());
    }

    fn listens(&self, instance: Instance) {
        let member = self.member(instance);
        let deadline = Instant::now() + Duration::from_secs(40);
        while TcpStream::connect(member.address).is_err() {
            let log = || fs::read_to_string(member.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{instance:?} does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn start_instance(&mut self, instance: Instance) {
        self.spawn(instance);
        self.listens(instance);
    }

    pub(crate) fn kill(&mut self, instance: Instance) {
        let mut process = self.members[instance as usize].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn pause(&self, instance: Instance) {
        self.signal(instance, Signal::STOP);
    }

    pub(crate) fn resume(&self, instance: Instance) {
        self.signal(instance, Signal::CONT);
    }

    fn signal(&self, instance: Instance, signal: Signal) {
        let process = self.member(instance).process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    pub(crate) fn point_at(&self, instance: Instance) {
        let order = [instance, instance.other()];
        self.balancer.point_at(order.map(|one| self.member(one).address).to_vec());
    }

    async fn published(&self, count: usize) -> Vec<Person> {
        let badges = Desk::of(&self.event).publish_people(count).await;
        let known = people(count).into_iter().zip(badges);
        known.map(|(person, badge)| Person { reference: person.reference, badge }).collect()
    }

    async fn publishing(&self) -> Publishing {
        let publishing = self.runtime.handle().spawn({
            let succession = self.succession.clone();
            async move { succession.publishing().await }
        });
        publishing.await.unwrap().unwrap().unwrap()
    }

    /// The instance whose term it is.
    pub(crate) async fn publisher(&self) -> Instance {
        let address = self.publishing().await.address;
        let of = |one: &Instance| self.member(*one).address.to_string() == address;
        Instance::ALL.into_iter().find(of).unwrap()
    }

    /// The size of the log that the database has recorded.
    pub(crate) async fn recorded(&self) -> u64 {
        self.publishing().await.size
    }

    /// Waits until an instance serves a checkpoint of more than this size.
    pub(crate) async fn serves_more_than(&self, instance: Instance, size: u64) {
        let collector = &self.collectors[instance as usize];
        eventually("the instance publishes", async || {
            (collector.read().size() > size).then_some(())
        })
        .await;
    }

    fn operator(&self, instance: Instance) -> Connection {
        let folder = &self.member(instance).folder;
        Connection::open(self.event.env(), folder, &[Role::Operator], None).unwrap()
    }

    /// Suspends or reinstates somebody at one instance.
    pub(crate) async fn change(
        &self,
        instance: Instance,
        action: StatusAction,
        person: usize,
    ) -> Result<(), Status> {
        change(&self.operator(instance), action, &self.people[person]).await
    }

    pub(crate) async fn answers(&self, instance: Instance) -> Result<(), Status> {
        let operator = self.operator(instance);
        match self.authority {
            Authority::Committee => {
                let request = committee::GetPublicationRequest {};
                operator.badges().unwrap().get_publication(request).await.map(|_| ())
            }
            Authority::Police => {
                let request = police::GetPublicationRequest {};
                operator.subjects().unwrap().get_publication(request).await.map(|_| ())
            }
        }
    }

    /// Changes somebody as fast as the instances take it, whatever becomes of them.
    pub(crate) fn churn(&self, person: usize) -> Churn {
        let stop = Arc::new(AtomicBool::new(false));
        let operators = Instance::ALL.map(|instance| self.operator(instance));
        let (person, stopped) = (self.people[person].clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            run_together(async {
                while !stopped.load(Ordering::Relaxed) {
                    for operator in &operators {
                        for action in [StatusAction::Suspend, StatusAction::Reinstate] {
                            let changing = change(operator, action, &person);
                            let _ = tokio::time::timeout(Duration::from_secs(2), changing).await;
                        }
                    }
                }
            });
        });
        Churn { stop, thread }
    }

    fn collect(&self, instance: Instance) -> Arc<Mirror> {
        let env = self.event.env().clone();
        let folder = Folder::open(self.event.folder("sponsor"), &env);
        let manifests = Arc::new(ManifestStore::open(&folder).unwrap());
        let anchors = trust_anchors(&manifests.current()).unwrap();
        let tls = Tls::new(&env, folder.service_identity().unwrap(), anchors);
        let member = self.member(instance);
        let dir = member.folder.with_extension("collected");
        let config = MirrorConfig {
            authority: self.authority,
            audiences: vec![Audience::Gate],
            recipient: None,
            publisher: false,
        };
        let mirror = Mirror::open(env.clone(), &dir, config, manifests).unwrap();
        let _inside = self.runtime.enter();
        let expected = expected(self.authority.name()).unwrap();
        let channel = connect(&env, &tls, &member.address.to_string(), &expected).unwrap();
        let upstream = Upstream { name: format!("{instance:?}"), channel };
        let (sync, _) = watch::channel(SyncState::default());
        let stop = CancellationToken::new();
        self.runtime.spawn(follow(Arc::clone(&mirror), vec![upstream], sync, stop));
        mirror
    }

    /// The size of the log, as far as anybody has it.
    pub(crate) fn collected(&self) -> u64 {
        self.collectors.iter().map(|one| one.read().size()).max().unwrap_or_default()
    }

    pub(crate) async fn collected_more_than(&self, size: u64) {
        eventually("the log grows", async || (self.collected() > size).then_some(())).await;
    }

    /// Whether all that was collected is one log; its size.
    pub(crate) async fn collectors_agree(&self) -> u64 {
        let least = self.collected();
        eventually("both serve the whole log", async || {
            self.collectors.iter().all(|one| one.read().size() >= least).then_some(())
        })
        .await;
        let root = |mirror: &Arc<Mirror>, size| mirror.read().log().root_at(size).unwrap();
        for size in 1..=least {
            let roots: Vec<_> = self.collectors.iter().map(|one| root(one, size)).collect();
            assert_eq!(roots[0], roots[1], "two logs from size {size}");
        }
        for collector in &self.collectors {
            assert_eq!(collector.times_caught(), 0, "a fork was seen");
        }
        least
    }

    pub(crate) async fn refused(&self, person: usize) {
        self.says("REFER", person).await;
    }

    pub(crate) async fn admitted(&self, person: usize) {
        self.says("ADMIT", person).await;
    }

    async fn says(&self, verdict: &str, person: usize) {
        let desk = Desk::of(&self.event);
        eventually("the gate knows", async || {
            let checked = desk.check(&self.people[person].badge, MAIN).await.ok()?;
            (checked.verdict == verdict).then_some(())
        })
        .await;
    }

    /// Enrols one more, who is screened and let in: what only one instance does at a time is done.
    pub(crate) async fn lets_somebody_new_in(&self) {
        let desk = Desk::of(&self.event);
        let new = people(self.people.len() + 1).split_off(self.people.len());
        desk.enrol(&new).await.unwrap();
        let badge = desk.issue().await.unwrap().remove(&new[0].reference).unwrap();
        eventually("somebody new is let in", async || {
            desk.screen(2).await.ok()?;
            (desk.check(&badge, MAIN).await.ok()?.verdict == "ADMIT").then_some(())
        })
        .await;
    }

    /// Scanners of the badge of somebody good, and the scanner's connection.
    pub(crate) fn gate_load(&self, person: usize) -> (Load, Connection) {
        let badge = self.people[person].badge.clone();
        (Load::on(&[badge], MAIN), Desk::of(&self.event).scanner)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(process) = &mut member.process {
                let _ = process.kill();
                let _ = process.wait();
            }
            if std::thread::panicking() {
                let log = fs::read_to_string(member.folder.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(60)..].join("\n");
                eprintln!("--- {}\n{tail}", member.folder.display());
            }
        }
    }
}

async fn change(
    operator: &Connection,
    action: StatusAction,
    person: &Person,
) -> Result<(), Status> {
    let (action, reason) = (action.into(), "a test".to_owned());
    if operator.party() == PartyName::Committee {
        let request = committee::ChangeStatusRequest {
            action,
            references: vec![person.reference.clone()],
            badge_numbers: Vec::new(),
            reason,
        };
        return operator.badges().unwrap().change_status(request).await.map(|_| ());
    }
    let request = police::ChangeStatusRequest {
        action,
        subject_ids: Vec::new(),
        badge_texts: vec![person.badge.clone()],
        reason,
    };
    operator.subjects().unwrap().change_status(request).await.map(|_| ())
}

/// An instance's folder: the party's, with an address of its own and the database.
fn copy_with(from: &Path, to: &Path, address: SocketAddr, url: &str) {
    copy_folder(from, to);
    let path = to.join("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let lines = config.lines().map(|line| match line.split(' ').next() {
        Some("listen") => format!("listen = \"{address}\""),
        Some("store") => format!("store = \"{url}\""),
        _ => line.to_owned(),
    });
    let config: Vec<String> = lines.collect();
    fs::write(path, config.join("\n")).unwrap();
}

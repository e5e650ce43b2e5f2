//! The event: its services as processes, people with badges, and an officer who suspends them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanyard::cluster::Cluster;
use lanyard::event;
use lanyard_ceremony::{Member, PlannedGate};
use lanyard_client::Connection;
use lanyard_core::decision::AccessPoint;
use lanyard_core::ids::EventId;
use lanyard_env::Env;
use lanyard_tests::{Desk, PASSPHRASE, people};
use lanyard_transport::Role;
use lanyard_wire::common::v1::StatusAction;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::Failure;

/// The only door of a gate.
pub(crate) fn door_name(gate: &str) -> String {
    format!("{gate}-door")
}

const START: Duration = Duration::from_secs(120);
/// The parties whose services take part, gates apart.
const PARTIES: [Member; 4] = [Member::Committee, Member::Police, Member::Trustee, Member::Sponsor];

pub(crate) fn gate_name(number: usize) -> String {
    format!("gate-{number}")
}

/// Gates that serve others: those after the full ones.
pub(crate) fn second_level(count: usize, gates: usize) -> Vec<Member> {
    (1..=count).filter_map(|number| gate_name(gates + number).parse().ok()).collect()
}

/// Allows this process and its children as many open files as the system lets them have, and says how many.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What was allowed before stays allowed.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

pub(crate) struct World {
    env: Env,
    cluster: Cluster,
    desk: Desk,
    badges: VecDeque<String>,
    tick: Duration,
    _dir: TempDir,
}

impl World {
    /// An event in which `count` people have badges, with the services of all parties and of `mirrors` gates running.
    pub(crate) async fn start(gates: usize, mirrors: usize, count: usize) -> Result<Self, Failure> {
        let (env, dir) = (Env::system(), TempDir::new()?);
        let mut plan = event::plan(&env, None)?;
        plan.screening.verdict_delay_seconds = 0;
        let point = plan.access_points.iter().find(|point| point.id == "sta-main");
        let point = point.ok_or("the sample plan has a main door")?.clone();
        let names: Vec<String> = (1..=gates + mirrors).map(gate_name).collect();
        let door = |gate: &String| AccessPoint { id: door_name(gate), ..point.clone() };
        plan.access_points = names.iter().map(door).collect();
        let gate = |name: &String| -> Result<PlannedGate, Failure> {
            let access_points = vec![door_name(name)];
            Ok(PlannedGate { name: name.parse()?, access_points, upstreams: vec![Member::Sponsor] })
        };
        plan.gates = names.iter().map(gate).collect::<Result<_, Failure>>()?;
        let tick = Duration::from_millis(u64::from(plan.tick_millis));
        let addresses = event::free_addresses(&plan)?;
        event::create(&env, dir.path(), &plan, &addresses, PASSPHRASE, |_, _| {})?;
        // The processes are this program: see `main`.
        let mut cluster = Cluster::open(&env, dir.path())?;
        for party in PARTIES.into_iter().chain(second_level(mirrors, gates)) {
            cluster.start(&party)?;
        }
        cluster.wait_ready(START).await?;
        let desk = desk(&env, &cluster)?;
        let badges = enrolled(&desk, count).await?;
        Ok(Self { env, cluster, desk, badges, tick, _dir: dir })
    }

    pub(crate) const fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn event(&self) -> &EventId {
        &self.desk.registrar.manifest().event
    }

    pub(crate) const fn tick(&self) -> Duration {
        self.tick
    }

    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        Ok(self.cluster.folder(&name.parse()?))
    }

    pub(crate) fn address(&self, member: &Member) -> Result<SocketAddr, Failure> {
        Ok(self.cluster.address(member)?)
    }

    /// The process of a member's service.
    pub(crate) fn process(&self, member: &Member) -> u32 {
        self.cluster.process_id(member).unwrap_or_default()
    }

    /// Badges that nobody has suspended.
    pub(crate) fn badges(&mut self, count: usize) -> Result<Vec<String>, Failure> {
        if self.badges.len() < count {
            return Err("there are no badges left".into());
        }
        Ok(self.badges.drain(..count).collect())
    }

    /// Has the police suspend a badge.
    pub(crate) async fn suspend(&self, badge: &str) -> Result<(), Failure> {
        self.desk.police_say(StatusAction::Suspend, badge).await?;
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        Ok(self.cluster.stop_all().await?)
    }
}

/// Everyone who acts, at the first gate's too, which has no service here.
fn desk(env: &Env, cluster: &Cluster) -> Result<Desk, Failure> {
    let person = |member: &str, role| -> Result<Connection, Failure> {
        Ok(Connection::open(env, &cluster.folder(&member.parse()?), &[role], None)?)
    };
    Ok(Desk {
        registrar: person("committee", Role::Operator)?,
        committee_desk: person("committee", Role::Desk)?,
        officer: person("police", Role::Operator)?,
        police_desk: person("police", Role::Desk)?,
        sponsor_desk: person("sponsor", Role::Desk)?,
        scanner: person("gate-1", Role::Scanner)?,
        supervisor: person("gate-1", Role::Supervisor)?,
        gate_operator: person("gate-1", Role::Operator)?,
    })
}

async fn enrolled(desk: &Desk, count: usize) -> Result<VecDeque<String>, Failure> {
    let everyone = people(count);
    desk.enrol(&everyone).await?;
    let texts = desk.issue().await?;
    let deadline = Instant::now() + START;
    while desk.screen(2).await?.cleared < count as u64 {
        if Instant::now() > deadline {
            return Err("screening does not end".into());
        }
    }
    Ok(texts.into_values().collect())
}

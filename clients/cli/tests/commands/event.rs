//! An event that the program has made, with its services as processes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lanyard::cluster::Cluster;
use lanyard_ceremony::{EventPlan, Member, PlannedGate};
use lanyard_core::decision::AccessPoint;
use lanyard_env::Env;
use lanyard_tests::{Desk, PASSPHRASE, eventually, free_address, sample_plan};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const LANYARD: &str = env!("CARGO_BIN_EXE_lanyard");

/// A public door of the first gate, and one of the second.
pub(crate) const MAIN: &str = "sta-main";
pub(crate) const NORTH: &str = "sta-north";

/// How long processes may take to come up on a busy machine.
pub(crate) const READY: Duration = Duration::from_secs(90);

pub(crate) fn member(name: &str) -> Member {
    name.parse().expect("a member's name")
}

/// Two gates with a public door each. Whichever party is stopped, both have somebody to follow.
pub(crate) fn two_gates() -> EventPlan {
    let mut plan = sample_plan();
    let (id, venue, zone) = (NORTH.to_owned(), "STA".to_owned(), "PUB".to_owned());
    plan.access_points.push(AccessPoint { id, venue, zone });
    plan.gates[0].upstreams = vec![Member::Sponsor, Member::Committee, Member::Police];
    let second = PlannedGate {
        name: "gate-2".parse().expect("a name"),
        access_points: vec![NORTH.to_owned()],
        upstreams: plan.gates[0].upstreams.clone(),
    };
    plan.gates.push(second);
    plan
}

/// The event and its processes, which end with it.
pub(crate) struct Event {
    pub(crate) cluster: Cluster,
    env: Env,
    _dir: TempDir,
}

impl Event {
    /// Has a program make the event and run its services.
    pub(crate) async fn started(plan: &EventPlan, program: &Path) -> Self {
        let (env, dir) = (Env::system(), tempfile::tempdir().expect("a temporary folder"));
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let [event, plan_file, passphrase] = ["event", "plan.toml", "passphrase"].map(path);
        std::fs::write(&plan_file, toml::to_string(plan).expect("a plan")).expect("a file");
        std::fs::write(&passphrase, PASSPHRASE).expect("a file");
        let services = plan.members().iter().filter(|one| one.service().is_some()).count();
        let port = free_ports(services).to_string();
        let options = ["--plan", &plan_file, "--passphrase-file", &passphrase, "--port", &port];
        run(program, &[&["init", "--dir", &event], &options[..]].concat());
        let cluster = Cluster::open(&env, Path::new(&event)).expect("the event");
        let mut cluster = cluster.with_program(program);
        cluster.start_all().expect("services start");
        cluster.wait_ready(READY).await.expect("services listen");
        cluster.wait_synced(READY).await.expect("gates follow");
        Self { cluster, env, _dir: dir }
    }

    /// Has another program run the services from their next start.
    pub(crate) fn with_program(mut self, program: &Path) -> Self {
        self.cluster = self.cluster.with_program(program);
        self
    }

    /// Everyone, with the people of this gate.
    pub(crate) fn desk(&self, gate: &str) -> Desk {
        Desk::in_dir(&self.env, self.cluster.dir(), gate)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.cluster.dir().join(name).to_string_lossy().into_owned()
    }

    /// Stops a member's service, as systemd would.
    pub(crate) async fn stop(&mut self, name: &str) {
        self.cluster.stop(&member(name)).await.expect("it stops when asked to");
    }

    pub(crate) async fn start(&mut self, name: &str) {
        self.cluster.start(&member(name)).expect("it starts");
        self.cluster.wait_ready(READY).await.expect("it listens");
    }
}

/// The first of so many free ports in a row.
fn free_ports(count: usize) -> u16 {
    loop {
        let first = free_address().port();
        if (first + 1..).take(count - 1).all(|port| free_address().port() == port) {
            return first;
        }
    }
}

/// Runs a command that must end well; what it said.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "lanyard {}: {said}{errors}", arguments.join(" "));
    said
}

/// The same, with `--json`.
pub(crate) fn run_json(arguments: &[&str]) -> Value {
    let said = run(Path::new(LANYARD), &[arguments, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Waits until a gate says this of a badge at one of its doors.
pub(crate) async fn says(desk: &Desk, badge: &str, door: &str, verdict: &str) {
    eventually(verdict, async || {
        (desk.check(badge, door).await.ok()?.verdict == verdict).then_some(())
    })
    .await;
}

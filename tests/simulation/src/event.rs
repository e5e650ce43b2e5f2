//! The event that is simulated: made once by the real ceremony, outside of simulated time, and copied for each seed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_ceremony::{Addresses, EventPlan, Member, PlannedGate, init_all};
use lanyard_core::badge::IssuingKey;
use lanyard_core::decision::AccessPoint;
use lanyard_core::ids::Timestamp;
use lanyard_core::profile::EventTimeZone;
use lanyard_env::{DiskFiles, Env, ManualClock, SeededEntropy};
use lanyard_party::Folder;

/// Opens the committee's issuing key.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

/// Milliseconds between two checkpoints of an authority.
pub(crate) const TICK_MILLIS: u64 = 1_000;
/// How far clocks may differ.
pub(crate) const SKEW_MILLIS: u64 = 5_000;
/// How old knowledge may be at the doors that are checked.
pub(crate) const LIMIT_MILLIS: u64 = 40_000;
/// An epoch, and how long before its start it is published.
pub(crate) const EPOCH_MILLIS: u64 = 120_000;
/// Witnesses whose cosignatures make a quorum, of three for each log.
pub(crate) const QUORUM: usize = 2;

/// The gates. The first has two ways to the authorities, the second a mirror that may lie and another way, the third
/// the sponsor alone.
pub(crate) const GATES: [&str; 3] = ["gate-1", "gate-2", "gate-3"];

/// The machine that stands between the sponsor and the second gate, and may lie.
pub(crate) const LIAR: &str = "liar";
/// Where it listens.
pub(crate) const LIAR_PORT: u16 = 7_100;

/// The door of a gate, all of them alike.
#[must_use]
pub(crate) fn door(gate: &str) -> String {
    format!("door-{gate}")
}

/// When the simulation begins: a second after a midnight, so that the first epoch is whole.
#[must_use]
pub(crate) fn start() -> Timestamp {
    Timestamp::from_seconds(1_813_536_000 + 1)
}

/// An event as the ceremony left it.
pub struct Event {
    dir: PathBuf,
    /// The members that run a service, and their ports.
    pub(crate) ports: BTreeMap<Member, u16>,
    key: [u8; 32],
}

impl Event {
    /// Makes it in `dir`, or takes what is there.
    ///
    /// # Panics
    /// If the ceremony fails.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        let plan = plan();
        let members = plan.members().into_iter().filter(|member| member.service().is_some());
        let ports: BTreeMap<Member, u16> = members.zip(7_001..).collect();
        let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let addresses: Addresses =
            ports.iter().map(|(member, port)| (member.clone(), loopback(*port))).collect();
        if !dir.join("event.toml").exists() {
            let env = Env {
                entropy: Arc::new(SeededEntropy::new([7; 32])),
                files: Arc::new(DiskFiles::new()),
                ..Env::for_test(ManualClock::new(start()))
            };
            // Last, as what has no key file is made anew.
            init_all(&env, dir, &plan, &addresses, PASSPHRASE, |_, _| {})
                .expect("the ceremony succeeds");
            let folder = Folder::open(dir.join("committee"), &env);
            let key = folder.issuing_key(PASSPHRASE).expect("it was just sealed");
            std::fs::write(dir.join("issuing.key"), key.expose_bytes()).expect("there is space");
        }
        let key = std::fs::read(dir.join("issuing.key")).expect("it was written");
        Self { dir: dir.to_owned(), ports, key: key.try_into().expect("it has 32 bytes") }
    }

    /// The committee's issuing key, open: opening it takes longer than a simulation.
    #[must_use]
    pub(crate) fn issuing_key(&self) -> IssuingKey {
        IssuingKey::from_bytes(self.key)
    }

    /// All files of a member: path within its folder, content and permissions.
    ///
    /// # Panics
    /// If they cannot be read.
    #[must_use]
    pub(crate) fn files(&self, member: &Member) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = self.dir.join(member.name());
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).expect("the ceremony made it") {
                let path = entry.expect("it can be listed").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).expect("it can be read");
                    let inside = path.strip_prefix(&folder).expect("it lies there").to_owned();
                    found.push((inside, bytes));
                }
            }
        }
        found.sort();
        found
    }
}

fn plan() -> EventPlan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/cli/samples/event.toml");
    let mut plan = EventPlan::read(&DiskFiles::new(), &path).expect("the sample plan reads");
    plan.time_zone = EventTimeZone::parse("Etc/UTC").expect("a zone that is");
    plan.tick_millis = TICK_MILLIS as u32;
    plan.skew_millis = SKEW_MILLIS as u32;
    plan.epochs.length_minutes = (EPOCH_MILLIS / 60_000) as u32;
    plan.epochs.publish_lead_minutes = 1;
    plan.padding.reseals = [16, 256, 4_096];
    plan.padding.decoy_floor = 32;
    plan.padding.sponsor_reseal_seconds = 10;
    plan.screening.verdict_delay_seconds = 1;
    for tier in plan.staleness_tiers.values_mut() {
        tier.fresh_seconds = 10;
        tier.limit_seconds = (LIMIT_MILLIS / 1_000) as u32;
    }
    plan.access_points = GATES
        .iter()
        .map(|gate| AccessPoint { id: door(gate), venue: "STA".to_owned(), zone: "PUB".to_owned() })
        .collect();
    let upstreams = [
        vec![Member::Sponsor, Member::Committee],
        vec![Member::Sponsor, Member::Police],
        vec![Member::Sponsor],
    ];
    let gates = GATES.iter().zip(upstreams).map(|(name, upstreams)| PlannedGate {
        name: name.parse().expect("it is a gate's name"),
        access_points: vec![door(name)],
        upstreams,
    });
    plan.gates = gates.collect();
    plan
}

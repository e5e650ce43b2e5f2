//! Full gates: mirrors of both authorities, following, and the gate's own decision.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lanyard_ceremony::Member;
use lanyard_core::decision::Verdict;
use lanyard_core::ids::{Audience, Authority};
use lanyard_feed::{Mirror, MirrorConfig, Recipient, SyncState, Upstream, follow};
use lanyard_gate::{Checker, Rules};
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_transport::{Tls, connect};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::event::{World, door_name, gate_name};
use super::{Failure, Threads};

/// A gate refused a badge.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) badge: usize,
    pub(crate) time: Instant,
}

/// What gates and the one who measures share.
struct Shared {
    badges: Vec<String>,
    /// Badges before this one are looked at.
    watched: AtomicUsize,
    refusals: Mutex<Vec<Refusal>>,
}

/// All full gates, on threads of their own.
pub(crate) struct Gates {
    shared: Arc<Shared>,
    gates: Vec<Arc<Gate>>,
    _stop: DropGuard,
    _threads: Threads,
    _data: TempDir,
}

struct Gate {
    checker: Checker,
    rules: Rules,
    door: String,
    upstream: Upstream,
}

impl Gates {
    /// Starts `count` gates, spread over the sources.
    pub(crate) fn start(
        world: &World,
        count: usize,
        sources: &[Member],
        badges: &[String],
    ) -> Result<Self, Failure> {
        let threads = Threads::new(2)?;
        // Each would have a disk of its own: twenty on one would wait for each other.
        let data = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        let shared = Arc::new(Shared {
            badges: badges.to_vec(),
            watched: AtomicUsize::new(0),
            refusals: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let mut gates = Vec::with_capacity(count);
        for (number, source) in (1..=count).zip(sources.iter().cycle()) {
            let name = gate_name(number);
            let upstream = (source.name(), world.address(source)?);
            let dir = data.path().join(&name);
            let gate = Gate::open(world, &dir, &name, upstream)?;
            for mirror in gate.checker.mirrors() {
                let upstream = gate.upstream.clone();
                let sync = watch::Sender::new(SyncState::default());
                threads.spawn(follow(Arc::clone(mirror), vec![upstream], sync, stop.clone()))?;
            }
            let gate = Arc::new(gate);
            let looking = look(Arc::clone(&gate), Arc::clone(&shared));
            threads.spawn(stop.clone().run_until_cancelled_owned(looking))?;
            gates.push(gate);
        }
        Ok(Self { shared, gates, _stop: stop.drop_guard(), _threads: threads, _data: data })
    }

    /// Waits until every gate admits every badge.
    pub(crate) async fn admit_all(&self, patience: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let refused = self.gates.iter().flat_map(|gate| {
                self.shared.badges.iter().filter(|badge| gate.refuses(badge)).map(|_| ())
            });
            match refused.count() {
                0 => return Ok(()),
                count if Instant::now() > deadline => {
                    return Err(format!("{count} badges are not admitted").into());
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Has all gates look at the badges up to this one from now on.
    pub(crate) fn watch(&self, badge: usize) {
        self.shared.watched.store(badge + 1, Ordering::SeqCst);
    }

    /// Waits for so many refusals.
    pub(crate) async fn refusals(
        &self,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Refusal>, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let refusals = self.shared.refusals().clone();
            if refusals.len() >= count {
                return Ok(refusals);
            }
            if Instant::now() > deadline {
                return Err(format!("{} of {count} refusals", refusals.len()).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Shared {
    fn refusals(&self) -> std::sync::MutexGuard<'_, Vec<Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn open(
        world: &World,
        data: &Path,
        name: &str,
        (upstream, address): (&str, SocketAddr),
    ) -> Result<Self, Failure> {
        let env = world.env();
        let folder = Folder::open(world.folder(name)?, env);
        let manifests = Arc::new(ManifestStore::open(&folder)?);
        let manifest = manifests.current();
        let tls = Tls::new(env, folder.service_identity()?, trust_anchors(&manifest)?);
        let channel = connect(env, &tls, &address.to_string(), &expected(upstream)?)?;
        let recipient = Recipient { id: format!("gate/{name}"), key: Arc::new(folder.hpke_key()?) };
        let open = |authority: Authority| {
            let config = MirrorConfig {
                authority,
                audiences: vec![Audience::Gate],
                recipient: Some(recipient.clone()),
                publisher: false,
            };
            let dir = data.join(authority.name());
            Mirror::open(env.clone(), &dir, config, Arc::clone(&manifests) as _)
        };
        let [committee, police] = [open(Authority::Committee)?, open(Authority::Police)?];
        Ok(Self {
            checker: Checker::new(env.clone(), committee, police),
            rules: Rules::new(manifest, name, &[]),
            door: door_name(name),
            upstream: Upstream { name: upstream.to_owned(), channel },
        })
    }

    fn refuses(&self, badge: &str) -> bool {
        let Some(door) = self.rules.door(&self.door) else { return true };
        self.checker.check(&self.rules, door, badge).decision.shown().verdict != Verdict::Admit
    }
}

/// Decides on all badges that are watched, whenever the police's mirror shows something new.
async fn look(gate: Arc<Gate>, shared: Arc<Shared>) {
    let [_, police] = gate.checker.mirrors();
    let mut visible = police.subscribe();
    let mut refused = vec![false; shared.badges.len()];
    while visible.changed().await.is_ok() {
        let watched = shared.watched.load(Ordering::SeqCst);
        for (badge, refused) in refused.iter_mut().enumerate().take(watched) {
            if !*refused && gate.refuses(&shared.badges[badge]) {
                *refused = true;
                shared.refusals().push(Refusal { badge, time: Instant::now() });
            }
        }
    }
}

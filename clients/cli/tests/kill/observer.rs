//! Somebody who follows both logs from their authorities, and keeps every checkpoint that was ever shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lanyard_ceremony::Member;
use lanyard_core::checkpoint::verify_checkpoint;
use lanyard_core::ids::{Audience, Authority, Hash};
use lanyard_core::note::{MAX_NOTE_BYTES, Note};
use lanyard_env::Env;
use lanyard_feed::{Mirror, MirrorConfig, SyncState, Upstream, follow};
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_transport::{Tls, connect};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backup;
use crate::event::{Event, eventually};

/// What was shown of one log.
#[derive(Default)]
struct Shown {
    /// Roots by size, of every checkpoint.
    roots: BTreeMap<u64, Hash>,
    /// The greatest size that each witness cosigned.
    cosigned: BTreeMap<String, u64>,
}

struct Watched {
    authority: Authority,
    mirror: Arc<Mirror>,
    shown: Arc<Mutex<Shown>>,
}

/// The observer. It has a gate's certificate, and folders of its own.
pub(crate) struct Observer {
    logs: Vec<Watched>,
    /// Memories of witnesses that were held against what they had cosigned.
    compared: AtomicU64,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Observer {
    pub(crate) fn start(event: &Event, dir: &Path) -> Self {
        let env = Env::system();
        // A copy: what the observer hears of manifests first, the gate's process shall write itself.
        let party = dir.join("party");
        backup::of_one(&event.cluster.folder(&event.cluster.gates()[0]), &party);
        let gate = Folder::open(party, &env);
        let manifests = Arc::new(ManifestStore::open(&gate).expect("a manifest"));
        let anchors = trust_anchors(&manifests.current()).expect("authorities");
        let tls = Tls::new(&env, gate.service_identity().expect("a certificate"), anchors);
        let stop = CancellationToken::new();
        let (mut logs, mut tasks) = (Vec::new(), Vec::new());
        for (authority, member) in
            [(Authority::Committee, Member::Committee), (Authority::Police, Member::Police)]
        {
            let config = MirrorConfig {
                authority,
                audiences: Audience::published_by(authority).to_vec(),
                recipient: None,
                publisher: false,
            };
            let dir = dir.join(authority.name());
            let mirror = Mirror::open(env.clone(), &dir, config, Arc::clone(&manifests) as _);
            let mirror = mirror.expect("a mirror");
            let address = event.cluster.address(&member).expect("an address").to_string();
            let expected = expected(member.name()).expect("a party");
            let channel = connect(&env, &tls, &address, &expected).expect("a channel");
            let upstream = Upstream { name: member.name().to_owned(), channel };
            let (sync, _) = watch::channel(SyncState::default());
            let following = follow(Arc::clone(&mirror), vec![upstream], sync, stop.clone());
            tasks.push(tokio::spawn(following));
            let shown = Arc::new(Mutex::new(Shown::default()));
            tasks.push(tokio::spawn(keep(Arc::clone(&mirror), Arc::clone(&shown), stop.clone())));
            logs.push(Watched { authority, mirror, shown });
        }
        Self { logs, compared: AtomicU64::new(0), tasks, stop }
    }

    /// A witness whose process has died, before it is started again, remembers whatever it cosigned.
    pub(crate) fn compare_memory(&self, event: &Event, member: &Member) {
        for Watched { authority, shown, .. } in &self.logs {
            let shown = shown.lock().expect("nobody panics holding it");
            let cosigned = shown.cosigned.iter();
            let mut cosigned = cosigned.filter(|(witness, _)| party_of(witness) == member.name());
            if let Some((witness, size)) = cosigned.next() {
                let remembered = remembered(event, *authority, witness);
                assert!(remembered >= *size, "{witness} cosigned {size}, knows {remembered}");
                self.compared.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// No checkpoint contradicts another, and every witness remembers what it cosigned.
    pub(crate) async fn check(self, event: &Event) {
        for log in &self.logs {
            let last = log.mirror.read().size();
            eventually("the observer follows on", async || log.mirror.read().size() > last).await;
        }
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("the observer goes on");
        }
        let compared = self.compared.into_inner();
        println!("{compared} memories compared");
        assert!(compared > 0, "no witness died that had cosigned");
        for Watched { authority, mirror, shown } in &self.logs {
            let shown = shown.lock().expect("nobody panics holding it");
            assert_eq!(mirror.times_caught(), 0, "the log of the {authority} contradicts itself");
            let view = mirror.read();
            for (size, root) in &shown.roots {
                let now = view.log().root_at(*size).expect("the log has not shrunk");
                assert_eq!(now, *root, "checkpoint {size} of the {authority} was another");
            }
            println!(
                "{authority}: {} checkpoints, cosigned {:?}",
                shown.roots.len(),
                shown.cosigned
            );
            assert!(shown.roots.len() > 20 && !shown.cosigned.is_empty());
            for (witness, size) in &shown.cosigned {
                let remembered = remembered(event, *authority, witness);
                assert!(remembered >= *size, "{witness} cosigned {size}, knows {remembered}");
            }
        }
    }
}

/// Writes down what becomes visible.
async fn keep(mirror: Arc<Mirror>, shown: Arc<Mutex<Shown>>, stop: CancellationToken) {
    let mut visible = mirror.subscribe();
    while let Some(Ok(())) = stop.run_until_cancelled(visible.changed()).await {
        let view = mirror.read();
        let mut shown = shown.lock().expect("nobody panics holding it");
        let signed = view.signed().map(|signed| signed.checkpoint().clone());
        let quorum = view.quorum().map(|quorum| quorum.checkpoint().clone());
        for checkpoint in signed.iter().chain(&quorum) {
            let before = shown.roots.insert(checkpoint.size(), checkpoint.root());
            assert!(before.is_none_or(|before| before == checkpoint.root()), "a fork");
        }
        let Some(quorum) = quorum else { continue };
        // The first signature is the log's own.
        for line in quorum.note().signatures().iter().skip(1) {
            let known = shown.cosigned.entry(line.name().as_str().to_owned()).or_default();
            *known = quorum.size().max(*known);
        }
    }
}

/// The party that a witness belongs to.
fn party_of(witness: &str) -> &str {
    witness.rsplit('/').next().expect("a witness")
}

/// What a witness remembers of a log.
fn remembered(event: &Event, authority: Authority, witness: &str) -> u64 {
    let folder = event.cluster.dir().join(party_of(witness)).join("data/witness");
    let names = std::fs::read_dir(&folder).expect("a witness's memory");
    let name = names
        .map(|entry| entry.expect("a file").path())
        .find(|path| path.to_string_lossy().ends_with(&format!("_{authority}.checkpoint")))
        .expect("the witness remembers the log");
    let note = std::fs::read(name).expect("its memory");
    let note = Note::parse_bytes(&note, MAX_NOTE_BYTES).expect("a note");
    let key = event.manifest().log_key(authority).clone();
    verify_checkpoint(&note, &key).expect("a checkpoint").size()
}

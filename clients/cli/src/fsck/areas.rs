//! What there is to look at, area by area.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_core::ids::{Audience, Authority};
use lanyard_core::receipt::ReceiptOrigin;
use lanyard_env::checked_body;
use lanyard_feed::{FeedError, Mirror, MirrorConfig};
use lanyard_party::{ManifestStore, ShareStore};
use lanyard_shareholder::Ledger;
use lanyard_store::{Flaw, SealKey, Store};
use lanyard_transport::PartyName;
use lanyard_witness::Memory;

use super::{Look, store_location};
use crate::progress::Progress;

const BACKUP: &str = "stop the service and restore this file from the party's backup";
const STORE: &str = "stop the service, restore the store from its backup, and start it: it catches up from mirrors before it signs";
const KEYS: &str = "import a damaged list again; the index of keys is made anew by itself; for all else stop the service, and restore the \
                    store from its backup";
const STORE_URL: &str = "correct `store` or `store_password_file` in config.toml";
const FEED: &str =
    "stop the service and move this feed's folder away: it is fetched anew from an upstream";
const OWN_FEED: &str = "stop the service and move this feed's folder away: it takes up its own log from a mirror before it signs";
const MODE: &str = "run chmod 600 on it";
const PUBLISHING: &str = "stop the service, and do as the problem says";
const WITNESS: &str = "stop the service and put the log's newest checkpoint there, from a mirror or the party's backup";
const LEDGER: &str = "restore it from this holder's newest backup, and tell the callers: it has forgotten what it counted since";
const RECEIPTS: &str = "stop the gate, keep this folder as evidence, and restore it from a backup or begin a new chain";

/// Areas that [`all`] looks at.
pub(super) const COUNT: u64 = 8;

pub(super) async fn all(look: &mut Look, progress: &mut Progress) {
    keys(look);
    progress.set(1);
    let manifests = manifests(look);
    progress.set(2);
    if let Some(manifests) = &manifests {
        feeds(look, manifests);
        progress.set(3);
        witness(look, manifests);
        progress.set(4);
        evaluations(look, manifests);
        progress.set(5);
        receipts(look, manifests);
        progress.set(6);
    }
    publishing(look);
    progress.set(7);
    store(look).await;
    progress.set(COUNT);
}

/// Keys, certificates and shares: there, for their owner only, whole, and each belonging to its other half.
fn keys(look: &mut Look) {
    let folder = look.folder.clone();
    let keys = folder.path().join("keys");
    let mut sound = 0;
    let mut say = |look: &mut Look, path: &Path, held: Result<(), String>| match held {
        Ok(()) => sound += 1,
        Err(problem) if problem.contains("chmod") => {
            look.found("keys", path.display(), problem, MODE)
        }
        Err(problem) => look.found("keys", path.display(), problem, BACKUP),
    };
    macro_rules! each {
        ($($path:ident => $key:ident, $needed:expr);* $(;)?) => {$(
            let path = folder.$path();
            if $needed || look.env.files.exists(&path).unwrap_or(true) {
                let held = folder.$key().map(drop).map_err(|error| error.to_string());
                say(look, &path, held);
            }
        )*};
    }
    let is_authority = Authority::parse(&look.name).is_ok();
    let is_gate = look.name.starts_with("gate-");
    each!(
        service_key_path => service_identity, true;
        log_key_path => log_key, is_authority;
        store_key_path => store_key, is_authority;
        manifest_key_path => manifest_key, false;
        witness_key_path => witness_key, false;
        receipts_key_path => receipts_key, is_gate;
        hpke_key_path => hpke_key, is_gate;
        audit_key_path => audit_key, false;
    );
    if look.env.files.exists(&keys.join("share.key")).unwrap_or(true)
        || folder.share_generations().is_ok_and(|there| !there.is_empty())
    {
        let held = ShareStore::open(&folder).map(drop).map_err(|error| error.to_string());
        say(look, &keys.join("share.key"), held);
    }
    look.sound.push(("keys", format!("{sound} keys and certificates")));
}

fn manifests(look: &mut Look) -> Option<Arc<ManifestStore>> {
    match ManifestStore::open(&look.folder) {
        Err(error) => {
            let path = look.folder.manifests_dir();
            look.found("manifests", path.display(), error, BACKUP);
            None
        }
        Ok(store) => {
            let version = store.current().version;
            look.sound.push(("manifests", format!("a signed chain up to version {version}")));
            Some(Arc::new(store))
        }
    }
}

/// Every feed recomputed up to its signed roots, and every file in it.
fn feeds(look: &mut Look, manifests: &Arc<ManifestStore>) {
    let running = look.running;
    let data = look.folder.data_dir();
    let is_gate = look.name.starts_with("gate-");
    for authority in Authority::ALL {
        let is_own = authority.name() == look.name;
        let dirs = ["feeds", "mirror"].map(|name| data.join(name).join(authority.name()));
        let Some(dir) = dirs.into_iter().find(|dir| dir.is_dir()) else { continue };
        let audiences = match is_gate {
            true => vec![Audience::Gate],
            false => Audience::published_by(authority).to_vec(),
        };
        // As strict as with what its authority itself holds: nothing damaged is passed over.
        let config = MirrorConfig { authority, audiences, recipient: None, publisher: true };
        let open =
            || Mirror::open(look.env.clone(), &dir, config.clone(), Arc::clone(manifests) as _);
        // A running service may have put a new base in the place of what was just being read.
        let tries = if running { 5 } else { 1 };
        let opened = std::iter::repeat_with(open).take(tries).find_map(Result::ok);
        match opened.map_or_else(open, Ok) {
            Ok(mirror) => {
                let view = mirror.read();
                let sizes = (view.size(), view.quorum().map_or(0, |quorum| quorum.size()));
                let what = format!("{authority}: {} ticks, {} with a quorum", sizes.0, sizes.1);
                look.sound.push(("feeds", what));
            }
            Err(error) => {
                let place = match &error {
                    FeedError::Corrupt { path, .. } => path.clone(),
                    _ => dir.clone(),
                };
                look.found("feeds", place.display(), &error, if is_own { OWN_FEED } else { FEED });
            }
        }
        for name in ["base", "quorum", "draft", "ticks", "keys", "profiles"] {
            for path in files_under(look, &dir.join(name)) {
                let read = look.env.files.read(&path);
                let is_sound = read.map_or(running, |bytes| checked_body(&bytes).is_some());
                let is_known =
                    look.findings.iter().any(|one| one.place == path.display().to_string());
                if !is_sound && !is_known {
                    let recover = if is_own { OWN_FEED } else { FEED };
                    look.found("feeds", path.display(), "its checksum does not match", recover);
                }
            }
        }
    }
}

fn files_under(look: &Look, path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let names = look.env.files.list(path).unwrap_or_default();
    names.iter().map(|name| path.join(name)).collect()
}

fn witness(look: &mut Look, manifests: &ManifestStore) {
    let dir = look.folder.data_dir().join("witness");
    if !dir.is_dir() {
        return;
    }
    let manifest = manifests.current();
    for authority in Authority::ALL {
        let known = Memory::open(Arc::clone(&look.env.files), &dir).and_then(|mut memory| {
            Ok(memory.checkpoint(&manifest.log_keys(authority))?.map(|known| known.size()))
        });
        match known {
            Ok(Some(size)) => {
                look.sound.push(("witness", format!("{authority}: cosigned up to {size}")))
            }
            Ok(None) => {}
            Err(error) => look.found("witness", dir.display(), error, WITNESS),
        }
    }
}

fn evaluations(look: &mut Look, manifests: &ManifestStore) {
    let manifest = manifests.current();
    // With PostgreSQL the count is in there, for all instances.
    let is_shared = store_location(&look.folder, &look.config)
        .is_some_and(|found| found.is_ok_and(|found| found.is_shared()));
    if manifest.share_holder(&look.name).is_none() || is_shared {
        return;
    }
    let dir = look.folder.evaluations_dir();
    match Ledger::counts_in(&look.env, &dir, &manifest.event, &look.name) {
        Ok(counts) => {
            let counted: u64 = counts.values().sum();
            look.sound.push(("evaluations", format!("{counted} counted, signed")));
        }
        Err(error) => look.found("evaluations", dir.display(), error, LEDGER),
    }
}

fn receipts(look: &mut Look, manifests: &ManifestStore) {
    let manifest = manifests.current();
    let Some(gate) = manifest.gate(&look.name) else { return };
    let dir = look.folder.data_dir().join("receipts");
    let Ok(origin) = ReceiptOrigin::new(&manifest.event, &look.name) else { return };
    match lanyard_gate::verify_chain(&*look.env.files, &dir, &origin, &gate.receipts) {
        Ok(count) => look.sound.push(("receipts", format!("a signed chain of {count}"))),
        Err(error) => {
            let place = match &error {
                lanyard_gate::OpenError::Damaged { path, .. } => path.clone(),
                _ => dir,
            };
            look.found("receipts", place.display(), &error, RECEIPTS);
        }
    }
}

/// What an authority keeps of its publishing: how far it signed, the epoch that it was told to begin, its audience keys.
fn publishing(look: &mut Look) {
    if Authority::parse(&look.name).is_err() {
        return;
    }
    let Ok(store_key) = look.folder.store_key() else { return };
    let data = look.folder.data_dir();
    for examined in lanyard_authority::examine(&look.env, &data, &Arc::new(store_key)) {
        match examined.found {
            Ok(what) => look.sound.push(("publishing", what)),
            Err(error) => look.found("publishing", examined.path.display(), error, PUBLISHING),
        }
    }
}

/// The SQL store: the engine's own check, the seals of all rows, the audit trail.
async fn store(look: &mut Look) {
    let tables = match look.name.parse() {
        Ok(PartyName::Committee) => lanyard_committee::SEALED_TABLES,
        Ok(PartyName::Police) => lanyard_police::SEALED_TABLES,
        _ => return,
    };
    let location = match store_location(&look.folder, &look.config) {
        None => return,
        Some(Ok(location)) => location,
        Some(Err(error)) => return look.found("store", "config.toml", error, STORE_URL),
    };
    let Ok(store_key) = look.folder.store_key() else { return };
    let key = SealKey::from_bytes(store_key.row_key());
    let opened = Store::open_unchanged(&location, key, tables).await;
    let store = match opened {
        Ok(store) => store,
        Err(error) => return look.found("store", location, error, STORE),
    };
    match store.flaws().await {
        Err(error) => look.found("store", &location, error, STORE),
        Ok(flaws) => {
            for flaw in &flaws {
                let problem = match flaw {
                    Flaw::Engine(said) => said.clone(),
                    Flaw::Unsealed(table) => {
                        format!("table {table} has no seals; start the service once")
                    }
                    Flaw::Audit { expected, found } => {
                        format!("the audit trail has {found} entries, {expected} were written")
                    }
                    _ => continue,
                };
                look.found("store", &location, problem, STORE);
            }
            if flaws.is_empty() {
                let checked = match location.is_shared() {
                    true => "audit trail",
                    false => "pages, indexes, references, audit trail",
                };
                look.sound.push(("store", checked.to_owned()));
            }
        }
    }
    match store.all_damaged().await {
        Err(error) => look.found("store", &location, error, STORE),
        Ok(damaged) => {
            if location.is_shared() {
                look.sound.push(("store", "rows are PostgreSQL's to check: pg_amcheck".to_owned()));
            } else if damaged.is_empty() {
                look.sound.push(("store", format!("every row of {}", tables.join(", "))));
            }
            for row in damaged {
                look.found("store", row, "it is not what was written there", STORE);
            }
        }
    }
    if matches!(look.name.parse(), Ok(PartyName::Police)) {
        match lanyard_police::examine(&store, &store_key).await {
            Err(error) => look.found("store", &location, error, STORE),
            Ok(damaged) => {
                if damaged.is_empty() {
                    let checked = "every key of lists and subjects, and their index";
                    look.sound.push(("store", checked.to_owned()));
                }
                for row in damaged {
                    look.found("store", row, "it is not what was written there", KEYS);
                }
            }
        }
    }
    store.close().await;
}

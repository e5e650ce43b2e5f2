//! Looking over a party's configuration and folder before anything runs: the same for `--check-config` and at start.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanyard_core::manifest::VerifiedManifest;
use lanyard_env::{Env, FileError, Mode, StartError};
use lanyard_transport::{PartyName, Tls};
use serde::Serialize;

use crate::config::PartyConfig;
use crate::folder::Folder;
use crate::manifest_store::ManifestStore;
use crate::peers::{Peers, expected, trust_anchors};
use crate::process::chain;
use crate::start::own_service;

/// A certificate that ends sooner is warned of.
const RENEW_DAYS: u64 = 14;
const DAY: u64 = 24 * 60 * 60;

/// How long a peer may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What was found of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// As it should be.
    Good,
    /// The service starts, and somebody should look at it.
    Warning,
    /// The service does not start now, and may later by itself: a database is down, a clock is wrong.
    NotNow,
    /// The service does not start before somebody has changed something.
    Bad,
}

/// One thing, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a file of the folder, a field of `config.toml`.
    pub item: String,
    /// What was found.
    pub found: Found,
    /// What it is, or what is wrong and what to change.
    pub detail: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    before_start: bool,
}

/// What the inspection of one party goes on with.
pub struct Inspected {
    /// The folder.
    pub folder: Folder,
    /// All manifests.
    pub manifests: Arc<ManifestStore>,
    /// The manifest in force.
    pub manifest: Arc<VerifiedManifest>,
    /// The own certificate and whom to trust.
    pub tls: Tls,
    /// The peers.
    pub peers: Peers,
    /// The outside world.
    env: Env,
    /// Whether the party's service runs.
    is_running: bool,
}

impl Report {
    /// Of a service about to start: it is not told of what only matters to whoever checks a configuration.
    #[must_use]
    pub fn before_start() -> Self {
        Self { findings: Vec::new(), before_start: true }
    }

    /// Whether the service is about to start, rather than its configuration being checked.
    #[must_use]
    pub const fn is_before_start(&self) -> bool {
        self.before_start
    }

    /// Something is as it should be.
    pub fn good(&mut self, item: impl Into<String>, detail: impl Into<String>) {
        self.add(item.into(), Found::Good, detail.into());
    }

    /// Somebody should look at something.
    pub fn warning(&mut self, item: impl Into<String>, detail: impl Into<String>) {
        self.add(item.into(), Found::Warning, detail.into());
    }

    /// Something keeps the service from starting now, and may pass.
    pub fn not_now(&mut self, item: impl Into<String>, detail: impl Into<String>) {
        self.add(item.into(), Found::NotNow, detail.into());
    }

    /// Something keeps the service from starting until it is changed.
    pub fn bad(&mut self, item: impl Into<String>, detail: impl Into<String>) {
        self.add(item.into(), Found::Bad, detail.into());
    }

    /// An error keeps the service from starting.
    pub fn refused(&mut self, item: impl Into<String>, error: &impl StartError) {
        let found = if error.is_permanent() { Found::Bad } else { Found::NotNow };
        self.add(item.into(), found, chain(error));
    }

    /// What was read, unless it could not be, which keeps the service from starting.
    pub fn read<T, E: StartError>(
        &mut self,
        item: impl Into<String>,
        read: Result<T, E>,
        detail: impl Into<String>,
    ) -> Option<T> {
        match read {
            Ok(value) => {
                self.good(item, detail);
                Some(value)
            }
            Err(error) => {
                self.refused(item, &error);
                None
            }
        }
    }

    /// All findings, in the order in which they were made.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The worst that was found.
    #[must_use]
    pub fn worst(&self) -> Found {
        self.findings.iter().map(|finding| finding.found).max().unwrap_or(Found::Good)
    }

    /// Whether nothing keeps the service from starting.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.worst() < Found::NotNow
    }

    /// A line for each finding.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.findings.iter().map(|one| one.item.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for Finding { item, found, detail } in &self.findings {
            let word = match found {
                Found::Good => "good",
                Found::Warning => "WARNING",
                Found::NotNow => "NOT NOW",
                Found::Bad => "BAD",
            };
            // Writing to a String does not fail.
            let _ = writeln!(table, "{word:<8} {item:<width$}  {detail}");
        }
        table
    }

    /// The same as JSON: `{"good": …, "findings": […]}`.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::json!({ "good": self.is_good(), "findings": self.findings }).to_string()
    }

    fn add(&mut self, item: String, found: Found, detail: String) {
        self.findings.push(Finding { item, found, detail });
    }
}

impl Inspected {
    /// Looks at what all parties have: folder, manifest, certificate, peers. `None` if the rest cannot be looked at.
    pub async fn common<S>(
        config: &PartyConfig<S>,
        env: &Env,
        party: PartyName,
        report: &mut Report,
    ) -> Option<Self> {
        report
            .good("config.toml", format!("{} of {}", config.common.name, config.folder.display()));
        let folder = Folder::open(&config.folder, env);
        let is_running = inspect_data(&folder, env, report);
        let manifests = ManifestStore::open(&folder);
        let version = manifests.as_ref().map_or(0, |manifests| manifests.current().version);
        let detail = format!("version {version}, its chain verified");
        let manifests = report.read("manifest.note", manifests, detail);
        let identity = folder.service_identity();
        let detail = "certificate and key go together";
        let identity = report.read("tls/service.pem", identity, detail);
        let (manifests, identity) = (Arc::new(manifests?), identity?);
        let manifest = manifests.current();
        report.good("event", manifest.event.as_str());

        let peer = identity.peer();
        if !own_service(party, &config.common.name).accepts(&peer) {
            let own = match party {
                PartyName::Gate => format!("gate {}, as config.toml says", config.common.name),
                party => format!("the service of the {party}"),
            };
            report.bad(
                "tls/service.pem",
                format!("it is for {peer}, and this is {own}; put the right file there"),
            );
        }
        let anchors = trust_anchors(&manifest);
        let anchors =
            report.read("manifest.note", anchors, "certificate authorities of all parties");
        let tls = Tls::new(env, identity, anchors?);
        inspect_certificate(&tls, env, report);
        let peers = Peers::new(env, &tls, &config.common);
        let env = env.clone();
        let inspected = Self { folder, manifests, manifest, tls, peers, env, is_running };
        inspected.inspect_peers(config, report).await;
        Some(inspected)
    }

    /// Where to open the party's state as starting does, changing nothing: its folder, and the world around it. `None` if
    /// starting follows at once, and does that itself, or if a running service has the state.
    #[must_use]
    pub fn state(&self, report: &Report) -> Option<(Folder, Env)> {
        if report.before_start || self.is_running {
            return None;
        }
        let env = self.env.unchanging();
        Some((Folder::open(self.folder.path(), &env), env))
    }

    /// Addresses that lead nowhere. A peer that does not answer is no reason not to start: it may start later.
    async fn inspect_peers<S>(&self, config: &PartyConfig<S>, report: &mut Report) {
        for (name, address) in &config.common.peers {
            let item = format!("config.toml peers.{name}");
            if let Err(error) = expected(name) {
                report.refused(item, &error);
                continue;
            }
            if report.before_start {
                continue;
            }
            let connecting = self.env.connect(address.as_str());
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(_)) => report.good(item, format!("{address} takes connections")),
                Ok(Err(error)) => report.warning(item, chain(&error)),
                Err(_) => report.warning(
                    item,
                    format!(
                        "{address} takes no connection within 2 s; check the address and firewalls"
                    ),
                ),
            }
        }
    }
}

/// Whether state can be written. Returns whether a service runs, which the lock tells.
fn inspect_data(folder: &Folder, env: &Env, report: &mut Report) -> bool {
    let data = folder.data_dir();
    let written = || -> Result<(), FileError> {
        env.files.create_dir_all(&data)?;
        let probe = data.join("inspection.probe");
        env.files.write_atomic(&probe, b"", Mode::Private)?;
        env.files.remove(&probe)
    };
    report.read("data/", written(), "writable");
    if report.before_start {
        return false;
    }
    let Err(error @ FileError::Locked { .. }) = env.files.lock(&data) else { return false };
    let detail =
        format!("in use, as while the service runs: {error}; what it keeps there is not looked at");
    report.warning("data/", detail);
    true
}

fn inspect_certificate(tls: &Tls, env: &Env, report: &mut Report) {
    let item = "tls/service.pem";
    let renew = "renew it with the party's certificate authority";
    let (until, now) = (tls.identity().valid_until(), env.now());
    let days = until.seconds().saturating_sub(now.seconds()) / DAY;
    match tls.verify_own() {
        Err(error) if error.is_about_time() => {
            let ended = if until <= now { "it has expired: " } else { "" };
            report.not_now(item, format!("{ended}{error}; check this machine's clock, or {renew}"));
        }
        Err(error) => report.bad(item, format!("{error}; {renew} that the manifest names")),
        Ok(()) if days < RENEW_DAYS => {
            report.warning(item, format!("it expires in {days} days; {renew}"));
        }
        Ok(()) => report.good(item, format!("trusted, expires in {days} days")),
    }
}

/// A file's name within the folder, for findings.
#[must_use]
pub fn item_of(folder: &Folder, path: &Path) -> String {
    path.strip_prefix(folder.path()).unwrap_or(path).display().to_string()
}

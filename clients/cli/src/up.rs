//! `lanyard up`: an event's services on this machine, until Ctrl-C.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lanyard_env::Mode;
use rand::Rng as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::cluster::{Cluster, ClusterError};
use crate::context::Context;
use crate::error::CliError;
use crate::event;
use crate::init::{addresses, make};
use crate::secrets::PassphraseArgs;

/// How long the services may take to come up, and gates to be in sync.
const LIMIT: Duration = Duration::from_secs(120);

/// `lanyard up`.
#[derive(Args)]
pub(crate) struct UpArgs {
    /// The event's directory; if it has none, an event is made there first.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The plan of the event to be made; without it, a sample event.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl UpArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
        if !context.env.files.exists(&self.dir.join("event.toml"))? {
            let plan = event::plan(&context.env, self.plan.as_deref())?;
            let passphrase = self.passphrase_for_new_event(context)?;
            make(context, &self.dir, &plan, None, &passphrase)?;
        } else if self.plan.is_some() {
            let problem = "there is an event already in this directory; leave --plan out";
            return Err(CliError::option("--plan", problem));
        }
        let mut cluster = Cluster::open(&context.env, &self.dir)?;
        // Registered before anything runs, so that no Ctrl-C leaves processes behind.
        let failed = |source| CliError::Io { action: "listen for Ctrl-C", source };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let ended = tokio::select! {
            died = run(context, &mut cluster) => died,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        };
        context.note("stopping the services");
        cluster.stop_all().await?;
        ended
    }

    /// The passphrase given, or one drawn and left beside the parties' folders.
    fn passphrase_for_new_event(&self, context: &Context) -> Result<Zeroizing<String>, CliError> {
        if let Some(passphrase) = self.passphrase.given(&context.env)? {
            return Ok(passphrase);
        }
        let path = passphrase_path(&self.dir);
        if let Some(bytes) = context.env.files.read_if_exists(&path)? {
            let bytes = Zeroizing::new(bytes);
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Zeroizing::new(text.trim_end().to_owned()));
        }
        let mut bytes = Zeroizing::new([0; 16]);
        context.env.rng().fill_bytes(bytes.as_mut_slice());
        let passphrase = Zeroizing::new(hex::encode(bytes.as_slice()));
        context.env.files.create_dir_all(&self.dir)?;
        let line = Zeroizing::new(format!("{}\n", *passphrase));
        context.env.files.write_atomic(&path, line.as_bytes(), Mode::Private)?;
        Ok(passphrase)
    }
}

fn passphrase_path(dir: &Path) -> PathBuf {
    dir.join("issuing-passphrase.txt")
}

/// Starts everything, says so, and goes on while any service does: the parties are made for that.
async fn run(context: &Context, cluster: &mut Cluster) -> Result<(), CliError> {
    cluster.start_all()?;
    let bar = context.progress("starting the services", None);
    let up = bring_up(cluster).await;
    bar.finish_and_clear();
    up?;
    announce(context, cluster)?;
    loop {
        let died = cluster.next_death().await;
        if !cluster.has_processes() {
            return Err(ClusterError::from(died).into());
        }
        let value = json!({ "died": died.member.to_string(), "status": died.status.to_string(), "log": died.log });
        context.show(&value, || {
            format!(
                "{died}\nThe others go on. To start it again, in another terminal, where Ctrl-C stops it:\n  \
                 lanyard serve {party} --config {folder}/config.toml",
                party = died.member.party().name(),
                folder = cluster.folder(&died.member).display(),
            )
        })?;
    }
}

async fn bring_up(cluster: &mut Cluster) -> Result<(), ClusterError> {
    cluster.wait_ready(LIMIT).await?;
    cluster.wait_synced(LIMIT).await
}

fn announce(context: &Context, cluster: &Cluster) -> Result<(), CliError> {
    let (dir, tree) = (cluster.dir(), cluster.event());
    let services: serde_json::Map<_, _> = tree
        .services
        .iter()
        .map(|(member, address)| {
            let service = json!({
                "address": address,
                "folder": cluster.folder(member),
                "process": cluster.process_id(member),
                "log": cluster.log_path(member),
            });
            (member.to_string(), service)
        })
        .collect();
    let value =
        json!({ "event": tree.event, "title": tree.title, "dir": dir, "services": services });
    let kept = context.env.files.exists(&passphrase_path(dir))?;
    context.show(&value, || {
        let passphrase = if kept {
            format!(" --passphrase-file {}", passphrase_path(dir).display())
        } else {
            String::new()
        };
        let gate = cluster.gates().first().map(|gate| cluster.folder(gate)).unwrap_or_default();
        format!(
            "{title} is up. What each service says is in FOLDER/data/log.txt.\n{table}\n\n\
             In another terminal, for example:\n  \
             lanyard committee --folder {dir}/committee profiles clients/cli/samples/profiles.toml\n  \
             lanyard committee --folder {dir}/committee import clients/cli/samples/people.csv\n  \
             lanyard police --folder {dir}/police watchlist import clients/cli/samples/watchlist.csv\n  \
             lanyard committee --folder {dir}/committee screen --wait 60\n  \
             lanyard committee --folder {dir}/committee issue --out badges{passphrase}\n  \
             lanyard police --folder {dir}/police staff import clients/cli/samples/staff.csv\n  \
             lanyard police --folder {dir}/police staff issue --out staff-badges{passphrase}\n  \
             lanyard scan --folder {gate} --at ACCESS-POINT\n  \
             lanyard gate --folder {gate} status\n\n\
             docs/FORMATS.md says what the files hold. Ctrl-C stops everything; the same command starts it again.",
            title = tree.title,
            table = addresses(dir, tree),
            dir = dir.display(),
            gate = gate.display(),
        )
    })
}

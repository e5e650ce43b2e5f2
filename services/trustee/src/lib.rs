//! The trustee's service: one share of the pseudonym key, and a witness of both logs.
//!
//! The trusted third party holds no identity, no pseudonym and no record. It evaluates blinded elements within quotas
//! that it counts itself, and remembers one checkpoint of each log.

use std::sync::Arc;
use std::time::Duration;

use lanyard_core::ids::Authority;
use lanyard_env::{Env, FileError, StartError};
use lanyard_party::{
    Folder, Inspected, KeyFileError, ManifestStore, NoSection, NotStarted, PartyConfig, Report,
    ShareStore, Started, follow_folder,
};
use lanyard_shareholder::{HolderSetup, KeyShareServer, Ledger, LedgerError, Limit};
use lanyard_transport::PartyName;
use lanyard_witness::{LogSource, MemoryError, Witness};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The trustee's party, in SPIFFE ids, the manifest and its ledger.
const PARTY: PartyName = PartyName::Trustee;

/// How often the folder is looked at for a new manifest, a refreshed share or a renewed certificate.
const RELOAD: Duration = Duration::from_secs(5);

/// Why the trustee does not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// What all parties start with.
    #[error(transparent)]
    Start(#[from] NotStarted),
    /// The data folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The ledger of evaluations.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The witness's memory.
    #[error(transparent)]
    Witness(#[from] MemoryError),
}

impl StartError for ServeError {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Start(error) => error.is_permanent(),
            Self::File(error) => error.is_permanent(),
            Self::Key(error) => error.is_permanent(),
            Self::Ledger(error) => error.is_permanent(),
            Self::Witness(error) => error.is_permanent(),
        }
    }
}

/// Serves the trustee until `shutdown`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: PartyConfig<NoSection>,
    env: Env,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let started = Started::common(&config, &env, PARTY).await?;
    let Started { folder, telemetry, manifests, .. } = &started;
    let tls = started.tls(&env);

    let State { held, shares, witness } = State::open(&env, folder, manifests)?;
    shares.observe(telemetry);
    let mut routes = tonic::service::Routes::new(shares.into_service()).into_axum_router();
    if let Some(witness) = witness {
        witness.observe(telemetry);
        routes = routes.merge(witness.router());
    }

    let (acceptor, audit) = started.listen(&config.common, &env, &tls).await?;
    tracing::info!(address = %acceptor.local_addr(), "trustee serves");
    // Whatever ends `serve` ends these too.
    let running = shutdown.child_token();
    let _stop = running.clone().drop_guard();
    tokio::spawn(follow_folder(telemetry, &tls, manifests, &env, RELOAD, &running));
    let refreshed = held.reload_every(RELOAD, telemetry.incidents().clone(), running);
    tokio::spawn(telemetry.watched("looking for a refreshed share", refreshed));
    telemetry.serving(shutdown.clone());
    lanyard_transport::serve(routes, acceptor, shutdown).await;
    if let Some(audit) = audit {
        audit.close().await;
    }
    Ok(())
}

/// What the trustee keeps, opened and verified.
struct State {
    held: Arc<ShareStore>,
    shares: KeyShareServer,
    witness: Option<Witness>,
}

impl State {
    fn open(
        env: &Env,
        folder: &Folder,
        manifests: &Arc<ManifestStore>,
    ) -> Result<Self, ServeError> {
        let held = Arc::new(ShareStore::open(folder)?);
        let (ledger, granted) = (folder.evaluations_dir(), Arc::clone(manifests));
        let event = &manifests.current().event;
        let shares = KeyShareServer::new(HolderSetup {
            env: env.clone(),
            party: PARTY,
            shares: Arc::clone(&held) as _,
            ledger: Ledger::open_in(env, &ledger, event, PARTY.name())?,
            quotas: Arc::new(move || Limit::of_holder(&granted.current(), PARTY.name())),
        });
        // A trustee need not be a witness.
        let witness = match env.files.exists(&folder.witness_key_path())? {
            true => {
                let memory = folder.data_dir().join("witness");
                let keys = folder.clone();
                let keys = Arc::new(move || keys.witness_keys());
                keys()?;
                Some(Witness::open(env.clone(), &memory, keys, logs(manifests))?)
            }
            false => None,
        };
        Ok(Self { held, shares, witness })
    }
}

/// Looks over all that [`serve`] needs.
pub async fn inspect(config: &PartyConfig<NoSection>, env: &Env, report: &mut Report) {
    let Some(inspected) = Inspected::common(config, env, PARTY, report).await else { return };
    let Inspected { folder, manifest, .. } = &inspected;
    let detail = "the share of the pseudonym key in force";
    report.read("keys/share.key", ShareStore::open(folder), detail);
    if manifest.share_holder(PARTY.name()).is_none() {
        let detail = "the trustee is none of its share holders; adopt the event's manifest";
        report.bad("manifest.note", detail);
    }
    if manifest.witness(PARTY.name()).is_some() {
        report.read("keys/witness.key", folder.witness_keys(), "cosigns both authorities' logs");
    }
    if let Some((folder, env)) = inspected.state(report) {
        let state = State::open(&env, &folder, &inspected.manifests);
        report.read("data/", state, "the count of evaluations and the witness's memory hold");
    }
}

/// Both authorities' logs, as the newest manifest names their keys.
fn logs(manifests: &Arc<ManifestStore>) -> LogSource {
    let manifests = Arc::clone(manifests);
    Arc::new(move || {
        let manifest = manifests.current();
        Authority::ALL.iter().map(|authority| manifest.log_keys(*authority)).collect()
    })
}

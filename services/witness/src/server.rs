//! The witness (C2SP tlog-witness).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::future::BoxFuture;
use http::{StatusCode, header};
use lanyard_core::checkpoint::Checkpoint;
use lanyard_core::cosignature::{CosignatureError, VerifiedCosignature, WitnessKey};
use lanyard_core::ids::Authority;
use lanyard_core::manifest::{LogKeys, Manifest};
use lanyard_core::note::VerifyingKey;
use lanyard_core::witness_request::{
    AddCheckpoint, CONFLICT_CONTENT_TYPE, MAX_REQUEST_BYTES, Refused, RequestError,
};
use lanyard_env::Env;
use lanyard_party::KeyFileError;
use lanyard_telemetry::{Incident, Incidents, Telemetry, metrics};
use lanyard_transport::policy::ADD_CHECKPOINT;
use thiserror::Error;

use crate::memory::{Memory, MemoryError};

/// The keys of the logs to be witnessed, each named for its log's origin. Asked for each request, so that a new manifest
/// takes effect at once.
pub type LogSource = Arc<dyn Fn() -> Vec<LogKeys> + Send + Sync>;

/// The keys to cosign with, asked for each request: while one takes the place of another, a checkpoint is cosigned under both.
pub type KeySource = Arc<dyn Fn() -> Result<Vec<WitnessKey>, KeyFileError> + Send + Sync>;

/// Whether the party's own mirror of a log, named by its origin, holds it up to a size. A tick that is on its way may be waited
/// for.
pub type HeldSource = Arc<dyn Fn(&str, u64) -> BoxFuture<'static, bool> + Send + Sync>;

/// The logs that the witness of `party` cosigns: both authorities', but never its own.
#[must_use]
pub fn witnessed_logs(manifest: &Manifest, party: &str) -> Vec<LogKeys> {
    let others = Authority::ALL.into_iter().filter(|authority| authority.name() != party);
    others.map(|authority| manifest.log_keys(authority)).collect()
}

/// What metrics call what was answered; `not_held`: the mirror lacks the checkpoint's tick.
const COSIGNED: &str = "cosigned";
const MALFORMED: &str = "malformed";
const FORKED: &str = "forked";
const REFUSED: &str = "refused";
const NOT_HELD: &str = "not_held";
const FAILED: &str = "failed";
const OUTCOMES: [&str; 6] = [COSIGNED, MALFORMED, FORKED, REFUSED, NOT_HELD, FAILED];

/// Why a checkpoint is not cosigned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotCosigned {
    /// The request does not parse: 400.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The request is refused, with the status that it carries.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The party's own mirror has not what the checkpoint commits to: 503, ask again.
    #[error("the mirror beside this witness does not hold size {size} yet; ask again")]
    NotHeld {
        /// The size of the checkpoint.
        size: u64,
    },
    /// The memory cannot be read or written: 500.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The own key cannot be read: 500.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The clock is out of range: 500.
    #[error(transparent)]
    Time(#[from] CosignatureError),
}

/// A witness. Cloning is cheap; clones are the same witness.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Inner>,
    held: Option<HeldSource>,
}

struct Inner {
    env: Env,
    keys: KeySource,
    logs: LogSource,
    /// Held from comparing to persisting: two requests cannot both extend the same checkpoint.
    memory: Mutex<Memory>,
    /// Whether the last checkpoint that it would have cosigned could not be.
    is_failing: AtomicBool,
    incidents: OnceLock<Incidents>,
}

impl Witness {
    /// A witness that remembers in `folder` of the environment's files, which belongs to it alone; or, where files are
    /// shared, to the instances of its party.
    ///
    /// # Errors
    /// [`MemoryError`], also if what it remembers is damaged or another event's.
    pub fn open(
        env: Env,
        folder: &Path,
        keys: KeySource,
        logs: LogSource,
    ) -> Result<Self, MemoryError> {
        let mut memory = Memory::open(Arc::clone(&env.files), folder)?;
        memory.check(&logs())?;
        let memory = Mutex::new(memory);
        let (is_failing, incidents) = (AtomicBool::new(false), OnceLock::new());
        let inner = Arc::new(Inner { env, keys, logs, memory, is_failing, incidents });
        Ok(Self { inner, held: None })
    }

    /// Counts from 0 what is asked of it, tells of forks, and is not ready while its disk or its key keeps it from cosigning.
    pub fn observe(&self, telemetry: &Telemetry) {
        metrics::COSIGNATURES.show(OUTCOMES.map(|outcome| [outcome]));
        // A witness is of one service.
        let _ = self.inner.incidents.set(telemetry.incidents().clone());
        let inner = Arc::clone(&self.inner);
        telemetry.condition_now("witness", move || match inner.is_failing.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err("the last checkpoint could not be remembered or signed; free space, or see the log".to_owned()),
        });
    }

    /// Cosigns, when asked by [`Witness::router`], only what the party's own mirror holds: then what a quorum has cosigned is
    /// not lost with the machine that signed it.
    #[must_use]
    pub fn beside_mirrors(mut self, held: HeldSource) -> Self {
        self.held = Some(held);
        self
    }

    /// The keys under which it cosigns now.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn verifying_keys(&self) -> Result<Vec<VerifyingKey>, KeyFileError> {
        Ok((self.inner.keys)()?.iter().map(|key| key.verifying_key().clone()).collect())
    }

    /// Answers the body of an `add-checkpoint` request: a cosignature under each key. Blocks on the disk.
    ///
    /// # Errors
    /// [`NotCosigned`].
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<Vec<VerifiedCosignature>, NotCosigned> {
        let answer = loop {
            match self.cosign(body) {
                // Another instance has cosigned in between: with what it remembered, the answer may be another.
                Err(NotCosigned::Memory(MemoryError::File(error))) if error.is_replaced() => {}
                answer => break answer,
            }
        };
        let outcome = match &answer {
            Ok(_) => COSIGNED,
            Err(NotCosigned::Request(_)) => MALFORMED,
            Err(NotCosigned::Refused(Refused::Forked { .. })) => FORKED,
            Err(NotCosigned::Refused(_)) => REFUSED,
            Err(NotCosigned::NotHeld { .. }) => NOT_HELD,
            Err(NotCosigned::Memory(_) | NotCosigned::Key(_) | NotCosigned::Time(_)) => FAILED,
        };
        if matches!(outcome, COSIGNED | FAILED) {
            self.inner.is_failing.store(outcome == FAILED, Ordering::Relaxed);
        }
        metrics::COSIGNATURES.of([outcome]).increment(1);
        answer
    }

    /// The checkpoint of a request, if it is one, that the mirror beside this witness does not hold.
    async fn not_held(&self, body: &[u8]) -> Option<NotCosigned> {
        let held = self.held.as_ref()?;
        let request = AddCheckpoint::parse(body).ok()?;
        let claimed = Checkpoint::parse(request.note.text()).ok()?;
        let size = claimed.size();
        if held(claimed.origin(), size).await {
            return None;
        }
        metrics::COSIGNATURES.of([NOT_HELD]).increment(1);
        Some(NotCosigned::NotHeld { size })
    }

    fn cosign(&self, body: &[u8]) -> Result<Vec<VerifiedCosignature>, NotCosigned> {
        let Inner { env, keys, logs, memory, incidents, .. } = &*self.inner;
        let request = AddCheckpoint::parse(body)?;
        let claimed = Checkpoint::parse(request.note.text()).map_err(|_| Refused::BadRequest)?;
        let log = logs().into_iter().find(|log| log.current().name().as_str() == claimed.origin());
        let log = log.ok_or(Refused::NotFound)?;

        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.of(&log)?;
        let accepted = match known.consider(&request, &log) {
            Ok(accepted) => accepted,
            Err(refused) => {
                if matches!(refused, Refused::Forked { .. }) {
                    if let Some(incidents) = incidents.get() {
                        incidents.tell(Incident::ForkRefused, log.current().name());
                    }
                    report_fork(&mut memory, &request, &log);
                }
                return Err(refused.into());
            }
        };
        if accepted.memory != known {
            memory.remember(&accepted.checkpoint)?;
        }
        let now = env.now();
        keys()?.iter().map(|key| Ok(key.cosign(&accepted.checkpoint, now)?)).collect()
    }

    /// The size last cosigned of each known log, by origin.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn sizes(&self) -> Result<Vec<(String, u64)>, MemoryError> {
        let mut memory = self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner);
        (self.inner.logs)()
            .iter()
            .map(|log| Ok((log.current().name().to_string(), memory.of(log)?.size())))
            .collect()
    }

    /// The route `POST /witness/add-checkpoint`.
    pub fn router(&self) -> Router {
        Router::new()
            .route(ADD_CHECKPOINT, post(answer))
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
            .with_state(self.clone())
    }
}

async fn answer(State(witness): State<Witness>, body: Bytes) -> Response {
    if let Some(not_held) = witness.not_held(&body).await {
        return refusal(&not_held);
    }
    let answered = lanyard_env::blocking(move || witness.add_checkpoint(&body)).await;
    match answered {
        Ok(Ok(cosignatures)) => {
            let lines = cosignatures.iter().map(|one| format!("{}\n", one.line()));
            lines.collect::<String>().into_response()
        }
        Ok(Err(refused)) => refusal(&refused),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refusal(error: &NotCosigned) -> Response {
    let refused = match error {
        NotCosigned::Request(malformed) => {
            return (StatusCode::BAD_REQUEST, format!("{malformed}\n")).into_response();
        }
        NotCosigned::Refused(refused) => refused,
        NotCosigned::NotHeld { .. } => {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response();
        }
        // The details name files: they are for the witness's own log.
        _ => {
            tracing::error!(%error, "checkpoint not cosigned");
            let body = "the witness cannot remember checkpoints now\n";
            return (StatusCode::INTERNAL_SERVER_ERROR, body).into_response();
        }
    };
    let code = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (code, refused.body()).into_response();
    if code == StatusCode::CONFLICT {
        let size = header::HeaderValue::from_static(CONFLICT_CONTENT_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, size);
    } else {
        tracing::warn!(%refused, "checkpoint not cosigned");
    }
    response
}

/// Two roots of one size, both signed: kept and reported, whatever else fails.
fn report_fork(memory: &mut Memory, request: &AddCheckpoint, log: &LogKeys) {
    let kept = memory.checkpoint(log).ok().flatten().cloned();
    let other = log.verify(&request.note).ok();
    let (Some(known), Some(other)) = (kept, other) else { return };
    tracing::error!(origin = %log.current().name(), size = known.size(), "the log has signed a fork");
    if let Err(error) = memory.keep_evidence(&known, &other) {
        tracing::error!(%error, "the evidence of the fork cannot be kept");
    }
}

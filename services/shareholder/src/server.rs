//! The key share service.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lanyard_core::ids::{Authority, Hash};
use lanyard_core::oprf::{BlindedElement, EvaluationElement, MAX_BATCH};
use lanyard_core::threshold::{PublicShares, Quorum, ShareIndex};
use lanyard_env::Env;
use lanyard_party::{Generation, HeldShare};
use lanyard_telemetry::{Telemetry, metrics};
use lanyard_transport::{PartyName, PeerId, Role, caller, status};
use lanyard_wire::pseudonym::v1 as wire;
use lanyard_wire::pseudonym::v1::key_share_service_server::{
    KeyShareService, KeyShareServiceServer,
};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::ledger::{BatchId, Charge, Ledger, LedgerError};
use crate::purpose::{Purpose, QuotaSource, Usage};
use crate::shares::ShareSource;

/// Bytes of the largest request, with room for its small fields.
const MAX_REQUEST: usize = MAX_BATCH * BlindedElement::SIZE + 4_096;

/// Batches that wait for a core before further ones are turned away.
const MAX_WAITING: usize = 64;

/// Stable reasons in `google.rpc.ErrorInfo`, beside those of [`lanyard_transport::status`].
pub mod reason {
    /// The caller's quota for the purpose is used up; metadata `asked` and `remaining` say how far.
    pub const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";
    /// A batch id came again with other elements.
    pub const BATCH_REUSED: &str = "BATCH_REUSED";
    /// This caller may not ask for this purpose.
    pub const PURPOSE_NOT_ALLOWED: &str = "PURPOSE_NOT_ALLOWED";
    /// Pseudonyms cannot be computed: too few holders answer as they should. For services that compute them.
    pub const PSEUDONYMS_UNAVAILABLE: &str = "PSEUDONYMS_UNAVAILABLE";
    /// The shares were refreshed, and this holder has none of the generation asked for.
    pub const SHARE_GENERATION: &str = "SHARE_GENERATION";
    /// The count could not be made durable; nothing was counted or answered.
    pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
}

/// What a holder serves.
pub struct HolderSetup {
    /// The outside world.
    pub env: Env,
    /// The holder's own party, whose operators may read the counters.
    pub party: PartyName,
    /// Its shares.
    pub shares: Arc<dyn ShareSource>,
    /// Where evaluations are counted.
    pub ledger: Ledger,
    /// This holder's limits in the newest manifest.
    pub quotas: QuotaSource,
}

/// The key share service over one share. Clones serve the same share.
#[derive(Clone)]
pub struct KeyShareServer {
    inner: Arc<Inner>,
}

struct Inner {
    setup: HolderSetup,
    /// One batch a core: evaluation is nothing but arithmetic.
    cores: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Whether the last batch could not be counted.
    is_failing: AtomicBool,
}

impl KeyShareServer {
    /// Serves a holder's shares.
    #[must_use]
    pub fn new(setup: HolderSetup) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let waiting = Arc::new(Semaphore::new(cores + MAX_WAITING));
        let cores = Arc::new(Semaphore::new(cores));
        let is_failing = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { setup, cores, waiting, is_failing }) }
    }

    /// Shows what was evaluated for whom, and what is granted; not ready while the disk does not take the count.
    pub fn observe(&self, telemetry: &Telemetry) {
        let inner = Arc::clone(&self.inner);
        telemetry.condition("evaluations", move || {
            let inner = Arc::clone(&inner);
            async move {
                // Whoever failed is asked last: the next batch may be long in coming.
                if inner.is_failing.load(Ordering::Relaxed) {
                    let written = lanyard_env::blocking(move || inner.count_again()).await;
                    return written.map_err(|error| error.to_string())?;
                }
                Ok(())
            }
        });
        let inner = Arc::clone(&self.inner);
        telemetry.collect_now(move || {
            let HolderSetup { quotas, ledger, .. } = &inner.setup;
            // Where it cannot be read, the last that was shown stays.
            let Ok(counts) = ledger.counts() else { return };
            for usage in Usage::list(&quotas(), &counts) {
                let labels = [usage.caller.name(), usage.purpose.name()];
                metrics::EVALUATIONS_USED.of(labels).set(usage.used as f64);
                metrics::EVALUATIONS_GRANTED.of(labels).set(usage.quota as f64);
            }
        });
    }

    /// The tonic service, its message sizes limited.
    #[must_use]
    pub fn into_service(self) -> KeyShareServiceServer<Self> {
        KeyShareServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }
}

#[tonic::async_trait]
impl KeyShareService for KeyShareServer {
    async fn evaluate(
        &self,
        request: Request<wire::EvaluateRequest>,
    ) -> Result<Response<wire::EvaluateResponse>, Status> {
        let purpose = Purpose::from_wire(request.get_ref().purpose)
            .ok_or_else(|| malformed("purpose: unspecified or unknown"))?;
        let caller = permitted(caller(&request)?, purpose)?;
        let inner = Arc::clone(&self.inner);
        let Ok(place) = Arc::clone(&inner.waiting).try_acquire_owned() else {
            let message = "too many batches wait for this share holder; try again in a second";
            return Err(status::error(Code::ResourceExhausted, status::OVERLOADED, message));
        };
        let core = Arc::clone(&inner.cores).acquire_owned().await;
        let core = core.map_err(|_| status::stopping())?;
        let request = request.into_inner();
        let work = move || {
            // Kept until the work is done, which goes on also if the caller has gone.
            let _held = (place, core);
            let begun = Instant::now();
            let answer = inner.evaluate(caller, purpose, &request);
            metrics::EVALUATION_BATCH_DURATION.of([]).record(begun.elapsed());
            answer
        };
        let answer = lanyard_env::blocking(work).await;
        answer.map_err(|error| status::internal(&error))?.map(Response::new)
    }

    async fn get_usage(
        &self,
        request: Request<wire::GetUsageRequest>,
    ) -> Result<Response<wire::GetUsageResponse>, Status> {
        let setup = &self.inner.setup;
        let peer = caller(&request)?;
        if peer.party() != setup.party || peer.role() != Role::Operator {
            let message = "only operators of the holder's own party may read its counters";
            return Err(status::error(Code::PermissionDenied, status::NOT_ALLOWED, message));
        }
        let inner = Arc::clone(&self.inner);
        let counts = lanyard_env::blocking(move || inner.setup.ledger.counts());
        let counts = counts.await.map_err(|error| status::internal(&error))?;
        let counts = counts.map_err(|error| status::internal(&error))?;
        let usages = Usage::list(&(setup.quotas)(), &counts)
            .into_iter()
            .map(|usage| wire::Usage {
                caller: usage.caller.name().to_owned(),
                purpose: wire::Purpose::from(usage.purpose).into(),
                used: usage.used,
                quota: usage.quota,
            })
            .collect();
        Ok(Response::new(wire::GetUsageResponse { usages }))
    }
}

impl Inner {
    /// Whether a batch could be counted now.
    fn count_again(&self) -> Result<(), String> {
        let written = self.setup.ledger.write_again();
        self.is_failing.store(written.is_err(), Ordering::Relaxed);
        // The details name files: they are for the holder's own log.
        written.map_err(|_| {
            "the disk does not take the count of evaluations; free space, or see the log".to_owned()
        })
    }

    /// Everything is parsed before it is counted, and counted before it is answered.
    fn evaluate(
        &self,
        caller: Authority,
        purpose: Purpose,
        request: &wire::EvaluateRequest,
    ) -> Result<wire::EvaluateResponse, Status> {
        let HolderSetup { env, ledger, quotas, .. } = &self.setup;
        let batch_id = BatchId::try_from(request.batch_id.as_slice())
            .map_err(|_| malformed("batch_id: 16 bytes expected"))?;
        let held = self.share(request.generation)?;
        let quorum = quorum(held.public(), &request.quorum)?;
        let weighted = held.share().for_quorum(&quorum).map_err(|error| malformed(&error))?;
        let blinded = BlindedElement::parse_batch(&request.blinded_elements)
            .map_err(|error| malformed(&error))?;

        let quota = quotas()
            .iter()
            .find(|limit| (limit.caller, limit.purpose) == (caller, purpose))
            .map_or(0, |limit| limit.evaluations);
        let digest = Hash::from(blake3::hash(&request.blinded_elements));
        let elements = blinded.len() as u64;
        let charged = ledger.charge((caller, purpose), batch_id, digest, elements, quota);
        let is_refusal = |error: &LedgerError| {
            matches!(error, LedgerError::QuotaExceeded { .. } | LedgerError::BatchReused { .. })
        };
        let is_failing = charged.as_ref().is_err_and(|error| !is_refusal(error));
        self.is_failing.store(is_failing, Ordering::Relaxed);
        let Charge { remaining, is_retry } = charged.map_err(|error| uncharged(&error))?;
        tracing::debug!(%caller, %purpose, elements, remaining, is_retry, "evaluating");

        let evaluated =
            weighted.evaluate(&blinded, &mut env.rng()).map_err(|error| malformed(&error))?;
        Ok(wire::EvaluateResponse {
            index: evaluated.index.get().into(),
            evaluated_elements: EvaluationElement::encode_batch(&evaluated.elements),
            proof: evaluated.proof.to_bytes().to_vec(),
            remaining,
        })
    }

    /// The share of the generation that the caller combines.
    fn share(&self, generation: u32) -> Result<Arc<HeldShare>, Status> {
        let generation = Generation::new(generation)
            .ok_or_else(|| malformed("generation: they are numbered from 1"))?;
        let shares = &self.setup.shares;
        shares.of_generation(generation).ok_or_else(|| {
            let message = format!(
                "this holder has no share of generation {generation}, its own in force is {}; complete the refresh",
                shares.current().generation()
            );
            status::error(Code::FailedPrecondition, reason::SHARE_GENERATION, message)
        })
    }
}

fn quorum(public: &PublicShares, indices: &[u32]) -> Result<Quorum, Status> {
    let holders = indices
        .iter()
        .map(|index| u8::try_from(*index).ok().and_then(|index| ShareIndex::new(index).ok()))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| malformed("quorum: share indices run from 1 to 255"))?;
    public.quorum(&holders).map_err(|error| malformed(&error))
}

/// Each purpose belongs to the service of one authority.
fn permitted(peer: &PeerId, purpose: Purpose) -> Result<Authority, Status> {
    let caller = match peer.party() {
        PartyName::Committee => Some(Authority::Committee),
        PartyName::Police => Some(Authority::Police),
        _ => None,
    };
    match caller {
        Some(caller) if peer.role() == Role::Service && caller == purpose.caller() => Ok(caller),
        _ => {
            let message = format!(
                "{peer} may not ask for {purpose}: it is for the service of the {}",
                purpose.caller()
            );
            Err(status::error(Code::PermissionDenied, reason::PURPOSE_NOT_ALLOWED, message))
        }
    }
}

fn uncharged(error: &LedgerError) -> Status {
    match error {
        LedgerError::QuotaExceeded { asked, remaining, .. } => {
            tracing::warn!(%error, "batch refused");
            let metadata = [("asked", asked), ("remaining", remaining)]
                .map(|(key, value)| (key.to_owned(), value.to_string()));
            let details = ErrorDetails::with_error_info(
                reason::QUOTA_EXCEEDED,
                status::DOMAIN,
                HashMap::from(metadata),
            );
            Status::with_error_details(Code::ResourceExhausted, error.to_string(), details)
        }
        LedgerError::BatchReused { .. } => {
            status::error(Code::InvalidArgument, reason::BATCH_REUSED, error.to_string())
        }
        // The details name files: they are for the holder's own log.
        _ => {
            tracing::error!(%error, "evaluations cannot be counted");
            let message = "this share holder cannot count evaluations now; ask another";
            status::error(Code::Unavailable, reason::STORE_UNAVAILABLE, message)
        }
    }
}

fn malformed(problem: impl fmt::Display) -> Status {
    status::malformed(problem.to_string())
}

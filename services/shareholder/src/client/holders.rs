//! The other holders: asking them, and whom to ask next.

use std::sync::{Mutex, OnceLock, PoisonError};

use lanyard_core::threshold::{Evaluated, ThresholdError};
use lanyard_telemetry::{Incident, Incidents, metrics};
use lanyard_transport::status;
use lanyard_wire::pseudonym::v1 as wire;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::fault::{Fault, FaultCount, FaultKind};
use super::{Holder, MAX_ELEMENTS, PseudonymError, Settings};
use crate::purpose::Purpose;
use crate::server::reason;

/// Bytes of the largest answer, with room for its small fields.
const MAX_ANSWER: usize = MAX_ELEMENTS * 32 + 4_096;

/// Longest text of a holder's that is repeated in messages and logs.
const MAX_REASON: usize = 200;

pub(super) struct Holders {
    list: Vec<Holder>,
    health: Mutex<Vec<Health>>,
    settings: Settings,
    incidents: OnceLock<Incidents>,
}

#[derive(Clone, Default)]
struct Health {
    paused_until: Option<Instant>,
    fault: Option<Fault>,
    /// How many faults there were.
    count: u64,
}

/// Why a holder's answer cannot be used: another one is asked, or the whole job ends.
pub(super) enum Unanswered {
    Fault(FaultKind),
    Fatal(PseudonymError),
}

impl Holders {
    pub(super) fn new(list: Vec<Holder>, settings: Settings) -> Self {
        let health = Mutex::new(vec![Health::default(); list.len()]);
        Self { list, health, settings, incidents: OnceLock::new() }
    }

    pub(super) fn observe(&self, incidents: &Incidents) {
        metrics::HOLDER_FAULTS.show(self.list.iter().map(|holder| [holder.name.as_str()]));
        // Holders are asked by one service.
        let _ = self.incidents.set(incidents.clone());
    }

    pub(super) fn get(&self, place: usize) -> &Holder {
        &self.list[place]
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.health().iter().filter_map(|health| health.fault.clone()).collect()
    }

    pub(super) fn fault_counts(&self) -> Vec<FaultCount> {
        let count = |health: &Health| {
            health.fault.clone().map(|last| FaultCount { count: health.count, last })
        };
        self.health().iter().filter_map(count).collect()
    }

    /// The places of `needed` holders to ask: preferred ones first, those lately not reached last. Those in `tried`
    /// failed this batch already.
    pub(super) fn choose(
        &self,
        needed: usize,
        tried: &[Fault],
    ) -> Result<Vec<usize>, PseudonymError> {
        let now = Instant::now();
        let health = self.health();
        let mut faults = tried.to_vec();
        let (mut ready, mut paused) = (Vec::new(), Vec::new());
        for (place, (holder, health)) in self.list.iter().zip(health.iter()).enumerate() {
            let is_paused = health.paused_until.is_some_and(|until| now < until);
            if tried.iter().any(|fault| fault.index == holder.index) {
                continue;
            }
            match &health.fault {
                Some(fault) if is_paused && fault.is_misbehaviour() => faults.push(fault.clone()),
                _ if is_paused => paused.push(place),
                _ => ready.push(place),
            }
        }
        ready.append(&mut paused);
        if ready.len() < needed {
            return Err(PseudonymError::NotEnoughHolders { needed, faults });
        }
        ready.truncate(needed);
        Ok(ready)
    }

    /// Remembers a fault and logs it: a misbehaving holder is a matter for people.
    pub(super) fn blame(&self, place: usize, kind: FaultKind) -> Fault {
        let Holder { index, name, .. } = self.get(place);
        let fault = Fault { holder: name.clone(), index: *index, kind };
        metrics::HOLDER_FAULTS.of([name]).increment(1);
        let pause = if fault.is_misbehaviour() {
            tracing::error!(holder = %name, share = %index, %fault, "share holder misbehaves");
            if let Some(incidents) = self.incidents.get() {
                incidents.tell(Incident::HolderMisbehaved, name);
            }
            self.settings.misbehaved_pause
        } else {
            tracing::warn!(holder = %name, share = %index, %fault, "share holder does not answer");
            self.settings.unreachable_pause
        };
        let paused_until = Instant::now().checked_add(pause);
        let health = &mut self.health()[place];
        health.paused_until = paused_until;
        health.fault = Some(fault.clone());
        health.count += 1;
        fault
    }

    /// A good answer ends a pause, and the fault stays to be read.
    pub(super) fn praise(&self, place: usize) {
        self.health()[place].paused_until = None;
    }

    /// Asks one holder; an interrupted call is tried once more under the same batch id, which is counted once.
    pub(super) async fn ask(
        &self,
        place: usize,
        purpose: Purpose,
        request: &wire::EvaluateRequest,
    ) -> Result<Evaluated, Unanswered> {
        let answer = match self.call(place, request).await {
            Err(error) if error.code() == Code::Unavailable && status::reason(&error).is_none() => {
                self.call(place, request).await
            }
            answer => answer,
        };
        let Holder { index, name, .. } = self.get(place);
        let answer = answer.map_err(|error| refused(name, purpose, &error))?;
        if answer.index != u32::from(index.get()) {
            let answered = answer.index;
            return Err(Unanswered::Fault(FaultKind::WrongIndex { answered }));
        }
        Evaluated::parse(*index, &answer.evaluated_elements, &answer.proof)
            .map_err(|problem| Unanswered::Fault(FaultKind::BadAnswer { problem }))
    }

    async fn call(
        &self,
        place: usize,
        message: &wire::EvaluateRequest,
    ) -> Result<wire::EvaluateResponse, Status> {
        let mut client = KeyShareServiceClient::new(self.get(place).channel.clone())
            .max_decoding_message_size(MAX_ANSWER);
        let mut request = Request::new(message.clone());
        request.set_timeout(self.settings.timeout);
        let call = client.evaluate(request);
        match tokio::time::timeout(self.settings.timeout, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => {
                let seconds = self.settings.timeout.as_secs_f32();
                Err(Status::deadline_exceeded(format!("no answer within {seconds} s")))
            }
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ThresholdError> for Unanswered {
    /// Faults name a culprit; anything else is our own mistake.
    fn from(problem: ThresholdError) -> Self {
        match problem.culprit() {
            Some(_) => Self::Fault(FaultKind::BadAnswer { problem }),
            None => Self::Fatal(problem.into()),
        }
    }
}

fn refused(holder: &str, purpose: Purpose, error: &Status) -> Unanswered {
    if status::reason(error).as_deref() == Some(reason::QUOTA_EXCEEDED) {
        let details = error.get_details_error_info();
        let remaining = details.and_then(|info| info.metadata.get("remaining")?.parse().ok());
        let (holder, remaining) = (holder.to_owned(), remaining.unwrap_or_default());
        return Unanswered::Fatal(PseudonymError::QuotaExceeded { holder, purpose, remaining });
    }
    let is_other = status::reason(error).as_deref() == Some(reason::SHARE_GENERATION);
    let reason = status::explain(error).chars().take(MAX_REASON).collect();
    Unanswered::Fault(if is_other {
        FaultKind::OtherGeneration { reason }
    } else if status::is_unreachable(error) {
        FaultKind::Unreachable { reason }
    } else {
        FaultKind::Refused { code: error.code(), reason }
    })
}

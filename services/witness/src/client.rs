//! Asking witnesses.

mod exchange;
mod route;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, Stream};
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::VerifiedCosignature;
use lanyard_core::ids::Timestamp;
use lanyard_core::log::ConsistencyProof;
use lanyard_core::note::{KeyName, VerifyingKey};
use lanyard_env::Env;
use lanyard_telemetry::metrics;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::route::{Route, RouteError};

/// Proves that the checkpoint extends the log's first so many leaves; `None` if the log cannot.
pub type ProofSource = Arc<dyn Fn(u64) -> Option<ConsistencyProof> + Send + Sync>;

/// A witness to ask.
#[derive(Clone)]
pub struct WitnessPeer {
    /// Its keys in the manifest: the one in force, then those that still count beside it. The name is the same.
    pub keys: Vec<VerifyingKey>,
    /// What it is called: the name of these keys.
    pub name: KeyName,
    /// How to reach it.
    pub route: Route,
    /// Whether it is known to cosign only what its party's own mirror holds.
    pub holds_log: bool,
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For one witness's answer to one checkpoint.
    pub timeout: Duration,
    /// After a failure, before the witness is asked again; doubled with each further failure.
    pub first_pause: Duration,
    /// The longest such pause.
    pub longest_pause: Duration,
    /// How long witnesses that hold no log wait for one that does.
    pub head_start: Duration,
}

impl Default for Timing {
    /// 1 s, pauses from 1 s to 5 s: a witness that comes back is used within two or three ticks. A head start of half a
    /// second leaves the others time within a tick of a second.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            timeout: second,
            first_pause: second,
            longest_pause: 5 * second,
            head_start: second / 2,
        }
    }
}

/// Why a witness's cosignature did not come.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WitnessFault {
    /// It failed lately and is left alone for a while.
    #[error("not asked: it failed lately")]
    Paused,
    /// It was not reached.
    #[error("not reached: {reason}")]
    Unreachable {
        /// The transport's reason.
        reason: String,
    },
    /// It did not answer in time.
    #[error("no answer within {} ms", timeout.as_millis())]
    TimedOut {
        /// How long it had.
        timeout: Duration,
    },
    /// It knows a larger checkpoint of this log: the log has gone back, as after a restored backup. Do not sign.
    #[error("it has cosigned size {size} of this log, which is ahead of this checkpoint")]
    Ahead {
        /// The size that it cosigned.
        size: u64,
    },
    /// It knows another root of this size: the log is forked. Do not sign.
    #[error("it has cosigned another root of size {size}: the log is forked")]
    Forked {
        /// The size of both.
        size: u64,
    },
    /// The log cannot prove consistency with what the witness knows.
    #[error("the log has no proof from size {old}")]
    NoProof {
        /// The size that the witness knows.
        old: u64,
    },
    /// It refuses, or answers something that the protocol does not know.
    #[error("answered status {status}: {answer}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The first line of its answer.
        answer: String,
    },
    /// Its answer carries no cosignature of its own, or one that does not verify.
    #[error("answered without a valid cosignature of its own")]
    NotCosigned,
}

/// What metrics call the answers: that it cosigned, and each [`WitnessFault`].
const OUTCOMES: [&str; 8] = [
    "cosigned",
    "unreachable",
    "timed_out",
    "ahead",
    "forked",
    "no_proof",
    "refused",
    "not_cosigned",
];

impl WitnessFault {
    /// In a word, for metrics.
    const fn word(&self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Ahead { .. } => "ahead",
            Self::Forked { .. } => "forked",
            Self::NoProof { .. } => "no_proof",
            Self::Refused { .. } => "refused",
            Self::NotCosigned => "not_cosigned",
        }
    }
}

/// What became of one witness.
pub struct Answer {
    /// The witness.
    pub witness: KeyName,
    /// Its cosignature, verified, or why there is none.
    pub result: Result<VerifiedCosignature, WitnessFault>,
}

/// How a witness does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessStatus {
    /// The witness.
    pub witness: KeyName,
    /// The largest size that it is known to have cosigned.
    pub size: u64,
    /// The time of its last cosignature.
    pub time: Option<Timestamp>,
    /// Why the last one did not come, unless it came.
    pub fault: Option<WitnessFault>,
}

/// The witnesses of one log. Cloning is cheap; clones share what they know.
#[derive(Clone)]
pub struct WitnessSet {
    env: Env,
    timing: Timing,
    members: Arc<[Arc<Member>]>,
}

struct Member {
    peer: WitnessPeer,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    size: u64,
    time: Option<Timestamp>,
    fault: Option<WitnessFault>,
    pause: Duration,
    paused_until: Option<Instant>,
}

/// The witnesses that hold the log, before one checkpoint.
struct Holders {
    /// Who has not answered yet.
    asked: usize,
    has_cosigned: bool,
}

impl Holders {
    fn answered(&mut self, answer: &Answer) {
        self.asked -= 1;
        self.has_cosigned |= answer.result.is_ok();
    }

    /// Whether one has cosigned, or none will.
    const fn are_settled(&self) -> bool {
        self.has_cosigned || self.asked == 0
    }
}

impl WitnessSet {
    /// A set that has asked nothing yet.
    #[must_use]
    pub fn new(env: Env, peers: Vec<WitnessPeer>, timing: Timing) -> Self {
        let member = |peer: WitnessPeer| {
            let name = peer.name.as_str();
            metrics::WITNESS_ANSWERS.show(OUTCOMES.map(|outcome| [name, outcome]));
            Arc::new(Member { peer, state: Mutex::default() })
        };
        Self { env, timing, members: peers.into_iter().map(member).collect() }
    }

    /// Asks all witnesses to cosign `checkpoint`; answers come as they arrive, one a witness. Dropping the stream gives up on
    /// the rest. `prove` may be called for each witness, with the size that it knows.
    ///
    /// Those that hold the log are asked first, the others once one of these has cosigned: a checkpoint that witnesses
    /// know, and whose tick nobody has but the log, could never be signed on when the log's machine is lost. If none that
    /// holds the log cosigns, within [`Timing::head_start`], all are asked.
    pub fn cosign(
        &self,
        checkpoint: &VerifiedCheckpoint,
        prove: &ProofSource,
    ) -> impl Stream<Item = Answer> + Send + use<> {
        let checkpoint = Arc::new(checkpoint.clone());
        let holders = self.members.iter().filter(|member| member.peer.holds_log).count();
        let (holding, held) = watch::channel(Holders { asked: holders, has_cosigned: false });
        let holding = Arc::new(holding);
        let asked: FuturesUnordered<_> = self
            .members
            .iter()
            .map(|member| {
                let (set, member) = (self.clone(), Arc::clone(member));
                let (checkpoint, prove) = (Arc::clone(&checkpoint), Arc::clone(prove));
                let (holding, mut held) = (Arc::clone(&holding), held.clone());
                async move {
                    if !member.peer.holds_log {
                        let settled = held.wait_for(Holders::are_settled);
                        let _ = tokio::time::timeout(set.timing.head_start, settled).await;
                        return set.ask(&member, &checkpoint, &prove).await;
                    }
                    let answer = set.ask(&member, &checkpoint, &prove).await;
                    holding.send_modify(|holders| holders.answered(&answer));
                    answer
                }
            })
            .collect();
        asked
    }

    /// How each witness does.
    #[must_use]
    pub fn status(&self) -> Vec<WitnessStatus> {
        let status = |member: &Arc<Member>| {
            let State { size, time, fault, .. } = member.state().clone();
            WitnessStatus { witness: member.peer.name.clone(), size, time, fault }
        };
        self.members.iter().map(status).collect()
    }

    async fn ask(
        &self,
        member: &Member,
        checkpoint: &VerifiedCheckpoint,
        prove: &ProofSource,
    ) -> Answer {
        let witness = member.peer.name.clone();
        if let Some(fault) = member.paused(checkpoint.size()) {
            return Answer { witness, result: Err(fault) };
        }
        let timeout = self.timing.timeout;
        let asking = member.exchange(&self.env, checkpoint, prove);
        let asked = Instant::now();
        let answered = tokio::time::timeout(timeout, asking).await;
        let result = answered.unwrap_or(Err(WitnessFault::TimedOut { timeout }));
        let outcome = result.as_ref().map_or_else(WitnessFault::word, |_| "cosigned");
        metrics::WITNESS_ANSWERS.of([witness.as_str(), outcome]).increment(1);
        if result.is_ok() {
            metrics::WITNESS_DURATION.of([witness.as_str()]).record(asked.elapsed());
        }
        member.note(&result, &self.timing);
        Answer { witness, result }
    }
}

impl Member {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it is not asked now, if it is not: it failed lately. That it knows more stays true meanwhile.
    fn paused(&self, size: u64) -> Option<WitnessFault> {
        let state = self.state();
        let is_paused = state.paused_until.is_some_and(|until| Instant::now() < until);
        is_paused.then(|| match &state.fault {
            Some(WitnessFault::Ahead { size: known }) if *known > size => {
                WitnessFault::Ahead { size: *known }
            }
            _ => WitnessFault::Paused,
        })
    }

    /// Remembers how it went. Only changes are logged: a witness that is down is asked all day.
    fn note(&self, result: &Result<VerifiedCosignature, WitnessFault>, timing: &Timing) {
        let witness = &self.peer.name;
        let mut state = self.state();
        match result {
            Ok(cosignature) => {
                if state.fault.is_some() {
                    tracing::info!(%witness, "witness cosigns again");
                }
                state.time = Some(cosignature.time());
                (state.fault, state.pause, state.paused_until) = (None, Duration::ZERO, None);
            }
            Err(fault) => {
                if state.fault.as_ref() != Some(fault) {
                    tracing::warn!(%witness, %fault, "witness does not cosign");
                }
                let doubled = state.pause.saturating_mul(2);
                state.pause = doubled.clamp(timing.first_pause, timing.longest_pause);
                state.paused_until = Instant::now().checked_add(state.pause);
                state.fault = Some(fault.clone());
            }
        }
    }
}

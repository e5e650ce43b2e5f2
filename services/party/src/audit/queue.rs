//! What has come and is not written yet: bounded, whatever callers do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanyard_env::Env;
use lanyard_telemetry::{Incident, metrics};
use lanyard_transport::{CallEnded, Role};

use super::event::{Call, Event};

/// Events between two writes; more are counted only.
const LIMIT: usize = 4_096;

pub(super) struct Queue {
    env: Env,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: Vec<Event>,
    /// Where refusals that are alike stand among the events.
    alike: HashMap<Alike, usize>,
    lost: u64,
}

/// Refusals are counted together by these.
#[derive(PartialEq, Eq, Hash)]
enum Alike {
    Call { peer: String, rpc: &'static str, code: String },
    Handshake(&'static str),
    Incident(Incident, String),
}

impl Queue {
    pub(super) fn new(env: Env) -> Self {
        Self { env, waiting: Mutex::default() }
    }

    /// Calls of people are kept one by one, and refused calls of anybody together where they are alike. Other calls of
    /// services and scanners are for metrics.
    pub(super) fn call(&self, call: &CallEnded<'_>) {
        let by_a_person =
            matches!(call.peer.role(), Role::Operator | Role::Desk | Role::Supervisor);
        let is_refused = call.refused.is_some()
            || matches!(call.code, "PERMISSION_DENIED" | "RESOURCE_EXHAUSTED" | "UNAUTHENTICATED")
            // Of plain HTTP: a checkpoint that its log's key did not sign, or that does not go on from the last.
            || matches!(call.code, "403" | "422");
        if !by_a_person && !is_refused {
            return;
        }
        let event = Call {
            time: self.env.now(),
            peer: call.peer.to_string(),
            rpc: call.rpc,
            request_id: call.request_id.to_owned(),
            code: call.code.to_owned(),
            refused: call.refused,
            count: 1,
        };
        let alike = is_refused.then(|| Alike::Call {
            peer: event.peer.clone(),
            rpc: event.rpc,
            code: event.code.clone(),
        });
        self.waiting().push(alike, Event::Call(event));
    }

    pub(super) fn handshake(&self, outcome: &'static str) {
        let event = Event::Handshake { time: self.env.now(), outcome, count: 1 };
        self.waiting().push(Some(Alike::Handshake(outcome)), event);
    }

    pub(super) fn incident(&self, incident: Incident, about: String) {
        let alike = Alike::Incident(incident, about.clone());
        let event = Event::Incident { time: self.env.now(), incident, about, count: 1 };
        self.waiting().push(Some(alike), event);
    }

    /// All that has come since it was last asked.
    pub(super) fn take(&self) -> Vec<Event> {
        let Waiting { mut events, lost, .. } = std::mem::take(&mut *self.waiting());
        if lost > 0 {
            metrics::AUDIT_LOST.of([]).increment(lost);
            events.push(Event::Lost { time: self.env.now(), count: lost });
        }
        events
    }

    /// Gives back what could not be written, before what has come since.
    pub(super) fn put_back(&self, events: Vec<Event>) {
        let mut waiting = self.waiting();
        let since = std::mem::take(&mut *waiting);
        waiting.lost = since.lost;
        for event in events.into_iter().chain(since.events) {
            waiting.push(None, event);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, alike: Option<Alike>, event: Event) {
        let known = alike.as_ref().and_then(|alike| self.alike.get(alike)).copied();
        if let Some(
            Event::Call(Call { count, .. })
            | Event::Handshake { count, .. }
            | Event::Incident { count, .. },
        ) = known.and_then(|index| self.events.get_mut(index))
        {
            *count += 1;
        } else if self.events.len() >= LIMIT {
            self.lost += 1;
        } else {
            if let Some(alike) = alike {
                self.alike.insert(alike, self.events.len());
            }
            self.events.push(event);
        }
    }
}

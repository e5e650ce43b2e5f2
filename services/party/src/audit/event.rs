//! Events, and their lines: field names of the Elastic Common Schema where it has one, `lanyard.…` for the rest.

use lanyard_core::ids::Timestamp;
use lanyard_telemetry::Incident;
use serde::Serialize;

use super::Act;

/// The version of the lines. Fields may be added within one; none changes its meaning or goes.
const SCHEMA: u32 = 1;

/// One event, without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// An act of the store's trail.
    Act(Act),
    /// A call that a person made, or that was refused.
    Call(Call),
    /// A handshake that was refused.
    Handshake { time: Timestamp, outcome: &'static str, count: u64 },
    /// Something that happened to the service, and what it is about.
    Incident { time: Timestamp, incident: Incident, about: String, count: u64 },
    /// Calls that were too many to be kept.
    Lost { time: Timestamp, count: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) time: Timestamp,
    pub(super) peer: String,
    pub(super) rpc: &'static str,
    pub(super) request_id: String,
    pub(super) code: String,
    pub(super) refused: Option<&'static str>,
    /// How many alike, this the first.
    pub(super) count: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    event: EventFields<'a>,
    service: ServiceFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserFields<'a>>,
    lanyard: LanyardFields<'a>,
}

#[derive(Serialize)]
struct EventFields<'a> {
    sequence: u64,
    kind: &'static str,
    dataset: &'static str,
    action: &'a str,
    outcome: &'static str,
}

#[derive(Serialize)]
struct ServiceFields<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct UserFields<'a> {
    id: &'a str,
}

#[derive(Serialize, Default)]
struct LanyardFields<'a> {
    schema: u32,
    /// How far the store's trail is in the stream.
    trail: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl Event {
    /// What [`Event::kind`] may be.
    pub(super) const KINDS: [&'static str; 5] = ["act", "call", "handshake", "incident", "lost"];

    pub(super) const fn act(act: Act) -> Self {
        Self::Act(act)
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Act(_) => "act",
            Self::Call(_) => "call",
            Self::Handshake { .. } => "handshake",
            Self::Incident { .. } => "incident",
            Self::Lost { .. } => "lost",
        }
    }
}

/// Numbers events and makes lines of them.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    service: String,
    last: Last,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Last {
    /// The number of its last event.
    pub(super) sequence: u64,
    /// How far the store's trail is in it.
    pub(super) trail: u64,
}

impl Writer {
    pub(super) fn new(service: &str, last: Last) -> Self {
        Self { service: service.to_owned(), last }
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.last.sequence
    }

    pub(super) const fn trail(&self) -> u64 {
        self.last.trail
    }

    /// The lines of events, and the writer after them.
    pub(super) fn write(mut self, events: &[Event]) -> (String, Self) {
        let mut text = String::new();
        for event in events {
            if let Event::Act(act) = event {
                self.last.trail = act.sequence;
            }
            self.last.sequence += 1;
            // Strings and numbers always have a JSON form.
            text.push_str(&serde_json::to_string(&self.line(event)).unwrap_or_default());
            text.push('\n');
        }
        (text, self)
    }

    fn line<'a>(&'a self, event: &'a Event) -> Line<'a> {
        let Last { sequence, trail } = self.last;
        let (kind, mut lanyard) =
            ("event", LanyardFields { schema: SCHEMA, trail, ..Default::default() });
        let several = |count: u64| (count > 1).then_some(count);
        let (time, dataset, action, outcome, user) = match event {
            Event::Act(act) => {
                lanyard.object = Some(&act.object);
                lanyard.change = Some(act.change);
                (
                    act.time,
                    "lanyard.act",
                    act.action.as_str(),
                    "success",
                    Some(act.operator.as_str()),
                )
            }
            Event::Call(call) => {
                lanyard.request_id = Some(&call.request_id);
                lanyard.code = Some(&call.code);
                lanyard.refused = call.refused;
                lanyard.count = several(call.count);
                let is_good = call.code == "OK" || call.code.starts_with('2');
                let outcome = if is_good { "success" } else { "failure" };
                (call.time, "lanyard.call", call.rpc, outcome, Some(call.peer.as_str()))
            }
            Event::Handshake { time, outcome, count } => {
                lanyard.refused = Some(outcome);
                lanyard.count = several(*count);
                (*time, "lanyard.handshake", "handshake", "failure", None)
            }
            Event::Incident { time, incident, about, count } => {
                lanyard.about = (!about.is_empty()).then_some(about);
                lanyard.count = several(*count);
                let outcome = if incident.is_misdeed() { "failure" } else { "success" };
                (*time, "lanyard.incident", incident.name(), outcome, None)
            }
            Event::Lost { time, count } => {
                lanyard.count = Some(*count);
                (*time, "lanyard.lost", "lost", "unknown", None)
            }
        };
        Line {
            timestamp: rfc3339(time),
            event: EventFields { sequence, kind, dataset, action, outcome },
            service: ServiceFields { name: &self.service },
            user: user.map(|id| UserFields { id }),
            lanyard,
        }
    }
}

fn rfc3339(time: Timestamp) -> String {
    let millis = i64::try_from(time.millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

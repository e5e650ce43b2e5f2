//! What a service says of itself to whoever operates it: metrics, health, readiness.
//!
//! Metrics are process-wide: whoever counts names a family of [`metrics`], the one list of all there is, and needs no
//! handle to anything. Nothing is recorded until a [`Telemetry`] with an address exists, so a family costs a service
//! that nobody watches next to nothing. Health and readiness are each service's own: it says which tasks must live
//! and which conditions must hold.
//!
//! No label and no reason carries names of people or anything of a badge. Labels come from closed sets: RPCs, parties,
//! authorities, names of services and witnesses in the manifest or the configuration.

mod address;
mod asking;
mod family;
mod health;
mod incident;
mod listener;
pub mod metrics;

pub use address::{TelemetryAddress, TelemetryAddressError};
pub use asking::{AskError, ask_ready};
pub use family::{CounterFamily, Described, GaugeFamily, Held, HistogramFamily, Kind};
pub use health::{Alive, Condition, Readiness, Telemetry};
pub use incident::{Incident, Incidents};
pub use listener::TelemetryError;

pub use ::metrics::{Counter, Gauge, Histogram};

//! The organising committee's service: enrolment, badges, its desk, its feed, its witness and its key share.
//!
//! The one party that holds identities. It learns verdicts of screening and never why; badge secrets stay at the issuing
//! station, so a stolen store yields no badge.

mod badges;
mod cursors;
mod disclosures;
mod hold;
mod import;
mod person;
mod police_badges;
mod profiles;
mod registry;
mod rpc;
mod schema;
mod screening;
mod serve;
mod states;

pub use registry::SEALED as SEALED_TABLES;
pub use serve::{ServeError, inspect, serve};

#[cfg(test)]
mod tests;

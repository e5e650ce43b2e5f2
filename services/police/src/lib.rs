//! The police's service: watchlist, screening, stops, their own staff, their desk, their feed, their witness and their key
//! share.
//!
//! The one party that holds a watchlist. It learns nothing of people who do not match: what the committee submits are
//! pseudonyms, kept as keyed hashes, and the seeds that it hands over open no gate.

mod act;
mod case;
mod cases;
mod changes;
mod config;
mod desk;
mod disclosures;
mod examine;
mod handles;
mod ids;
mod lists;
mod matching;
mod prints;
mod registry;
mod release;
mod rescreen;
mod rpc;
mod schema;
mod serve;
mod staff;
mod states;
mod subjects;
mod tags;
#[cfg(test)]
mod tests;
mod watchlist;

pub use config::PoliceConfig;
pub use examine::examine;
pub use registry::SEALED as SEALED_TABLES;
pub use serve::{ServeError, inspect, serve};

//! Archives of verified feeds in object stores: a folder, or a bucket of an S3-compatible store.
//!
//! A party that archives writes what its mirrors hold, pieces of the same stream that followers get, as immutable objects,
//! and one small list that names those of the newest state. Any party can follow such an archive like a mirror, and start
//! from it alone.
//!
//! | part | does |
//! | --- | --- |
//! | [`ObjectsConfig`] | `[objects]` in `config.toml` |
//! | [`Objects`] | a store: opened, checked, as an upstream, as a place to archive in |
//! | [`Archive`] | keeps one mirror's log archived |
//!
//! Invariants:
//! - The store is *not* trusted. What is read from it goes through `lanyard_feed::Intake`, as from any upstream; what is kept
//!   there is sealed and signed already. It can hold back and grow old, which shows as knowledge that ages.
//! - The party's own folder, synced, stays its truth. Nothing that is signed, published, served or decided waits for the store.
//! - An object never changes. The list is replaced by conditional writes only, and names nothing that was not there before it.
//! - Whatever the newest list names is never removed.
//! - Credentials come from the environment or a file, and reach no log, no error and no Debug output.

mod archive;
mod config;
mod credentials;
mod error;
mod http;
mod messages;
mod newest;
mod place;
mod recorder;
mod scrub;
mod serve;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

pub use archive::{Archive, ArchiveState};
pub use config::{Endpoint, ObjectsConfig, StoreUrl};
pub use error::{ObjectsError, StoreProblem};
pub use store::{Objects, UPSTREAM};

//! The sponsor's service: a mirror of both authorities, a witness of their logs, and the sponsor's desk.
//!
//! The sponsor is distrusted. It holds opaque handles, sealed records and signed checkpoints, and one key: that of its own
//! audience, with which its desk opens the record of a code that is shown there. What it serves, everyone verifies.

mod config;
mod desk;
mod inspect;
mod serve;

pub use config::SponsorSection;
pub use desk::Desk;
pub use inspect::inspect;
pub use serve::{ServeError, serve};

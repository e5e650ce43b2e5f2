//! Clients of Lanyard's services, for Rust programs: the command line, tests, and whoever integrates.
//!
//! - [`Connection`]: acts as a named person or desk, with the certificate in a party's folder, and gives a typed client
//!   of each service. [`call`] and [`item`] turn answers into values or into errors that say what to do.
//! - [`ThinVerifier`]: asks any mirror for the records under a prefix of handles and verifies all that it answers; it
//!   remembers the log that it saw, so that no mirror can roll it back or show it another one.
//! - [`badge`]: what an issuing station needs: texts, seeds and QR codes of badges.

#![allow(clippy::disallowed_methods)] // clients are not simulated

pub mod badge;
mod connection;
mod error;
mod kept;
mod thin;

pub use connection::Connection;
pub use error::{ClientError, call, item};
pub use kept::{Kept, KeptError};
pub use thin::{LookedUp, Question, ThinError, ThinVerifier};

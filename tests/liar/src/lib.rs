//! A sponsor that lies, for tests and the demo.
//!
//! It holds the sponsor's own certificate and key, follows an honest mirror, and passes on what it receives, altered as
//! it is told ([`Mode`]). No product has a flag for lying: whoever wants to see a lie caught puts this in the
//! sponsor's place.

mod server;
mod tamper;

pub use server::{Liar, LiarError, LiarHandle};
pub use tamper::Mode;

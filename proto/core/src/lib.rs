//! The Lanyard protocol.
//!
//! Everything that the parties must agree on byte for byte lives here, and nothing else: no I/O, no clock, and no
//! randomness but what is passed in. Types named `Verified…` can only be made by the check that they are named after.

pub mod attestation;
pub mod audience_key;
pub mod badge;
pub mod binding;
pub mod checkpoint;
pub mod codec;
pub mod cosignature;
pub mod decision;
pub mod disclosure;
pub mod freshness;
pub mod head;
pub mod hpke_box;
pub mod identity;
pub mod ids;
pub mod log;
pub mod manifest;
pub mod map;
pub mod note;
pub mod oprf;
pub mod profile;
pub mod receipt;
pub mod record;
mod secret;
pub mod threshold;
pub mod tlog_proof;
pub mod witness_request;

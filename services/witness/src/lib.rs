//! A C2SP tlog-witness, and the client that asks witnesses for cosignatures.
//!
//! - [`Witness`] cosigns checkpoints of the logs it knows, each only if it extends the last one that it cosigned, and, where its
//!   party mirrors the log, only if that mirror holds it. It remembers that one on disk before its cosignature leaves.
//! - [`WitnessSet`] sends a log's new checkpoints to its witnesses, all at once, and verifies what comes back.
//!
//! Trust: a witness trusts nobody but its own disk; a log's word counts as far as the log has signed it. The client
//! trusts no witness: a lie about time or a missing answer shows, and the quorum outvotes it.

mod client;
mod memory;
mod server;

pub use client::{
    Answer, ProofSource, Route, RouteError, Timing, WitnessFault, WitnessPeer, WitnessSet,
    WitnessStatus,
};
pub use memory::{Memory, MemoryError};
pub use server::{HeldSource, KeySource, LogSource, NotCosigned, Witness, witnessed_logs};

//! One share of the pseudonym key: the service that answers under it, and the client that combines answers.
//!
//! - [`KeyShareServer`] evaluates blinded elements for the other parties, within quotas that it counts in a [`Ledger`]:
//!   signed, durable before the answer leaves, a retry counted once.
//! - [`Pseudonymiser`] turns identity keys into pseudonyms: its own share and enough other holders', every answer
//!   verified, a cheat named and replaced by the next holder.
//!
//! Trust: the server trusts its own disk to keep the ledger, whose signature shows edits by others; the client trusts no
//! holder, and none of them learns an identity or a pseudonym.

mod client;
mod ledger;
mod purpose;
mod server;
mod shares;

pub use client::{
    Batch, Fault, FaultCount, FaultKind, Holder, MAX_ELEMENTS, PADDING, PseudonymError,
    Pseudonymiser, Settings,
};
pub use ledger::{BatchId, Charge, Counts, Ledger, LedgerError, RECENT_BATCHES};
pub use purpose::{Limit, Purpose, QuotaSource, Usage};
pub use server::{HolderSetup, KeyShareServer, reason};
pub use shares::ShareSource;

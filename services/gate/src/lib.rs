//! The gate's service: checks for scanners on a venue's LAN, offline capable; receipts; what it knows and how old.
//!
//! A gate holds verified copies of both authorities' sealed gate directories and opens one record at a time, with the
//! badge in front of it ([`Checker`]). It admits on two positive, fresh attestations and records every answer before it
//! leaves ([`Receipts`]). The credential is in memory for the check only: never stored, never logged.
//!
//! | file | does |
//! | --- | --- |
//! | `check` | the decision on two mirrors, in both of their states |
//! | `receipts` | hash chain, sealed bodies, retries, group commit, export |
//! | `service` | the RPCs |
//! | `rules` | what the manifest in force means for this gate |

mod attest;
mod check;
mod config;
mod counted;
mod inspect;
mod receipts;
mod rules;
mod serve;
mod service;
mod sync_state;
#[cfg(test)]
mod test_event;

pub use check::{Checked, Checker};
pub use config::{GateSection, ReceiptOptions};
pub use inspect::inspect;
pub use receipts::{
    Answer, Export, ExportError, NewCheck, NewOverride, NotRecorded, OpenError, ReceiptSetup,
    Receipts, ReceiptsWatch,
};
pub use rules::{Door, Rules, SharedRules};
pub use serve::{ServeError, serve};
pub use service::{GateServer, MAX_CHECKS, RECEIPTS_UNAVAILABLE};

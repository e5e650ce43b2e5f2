//! The gate's receipts on disk: durable before the answer leaves, in groups.
//!
//! One thread writes. It takes all checks that wait, seals their bodies, extends the hash chain, writes, syncs, signs
//! one head for all of them, and only then answers.
//!
//! | under `data/receipts/` | holds | kept |
//! | --- | --- | --- |
//! | `chain` | each entry, and after each group its signed head | for good |
//! | `bodies/FIRST-STARTED` | bodies, sealed to the audit key | as configured |
//! | `sessions/ID` | the key of the bodies of one run, sealed to the audit key | for good |
//! | `recent/FIRST-STARTED` | nonce and answer of recent checks, so that a retry is the same check | 24 hours or 100,000 checks |
//!
//! All are files of frames ([`frames`]). A group is written to `bodies`, then `recent`, then `chain`, each synced; its
//! signed head comes last. So what a crash leaves behind the last signed head, a group in part, was never answered, and
//! is cut off at start; a whole group that does not hold may have been answered, and is refused as damaged. A group that the disk refuses is taken back, and its checks are answered with [`NotRecorded::Disk`]:
//! nobody passes unrecorded.
//!
//! Trust: the gate trusts its own disk to keep these files; auditors trust the signed heads.

mod bodies;
mod chain;
mod export;
mod frames;
mod recent;
mod segments;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use export::{Export, ExportError};
pub use recent::Answer;
pub use store::{OpenError, ReceiptSetup};
pub use verify::verify_chain;
pub use writer::{NewCheck, NewOverride, NotRecorded, Receipts, ReceiptsWatch};

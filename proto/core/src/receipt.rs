//! Receipts: what a gate knew and said, provable later without the gate keeping a movement database.
//!
//! Each check appends a [`ReceiptEntry`] to the gate's hash chain before the answer leaves. The entry commits to a
//! [`ReceiptBody`] that is sealed to the event's audit key; bodies can be deleted after retention and the chain still
//! verifies. One signature, a [`BatchHead`], covers all entries up to its sequence number.
//!
//! An HPKE box for each check would cost more than the check. So a gate draws the key of an [`AuditSession`] at start,
//! seals that once to the audit key, and seals bodies under keys derived from it.

use std::fmt;

use thiserror::Error;

use crate::codec::CodecError;
use crate::hpke_box::BoxError;
use crate::ids::{EventId, Timestamp};
use crate::note::NoteError;

mod body;
mod chain;
mod proof;
mod session;

pub use body::{CheckNonce, Consulted, Override, ReceiptBody};
pub use chain::{BatchHead, ReceiptChain, ReceiptEntry, VerifiedBatchHead, verify_batch_head};
pub use proof::{Receipt, VerifiedReceipt, verify_receipt, verify_receipt_given};
pub use session::{AuditSession, OpenedBody, SealedBody, SealedSession};

/// Why a receipt, or a part of it, is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Not a gate's name.
    #[error("gate name {given:?}: use 1 to 64 of a-z, 0-9 and '-'")]
    GateName {
        /// What was given.
        given: String,
    },
    /// The entry does not follow the one before.
    #[error("receipt chain: entry {given} follows entry {last}")]
    Sequence {
        /// The last sequence number of the chain.
        last: u64,
        /// That of the entry.
        given: u64,
    },
    /// The entries do not hash to the signed head.
    #[error("receipt chain: the entries do not lead to the signed head {sequence}")]
    Chain {
        /// The head's sequence number.
        sequence: u64,
    },
    /// Signed by another gate, or at another event.
    #[error("receipt head: not of {expected}")]
    Origin {
        /// The origin asked for.
        expected: ReceiptOrigin,
    },
    /// The head's text is not a batch head.
    #[error("receipt head: line {line}: {problem}")]
    Head {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The head is not signed by the gate.
    #[error("receipt head: {0}")]
    Note(#[from] NoteError),
    /// The gate's key had come to its end by then, as when the gate was stolen.
    #[error(
        "receipt {sequence}: signed under a key of the gate that counts for nothing from {} ms on",
        until.millis()
    )]
    Ended {
        /// The entry.
        sequence: u64,
        /// When the key came to its end.
        until: Timestamp,
    },
    /// The sealed body is of another session.
    #[error("receipt {sequence}: sealed in another audit session")]
    Session {
        /// The receipt's sequence number.
        sequence: u64,
    },
    /// The session or the body does not open.
    #[error("receipt {sequence}: the body does not open in this audit session")]
    Sealed {
        /// The receipt's sequence number.
        sequence: u64,
    },
    /// The audit key does not open the session.
    #[error("audit session: {0}")]
    Box(#[from] BoxError),
    /// The opened body is not the one that the entry commits to.
    #[error("receipt {sequence}: the body is not the one that the entry commits to")]
    Commitment {
        /// The receipt's sequence number.
        sequence: u64,
    },
    /// The receipt's text does not parse.
    #[error("receipt: line {line}: {problem}")]
    Text {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A part does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Whose receipts: `lanyard/EVENT/gate/NAME/receipts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptOrigin(String);

impl ReceiptOrigin {
    /// The receipts of the gate called `gate`, 1 to 64 of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    /// [`ReceiptError::GateName`].
    pub fn new(event: &EventId, gate: &str) -> Result<Self, ReceiptError> {
        let valid = (1..=64).contains(&gate.len())
            && gate.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid {
            Ok(Self(format!("lanyard/{event}/gate/{gate}/receipts")))
        } else {
            Err(ReceiptError::GateName { given: gate.to_owned() })
        }
    }

    /// The origin as text; also the name of the gate's receipt key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReceiptOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;

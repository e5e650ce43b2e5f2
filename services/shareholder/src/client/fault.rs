//! What went wrong with a holder.

use std::fmt;

use lanyard_core::threshold::{ShareIndex, ThresholdError};
use tonic::Code;

/// One holder's failure to answer one batch as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The holder's party.
    pub holder: String,
    /// Its place among the shares.
    pub index: ShareIndex,
    /// What it did.
    pub kind: FaultKind,
}

/// What a holder did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// It was not reached, or answered too late.
    Unreachable {
        /// The transport's reason.
        reason: String,
    },
    /// It refused.
    Refused {
        /// The status.
        code: Code,
        /// Its reason.
        reason: String,
    },
    /// It answered as another holder.
    WrongIndex {
        /// The index in the answer.
        answered: u32,
    },
    /// Its answer is malformed, or the proof of it does not hold.
    BadAnswer {
        /// What is wrong with it.
        problem: ThresholdError,
    },
}

impl Fault {
    /// Whether the answer itself is wrong: the holder, or whoever has its key, misbehaves.
    #[must_use]
    pub const fn is_misbehaviour(&self) -> bool {
        matches!(self.kind, FaultKind::WrongIndex { .. } | FaultKind::BadAnswer { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holder, index, kind } = self;
        write!(f, "{holder} (share {index}): ")?;
        match kind {
            FaultKind::Unreachable { reason } => write!(f, "not reached: {reason}"),
            FaultKind::Refused { code, reason } => write!(f, "refused ({code:?}): {reason}"),
            FaultKind::WrongIndex { answered } => {
                write!(f, "misbehaves: it answered as share {answered}")
            }
            FaultKind::BadAnswer { problem } => write!(f, "misbehaves: {problem}"),
        }
    }
}

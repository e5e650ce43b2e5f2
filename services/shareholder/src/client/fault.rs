//! What went wrong with a holder.

use std::fmt;

use lanyard_core::threshold::{ShareIndex, ThresholdError};
use lanyard_wire::pseudonym::v1 as wire;
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
    /// It has no share of the caller's generation: one of the two has not completed a refresh.
    OtherGeneration {
        /// What it says.
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

/// How often a holder failed, and how the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultCount {
    /// How often.
    pub count: u64,
    /// The last one.
    pub last: Fault,
}

impl FaultCount {
    /// For the one who asked for pseudonyms.
    #[must_use]
    pub fn to_wire(&self) -> wire::HolderFault {
        wire::HolderFault {
            holder: self.last.holder.clone(),
            share: self.last.index.get().into(),
            count: self.count,
            misbehaves: self.last.is_misbehaviour(),
            last: self.last.kind.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holder, index, kind } = self;
        let misbehaves = if self.is_misbehaviour() { "misbehaves: " } else { "" };
        write!(f, "{holder} (share {index}): {misbehaves}{kind}")
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { reason } => write!(f, "not reached: {reason}"),
            Self::Refused { code, reason } => write!(f, "refused ({code:?}): {reason}"),
            Self::OtherGeneration { reason } => write!(f, "refused: {reason}"),
            Self::WrongIndex { answered } => write!(f, "it answered as share {answered}"),
            Self::BadAnswer { problem } => write!(f, "{problem}"),
        }
    }
}

//! Where subjects stand and what matched, as numbers in the store and as words elsewhere.

use lanyard_core::identity::KeyKind;
use lanyard_store::StoreError;
use lanyard_wire::screening::v1 as wire;

/// How screening ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No objection.
    Cleared = 1,
    /// Objection.
    Refused = 2,
    /// Waits for an officer.
    Pending = 3,
}

impl Verdict {
    pub(crate) const fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(column: &'static str, number: i64) -> Result<Self, StoreError> {
        Self::from_released(column, number)?
            .ok_or(StoreError::Corrupt { table: "subjects", column })
    }

    /// Reads a column where 0 means that nothing was released yet.
    pub(crate) fn from_released(
        column: &'static str,
        number: i64,
    ) -> Result<Option<Self>, StoreError> {
        match number {
            0 => Ok(None),
            1 => Ok(Some(Self::Cleared)),
            2 => Ok(Some(Self::Refused)),
            3 => Ok(Some(Self::Pending)),
            _ => Err(StoreError::Corrupt { table: "subjects", column }),
        }
    }

    /// `CLEARED`, `REFUSED` or `PENDING`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cleared => "CLEARED",
            Self::Refused => "REFUSED",
            Self::Pending => "PENDING",
        }
    }
}

impl From<Verdict> for wire::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Cleared => Self::Cleared,
            Verdict::Refused => Self::Refused,
            Verdict::Pending => Self::Pending,
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecidedBy {
    /// A rule: what matches.
    Rule = 1,
    /// An officer.
    Officer = 2,
}

impl DecidedBy {
    pub(crate) const fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Rule),
            2 => Ok(Self::Officer),
            _ => Err(StoreError::Corrupt { table: "subjects", column: "decided_by" }),
        }
    }
}

/// The kind of a list's key in the store; the strongest first.
pub(crate) const fn kind_number(kind: KeyKind) -> i64 {
    kind.byte() as i64
}

/// Reads [`kind_number`] as the wire's word.
pub(crate) fn wire_kind(number: i64) -> Result<wire::KeyKind, StoreError> {
    match u8::try_from(number).ok().and_then(KeyKind::from_byte) {
        Some(KeyKind::Document) => Ok(wire::KeyKind::Document),
        Some(KeyKind::NameBirthDate) => Ok(wire::KeyKind::NameBirthDate),
        Some(KeyKind::Variant) => Ok(wire::KeyKind::Variant),
        _ => Err(StoreError::Corrupt { table: "list_keys", column: "kind" }),
    }
}

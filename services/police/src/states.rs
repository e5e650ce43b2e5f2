//! Where subjects stand and what matched, as numbers in the store and as words elsewhere.

use lanyard_core::identity::{KeyKind, Strength};
use lanyard_store::StoreError;
use lanyard_wire::police::v1 as police;
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

impl TryFrom<wire::Verdict> for Verdict {
    type Error = ();
    fn try_from(verdict: wire::Verdict) -> Result<Self, ()> {
        match verdict {
            wire::Verdict::Cleared => Ok(Self::Cleared),
            wire::Verdict::Refused => Ok(Self::Refused),
            wire::Verdict::Pending => Ok(Self::Pending),
            wire::Verdict::Unspecified => Err(()),
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
    /// A rule, over an officer's decision that a list has overtaken: only an officer can clear now.
    Review = 3,
}

impl DecidedBy {
    pub(crate) const fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Rule),
            2 => Ok(Self::Officer),
            3 => Ok(Self::Review),
            _ => Err(StoreError::Corrupt { table: "subjects", column: "decided_by" }),
        }
    }
}

/// Where a request for disclosure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DisclosureState {
    /// Asked.
    Asked = 1,
    /// The committee refused.
    Refused = 2,
    /// Disclosed, and the preimage is the one that was submitted.
    Holds = 3,
    /// Disclosed, and it is not.
    Mismatch = 4,
    /// Given up before there was an answer.
    Over = 5,
}

impl DisclosureState {
    pub(crate) const fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Asked),
            2 => Ok(Self::Refused),
            3 => Ok(Self::Holds),
            4 => Ok(Self::Mismatch),
            5 => Ok(Self::Over),
            _ => Err(StoreError::Corrupt { table: "disclosures", column: "state" }),
        }
    }
}

impl From<DisclosureState> for police::DisclosureState {
    fn from(state: DisclosureState) -> Self {
        match state {
            DisclosureState::Asked => Self::Asked,
            DisclosureState::Refused => Self::Refused,
            DisclosureState::Holds => Self::Holds,
            DisclosureState::Mismatch => Self::Mismatch,
            DisclosureState::Over => Self::Over,
        }
    }
}

/// The kind of a list's key in the store; the strongest first.
pub(crate) const fn kind_number(kind: KeyKind) -> i64 {
    kind.byte() as i64
}

/// Reads [`kind_number`].
pub(crate) fn kind_from_number(number: i64) -> Result<KeyKind, StoreError> {
    let kind = u8::try_from(number).ok().and_then(KeyKind::from_byte);
    kind.ok_or(StoreError::Corrupt { table: "list_keys", column: "kind" })
}

/// Whether a match by this kind of key is sure, so that it refuses by itself; any other is a case for an officer.
pub(crate) const fn is_strong(kind: KeyKind) -> bool {
    matches!(kind.strength(), Strength::Strong)
}

/// Reads [`kind_number`] as the wire's word.
pub(crate) fn wire_kind(number: i64) -> Result<wire::KeyKind, StoreError> {
    match kind_from_number(number)? {
        KeyKind::Document => Ok(wire::KeyKind::Document),
        KeyKind::NameBirthDate => Ok(wire::KeyKind::NameBirthDate),
        KeyKind::Variant => Ok(wire::KeyKind::Variant),
        _ => Err(StoreError::Corrupt { table: "list_keys", column: "kind" }),
    }
}

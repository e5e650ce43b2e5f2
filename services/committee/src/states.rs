//! Where people and prints stand, as numbers in the store and as words elsewhere.

use lanyard_core::record::Status;
use lanyard_store::StoreError;
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::screening::v1::Verdict;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident in $table:literal . $column:literal { $($(#[$variant_doc:meta])* $variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant = $number),+
        }

        impl $name {
            pub(crate) const fn number(self) -> i64 {
                self as i64
            }

            pub(crate) fn from_number(number: i64) -> Result<Self, StoreError> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(StoreError::Corrupt { table: $table, column: $column }),
                }
            }
        }
    };
}

states! {
    /// What screening said of a person.
    Screening in "people"."screening" {
        /// Not submitted, or changed since.
        New = 1,
        /// Submitted.
        Pending = 2,
        /// No objection.
        Cleared = 3,
        /// Objection.
        Refused = 4,
    }
}

states! {
    /// Where one print of a badge stands.
    PrintState in "prints"."state" {
        /// Waits for the issuing station.
        Waiting = 1,
        /// Issued.
        Issued = 2,
        /// A later print took its place.
        Replaced = 3,
    }
}

states! {
    /// Where a request of the police stands.
    DisclosureState in "disclosures"."state" {
        /// Waits for somebody.
        Asked = 1,
        /// Approved.
        Approved = 2,
        /// Refused.
        Refused = 3,
        /// The police ask no longer.
        Over = 4,
    }
}

impl From<DisclosureState> for wire::DisclosureState {
    fn from(state: DisclosureState) -> Self {
        match state {
            DisclosureState::Asked => Self::Asked,
            DisclosureState::Approved => Self::Approved,
            DisclosureState::Refused => Self::Refused,
            DisclosureState::Over => Self::Over,
        }
    }
}

impl Screening {
    pub(crate) fn from_verdict(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Cleared => Some(Self::Cleared),
            Verdict::Refused => Some(Self::Refused),
            Verdict::Pending => Some(Self::Pending),
            Verdict::Unspecified => None,
        }
    }
}

impl From<Screening> for wire::ScreeningState {
    fn from(state: Screening) -> Self {
        match state {
            Screening::New => Self::New,
            Screening::Pending => Self::Pending,
            Screening::Cleared => Self::Cleared,
            Screening::Refused => Self::Refused,
        }
    }
}

impl From<PrintState> for wire::PrintState {
    fn from(state: PrintState) -> Self {
        match state {
            PrintState::Waiting => Self::Waiting,
            PrintState::Issued => Self::Issued,
            PrintState::Replaced => Self::Replaced,
        }
    }
}

/// A person's own status in the store: valid, suspended or revoked.
pub(crate) fn status_from_number(number: i64) -> Result<Status, StoreError> {
    u8::try_from(number)
        .ok()
        .and_then(Status::from_byte)
        .filter(|status| matches!(status, Status::Valid | Status::Suspended | Status::Revoked))
        .ok_or(StoreError::Corrupt { table: "people", column: "status" })
}

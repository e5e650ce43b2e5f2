//! What a decision says: to whoever decides, and, less of it, to whoever stands at the gate.

use std::fmt;
use std::sync::Arc;

/// The answer, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Let in.
    Admit,
    /// Not known well enough; never a yes.
    Undetermined,
    /// Send to the desk.
    Refer,
    /// Do not let in.
    Deny,
}

impl Verdict {
    /// Its stable name: `ADMIT`, `UNDETERMINED`, `REFER` or `DENY`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admit => "ADMIT",
            Self::Undetermined => "UNDETERMINED",
            Self::Refer => "REFER",
            Self::Deny => "DENY",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why, as the gate shows it (DESIGN §8). An admission has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not a badge of this event.
    Malformed,
    /// Knowledge is too old, or was never there.
    Stale,
    /// The committee does not know the badge.
    Unknown,
    /// The committee took the badge back, or replaced this print of it.
    Revoked,
    /// For the desk to say.
    Refer,
    /// Good later.
    NotYetValid,
    /// No longer good.
    Expired,
    /// Good at another venue.
    WrongVenue,
    /// Good in another zone.
    WrongZone,
    /// Good on another day or at another hour.
    WrongTime,
    /// A directory of this epoch, or its key, is not here.
    NoDirectory,
    /// The machine's clock is wrong.
    Clock,
}

impl Reason {
    /// Its stable name, for example `WRONG_ZONE`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::Stale => "STALE",
            Self::Unknown => "UNKNOWN",
            Self::Revoked => "REVOKED",
            Self::Refer => "REFER",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::Expired => "EXPIRED",
            Self::WrongVenue => "WRONG_VENUE",
            Self::WrongZone => "WRONG_ZONE",
            Self::WrongTime => "WRONG_TIME",
            Self::NoDirectory => "NO_DIRECTORY",
            Self::Clock => "CLOCK",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $byte:literal, $name:literal, $verdict:ident, $reason:expr;)*) => {
        /// The exact cause: for receipts and desks, never for the gate's display.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Cause {
            $($(#[$doc])* $cause = $byte,)*
        }

        impl Cause {
            /// All, in the order of their encodings.
            pub const ALL: &'static [Self] = &[$(Self::$cause,)*];

            /// Its stable name, for example `BINDINGS_DIFFER`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$cause => $name,)* }
            }

            /// What it leads to.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$cause => Verdict::$verdict,)* }
            }

            /// What the gate shows of it; nothing for an admission.
            #[must_use]
            pub const fn reason(self) -> Option<Reason> {
                match self { $(Self::$cause => $reason,)* }
            }
        }
    };
}

causes! {
    /// Two fresh positive attestations.
    Admitted = 1, "ADMITTED", Admit, None;
    /// The text does not parse or is of another event.
    Malformed = 2, "MALFORMED", Deny, Some(Reason::Malformed);
    /// Knowledge is older than the zone's limit, or no quorum ever vouched for it.
    Stale = 3, "STALE", Undetermined, Some(Reason::Stale);
    /// The committee's directory of the epoch, or its key, is absent.
    CommitteeMissing = 4, "COMMITTEE_MISSING", Undetermined, Some(Reason::NoDirectory);
    /// The police's directory of the epoch, or its key, is absent.
    PoliceMissing = 5, "POLICE_MISSING", Undetermined, Some(Reason::NoDirectory);
    /// The committee's record does not open.
    CommitteeUnreadable = 6, "COMMITTEE_UNREADABLE", Undetermined, Some(Reason::Stale);
    /// The police's record does not open.
    PoliceUnreadable = 7, "POLICE_UNREADABLE", Undetermined, Some(Reason::Stale);
    /// The record names a profile that its table does not have.
    ProfileMissing = 8, "PROFILE_MISSING", Undetermined, Some(Reason::Stale);
    /// The committee has no record.
    Unknown = 9, "UNKNOWN", Deny, Some(Reason::Unknown);
    /// The committee took the badge back.
    Revoked = 10, "REVOKED", Deny, Some(Reason::Revoked);
    /// The committee replaced this print of the badge.
    Reprinted = 11, "REPRINTED", Deny, Some(Reason::Revoked);
    /// The committee stopped the badge for now.
    CommitteeSuspended = 12, "COMMITTEE_SUSPENDED", Refer, Some(Reason::Refer);
    /// The committee's record has a status that it should not have.
    CommitteeNotGood = 13, "COMMITTEE_NOT_GOOD", Refer, Some(Reason::Refer);
    /// The police did not clear the person, or stopped the badge.
    PoliceNotGood = 14, "POLICE_NOT_GOOD", Refer, Some(Reason::Refer);
    /// The police have no verdict yet.
    PoliceNotYet = 15, "POLICE_NOT_YET", Refer, Some(Reason::Refer);
    /// The police have no record.
    PoliceAbsent = 16, "POLICE_ABSENT", Refer, Some(Reason::Refer);
    /// What the committee vouches for is not what the police cleared.
    BindingsDiffer = 17, "BINDINGS_DIFFER", Refer, Some(Reason::Refer);
    /// Chance.
    SecondaryCheck = 18, "SECONDARY_CHECK", Refer, Some(Reason::Refer);
    /// Before the first minute.
    NotYetValid = 19, "NOT_YET_VALID", Deny, Some(Reason::NotYetValid);
    /// After the last minute.
    Expired = 20, "EXPIRED", Deny, Some(Reason::Expired);
    /// A venue outside the profile.
    WrongVenue = 21, "WRONG_VENUE", Deny, Some(Reason::WrongVenue);
    /// A zone outside the profile.
    WrongZone = 22, "WRONG_ZONE", Deny, Some(Reason::WrongZone);
    /// A day or hour outside the profile.
    WrongTime = 23, "WRONG_TIME", Deny, Some(Reason::WrongTime);
    /// A supervisor let someone in against the decision; only in the receipt of an override.
    LetIn = 24, "LET_IN", Admit, None;
    /// A supervisor kept someone out against the decision; only in the receipt of an override.
    KeptOut = 25, "KEPT_OUT", Deny, Some(Reason::Refer);
    /// The machine's clock is known to be wrong, so that nobody can say how old knowledge is, or which epoch this is.
    ClockWrong = 26, "CLOCK_WRONG", Undetermined, Some(Reason::Clock);
}

impl Cause {
    /// Its byte in receipts: 1 to 26.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Reads the byte of a receipt.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.byte() == byte)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An answer with its exact cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    cause: Cause,
    age_millis: Option<u64>,
    marked_stale: bool,
    category: Option<Arc<str>>,
}

impl Decision {
    pub(super) const fn new(cause: Cause, age_millis: Option<u64>) -> Self {
        Self { cause, age_millis, marked_stale: false, category: None }
    }

    pub(super) const fn admit(
        age_millis: Option<u64>,
        marked_stale: bool,
        category: Option<Arc<str>>,
    ) -> Self {
        Self { cause: Cause::Admitted, age_millis, marked_stale, category }
    }

    /// The answer.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.cause.verdict()
    }

    /// Why, as the gate shows it.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        self.cause.reason()
    }

    /// Why exactly; not for the gate's display.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// The age of the older authority's knowledge in seconds, rounded up; `None` if it has none or it did not matter.
    #[must_use]
    pub fn age_seconds(&self) -> Option<u64> {
        self.age_millis.map(|age| age.div_ceil(1_000))
    }

    /// Whether this admits on knowledge that is not fresh.
    #[must_use]
    pub const fn marked_stale(&self) -> bool {
        self.marked_stale
    }

    /// The category of whoever is admitted; `None` without a profile.
    #[must_use]
    pub fn category(&self) -> Option<&Arc<str>> {
        self.category.as_ref()
    }

    /// Whether a supervisor may override it: anything but an admission and a malformed text.
    #[must_use]
    pub const fn may_be_overridden(&self) -> bool {
        !matches!(self.cause, Cause::Admitted | Cause::Malformed)
    }

    /// The same of a machine whose clock is known to be wrong: what is too old or absent by that clock is its fault.
    #[must_use]
    pub fn by_a_wrong_clock(self) -> Self {
        match self.cause {
            Cause::Stale | Cause::CommitteeMissing | Cause::PoliceMissing => {
                Self { cause: Cause::ClockWrong, ..self }
            }
            _ => self,
        }
    }

    /// The worse of two answers to one question; of equal verdicts the one on older knowledge, else `self`.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |decision: &Self| {
            let age = decision.age_millis.unwrap_or(u64::MAX);
            (decision.verdict(), decision.marked_stale, age)
        };
        if rank(&other) > rank(&self) { other } else { self }
    }

    /// What the gate may show: of a referral nothing but that it is one.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let verdict = self.verdict();
        let age_matters = matches!(verdict, Verdict::Admit | Verdict::Undetermined);
        Shown {
            verdict,
            reason: self.reason(),
            category: self.category.clone(),
            age_seconds: if age_matters { self.age_seconds() } else { None },
            marked_stale: self.marked_stale,
        }
    }
}

/// What the gate may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The answer.
    pub verdict: Verdict,
    /// Why; `None` for an admission.
    pub reason: Option<Reason>,
    /// The category of whoever is admitted.
    pub category: Option<Arc<str>>,
    /// How old knowledge is, of an admission or when undetermined.
    pub age_seconds: Option<u64>,
    /// Whether that is not fresh, of an admission.
    pub marked_stale: bool,
}

impl fmt::Display for Shown {
    /// One line, for example `DENY WRONG_ZONE`, `ADMIT Athlete` or `UNDETERMINED STALE, knowledge is 340 s old`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.name())?;
        if let Some(reason) = self.reason.filter(|reason| *reason != Reason::Refer) {
            write!(f, " {reason}")?;
        }
        if let Some(category) = &self.category {
            write!(f, " {category}")?;
        }
        match self.age_seconds {
            Some(age) if self.marked_stale || self.verdict == Verdict::Undetermined => {
                write!(f, ", knowledge is {age} s old")
            }
            _ => Ok(()),
        }
    }
}

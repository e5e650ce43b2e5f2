//! What pseudonyms are computed for, and how many.

use std::fmt;
use std::sync::Arc;

use lanyard_core::ids::Authority;
use lanyard_core::manifest::Manifest;
use lanyard_wire::pseudonym::v1 as wire;

use crate::ledger::Counts;

/// What pseudonyms are computed for; quotas are set for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The committee enrols people.
    Enrolment,
    /// The police load a watchlist.
    Watchlist,
    /// The police check one document.
    Check,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enrolment, Self::Watchlist, Self::Check];

    /// `enrolment`, `watchlist` or `check`: the name in manifests and ledgers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enrolment => "enrolment",
            Self::Watchlist => "watchlist",
            Self::Check => "check",
        }
    }

    /// The purpose of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// The only party that may ask for this purpose.
    #[must_use]
    pub const fn caller(self) -> Authority {
        match self {
            Self::Enrolment => Authority::Committee,
            Self::Watchlist | Self::Check => Authority::Police,
        }
    }

    /// The purpose on the wire; `None` if unspecified or unknown to this version.
    #[must_use]
    pub fn from_wire(value: i32) -> Option<Self> {
        match wire::Purpose::try_from(value) {
            Ok(wire::Purpose::Enrolment) => Some(Self::Enrolment),
            Ok(wire::Purpose::Watchlist) => Some(Self::Watchlist),
            Ok(wire::Purpose::Check) => Some(Self::Check),
            Ok(wire::Purpose::Unspecified) | Err(_) => None,
        }
    }
}

impl From<Purpose> for wire::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Enrolment => Self::Enrolment,
            Purpose::Watchlist => Self::Watchlist,
            Purpose::Check => Self::Check,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many evaluations a holder grants for a purpose, padding included, for as long as the event lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Who may ask.
    pub caller: Authority,
    /// What for.
    pub purpose: Purpose,
    /// How many evaluations.
    pub evaluations: u64,
}

impl Limit {
    /// What a manifest grants at `holder`, a party's name. Quotas of a purpose that is not the caller's, or not known to
    /// this version, grant nothing.
    #[must_use]
    pub fn of_holder(manifest: &Manifest, holder: &str) -> Vec<Self> {
        let limit = |purpose: Purpose| {
            let caller = purpose.caller();
            let evaluations = manifest.quota(holder, caller.name(), purpose.name());
            Self { caller, purpose, evaluations }
        };
        Purpose::ALL.into_iter().map(limit).filter(|limit| limit.evaluations > 0).collect()
    }
}

/// How much of one quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Who may ask.
    pub caller: Authority,
    /// What for.
    pub purpose: Purpose,
    /// Evaluations counted.
    pub used: u64,
    /// Evaluations granted.
    pub quota: u64,
}

impl Usage {
    /// One for each caller and purpose with a quota or a count; a quota that was taken away stands as 0.
    #[must_use]
    pub fn list(limits: &[Limit], counts: &Counts) -> Vec<Self> {
        let usage = |purpose: Purpose| {
            let caller = purpose.caller();
            let limit =
                limits.iter().find(|limit| (limit.caller, limit.purpose) == (caller, purpose));
            let used = counts.get(&(caller, purpose)).copied();
            (limit.is_some() || used.is_some()).then(|| Self {
                caller,
                purpose,
                used: used.unwrap_or_default(),
                quota: limit.map_or(0, |limit| limit.evaluations),
            })
        };
        Purpose::ALL.into_iter().filter_map(usage).collect()
    }
}

/// The limits of one holder as of now: asked for each batch, so that a new manifest takes effect at once.
pub type QuotaSource = Arc<dyn Fn() -> Vec<Limit> + Send + Sync>;

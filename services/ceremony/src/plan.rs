//! What the parties agree on before an event: a TOML file that all of them review.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lanyard_core::decision::{AccessPoint, StalenessTier};
use lanyard_core::ids::{Epoch, EventId, Hash, Timestamp};
use lanyard_core::manifest::{ManifestError, Padding, Quota, Screening, Venue, Zone};
use lanyard_core::note::VerifyingKey;
use lanyard_core::profile::EventTimeZone;
use lanyard_env::Files;
use lanyard_party::{TomlError, parse_toml, read_toml};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::member::{GateName, Member};

/// Why a plan is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// A field that does not hold; the plan's fields bear the manifest's names.
    #[error("event plan: {0}")]
    Invalid(#[from] ManifestError),
    /// Not a party that can do it.
    #[error(
        "event plan: {field}: {member} cannot, or is withdrawn; use committee, police, sponsor or trustee"
    )]
    NotAble {
        /// The field.
        field: &'static str,
        /// Who stands there.
        member: Member,
    },
    /// A member that a gate cannot follow.
    #[error(
        "event plan: gates.upstreams: {gate} cannot follow {member}; use committee, police, sponsor or another gate of the plan"
    )]
    NoUpstream {
        /// The gate.
        gate: GateName,
        /// Who stands there.
        member: Member,
    },
    /// Gates that only follow each other.
    #[error(
        "event plan: gates.upstreams: {gate} hears of no authority, however far its upstreams are followed; \
         give it committee, police or sponsor, or a gate that has one of them"
    )]
    NoSource {
        /// The gate.
        gate: GateName,
    },
    /// An event cannot do without it.
    #[error(
        "event plan: withdrawn: an event cannot do without {member}; only the sponsor can be left out, and a trustee is \
         replaced by another (ceremony replace-trustee)"
    )]
    Needed {
        /// Who stands there.
        member: Member,
    },
    /// A name stands twice.
    #[error("event plan: {field}: {name} stands there twice")]
    Twice {
        /// The field.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// A gate that the plan does not have.
    #[error("event plan: there is no [[gates]] with the name {gate}; add it to the plan first")]
    NoGate {
        /// The gate.
        gate: GateName,
    },
    /// What cannot change once the event runs.
    #[error(
        "event plan: {field} cannot change while the event runs; put back what the manifest says"
    )]
    Fixed {
        /// The field.
        field: &'static str,
    },
}

/// One event as its parties agreed on it. The manifest is made of it and of the members' public keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventPlan {
    /// The event's id.
    pub event: EventId,
    /// Its name for people.
    pub title: String,
    /// The zone in which days and hours are meant, for example `Europe/Zurich`.
    pub time_zone: EventTimeZone,
    /// Milliseconds from one tick to the next.
    pub tick_millis: u32,
    /// By how many milliseconds a time may be ahead of the clock.
    pub skew_millis: u32,
    /// How many witnesses make a checkpoint count.
    pub quorum: u8,
    /// Which members witness.
    pub witnesses: Vec<Member>,
    /// Who is cut off for good: the sponsor, or nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<Member>,
    /// Witnesses outside the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_witnesses: Vec<ForeignWitness>,
    /// What badges may say their bearers are.
    pub categories: Vec<String>,
    /// Certificates that nobody shall accept any more, as `lanyard ceremony certificate-key` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_certificates: Vec<Hash>,
    /// Epochs.
    pub epochs: PlannedEpochs,
    /// How changes hide among other rows.
    pub padding: Padding,
    /// How screening answers.
    pub screening: Screening,
    /// Who holds the pseudonym key.
    pub share_holders: PlannedHolders,
    /// Staleness tiers by name.
    pub staleness_tiers: BTreeMap<String, StalenessTier>,
    /// Venues.
    pub venues: Vec<Venue>,
    /// Zones, each with its staleness tier.
    pub zones: Vec<Zone>,
    /// Doors, gates and desks.
    pub access_points: Vec<AccessPoint>,
    /// Gate services.
    pub gates: Vec<PlannedGate>,
    /// Gates that were stolen or given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expelled: Vec<ExpelledGate>,
    /// How many evaluations a share holder gives whom, and for what.
    #[serde(default)]
    pub quotas: Vec<Quota>,
}

/// When which epoch is live; the first starts at the last midnight before the manifest is drafted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedEpochs {
    /// Number of the first.
    pub first: Epoch,
    /// Length of each in minutes.
    pub length_minutes: u32,
    /// How many minutes before its start an epoch is published whole.
    pub publish_lead_minutes: u32,
}

/// Who holds the pseudonym key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedHolders {
    /// How many of them it takes.
    pub threshold: u8,
    /// The holders; their place from 1 is the index of their share.
    pub holders: Vec<Member>,
}

/// A witness that is no party of the event, such as a public C2SP witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignWitness {
    /// Its name.
    pub name: String,
    /// Its cosignature key.
    pub key: VerifyingKey,
    /// Where it takes checkpoints: the URL to which `/add-checkpoint` is appended.
    pub url: String,
}

/// A gate service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedGate {
    /// Its name, `gate-…`.
    pub name: GateName,
    /// The access points that it serves.
    pub access_points: Vec<String>,
    /// Whom it follows, in this order.
    #[serde(default = "sponsor_only")]
    pub upstreams: Vec<Member>,
}

/// A gate that was stolen or given up. It stays in the plan: a name that was expelled is not given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpelledGate {
    /// Its name.
    pub gate: GateName,
    /// Since when its receipts do not count, for example `2027-07-03T18:30:00Z`: when it was out of sight, not when that was
    /// noticed.
    #[serde(with = "crate::time_text")]
    pub since: Timestamp,
}

fn sponsor_only() -> Vec<Member> {
    vec![Member::Sponsor]
}

impl EventPlan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// [`TomlError`] names file, line and column.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Self, TomlError> {
        read_toml(files, path)
    }

    /// Parses a plan; `path` stands in errors only.
    ///
    /// # Errors
    /// [`TomlError`] names line and column.
    pub fn parse(path: &Path, text: &str) -> Result<Self, TomlError> {
        parse_toml(path, text)
    }

    /// All members: the fixed ones that are not withdrawn, then the gates in the plan's order.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let gates = self.gates.iter().map(|gate| Member::Gate(gate.name.clone()));
        let fixed = Member::FIXED.into_iter().filter(|member| !self.withdrawn.contains(member));
        fixed.chain(gates).collect()
    }

    /// The holders of the pseudonym key.
    #[must_use]
    pub fn holders(&self) -> &[Member] {
        &self.share_holders.holders
    }

    /// Whether a member witnesses.
    #[must_use]
    pub fn is_witness(&self, member: &Member) -> bool {
        self.witnesses.contains(member)
    }

    /// The gate of this name.
    ///
    /// # Errors
    /// [`PlanError::NoGate`].
    pub fn gate(&self, name: &GateName) -> Result<&PlannedGate, PlanError> {
        let gate = self.gates.iter().find(|gate| gate.name == *name);
        gate.ok_or_else(|| PlanError::NoGate { gate: name.clone() })
    }

    /// Takes a member that is gone out of the gates' upstreams. A gate that hears of no authority without it follows `instead`.
    pub(crate) fn take_upstream_out(&mut self, gone: &Member, instead: &[Member]) {
        let mut followers = Vec::new();
        for (place, gate) in self.gates.iter_mut().enumerate() {
            let before = gate.upstreams.len();
            gate.upstreams.retain(|upstream| upstream != gone);
            if gate.upstreams.len() < before {
                followers.push(place);
            }
        }
        for place in followers {
            if self.has_source(&self.gates[place]) {
                continue;
            }
            let PlannedGate { name, upstreams, .. } = &mut self.gates[place];
            let is_itself = |member: &Member| matches!(member, Member::Gate(own) if own == name);
            let missing = instead.iter().filter(|one| !is_itself(one) && !upstreams.contains(one));
            let missing: Vec<_> = missing.cloned().collect();
            upstreams.extend(missing);
        }
    }

    /// All whose keys the manifest speaks of: the members, then gates that are expelled.
    pub(crate) fn known_members(&self) -> Vec<Member> {
        let expelled = self.expelled.iter().map(|expelled| Member::Gate(expelled.gate.clone()));
        self.members().into_iter().chain(expelled).collect()
    }

    pub(crate) fn expects(&self, member: &Member) -> Result<(), PlanError> {
        match member {
            Member::Gate(name) => self.gate(name).map(drop),
            _ => Ok(()),
        }
    }

    /// Checks everything that can be checked without the members' keys.
    ///
    /// # Errors
    /// [`PlanError`], naming the field.
    pub fn check(&self) -> Result<(), PlanError> {
        if let Some(member) = self.withdrawn.iter().find(|one| **one != Member::Sponsor) {
            return Err(PlanError::Needed { member: member.clone() });
        }
        let able = |field, members: &[Member]| {
            let mut seen = BTreeSet::new();
            for member in members {
                if !member.witnesses() || self.withdrawn.contains(member) {
                    return Err(PlanError::NotAble { field, member: member.clone() });
                }
                if !seen.insert(member) {
                    return Err(PlanError::Twice { field, name: member.to_string() });
                }
            }
            Ok(())
        };
        able("witnesses", &self.witnesses)?;
        able("share_holders.holders", self.holders())?;
        self.gates.iter().try_for_each(|gate| self.check_upstreams(gate))?;
        for (index, expelled) in self.expelled.iter().enumerate() {
            let gate = &expelled.gate;
            let again = self.expelled[..index].iter().any(|other| other.gate == *gate);
            if again || self.gate(gate).is_ok() {
                return Err(PlanError::Twice { field: "expelled.gate", name: gate.to_string() });
            }
        }
        crate::draft::check(self)
    }

    fn check_upstreams(&self, gate: &PlannedGate) -> Result<(), PlanError> {
        let mut seen = BTreeSet::new();
        for member in &gate.upstreams {
            let serves = match member {
                Member::Gate(name) => *name != gate.name && self.gate(name).is_ok(),
                member => member.serves_feeds(),
            };
            if !serves {
                let (gate, member) = (gate.name.clone(), member.clone());
                return Err(PlanError::NoUpstream { gate, member });
            }
            if !seen.insert(member) {
                return Err(PlanError::Twice {
                    field: "gates.upstreams",
                    name: member.to_string(),
                });
            }
        }
        // Without upstreams a gate learns nothing, and says so when it starts.
        if gate.upstreams.is_empty() || self.has_source(gate) {
            return Ok(());
        }
        Err(PlanError::NoSource { gate: gate.name.clone() })
    }

    /// Whether a gate's upstreams, or those of the gates among them, lead to a party that mirrors from an authority.
    fn has_source(&self, gate: &PlannedGate) -> bool {
        let (mut known, mut waiting) = (BTreeSet::from([&gate.name]), vec![gate]);
        while let Some(gate) = waiting.pop() {
            for member in &gate.upstreams {
                let Member::Gate(name) = member else { return true };
                if known.insert(name) {
                    waiting.extend(self.gate(name));
                }
            }
        }
        false
    }
}

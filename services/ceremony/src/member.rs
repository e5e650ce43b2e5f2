//! Who takes part: one folder each.

use std::fmt;
use std::str::FromStr;

use lanyard_transport::{PartyName, PeerId, PeerIdError, Role};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The folder of the gates' certificate authority: apart, so that a stolen gate certifies nobody.
const GATE_AUTHORITY: &str = "gate-ca";

/// Not the name of a member of the ceremony.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error(
    "member {given:?}: use committee, police, sponsor, trustee, gate-ca, or a gate's name, which is gate- and 1 to 27 \
     of a-z, 0-9 and '-'"
)]
pub struct MemberError {
    given: String,
}

/// A member of the ceremony, with a folder of its own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Member {
    /// The organising committee.
    Committee,
    /// The police.
    Police,
    /// The sponsor.
    Sponsor,
    /// The trustee.
    Trustee,
    /// The certificate authority of all gates; it runs no service.
    GateAuthority,
    /// One gate.
    Gate(GateName),
}

/// A gate's name: `gate-` and 1 to 27 of `a-z`, `0-9` and `-`, but not `gate-ca`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GateName(String);

impl GateName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GateName {
    type Err = MemberError;
    fn from_str(text: &str) -> Result<Self, MemberError> {
        let valid = text.strip_prefix("gate-").is_some_and(|rest| {
            (1..=27).contains(&rest.len())
                && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        });
        if valid && text != GATE_AUTHORITY {
            Ok(Self(text.to_owned()))
        } else {
            Err(MemberError { given: text.to_owned() })
        }
    }
}

impl TryFrom<String> for GateName {
    type Error = MemberError;
    fn try_from(text: String) -> Result<Self, MemberError> {
        text.parse()
    }
}

impl From<GateName> for String {
    fn from(name: GateName) -> Self {
        name.0
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Member {
    /// The members that every event has, gates apart.
    pub const FIXED: [Self; 5] =
        [Self::Committee, Self::Police, Self::Sponsor, Self::Trustee, Self::GateAuthority];

    /// Its name, which is its folder's.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Committee => "committee",
            Self::Police => "police",
            Self::Sponsor => "sponsor",
            Self::Trustee => "trustee",
            Self::GateAuthority => GATE_AUTHORITY,
            Self::Gate(name) => name.as_str(),
        }
    }

    /// Its party; all gates and their authority are one.
    #[must_use]
    pub const fn party(&self) -> PartyName {
        match self {
            Self::Committee => PartyName::Committee,
            Self::Police => PartyName::Police,
            Self::Sponsor => PartyName::Sponsor,
            Self::Trustee => PartyName::Trustee,
            Self::GateAuthority | Self::Gate(_) => PartyName::Gate,
        }
    }

    /// The member that certifies for a party.
    #[must_use]
    pub const fn authority_of(party: PartyName) -> Self {
        match party {
            PartyName::Committee => Self::Committee,
            PartyName::Police => Self::Police,
            PartyName::Sponsor => Self::Sponsor,
            PartyName::Trustee => Self::Trustee,
            PartyName::Gate => Self::GateAuthority,
        }
    }

    /// The identity of its service; `None` for the gates' authority, which runs none.
    #[must_use]
    pub fn service(&self) -> Option<PeerId> {
        match self {
            Self::GateAuthority => None,
            member => Some(
                PeerId::new(member.party(), Role::Service, member.name())
                    .expect("members' names are names of peers"),
            ),
        }
    }

    /// The identity of a person or desk of its party. A gate's people are named after it, `GATE.NAME`: who is expelled with a
    /// stolen gate is nobody at the others.
    ///
    /// # Errors
    /// [`PeerIdError::Name`].
    pub fn person(&self, role: Role, name: &str) -> Result<PeerId, PeerIdError> {
        match self {
            // The name alone must be one, or its path would not be.
            Self::Gate(gate) => {
                PeerId::new(self.party(), role, name)?;
                PeerId::new(self.party(), role, &format!("{gate}.{name}"))
            }
            _ => PeerId::new(self.party(), role, name),
        }
    }

    /// Whether it attests: committee and police.
    #[must_use]
    pub const fn is_authority(&self) -> bool {
        matches!(self, Self::Committee | Self::Police)
    }

    /// Whether it has a certificate authority: all but the single gates.
    #[must_use]
    pub const fn certifies(&self) -> bool {
        !matches!(self, Self::Gate(_))
    }

    /// Whether it witnesses logs: all but the gates.
    #[must_use]
    pub const fn witnesses(&self) -> bool {
        matches!(self, Self::Committee | Self::Police | Self::Sponsor | Self::Trustee)
    }
}

impl FromStr for Member {
    type Err = MemberError;
    fn from_str(text: &str) -> Result<Self, MemberError> {
        match Self::FIXED.into_iter().find(|member| member.name() == text) {
            Some(member) => Ok(member),
            None => text.parse().map(Self::Gate),
        }
    }
}

impl TryFrom<String> for Member {
    type Error = MemberError;
    fn try_from(text: String) -> Result<Self, MemberError> {
        text.parse()
    }
}

impl From<Member> for String {
    fn from(member: Member) -> Self {
        member.name().to_owned()
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_paths_are_refused() {
        for member in Member::FIXED {
            assert_eq!(member.name().parse(), Ok(member.clone()));
            assert_eq!(Member::authority_of(member.party()), member);
        }
        assert_eq!("gate-north-1".parse::<Member>().unwrap().party(), PartyName::Gate);
        assert_eq!("gate-ca".parse::<Member>(), Ok(Member::GateAuthority));
        for bad in ["", "gate", "gate-", "gate-../x", "gate-A", "north", "gate-x/y"] {
            assert!(bad.parse::<Member>().is_err(), "{bad:?}");
        }
        assert!("gate-ca".parse::<GateName>().is_err());
    }
}

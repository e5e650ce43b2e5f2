//! Who is at the other end: `spiffe://PARTY/ROLE/NAME`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name in bytes.
const MAX_NAME: usize = 64;

/// Why text is not an identity.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerIdError {
    /// Not of the form `spiffe://PARTY/ROLE/NAME`.
    #[error("identity {given:?}: expected spiffe://PARTY/ROLE/NAME")]
    Form {
        /// What was given.
        given: String,
    },
    /// Not a party.
    #[error("party {given:?}: use committee, police, sponsor, trustee or gate")]
    Party {
        /// What was given.
        given: String,
    },
    /// Not a role.
    #[error("role {given:?}: use service, operator, desk, scanner or supervisor")]
    Role {
        /// What was given.
        given: String,
    },
    /// Not a name.
    #[error("name {given:?}: use 1 to 64 of a-z, 0-9, '.', '-' and '_'")]
    Name {
        /// What was given.
        given: String,
    },
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident, $error:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $type {
            $($(#[$variant_doc])* $variant),+
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in identities and text.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl FromStr for $type {
            type Err = PeerIdError;

            fn from_str(text: &str) -> Result<Self, PeerIdError> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(PeerIdError::$error { given: text.to_owned() }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names! {
    /// A party of the event; each has its own certificate authority.
    PartyName, Party {
        /// The organising committee.
        Committee = "committee",
        /// The interior ministry.
        Police = "police",
        /// The hosting platform.
        Sponsor = "sponsor",
        /// The trusted third party.
        Trustee = "trustee",
        /// The venue edge.
        Gate = "gate",
    }
}

names! {
    /// What a caller is within its party.
    Role, Role {
        /// The party's server.
        Service = "service",
        /// A named person who imports, issues and suspends.
        Operator = "operator",
        /// A desk.
        Desk = "desk",
        /// A gate's scanner.
        Scanner = "scanner",
        /// A named person who may override a gate.
        Supervisor = "supervisor",
    }
}

/// One caller or server. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId {
    party: PartyName,
    role: Role,
    name: Arc<str>,
}

impl PeerId {
    /// An identity from its parts.
    ///
    /// # Errors
    /// [`PeerIdError::Name`].
    pub fn new(party: PartyName, role: Role, name: &str) -> Result<Self, PeerIdError> {
        let plain = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        // RFC 3986 would resolve "." and ".." away.
        let valid = (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(plain)
            && !matches!(name, "." | "..");
        if valid {
            Ok(Self { party, role, name: name.into() })
        } else {
            Err(PeerIdError::Name { given: name.chars().take(MAX_NAME).collect() })
        }
    }

    /// The party.
    #[must_use]
    pub const fn party(&self) -> PartyName {
        self.party
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The name, unique within party and role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        let parts = text
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(party, rest)| rest.split_once('/').map(|(role, name)| (party, role, name)));
        let Some((party, role, name)) = parts else {
            return Err(PeerIdError::Form { given: text.chars().take(128).collect() });
        };
        Self::new(party.parse()?, role.parse()?, name)
    }
}

impl TryFrom<String> for PeerId {
    type Error = PeerIdError;

    fn try_from(text: String) -> Result<Self, PeerIdError> {
        text.parse()
    }
}

impl From<PeerId> for String {
    fn from(peer: PeerId) -> Self {
        peer.to_string()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.party, self.role, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for &party in PartyName::ALL {
            for &role in Role::ALL {
                let peer = PeerId::new(party, role, "a.b-c_9").unwrap();
                assert_eq!(peer.to_string().parse(), Ok(peer));
            }
        }
        assert_eq!(
            "spiffe://gate/scanner/north-1".parse(),
            PeerId::new(PartyName::Gate, Role::Scanner, "north-1")
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "spiffe://police",
            "spiffe://police/service",
            "spiffe://police/service/",
            "spiffe://police/service/a/b",
            "spiffe://police/service/a?b",
            "spiffe://police/service/a%20b",
            "spiffe://police/service/..",
            "spiffe://police/service/A",
            "spiffe://Police/service/a",
            "spiffe://police:1/service/a",
            "spiffe://police/root/a",
            "spiffe://nobody/service/a",
            "SPIFFE://police/service/a",
            "https://police/service/a",
            " spiffe://police/service/a",
            "spiffe://police/service/a\n",
            &format!("spiffe://police/service/{}", "x".repeat(65)),
        ] {
            assert!(bad.parse::<PeerId>().is_err(), "{bad:?}");
        }
    }
}

//! Names and numbers of the protocol, one type each.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a name or number is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// Not an event id.
    #[error("event id {given:?}: use 1 to 64 of a-z, 0-9 and '-'")]
    Event {
        /// What was given.
        given: String,
    },
    /// Not an authority's name.
    #[error("authority {given:?}: use committee or police")]
    Authority {
        /// What was given.
        given: String,
    },
    /// Not an audience's name.
    #[error("audience {given:?}: use gate, police or sponsor")]
    Audience {
        /// What was given.
        given: String,
    },
    /// Not a 32-byte hash in base64.
    #[error("hash: 44 characters of base64 (32 bytes) expected")]
    Hash,
}

/// One event: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(String);

impl EventId {
    /// Parses an event id.
    ///
    /// # Errors
    /// [`IdError::Event`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Event { given: text.to_owned() })
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as bytes, for derivations.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for EventId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A party that attests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// The organising committee.
    Committee,
    /// The interior ministry.
    Police,
}

impl Authority {
    /// Both, in the order of their encodings.
    pub const ALL: [Self; 2] = [Self::Committee, Self::Police];

    /// `committee` or `police`: the name in derivations, origins and text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Committee => "committee",
            Self::Police => "police",
        }
    }

    /// Its byte in fixed encodings: 1 or 2.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Committee => 1,
            Self::Police => 2,
        }
    }

    /// Reads the byte of a fixed encoding.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Committee),
            2 => Some(Self::Police),
            _ => None,
        }
    }

    /// Parses the name.
    ///
    /// # Errors
    /// [`IdError::Authority`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|authority| authority.name() == text)
            .ok_or_else(|| IdError::Authority { given: text.to_owned() })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// The gates; both authorities publish for them.
    Gate,
    /// The police; the committee publishes for them.
    Police,
    /// The sponsor; the committee publishes for it.
    Sponsor,
}

impl Audience {
    /// All, in the order of their encodings.
    pub const ALL: [Self; 3] = [Self::Gate, Self::Police, Self::Sponsor];

    /// `gate`, `police` or `sponsor`: the name in derivations and text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Police => "police",
            Self::Sponsor => "sponsor",
        }
    }

    /// Its byte in fixed encodings: 1, 2 or 3.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Gate => 1,
            Self::Police => 2,
            Self::Sponsor => 3,
        }
    }

    /// Reads the byte of a fixed encoding.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Gate),
            2 => Some(Self::Police),
            3 => Some(Self::Sponsor),
            _ => None,
        }
    }

    /// The audiences that an authority publishes for.
    #[must_use]
    pub const fn published_by(authority: Authority) -> &'static [Self] {
        match authority {
            Authority::Committee => &Self::ALL,
            Authority::Police => &[Self::Gate],
        }
    }

    /// Parses the name.
    ///
    /// # Errors
    /// [`IdError::Audience`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|audience| audience.name() == text)
            .ok_or_else(|| IdError::Audience { given: text.to_owned() })
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The origin of an authority's log: `lanyard/EVENT/AUTHORITY` (C2SP tlog-checkpoint).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of `authority`'s log at `event`.
    #[must_use]
    pub fn new(event: &EventId, authority: Authority) -> Self {
        Self(format!("lanyard/{event}/{authority}"))
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A numbered period; handles do not link across epochs.
    Epoch(u32)
}
number! {
    /// A badge's number, stable across prints.
    BadgeNumber(u32)
}
number! {
    /// Which print of a badge: 1 at first, one more after each loss.
    PrintNumber(u16)
}

impl BadgeNumber {
    /// The first number of badges that the police issue to their own staff. The committee's numbers start from 1 and stay
    /// below, so that a number never names two badges, and tells whose they are.
    pub const FIRST_OF_POLICE: Self = Self(1_000_000_000);

    /// Who issues the badge of this number.
    #[must_use]
    pub const fn issuer(self) -> Authority {
        if self.0 < Self::FIRST_OF_POLICE.0 { Authority::Committee } else { Authority::Police }
    }
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Milliseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch; saturates.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole minutes since the Unix epoch, as records count them; saturates in the year 10136.
    #[must_use]
    pub const fn minutes(self) -> u32 {
        let minutes = self.0 / 60_000;
        if minutes > u32::MAX as u64 { u32::MAX } else { minutes as u32 }
    }

    /// This many milliseconds later; saturates.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This many milliseconds earlier; saturates at zero.
    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// Milliseconds from `earlier` to this; zero if it is not earlier.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The lookup key of one badge, audience, authority and epoch: 16 uniform bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle([u8; 16]);

impl Handle {
    /// Size in bytes.
    pub const SIZE: usize = 16;

    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first eight bytes as a big-endian number: the order of handles, and the path in the map.
    #[must_use]
    pub const fn top(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Handle {
    /// Only the first bytes: whole handles in logs would link a badge's checks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// A public digest of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// Size in bytes.
    pub const SIZE: usize = 32;

    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses standard base64 with padding.
    ///
    /// # Errors
    /// [`IdError::Hash`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let bytes = BASE64.decode(text).map_err(|_| IdError::Hash)?;
        Ok(Self(bytes.try_into().map_err(|_| IdError::Hash)?))
    }
}

impl From<blake3::Hash> for Hash {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.into())
    }
}

impl TryFrom<String> for Hash {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for Hash {
    /// Standard base64 with padding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_plain() {
        assert!(EventId::parse("games-2028").is_ok());
        for bad in ["", "Games", "a b", "é", &"x".repeat(65)] {
            assert!(EventId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_and_names_read_back() {
        for authority in Authority::ALL {
            assert_eq!(Authority::from_byte(authority.byte()), Some(authority));
            assert_eq!(Authority::parse(authority.name()), Ok(authority));
        }
        for audience in Audience::ALL {
            assert_eq!(Audience::from_byte(audience.byte()), Some(audience));
            assert_eq!(Audience::parse(audience.name()), Ok(audience));
        }
    }

    #[test]
    fn a_whole_handle_never_reaches_a_log() {
        let shown = format!("{:?}", Handle::new([0xab; 16]));
        assert_eq!(shown, "Handle(abab…)");
    }
}

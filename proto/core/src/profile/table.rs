//! The profile table of one directory: its encoding, and its sealed form that travels with the feed.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::session::MAX_DATES;
use super::{Days, Profile, ProfileError, Session};
use crate::audience_key::AudienceKey;
use crate::codec::{CodecError, Reader, Writer, join};
use crate::ids::{Epoch, Hash, Origin};
use crate::record::ProfileId;
use crate::record::cipher::Cipher;
use crate::secret::Context;

static TABLE: Context = Context::new("lanyard v1 profile table");

/// The version of the encoding.
const VERSION: u8 = 1;
/// Longest category, venue code or zone code in bytes.
const MAX_TEXT: usize = 64;
/// Most venues, zones or sessions of one profile.
const MAX_LIST: usize = 256;

/// The profiles of one authority, ordered by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileTable {
    profiles: Vec<Profile>,
}

impl ProfileTable {
    /// A table of these profiles in any order.
    ///
    /// # Errors
    /// [`ProfileError::Unrestricted`], [`ProfileError::Duplicate`] or [`ProfileError::Limit`]: texts have at most 64
    /// bytes, lists 256 entries, sessions 1 to 400 dates.
    pub fn new(mut profiles: Vec<Profile>) -> Result<Self, ProfileError> {
        profiles.sort_by_key(|profile| profile.id);
        if profiles.first().is_some_and(|first| first.id == ProfileId::UNRESTRICTED) {
            return Err(ProfileError::Unrestricted);
        }
        if let Some(pair) = profiles.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(ProfileError::Duplicate { id: pair[0].id });
        }
        profiles.iter().try_for_each(check_limits)?;
        Ok(Self { profiles })
    }

    /// The profile of this number; `None` for [`ProfileId::UNRESTRICTED`].
    #[must_use]
    pub fn get(&self, id: ProfileId) -> Option<&Profile> {
        let index = self.profiles.binary_search_by_key(&id, |profile| profile.id).ok()?;
        Some(&self.profiles[index])
    }

    /// All profiles, ordered by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Profile> {
        self.profiles.iter()
    }

    /// Version (1), count (4), and each profile: id (2), category, venues, zones, sessions.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION).u32(count(self.profiles.len()));
        for profile in &self.profiles {
            writer.u16(profile.id.get()).field(profile.category.as_bytes());
            for codes in [&profile.venues, &profile.zones] {
                writer.u32(count(codes.len()));
                for code in codes {
                    writer.field(code.as_bytes());
                }
            }
            writer.u32(count(profile.sessions.len()));
            for session in &profile.sessions {
                session.write(&mut writer);
            }
        }
        writer.into_vec()
    }

    /// Reads the encoding.
    ///
    /// # Errors
    /// [`ProfileError::Codec`], and as [`ProfileTable::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProfileError> {
        let mut reader = Reader::new("profile table", bytes);
        if reader.u8()? != VERSION {
            return Err(reader.invalid("unknown version").into());
        }
        let mut profiles = Vec::new();
        for _ in 0..reader.u32()? {
            let profile = read_profile(&mut reader)?;
            if profiles.last().is_some_and(|last: &Profile| last.id >= profile.id) {
                return Err(reader.invalid("profiles out of order").into());
            }
            profiles.push(profile);
        }
        reader.finish()?;
        Self::new(profiles)
    }

    /// Seals the table for the directory that `key` belongs to, with AES-256-GCM-SIV under `keyed_hash(G, "profiles")`.
    ///
    /// The same table always seals to the same bytes, so that it can be sealed again after a restart.
    #[must_use]
    pub fn seal(&self, key: &AudienceKey, origin: &Origin, epoch: Epoch) -> SealedProfiles {
        let mut bytes = self.to_bytes();
        let tag = cipher(key).seal(&[0; 12], &additional_data(origin, epoch), &mut bytes);
        bytes.extend_from_slice(&tag);
        SealedProfiles { bytes }
    }
}

/// A sealed profile table; public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedProfiles {
    bytes: Vec<u8>,
}

impl SealedProfiles {
    /// From bytes as received; their hash and key prove them.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Ciphertext and tag (16).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What stands in the map head: the hash of the sealed bytes, so that mirrors can check what they cannot read.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::new(TABLE.derive(&self.bytes))
    }

    /// Opens the table of the directory that `key` belongs to.
    ///
    /// # Errors
    /// [`ProfileError::Sealed`], and as [`ProfileTable::from_bytes`].
    pub fn open(
        &self,
        key: &AudienceKey,
        origin: &Origin,
        epoch: Epoch,
    ) -> Result<ProfileTable, ProfileError> {
        let sealed = || ProfileError::Sealed { epoch };
        let mut table = self.bytes.clone();
        let table = cipher(key)
            .open(&[0; 12], &additional_data(origin, epoch), &mut table)
            .ok_or_else(sealed)?;
        ProfileTable::from_bytes(table)
    }
}

fn cipher(key: &AudienceKey) -> Cipher {
    let key = blake3::keyed_hash(key.expose_bytes(), b"profiles");
    Cipher::new(&Zeroizing::new(key.into()))
}

/// `origin ‖ e`.
fn additional_data(origin: &Origin, epoch: Epoch) -> Vec<u8> {
    join(&[origin.as_str().as_bytes(), &epoch.get().to_be_bytes()])
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("tables are far below 2^32 entries")
}

fn check_limits(profile: &Profile) -> Result<(), ProfileError> {
    let check = |what, given, limit| {
        if given > limit {
            return Err(ProfileError::Limit { id: profile.id, what, given, limit });
        }
        Ok(())
    };
    check("category, in bytes,", profile.category.len(), MAX_TEXT)?;
    check("venues", profile.venues.len(), MAX_LIST)?;
    check("zones", profile.zones.len(), MAX_LIST)?;
    check("sessions", profile.sessions.len(), MAX_LIST)?;
    for code in profile.venues.iter().chain(&profile.zones) {
        check("a venue or zone code, in bytes,", code.len(), MAX_TEXT)?;
    }
    for session in &profile.sessions {
        if let Days::Dates(dates) = &session.days {
            check("the dates of a session", dates.len(), MAX_DATES)?;
            if dates.is_empty() {
                return Err(ProfileError::Session { given: session.to_string() });
            }
            if let Some(date) = dates.iter().find(|date| date.year() < 0) {
                return Err(ProfileError::Days { given: date.to_string() });
            }
        }
    }
    Ok(())
}

fn read_profile(reader: &mut Reader<'_>) -> Result<Profile, CodecError> {
    let id = ProfileId::new(reader.u16()?);
    let category = reader.text(MAX_TEXT)?.into();
    let (venues, zones) = (read_codes(reader)?, read_codes(reader)?);
    let mut sessions = Vec::new();
    for _ in 0..read_count(reader)? {
        sessions.push(Session::read(reader)?);
    }
    Ok(Profile { id, category, venues, zones, sessions })
}

fn read_codes(reader: &mut Reader<'_>) -> Result<BTreeSet<String>, CodecError> {
    let mut codes = BTreeSet::new();
    for _ in 0..read_count(reader)? {
        let code = reader.text(MAX_TEXT)?;
        if codes.last().is_some_and(|last: &String| last.as_str() >= code) {
            return Err(reader.invalid("codes out of order"));
        }
        codes.insert(code.to_owned());
    }
    Ok(codes)
}

fn read_count(reader: &mut Reader<'_>) -> Result<usize, CodecError> {
    match reader.u32()? as usize {
        count @ 0..=MAX_LIST => Ok(count),
        _ => Err(reader.invalid("list too long")),
    }
}

//! Access profiles: defined by operators, published sealed beside the records that name them.

use std::collections::{BTreeSet, HashMap};

use lanyard_core::manifest::Manifest;
use lanyard_core::profile::{Profile, ProfileError, ProfileTable, Session};
use lanyard_core::record::ProfileId;
use lanyard_store::{DamagedRow, Store, StoreError, next_number, without};
use lanyard_wire::committee::v1 as wire;
use lanyard_wire::staff::v1 as staff;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::police_badges;

/// A profile as the store keeps it, in the words of the wire.
#[derive(Serialize, Deserialize)]
struct StoredProfile {
    category: String,
    venues: Vec<String>,
    zones: Vec<String>,
    sessions: Vec<String>,
}

/// Ids by code.
pub(crate) struct ProfileIndex(HashMap<String, i64>);

impl ProfileIndex {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT code, id FROM profiles").fetch_all(store.pool()).await?;
        Ok(Self(rows.into_iter().collect()))
    }

    pub(crate) fn id(&self, code: &str) -> Option<i64> {
        self.0.get(code).copied()
    }
}

/// Checks profiles; the error says which one and what is wrong.
pub(crate) fn check(profiles: &[wire::Profile], manifest: &Manifest) -> Result<(), String> {
    for profile in profiles {
        let code = &profile.code;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=32).contains(&code.len()) || !code.bytes().all(valid) {
            return Err(format!("profile {code:?}: a code has 1 to 32 of A-Z a-z 0-9 _ -"));
        }
        if !manifest.categories.contains(&profile.category) {
            return Err(format!(
                "profile {code}: category {:?} is not in the manifest",
                profile.category
            ));
        }
        if let Some(venue) = profile.venues.iter().find(|code| manifest.venue(code).is_none()) {
            return Err(format!("profile {code}: venue {venue:?} is not in the manifest"));
        }
        if let Some(zone) = profile.zones.iter().find(|code| manifest.zone(code).is_none()) {
            return Err(format!("profile {code}: zone {zone:?} is not in the manifest"));
        }
        let stored = StoredProfile::from(profile.clone());
        stored.parse(1).map_err(|problem| format!("profile {code}: {problem}"))?;
    }
    Ok(())
}

/// Stores profiles; those whose code exists keep their id. Returns how many there are.
pub(crate) async fn put(store: &Store, profiles: Vec<wire::Profile>) -> Result<u32, StoreError> {
    let mut transaction = store.begin().await?;
    for profile in profiles {
        let (code, police) = (profile.code.clone(), profile.police);
        let body =
            serde_json::to_string(&StoredProfile::from(profile)).expect("strings always serialise");
        let known: Option<(i64,)> = sqlx::query_as("SELECT id FROM profiles WHERE code = $1")
            .bind(&code)
            .fetch_optional(&mut *transaction)
            .await?;
        let id = match known {
            Some((id,)) => id,
            None => next_number(&mut transaction, "profile").await?,
        };
        sqlx::query(
            "INSERT INTO profiles (id, code, body, police) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET body = $3, police = $4",
        )
        .bind(id)
        .bind(&code)
        .bind(body)
        .bind(i64::from(police))
        .execute(&mut *transaction)
        .await?;
        police_badges::mark_profile_changed(&mut transaction, &code).await?;
    }
    let (total,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM profiles").fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(total as u32)
}

/// The profiles that the police may give to their own staff, by code.
pub(crate) async fn offered(store: &Store) -> Result<Vec<staff::Profile>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT code, body FROM profiles WHERE police = 1 ORDER BY code")
            .fetch_all(store.pool())
            .await?;
    rows.into_iter()
        .map(|(code, body)| {
            let stored: StoredProfile = serde_json::from_str(&body)
                .map_err(|_| StoreError::Corrupt { table: "profiles", column: "body" })?;
            Ok(staff::Profile { code, category: stored.category })
        })
        .collect()
}

/// The table as published. A damaged profile is left out: whoever has it passes nowhere.
pub(crate) async fn table(
    store: &Store,
    damaged: &BTreeSet<DamagedRow>,
) -> Result<ProfileTable, StoreError> {
    let corrupt = || StoreError::Corrupt { table: "profiles", column: "body" };
    let sound = without("id", "profiles", damaged);
    let statement = format!("SELECT id, body FROM profiles WHERE id > 0{sound} ORDER BY id");
    let rows: Vec<(i64, String)> =
        sqlx::query_as(AssertSqlSafe(statement)).fetch_all(store.pool()).await?;
    let profiles = rows
        .iter()
        .map(|(id, body)| {
            let stored: StoredProfile = serde_json::from_str(body).map_err(|_| corrupt())?;
            stored.parse(*id as u16).map_err(|_| corrupt())
        })
        .collect::<Result<Vec<_>, _>>()?;
    ProfileTable::new(profiles).map_err(|_| corrupt())
}

impl From<wire::Profile> for StoredProfile {
    fn from(profile: wire::Profile) -> Self {
        let wire::Profile { category, venues, zones, sessions, .. } = profile;
        Self { category, venues, zones, sessions }
    }
}

impl StoredProfile {
    fn parse(&self, id: u16) -> Result<Profile, ProfileError> {
        let sessions = self.sessions.iter().map(|text| Session::parse(text));
        Ok(Profile {
            id: ProfileId::new(id),
            category: self.category.as_str().into(),
            venues: self.venues.iter().cloned().collect(),
            zones: self.zones.iter().cloned().collect(),
            sessions: sessions.collect::<Result<_, _>>()?,
        })
    }
}

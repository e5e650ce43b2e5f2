//! Badges of the police's own staff: the committee attests them by profile and binding, and is never told whose they are.
//!
//! The police hand over seeds, profile, validity and binding of each print. A badge is attested only under a profile that the
//! committee marked for the police, and can be stopped by its number like any other.

pub(crate) mod handover;
mod views;

pub(crate) use handover::Handover;
pub(crate) use views::{by_gate_tag, count, list};

use std::collections::BTreeSet;

use lanyard_authority::Entry;
use lanyard_core::badge::Seed;
use lanyard_core::binding::Binding;
use lanyard_core::ids::{Audience, Authority};
use lanyard_core::record::{Minutes, ProfileId, Record, Status};
use lanyard_party::{Cell, StoreKey};
use lanyard_store::{DamagedRow, Store, StoreError, Transaction, next_number, without};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::registry::RegistryError;
use crate::states::status_from_number;

/// Bytes of the seeds of one print: for gate, police and sponsor.
const SEEDS: usize = 96;

pub(crate) fn seeds_cell(print_id: i64) -> Cell<'static> {
    Cell { table: "police_prints", column: "seeds", row: print_id as u64 }
}

/// Puts all prints of a badge before the publisher again.
pub(crate) async fn mark_changed(
    transaction: &mut Transaction,
    badge_number: i64,
) -> Result<(), StoreError> {
    let prints: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM police_prints WHERE badge_number = $1 ORDER BY id")
            .bind(badge_number)
            .fetch_all(&mut **transaction)
            .await?;
    for (id,) in prints {
        let changed = next_number(transaction, "changed").await?;
        sqlx::query("UPDATE police_prints SET changed = $1 WHERE id = $2")
            .bind(changed)
            .bind(id)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Puts all badges under a profile before the publisher again: it was defined anew.
pub(crate) async fn mark_profile_changed(
    transaction: &mut Transaction,
    code: &str,
) -> Result<(), StoreError> {
    let badges: Vec<(i64,)> =
        sqlx::query_as("SELECT badge_number FROM police_badges WHERE profile = $1")
            .bind(code)
            .fetch_all(&mut **transaction)
            .await?;
    for (badge_number,) in badges {
        mark_changed(transaction, badge_number).await?;
    }
    Ok(())
}

/// What the publisher is to say of prints whose change numbers are in a range, with those; damaged ones are left out.
pub(crate) async fn entries(
    store: &Store,
    store_key: &StoreKey,
    (after, end): (i64, i64),
    damaged: &BTreeSet<DamagedRow>,
) -> Result<Vec<(u64, Entry)>, RegistryError> {
    let statement = format!(
        "SELECT i.id, i.seeds, i.replaced, i.changed, b.status, b.revoked, b.not_before, b.not_after, b.binding, \
         COALESCE(f.id, 0) AS profile_id, COALESCE(f.police, 0) AS offered FROM police_prints i \
         JOIN police_badges b ON b.badge_number = i.badge_number LEFT JOIN profiles f ON f.code = b.profile{} \
         WHERE i.changed > $1 AND i.changed <= $2{}{} ORDER BY i.changed",
        without("f.id", "profiles", damaged),
        without("i.id", "police_prints", damaged),
        without("i.badge_number", "police_badges", damaged),
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(after)
        .bind(end)
        .fetch_all(store.pool())
        .await
        .map_err(StoreError::from)?;
    rows.iter().map(|row| entry(store_key, row)).collect()
}

/// The condition on prints whose badge has no profile, but for damaged ones.
pub(crate) fn without_sound_profile(damaged: &BTreeSet<DamagedRow>) -> String {
    format!(
        "badge_number IN (SELECT b.badge_number FROM police_badges b WHERE NOT EXISTS \
         (SELECT 1 FROM profiles f WHERE f.code = b.profile{}))",
        without("f.id", "profiles", damaged)
    )
}

fn entry(store_key: &StoreKey, row: &AnyRow) -> Result<(u64, Entry), RegistryError> {
    let number = |column| row.try_get::<i64, _>(column).map_err(StoreError::from);
    let id = number("id")?;
    let sealed: Vec<u8> = row.try_get("seeds").map_err(StoreError::from)?;
    let opened = store_key.open(seeds_cell(id), &sealed)?;
    if opened.len() != SEEDS {
        return Err(StoreError::Corrupt { table: "police_prints", column: "seeds" }.into());
    }
    let seeds = opened.as_chunks::<32>().0.iter().map(|seed| Seed::from_bytes(*seed));
    let audiences = Audience::published_by(Authority::Committee).iter().copied();
    let binding: Vec<u8> = row.try_get("binding").map_err(StoreError::from)?;
    let binding = <[u8; Binding::SIZE]>::try_from(binding.as_slice())
        .map_err(|_| StoreError::Corrupt { table: "police_badges", column: "binding" })?;
    let record = Record {
        status: standing(
            number("replaced")? != 0,
            number("revoked")? != 0,
            number("offered")? != 0,
            status_from_number(number("status")?)?,
        ),
        profile: ProfileId::new(number("profile_id")? as u16),
        not_before: Minutes::new(number("not_before")? as u32),
        not_after: Minutes::new(number("not_after")? as u32),
        binding: Binding::new(binding),
    };
    let entry = Entry { id: id as u64, seeds: audiences.zip(seeds).collect(), record };
    Ok((number("changed")? as u64, entry))
}

/// What a print's record says; the worst of what both parties know of it.
const fn standing(replaced: bool, revoked: bool, offered: bool, own: Status) -> Status {
    match own {
        _ if replaced => Status::Reprinted,
        _ if revoked => Status::Revoked,
        Status::Valid if !offered => Status::Suspended,
        own => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_police_badge_is_good_only_under_a_profile_that_is_offered() {
        assert_eq!(standing(false, false, true, Status::Valid), Status::Valid);
        assert_eq!(standing(false, false, false, Status::Valid), Status::Suspended);
        assert_eq!(standing(false, false, false, Status::Revoked), Status::Revoked);
        assert_eq!(standing(false, true, true, Status::Suspended), Status::Revoked);
        assert_eq!(standing(true, true, true, Status::Valid), Status::Reprinted);
    }
}

//! Removing what the newest state needs no longer.
//!
//! An object goes if the newest list does not name it and it is older than that list by more than the retention, on the store's
//! own clock. Whoever wrote such an object and has not listed it by then never will: its list would go on from one that has
//! been replaced since, and the conditional write refuses it. The retention is for readers, which may have read an earlier list.

use std::collections::HashSet;
use std::time::Duration;

use lanyard_core::ids::Origin;

use crate::error::ObjectsError;
use crate::newest::Newest;
use crate::place::{Found, NEWEST, Place};

/// Removes old objects of a log; returns how many.
pub(crate) async fn sweep(
    place: &Place,
    origin: &Origin,
    keep: Duration,
) -> Result<usize, ObjectsError> {
    let Found::List { bytes, meta, .. } = place.newest(None).await? else { return Ok(0) };
    let Ok(newest) = Newest::from_bytes(&bytes, origin) else { return Ok(0) };
    let mut needed: HashSet<_> =
        newest.objects.iter().map(|object| place.path(&object.name())).collect();
    needed.insert(place.path(NEWEST));
    let numbered = place.path(NEWEST);
    let old = place.list("").await?.into_iter().filter(|found| {
        let age = (meta.last_modified - found.last_modified).to_std().unwrap_or_default();
        age > keep && !needed.contains(&found.location) && !found.location.prefix_matches(&numbered)
    });
    let old: Vec<_> = old.map(|found| found.location).collect();
    let count = old.len();
    place.delete(old).await?;
    Ok(count)
}

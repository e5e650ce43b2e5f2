//! Reading objects back. A store that damaged one shall be noticed while all can be archived anew, and not when somebody has
//! to start from it.

use lanyard_core::ids::Hash;

use crate::error::ObjectsError;
use crate::newest::{Newest, Object};
use crate::place::Place;

/// The name of an object that the list needs and the store does not have as it was written. Reads all of them, and stops at
/// the first.
pub(crate) async fn first_damaged(
    place: &Place,
    newest: &Newest,
) -> Result<Option<String>, ObjectsError> {
    for object in &newest.objects {
        if !is_whole(place, object).await? {
            return Ok(Some(object.name()));
        }
    }
    Ok(None)
}

/// Whether the store has an object as it was written.
pub(crate) async fn is_whole(place: &Place, object: &Object) -> Result<bool, ObjectsError> {
    let Some(found) = place.get(&object.name()).await? else { return Ok(false) };
    if found.meta.size != object.length {
        return Ok(false);
    }
    let mut stream = found.into_stream();
    let mut hasher = blake3::Hasher::new();
    while let Some(bytes) = place.next_bytes(&mut stream).await? {
        hasher.update(&bytes);
    }
    Ok(Hash::new(*hasher.finalize().as_bytes()) == object.hash)
}

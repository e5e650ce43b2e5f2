//! Tags over keys of lists and subjects: short keyed hashes that tell a flipped bit.
//!
//! There are millions of keys, so no trigger seals them: whoever writes them computes their tags, on either engine. A key that
//! is damaged cannot be found by what it was, so something else always says what must be there: the digest of its list, its
//! subject's tag, the block before it.

use lanyard_core::codec::join;
use lanyard_party::StoreKey;

use crate::ids::SubjectId;

/// Eight bytes: a damaged row passes once in 2⁶⁴ times.
fn tag(store_key: &StoreKey, what: &str, fields: &[&[u8]]) -> i64 {
    let hash = store_key.local_hash(what, &join(fields));
    i64::from_be_bytes(std::array::from_fn(|place| hash[place]))
}

/// Of an entry of a list, waiting or in force.
pub(crate) fn list_entry(store_key: &StoreKey, id: i64, list_id: i64, label: &str) -> i64 {
    let fields = [&id.to_be_bytes()[..], &list_id.to_be_bytes(), label.as_bytes()];
    tag(store_key, "list entry", &fields)
}

/// Of a key of an entry.
pub(crate) fn list_key(store_key: &StoreKey, entry: i64, hash: &[u8], kind: i64) -> i64 {
    tag(store_key, "list key", &[&entry.to_be_bytes(), hash, &kind.to_be_bytes()])
}

/// Of all keys of a subject, sorted.
pub(crate) fn subject_keys<'a>(
    store_key: &StoreKey,
    subject: &'a SubjectId,
    hashes: impl Iterator<Item = &'a [u8]>,
) -> i64 {
    let fields: Vec<&[u8]> = [subject.as_slice()].into_iter().chain(hashes).collect();
    tag(store_key, "subject keys", &fields)
}

/// Of a block of a run, and where the next begins: so a block that is not at its place is missed by the one before it.
pub(crate) fn block(
    store_key: &StoreKey,
    run: i64,
    first: &[u8],
    body: &[u8],
    next: Option<&[u8]>,
) -> i64 {
    let run = run.to_be_bytes();
    let fields: Vec<&[u8]> = [&run, first, body].into_iter().chain(next).collect();
    tag(store_key, "key block", &fields)
}

/// Of all runs, with their levels: each carries it, so one that is not there is missed by the others.
pub(crate) fn runs(store_key: &StoreKey, runs: &[(i64, i64)]) -> i64 {
    let numbers: Vec<u8> = runs
        .iter()
        .flat_map(|(id, level)| [id.to_be_bytes(), level.to_be_bytes()])
        .flatten()
        .collect();
    tag(store_key, "key runs", &[&numbers])
}

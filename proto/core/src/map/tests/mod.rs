//! The map held against a plain model of it, and its proofs against tampering.

mod snapshots;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// The root from the definition alone: recursive, with BLAKE3's public functions.
fn reference_root(depth: u8, rows: &BTreeMap<Handle, Row>) -> Hash {
    fn hash(context: &str, mut message: Vec<u8>) -> [u8; 32] {
        message.resize(message.len().next_multiple_of(64), 0);
        blake3::keyed_hash(&blake3::derive_key(context, &[]), &message).into()
    }
    fn subtree(depth: u8, first: u64, last: u64, rows: &BTreeMap<Handle, Row>) -> [u8; 32] {
        if depth > 0 {
            let middle = first + (last - first) / 2;
            let left = subtree(depth - 1, first, middle, rows);
            let right = subtree(depth - 1, middle + 1, last, rows);
            return hash("lanyard v1 node", [left, right].concat());
        }
        let inside = |row: &&Row| (first..=last).contains(&row.handle.top());
        let rows: Vec<&Row> = rows.values().filter(inside).collect();
        let mut message = (rows.len() as u32).to_be_bytes().to_vec();
        for row in rows {
            let (handle, record) = row.to_bytes().split_at(16).map_both(<[u8]>::to_vec);
            message.extend_from_slice(&handle);
            message.extend_from_slice(&hash("lanyard v1 record hash", record));
        }
        hash("lanyard v1 bucket", message)
    }
    Hash::new(subtree(depth, 0, u64::MAX, rows))
}

trait MapBoth<T> {
    fn map_both<U>(self, f: impl Fn(T) -> U) -> (U, U);
}

impl<T> MapBoth<T> for (T, T) {
    fn map_both<U>(self, f: impl Fn(T) -> U) -> (U, U) {
        (f(self.0), f(self.1))
    }
}

/// Handles from few values in the first and last bytes, so that they collide, cluster and share buckets; the rest are
/// uniform.
fn handle() -> impl Strategy<Value = Handle> {
    let edge = prop_oneof![Just(0x00), Just(0x80), Just(0xfe), Just(0xff)];
    let close = (edge.clone(), edge.clone(), edge).prop_map(|(first, second, last)| {
        let mut bytes = [first; 16];
        bytes[1] = second;
        bytes[15] = last;
        bytes
    });
    prop_oneof![close, any::<[u8; 16]>()].prop_map(Handle::new)
}

fn row() -> impl Strategy<Value = Row> {
    (handle(), 1..=u32::MAX, any::<u8>()).prop_map(|(handle, version, fill)| Row {
        handle,
        record: SealedRecord::new(version, [fill; 48]).unwrap(),
    })
}

fn rows(size: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Row>> {
    vec(row(), size).prop_map(|rows| {
        let mut seen = std::collections::BTreeSet::new();
        rows.into_iter().filter(|row| seen.insert(row.handle)).collect()
    })
}

fn model(rows: &[Row]) -> BTreeMap<Handle, Row> {
    rows.iter().map(|row| (row.handle, *row)).collect()
}

fn random_row(rng: &mut ChaCha8Rng) -> Row {
    let mut handle = [0; 16];
    let mut bytes = [0; 48];
    rng.fill_bytes(&mut handle);
    rng.fill_bytes(&mut bytes);
    let record = SealedRecord::new(rng.next_u32().max(1), bytes).unwrap();
    Row { handle: Handle::new(handle), record }
}

fn assert_holds(map: &Map, model: &BTreeMap<Handle, Row>) {
    assert!(map.rows().eq(model.values().copied()), "rows differ");
    assert_eq!(map.len(), model.len());
    assert_eq!(map.commitment().root, reference_root(map.depth(), model));
    for row in model.values() {
        assert!(map.get(&row.handle) == Some(row.record));
    }
}

proptest! {
    #[test]
    fn any_order_and_any_split_into_deltas_give_one_commitment(
        depth in 0_u8..7,
        steps in vec((rows(0..40), vec(any::<prop::sample::Index>(), 0..10)), 1..8),
    ) {
        let mut map = Map::build(depth, []).unwrap();
        let mut model = BTreeMap::new();
        for (upserts, removals) in steps {
            let handles: Vec<Handle> = model.keys().copied().collect();
            let mut removed: Vec<Handle> =
                removals.iter().filter(|_| !handles.is_empty()).map(|i| *i.get(&handles)).collect();
            removed.sort();
            removed.dedup();
            removed.retain(|handle| upserts.iter().all(|row| row.handle != *handle));
            for handle in &removed {
                model.remove(handle);
            }
            model.extend(upserts.iter().map(|row| (row.handle, *row)));
            let _ = map.apply(&Delta::new(removed, upserts).unwrap()).unwrap();
            assert_holds(&map, &model);
        }
        let built = Map::build(depth, model.values().rev().copied()).unwrap();
        prop_assert_eq!(built.commitment(), map.commitment());
        assert_holds(&built, &model);
    }

    #[test]
    fn revert_restores_rows_and_commitment(
        depth in 0_u8..6,
        before in rows(0..60),
        upserts in rows(0..60),
    ) {
        let mut map = Map::build(depth, before.iter().copied()).unwrap();
        let commitment = map.commitment();
        let is_put = |handle| upserts.iter().any(|row: &Row| row.handle == handle);
        let removed = before.iter().step_by(2).map(|row| row.handle).filter(|h| !is_put(*h));
        let delta = Delta::new(removed.collect(), upserts.clone()).unwrap();
        let undo = map.apply(&delta).unwrap();
        let applied = map.commitment();
        map.revert(undo.clone()).unwrap();
        prop_assert_eq!(map.commitment(), commitment);
        assert_holds(&map, &model(&before));
        if applied != commitment {
            prop_assert_eq!(map.revert(undo), Err(MapError::Undo));
            prop_assert_eq!(map.commitment(), commitment);
        }
    }

    #[test]
    fn a_delta_for_another_state_changes_nothing(
        depth in 0_u8..6,
        before in rows(1..40),
        upserts in rows(0..40),
        absent in handle(),
    ) {
        prop_assume!(before.iter().chain(&upserts).all(|row| row.handle != absent));
        let mut map = Map::build(depth, before.iter().copied()).unwrap();
        let commitment = map.commitment();
        let delta = Delta::new(vec![absent], upserts).unwrap();
        prop_assert_eq!(map.apply(&delta), Err(MapError::Missing { handle: absent }));
        prop_assert_eq!(map.commitment(), commitment);
        assert_holds(&map, &model(&before));
    }

    #[test]
    fn proofs_say_what_the_map_holds(depth in 0_u8..8, rows in rows(0..50), other in handle()) {
        let map = Map::build(depth, rows.iter().copied()).unwrap();
        let commitment = map.commitment();
        for handle in rows.iter().map(|row| row.handle).chain([other]) {
            let proof = map.prove(&handle);
            let expected = map.get(&handle).map(|record| RecordHash::of(&record));
            prop_assert_eq!(proof.verify(&commitment, &handle), Ok(expected));
            prop_assert_eq!(MapProof::from_bytes(&proof.to_bytes()).unwrap(), proof.clone());
            // For a handle in another bucket it proves nothing; in the same bucket it may, and then the truth.
            let answer = proof.verify(&commitment, &other);
            if bucket_of(depth, &handle) == bucket_of(depth, &other) {
                prop_assert_eq!(answer, Ok(map.get(&other).map(|r| RecordHash::of(&r))));
            } else if depth > 0 {
                prop_assert!(answer.is_err());
            }
        }
    }

    #[test]
    fn a_mutated_proof_never_verifies(
        depth in 0_u8..8,
        rows in rows(1..40),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
        pick in any::<prop::sample::Index>(),
        bits in 0_u8..=64,
    ) {
        let map = Map::build(depth, rows.iter().copied()).unwrap();
        let commitment = map.commitment();
        let handle = pick.get(&rows).handle;
        let mut bytes = map.prove(&handle).to_bytes();
        let at_byte = at.index(bytes.len());
        bytes[at_byte] ^= flip;
        if let Ok(proof) = MapProof::from_bytes(&bytes) {
            prop_assert!(proof.verify(&commitment, &handle).is_err());
        }
        let prefix = Prefix::of(&handle, bits);
        let mut bytes = map.prove_prefix(prefix).to_bytes();
        let at_byte = at.index(bytes.len());
        bytes[at_byte] ^= flip;
        if let Ok(proof) = PrefixProof::from_bytes(&bytes) {
            prop_assert!(proof.verify(&commitment, prefix).is_err());
        }
    }

    #[test]
    fn a_bucket_without_one_of_its_rows_proves_nothing(depth in 0_u8..4, rows in rows(1..40)) {
        let map = Map::build(depth, rows.iter().copied()).unwrap();
        for row in &rows {
            let mut without = map.clone();
            let _ = without.apply(&Delta::new(vec![row.handle], vec![]).unwrap()).unwrap();
            let absence = without.prove(&row.handle);
            prop_assert_eq!(absence.verify(&without.commitment(), &row.handle), Ok(None));
            prop_assert!(absence.verify(&map.commitment(), &row.handle).is_err());
            let presence = map.prove(&row.handle);
            prop_assert!(presence.verify(&without.commitment(), &row.handle).is_err());
        }
    }

    #[test]
    fn prefix_proofs_return_exactly_the_rows_with_that_prefix(
        depth in 0_u8..8,
        rows in rows(0..50),
        near in handle(),
        bits in 0_u8..=64,
        other in 0_u8..=64,
    ) {
        let map = Map::build(depth, rows.iter().copied()).unwrap();
        let commitment = map.commitment();
        let prefix = Prefix::of(&near, bits);
        let expected: Vec<Row> =
            model(&rows).into_values().filter(|row| prefix.contains(&row.handle)).collect();
        prop_assert_eq!(map.rows_under(prefix).collect::<Vec<_>>(), expected.clone());
        let proof = map.prove_prefix(prefix);
        let bytes = proof.to_bytes();
        prop_assert_eq!(PrefixProof::from_bytes(&bytes).unwrap(), proof.clone());
        prop_assert_eq!(proof.clone().verify(&commitment, prefix), Ok(expected));
        // The same proof for a longer or shorter prefix must not hide or invent rows.
        let other = Prefix::of(&near, other);
        if let Ok(rows) = proof.verify(&commitment, other) {
            prop_assert_eq!(rows, map.rows_under(other).collect::<Vec<_>>());
        }
    }

    #[test]
    fn deltas_read_back_and_bad_ones_are_refused(rows in rows(1..20), cut in any::<prop::sample::Index>()) {
        let (removed, upserts) = rows.split_at(rows.len() / 2);
        let removed: Vec<Handle> = removed.iter().map(|row| row.handle).collect();
        let delta = Delta::new(removed.clone(), upserts.to_vec()).unwrap();
        let bytes = delta.to_bytes();
        prop_assert_eq!(Delta::from_bytes(&bytes), Ok(delta));
        prop_assert!(Delta::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Delta::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());

        let twice = rows[0];
        let duplicate = |removed: &[Handle], upserts: &[Row]| {
            let refused = Delta::new(removed.to_vec(), upserts.to_vec())
                == Err(MapError::Duplicate { handle: twice.handle });
            let raw = Delta::unchecked(removed.to_vec(), upserts.to_vec());
            refused && Delta::from_bytes(&raw.to_bytes()).is_err()
        };
        prop_assert!(duplicate(&[twice.handle, twice.handle], &[]));
        prop_assert!(duplicate(&[twice.handle], &[twice]));
        prop_assert!(duplicate(&[], &[twice, twice]));
        let mut descending = rows.clone();
        descending.sort_by_key(|row| std::cmp::Reverse(row.handle));
        if descending.len() > 1 {
            let handles = descending.iter().map(|row| row.handle).collect();
            prop_assert!(Delta::from_bytes(&Delta::unchecked(handles, vec![]).to_bytes()).is_err());
            prop_assert!(Delta::from_bytes(&Delta::unchecked(vec![], descending).to_bytes()).is_err());
        }
    }

    #[test]
    fn decoders_never_panic(bytes in vec(any::<u8>(), 0..400), commitment_depth in any::<u8>()) {
        let commitment =
            Commitment { root: Hash::new([0; 32]), depth: commitment_depth, count: 1 };
        let prefix = Prefix::truncate(bytes.len() as u8, u64::MAX);
        let _ = Delta::from_bytes(&bytes);
        let proof = MapProof::from_bytes(&bytes).map(|p| p.verify(&commitment, &Handle::new([7; 16])));
        prop_assert!(!matches!(proof, Ok(Ok(_))));
        let proof = PrefixProof::from_bytes(&bytes).map(|p| p.verify(&commitment, prefix));
        prop_assert!(!matches!(proof, Ok(Ok(_))));
        let _ = Commitment::read(&mut Reader::new("commitment", &bytes));
        let _ = snapshot::Header::from_bytes(&bytes);
        prop_assert!(snapshot::Decoder::new().push(&bytes, &mut Vec::new()).is_err() || bytes.len() < 31);
    }
}

#[test]
fn a_proof_without_rows_for_an_unlikely_depth_does_not_panic() {
    let root = Hash::new([0; 32]);
    let empty = PrefixProof::from_bytes(&[0; 13]).unwrap();
    for depth in 0..=u8::MAX {
        let commitment = Commitment { root, depth, count: 0 };
        assert!(empty.clone().verify(&commitment, Prefix::new(0, 0).unwrap()).is_err());
    }
}

/// An authority that commits to a bucket which says two things of one handle, or hides a row where nobody looks.
#[test]
fn buckets_that_no_map_has_are_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut rows: Vec<Row> = (0..3).map(|_| random_row(&mut rng)).collect();
    rows.sort_by_key(|row| row.handle);
    let entry =
        |row: &Row| (*row.handle.as_bytes(), *RecordHash::of(&row.record).hash().as_bytes());
    let verify = |depth: u8, rows: &[Row], asked: &Handle| {
        let entries: Vec<([u8; 16], [u8; 32])> = rows.iter().map(entry).collect();
        let mut root = hash::bucket(entries.iter().map(|(handle, hash)| (handle, hash)));
        let mut proof = vec![depth];
        for height in 0..depth {
            proof.extend_from_slice(hash::empty(height));
            let is_right = asked.top() >> (64 - depth + height) & 1 == 1;
            let sibling = hash::empty(height);
            root = if is_right { hash::node(sibling, &root) } else { hash::node(&root, sibling) };
        }
        proof.extend_from_slice(&(rows.len() as u32).to_be_bytes());
        for (handle, hash) in &entries {
            proof.extend_from_slice(handle);
            proof.extend_from_slice(hash);
        }
        let commitment = Commitment { root: Hash::new(root), depth, count: 3 };
        MapProof::from_bytes(&proof).unwrap().verify(&commitment, asked)
    };
    let asked = rows[1].handle;
    assert_eq!(verify(0, &rows, &asked), Ok(Some(RecordHash::of(&rows[1].record))));
    let twice = [rows[0], rows[1], Row { handle: asked, ..rows[2] }];
    assert_eq!(verify(0, &twice, &asked), Err(ProofError::Rows));
    let descending = [rows[2], rows[1], rows[0]];
    assert_eq!(verify(0, &descending, &asked), Err(ProofError::Rows));
    let mut elsewhere = *asked.as_bytes();
    elsewhere[0] ^= 0x80;
    let elsewhere = Row { handle: Handle::new(elsewhere), ..rows[1] };
    assert_eq!(verify(1, &[rows[1]], &asked), Ok(Some(RecordHash::of(&rows[1].record))));
    assert_eq!(verify(1, &[elsewhere], &asked), Err(ProofError::Rows));
}

#[test]
fn prefixes_are_canonical() {
    assert!(Prefix::new(64, u64::MAX).is_ok());
    assert!(Prefix::new(0, 0).is_ok());
    assert!(Prefix::new(8, 0xab << 56).is_ok());
    assert_eq!(Prefix::new(65, 0), Err(ProofError::Prefix { bits: 65 }));
    assert_eq!(Prefix::new(8, 0xabc << 52), Err(ProofError::Prefix { bits: 8 }));
    assert_eq!(Prefix::new(0, 1), Err(ProofError::Prefix { bits: 0 }));
}

#[test]
fn depths_give_three_to_six_rows_a_bucket() {
    assert_eq!(depth_for(0), 0);
    assert_eq!(depth_for(6), 0);
    assert_eq!(depth_for(7), 1);
    assert_eq!(depth_for(1_000_000), 18);
    assert_eq!(depth_for(u32::MAX), MAX_DEPTH);
    for count in [7, 12, 13, 1_000, 50_000, 1_572_864] {
        let rows = f64::from(count) / f64::from(1_u32 << depth_for(count));
        assert!((3.0..=6.0).contains(&rows), "{count}: {rows}");
    }
    assert_eq!(Map::build(29, []).unwrap_err(), MapError::Depth { depth: 29 });
}

#[test]
fn a_handle_twice_is_refused() {
    let row = random_row(&mut ChaCha8Rng::seed_from_u64(1));
    let duplicate = Map::build(3, [row, row]).unwrap_err();
    assert_eq!(duplicate, MapError::Duplicate { handle: row.handle });
}

#[test]
fn chosen_handles_are_refused_and_change_nothing() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let crowd: Vec<Row> = (0..5_000_u16)
        .map(|i| {
            let mut bytes = [0x55; 16];
            bytes[14..].copy_from_slice(&i.to_be_bytes());
            Row { handle: Handle::new(bytes), record: random_row(&mut rng).record }
        })
        .collect();
    let refused = Map::build(4, crowd.iter().copied()).unwrap_err();
    assert!(matches!(refused, MapError::Crowded { .. }));

    let mut map = Map::build(12, (0..20_000).map(|_| random_row(&mut rng))).unwrap();
    let commitment = map.commitment();
    let before: Vec<Row> = map.rows().collect();
    let removed = before.iter().step_by(100).map(|row| row.handle).collect();
    let delta = Delta::new(removed, crowd).unwrap();
    assert!(matches!(map.apply(&delta), Err(MapError::Crowded { .. })));
    assert_eq!(map.commitment(), commitment);
    assert!(map.rows().eq(before));
}

/// A table at its greatest load, with every kind of change, against the model.
#[test]
fn a_full_table_keeps_its_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut map = Map::build(6, (0..300).map(|_| random_row(&mut rng))).unwrap();
    let mut model: BTreeMap<Handle, Row> = map.rows().map(|row| (row.handle, row)).collect();
    for round in 0..60 {
        let present: Vec<Handle> = model.keys().copied().collect();
        let removed: Vec<Handle> = present.iter().skip(round % 7).step_by(9).copied().collect();
        let changed = present.iter().skip(round % 5).step_by(11).map(|handle| Row {
            handle: *handle,
            ..random_row(&mut ChaCha8Rng::seed_from_u64(round as u64))
        });
        let mut upserts: Vec<Row> = changed.filter(|row| !removed.contains(&row.handle)).collect();
        upserts.extend((0..removed.len() + 3).map(|_| random_row(&mut rng)));
        for handle in &removed {
            model.remove(handle);
        }
        model.extend(upserts.iter().map(|row| (row.handle, *row)));
        let undo = map.apply(&Delta::new(removed, upserts).unwrap()).unwrap();
        assert_holds(&map, &model);
        let commitment = map.commitment();
        if round % 10 == 0 {
            let mut back = map.clone();
            back.revert(undo).unwrap();
            assert_ne!(back.commitment(), commitment);
        }
    }
}

#[test]
fn a_million_rows_fit_twice_their_size() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let count = 1_000_000;
    let mut map = Map::build(depth_for(count), (0..count).map(|_| random_row(&mut rng))).unwrap();
    let budget = 2 * Row::SIZE * count as usize;
    assert!(map.memory_bytes() < budget, "{}", map.memory_bytes());
    // Enough new rows to make the table grow.
    let more: Vec<Row> = (0..70_000).map(|_| random_row(&mut rng)).collect();
    let undo = map.apply(&Delta::new(vec![], more).unwrap()).unwrap();
    assert!(map.memory_bytes() < budget, "{}", map.memory_bytes());
    let commitment = map.commitment();
    let handle = map.rows().nth(500_000).unwrap().handle;
    assert!(matches!(map.prove(&handle).verify(&commitment, &handle), Ok(Some(_))));
    map.revert(undo).unwrap();
    assert_eq!(map.commitment().count, count);
}

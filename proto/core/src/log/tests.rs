//! The log against another implementation of RFC 6962, against checkpoints made elsewhere, and against tampering.

use std::path::PathBuf;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;

use super::*;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn leaf(i: u64) -> Vec<u8> {
    format!("leaf {i}").into_bytes()
}

fn log(size: u64) -> Log {
    (0..size).map(|i| leaf_hash(&leaf(i))).collect()
}

fn oracle(size: u64) -> Oracle {
    let mut oracle = Oracle::new();
    for i in 0..size {
        oracle.push(leaf(i));
    }
    oracle
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn agrees_with_another_implementation_at_all_small_sizes() {
    let log = log(40);
    for size in 1..=40 {
        let oracle = oracle(size);
        assert_eq!(log.root_at(size).unwrap().as_bytes()[..], oracle.root().as_bytes()[..]);
        for index in 0..size {
            let ours = log.inclusion_proof(index, size).unwrap();
            let theirs = oracle.prove_inclusion(index as usize);
            assert_eq!(concat(ours.hashes()), theirs.as_bytes(), "{index} of {size}");
        }
        for old in 1..size {
            let ours = log.consistency_proof(old, size).unwrap();
            let theirs = oracle.prove_consistency((size - old) as usize);
            assert_eq!(concat(ours.hashes()), theirs.as_bytes(), "{old} to {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_another_implementation_at_random_sizes(
        size in 2_u64..1_500,
        index in any::<prop::sample::Index>(),
        old in any::<prop::sample::Index>(),
    ) {
        let (log, oracle) = (log(size), oracle(size));
        let root = log.root();
        let theirs = oracle.root();
        prop_assert_eq!(&root.as_bytes()[..], &theirs.as_bytes()[..]);
        let index = index.index(size as usize);
        let inclusion = log.inclusion_proof(index as u64, size).unwrap();
        let theirs = oracle.prove_inclusion(index);
        prop_assert_eq!(concat(inclusion.hashes()), theirs.as_bytes());
        let old = 1 + old.index(size as usize - 1) as u64;
        let consistency = log.consistency_proof(old, size).unwrap();
        let theirs = oracle.prove_consistency((size - old) as usize);
        prop_assert_eq!(concat(consistency.hashes()), theirs.as_bytes());

        let hash = leaf_hash(&leaf(index as u64));
        prop_assert_eq!(verify_inclusion(&hash, index as u64, size, &inclusion, &root), Ok(()));
        let old_root = log.root_at(old).unwrap();
        prop_assert_eq!(verify_consistency(old, &old_root, size, &root, &consistency), Ok(()));
    }

    #[test]
    fn decoders_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(proof) = InclusionProof::from_bytes(&bytes) {
            prop_assert_eq!(proof.to_bytes(), bytes.clone());
        }
        if let Ok(proof) = ConsistencyProof::from_bytes(&bytes) {
            prop_assert_eq!(proof.to_bytes(), bytes);
        }
    }

    #[test]
    fn verifiers_never_panic_and_believe_no_noise(
        old in any::<u64>(),
        new in any::<u64>(),
        hashes in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash::new), 0..64),
    ) {
        let root = Hash::new([0; 32]);
        let inclusion = InclusionProof::new(hashes.clone()).unwrap();
        prop_assert!(verify_inclusion(&leaf_hash(b""), old, new, &inclusion, &root).is_err());
        let consistency = ConsistencyProof::new(hashes).unwrap();
        let other = Hash::new([1; 32]);
        prop_assert!(verify_consistency(old, &other, new, &root, &consistency).is_err());
    }
}

/// All the ways to alter a proof that keep it a list of hashes.
fn altered(hashes: &[Hash]) -> Vec<Vec<Hash>> {
    let mut variants = Vec::new();
    for i in 0..hashes.len() {
        let mut flipped = hashes.to_vec();
        let mut bytes = *flipped[i].as_bytes();
        bytes[i % 32] ^= 1;
        flipped[i] = Hash::new(bytes);
        variants.push(flipped);
        let mut removed = hashes.to_vec();
        removed.remove(i);
        variants.push(removed);
        let mut doubled = hashes.to_vec();
        doubled.insert(i, hashes[i]);
        variants.push(doubled);
        if i > 0 {
            let mut swapped = hashes.to_vec();
            swapped.swap(i - 1, i);
            variants.push(swapped);
        }
    }
    for extra in [Hash::new([0; 32]), empty_root(), leaf_hash(&leaf(0))] {
        variants.push([hashes, &[extra]].concat());
        variants.push([&[extra], hashes].concat());
    }
    variants
}

#[test]
fn an_inclusion_proof_proves_one_leaf_at_one_place_only() {
    const SIZE: u64 = 21;
    let log = log(SIZE);
    for size in 1..=SIZE {
        let root = log.root_at(size).unwrap();
        for index in 0..size {
            let proof = log.inclusion_proof(index, size).unwrap();
            let hash = leaf_hash(&leaf(index));
            assert_eq!(verify_inclusion(&hash, index, size, &proof, &root), Ok(()));
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(verify_inclusion(&hash, other, size, &proof, &root).is_err());
                assert!(
                    verify_inclusion(&leaf_hash(&leaf(other)), index, size, &proof, &root).is_err()
                );
            }
            for other in (1..=SIZE).filter(|other| *other != size) {
                let root = log.root_at(other).unwrap();
                assert!(verify_inclusion(&hash, index, other, &proof, &root).is_err());
            }
            for hashes in altered(proof.hashes()) {
                let proof = InclusionProof::new(hashes).unwrap();
                assert!(verify_inclusion(&hash, index, size, &proof, &root).is_err());
            }
        }
    }
}

#[test]
fn a_consistency_proof_proves_one_pair_of_logs_only() {
    const SIZE: u64 = 18;
    let log = log(SIZE);
    let fork: Log = (0..SIZE).map(|i| leaf_hash(&leaf(i + u64::from(i == 0)))).collect();
    for new in 1..=SIZE {
        let new_root = log.root_at(new).unwrap();
        for old in 1..=new {
            let old_root = log.root_at(old).unwrap();
            let proof = log.consistency_proof(old, new).unwrap();
            let verify = |old, old_root: &Hash, new, new_root: &Hash, proof: &_| {
                verify_consistency(old, old_root, new, new_root, proof)
            };
            assert_eq!(verify(old, &old_root, new, &new_root, &proof), Ok(()));
            let forked = fork.root_at(old).unwrap();
            assert!(verify(old, &forked, new, &new_root, &proof).is_err());
            let forked = fork.root_at(new).unwrap();
            assert!(verify(old, &old_root, new, &forked, &proof).is_err());
            for other in (1..=SIZE).filter(|other| *other != old) {
                let other_root = log.root_at(other).unwrap();
                assert!(
                    verify(other, &other_root, new, &new_root, &proof).is_err()
                        || other == new && old == new
                );
                assert!(verify(old, &other_root, new, &new_root, &proof).is_err());
            }
            for hashes in altered(proof.hashes()) {
                let proof = ConsistencyProof::new(hashes).unwrap();
                assert!(verify(old, &old_root, new, &new_root, &proof).is_err());
            }
            if old < new {
                let backwards = verify(new, &new_root, old, &old_root, &proof);
                assert_eq!(backwards, Err(LogError::Shrunk { old: new, new: old }));
            }
        }
    }
}

#[test]
fn every_log_extends_the_empty_one_and_itself() {
    let log = log(5);
    let (root, nothing) = (log.root(), ConsistencyProof::default());
    assert_eq!(log.consistency_proof(0, 5), Ok(nothing.clone()));
    assert_eq!(log.consistency_proof(5, 5), Ok(nothing.clone()));
    assert_eq!(verify_consistency(0, &empty_root(), 5, &root, &nothing), Ok(()));
    assert_eq!(verify_consistency(0, &empty_root(), 0, &empty_root(), &nothing), Ok(()));
    assert_eq!(verify_consistency(5, &root, 5, &root, &nothing), Ok(()));
    assert!(verify_consistency(0, &root, 5, &root, &nothing).is_err());
    assert!(verify_consistency(5, &root, 5, &empty_root(), &nothing).is_err());
    let something = ConsistencyProof::new(vec![root]).unwrap();
    for old in [0, 5] {
        let old_root = log.root_at(old).unwrap();
        let refused = verify_consistency(old, &old_root, 5, &root, &something);
        assert_eq!(refused, Err(LogError::Length { given: 1 }));
    }
}

#[test]
fn what_is_not_in_the_log_is_refused() {
    let log = log(5);
    assert_eq!(log.root_at(6), Err(LogError::Size { size: 6, available: 5 }));
    assert_eq!(log.inclusion_proof(5, 5), Err(LogError::Index { index: 5, size: 5 }));
    assert_eq!(log.inclusion_proof(0, 0), Err(LogError::Index { index: 0, size: 0 }));
    assert_eq!(log.inclusion_proof(0, 6), Err(LogError::Size { size: 6, available: 5 }));
    assert_eq!(log.consistency_proof(4, 3), Err(LogError::Shrunk { old: 4, new: 3 }));
    assert_eq!(log.consistency_proof(4, 6), Err(LogError::Size { size: 6, available: 5 }));
    assert_eq!(InclusionProof::new(vec![empty_root(); 64]), Err(LogError::Length { given: 64 }));
}

#[test]
fn a_truncated_log_grows_as_if_it_had_never_been_longer() {
    for size in 0..=17 {
        let mut cut = log(17);
        cut.truncate(size).unwrap();
        assert_eq!(cut.size(), size);
        assert_eq!(cut.root(), log(size).root());
        for i in size..20 {
            assert_eq!(cut.append(leaf_hash(&leaf(i))), i);
        }
        assert!(cut.leaf_hashes().eq(log(20).leaf_hashes()));
        assert_eq!(cut.root(), log(20).root());
    }
    assert_eq!(log(2).truncate(3), Err(LogError::Size { size: 3, available: 2 }));
}

/// Roots of a log that another implementation grew.
#[test]
fn foreign_checkpoints_have_our_roots() {
    let Some(shared) = std::env::var_os("LANYARD_SHARED") else {
        println!("skipped: LANYARD_SHARED not set");
        return;
    };
    let entries =
        "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten";
    let log: Log = entries.split(' ').map(|entry| leaf_hash(entry.as_bytes())).collect();
    let folder = PathBuf::from(shared).join("vectors/tlog");
    let mut roots = Vec::new();
    for size in 0..=15 {
        let text = std::fs::read_to_string(folder.join(format!("checkpoint.{size}"))).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], size.to_string());
        let root = Hash::parse(lines[2]).unwrap();
        assert_eq!(log.root_at(size).unwrap(), root, "size {size}");
        roots.push(root);
    }
    for new in 0..=15 {
        for old in 0..=new {
            let proof = log.consistency_proof(old, new).unwrap();
            let (old_root, new_root) = (&roots[old as usize], &roots[new as usize]);
            assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));
        }
    }
}

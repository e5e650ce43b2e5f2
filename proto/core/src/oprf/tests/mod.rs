//! Against the vectors of RFC 9497 and the `voprf` crate, and what must be refused.

pub(crate) mod interop;

use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;
use zeroize::Zeroizing;

use super::client::blind_with;
use super::key::{blind_evaluate_with, random_nonzero};
use super::suite::{Suite, VOPRF};
use super::*;

/// One vector of RFC 9497, appendix A.1.
pub(crate) struct Vector {
    pub(crate) mode: u8,
    pub(crate) key: SecretKey,
    inputs: Vec<Vec<u8>>,
    blinds: Vec<Scalar>,
    blinded: Vec<u8>,
    evaluated: Vec<u8>,
    /// The nonce and the proof; mode 1 only.
    proof: Option<(Scalar, Vec<u8>)>,
    outputs: Vec<Vec<u8>>,
}

impl Vector {
    /// The vectors of modes 0 and 1, or none without `LANYARD_SHARED`.
    pub(crate) fn load() -> Vec<Self> {
        let Ok(shared) = std::env::var("LANYARD_SHARED") else {
            println!("skipped: LANYARD_SHARED not set");
            return Vec::new();
        };
        let path = format!("{shared}/vectors/voprf_allVectors.json");
        let suites: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let vectors: Vec<_> = suites
            .iter()
            .filter(|suite| suite["identifier"] == "ristretto255-SHA512")
            .filter(|suite| suite["mode"].as_u64().unwrap() < 2)
            .flat_map(|suite| {
                suite["vectors"].as_array().unwrap().iter().map(|vector| Self::parse(suite, vector))
            })
            .collect();
        assert_eq!(vectors.len(), 5);
        vectors
    }

    fn parse(suite: &Value, vector: &Value) -> Self {
        let list = |name: &str| -> Vec<Vec<u8>> {
            vector[name].as_str().unwrap().split(',').map(|hex| hex::decode(hex).unwrap()).collect()
        };
        let field = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
        let key = SecretKey::from_bytes(&array(&field(&suite["skSm"]))).unwrap();
        if let Some(public) = suite.get("pkSm") {
            assert_eq!(key.public_key().as_bytes().as_slice(), field(public));
        }
        Self {
            mode: suite["mode"].as_u64().unwrap() as u8,
            key,
            inputs: list("Input"),
            blinds: list("Blind").iter().map(|bytes| scalar(bytes)).collect(),
            blinded: list("BlindedElement").concat(),
            evaluated: list("EvaluationElement").concat(),
            proof: vector
                .get("Proof")
                .map(|proof| (scalar(&field(&proof["r"])), field(&proof["proof"]))),
            outputs: list("Output"),
        }
    }

    /// The client's state with the vector's blinds.
    pub(crate) fn state(&self) -> BlindState {
        let inputs: Vec<_> = self.inputs.iter().map(Vec::as_slice).collect();
        let blinds = Zeroizing::new(self.blinds.clone());
        blind_with(&Suite::for_mode(self.mode), &inputs, blinds).unwrap()
    }

    pub(crate) fn assert_outputs(&self, pseudonyms: &[Pseudonym]) {
        let outputs: Vec<_> = pseudonyms.iter().map(|output| output.to_bytes().to_vec()).collect();
        assert_eq!(outputs, self.outputs);
    }
}

pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn scalar(bytes: &[u8]) -> Scalar {
    Scalar::from_canonical_bytes(array(bytes)).unwrap()
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// `count` inputs of various lengths.
pub(crate) fn inputs(count: usize, rng: &mut ChaCha20Rng) -> Vec<Vec<u8>> {
    (0..count)
        .map(|length| {
            let mut input = vec![0; length * 7 % 150];
            rng.fill_bytes(&mut input);
            input
        })
        .collect()
}

pub(crate) fn slices(inputs: &[Vec<u8>]) -> Vec<&[u8]> {
    inputs.iter().map(Vec::as_slice).collect()
}

/// A batch blinded, evaluated and proven.
struct Exchange {
    key: SecretKey,
    state: BlindState,
    evaluated: Vec<EvaluationElement>,
    proof: Proof,
}

fn exchange(count: usize, seed: u64) -> Exchange {
    let mut rng = rng(seed);
    let key = SecretKey::generate(&mut rng);
    let state = blind(&slices(&inputs(count, &mut rng)), &mut rng).unwrap();
    let (evaluated, proof) = blind_evaluate(&key, state.blinded(), &mut rng).unwrap();
    Exchange { key, state, evaluated, proof }
}

impl Exchange {
    fn verify(&self, evaluated: &[EvaluationElement]) -> Result<VerifiedEvaluation, OprfError> {
        let blinded = self.state.blinded();
        verify_evaluation(self.key.public_key(), blinded, evaluated.to_vec(), &self.proof)
    }
}

#[test]
fn rfc_9497_elements_and_outputs_of_modes_0_and_1() {
    for vector in Vector::load() {
        let state = vector.state();
        assert_eq!(BlindedElement::encode_batch(state.blinded()), vector.blinded);
        let evaluated = vector.key.evaluate(state.blinded());
        assert_eq!(EvaluationElement::encode_batch(&evaluated), vector.evaluated);
        let points = evaluated.iter().map(|element| *element.point());
        vector.assert_outputs(&state.finalize_points(points).unwrap());
    }
}

#[test]
fn rfc_9497_proofs_with_the_given_nonce() {
    let mut proofs = 0;
    for vector in Vector::load() {
        let Some((nonce, expected)) = &vector.proof else {
            assert_eq!(vector.mode, 0);
            continue;
        };
        let state = vector.state();
        let (evaluated, proof) =
            blind_evaluate_with(&VOPRF, &vector.key, state.blinded(), nonce).unwrap();
        assert_eq!(proof.to_bytes().as_slice(), expected.as_slice());
        let proof = Proof::parse(expected).unwrap();
        let public = vector.key.public_key();
        let verified = verify_evaluation(public, state.blinded(), evaluated, &proof).unwrap();
        vector.assert_outputs(&finalize(state, verified).unwrap());
        proofs += 1;
    }
    assert!(matches!(proofs, 0 | 3));
}

#[test]
fn refuses_an_evaluation_under_another_key() {
    let honest = exchange(3, 1);
    let other = SecretKey::generate(&mut rng(2));
    let (evaluated, proof) = blind_evaluate(&other, honest.state.blinded(), &mut rng(3)).unwrap();
    let verified =
        verify_evaluation(honest.key.public_key(), honest.state.blinded(), evaluated, &proof);
    assert_eq!(verified.err(), Some(OprfError::BadProof));
}

#[test]
fn refuses_one_wrong_element_among_many() {
    let exchange = exchange(300, 4);
    for place in [0, 150, 299] {
        let mut evaluated = exchange.evaluated.clone();
        evaluated[place] = evaluated[(place + 1) % 300];
        assert_eq!(exchange.verify(&evaluated).err(), Some(OprfError::BadProof));
    }
    assert!(exchange.verify(&exchange.evaluated).is_ok());
}

#[test]
fn refuses_a_proof_for_another_order_of_the_batch() {
    let Exchange { key, state, mut evaluated, proof } = exchange(4, 5);
    let mut blinded = state.blinded().to_vec();
    blinded.swap(1, 2);
    evaluated.swap(1, 2);
    let verified = verify_evaluation(key.public_key(), &blinded, evaluated, &proof);
    assert_eq!(verified.err(), Some(OprfError::BadProof));
}

#[test]
fn refuses_a_batch_of_another_length() {
    let exchange = exchange(4, 6);
    let shorter = exchange.verify(&exchange.evaluated[..3]);
    let expected = OprfError::Length { what: "evaluation elements", expected: 4, found: 3 };
    assert_eq!(shorter.err(), Some(expected));
    let key = exchange.key.public_key();
    let empty = verify_evaluation(key, &[], Vec::new(), &exchange.proof);
    assert_eq!(empty.err(), Some(OprfError::Batch { size: 0 }));
}

#[test]
fn refuses_an_evaluation_verified_for_another_batch() {
    let one = exchange(2, 7);
    let other = exchange(2, 8);
    let verified = other.verify(&other.evaluated).unwrap();
    assert_eq!(finalize(one.state, verified).err(), Some(OprfError::OtherBatch));
}

#[test]
fn refuses_a_mutated_proof() {
    let exchange = exchange(2, 9);
    let bytes = exchange.proof.to_bytes();
    for place in 0..64 {
        let mut mutated = bytes;
        mutated[place] ^= 1;
        let Ok(proof) = Proof::from_bytes(&mutated) else { continue };
        let (key, blinded) = (exchange.key.public_key(), exchange.state.blinded());
        let verified = verify_evaluation(key, blinded, exchange.evaluated.clone(), &proof);
        assert_eq!(verified.err(), Some(OprfError::BadProof), "byte {place}");
    }
}

#[test]
fn refuses_the_identity_element() {
    let identity = OprfError::Identity { what: "evaluation element", index: 0 };
    assert_eq!(EvaluationElement::from_bytes(&[0; 32]), Err(identity));
    let mut batch = BlindedElement::encode_batch(exchange(3, 10).state.blinded());
    batch[64..].fill(0);
    let identity = OprfError::Identity { what: "blinded element", index: 2 };
    assert_eq!(BlindedElement::parse_batch(&batch), Err(identity));
    let identity = OprfError::Identity { what: "public key", index: 0 };
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(identity));
}

#[test]
fn refuses_non_canonical_bytes() {
    // RFC 9496, appendix A.2: non-canonical field elements, negative ones, and points off the curve.
    for bad in [
        "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    ] {
        let bytes = array(&hex::decode(bad).unwrap());
        let error = OprfError::Element { what: "blinded element", index: 0 };
        assert_eq!(BlindedElement::from_bytes(&bytes), Err(error), "{bad}");
    }
    // The group's order, and the largest number of 32 bytes.
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    for bad in [order, &"ff".repeat(32)] {
        let bytes = array(&hex::decode(bad).unwrap());
        let secret = OprfError::Scalar { what: "secret key" };
        assert_eq!(SecretKey::from_bytes(&bytes).err(), Some(secret));
        for half in 0..2 {
            let mut proof = [0; 64];
            proof[half * 32..][..32].copy_from_slice(&bytes);
            let error = OprfError::Scalar { what: "proof" };
            assert_eq!(Proof::from_bytes(&proof), Err(error), "half {half}");
        }
    }
}

#[test]
fn refuses_a_key_of_zero() {
    let zero = OprfError::Scalar { what: "secret key" };
    assert_eq!(SecretKey::from_bytes(&[0; 32]).err(), Some(zero));
}

#[test]
fn refuses_truncated_batches_and_proofs() {
    let exchange = exchange(2, 11);
    let mut bytes = EvaluationElement::encode_batch(&exchange.evaluated);
    assert_eq!(EvaluationElement::parse_batch(&bytes), Ok(exchange.evaluated));
    bytes.pop();
    let error = EvaluationElement::parse_batch(&bytes);
    assert!(matches!(error, Err(OprfError::Length { expected: 32, found: 31, .. })), "{error:?}");
    assert_eq!(EvaluationElement::parse_batch(&[]), Err(OprfError::Batch { size: 0 }));
    let oversized = vec![0; 32 * 65_536];
    let error = BlindedElement::parse_batch(&oversized);
    assert_eq!(error, Err(OprfError::Batch { size: 65_536 }));
    let proof = exchange.proof.to_bytes();
    assert_eq!(Proof::parse(&proof), Ok(exchange.proof));
    assert!(matches!(Proof::parse(&proof[..63]), Err(OprfError::Length { found: 63, .. })));
}

#[test]
fn refuses_inputs_that_do_not_fit() {
    let rng = &mut rng(12);
    assert_eq!(blind(&[], rng).err(), Some(OprfError::Batch { size: 0 }));
    let many = vec![b"".as_slice(); 65_536];
    assert_eq!(blind(&many, rng).err(), Some(OprfError::Batch { size: 65_536 }));
    let long = vec![0; 65_536];
    let error = OprfError::InputTooLong { index: 1, length: 65_536 };
    assert_eq!(blind(&[b"fits", &long], rng).err(), Some(error));
    assert!(blind(&[&long[1..]], rng).is_ok());
}

#[test]
fn one_proof_covers_the_largest_batch() {
    // The same element over and over, evaluated once, keeps this fast: indices still make every weight different.
    let one = exchange(1, 13);
    let blinded = vec![one.state.blinded()[0]; MAX_BATCH];
    let mut evaluated = vec![one.evaluated[0]; MAX_BATCH];
    let nonce = random_nonzero(&mut rng(14));
    let proof = proof::generate(&VOPRF, &one.key, &blinded, &evaluated, &nonce);
    let key = one.key.public_key();
    assert!(verify_evaluation(key, &blinded, evaluated.clone(), &proof).is_ok());
    evaluated[MAX_BATCH - 1] = exchange(1, 15).evaluated[0];
    let verified = verify_evaluation(key, &blinded, evaluated, &proof);
    assert_eq!(verified.err(), Some(OprfError::BadProof));
}

#[test]
fn stored_pseudonyms_depend_on_pseudonym_and_key() {
    let key = LocalKey::from_bytes([1; 32]);
    let (one, other) = (Pseudonym::from_bytes([1; 64]), Pseudonym::from_bytes([2; 64]));
    assert!(one == Pseudonym::from_bytes(*one.to_bytes()) && one != other);
    assert_eq!(key.store_key(&one), LocalKey::from_bytes(*key.to_bytes()).store_key(&one));
    assert_ne!(key.store_key(&one), key.store_key(&other));
    assert_ne!(key.store_key(&one), LocalKey::generate(&mut rng(16)).store_key(&one));
}

#[test]
fn debug_output_shows_only_the_start_of_an_element() {
    let key = SecretKey::from_bytes(&array(&[&[1_u8][..], &[0; 31]].concat())).unwrap();
    assert_eq!(format!("{:?}", key.public_key()), "PublicKey(e2f2ae0a…)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn outputs_depend_on_key_and_input_only(count in 1_usize..12, seed: u64, key_seed: u64) {
        let key = SecretKey::generate(&mut rng(key_seed));
        let inputs = inputs(count, &mut rng(seed));
        let outputs = |blind_seed| -> Vec<_> {
            let rng = &mut rng(blind_seed);
            let state = blind(&slices(&inputs), rng).unwrap();
            let (evaluated, proof) = blind_evaluate(&key, state.blinded(), rng).unwrap();
            let evaluated = EvaluationElement::encode_batch(&evaluated);
            let evaluated = EvaluationElement::parse_batch(&evaluated).unwrap();
            let public = key.public_key();
            let verified = verify_evaluation(public, state.blinded(), evaluated, &proof).unwrap();
            finalize(state, verified).unwrap().iter().map(|output| *output.to_bytes()).collect()
        };
        let mut once = outputs(1);
        prop_assert_eq!(&once, &outputs(2));
        once.sort_unstable();
        once.dedup();
        // The first input is empty, all others differ.
        prop_assert_eq!(once.len(), count);
    }
}

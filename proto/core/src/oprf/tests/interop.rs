//! Against the `voprf` crate, which stands on another release of the curve: only bytes pass between the two.

use frost_ristretto255::rand_core as rand_core_06;
use voprf::{Group as _, Ristretto255, VoprfClient, VoprfServer};

use super::*;

/// Our generator under the traits of `rand_core` 0.6.
pub(crate) struct ForeignRng(pub(crate) ChaCha20Rng);

impl rand_core_06::RngCore for ForeignRng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for ForeignRng {}

/// Whether the `voprf` crate accepts a proof; its outputs if so.
pub(crate) fn foreign_finalize(
    clients: &Vec<VoprfClient<Ristretto255>>,
    inputs: &Vec<Vec<u8>>,
    evaluated: &[EvaluationElement],
    proof: &Proof,
    public: &PublicKey,
) -> Option<Vec<Vec<u8>>> {
    let messages: Vec<_> = evaluated
        .iter()
        .map(|element| voprf::EvaluationElement::deserialize(element.as_bytes()).unwrap())
        .collect();
    let proof = voprf::Proof::deserialize(&proof.to_bytes()).unwrap();
    let public = Ristretto255::deserialize_elem(public.as_bytes()).unwrap();
    let outputs = VoprfClient::batch_finalize(inputs, clients, &messages, &proof, public).ok()?;
    Some(outputs.map(|output| output.unwrap().to_vec()).collect())
}

/// Clients of the `voprf` crate, with the blinded elements that they send.
pub(crate) fn foreign_clients(
    inputs: &[Vec<u8>],
    seed: u64,
) -> (Vec<VoprfClient<Ristretto255>>, Vec<BlindedElement>) {
    let mut rng = ForeignRng(rng(seed));
    inputs
        .iter()
        .map(|input| {
            let blinded = VoprfClient::<Ristretto255>::blind(input, &mut rng).unwrap();
            let bytes = array(&blinded.message.serialize());
            (blinded.state, BlindedElement::from_bytes(&bytes).unwrap())
        })
        .unzip()
}

/// The `voprf` crate's answer under a key, with its proof.
pub(crate) fn foreign_evaluate(
    key: &[u8; 32],
    blinded: &[BlindedElement],
    seed: u64,
) -> (Vec<EvaluationElement>, Proof) {
    let server = VoprfServer::<Ristretto255>::new_with_key(key).unwrap();
    let blinded: Vec<_> = blinded
        .iter()
        .map(|element| voprf::BlindedElement::deserialize(element.as_bytes()).unwrap())
        .collect();
    let answer = server.batch_blind_evaluate(&mut ForeignRng(rng(seed)), &blinded).unwrap();
    let evaluated = answer
        .messages
        .iter()
        .map(|element| EvaluationElement::from_bytes(&array(&element.serialize())).unwrap())
        .collect();
    (evaluated, Proof::parse(&answer.proof.serialize()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_voprf_crate_accepts_our_proofs_and_agrees(count in 1_usize..9, seed: u64) {
        let rng = &mut rng(seed);
        let key = SecretKey::generate(rng);
        let inputs = inputs(count, rng);
        let (clients, blinded) = foreign_clients(&inputs, seed ^ 1);
        let (evaluated, proof) = blind_evaluate(&key, &blinded, rng).unwrap();
        let public = key.public_key();
        let theirs = foreign_finalize(&clients, &inputs, &evaluated, &proof, public).unwrap();

        let state = blind(&slices(&inputs), rng).unwrap();
        let (evaluated, proof) = blind_evaluate(&key, state.blinded(), rng).unwrap();
        let verified = verify_evaluation(public, state.blinded(), evaluated, &proof).unwrap();
        let ours = finalize(state, verified).unwrap();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            prop_assert_eq!(&ours.to_bytes().to_vec(), theirs);
        }
    }

    #[test]
    fn we_accept_the_voprf_crates_proofs_and_agree(count in 1_usize..9, seed: u64) {
        let rng = &mut rng(seed);
        let key = SecretKey::generate(rng);
        let inputs = inputs(count, rng);
        let state = blind(&slices(&inputs), rng).unwrap();
        let (evaluated, proof) = foreign_evaluate(&key.to_bytes(), state.blinded(), seed ^ 1);
        let public = key.public_key();
        let verified = verify_evaluation(public, state.blinded(), evaluated, &proof).unwrap();
        let ours = finalize(state, verified).unwrap();
        let server = VoprfServer::<Ristretto255>::new_with_key(key.to_bytes().as_slice()).unwrap();
        for (input, ours) in inputs.iter().zip(&ours) {
            prop_assert_eq!(ours.to_bytes().to_vec(), server.evaluate(input).unwrap().to_vec());
        }
    }

    #[test]
    fn the_voprf_crate_refuses_our_proof_under_another_key(seed: u64) {
        let rng = &mut rng(seed);
        let (key, other) = (SecretKey::generate(rng), SecretKey::generate(rng));
        let inputs = inputs(3, rng);
        let (clients, blinded) = foreign_clients(&inputs, seed);
        let (evaluated, proof) = blind_evaluate(&key, &blinded, rng).unwrap();
        let other = other.public_key();
        prop_assert!(foreign_finalize(&clients, &inputs, &evaluated, &proof, other).is_none());
    }
}

//! The client's side.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::MultiscalarMul as _;
use rand::CryptoRng;
use sha2::{Digest as _, Sha512};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use super::element::{BlindedElement, EvaluationElement};
use super::key::random_nonzero;
use super::suite::{Suite, VOPRF};
use super::{MAX_INPUT, OprfError, check_batch, check_length};

/// What the client keeps of a batch while the server evaluates it: inputs and blinds, secret, and the blinded elements.
pub struct BlindState {
    inputs: Inputs,
    /// 1/2r for each blind r: unblinding yields halves, which encode together.
    half_unblinders: Zeroizing<Vec<Scalar>>,
    blinded: Vec<BlindedElement>,
    batch: BatchId,
}

impl BlindState {
    /// The blinded elements, to be sent to the server.
    #[must_use]
    pub fn blinded(&self) -> &[BlindedElement] {
        &self.blinded
    }

    pub(crate) const fn batch(&self) -> &BatchId {
        &self.batch
    }

    /// Unblinds the elements, one for each input, and hashes each with its input: `Finalize` (RFC 9497 §3.3.1).
    pub(crate) fn finalize_points(
        self,
        evaluated: impl ExactSizeIterator<Item = RistrettoPoint>,
    ) -> Result<Vec<Pseudonym>, OprfError> {
        check_length("evaluation elements", self.blinded.len(), evaluated.len())?;
        let halves =
            evaluated.zip(self.half_unblinders.iter()).map(|(point, half)| point * half).collect();
        Ok(self.finalize_halves(Zeroizing::new(halves)))
    }

    /// [`Self::finalize_points`] after adding the client's own evaluation under `own`, which thus costs a third of a
    /// multiplication: both share their doublings.
    pub(crate) fn finalize_points_with_own(
        self,
        own: &Scalar,
        evaluated: impl ExactSizeIterator<Item = RistrettoPoint>,
    ) -> Result<Vec<Pseudonym>, OprfError> {
        check_length("evaluation elements", self.blinded.len(), evaluated.len())?;
        let halves = evaluated
            .zip(self.half_unblinders.iter())
            .zip(&self.blinded)
            .map(|((point, half), blinded)| {
                let scalars = Zeroizing::new([*half, half * own]);
                RistrettoPoint::multiscalar_mul(scalars.iter(), [&point, blinded.point()])
            })
            .collect();
        Ok(self.finalize_halves(Zeroizing::new(halves)))
    }

    fn finalize_halves(self, halves: Zeroizing<Vec<RistrettoPoint>>) -> Vec<Pseudonym> {
        let unblinded = Zeroizing::new(RistrettoPoint::double_and_compress_batch(halves.iter()));
        let outputs = self.inputs.iter().zip(unblinded.iter()).map(|(input, element)| {
            let length = u16::try_from(input.len()).expect("checked when it was blinded");
            let hash = Sha512::new()
                .chain_update(length.to_be_bytes())
                .chain_update(input)
                .chain_update([0, 32])
                .chain_update(element.as_bytes())
                .chain_update(b"Finalize");
            Pseudonym(hash.finalize().into())
        });
        outputs.collect()
    }
}

/// `Blind` (RFC 9497 §3.3.2) for a batch of inputs.
///
/// # Errors
/// [`OprfError::Batch`] unless there are 1 to 65,535 inputs, [`OprfError::InputTooLong`] if one has more than 65,535 bytes.
pub fn blind(inputs: &[&[u8]], rng: &mut impl CryptoRng) -> Result<BlindState, OprfError> {
    check_batch(inputs.len())?;
    let blinds = inputs.iter().map(|_| *random_nonzero(rng)).collect();
    blind_with(&VOPRF, inputs, Zeroizing::new(blinds))
}

/// [`blind`] with given blinds, none of them zero.
pub(super) fn blind_with(
    suite: &Suite,
    inputs: &[&[u8]],
    mut blinds: Zeroizing<Vec<Scalar>>,
) -> Result<BlindState, OprfError> {
    check_batch(inputs.len())?;
    check_length("blinds", inputs.len(), blinds.len())?;
    let mut halves = Vec::with_capacity(inputs.len());
    for (index, (input, blind)) in inputs.iter().zip(blinds.iter()).enumerate() {
        if input.len() > MAX_INPUT {
            return Err(OprfError::InputTooLong { index, length: input.len() });
        }
        let mut point = suite.hash_to_group(input);
        if point == RistrettoPoint::default() {
            return Err(OprfError::InputRefused { index });
        }
        halves.push(point * blind.div_by_2());
        point.zeroize();
    }
    let blinded = BlindedElement::doubles(&halves);
    Scalar::invert_batch_alloc(&mut blinds);
    for unblinder in blinds.iter_mut() {
        *unblinder = unblinder.div_by_2();
    }
    let batch = BatchId::of(&blinded);
    Ok(BlindState { inputs: Inputs::new(inputs), half_unblinders: blinds, blinded, batch })
}

/// Finalises a verified evaluation: one pseudonym for each input, in their order.
///
/// # Errors
/// [`OprfError::OtherBatch`] if the evaluation was verified for another batch.
pub fn finalize(
    state: BlindState,
    evaluation: VerifiedEvaluation,
) -> Result<Vec<Pseudonym>, OprfError> {
    if state.batch != evaluation.batch {
        return Err(OprfError::OtherBatch);
    }
    state.finalize_points(evaluation.elements.iter().map(|element| *element.point()))
}

/// Evaluation elements whose proof was verified; only [`verify_evaluation`](super::verify_evaluation) makes one.
pub struct VerifiedEvaluation {
    batch: BatchId,
    elements: Vec<EvaluationElement>,
}

impl VerifiedEvaluation {
    pub(super) const fn new(batch: BatchId, elements: Vec<EvaluationElement>) -> Self {
        Self { batch, elements }
    }

    pub(crate) const fn batch(&self) -> &BatchId {
        &self.batch
    }

    /// The elements, in the order of the blinded ones.
    #[must_use]
    pub fn elements(&self) -> &[EvaluationElement] {
        &self.elements
    }
}

/// Which blinded elements, in which order: an evaluation of one batch must not be finalised as another's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchId(blake3::Hash);

impl BatchId {
    pub(super) fn of(blinded: &[BlindedElement]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for element in blinded {
            hasher.update(element.as_bytes());
        }
        Self(hasher.finalize())
    }
}

/// Inputs one after the other in one buffer, zeroised on drop.
struct Inputs {
    bytes: Zeroizing<Vec<u8>>,
    ends: Vec<usize>,
}

impl Inputs {
    fn new(inputs: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(inputs.iter().map(|input| input.len()).sum());
        let ends = inputs
            .iter()
            .map(|input| {
                bytes.extend_from_slice(input);
                bytes.len()
            })
            .collect();
        Self { bytes: Zeroizing::new(bytes), ends }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// The output for one identity key: 64 bytes, secret. Whoever holds it can link the person.
#[derive(ZeroizeOnDrop)]
pub struct Pseudonym([u8; 64]);

impl Pseudonym {
    /// Size in bytes.
    pub const SIZE: usize = 64;

    /// From its bytes, as another party of the protocol sent them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Its bytes: to be sent to a party that may know it, never to be stored; see [`LocalKey::store_key`].
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0)
    }
}

impl ConstantTimeEq for Pseudonym {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Pseudonym {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Pseudonym {}

/// One party's own key, 32 bytes, under which it stores pseudonyms: a stolen store links nobody to another party's.
#[derive(ZeroizeOnDrop)]
pub struct LocalKey([u8; 32]);

impl LocalKey {
    /// Size in bytes.
    pub const SIZE: usize = 32;

    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept in the party's own folder.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// What stands for a pseudonym at rest: its keyed hash, 32 bytes, equal for equal pseudonyms.
    #[must_use]
    pub fn store_key(&self, pseudonym: &Pseudonym) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"lanyard v1 pseudonym at rest").update(&pseudonym.0);
        let stored = hasher.finalize().into();
        hasher.zeroize();
        stored
    }
}

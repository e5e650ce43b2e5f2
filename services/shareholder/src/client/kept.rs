//! A batch as its caller keeps it, so that it can be asked again byte for byte.
//!
//! A holder counts a batch once, whoever asks how often, as long as id and elements stay the same. So both follow from
//! what is kept: the identity keys, and a seed from which the id, the blinds and the padding are derived. A caller stores
//! the batch, sealed, before it asks, and drops it in the transaction that stores what came of it.

use std::convert::Infallible;

use lanyard_core::codec::{CodecError, Reader, Writer};
use lanyard_core::identity::IdentityKey;
use lanyard_core::oprf::{self, BlindState, MAX_INPUT};
use rand::{CryptoRng, Rng as _, TryCryptoRng, TryRng};
use zeroize::{Zeroize as _, Zeroizing};

use super::{PADDING, PseudonymError};
use crate::ledger::BatchId;

const SEED: usize = 32;

/// Identity keys to be evaluated together, and the seed of their blinds. Zeroised on drop.
pub struct Batch {
    seed: Zeroizing<[u8; SEED]>,
    bytes: Zeroizing<Vec<u8>>,
    ends: Vec<usize>,
}

impl Batch {
    /// Draws the seed for `keys`: 1 to [`super::MAX_ELEMENTS`].
    #[must_use]
    pub fn draw(keys: &[IdentityKey], rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; SEED]);
        rng.fill_bytes(seed.as_mut_slice());
        // Reserved in one piece: a vector that grows leaves copies behind.
        let total = keys.iter().map(|key| key.as_bytes().len()).sum();
        let mut batch = Self {
            seed,
            bytes: Zeroizing::new(Vec::with_capacity(total)),
            ends: Vec::with_capacity(keys.len()),
        };
        keys.iter().for_each(|key| batch.push(key.as_bytes()));
        batch
    }

    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// How many identity keys it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has none; such a batch cannot be asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many evaluations it is counted as: its keys, filled up to a multiple of [`PADDING`].
    #[must_use]
    pub const fn evaluations(&self) -> u64 {
        self.len().next_multiple_of(PADDING) as u64
    }

    /// Its bytes, to be sealed: the seed, and each key.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::with_capacity(SEED + 4 * (self.len() + 1) + self.bytes.len());
        writer.raw(self.seed.as_slice()).u32(self.len() as u32);
        for key in self.keys() {
            writer.field(key);
        }
        Zeroizing::new(writer.into_vec())
    }

    /// Reads [`Batch::to_bytes`].
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new("batch of identity keys", bytes);
        let seed = Zeroizing::new(reader.array()?);
        let count = reader.u32()? as usize;
        let bytes = Zeroizing::new(Vec::with_capacity(reader.remaining()));
        let mut batch = Self { seed, bytes, ends: Vec::new() };
        for _ in 0..count {
            batch.push(reader.field(MAX_INPUT)?);
        }
        reader.finish()?;
        Ok(batch)
    }

    pub(super) fn id(&self) -> BatchId {
        let mut id = BatchId::default();
        let derived = blake3::derive_key("lanyard v1 batch id", self.seed.as_slice());
        id.copy_from_slice(&derived[..BatchId::default().len()]);
        id
    }

    /// Blinds the keys, and as many random ones as fill the batch up: the same elements each time.
    pub(super) fn blind(&self) -> Result<BlindState, PseudonymError> {
        let mut rng = SeedRng::new(&self.seed);
        let mut padding = vec![[0; 32]; self.evaluations() as usize - self.len()];
        for input in &mut padding {
            rng.fill_bytes(input);
        }
        let inputs: Vec<&[u8]> =
            self.keys().chain(padding.iter().map(<[u8; 32]>::as_slice)).collect();
        Ok(oprf::blind(&inputs, &mut rng)?)
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// What a seed is drawn out to: BLAKE3's output of any length, which no version of a crate changes.
struct SeedRng(blake3::OutputReader);

impl SeedRng {
    fn new(seed: &[u8; SEED]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lanyard v1 batch blinds");
        let reader = hasher.update(seed).finalize_xof();
        hasher.zeroize();
        Self(reader)
    }
}

impl Drop for SeedRng {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl TryRng for SeedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for SeedRng {}

#[cfg(test)]
mod tests {
    use lanyard_core::identity::{BirthDate, Name};
    use lanyard_core::ids::EventId;
    use lanyard_core::oprf::BlindedElement;
    use lanyard_env::Env;

    use super::*;

    fn batch(names: &[&str]) -> Batch {
        let event = EventId::parse("games").unwrap();
        let date = BirthDate::parse("1990-02-03").unwrap();
        let key = |name: &&str| {
            IdentityKey::name_and_birth_date(&event, &Name::parse(name).unwrap(), date)
        };
        let keys: Vec<_> = names.iter().map(key).collect();
        Batch::draw(&keys, &mut Env::system().rng())
    }

    fn elements(batch: &Batch) -> Vec<u8> {
        BlindedElement::encode_batch(batch.blind().unwrap().blinded())
    }

    #[test]
    fn what_is_read_back_is_asked_byte_for_byte() {
        let drawn = batch(&["Erika Gabler", "Bo Sample"]);
        let read = Batch::parse(&drawn.to_bytes()).unwrap();
        assert_eq!((read.len(), read.evaluations()), (2, PADDING as u64));
        assert_eq!(read.id(), drawn.id());
        assert_eq!(elements(&read), elements(&drawn));
        assert_eq!(elements(&read), elements(&read));
    }

    #[test]
    fn the_same_keys_drawn_again_share_nothing() {
        let (one, other) = (batch(&["Erika Gabler"]), batch(&["Erika Gabler"]));
        assert_ne!(one.id(), other.id());
        let (one, other) = (elements(&one), elements(&other));
        assert!(one.chunks(32).all(|element| other.chunks(32).all(|another| element != another)));
    }

    #[test]
    fn what_is_cut_or_longer_does_not_read() {
        let bytes = batch(&["Erika Gabler"]).to_bytes();
        for length in 0..bytes.len() {
            assert!(Batch::parse(&bytes[..length]).is_err());
        }
        assert!(Batch::parse(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}

//! Randomness.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng as _, SeedableRng as _, TryCryptoRng, TryRng};

/// A source of random bytes fit for keys.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the operating system has no randomness: nothing safe can follow.
    fn fill(&self, bytes: &mut [u8]) {
        SysRng.try_fill_bytes(bytes).expect("the operating system gives random bytes");
    }
}

/// A repeatable source for simulations. Two environments need two seeds, or they draw the same keys.
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// A source whose output is a function of `seed`, within one version of the `rand` crate.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(Mutex::new(StdRng::from_seed(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// A `CryptoRng` over an environment's entropy; keeps no state of its own.
#[derive(Clone)]
pub struct EnvRng(Arc<dyn Entropy>);

impl EnvRng {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self(entropy)
    }
}

impl TryRng for EnvRng {
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

impl TryCryptoRng for EnvRng {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rng: &mut impl rand::CryptoRng) -> [u8; 32] {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        key
    }

    #[test]
    fn system_keys_differ() {
        let mut rng = EnvRng::new(Arc::new(SystemEntropy));
        assert_ne!(key(&mut rng), key(&mut rng));
    }

    #[test]
    fn a_seed_repeats_and_another_seed_does_not() {
        let draw = |seed| key(&mut EnvRng::new(Arc::new(SeededEntropy::new([seed; 32]))));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}

//! Bindings: what was submitted for clearance, fixed in 20 bytes that both authorities put into their records.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};

use crate::codec::Writer;
use crate::ids::{BadgeNumber, Hash};
use crate::secret::{generate, secret};

secret! {
    /// The 32 random bytes of one person's binding; whoever holds them and the data can recompute it.
    BindingSalt
}
generate!(BindingSalt);

/// `keyed_hash(salt, identity keys ‖ portrait hash ‖ badge number)[..20]`.
///
/// Compared in constant time; [`Binding::NONE`] fixes nothing and agrees with nothing.
#[derive(Clone, Copy)]
pub struct Binding([u8; 20]);

impl Binding {
    /// Size in bytes.
    pub const SIZE: usize = 20;

    /// All zero: of records that carry none, as the sponsor's.
    pub const NONE: Self = Self([0; 20]);

    /// Fixes identity keys in any order, the hash of the portrait if there is one, and the badge's number.
    #[must_use]
    pub fn compute(
        salt: &BindingSalt,
        identity_keys: &[&[u8]],
        portrait: Option<&Hash>,
        number: BadgeNumber,
    ) -> Self {
        let mut keys = identity_keys.to_vec();
        keys.sort_unstable();
        let mut writer = Writer::new();
        for key in keys {
            writer.field(key);
        }
        writer
            .field(portrait.map_or(&[][..], |hash| hash.as_bytes()))
            .field(&number.get().to_be_bytes());
        let preimage = zeroize::Zeroizing::new(writer.into_vec());
        let hash = blake3::keyed_hash(salt.expose_bytes(), &preimage);
        let mut binding = [0; 20];
        binding.copy_from_slice(&hash.as_bytes()[..20]);
        Self(binding)
    }

    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Whether both fix the same submission; never true of [`Binding::NONE`].
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        (self.ct_eq(other) & !self.ct_eq(&Self::NONE)).into()
    }
}

impl ConstantTimeEq for Binding {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Binding {
    /// Constant time.
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Binding {}

impl fmt::Debug for Binding {
    /// Nothing of it: it is the same in every epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::join;

    const NUMBER: BadgeNumber = BadgeNumber::new(17);

    fn salt() -> BindingSalt {
        BindingSalt::from_bytes([3; 32])
    }

    #[test]
    fn is_a_keyed_hash_of_what_was_submitted() {
        let portrait = Hash::new([4; 32]);
        let preimage = join(&[b"document", b"name", &[4; 32], &17_u32.to_be_bytes()]);
        let expected = blake3::keyed_hash(&[3; 32], &preimage);
        let binding = Binding::compute(&salt(), &[b"name", b"document"], Some(&portrait), NUMBER);
        assert_eq!(binding.as_bytes()[..], expected.as_bytes()[..20]);
    }

    #[test]
    fn agrees_in_any_order_of_keys_and_with_nothing_else() {
        let portrait = Hash::new([4; 32]);
        let keys: [&[u8]; 2] = [b"document", b"name"];
        let ours = Binding::compute(&salt(), &keys, Some(&portrait), NUMBER);
        let reordered = Binding::compute(&salt(), &[b"name", b"document"], Some(&portrait), NUMBER);
        assert!(ours.agrees_with(&reordered));
        let others = [
            Binding::compute(&salt(), &[b"document"], Some(&portrait), NUMBER),
            Binding::compute(&salt(), &[b"documentname"], Some(&portrait), NUMBER),
            Binding::compute(&salt(), &keys, None, NUMBER),
            Binding::compute(&salt(), &keys, Some(&Hash::new([5; 32])), NUMBER),
            Binding::compute(&salt(), &keys, Some(&portrait), BadgeNumber::new(18)),
            Binding::compute(&BindingSalt::from_bytes([4; 32]), &keys, Some(&portrait), NUMBER),
        ];
        for other in others {
            assert!(!ours.agrees_with(&other) && ours != other);
        }
    }

    #[test]
    fn no_binding_agrees_with_nothing() {
        assert!(!Binding::NONE.agrees_with(&Binding::NONE));
        assert_eq!(Binding::NONE, Binding::NONE);
    }
}

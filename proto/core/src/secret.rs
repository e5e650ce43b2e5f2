//! Secrets of 32 bytes, and the BLAKE3 derivations that lead from one to the next.

use std::sync::OnceLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use zeroize::Zeroize;

/// A `derive_key` context whose own hash is computed once: half the work of [`blake3::derive_key`].
pub(crate) struct Context {
    name: &'static str,
    key: OnceLock<ContextKey>,
}

impl Context {
    /// A context; `name` carries `lanyard v1`.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, key: OnceLock::new() }
    }

    /// `derive_key(context, material)`.
    ///
    /// The hasher lives on the stack and is not wiped: that costs several times the hash, and whoever can
    /// read this stack reads the secrets that are still in use there.
    pub(crate) fn derive(&self, material: &[u8]) -> [u8; 32] {
        let key = self.key.get_or_init(|| hash_derive_key_context(self.name));
        *Hasher::new_from_context_key(key).update(material).finalize().as_bytes()
    }
}

/// The design's `‖` as in [`crate::codec::join`], in a buffer of `N` bytes on the stack. Secret fields go into a
/// [`zeroize::Zeroizing`] one.
pub(crate) struct Fields<const N: usize> {
    buffer: [u8; N],
    length: usize,
}

impl<const N: usize> Fields<N> {
    /// No fields yet.
    pub(crate) const fn new() -> Self {
        Self { buffer: [0; N], length: 0 }
    }

    /// Appends a field with its length, a big-endian `u32`.
    ///
    /// # Panics
    /// If `N` is too small for the fields, which have fixed or bounded sizes.
    pub(crate) fn field(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).expect("fields are far below 4 GiB");
        self.raw(&length.to_be_bytes());
        self.raw(bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.length + bytes.len();
        self.buffer[self.length..end].copy_from_slice(bytes);
        self.length = end;
        self
    }

    /// What `join` would return.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl<const N: usize> Zeroize for Fields<N> {
    fn zeroize(&mut self) {
        self.buffer[..self.length].zeroize();
    }
}

/// A secret of 32 bytes: no `Debug`, no `Clone`, wiped on drop, compared in constant time.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Size in bytes.
            pub const SIZE: usize = 32;

            /// From its bytes; the caller wipes its own copy.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes themselves, to seal or to derive from; never to log.
            #[must_use]
            pub const fn expose_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl subtle::ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> subtle::Choice {
                self.0.ct_eq(&other.0)
            }
        }

        impl PartialEq for $name {
            /// Constant time.
            fn eq(&self, other: &Self) -> bool {
                subtle::ConstantTimeEq::ct_eq(self, other).into()
            }
        }

        impl Eq for $name {}
    };
}
pub(crate) use secret;

/// Adds `generate` to a secret that is drawn rather than derived.
macro_rules! generate {
    ($name:ident) => {
        impl $name {
            /// Draws one.
            #[must_use]
            pub fn generate<R: rand::CryptoRng + ?Sized>(rng: &mut R) -> Self {
                let mut secret = Self([0; 32]);
                rng.fill_bytes(&mut secret.0);
                secret
            }
        }
    };
}
pub(crate) use generate;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads a file of vectors that is not ours, or says that it was skipped.
    pub(crate) fn outside_vectors(name: &str) -> Option<serde_json::Value> {
        let Ok(shared) = std::env::var("LANYARD_SHARED") else {
            println!("skipped: LANYARD_SHARED not set");
            return None;
        };
        let text = std::fs::read_to_string(format!("{shared}/vectors/{name}")).unwrap();
        Some(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn blake3_agrees_with_its_vectors() {
        static VECTORS: Context = Context::new("BLAKE3 2019-12-27 16:29:52 test vectors context");
        let Some(vectors) = outside_vectors("blake3_test_vectors.json") else { return };
        let key: [u8; 32] = vectors["key"].as_str().unwrap().as_bytes().try_into().unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 35);
        for case in cases {
            let length = case["input_len"].as_u64().unwrap() as usize;
            let input: Vec<u8> = (0..=250).cycle().take(length).collect();
            let expected = |mode: &str| hex::decode(&case[mode].as_str().unwrap()[..64]).unwrap();
            assert_eq!(blake3::hash(&input).as_bytes(), &*expected("hash"), "{length}");
            assert_eq!(blake3::keyed_hash(&key, &input).as_bytes(), &*expected("keyed_hash"));
            assert_eq!(&VECTORS.derive(&input)[..], &*expected("derive_key"), "{length}");
        }
    }
    use crate::codec::join;

    #[test]
    fn a_context_is_blake3_derive_key() {
        let context = Context::new("lanyard v1 test");
        for length in [0, 1, 63, 64, 65, 1_025] {
            let material = vec![7; length];
            assert_eq!(
                context.derive(&material),
                blake3::derive_key("lanyard v1 test", &material),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn fields_are_those_of_join() {
        let mut fields = Fields::<32>::new();
        fields.field(b"one").field(b"").field(b"three");
        assert_eq!(fields.as_slice(), join(&[b"one", b"", b"three"]));
    }
}

//! Group elements as they travel: 32 canonical bytes, never the identity.

use std::fmt;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::IsIdentity as _;

use super::{OprfError, check_batch};

/// A point beside its encoding: proofs hash the one and compute on the other.
#[derive(Clone, Copy)]
pub(super) struct Element {
    point: RistrettoPoint,
    encoding: CompressedRistretto,
}

impl Element {
    pub(super) fn new(point: RistrettoPoint) -> Self {
        Self { point, encoding: point.compress() }
    }

    fn parse(what: &'static str, index: usize, bytes: &[u8; 32]) -> Result<Self, OprfError> {
        let encoding = CompressedRistretto(*bytes);
        let point = encoding.decompress().ok_or(OprfError::Element { what, index })?;
        if point.is_identity() {
            return Err(OprfError::Identity { what, index });
        }
        Ok(Self { point, encoding })
    }

    /// The doubles of `halves`, encoded together: a tenth of the cost of encoding one by one.
    fn doubles(halves: &[RistrettoPoint]) -> impl Iterator<Item = Self> {
        RistrettoPoint::double_and_compress_batch(halves)
            .into_iter()
            .zip(halves)
            .map(|(encoding, half)| Self { point: half + half, encoding })
    }
}

macro_rules! element {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(Element);

        impl $name {
            /// Size in bytes.
            pub const SIZE: usize = 32;

            /// Parses 32 bytes.
            ///
            /// # Errors
            /// [`OprfError::Element`] if they are not canonical, [`OprfError::Identity`] for the identity.
            pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, OprfError> {
                Element::parse($what, 0, bytes).map(Self)
            }

            /// Its 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.encoding.as_bytes()
            }

            pub(crate) const fn point(&self) -> &RistrettoPoint {
                &self.0.point
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.as_bytes();
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"), a, b, c, d)
            }
        }
    };
}

macro_rules! batched {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Parses a batch: 1 to 65,535 elements of 32 bytes, one after the other.
            ///
            /// # Errors
            /// As [`Self::from_bytes`], with the element's place; [`OprfError::Length`] if the bytes are no multiple of
            /// 32; [`OprfError::Batch`] if there are none or too many.
            pub fn parse_batch(bytes: &[u8]) -> Result<Vec<Self>, OprfError> {
                let (elements, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() {
                    return Err(OprfError::Length {
                        what: concat!("bytes of the last ", $what),
                        expected: Self::SIZE,
                        found: rest.len(),
                    });
                }
                check_batch(elements.len())?;
                elements
                    .iter()
                    .enumerate()
                    .map(|(index, bytes)| Element::parse($what, index, bytes).map(Self))
                    .collect()
            }

            /// The elements' bytes, one after the other: what [`Self::parse_batch`] reads.
            #[must_use]
            pub fn encode_batch(batch: &[Self]) -> Vec<u8> {
                batch.iter().flat_map(|element| *element.as_bytes()).collect()
            }

            pub(super) fn doubles(halves: &[RistrettoPoint]) -> Vec<Self> {
                Element::doubles(halves).map(Self).collect()
            }
        }
    };
}

element! {
    /// A blinded input, from client to server: 32 bytes.
    BlindedElement, "blinded element"
}
element! {
    /// A blinded input under the server's key, from server to client: 32 bytes.
    EvaluationElement, "evaluation element"
}
element! {
    /// A server's public key, against which its proofs are verified: 32 bytes.
    PublicKey, "public key"
}
batched!(BlindedElement, "blinded element");
batched!(EvaluationElement, "evaluation element");

impl PublicKey {
    /// The key of a point that is not the identity.
    pub(crate) fn from_point(point: RistrettoPoint) -> Self {
        Self(Element::new(point))
    }
}

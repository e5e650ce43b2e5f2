//! The hash functions of the suite (RFC 9497 §4.1, RFC 9380 §5.3.1).

use std::sync::LazyLock;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroize as _;

/// Mode 1: verifiable.
pub(super) static VOPRF: LazyLock<Suite> = LazyLock::new(|| Suite::for_mode(1));

/// The hash functions under one mode's context string.
pub(super) struct Suite {
    to_group: ExpandMessage,
    to_scalar: ExpandMessage,
    seed_dst: Vec<u8>,
}

impl Suite {
    /// The suite of a mode: 0 is OPRF, 1 is VOPRF (RFC 9497 §3.1).
    pub(super) fn for_mode(mode: u8) -> Self {
        // contextString = "OPRFV1-" || I2OSP(mode, 1) || "-" || identifier
        let context = [b"OPRFV1-".as_slice(), &[mode], b"-ristretto255-SHA512"].concat();
        let tag = |prefix: &[u8]| [prefix, &context].concat();
        Self {
            to_group: ExpandMessage::new(&tag(b"HashToGroup-")),
            to_scalar: ExpandMessage::new(&tag(b"HashToScalar-")),
            seed_dst: tag(b"Seed-"),
        }
    }

    /// `HashToGroup`.
    pub(super) fn hash_to_group(&self, input: &[u8]) -> RistrettoPoint {
        let mut uniform = self.to_group.expand(&[input]);
        let point = RistrettoPoint::from_uniform_bytes(&uniform);
        uniform.zeroize();
        point
    }

    /// `HashToScalar` of the concatenated parts: 512 bits, little-endian, modulo the order.
    pub(super) fn hash_to_scalar(&self, parts: &[&[u8]]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.to_scalar.expand(parts))
    }

    /// The domain separation tag of the composites' seed (RFC 9497 §2.2.1).
    pub(super) fn seed_dst(&self) -> &[u8] {
        &self.seed_dst
    }
}

/// `expand_message_xmd` with SHA-512 and an output of 64 bytes, which is one block.
struct ExpandMessage {
    /// After Z_pad, the block of zeros that every message starts with: absorbed once, for all.
    padded: Sha512,
    /// `DST || I2OSP(len(DST), 1)`.
    dst_prime: Vec<u8>,
}

impl ExpandMessage {
    fn new(dst: &[u8]) -> Self {
        let length = u8::try_from(dst.len()).expect("the suite's tags are far below 256 bytes");
        Self { padded: Sha512::new_with_prefix([0_u8; 128]), dst_prime: [dst, &[length]].concat() }
    }

    fn expand(&self, message: &[&[u8]]) -> [u8; 64] {
        let mut hash = self.padded.clone();
        for part in message {
            hash.update(part);
        }
        // l_i_b_str = I2OSP(64, 2), then I2OSP(0, 1)
        hash.update([0, 64, 0]);
        hash.update(&self.dst_prime);
        let mut first: [u8; 64] = hash.finalize().into();
        let uniform = Sha512::new()
            .chain_update(first)
            .chain_update([1])
            .chain_update(&self.dst_prime)
            .finalize()
            .into();
        first.zeroize();
        uniform
    }
}

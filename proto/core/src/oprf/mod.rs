//! Verifiable oblivious pseudorandom function: RFC 9497, ristretto255-SHA512, mode 1 (VOPRF).
//!
//! The client blinds its inputs, the server evaluates the blinded elements under its key and proves it, the client
//! verifies the proof and finalises. The server learns nothing of the inputs; the client learns nothing but the
//! outputs. Everything is done in batches of up to [`MAX_BATCH`] with one proof each: blinds are inverted together,
//! points are held halved so that they encode together, and public sums use variable-time multiscalar
//! multiplication. Secret scalars only ever meet constant-time operations.
//!
//! Mode 0, which has no proof, exists in the tests only: no product can take an unproven evaluation by accident.
//!
//! The arithmetic picks AVX2 at run time where the CPU has it; building with `-C target-cpu=native` helps further.

mod client;
mod element;
mod key;
mod proof;
mod suite;
#[cfg(test)]
pub(crate) mod tests;

use thiserror::Error;

pub use client::{BlindState, LocalKey, Pseudonym, VerifiedEvaluation, blind, finalize};
pub use element::{BlindedElement, EvaluationElement, PublicKey};
pub(crate) use key::parse_nonzero;
pub use key::{SecretKey, blind_evaluate};
pub use proof::{Proof, verify_evaluation};

/// The most elements that one proof covers.
pub const MAX_BATCH: usize = 65_535;

/// The longest input in bytes (RFC 9497 §1.2).
pub const MAX_INPUT: usize = 65_535;

/// Why an evaluation does not come about.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OprfError {
    /// Bytes are not the canonical encoding of a group element.
    #[error("{what} {index}: not the canonical encoding of a ristretto255 element")]
    Element {
        /// Which kind of element.
        what: &'static str,
        /// Its place in the batch, from 0.
        index: usize,
    },
    /// The identity element, which would make outputs independent of inputs or keys.
    #[error("{what} {index}: the identity element is refused")]
    Identity {
        /// Which kind of element.
        what: &'static str,
        /// Its place in the batch, from 0.
        index: usize,
    },
    /// Bytes are not a canonical scalar, or it is zero where zero is refused.
    #[error("{what}: not a canonical ristretto255 scalar, or zero")]
    Scalar {
        /// Which kind of scalar.
        what: &'static str,
    },
    /// A sequence of bytes or elements has the wrong length.
    #[error("{what}: {found} given, {expected} expected")]
    Length {
        /// What was counted.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An empty or oversized batch.
    #[error("a batch of {size} elements: 1 to 65,535 are allowed; split it")]
    Batch {
        /// How many elements it has.
        size: usize,
    },
    /// An input is too long.
    #[error("input {index}: {length} bytes, at most 65,535 are allowed")]
    InputTooLong {
        /// Its place in the batch, from 0.
        index: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// An input hashes to the identity element; nobody can find one.
    #[error("input {index}: hashes to the identity element")]
    InputRefused {
        /// Its place in the batch, from 0.
        index: usize,
    },
    /// The proof does not hold for this key, these elements and their order.
    #[error("the proof does not hold: the elements were not all evaluated under this public key")]
    BadProof,
    /// A verified evaluation is finalised with the state of another batch.
    #[error("this evaluation answers another batch of blinded elements")]
    OtherBatch,
}

fn check_batch(size: usize) -> Result<(), OprfError> {
    if (1..=MAX_BATCH).contains(&size) { Ok(()) } else { Err(OprfError::Batch { size }) }
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), OprfError> {
    if expected == found { Ok(()) } else { Err(OprfError::Length { what, expected, found }) }
}

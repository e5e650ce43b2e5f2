//! Withdrawal drills over real services, each one with what `docs/DRILLS.md` tells operators to do: a gate is stolen, the
//! trustee is replaced.

#![allow(clippy::disallowed_methods)]

mod keys;
mod new_trustee;
mod stolen_gate;
mod world;

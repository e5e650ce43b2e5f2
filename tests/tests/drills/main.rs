//! Withdrawal drills over real services, each with the steps that `docs/DRILLS.md` tells operators: the sponsor is cut off,
//! the trustee is replaced, witnesses are down, keys are replaced, a gate is stolen.

#![allow(clippy::disallowed_methods)]

mod keys;
mod new_trustee;
mod no_sponsor;
mod stolen_gate;
mod witnesses;
mod world;

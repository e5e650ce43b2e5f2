//! The real services on simulated machines: one seed, one process, one course of events.
//!
//! Committee, police, sponsor, trustee and three gates run as they are, over turmoil's network, on disks that lose what was
//! not synced, with clocks that may be wrong, while people enrol, stop, reinstate and check. A seed decides on everything:
//! what is done and when, every delay, every random byte but TLS's.
//!
//! # What counts as failure
//!
//! | invariant | what must hold |
//! | --- | --- |
//! | `two-attestations` | no gate admits without two fresh, positive attestations: nobody whom the police's list has, nobody whose stop was acknowledged longer ago than the limit, nobody once nothing of an authority has been able to reach the gate for longer than the limit |
//! | `stops-bind` | a gate that holds a checkpoint of a size by which a stop shows refuses, quorum or not |
//! | `stops-arrive` | a stop acknowledged at t is refused by t + bound at every gate that has had good ways to the authority |
//! | `better-waits-for-a-quorum` | who is good again is admitted once the gate has a quorum past the size at which they were not |
//! | `no-gate-goes-back` | the sizes that a gate shows of itself never shrink, whatever stops in between |
//! | `no-fork` | of two checkpoints of one log and size seen on any disk, signed, both are the same |
//! | `nothing-lost` | enrolments, stops, receipts and their answers, and witnesses' memories that were acknowledged are there after any crash |
//! | `gates-go-on` | a gate whose knowledge is younger than the limit decides, with or without a network |
//! | `all-recovers` | once all is mended, everybody gets the answer that the ledger says, at every gate |
//! | `no-panic` | no task panics, and no service ends by itself |
//!
//! How to run it, how to read a failure, and what is not simulated: docs/SIMULATION.md.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the world around the services

mod checkpoints;
mod clock;
mod course;
mod defect;
mod desk;
mod disk;
mod event;
mod ledger;
mod links;
mod machine;
mod network;
mod op;
mod people;
mod randomness;
mod runner;
mod shared;
mod sqlite;

pub use course::{Course, Ended, run};
pub use defect::Defect;
pub use event::Event;
pub use op::{Change, Lie, Op, PEOPLE, Step, StepError, draw};
pub use runner::{Arguments, main};
pub use shared::Violation;

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
//! | `stops-arrive` | a stop acknowledged at t is refused by t + bound at every connected gate: two ticks and half a second where nothing is wrong on any of its ways to the authority, ten ticks and two and a half seconds more where one way is good and another is cut, slow or lies |
//! | `better-waits-for-a-quorum` | who is good again is admitted once the gate has a quorum past the size at which they were not; and that quorum remembers it |
//! | `no-gate-goes-back` | the sizes that a gate shows of itself never shrink, whatever stops in between |
//! | `no-fork` | of two signed checkpoints of one log and size seen on any disk, both are the same |
//! | `nothing-lost` | enrolments, stops and audit trails, receipts in their chains and their answers, counts of evaluations, witnesses' memories, and what an authority signed are there after any crash |
//! | `gates-go-on` | a gate with power answers; where the newest that it has for certain is younger than the limit, it decides, with or without a network; and who was good before that is admitted |
//! | `all-recovers` | once all is mended, everybody gets the answer that the ledger says, the same at every gate |
//! | `no-panic` | no task panics, and no service ends by itself |
//! | `ends` | of many courses each is over after five minutes of real time: a loop that does not wait never ends in simulated time |
//!
//! How to run it, how to read a failure, and what is not simulated: docs/SIMULATION.md.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the world around the services

mod checkpoints;
mod clock;
mod clocks;
mod course;
mod defect;
mod desk;
mod disk;
mod event;
mod judged;
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

//! What the tests of whole events share: five parties that run in this process, people who are invented, the calls that
//! enrol, screen, issue and check, and callers that send any bytes under any certificate.

#![allow(clippy::disallowed_methods)] // tests are the world around the services

mod event;
mod flow;
mod identities;
mod leaks;
mod load;
mod messages;
mod people;
mod recorder;
mod refusing;
mod rpcs;
mod staff;
mod stores;
mod warp;
mod watched;
mod wire;

pub use event::{PASSPHRASE, ShiftedClock, TestEvent, free_address, run_member, sample_plan};
pub use flow::{Checked, Desk, access, eventually, run_together};
pub use identities::{Authorities, Certified};
pub use leaks::{Needles, Search};
pub use load::Load;
pub use messages::Inventor;
pub use people::{list_entry, people};
pub use recorder::{Recorder, Sent};
pub use refusing::{Call, RefusingDisk};
pub use rpcs::{HOSTS, Rpc, hosts, rpcs};
pub use staff::member;
pub use stores::copy_folder;
pub use warp::WarpClock;
pub use wire::{Caller, Connection, NoReply, Refused, Reply, framed};

//! Makes an event: certificate authorities, keys, key shares, the signed manifest.
//!
//! Each member acts at its own [`Seat`]: it reads and writes its own folder, and the exchange folder, through which
//! public or sealed files travel. Every step can be repeated; an interrupted one is resumed. In this order:
//!
//! | step | who | what |
//! | --- | --- | --- |
//! | [`Seat::prepare`] | all | draws keys, announces their public halves |
//! | compare [`Seat::fingerprint`] over another channel | all | that nobody swapped an announcement |
//! | [`Seat::certify_gate`] | gates' authority | a certificate for each gate |
//! | [`Seat::dkg_round1`], [`Seat::dkg_round2`], [`Seat::dkg_round3`] | share holders | the pseudonym key in shares |
//! | [`Seat::draft_manifest`] | committee | the manifest of plan and announcements |
//! | [`Seat::sign_manifest`] | committee, police | if it is what each one's own plan gives |
//! | [`Seat::adopt`] | all | if it carries their own keys |
//! | [`Seat::write_config`], [`Seat::add_operator`] | all | what a service and its people need |
//!
//! Later, a changed plan (a gate more, other quotas) goes from `draft_manifest` on; certificates are renewed with
//! [`Seat::renew_certificate`]; shares are refreshed with [`Seat::refresh_round1`] and what follows it, and a lost one is
//! repaired with [`Seat::repair_ask`] and what follows that. [`init_all`] takes all steps in one directory tree.

mod announcement;
mod config_file;
mod dkg;
mod draft;
mod error;
mod exchange;
mod expel;
mod init;
mod manifest;
mod member;
mod packages;
mod pki;
mod plan;
mod prepare;
mod refresh;
mod repair;
mod replace;
mod rotate;
mod rotation;
mod seat;
mod sharing;
mod successor;
mod time_text;
mod tree;
mod withdraw;
mod write_config;

pub use announcement::Announcement;
pub use error::{CeremonyError, Step};
pub use expel::expel_gate;
pub use init::{add_gates, default_operators, init_all};
pub use member::{GateName, Member, MemberError};
pub use pki::Holder;
pub use plan::{
    EventPlan, ExpelledGate, ForeignWitness, PlanError, PlannedEpochs, PlannedGate, PlannedHolders,
};
pub use replace::{TakenOver, replace_trustee};
pub use rotate::RotatedKey;
pub use rotation::{RotationWait, rotate_key};
pub use seat::Seat;
pub use tree::EventTree;
pub use withdraw::withdraw_sponsor;
pub use write_config::{Addresses, Reconfigured};

#[cfg(test)]
fn test_plan() -> EventPlan {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../clients/cli/samples/event.toml");
    EventPlan::read(&*lanyard_env::Env::system().files, &path).unwrap()
}

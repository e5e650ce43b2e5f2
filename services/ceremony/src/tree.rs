//! An event whose members' folders all stand in one directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lanyard_core::ids::EventId;
use lanyard_env::{Env, Files, Mode};
use lanyard_party::read_toml;
use serde::{Deserialize, Serialize};

use crate::error::CeremonyError;
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::Seat;
use crate::write_config::{Addresses, Reconfigured};

/// `DIR/event.toml`: who stands where in a directory tree that [`crate::init_all`] made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTree {
    /// The event.
    pub event: EventId,
    /// Its name for people.
    pub title: String,
    /// Where each service listens; its folder bears its name.
    pub services: BTreeMap<Member, SocketAddr>,
}

impl EventTree {
    /// Reads `DIR/event.toml`.
    ///
    /// # Errors
    /// [`CeremonyError::Toml`] if it is not there or malformed.
    pub fn read(files: &dyn Files, dir: &Path) -> Result<Self, CeremonyError> {
        Ok(read_toml(files, &Self::path(dir))?)
    }

    /// The folder of a member.
    #[must_use]
    pub fn folder(dir: &Path, member: &Member) -> PathBuf {
        dir.join(member.name())
    }

    /// The exchange folder.
    #[must_use]
    pub fn exchange(dir: &Path) -> PathBuf {
        dir.join("exchange")
    }

    /// The plan in force.
    ///
    /// # Errors
    /// [`CeremonyError::Toml`] if it is not there or malformed.
    pub fn plan(files: &dyn Files, dir: &Path) -> Result<EventPlan, CeremonyError> {
        Ok(read_toml(files, &Self::plan_path(dir))?)
    }

    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("event.toml")
    }

    pub(crate) fn plan_path(dir: &Path) -> PathBuf {
        Self::exchange(dir).join("plan.toml")
    }

    pub(crate) fn write(&self, env: &Env, dir: &Path) -> Result<(), CeremonyError> {
        write_toml(env, &Self::path(dir), self)
    }
}

/// Keeps the plan in force, of which the next one is made.
pub(crate) fn keep_plan(env: &Env, dir: &Path, plan: &EventPlan) -> Result<(), CeremonyError> {
    write_toml(env, &EventTree::plan_path(dir), plan)
}

/// The seats of all members of a plan.
pub(crate) fn open_seats(
    env: &Env,
    dir: &Path,
    plan: &EventPlan,
) -> Result<Vec<Seat>, CeremonyError> {
    let exchange = EventTree::exchange(dir);
    let open = |member| Seat::open(env, &EventTree::folder(dir, &member), &exchange);
    plan.members().into_iter().map(open).collect()
}

/// Drafts, signs and adopts, each at its own seat.
pub(crate) fn agree_on_manifest(
    seats: &[Seat],
    plan: &EventPlan,
    progress: &mut impl FnMut(&Member, &'static str),
) -> Result<(), CeremonyError> {
    let committee = find(seats, &Member::Committee)?;
    progress(committee.member(), "draft the manifest");
    committee.draft_manifest(plan)?;
    for authority in [Member::Committee, Member::Police] {
        progress(&authority, "sign the manifest");
        find(seats, &authority)?.sign_manifest(plan)?;
    }
    for seat in seats {
        progress(seat.member(), "adopt the manifest");
        seat.adopt()?;
    }
    Ok(())
}

/// Takes whoever is no member any more out of everyone's configuration; whose changed.
pub(crate) fn leave_out_of_configs(
    seats: &[Seat],
    plan: &EventPlan,
    addresses: &Addresses,
) -> Result<Vec<Reconfigured>, CeremonyError> {
    let mut changed = Vec::new();
    for seat in seats.iter().filter(|seat| seat.member().service().is_some()) {
        changed.extend(seat.leave_out_of_config(plan, addresses)?);
    }
    Ok(changed)
}

pub(crate) fn find<'a>(seats: &'a [Seat], member: &Member) -> Result<&'a Seat, CeremonyError> {
    seats.iter().find(|seat| seat.member() == member).ok_or_else(|| CeremonyError::NotForMember {
        member: member.clone(),
        step: "this ceremony",
    })
}

fn write_toml<T: Serialize>(env: &Env, path: &Path, value: &T) -> Result<(), CeremonyError> {
    let text = toml::to_string(value).map_err(|error| CeremonyError::state(path, error))?;
    Ok(env.files.write_atomic(path, text.as_bytes(), Mode::Public)?)
}

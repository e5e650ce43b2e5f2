//! All steps for all members in one directory tree: for a demonstration, a rehearsal, or a test.
//!
//! A real ceremony takes the same steps, each member in its own house.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use lanyard_env::{Env, Mode};
use lanyard_transport::Role;

use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::Seat;
use crate::tree::{EventTree, agree_on_manifest, find, keep_plan};
use crate::write_config::Addresses;

/// The people and desks that each member starts with.
#[must_use]
pub fn default_operators(member: &Member) -> &'static [(Role, &'static str)] {
    match member {
        Member::Committee => &[(Role::Operator, "registrar"), (Role::Desk, "desk")],
        Member::Police => &[(Role::Operator, "officer"), (Role::Desk, "desk")],
        Member::Sponsor => &[(Role::Desk, "desk")],
        Member::Trustee => &[(Role::Operator, "operator")],
        Member::GateAuthority => &[],
        Member::Gate(_) => &[
            (Role::Scanner, "scanner"),
            (Role::Supervisor, "supervisor"),
            (Role::Operator, "operator"),
        ],
    }
}

/// Takes every step for every member of the plan under `dir`: `dir/MEMBER`, `dir/exchange`, `dir/event.toml`.
///
/// An interrupted run is resumed by the same call. `progress` hears of each step before it is taken.
///
/// # Errors
/// [`CeremonyError::AlreadyInitialised`] if the event is complete, [`CeremonyError::OtherPlan`] if an interrupted run
/// had another plan, and whatever a step finds.
pub fn init_all(
    env: &Env,
    dir: &Path,
    plan: &EventPlan,
    addresses: &Addresses,
    passphrase: &str,
    mut progress: impl FnMut(&Member, &'static str),
) -> Result<EventTree, CeremonyError> {
    plan.check()?;
    if env.files.exists(&EventTree::path(dir))? {
        return Err(CeremonyError::AlreadyInitialised { dir: dir.to_owned() });
    }
    let exchange = EventTree::exchange(dir);
    env.files.create_dir_all(&exchange)?;
    pin_plan(env, &EventTree::plan_path(dir), plan)?;
    let tree = EventTree {
        event: plan.event.clone(),
        title: plan.title.clone(),
        services: services(plan, addresses)?,
    };

    let mut seats = Vec::new();
    for member in plan.members() {
        progress(&member, "prepare");
        let folder = EventTree::folder(dir, &member);
        let passphrase = member.is_authority().then_some(passphrase);
        seats.push(Seat::prepare(env, &folder, &exchange, &member, plan, passphrase)?.0);
    }
    certify_gates(&seats, plan, &mut progress)?;
    generate_key(&seats, plan, &mut progress)?;
    agree_on_manifest(&seats, plan, &mut progress)?;
    for seat in seats.iter().filter(|seat| seat.member().service().is_some()) {
        progress(seat.member(), "write config.toml and certify people");
        seat.write_config(plan, addresses)?;
        let authority = find(&seats, &Member::authority_of(seat.member().party()))?;
        for (role, name) in default_operators(seat.member()) {
            seat.add_operator(authority, *role, name)?;
        }
    }
    tree.write(env, dir)?;
    Ok(tree)
}

/// Takes a later plan to a tree that [`init_all`] made: prepares and certifies its new gates, has both authorities sign
/// the next manifest, and everyone adopt it. Running services pick the manifest up by themselves. Resumes, and does
/// nothing more once the plan's gates are all there. Configurations that exist are left as they are.
///
/// # Errors
/// As [`init_all`].
pub fn add_gates(
    env: &Env,
    dir: &Path,
    plan: &EventPlan,
    addresses: &Addresses,
) -> Result<EventTree, CeremonyError> {
    plan.check()?;
    let mut tree = EventTree::read(&*env.files, dir)?;
    let exchange = EventTree::exchange(dir);
    let mut seats = Vec::new();
    for member in plan.members() {
        let folder = EventTree::folder(dir, &member);
        seats.push(match member {
            Member::Gate(_) => Seat::prepare(env, &folder, &exchange, &member, plan, None)?.0,
            _ => Seat::open(env, &folder, &exchange)?,
        });
    }
    let mut quiet = |_: &Member, _: &'static str| {};
    certify_gates(&seats, plan, &mut quiet)?;
    agree_on_manifest(&seats, plan, &mut quiet)?;
    let authority = find(&seats, &Member::GateAuthority)?;
    let new: Vec<_> =
        seats.iter().filter(|seat| !tree.services.contains_key(seat.member())).collect();
    for seat in new.into_iter().filter(|seat| seat.member().service().is_some()) {
        seat.write_config(plan, addresses)?;
        for (role, name) in default_operators(seat.member()) {
            seat.add_operator(authority, *role, name)?;
        }
        let address = addresses
            .get(seat.member())
            .copied()
            .ok_or_else(|| CeremonyError::NoAddress { member: seat.member().to_string() })?;
        tree.services.insert(seat.member().clone(), address);
    }
    keep_plan(env, dir, plan)?;
    tree.write(env, dir)?;
    Ok(tree)
}

fn certify_gates(
    seats: &[Seat],
    plan: &EventPlan,
    progress: &mut impl FnMut(&Member, &'static str),
) -> Result<(), CeremonyError> {
    let authority = find(seats, &Member::GateAuthority)?;
    for gate in &plan.gates {
        progress(authority.member(), "certify a gate");
        authority.certify_gate(&Member::Gate(gate.name.clone()))?;
    }
    Ok(())
}

fn generate_key(
    seats: &[Seat],
    plan: &EventPlan,
    progress: &mut impl FnMut(&Member, &'static str),
) -> Result<(), CeremonyError> {
    type Round = fn(&Seat, &EventPlan) -> Result<Step, CeremonyError>;
    let rounds: [(&str, Round); 3] = [
        ("key generation, round 1", |seat, plan| seat.dkg_round1(plan)),
        ("key generation, round 2", |seat, _| seat.dkg_round2()),
        ("key generation, round 3", |seat, _| seat.dkg_round3()),
    ];
    for (name, round) in rounds {
        for holder in plan.holders() {
            progress(holder, name);
            round(find(seats, holder)?, plan)?;
        }
    }
    Ok(())
}

/// The addresses of all members that run a service.
fn services(
    plan: &EventPlan,
    addresses: &Addresses,
) -> Result<BTreeMap<Member, SocketAddr>, CeremonyError> {
    plan.members()
        .into_iter()
        .filter(|member| member.service().is_some())
        .map(|member| match addresses.get(&member) {
            Some(address) => Ok((member, *address)),
            None => Err(CeremonyError::NoAddress { member: member.to_string() }),
        })
        .collect()
}

/// Keeps the plan for a resumed run, which must have the same.
fn pin_plan(env: &Env, path: &Path, plan: &EventPlan) -> Result<(), CeremonyError> {
    let text = toml::to_string(plan).map_err(|error| CeremonyError::state(path, error))?;
    match env.files.read_if_exists(path)? {
        Some(bytes) if bytes == text.as_bytes() => Ok(()),
        Some(_) => Err(CeremonyError::OtherPlan { path: path.to_owned() }),
        None => Ok(env.files.write_atomic(path, text.as_bytes(), Mode::Public)?),
    }
}

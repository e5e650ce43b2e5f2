//! Expelling a gate that was stolen, where all folders stand in one directory.
//!
//! Apart, each party takes the gate from `[[gates]]` to `[[expelled]]` in its copy of the plan, and out of the other gates'
//! `upstreams`; then the manifest goes its usual way. Nothing is asked of the gate, and nothing of its folder is needed.

use std::path::Path;

use lanyard_core::ids::Timestamp;
use lanyard_env::Env;

use crate::error::CeremonyError;
use crate::member::{GateName, Member};
use crate::plan::{EventPlan, ExpelledGate, PlanError};
use crate::tree::{EventTree, agree_on_manifest, keep_plan, leave_out_of_configs, open_seats};
use crate::write_config::Reconfigured;

/// Takes a gate out of the manifest: its certificate and those of its people are refused, no later audience key is sealed to
/// it, and receipts of `since` or later count for nothing. Running services follow by themselves. Its access points are
/// free for another gate. Gates that followed it follow their other upstreams, or else whom it followed. Returns who is left,
/// and whose configuration changed. Idempotent: an interrupted run is resumed by the same call.
///
/// # Errors
/// [`CeremonyError::Plan`] if the plan in force has no such gate, and whatever a step finds.
pub fn expel_gate(
    env: &Env,
    dir: &Path,
    gate: &GateName,
    since: Timestamp,
) -> Result<(EventTree, Vec<Reconfigured>), CeremonyError> {
    let mut plan = EventTree::plan(&*env.files, dir)?;
    if plan.expelled.iter().all(|expelled| expelled.gate != *gate) {
        expel(&mut plan, gate, since)?;
        plan.check()?;
        // First, so that a run that is interrupted goes on with the same time.
        keep_plan(env, dir, &plan)?;
    }
    let seats = open_seats(env, dir, &plan)?;
    agree_on_manifest(&seats, &plan, &mut |_, _| {})?;
    let mut tree = EventTree::read(&*env.files, dir)?;
    let changed = leave_out_of_configs(&seats, &plan, &tree.services)?;
    tree.services.remove(&Member::Gate(gate.clone()));
    tree.write(env, dir)?;
    Ok((tree, changed))
}

fn expel(plan: &mut EventPlan, gate: &GateName, since: Timestamp) -> Result<(), PlanError> {
    let followed = plan.gate(gate)?.upstreams.clone();
    plan.gates.retain(|planned| planned.name != *gate);
    plan.expelled.push(ExpelledGate { gate: gate.clone(), since });
    plan.take_upstream_out(&Member::Gate(gate.clone()), &followed);
    Ok(())
}

//! Going on without the sponsor, where all folders stand in one directory.
//!
//! Apart, each party puts the sponsor into `withdrawn` in its copy of the plan, takes it out of `witnesses` and of the gates'
//! `upstreams`; then the manifest goes its usual way, and gates that followed the sponsor alone get others in config.toml.

use std::path::Path;

use lanyard_env::Env;

use crate::error::CeremonyError;
use crate::member::Member;
use crate::plan::EventPlan;
use crate::tree::{EventTree, agree_on_manifest, keep_plan, leave_out_of_configs, open_seats};
use crate::write_config::Reconfigured;

/// Takes the sponsor out of the event: no witness, no mirror, no desk, and nobody accepts its certificates any more. Gates
/// that followed it alone follow committee and police from their next start. No key changes, and nothing of the sponsor's
/// is needed. In configurations the sponsor is taken out and nothing else is changed. Returns whose they are. Idempotent: an
/// interrupted run is resumed by the same call.
///
/// # Errors
/// [`CeremonyError::Plan`] if the remaining witnesses make no quorum, and whatever a step finds.
pub fn withdraw_sponsor(env: &Env, dir: &Path) -> Result<Vec<Reconfigured>, CeremonyError> {
    let plan = without_sponsor(EventTree::plan(&*env.files, dir)?);
    plan.check()?;
    keep_plan(env, dir, &plan)?;
    let mut tree = EventTree::read(&*env.files, dir)?;
    let seats = open_seats(env, dir, &plan)?;
    agree_on_manifest(&seats, &plan, &mut |_, _| {})?;
    let changed = leave_out_of_configs(&seats, &plan, &tree.services)?;
    tree.services.remove(&Member::Sponsor);
    tree.write(env, dir)?;
    Ok(changed)
}

fn without_sponsor(mut plan: EventPlan) -> EventPlan {
    if !plan.withdrawn.contains(&Member::Sponsor) {
        plan.withdrawn.push(Member::Sponsor);
    }
    plan.witnesses.retain(|witness| *witness != Member::Sponsor);
    plan.take_upstream_out(&Member::Sponsor, &[Member::Committee, Member::Police]);
    plan
}

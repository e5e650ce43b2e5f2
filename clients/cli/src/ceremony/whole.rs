//! What one command does where all folders stand in one directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lanyard_ceremony::{
    EventPlan, EventTree, GateName, Member, Reconfigured, RotatedKey, RotationWait, TakenOver,
    add_gates, expel_gate, replace_trustee, rotate_key, withdraw_sponsor,
};
use lanyard_core::ids::Timestamp;
use serde_json::json;

use crate::context::{Context, time};
use crate::error::CliError;
use crate::event;
use crate::init::addresses as address_table;

/// Puts another party in the trustee's place.
pub(super) fn replace(context: &Context, dir: &Path) -> Result<(), CliError> {
    let (aside, taken) = replace_trustee(&context.env, dir)?;
    let (counts, said) = match &taken {
        TakenOver::Counted(counts) => {
            let total: u64 = counts.values().sum();
            (Some(total), format!("{total} evaluations that were counted before count on."))
        }
        TakenOver::Spent => (
            None,
            "Nobody knows what was counted before: every quota of the trustee counts as used up. Raise them in the plan, \
             then: ceremony amend."
                .to_owned(),
        ),
    };
    context.show(&json!({ "dir": dir, "old_folder": aside, "counted_before": counts }), || {
        format!(
            "The trustee is replaced; start the new one. Pseudonyms are the same, and the old share is worth nothing.\n\
             {said}\nThe old folder: {}. Its config.toml was taken over.",
            aside.display()
        )
    })
}

/// Replaces a key: with an overlap of so many minutes, or of an epoch, or at once.
pub(super) fn rotate(
    context: &Context,
    dir: &Path,
    member: &Member,
    key: RotatedKey,
    overlap: Option<Option<u32>>,
) -> Result<(), CliError> {
    let epoch = EventTree::plan(&*context.env.files, dir)?.epochs.length_minutes;
    let overlap =
        overlap.map(|minutes| Duration::from_secs(60 * u64::from(minutes.unwrap_or(epoch))));
    let mut said = None;
    rotate_key(&context.env, dir, member, key, overlap, |what, duration| {
        if said.replace(what) != Some(what) {
            let until = context.env.now().plus_millis(duration.as_millis() as u64);
            context.note(&match what {
                RotationWait::Overlap => format!(
                    "Both keys count until {}. If this is interrupted, the same command goes on and waits anew.",
                    time(until)
                ),
                RotationWait::Signature => {
                    "Waiting for a tick that is signed under the new key too.".to_owned()
                }
                RotationWait::Certificates => format!(
                    "Waiting until {}, when running services have their new certificates.",
                    time(until)
                ),
            });
        }
        std::thread::sleep(duration);
    })?;
    let value = json!({ "dir": dir, "of": member.name(), "key": key.name() });
    context.show(&value, || {
        let then = match key {
            RotatedKey::Receipts => " Start the gate again.",
            _ => "",
        };
        format!(
            "The {} key of {member} is replaced, and the old one is destroyed.{then}",
            key.name()
        )
    })
}

/// Goes on without the sponsor.
pub(super) fn withdraw(context: &Context, dir: &Path) -> Result<(), CliError> {
    let changed = withdraw_sponsor(&context.env, dir)?;
    let value = json!({
        "dir": dir, "configured": all_of(&changed), "restart": to_restart(&changed),
    });
    context.show(&value, || {
        format!(
            "The event goes on without the sponsor; its desk is closed.\n{}",
            configured("the sponsor", &changed)
        )
    })
}

/// Expels a gate.
pub(super) fn expel(
    context: &Context,
    dir: &Path,
    gate: &GateName,
    since: Timestamp,
) -> Result<(), CliError> {
    let (tree, changed) = expel_gate(&context.env, dir, gate, since)?;
    let value = json!({
        "dir": dir, "expelled": gate.as_str(), "since_millis": since.millis(),
        "configured": all_of(&changed), "restart": to_restart(&changed),
    });
    context.show(&value, || {
        format!(
            "{}\n{gate} is expelled. It opens records of the epochs whose keys it has: this one, and the next if that is \
             published; nothing after.\n{}",
            address_table(dir, &tree),
            configured(gate.as_str(), &changed)
        )
    })
}

fn all_of(changed: &[Reconfigured]) -> Vec<&str> {
    changed.iter().map(|one| one.member.name()).collect()
}

fn to_restart(changed: &[Reconfigured]) -> Vec<&str> {
    changed.iter().filter(|one| one.has_other_upstreams).map(|one| one.member.name()).collect()
}

/// Whose configuration changed, and what follows from it.
fn configured(gone: &str, changed: &[Reconfigured]) -> String {
    if changed.is_empty() {
        return format!("No config.toml names {gone}.");
    }
    let mut text = format!(
        "Taken out of the config.toml of: {}. All else in these files is as it was.",
        all_of(changed).join(", ")
    );
    let restart = to_restart(changed);
    if !restart.is_empty() {
        text += &format!(
            "\nRESTART {}: they followed {gone} alone and know nothing new until then. They have other upstreams, at the \
             addresses of event.toml.",
            restart.join(", ")
        );
    }
    text
}

/// Takes a changed plan to the event, with gates that it adds.
pub(super) fn add_gate(
    context: &Context,
    dir: &Path,
    plan: &EventPlan,
    listen: &[(Member, SocketAddr)],
) -> Result<(), CliError> {
    let tree = EventTree::read(&*context.env.files, dir)?;
    // Those that are there keep their addresses; new ones get a free one unless told otherwise.
    let mut addresses: BTreeMap<_, _> = event::free_addresses(plan)?;
    addresses.extend(tree.services);
    addresses.extend(listen.iter().cloned());
    let tree = add_gates(&context.env, dir, plan, &addresses)?;
    let value = json!({ "dir": dir, "services": tree.services.len() });
    context.show(&value, || {
        format!(
            "{}\nRunning services pick the new manifest up by themselves.",
            address_table(dir, &tree)
        )
    })
}

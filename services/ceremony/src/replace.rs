//! Replacing the trustee, where all folders stand in one directory.
//!
//! Apart, each member takes the same steps at its own place: see docs/DRILLS.md.

use std::path::{Path, PathBuf};

use lanyard_env::{Env, Mode};
use lanyard_party::{Folder, Generation};
use lanyard_shareholder::{Counts, Ledger, Limit};

use crate::error::{CeremonyError, Step};
use crate::init::default_operators;
use crate::member::Member;
use crate::plan::EventPlan;
use crate::seat::Seat;
use crate::tree::{EventTree, agree_on_manifest, find, open_seats};
use crate::write_config::Addresses;

/// What a successor was told that its predecessor had counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenOver {
    /// What stands in the predecessor's ledger.
    Counted(Counts),
    /// Nobody knows: every quota counts as used up. Both authorities raise them in the manifest.
    Spent,
}

impl Seat {
    /// Takes over what the predecessor of this holder had counted.
    ///
    /// # Errors
    /// [`CeremonyError::Ledger`], and [`CeremonyError::OutOfOrder`] before a manifest was adopted.
    pub fn take_over_counts(&self, taken: &TakenOver) -> Result<Step, CeremonyError> {
        let ledger = self.folder.evaluations_dir();
        if !Ledger::awaits_take_over(&self.env, &ledger)? {
            return Ok(Step::AlreadyDone);
        }
        let manifest = lanyard_party::ManifestStore::open(&self.folder)?.current();
        let spent = || {
            let limits = Limit::of_holder(&manifest, self.member.name());
            limits.iter().map(|limit| ((limit.caller, limit.purpose), limit.evaluations)).collect()
        };
        let counts = match taken {
            TakenOver::Counted(counts) => counts.clone(),
            TakenOver::Spent => spent(),
        };
        Ledger::take_over(&self.env, &ledger, &self.event, self.member.name(), &counts)?;
        Ok(Step::Done)
    }

    /// What a holder counted, from its folder.
    ///
    /// # Errors
    /// [`CeremonyError::Ledger`] if its ledger does not hold.
    pub fn counted_in(&self, folder: &Path) -> Result<Counts, CeremonyError> {
        let folder = Folder::open(folder, &self.env);
        let ledger = folder.evaluations_dir();
        Ok(Ledger::counts_in(&self.env, &ledger, &self.event, self.member.name())?)
    }
}

/// `ceremony/replacing`: the generation of shares that ends the replacement; there until all is done.
struct Replacing {
    path: PathBuf,
    ends: Generation,
}

/// Puts another party in the trustee's place: its folder is set aside, a new one is made with an authority, keys and a
/// witness of its own, everyone accepts it, both authorities sign the next manifest, its share is repaired and all shares are
/// refreshed, and it takes over what its predecessor counted. Pseudonyms stay; the old share is worth nothing after. Services
/// go on meanwhile, but for the old trustee's, which must be stopped. An interrupted run is resumed by the same call.
///
/// # Errors
/// [`CeremonyError::File`] if the old trustee runs, and whatever a step finds.
pub fn replace_trustee(env: &Env, dir: &Path) -> Result<(PathBuf, TakenOver), CeremonyError> {
    let plan = EventTree::plan(&*env.files, dir)?;
    let (aside, replacing) = set_aside(env, dir)?;
    let exchange = EventTree::exchange(dir);
    let folder = EventTree::folder(dir, &Member::Trustee);
    let (trustee, _) = Seat::prepare_successor(env, &folder, &exchange, &Member::Trustee, &plan)?;
    let fingerprint = trustee.fingerprint(&Member::Trustee)?;
    let seats = open_seats(env, dir, &plan)?;
    for seat in seats.iter().filter(|seat| *seat.member() != Member::Trustee) {
        seat.accept_successor(&Member::Trustee, &fingerprint)?;
    }
    let tree = EventTree::read(&*env.files, dir)?;
    keep_config(&trustee, &aside, &plan, &tree.services)?;
    for (role, name) in default_operators(&Member::Trustee) {
        trustee.add_operator(&trustee, *role, name)?;
    }
    agree_on_manifest(&seats, &plan, &mut |_, _| {})?;
    share_again(&seats, &plan, replacing.ends)?;
    let taken = match env.files.exists(&aside.join("data/evaluations/evaluations.note"))? {
        true => TakenOver::Counted(trustee.counted_in(&aside)?),
        false => TakenOver::Spent,
    };
    trustee.take_over_counts(&taken)?;
    env.files.remove(&replacing.path)?;
    Ok((aside, taken))
}

/// It is reached where its predecessor was, and as its operators set that up.
fn keep_config(
    trustee: &Seat,
    aside: &Path,
    plan: &EventPlan,
    addresses: &Addresses,
) -> Result<(), CeremonyError> {
    let (files, path) = (trustee.files(), trustee.folder.config_path());
    if files.exists(&path)? {
        return Ok(());
    }
    match files.read_if_exists(&aside.join("config.toml"))? {
        Some(bytes) => files.write_atomic(&path, &bytes, Mode::Private)?,
        None => drop(trustee.write_config(plan, addresses)?),
    }
    Ok(())
}

/// Moves the predecessor's folder away, unless an interrupted run did.
fn set_aside(env: &Env, dir: &Path) -> Result<(PathBuf, Replacing), CeremonyError> {
    let folder = EventTree::folder(dir, &Member::Trustee);
    let committee = Folder::open(EventTree::folder(dir, &Member::Committee), env);
    let path = EventTree::exchange(dir).join("replacing-trustee");
    let number = match env.files.read_if_exists(&path)? {
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes).trim_end().parse().ok();
            text.and_then(Generation::new)
                .ok_or_else(|| CeremonyError::state(&path, "it is no generation's number"))?
        }
        None => {
            if env.files.exists(&folder)? {
                // One that runs would go on under the old keys.
                drop(Folder::open(&folder, env).lock_data()?);
            }
            let ends = committee.generation_in_force()?.next();
            env.files.write_atomic(&path, format!("{ends}\n").as_bytes(), Mode::Public)?;
            ends
        }
    };
    let aside = dir.join(format!("trustee-before-{number}"));
    if !env.files.exists(&aside)? && env.files.exists(&folder)? {
        env.files.rename(&folder, &aside)?;
    }
    Ok((aside, Replacing { path, ends: number }))
}

/// Repairs the share, then refreshes all of them to generation `ends`.
fn share_again(seats: &[Seat], plan: &EventPlan, ends: Generation) -> Result<(), CeremonyError> {
    let trustee = find(seats, &Member::Trustee)?;
    let holders = plan.holders().iter().map(|member| find(seats, member));
    let holders = holders.collect::<Result<Vec<_>, _>>()?;
    if trustee.folder.share_generations()?.is_empty() {
        type Assist = fn(&Seat, &Member) -> Result<Step, CeremonyError>;
        trustee.repair_ask(&[])?;
        let rounds: [Assist; 3] = [Seat::repair_round1, Seat::repair_round2, Seat::repair_round3];
        for round in rounds {
            for helper in holders.iter().filter(|seat| *seat.member() != Member::Trustee) {
                round(helper, &Member::Trustee)?;
            }
        }
        trustee.repair_finish()?;
    }
    type Take = fn(&Seat) -> Result<Step, CeremonyError>;
    let rounds: [Take; 5] = [
        Seat::refresh_round1,
        Seat::refresh_round2,
        Seat::refresh_round3,
        Seat::refresh_switch,
        Seat::refresh_finish,
    ];
    for take in rounds {
        for holder in &holders {
            // One that has finished would begin the next refresh.
            let here = holder.folder.share_generations()?;
            if here != [ends] {
                take(holder)?;
            }
        }
    }
    Ok(())
}

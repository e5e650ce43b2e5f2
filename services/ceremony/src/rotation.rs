//! Putting a new key in the place of an old one, where all folders stand in one directory: the steps of [`crate::rotate`], the
//! manifests between them, and the waits.

use std::path::Path;
use std::time::Duration;

use lanyard_env::Env;

use crate::error::{CeremonyError, Step};
use crate::member::Member;
use crate::rotate::RotatedKey;
use crate::seat::Seat;
use crate::tree::{EventTree, agree_on_manifest, find, open_seats};

/// How often it is looked whether a log is signed under its new key, and for how long: several of the longest ticks.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS: u32 = 120;

/// Running services read their certificates again once a minute.
const CERTIFICATES: Duration = Duration::from_secs(65);

/// What the replacement of a key waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationWait {
    /// Both keys count meanwhile.
    Overlap,
    /// The running service signs its log under the new key too.
    Signature,
    /// Running services take up certificates of the new authority.
    Certificates,
}

/// Replaces a member's key and takes the manifests for it to the event, of which running services hear by themselves. The old
/// key counts on for `overlap`; without one it has leaked, and ends with the first manifest. `wait` is told what for and how
/// long, and returns after that time.
///
/// A gate must be stopped for its receipts key, and starts with the new one: receipts need no overlap. Nor does the key that
/// signs manifests: the manifest that names the next one ends it.
///
/// An interrupted run is resumed by the same call, and waits anew.
///
/// # Errors
/// [`CeremonyError::OutOfOrder`] if the service of a log does not sign under the new key, [`CeremonyError::File`] if a gate
/// runs whose receipts key it is, and whatever a step finds.
pub fn rotate_key(
    env: &Env,
    dir: &Path,
    member: &Member,
    key: RotatedKey,
    overlap: Option<Duration>,
    mut wait: impl FnMut(RotationWait, Duration),
) -> Result<(), CeremonyError> {
    let overlap = overlap.filter(|_| !matches!(key, RotatedKey::Receipts | RotatedKey::Manifest));
    let plan = EventTree::plan(&*env.files, dir)?;
    let seats = open_seats(env, dir, &plan)?;
    let next_manifest = || agree_on_manifest(&seats, &plan, &mut |_, _| {});
    let seat = find(&seats, member)?;
    let _stopped = match key {
        RotatedKey::Receipts => Some(seat.folder().lock_data()?),
        _ => None,
    };
    seat.rotate_begin(key)?;
    if let Some(overlap) = overlap {
        next_manifest()?;
        wait(RotationWait::Overlap, overlap);
    }
    end(seat, key, &mut wait)?;
    if key == RotatedKey::Ca {
        if *member == Member::GateAuthority {
            certify_gates_again(&seats, seat)?;
        }
        if overlap.is_some() {
            wait(RotationWait::Certificates, CERTIFICATES);
        }
    }
    next_manifest()?;
    seat.rotate_finish(key)?;
    Ok(())
}

/// Announces the end of the old key; of a log's, once the service has signed under the new one.
fn end(
    seat: &Seat,
    key: RotatedKey,
    wait: &mut impl FnMut(RotationWait, Duration),
) -> Result<Step, CeremonyError> {
    let mut looks = 0;
    loop {
        match seat.rotate_end(key) {
            Err(CeremonyError::OutOfOrder { .. }) if key == RotatedKey::Log && looks < LOOKS => {
                looks += 1;
                wait(RotationWait::Signature, LOOK);
            }
            ended => return ended,
        }
    }
}

/// The gates share an authority, which certifies none of them by itself.
fn certify_gates_again(seats: &[Seat], authority: &Seat) -> Result<(), CeremonyError> {
    let mut gates = seats.iter().filter(|seat| matches!(seat.member(), Member::Gate(_)));
    gates.try_for_each(|gate| gate.certify_all_again(authority))
}

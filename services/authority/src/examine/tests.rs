//! The files that an authority keeps, on a disk that stops, loses and flips.

use lanyard_core::audience_key::AudienceKey;
use lanyard_core::ids::{Audience, Epoch};
use lanyard_env::{Loss, LossyDisk};

use super::*;
use crate::recovery::{Signed, mark_restored};

const DATA: &str = "/data";

fn data() -> &'static Path {
    Path::new(DATA)
}

fn store_key() -> Arc<StoreKey> {
    Arc::new(StoreKey::from_bytes(&[7; 32]))
}

fn env_on(disk: &LossyDisk) -> Env {
    Env { files: disk.files(), ..Env::system() }
}

struct Kept {
    signed: SignedUpTo,
    decided: Decided,
    keys: KeyFolder,
}

impl Kept {
    fn open(disk: &LossyDisk) -> Result<Self, PublishError> {
        let env = env_on(disk);
        Ok(Self {
            signed: SignedUpTo::at(env.clone(), data().join(SIGNED)),
            decided: Decided::at(env.clone(), data().join(DECIDED)),
            keys: KeyFolder::open(env, data().join(AUDIENCE_KEYS), store_key())?,
        })
    }
}

/// What an authority was told to be kept.
#[derive(Default)]
struct Acknowledged {
    size: u64,
    decided: Option<Epoch>,
    /// Of a removal that was begun, it is not known whether it was done.
    is_open: bool,
    keys: Vec<(Epoch, AudienceKey)>,
    forgotten: u32,
}

/// Epochs out of turn, each with its keys, over some ticks, as far as the disk lets it.
fn publish(disk: &LossyDisk, done: &mut Acknowledged) -> Result<(), PublishError> {
    let kept = Kept::open(disk)?;
    for number in 1..4 {
        let (size, epoch) = (u64::from(number) * 10, Epoch::new(number));
        done.is_open = true;
        kept.decided.write(epoch)?;
        (done.decided, done.is_open) = (Some(epoch), false);
        done.keys.push((epoch, kept.keys.load_or_draw(epoch, Audience::Gate)?));
        kept.signed.write(Signed { size, cursor: 2 * size, is_restored: false })?;
        done.size = size;
        done.forgotten = number;
        kept.keys.forget_before(epoch)?;
        done.is_open = true;
        kept.decided.remove()?;
        (done.decided, done.is_open) = (None, false);
    }
    Ok(())
}

#[test]
fn no_call_at_which_the_machine_stops_makes_an_authority_forget() {
    let mut crashes = 0;
    for calls in 0.. {
        let mut ended = true;
        for loss in [Loss::None, Loss::All, Loss::Some(calls)] {
            let (disk, mut done) = (LossyDisk::new(), Acknowledged::default());
            env_on(&disk).files.create_dir_all(data()).unwrap();
            disk.stop_after(calls);
            let published = publish(&disk, &mut done);
            let stopped = disk.is_stopped();
            assert_eq!(published.is_err(), stopped, "{calls}: {:?}", published.err());
            crashes += u32::from(stopped);
            ended &= !stopped;
            // What the next process reads survives a power cut, too.
            disk.restart(loss);
            env_on(&disk).files.settle(Path::new("/")).unwrap();
            disk.restart(Loss::All);

            let when = format!("after {calls} calls, {loss:?}");
            let kept = Kept::open(&disk).unwrap();
            let signed = kept.signed.read().unwrap();
            let size = signed.map_or(0, |signed| signed.size);
            // One more may be remembered than was signed.
            assert!(size == done.size || size == done.size + 10, "{when}: {size}");
            assert!(signed.is_none_or(|signed| signed.cursor == 2 * size), "{when}");
            let decided = kept.decided.read().unwrap();
            assert!(done.is_open || decided == done.decided, "{when}: {decided:?}");
            for (epoch, key) in &done.keys {
                let found = kept.keys.find(*epoch, Audience::Gate).unwrap();
                match found {
                    Some(found) => assert_eq!(found.expose_bytes(), key.expose_bytes(), "{when}"),
                    None => assert!(epoch.get() < done.forgotten, "{when}: {epoch} is forgotten"),
                }
            }
            let examined = examine(&env_on(&disk), data(), &store_key());
            assert!(examined.iter().all(|one| one.found.is_ok()), "{when}");
        }
        if ended {
            break;
        }
    }
    assert!(crashes > 100, "only {crashes} crashes");
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_its_file_named() {
    let disk = LossyDisk::new();
    let kept = Kept::open(&disk).unwrap();
    kept.signed.write(Signed { size: 17, cursor: 40, is_restored: false }).unwrap();
    kept.decided.write(Epoch::new(9)).unwrap();
    kept.keys.load_or_draw(Epoch::new(8), Audience::Gate).unwrap();
    let problems = || {
        let examined = examine(&env_on(&disk), data(), &store_key());
        examined
            .into_iter()
            .filter_map(|one| Some((one.path, one.found.err()?)))
            .collect::<Vec<_>>()
    };
    assert!(problems().is_empty());
    let paths = disk.paths();
    assert_eq!(paths.len(), 3);
    for path in paths {
        for bit in 0..env_on(&disk).files.read(&path).unwrap().len() * 8 {
            disk.tamper(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let found = problems();
            let [(named, problem)] = &found[..] else { panic!("{}: {bit}", path.display()) };
            assert_eq!(*named, path);
            let text = problem.to_string();
            let says =
                ["remove the file", "restore the keys folder"].map(|word| text.contains(word));
            assert!(says.contains(&true), "{text}");
            disk.tamper(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
    }
    assert!(problems().is_empty());
}

#[test]
fn a_copy_is_marked_and_keeps_what_it_remembers() {
    let disk = LossyDisk::new();
    let env = env_on(&disk);
    // Nothing was signed: there is nothing to mark.
    mark_restored(&env, data()).unwrap();
    let kept = Kept::open(&disk).unwrap();
    assert_eq!(kept.signed.read().unwrap(), None);
    let signed = Signed { size: 17, cursor: 40, is_restored: false };
    kept.signed.write(signed).unwrap();
    mark_restored(&env, data()).unwrap();
    assert_eq!(kept.signed.read().unwrap(), Some(Signed { is_restored: true, ..signed }));
}

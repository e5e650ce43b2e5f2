//! A witness whose machine stops at any call, with or without what was not synced, or whose disk flips a bit.

mod support;

use lanyard_core::ids::Authority;
use lanyard_env::Loss;
use lanyard_witness::{MemoryError, NotCosigned};
use support::{TestLog, World};

fn add(witness: &lanyard_witness::Witness, log: &TestLog, old: u64, size: u64) -> bool {
    let request = log.request(old, size).to_text();
    match witness.add_checkpoint(request.as_bytes()) {
        Ok(_) => true,
        Err(NotCosigned::Memory(MemoryError::File(_))) => false,
        Err(refused) => panic!("{refused}"),
    }
}

/// What was cosigned is remembered: after the machine starts again, no fork of it is cosigned, and the log goes on.
#[test]
fn no_call_at_which_it_stops_makes_a_witness_forget() {
    let mut crashes = 0;
    for calls in 0.. {
        let mut ended = true;
        for loss in [Loss::None, Loss::All, Loss::Some(calls)] {
            let world = World::new();
            let log = TestLog::new(&world.env, Authority::Police, 12);
            world.disk.stop_after(calls);
            let mut cosigned = 0;
            if let Ok(witness) = world.witness("trustee", &[&log]) {
                for size in [3, 5, 9] {
                    if !add(&witness, &log, cosigned, size) {
                        break;
                    }
                    cosigned = size;
                }
            }
            let stopped = world.disk.is_stopped();
            crashes += u32::from(stopped);
            ended &= !stopped;
            world.disk.restart(loss);
            world.env.files.settle(world.path()).unwrap();

            let witness = world.witness("trustee", &[&log]).unwrap();
            if cosigned > 0 {
                // Of the size last cosigned, and of what the log would say instead of everything since.
                for (old, fork) in [(cosigned, log.fork(0, 12)), (0, log.fork(2, 12))] {
                    let refused =
                        witness.add_checkpoint(fork.request(old, 12).to_text().as_bytes());
                    assert!(matches!(refused, Err(NotCosigned::Refused(_))), "{calls}, {loss:?}");
                }
            }
            // A size that was remembered and never answered is asked for again.
            let known = [cosigned, 3, 5, 9].into_iter().find(|old| {
                witness.add_checkpoint(log.request(*old, 12).to_text().as_bytes()).is_ok()
            });
            assert!(known.is_some_and(|known| known >= cosigned), "{calls}, {loss:?}");
            // And that survives a power cut.
            drop(witness);
            world.disk.restart(Loss::All);
            let witness = world.witness("trustee", &[&log]).unwrap();
            assert!(add(&witness, &log, 12, 12), "{calls}, {loss:?}");
        }
        if ended {
            break;
        }
    }
    assert!(crashes > 40, "only {crashes} crashes");
}

/// Every byte of the memory counts: with any one bit flipped the witness says which file it is, and cosigns nothing.
#[test]
fn a_flipped_bit_anywhere_stops_the_witness() {
    let world = World::new();
    let log = TestLog::new(&world.env, Authority::Police, 12);
    let witness = world.witness("trustee", &[&log]).unwrap();
    assert!(add(&witness, &log, 0, 7));
    drop(witness);
    let path = world.path().join("trustee/lanyard_games-2028_police.checkpoint");
    let length = world.env.files.read(&path).unwrap().len();
    for place in 0..length {
        world.disk.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
        let refused = world.witness("trustee", &[&log]).err();
        let refused = refused.unwrap_or_else(|| panic!("byte {place} does not count"));
        assert!(matches!(refused, MemoryError::Damaged { .. }), "{refused}");
        assert!(refused.to_string().contains(path.to_str().unwrap()), "{refused}");
        assert!(refused.to_string().contains("restore it"), "{refused}");
        world.disk.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
    }
    assert!(world.witness("trustee", &[&log]).is_ok());
}

//! Receipts on a machine that stops at any call, loses what was not synced, fills up, or flips a bit.

use std::path::PathBuf;

use lanyard_env::{Env, Files as _, Loss, LossyDisk};

use super::*;

const FOLDER: &str = "/data/receipts";

fn open_on(event: &TestEvent, disk: &LossyDisk) -> Result<Open, OpenError> {
    let env = Env { files: disk.files(), ..event.env.clone() };
    let setup = ReceiptSetup { env, dir: PathBuf::from(FOLDER), ..event.receipt_setup() };
    let (receipts, recorder) = Receipts::open(setup)?;
    Ok(Open { receipts, recorder })
}

/// What was answered is there after the machine starts again: the same receipt for the same nonce, and no number twice.
#[tokio::test]
async fn no_call_at_which_it_stops_makes_a_gate_forget() {
    let event = TestEvent::new();
    let mut crashes = 0;
    for calls in 0.. {
        let mut ended = true;
        for loss in [Loss::None, Loss::All, Loss::Some(calls)] {
            let disk = LossyDisk::new();
            disk.stop_after(calls);
            let mut answered = Vec::new();
            if let Ok(open) = open_on(&event, &disk) {
                for number in 1..=3 {
                    match check(&event, &open, 1, number).await {
                        Ok(answer) => answered.push((number, answer)),
                        Err(refused) => assert_eq!(refused, NotRecorded::Disk),
                    }
                }
                open.close().await;
            }
            let stopped = disk.is_stopped();
            crashes += u32::from(stopped);
            ended &= !stopped;
            disk.restart(loss);
            disk.files().settle(Path::new("/")).unwrap();

            let open = open_on(&event, &disk).unwrap();
            let count = open.receipts.count();
            assert!(count >= answered.len() as u64, "{calls}, {loss:?}: {count} receipts");
            for (number, answer) in answered {
                let again = check(&event, &open, 1, number).await;
                assert_eq!(again, Ok(answer), "{calls}, {loss:?}");
            }
            let next = check(&event, &open, 1, 9).await.unwrap().receipt;
            assert_eq!(next, count + 1);
            assert_eq!(exported(&event, &open, 1, 0).len() as u64, next);
            open.close().await;
            disk.restart(Loss::All);
            let open = open_on(&event, &disk).unwrap();
            assert_eq!(open.receipts.count(), next, "{calls}, {loss:?}, and a power cut");
            open.close().await;
        }
        if ended {
            break;
        }
    }
    assert!(crashes > 40, "only {crashes} crashes");
}

/// Wherever in a group the disk fills up, nobody passes unrecorded, and it goes on without a restart.
#[tokio::test]
async fn a_full_disk_admits_nobody_and_passes() {
    let event = TestEvent::new();
    let disk = LossyDisk::new();
    let open = open_on(&event, &disk).unwrap();
    check(&event, &open, 1, 1).await.unwrap();
    let mut refused = 0;
    for (number, space) in (2..).zip((0..1_200).step_by(37)) {
        let before = open.receipts.count();
        disk.set_space(Some(space));
        let answer = check(&event, &open, 1, number).await;
        if answer.is_err() {
            assert_eq!(answer, Err(NotRecorded::Disk));
            assert_eq!(open.receipts.count(), before);
            refused += 1;
        }
        // What is recorded already is answered all the same.
        assert_eq!(check(&event, &open, 1, 1).await.map(|answer| answer.receipt), Ok(1));
        disk.set_space(None);
        assert_eq!(check(&event, &open, 1, number).await.unwrap().receipt, before + 1);
    }
    assert!((10..32).contains(&refused), "{refused} refused");
    let count = open.receipts.count();
    assert_eq!(exported(&event, &open, 1, 0).len() as u64, count);
    open.close().await;
    let open = open_on(&event, &disk).unwrap();
    assert_eq!(open.receipts.count(), count);
    open.close().await;
}

/// A flipped bit in the chain never becomes part of what is signed: it is refused with its place, or, in the last group
/// only, cut off as what a crash leaves; in a body or a recent check it is left out.
#[tokio::test]
async fn a_flipped_bit_is_not_signed_over() {
    let event = TestEvent::new();
    let disk = LossyDisk::new();
    let open = open_on(&event, &disk).unwrap();
    let files = disk.files();
    let chain = PathBuf::from(FOLDER).join("chain");
    let mut last_group = 0;
    for number in 1..=4 {
        last_group = files.read_if_exists(&chain).unwrap().unwrap_or_default().len();
        check(&event, &open, 1, number).await.unwrap();
    }
    let before: Vec<_> = exported(&event, &open, 1, 0).iter().map(|one| one.entry).collect();
    open.close().await;
    for path in disk.paths() {
        let is_chain = path.ends_with("chain");
        let length = files.read(&path).unwrap().len();
        for place in (0..length).step_by(7) {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
            let open = match open_on(&event, &copy) {
                Err(error) => {
                    let text = error.to_string();
                    assert!(is_chain && text.contains(path.to_str().unwrap()), "{text}");
                    assert!(text.contains("restore it from a backup"), "{text}");
                    continue;
                }
                Ok(open) => open,
            };
            let is_last = is_chain && place >= last_group;
            assert!(
                !is_chain || is_last,
                "byte {place} of {length} in the chain does not count; the last group begins at {last_group}"
            );
            let count = open.receipts.count();
            assert_eq!(count, if is_last { 3 } else { 4 });
            check(&event, &open, 1, 9).await.unwrap();
            let after: Vec<_> = exported(&event, &open, 1, 0).iter().map(|one| one.entry).collect();
            assert_eq!(after[..count as usize], before[..count as usize], "{}", path.display());
            open.close().await;
        }
    }
}

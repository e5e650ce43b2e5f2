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

/// A flipped bit in the chain is refused with its place, in the last group as well: it may have been answered, and another head
/// over its numbers would contradict it. In a body or a recent check, that one is passed over, and nothing else.
#[tokio::test]
async fn a_flipped_bit_is_not_signed_over() {
    let event = TestEvent::new();
    let disk = LossyDisk::new();
    let open = open_on(&event, &disk).unwrap();
    let mut answers = Vec::new();
    for number in 1..=4 {
        answers.push(check(&event, &open, 1, number).await.unwrap());
    }
    let before: Vec<_> = exported(&event, &open, 1, 0).iter().map(|one| one.entry).collect();
    open.close().await;
    assert_eq!(verify(&event, &disk).unwrap(), 4);
    let mut kinds = std::collections::BTreeSet::new();
    for path in disk.paths() {
        let kind = path.strip_prefix(FOLDER).unwrap().iter().next().unwrap().to_owned();
        let length = disk.files().read(&path).unwrap().len();
        for place in 0..length {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes[place] ^= 1 << (place % 8));
            let place = format!("byte {place} of {length} in {}", path.display());
            let found = verify(&event, &copy);
            let named = |error: OpenError| {
                let text = error.to_string();
                assert!(text.contains(path.to_str().unwrap()), "{place}: {text}");
                assert!(text.contains("restore it from a backup"), "{place}: {text}");
            };
            if kind == "chain" {
                named(
                    open_on(&event, &copy)
                        .err()
                        .unwrap_or_else(|| panic!("{place} does not count")),
                );
                named(found.unwrap_err());
                continue;
            }
            if kind != "sessions" {
                named(found.unwrap_err());
            }
            // Twice: what is written behind the damage is found again.
            let mut forgotten = 0;
            for new in [8, 9] {
                let open = open_on(&event, &copy).unwrap();
                for (number, answer) in (1..).zip(&answers) {
                    let again = check(&event, &open, 1, number).await.unwrap();
                    forgotten += u32::from(again != *answer && again.receipt > 4);
                    assert!(again == *answer || again.receipt > 4, "{place}: {again:?}");
                }
                check(&event, &open, 1, new).await.unwrap();
                let after = exported(&event, &open, 1, 0);
                let entries: Vec<_> = after.iter().map(|one| one.entry).collect();
                assert_eq!(entries[..4], before, "{place}");
                let bodies = after.iter().filter(|one| one.sealed.is_some()).count();
                assert!(bodies + usize::from(kind == "bodies") >= after.len(), "{place}");
                open.close().await;
            }
            assert!(forgotten <= 2 * u32::from(kind == "recent"), "{place}: {forgotten} forgotten");
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

fn verify(event: &TestEvent, disk: &LossyDisk) -> Result<u64, OpenError> {
    let key = event.manifest.gate("gate-1").unwrap().receipts.clone();
    verify_chain(&*disk.files(), Path::new(FOLDER), &event.receipt_origin(), &key)
}

/// After a power cut, blocks of a group that did not reach the disk read as zeros: it was not synced, so not answered, and is cut
/// off. One bit of the same group is another matter.
#[tokio::test]
async fn a_group_of_which_blocks_did_not_reach_the_disk_is_cut_off() {
    const BLOCK: usize = 512;
    let event = TestEvent::new();
    let disk = LossyDisk::new();
    let open = open_on(&event, &disk).unwrap();
    let chain = PathBuf::from(FOLDER).join("chain");
    check(&event, &open, 1, 1).await.unwrap();
    let begun = disk.files().read(&chain).unwrap().len();
    let group = (2..=30).map(|number| new_check(&event, 1, number)).collect();
    open.receipts.record(group).await.unwrap();
    open.close().await;
    let end = disk.files().read(&chain).unwrap().len();
    let blocks = begun / BLOCK..end.div_ceil(BLOCK);
    assert!((4..10).contains(&blocks.len()), "{blocks:?}");
    for lost in 1_u32..1 << blocks.len() {
        let copy = disk.copy();
        copy.tamper(&chain, |bytes| {
            for (number, block) in blocks.clone().enumerate() {
                if lost & 1 << number != 0 {
                    bytes[(block * BLOCK).max(begun)..((block + 1) * BLOCK).min(end)].fill(0);
                }
            }
        });
        assert_eq!(verify(&event, &copy).unwrap(), 1, "{lost:b}");
        let open = open_on(&event, &copy).unwrap();
        assert_eq!(open.receipts.count(), 1, "{lost:b}");
        assert_eq!(check(&event, &open, 1, 9).await.unwrap().receipt, 2);
        open.close().await;
    }
    for place in (begun..end).step_by(5) {
        let copy = disk.copy();
        copy.tamper(&chain, |bytes| bytes[place] ^= 1 << (place % 8));
        let refused = open_on(&event, &copy).err();
        let expected = begun as u64;
        assert!(
            matches!(refused, Some(OpenError::Damaged { offset, .. }) if offset == expected),
            "byte {place} of the last group, which begins at {begun}, does not count"
        );
    }
}

#![expect(clippy::disallowed_methods, reason = "tests damage files behind the gate's back")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanyard_core::decision::{Cause, Direction};
use lanyard_core::receipt::{CheckNonce, Receipt, ReceiptBody, verify_receipt};
use lanyard_core::record::Status;
use lanyard_env::{Env, Worker};
use lanyard_wire::gate::v1 as wire;

use super::*;
use crate::test_event::{TestEvent, badge_text, cleared, good, with};

mod full_disk;

use full_disk::FullDisk;

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// The receipts of a test, open.
struct Open {
    receipts: Receipts,
    recorder: Worker,
}

fn open(event: &TestEvent) -> Open {
    let (receipts, recorder) = Receipts::open(event.receipt_setup()).unwrap();
    Open { receipts, recorder }
}

impl Open {
    async fn close(self) {
        drop(self.receipts);
        self.recorder.ended().await.unwrap();
    }
}

fn nonce(number: u8) -> CheckNonce {
    CheckNonce::new([number; 16])
}

fn new_check(event: &TestEvent, badge: u8, number: u8) -> NewCheck {
    let credential = badge_text(badge);
    let checked = event.check(&credential);
    NewCheck::new(checked, &credential, "north-1", Direction::In, nonce(number), 1)
}

async fn check(
    event: &TestEvent,
    open: &Open,
    badge: u8,
    number: u8,
) -> Result<Answer, NotRecorded> {
    open.receipts.record(vec![new_check(event, badge, number)]).await.unwrap().remove(0)
}

fn new_override(event: &TestEvent, receipt: u64, number: u8, admits: bool) -> NewOverride {
    let (time, consulted) = event.checker.stand(&event.rules.load());
    NewOverride {
        receipt,
        nonce: nonce(number),
        admits,
        supervisor: "spiffe://gate/supervisor/ada".to_owned(),
        reason: "known to me".to_owned(),
        time,
        consulted,
        manifest_version: 1,
    }
}

/// All receipts of an export, verified.
fn exported(event: &TestEvent, open: &Open, from: u64, limit: u64) -> Vec<Receipt> {
    let mut export = open.receipts.export(from, limit);
    let mut text = String::new();
    while let Some(group) = export.next_group().unwrap() {
        text.push_str(&group);
    }
    let key = event.manifest.gate("gate-1").unwrap().receipts.clone();
    let title = "lanyard receipt v1\n";
    let parse = |body: &str| {
        let receipt = Receipt::parse(&format!("{title}{body}")).unwrap();
        verify_receipt(&receipt, &event.receipt_origin(), &key).unwrap();
        receipt
    };
    text.split(title).skip(1).map(parse).collect()
}

/// The body as an auditor reads it.
fn opened(event: &TestEvent, mut receipt: Receipt) -> ReceiptBody {
    receipt.open(&event.audit, &event.receipt_origin()).unwrap();
    let key = event.manifest.gate("gate-1").unwrap().receipts.clone();
    let verified = verify_receipt(&receipt, &event.receipt_origin(), &key).unwrap();
    verified.body().unwrap().clone()
}

#[tokio::test]
async fn answers_are_numbered_recorded_and_provable() {
    let event = TestEvent::new();
    let open = open(&event);
    let checks = (1..=3).map(|number| new_check(&event, number, number)).collect();
    let answers = open.receipts.record(checks).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().map(|one| one.receipt).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(answers[0].verdict, wire::Verdict::Admit);
    assert_eq!(answers[0].category.as_deref(), Some("Athlete"));
    assert_eq!(answers[1].reason, wire::Reason::Unknown);
    check(&event, &open, 1, 4).await.unwrap();
    assert_eq!(open.receipts.count(), 4);

    let receipts = exported(&event, &open, 0, 0);
    assert_eq!(receipts.len(), 4);
    // One signature for the first three.
    assert_eq!(receipts[0].head, receipts[2].head);
    assert_ne!(receipts[0].head, receipts[3].head);
    let body = opened(&event, receipts[1].clone());
    assert_eq!((body.cause, body.access_point.as_str()), (Cause::Unknown, "north-1"));
    assert_eq!((body.nonce, body.manifest_version), (nonce(2), 1));
    assert!(body.committee.handle.is_some());
    let sequences = |from, limit| {
        let receipts = exported(&event, &open, from, limit);
        receipts.iter().map(|receipt| receipt.entry.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(2, 2), [2, 3]);
    assert_eq!(sequences(3, 0), [3, 4]);
    assert_eq!(sequences(5, 0), [0; 0]);
    open.close().await;
}

#[tokio::test]
async fn checks_that_wait_together_share_a_group() {
    let event = TestEvent::new();
    let open = open(&event);
    let waiting: Vec<_> = (0..200)
        .map(|number| {
            let receipts = open.receipts.clone();
            let new = new_check(&event, 1, number);
            tokio::spawn(async move { receipts.record(vec![new]).await.unwrap().remove(0) })
        })
        .collect();
    let mut numbers = Vec::new();
    for answer in waiting {
        numbers.push(answer.await.unwrap().unwrap().receipt);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    let receipts = exported(&event, &open, 1, 0);
    let mut heads: Vec<_> = receipts.iter().map(|receipt| receipt.head.to_string()).collect();
    heads.dedup();
    assert!(heads.len() < 100, "{} groups for 200 checks", heads.len());
    open.close().await;
}

#[tokio::test]
async fn a_retry_is_the_same_check_also_after_a_restart() {
    let event = TestEvent::new();
    let before = open(&event);
    let first = check(&event, &before, 1, 1).await.unwrap();
    // Meanwhile the answer would be another.
    event.put(1, with(Status::Suspended, good()), cleared());
    assert_eq!(check(&event, &before, 1, 1).await.as_ref(), Ok(&first));
    // Twice in one call.
    let twice = vec![new_check(&event, 1, 2), new_check(&event, 1, 2), new_check(&event, 3, 2)];
    let twice = before.receipts.record(twice).await.unwrap();
    assert_eq!(twice[0], twice[1]);
    assert_eq!(twice[2], Err(NotRecorded::NonceReused));
    before.close().await;
    let after = open(&event);
    assert_eq!(check(&event, &after, 1, 1).await, Ok(first));
    assert_eq!(after.receipts.count(), 2);
    assert_eq!(check(&event, &after, 1, 3).await.unwrap().receipt, 3);
    assert_eq!(exported(&event, &after, 1, 0).len(), 3);
    after.close().await;
}

#[tokio::test]
async fn a_nonce_is_good_for_one_request_only() {
    let event = TestEvent::new();
    let open = open(&event);
    check(&event, &open, 1, 1).await.unwrap();
    assert_eq!(check(&event, &open, 2, 1).await, Err(NotRecorded::NonceReused));
    let credential = badge_text(1);
    for (door, direction) in [("north-2", Direction::In), ("north-1", Direction::Out)] {
        let checked = event.check(&credential);
        let new = NewCheck::new(checked, &credential, door, direction, nonce(1), 1);
        let answer = open.receipts.record(vec![new]).await.unwrap().remove(0);
        assert_eq!(answer, Err(NotRecorded::NonceReused));
    }
    assert_eq!(open.receipts.count(), 1);
    // An old admission is no answer to anything.
    event.clock.advance_millis(10 * 60 * 1_000);
    assert_eq!(check(&event, &open, 1, 1).await.map(|answer| answer.receipt), Ok(1));
    event.clock.advance_millis(1);
    assert_eq!(check(&event, &open, 1, 1).await, Err(NotRecorded::NonceReused));
    // A day later it is forgotten.
    event.clock.advance_millis(2 * DAY);
    check(&event, &open, 1, 5).await.unwrap();
    assert_eq!(check(&event, &open, 2, 1).await.map(|answer| answer.receipt), Ok(3));
    open.close().await;
}

#[tokio::test]
async fn neither_badge_nor_cause_is_on_the_disk_in_the_clear() {
    let event = TestEvent::new();
    event.put(2, good(), with(Status::NotGood, cleared()));
    let open = open(&event);
    check(&event, &open, 2, 1).await.unwrap();
    open.close().await;
    let found = everything(&event.receipts_dir());
    let handle = event.check(&badge_text(2)).committee.handle.unwrap();
    for secret in [[2; 32].as_slice(), handle.as_bytes(), badge_text(2).as_bytes(), b"POLICE"] {
        assert!(!found.windows(secret.len()).any(|window| window == secret));
    }
    assert!(found.windows(7).any(|window| window == b"north-1"), "the search finds what is there");
}

fn everything(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { everything(&path) } else { std::fs::read(path).unwrap() });
    }
    bytes
}

#[tokio::test]
async fn overrides_need_a_recent_check_and_the_opposite_answer() {
    let event = TestEvent::new();
    let open = open(&event);
    let admitted = check(&event, &open, 1, 1).await.unwrap().receipt;
    let unknown = check(&event, &open, 2, 2).await.unwrap().receipt;
    let malformed = {
        let checked = event.check("no badge");
        let new = NewCheck::new(checked, "no badge", "north-1", Direction::In, nonce(3), 1);
        open.receipts.record(vec![new]).await.unwrap().remove(0).unwrap().receipt
    };
    for (receipt, number, admits, expected) in [
        (malformed, 3, true, Err(NotRecorded::NotOverridable)),
        (malformed, 3, false, Err(NotRecorded::NotOverridable)),
        (admitted, 1, true, Err(NotRecorded::NotOverridable)),
        (unknown, 2, false, Err(NotRecorded::NotOverridable)),
        (unknown, 1, true, Err(NotRecorded::UnknownCheck)),
        (unknown, 9, true, Err(NotRecorded::UnknownCheck)),
        (unknown, 2, true, Ok(4)),
        (admitted, 1, false, Ok(5)),
        (unknown, 2, true, Ok(4)),
    ] {
        let new = new_override(&event, receipt, number, admits);
        assert_eq!(open.receipts.record_override(new).await, expected);
    }
    open.close().await;
    // The same again after a restart is the same.
    let open = self::open(&event);
    let new = new_override(&event, unknown, 2, true);
    assert_eq!(open.receipts.record_override(new).await, Ok(4));
    let receipts = exported(&event, &open, 4, 0);
    let [let_in, kept_out] = [0, 1].map(|index| opened(&event, receipts[index].clone()));
    assert_eq!((let_in.cause, kept_out.cause), (Cause::LetIn, Cause::KeptOut));
    let recorded = let_in.overridden.unwrap();
    assert_eq!((recorded.receipt, recorded.reason.as_str()), (unknown, "known to me"));
    assert_eq!(recorded.supervisor, "spiffe://gate/supervisor/ada");
    open.close().await;
}

#[tokio::test]
async fn whatever_a_crash_leaves_is_a_valid_prefix() {
    let event = TestEvent::new();
    let before = open(&event);
    check(&event, &before, 1, 1).await.unwrap();
    let chain = event.receipts_dir().join("chain");
    let kept = std::fs::metadata(&chain).unwrap().len();
    let group = (2..=4).map(|number| new_check(&event, 1, number)).collect();
    before.receipts.record(group).await.unwrap();
    before.close().await;
    let whole = std::fs::read(&chain).unwrap();
    let saved = tempfile::tempdir().unwrap();
    copy(&event.receipts_dir(), saved.path());
    for length in (kept..whole.len() as u64).step_by(13) {
        std::fs::remove_dir_all(event.receipts_dir()).unwrap();
        copy(saved.path(), &event.receipts_dir());
        std::fs::write(&chain, &whole[..length as usize]).unwrap();
        let after = open(&event);
        // The group was never answered: it is gone as a whole, with its nonces.
        assert_eq!(after.receipts.count(), 1, "cut at {length}");
        assert_eq!(check(&event, &after, 1, 1).await.unwrap().receipt, 1);
        assert_eq!(check(&event, &after, 1, 3).await.unwrap().receipt, 2);
        let receipts = exported(&event, &after, 1, 0);
        assert_eq!(receipts.len(), 2);
        receipts.into_iter().for_each(|receipt| drop(opened(&event, receipt)));
        after.close().await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn damage_before_the_end_is_not_taken_for_a_crash() {
    let event = TestEvent::new();
    let before = open(&event);
    for number in 0..3 {
        check(&event, &before, 1, number).await.unwrap();
    }
    before.close().await;
    let chain = event.receipts_dir().join("chain");
    let mut bytes = std::fs::read(&chain).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&chain, bytes).unwrap();
    let error = Receipts::open(event.receipt_setup()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { offset: 0, .. }), "{error}");
}

#[tokio::test]
async fn bodies_go_after_retention_and_the_chain_stays() {
    let event = TestEvent::new();
    let open = open(&event);
    check(&event, &open, 1, 1).await.unwrap();
    event.clock.advance_millis(2 * DAY);
    check(&event, &open, 1, 2).await.unwrap();
    event.clock.advance_millis(31 * DAY);
    check(&event, &open, 1, 3).await.unwrap();
    event.clock.advance_millis(DAY);
    check(&event, &open, 1, 4).await.unwrap();
    let receipts = exported(&event, &open, 1, 0);
    let sealed: Vec<_> = receipts.iter().map(|receipt| receipt.sealed.is_some()).collect();
    assert_eq!(sealed, [false, false, true, true]);
    open.close().await;
    let open = self::open(&event);
    assert_eq!(exported(&event, &open, 1, 0).len(), 4);
    open.close().await;
}

#[tokio::test]
async fn a_full_disk_admits_nobody_and_passes() {
    let event = TestEvent::new();
    let (disk, full) = FullDisk::new();
    let env = Env { files: Arc::new(disk), ..event.env.clone() };
    let setup = ReceiptSetup { env, ..event.receipt_setup() };
    let (receipts, recorder) = Receipts::open(setup).unwrap();
    let open = Open { receipts, recorder };
    check(&event, &open, 1, 1).await.unwrap();
    full.store(true, Ordering::SeqCst);
    assert_eq!(check(&event, &open, 1, 2).await, Err(NotRecorded::Disk));
    // What is recorded already is answered all the same.
    assert_eq!(check(&event, &open, 1, 1).await.map(|answer| answer.receipt), Ok(1));
    assert_eq!(open.receipts.count(), 1);
    full.store(false, Ordering::SeqCst);
    assert_eq!(check(&event, &open, 1, 2).await.map(|answer| answer.receipt), Ok(2));
    assert_eq!(exported(&event, &open, 1, 0).len(), 2);
    open.close().await;
    let open = self::open(&event);
    assert_eq!(check(&event, &open, 1, 2).await.map(|answer| answer.receipt), Ok(2));
    open.close().await;
}

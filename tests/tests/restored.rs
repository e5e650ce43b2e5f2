//! The committee's machine is lost, and an old backup is put onto an empty one (docs/DRILLS.md, f).

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use lanyard_tests::{Desk, Load, TestEvent, eventually, people, run_together, sample_plan};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::epoch::v1::StartEpochRequest;

const MAIN: &str = "sta-main";

/// An event with three people cleared and published; their badges' texts.
fn published() -> (TestEvent, Vec<String>) {
    let mut event = TestEvent::make_watched(&sample_plan());
    event.start_all();
    let badges = run_together(async {
        let desk = Desk::of(&event);
        let everyone = people(3);
        desk.enrol(&everyone).await.unwrap();
        let texts = desk.issue().await.unwrap();
        cleared(&desk, 3).await;
        everyone.iter().map(|person| texts[&person.reference].clone()).collect()
    });
    (event, badges)
}

async fn cleared(desk: &Desk, count: u64) {
    eventually("screening ends", async || {
        (desk.screen(2).await.ok()?.cleared >= count).then_some(())
    })
    .await;
    desk.settle().await;
}

/// `lanyard backup` of a party, whose service may be running, and a copy of rows that lie elsewhere.
async fn back_up(event: &TestEvent, party: &str, to: &Path) {
    lanyard::back_up(&event.folder(party), &to.join(party)).await.unwrap();
    event.copy_rows(party, to);
}

/// How far the committee's log is on its disk. A backup may have less: rows in PostgreSQL are copied after the folder.
fn held(data: &Path) -> Option<std::ffi::OsString> {
    let names = std::fs::read_dir(data.join("feeds/committee/ticks")).ok()?;
    names.map(|entry| entry.unwrap().file_name()).max()
}

fn report(data: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(data.join("restored.json")).unwrap()).unwrap()
}

async fn says(desk: &Desk, badge: &str, verdict: &str) {
    eventually(&format!("the gate says {verdict}"), async || {
        (desk.check(badge, MAIN).await.ok()?.verdict == verdict).then_some(())
    })
    .await;
}

async fn holds_in_the_audit_trail(desk: &Desk) -> usize {
    let request = committee::ListAuditRequest { limit: 1_000, ..Default::default() };
    let trail = desk.registrar.badges().unwrap().list_audit(request).await.unwrap().into_inner();
    trail.entries.iter().filter(|entry| entry.action == "hold").count()
}

/// What came after the backup: one suspended, one revoked, one enrolled and issued, and an epoch out of turn, whose keys the
/// backup has not. The enrolled one's badge text.
async fn live_on(desk: &Desk, badges: &[String]) -> String {
    let new: Vec<_> = people(4).split_off(3);
    desk.enrol(&new).await.unwrap();
    let texts = desk.issue().await.unwrap();
    cleared(desk, 4).await;
    let new = texts[&new[0].reference].clone();
    says(desk, &new, "ADMIT").await;
    desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
    desk.committee_says(StatusAction::Revoke, "P-0002").await.unwrap();
    let request = StartEpochRequest { reason: "a test".to_owned() };
    desk.registrar.epochs().unwrap().start_epoch(request).await.unwrap();
    says(desk, &badges[1], "REFER").await;
    says(desk, &badges[2], "DENY").await;
    let before = desk.published().await.unwrap()[0].0;
    eventually("the new epoch is signed", async || {
        (desk.published().await.ok()?[0].0 >= before + 4).then_some(())
    })
    .await;
    desk.settle().await;
    new
}

#[test]
fn a_backup_on_an_empty_machine_signs_after_the_mirrors_and_stops_whom_the_directory_stops() {
    let (mut event, badges) = published();
    let data: PathBuf = event.folder("committee").join("data");
    let backup = tempfile::tempdir().unwrap();
    let (newest, lost) = run_together(async {
        back_up(&event, "committee", backup.path()).await;
        let newest = held(&data);
        (newest, live_on(&Desk::of(&event), &badges).await)
    });

    event.stop("committee");
    event.restore("committee", backup.path());
    // Neither mirror answers: nothing is signed, though there is a whole store to publish.
    event.stop("sponsor");
    event.stop("police");
    event.start("committee");
    std::thread::sleep(Duration::from_secs(4));
    assert!(held(&data) <= newest, "nothing is signed while nobody brings the log");

    event.start("sponsor");
    event.start("police");
    run_together(async {
        let desk = Desk::of(&event);
        let good = Load::on(&badges[..1], MAIN);
        eventually("the gate is up to date", async || {
            let checked = desk.check(&badges[0], MAIN).await.ok()?;
            (checked.verdict == "ADMIT" && !checked.response.stale).then_some(())
        })
        .await;
        let through = good.during(&desk.scanner, async {
            eventually("the committee signs again", async || {
                (desk.published().await.ok()?[0].0 > 0).then_some(())
            })
            .await;
            for _ in 0..3 {
                desk.settle().await;
                assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
                assert_eq!(desk.check(&badges[2], MAIN).await.unwrap().verdict, "DENY");
            }
        });
        through.await;

        // What is lost is stated, and the badge that nobody knows any more is good no more.
        let report = report(&data);
        assert_eq!((&report["held"], &report["opened"]), (&2.into(), &3.into()), "{report}");
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let most = number(&report["unknown"]) - number(&report["decoys"][0]);
        assert!(most >= 1, "{report}");
        assert_ne!(desk.check(&lost, MAIN).await.unwrap().verdict, "ADMIT");
        assert_eq!(holds_in_the_audit_trail(&desk).await, 2);

        // Whoever is enrolled again gets a badge of their own, not the lost one.
        let again: Vec<_> = people(4).split_off(3);
        desk.enrol(&again).await.unwrap();
        let texts = desk.issue().await.unwrap();
        assert_ne!(texts[&again[0].reference], lost);

        // An operator decides.
        desk.committee_says(StatusAction::Reinstate, "P-0001").await.unwrap();
        says(&desk, &badges[1], "ADMIT").await;
        let state = desk.sync_state().await.unwrap();
        assert!(state.authorities.iter().all(|one| one.evidence.is_empty()), "{state:?}");
    });
    // A restart finds nothing more to hold.
    std::fs::remove_file(data.join("restored.json")).unwrap();
    event.stop("committee");
    event.start("committee");
    run_together(async {
        let desk = Desk::of(&event);
        desk.settle().await;
        assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "ADMIT");
        assert!(!data.join("restored.json").exists());
    });
}

/// The log is there and the database alone is old: the same.
#[test]
fn an_old_database_beside_a_new_log_stops_whom_the_directory_stops() {
    let (mut event, badges) = published();
    let data: PathBuf = event.folder("committee").join("data");
    let backup = tempfile::tempdir().unwrap();
    run_together(async {
        back_up(&event, "committee", backup.path()).await;
        let desk = Desk::of(&event);
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        says(&desk, &badges[1], "REFER").await;
        desk.settle().await;
    });
    event.stop("committee");
    event.restore_rows("committee", backup.path());
    event.start("committee");
    run_together(async {
        let desk = Desk::of(&event);
        // As many changes as were lost, so that the store looks as new as it was.
        desk.committee_says(StatusAction::Suspend, "P-0002").await.unwrap();
        for _ in 0..3 {
            desk.settle().await;
            assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
            assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT");
        }
        assert_eq!(report(&data)["held"], 1);
        assert_eq!(holds_in_the_audit_trail(&desk).await, 1);
    });
}

/// A backup whose log is as long as its memory says, and nobody to ask: what the lost machine signed after it is not known.
#[test]
fn a_backup_that_nobody_speaks_for_signs_nothing_until_a_quorum_does() {
    let (mut event, badges) = published();
    let data: PathBuf = event.folder("committee").join("data");
    let backup = tempfile::tempdir().unwrap();
    let newest = run_together(async {
        back_up(&event, "committee", backup.path()).await;
        let newest = held(&data);
        let desk = Desk::of(&event);
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        says(&desk, &badges[1], "REFER").await;
        desk.settle().await;
        newest
    });
    event.stop_all();
    event.restore("committee", backup.path());
    event.start("committee");
    // Several ticks' time, and that of asking everybody.
    std::thread::sleep(Duration::from_secs(6));
    assert!(held(&data) <= newest, "it signed on without a word from anybody");
    let (ready, said) = run_together(event.ask("committee", "/readyz"));
    assert_eq!(ready, 503);
    assert!(said.contains("this may be a restored backup"), "{said}");
    // One witness is no quorum.
    event.start("trustee");
    std::thread::sleep(Duration::from_secs(3));
    assert!(held(&data) <= newest, "it signed on at one witness's word");

    event.start_all();
    run_together(async {
        let desk = Desk::of(&event);
        eventually("the committee signs again", async || {
            let (ready, _) = event.ask("committee", "/readyz").await;
            (ready == 200).then_some(())
        })
        .await;
        desk.settle().await;
        assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT");
        assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
        let state = desk.sync_state().await.unwrap();
        assert!(state.authorities.iter().all(|one| one.evidence.is_empty()), "{state:?}");
    });
}

/// Every machine is lost, and all are restored from the backups of one moment: each waits for the others' word, and nobody
/// for good.
#[test]
fn an_event_that_is_restored_as_a_whole_comes_up_by_itself() {
    let (mut event, badges) = published();
    event.stop_all();
    let backup = tempfile::tempdir().unwrap();
    let members: Vec<String> =
        event.members().iter().map(|member| member.name().to_owned()).collect();
    run_together(async {
        for member in &members {
            back_up(&event, member, backup.path()).await;
        }
    });
    for member in &members {
        event.restore(member, backup.path());
    }
    event.start_all();
    run_together(async {
        let desk = Desk::of(&event);
        desk.settle().await;
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        says(&desk, &badges[1], "REFER").await;
        assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT");
        let state = desk.sync_state().await.unwrap();
        assert!(state.authorities.iter().all(|one| one.evidence.is_empty()), "{state:?}");
    });
}

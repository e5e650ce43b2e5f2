//! A page of PostgreSQL that a disk has changed: nothing is signed over it, and whoever needs it is told.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use lanyard_test_postgres::own_server;
use lanyard_tests::{Desk, TestEvent, eventually, run_together, sample_plan};
use lanyard_transport::status;
use lanyard_wire::common::v1::StatusAction;
use tonic::Code;

const MAIN: &str = "sta-main";
const ADVICE: &str = "restore the store from a backup";

#[test]
fn nothing_is_signed_over_a_damaged_page_and_a_restored_store_goes_on() {
    let Some(mut server) = own_server() else { return };
    let mut event = TestEvent::make_watched(&sample_plan());
    event.place_store("committee", &server.url("postgres"));
    event.start_all();
    let backup = tempfile::tempdir().unwrap();
    let (badges, file) = run_together(async {
        let desk = Desk::of(&event);
        let badges = desk.publish_people(3).await;
        event.copy_rows("committee", backup.path());
        (badges, event.written("committee", "prints").await)
    });
    server.crash();
    // Rows lie at the end of a page of 8 KiB.
    server.flip_bit(&file, 8_000);
    server.resume();
    run_together(async {
        let desk = Desk::of(&event);
        let refused = eventually("the store answers again", async || {
            let refused = desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap_err();
            (refused.code() != Code::Unavailable).then_some(refused)
        })
        .await;
        assert_eq!(refused.code(), Code::DataLoss, "{refused}");
        assert_eq!(status::reason(&refused).as_deref(), Some(status::STORE_DAMAGED));
        assert!(refused.message().contains(ADVICE), "{refused}");
        let log = desk.sync_state().await.unwrap().authorities[0].signed_size;
        eventually("it is not ready for not publishing", async || {
            let (code, ready) = event.ask("committee", "/readyz").await;
            (code == 503 && ready.contains("signed head")).then_some(())
        })
        .await;
        let later = desk.sync_state().await.unwrap().authorities[0].signed_size;
        assert_eq!(later, log, "the committee signed over a damaged page");
    });
    event.stop("committee");
    assert!(event.refused("committee", Duration::from_secs(60)).contains(ADVICE));
    event.restore_rows("committee", backup.path());
    event.start("committee");
    run_together(async {
        let desk = Desk::of(&event);
        eventually("the stop is taken", async || {
            desk.committee_says(StatusAction::Suspend, "P-0001").await.ok()
        })
        .await;
        eventually("it reaches the gate", async || {
            (desk.check(&badges[1], MAIN).await.ok()?.verdict == "REFER").then_some(())
        })
        .await;
    });
}

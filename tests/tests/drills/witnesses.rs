//! One witness is down, then all are.

use lanyard_ceremony::Member;
use lanyard_core::decision::StalenessTier;
use lanyard_env::Env;
use lanyard_tests::{Desk, TestEvent, eventually, run_together, sample_plan};
use lanyard_wire::committee::v1::GetPublicationRequest;
use lanyard_wire::common::v1::StatusAction;

use crate::world::{MAIN, news_flow, published, says, started};

/// Seconds after which knowledge is too old at the door.
const LIMIT: u32 = 20;

/// What the committee's operator sees: the size of the log, and that of the newest with a quorum.
async fn publication(desk: &Desk) -> (u64, u64) {
    let mut badges = desk.registrar.badges().unwrap();
    let answer = badges.get_publication(GetPublicationRequest {}).await.unwrap().into_inner();
    (answer.log_size, answer.quorum_size)
}

/// What both authorities' own witnesses remember can be written no more, or again.
async fn memory_fails(event: &TestEvent, fails: bool) {
    for authority in ["committee", "police"] {
        if event.is_over_postgres(authority) {
            let rows = event.rows(authority).await;
            for statement in if fails { FAIL } else { WORK } {
                sqlx::query(statement).execute(&rows).await.unwrap();
            }
            rows.close().await;
            continue;
        }
        let data = event.folder(authority).join("data");
        let mut places = [data.join("witness"), data.join("witness-away")];
        if !fails {
            places.reverse();
        }
        let [from, to] = places;
        std::fs::rename(from, to).unwrap();
    }
}

const FAIL: [&str; 2] = [
    "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'could not write' USING ERRCODE = 'io_error'; END $$",
    "CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON documents FOR EACH ROW \
        WHEN (NEW.name LIKE 'store/witness/%') EXECUTE FUNCTION fails()",
];
const WORK: [&str; 2] = ["DROP TRIGGER fails ON documents", "DROP FUNCTION fails"];

#[test]
fn stops_reach_gates_without_witnesses_and_the_rest_waits_for_them() {
    let mut plan = sample_plan();
    plan.gates[0].upstreams = vec![Member::Committee, Member::Police];
    let tier = StalenessTier { fresh_seconds: 3, limit_seconds: LIMIT };
    plan.staleness_tiers.insert("open".to_owned(), tier);
    let mut event = started(&plan, Env::system());
    let badges = run_together(async { published(&Desk::of(&event)).await });

    event.stop("trustee");
    run_together(async {
        let desk = Desk::of(&event);
        news_flow(&desk, &badges[1], "P-0001").await;
        desk.committee_says(StatusAction::Suspend, "P-0002").await.unwrap();
        desk.settle().await;
        says(&desk, &badges[2], "REFER").await;
    });

    event.stop("sponsor");
    run_together(async {
        memory_fails(&event, true).await;
        let desk = Desk::of(&event);
        desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
        says(&desk, &badges[1], "REFER").await;
        // The others are let in on what is known, and the end of the stop waits.
        let checked = desk.check(&badges[0], MAIN).await.unwrap();
        assert_eq!(checked.verdict, "ADMIT", "{checked:?}");
        desk.committee_says(StatusAction::Reinstate, "P-0002").await.unwrap();
        let (size, quorum) = publication(&desk).await;
        eventually("it is signed, and known at the gate", async || {
            let state = desk.sync_state().await.ok()?;
            (state.authorities[0].signed_size >= size + 3).then_some(())
        })
        .await;
        assert!(desk.check(&badges[2], MAIN).await.unwrap().verdict != "ADMIT");
        assert_eq!(
            publication(&desk).await.1,
            quorum,
            "operators see that the quorum stands still"
        );
        // At the limit nobody is let in any more.
        says(&desk, &badges[0], "UNDETERMINED").await;
        let checked = desk.check(&badges[0], MAIN).await.unwrap();
        assert!(checked.response.age_seconds >= LIMIT.into(), "{checked:?}");
    });

    event.start("trustee");
    event.start("sponsor");
    run_together(async {
        memory_fails(&event, false).await;
        let desk = Desk::of(&event);
        says(&desk, &badges[2], "ADMIT").await;
        says(&desk, &badges[1], "REFER").await;
        news_flow(&desk, &badges[0], "P-0000").await;
    });
}

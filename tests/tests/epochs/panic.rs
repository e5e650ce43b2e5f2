//! Epochs out of turn: what is stolen is worth nothing, and nobody at a door notices.

use std::process::{Child, Command};

use lanyard_client::Connection;
use lanyard_core::badge::{BadgeText, ScopedCode};
use lanyard_core::ids::{Audience, Epoch};
use lanyard_env::Env;
use lanyard_party::PartyConfig;
use lanyard_tests::{Desk, Load, TestEvent, eventually, run_together, sample_plan};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::{AuditEntry, StatusAction};
use lanyard_wire::epoch::v1::{GetEpochCostRequest, GetEpochCostResponse, StartEpochRequest};
use lanyard_wire::police::v1 as police;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    MAIN, epochs, epochs_in, epochs_of, minute_epochs, published, reach, refused, seconds,
};

pub(crate) async fn cost(operator: &Connection) -> GetEpochCostResponse {
    let mut client = operator.epochs().unwrap();
    client.get_epoch_cost(GetEpochCostRequest {}).await.unwrap().into_inner()
}

const WHY: &str = "a gate was stolen";
const REGISTRAR: &str = "spiffe://committee/operator/registrar";
const OFFICER: &str = "spiffe://police/operator/officer";

async fn try_start(operator: &Connection) -> Result<u32, Status> {
    let request = StartEpochRequest { reason: WHY.to_owned() };
    Ok(operator.epochs().unwrap().start_epoch(request).await?.into_inner().epoch)
}

pub(crate) async fn start(operator: &Connection) -> u32 {
    try_start(operator).await.unwrap()
}

/// The orders for epochs in an authority's audit trail: for which, by whom, and why.
fn orders(trail: Vec<AuditEntry>) -> Vec<(String, String, String)> {
    let orders = trail.into_iter().filter(|entry| entry.action == "start-epoch");
    orders.map(|entry| (entry.subject, entry.operator, entry.reason)).collect()
}

async fn police_orders(desk: &Desk) -> Vec<(String, String, String)> {
    let request = police::ListAuditRequest::default();
    let trail = desk.officer.subjects().unwrap().list_audit(request).await.unwrap();
    orders(trail.into_inner().entries)
}

async fn committee_orders(desk: &Desk) -> Vec<(String, String, String)> {
    let request = committee::ListAuditRequest::default();
    let trail = desk.registrar.badges().unwrap().list_audit(request).await.unwrap();
    orders(trail.into_inner().entries)
}

/// An order as it stands in the trail.
fn order(operator: &str, epoch: u32) -> (String, String, String) {
    (format!("epoch {epoch}"), operator.to_owned(), WHY.to_owned())
}

#[test]
fn a_new_epoch_out_of_turn_changes_everything_but_the_answers() {
    let (mut event, badges) = published(&sample_plan(), &Env::system(), 4);
    let live = run_together(async {
        let desk = Desk::of(&event);
        let load = Load::on(&badges, MAIN);
        let ended = load.during(&desk.scanner, async {
            let live = epochs(&desk).await.unwrap();
            assert_eq!(live[0], live[1]);
            let costs = [cost(&desk.registrar).await, cost(&desk.officer).await];
            for cost in &costs {
                assert_eq!((cost.live_epoch, cost.next_epoch), (live[0], live[0] + 1));
                let gate = &cost.directories[0];
                // Four people and 64 decoys.
                assert_eq!(gate.rows, 68);
                assert!(gate.verifiers.contains(&"gate/gate-1".to_owned()));
            }
            load.stops(1);
            desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
            refused(&desk, &badges[1]).await;
            // One after the other: between them, authorities live in different epochs.
            assert_eq!(start(&desk.registrar).await, live[0] + 1);
            assert_eq!(start(&desk.registrar).await, live[0] + 1, "one that is under way");
            reach(&desk, [live[0] + 1, live[1]]).await;
            seconds(1).await;
            assert_eq!(start(&desk.officer).await, live[0] + 1, "that of the committee");
            reach(&desk, [live[0] + 1; 2]).await;
            // Again, and again.
            assert_eq!(start(&desk.registrar).await, live[0] + 2);
            reach(&desk, [live[0] + 2, live[0] + 1]).await;
            assert_eq!(start(&desk.registrar).await, live[0] + 3);
            reach(&desk, [live[0] + 3, live[0] + 1]).await;
            assert_eq!(start(&desk.officer).await, live[0] + 3, "it joins");
            reach(&desk, [live[0] + 3; 2]).await;
            seconds(2).await;
            // Whoever asked has an entry, also for one that was under way.
            let expected = [1, 1, 2, 3].map(|more| order(REGISTRAR, live[0] + more));
            assert_eq!(committee_orders(&desk).await, expected);
            let expected = [1, 3].map(|more| order(OFFICER, live[0] + more));
            assert_eq!(police_orders(&desk).await, expected);
            live[0] + 3
        });
        let live = ended.await;
        assert!(load.checks() > 200, "{} checks are no load", load.checks());
        // A code of the new epoch is good, one of the old is not.
        let event_id = &desk.registrar.manifest().event;
        let badge = BadgeText::parse(&badges[0], event_id).unwrap();
        let code = |epoch| {
            ScopedCode::derive(&badge, event_id, Audience::Gate, Epoch::new(epoch))
                .to_text(event_id)
                .to_string()
        };
        assert_eq!(desk.check(&code(live), MAIN).await.unwrap().verdict, "ADMIT");
        assert_eq!(desk.check(&code(live - 3), MAIN).await.unwrap().reason, "EXPIRED");
        live
    });
    let own = epochs_of(event.kept("committee", "audience-keys"));
    let at_gate = epochs_in(&event.folder("gate-1").join("data/mirror/police/keys"));
    for (holder, of) in [("committee", own), ("gate-1", at_gate)] {
        assert!(of.iter().all(|epoch| *epoch == live), "{holder}: {of:?}");
    }
    // Decided, and then the power goes: it goes on.
    run_together(async {
        let desk = Desk::of(&event);
        assert_eq!(start(&desk.officer).await, live + 1);
    });
    event.stop("police");
    let is_decided = has_decided(&event);
    event.start("police");
    run_together(async {
        let desk = Desk::of(&event);
        assert!(is_decided, "it was stopped before the second tick");
        reach(&desk, [live, live + 1]).await;
        // The committee was down meanwhile, and joins when it is told to.
        assert_eq!(start(&desk.registrar).await, live + 1);
        reach(&desk, [live + 1; 2]).await;
        assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
        assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT");
    });
    assert!(!has_decided(&event), "nothing is left to do");
}

/// Whether the police have decided on an epoch that is not live yet.
fn has_decided(event: &TestEvent) -> bool {
    event.kept("police", "").iter().any(|name| name == "epoch-out-of-turn")
}

/// When the next epoch is published ahead already, a stolen gate has its keys: the new epoch is the one after.
#[test]
fn an_epoch_whose_keys_are_out_is_passed_over() {
    let (event, badges) = published(&minute_epochs(), &Env::system(), 2);
    run_together(async {
        let desk = Desk::of(&event);
        let load = Load::on(&badges, MAIN);
        load.during(&desk.scanner, async {
            // Not where the plan's own rollover would come between, nor where the gate may not have heard of it yet.
            while !(5_000..40_000).contains(&(desk.registrar.env().now().millis() % 60_000)) {
                seconds(1).await;
            }
            let live = epochs(&desk).await.unwrap();
            let first = cost(&desk.registrar).await;
            assert_eq!(first.next_epoch, live[0] + 2, "{first:?}");
            assert_eq!(start(&desk.registrar).await, live[0] + 2);
            assert_eq!(start(&desk.officer).await, live[0] + 2);
            reach(&desk, [live[0] + 2; 2]).await;
            seconds(2).await;
        })
        .await;
    });
}

/// The variable with the path of the `config.toml` of the process that is killed.
const CONFIG: &str = "LANYARD_TEST_POLICE";

/// Not a test: the process that the next one kills.
#[test]
#[ignore = "run by another test as a process of its own"]
fn police_process() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let env = Env::system();
    let config = PartyConfig::read(&*env.files, config.as_ref()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(lanyard_police::serve(config, env, CancellationToken::new())).unwrap();
}

/// Killed when it is dropped, if not before.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// kill -9 the moment the order is acknowledged: the epoch starts after the restart, and the trail says who wanted it.
#[test]
fn an_epoch_that_was_acknowledged_starts_although_its_authority_is_killed() {
    let (mut event, badges) = published(&sample_plan(), &Env::system(), 2);
    event.stop("police");
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "panic::police_process", "--nocapture"])
        .env(CONFIG, event.folder("police").join("config.toml"))
        .spawn();
    let process = Killed(process.unwrap());
    let (epoch, live) = run_together(async {
        let desk = Desk::of(&event);
        let live = epochs(&desk).await.unwrap();
        let epoch =
            eventually("the police publish", async || try_start(&desk.officer).await.ok()).await;
        drop(process);
        (epoch, live)
    });
    assert_eq!(epoch, live[1] + 1);
    assert!(has_decided(&event), "it was killed before the second tick");
    event.start("police");
    run_together(async {
        let desk = Desk::of(&event);
        reach(&desk, [live[0], epoch]).await;
        assert_eq!(police_orders(&desk).await, [order(OFFICER, epoch)]);
        assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT");
    });
    assert!(!has_decided(&event), "nothing is left to do");
}

//! A full disk, one party's at a time: new work is refused as docs/DURABILITY.md says, nothing is half done, and when there
//! is space again it goes on without a restart.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lanyard_client::Connection;
use lanyard_core::oprf::{self, BlindedElement};
use lanyard_env::Env;
use lanyard_party::{Folder, ManifestStore, expected, trust_anchors};
use lanyard_shareholder::Purpose;
use lanyard_tests::{
    Call, Desk, RefusingDisk, TestEvent, eventually, list_entry, people, run_together, sample_plan,
};
use lanyard_transport::{Role, Tls, connect, status};
use lanyard_wire::committee::v1 as committee;
use lanyard_wire::common::v1::StatusAction;
use lanyard_wire::epoch::v1::StartEpochRequest;
use lanyard_wire::police::v1 as police;
use lanyard_wire::pseudonym::v1::key_share_service_client::KeyShareServiceClient;
use lanyard_wire::pseudonym::v1::{EvaluateRequest, GetUsageRequest, Purpose as WirePurpose};
use serde_json::Value;
use tonic::{Code, Status};

const MAIN: &str = "sta-main";

/// A running event, whose disks can be filled.
struct World {
    event: TestEvent,
    disks: BTreeMap<String, Arc<AtomicBool>>,
}

impl World {
    fn start() -> Self {
        let mut event = TestEvent::make_watched(&sample_plan());
        let mut disks = BTreeMap::new();
        for member in event.members() {
            let is_full = Arc::new(AtomicBool::new(false));
            let full = Arc::clone(&is_full);
            let disk = RefusingDisk::new(move |call, _| {
                let refuses = call == Call::Write && full.load(Ordering::SeqCst);
                refuses.then_some(io::ErrorKind::StorageFull)
            });
            event.start_in(member.name(), Env { files: Arc::new(disk), ..Env::system() });
            disks.insert(member.name().to_owned(), is_full);
        }
        Self { event, disks }
    }

    /// Fills a party's disk, or frees space there.
    async fn fill(&self, party: &str, is_full: bool) {
        self.disks[party].store(is_full, Ordering::SeqCst);
        if !["committee", "police"].contains(&party) {
            return;
        }
        // PostgreSQL is on another machine, whose disk is full then, too. The limit on pages that SQLite has is a connection's own, and those are the service's. So SQLite is brought to say
        // `SQLITE_FULL`, as of a full disk, by a number that does not fit; at the last statement of a change, its entry in the
        // audit trail.
        let statements: &[&'static str] = match (self.event.is_over_postgres(party), is_full) {
            (true, true) => &[
                "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
                "CREATE TRIGGER is_full BEFORE INSERT ON audit EXECUTE FUNCTION is_full()",
            ],
            (true, false) => &["DROP TRIGGER is_full ON audit", "DROP FUNCTION is_full"],
            (false, true) => &[
                "CREATE TABLE full (number INTEGER PRIMARY KEY AUTOINCREMENT)",
                "INSERT INTO full VALUES (9223372036854775807)",
                "CREATE TRIGGER is_full BEFORE INSERT ON audit BEGIN INSERT INTO full VALUES (NULL); END",
            ],
            (false, false) => &["DROP TRIGGER is_full", "DROP TABLE full"],
        };
        let pool = self.event.rows(party).await;
        for statement in statements {
            sqlx::query(*statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }

    /// How often a witness has cosigned, for both authorities.
    async fn cosignatures(&self, desk: &Desk, witness: &str) -> f64 {
        let name = desk.registrar.manifest().witness(witness).unwrap().key.name().clone();
        let labels = format!("{{witness=\"{name}\",outcome=\"cosigned\"}}");
        self.metric(&format!("lanyard_witness_answers_total{labels}")).await
    }

    async fn cosigns_again(&self, desk: &Desk, witness: &str, before: f64) {
        eventually("it cosigns again", async || {
            (self.cosignatures(desk, witness).await > before).then_some(())
        })
        .await;
    }

    /// Waits until a service says that it cannot do this part of its work, or that it is ready.
    async fn unready(&self, party: &str, condition: Option<&str>) {
        eventually(&format!("{party} is not ready: {condition:?}"), async || {
            let (code, body) = self.event.ask(party, "/readyz").await;
            let readiness: Value = serde_json::from_str(&body).unwrap();
            let mut conditions = readiness["conditions"].as_array().unwrap().iter();
            let holds = condition.is_none_or(|name| {
                conditions.find(|one| one["name"] == name).expect(name)["holds"] == true
            });
            let expected = if condition.is_some() { (503, false) } else { (200, true) };
            ((code, holds) == expected).then_some(())
        })
        .await;
    }

    /// A number that all services of this process together show.
    async fn metric(&self, series: &str) -> f64 {
        let (_, metrics) = self.event.ask("gate-1", "/metrics").await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series));
        value.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }
}

fn refused<T>(answer: Result<T, Status>, code: Code, reason: &str) {
    let Err(error) = answer else { panic!("taken on a full disk") };
    let found = (error.code(), status::reason(&error));
    assert_eq!(found, (code, Some(reason.to_owned())), "{error}");
}

fn store_full<T>(answer: Result<T, Status>) {
    refused(answer, Code::ResourceExhausted, status::STORE_FULL);
}

/// Lets three ticks pass.
async fn ticks() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

async fn start_epoch(operator: &Connection) -> Result<u32, Status> {
    let request = StartEpochRequest { reason: "a test".to_owned() };
    Ok(operator.epochs().unwrap().start_epoch(request).await?.into_inner().epoch)
}

#[test]
fn a_full_disk_refuses_new_work_and_goes_on_when_there_is_space() {
    let world = World::start();
    run_together(async {
        let desk = Desk::of(&world.event);
        let badges = desk.publish_people(3).await;
        committee_full(&world, &desk, &badges).await;
        police_full(&world, &desk, &badges).await;
        trustee_full(&world, &desk).await;
        sponsor_full(&world, &desk, &badges).await;
        gate_full(&world, &desk, &badges).await;
    });
}

async fn committee_full(world: &World, desk: &Desk, badges: &[String]) {
    let epoch = desk.sync_state().await.unwrap().authorities[0].epoch;
    let trail = async || {
        let request = committee::ListAuditRequest::default();
        let trail = desk.registrar.badges().unwrap().list_audit(request).await.unwrap();
        trail.into_inner().entries.len()
    };
    let before = trail().await;
    world.fill("committee", true).await;
    store_full(desk.committee_says(StatusAction::Suspend, "P-0001").await);
    let newcomer = people(4).pop().unwrap();
    store_full(desk.enrol(std::slice::from_ref(&newcomer)).await);
    store_full(start_epoch(&desk.registrar).await);
    // No tick; what is known is read on, and gates go on.
    let log = desk.published().await.unwrap();
    ticks().await;
    let later = desk.published().await.unwrap();
    assert_eq!(later[0].0, log[0].0, "the committee signed what it could not keep");
    assert!(later[1].0 > log[1].0, "the police tick on");
    assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "ADMIT");
    assert_eq!(trail().await, before, "half a change was written");
    world.fill("committee", false).await;
    // Nothing of what was refused is there, and the same calls will do.
    let request = committee::ListPeopleRequest {
        references: vec![newcomer.reference.clone()],
        ..Default::default()
    };
    let mut enrolment = desk.registrar.enrolment().unwrap();
    assert!(enrolment.list_people(request).await.unwrap().into_inner().people.is_empty());
    desk.settle().await;
    assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "ADMIT");
    let live = desk.sync_state().await.unwrap().authorities[0].epoch;
    assert_eq!(live, epoch, "an epoch that was refused has begun");
    desk.enrol(&[newcomer]).await.unwrap();
    desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
    desk.settle().await;
    assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
    desk.committee_says(StatusAction::Reinstate, "P-0001").await.unwrap();
    desk.settle().await;
    assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "ADMIT");
    // The files alone: what the store took meanwhile is published once there is space, without anybody asking again.
    world.disks["committee"].store(true, Ordering::SeqCst);
    desk.committee_says(StatusAction::Suspend, "P-0001").await.unwrap();
    ticks().await;
    assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "ADMIT", "nothing is signed");
    world.disks["committee"].store(false, Ordering::SeqCst);
    desk.settle().await;
    assert_eq!(desk.check(&badges[1], MAIN).await.unwrap().verdict, "REFER");
    desk.committee_says(StatusAction::Reinstate, "P-0001").await.unwrap();
}

async fn police_full(world: &World, desk: &Desk, badges: &[String]) {
    let epoch = desk.sync_state().await.unwrap().authorities[1].epoch;
    // At first the files alone: the order is in the trail already. With PostgreSQL it is kept in there.
    if !world.event.is_over_postgres("police") {
        world.disks["police"].store(true, Ordering::SeqCst);
        store_full(start_epoch(&desk.officer).await);
    }
    world.fill("police", true).await;
    store_full(desk.police_say(StatusAction::Suspend, &badges[2]).await);
    store_full(desk.list(vec![list_entry(1, &people(1)[0], true)]).await);
    store_full(start_epoch(&desk.officer).await);
    let log = desk.published().await.unwrap();
    ticks().await;
    let later = desk.published().await.unwrap();
    assert_eq!(later[1].0, log[1].0, "the police signed what they could not keep");
    assert_eq!(desk.check(&badges[2], MAIN).await.unwrap().verdict, "ADMIT");
    let request = police::ListAuditRequest::default();
    desk.officer.subjects().unwrap().list_audit(request).await.unwrap();
    world.fill("police", false).await;
    desk.settle().await;
    assert_eq!(desk.check(&badges[2], MAIN).await.unwrap().verdict, "ADMIT");
    let live = desk.sync_state().await.unwrap().authorities[1].epoch;
    assert_eq!(live, epoch, "an epoch that was refused has begun");
    desk.police_say(StatusAction::Suspend, &badges[2]).await.unwrap();
    desk.settle().await;
    assert_eq!(desk.check(&badges[2], MAIN).await.unwrap().verdict, "REFER");
}

/// What the trustee's share holder answers the committee.
async fn evaluate(event: &TestEvent) -> Result<(), Status> {
    let env = event.env();
    let folder = Folder::open(event.folder("committee"), env);
    let manifest = ManifestStore::open(&folder).unwrap().current();
    let identity = folder.service_identity().unwrap();
    let tls = Tls::new(env, identity, trust_anchors(&manifest).unwrap());
    let address = event.address("trustee").to_string();
    let channel = connect(env, &tls, &address, &expected("trustee").unwrap()).unwrap();
    let blinded = oprf::blind(&[b"somebody"], &mut env.rng()).unwrap();
    let request = EvaluateRequest {
        purpose: WirePurpose::from(Purpose::Enrolment).into(),
        batch_id: vec![7; 16],
        quorum: vec![1, 2],
        generation: 1,
        blinded_elements: BlindedElement::encode_batch(blinded.blinded()),
    };
    KeyShareServiceClient::new(channel).evaluate(request).await.map(drop)
}

/// The trustee is a share holder and a witness; in both, others take its place meanwhile.
async fn trustee_full(world: &World, desk: &Desk) {
    let operator = world.event.person("trustee", Role::Operator);
    let used = async || {
        let usage = operator.key_share().unwrap().get_usage(GetUsageRequest {}).await.unwrap();
        usage.into_inner().usages.iter().map(|usage| usage.used).sum::<u64>()
    };
    let before = used().await;
    world.fill("trustee", true).await;
    let evaluated = evaluate(&world.event).await;
    refused(evaluated, Code::Unavailable, status::STORE_UNAVAILABLE);
    world.unready("trustee", Some("evaluations")).await;
    world.unready("trustee", Some("witness")).await;
    let screened = desk.screen(10).await.unwrap();
    assert!(screened.finished && screened.submitted >= 1, "{screened:?}");
    let faults: Vec<_> =
        screened.holder_faults.iter().map(|one| (&*one.holder, one.misbehaves)).collect();
    assert_eq!(faults, [("trustee", false)]);
    desk.settle().await;
    assert_eq!(used().await, before, "counted without being answered");
    let cosigned = world.cosignatures(desk, "trustee").await;
    world.fill("trustee", false).await;
    world.unready("trustee", None).await;
    evaluate(&world.event).await.unwrap();
    assert_eq!(used().await, before + 1);
    world.cosigns_again(desk, "trustee", cosigned).await;
}

/// The sponsor is a witness and the gate's only mirror.
async fn sponsor_full(world: &World, desk: &Desk, badges: &[String]) {
    world.fill("sponsor", true).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = world.cosignatures(desk, "sponsor").await;
    let log = desk.published().await.unwrap();
    desk.committee_says(StatusAction::Suspend, "P-0000").await.unwrap();
    ticks().await;
    assert!(before > 0.0);
    let later = world.cosignatures(desk, "sponsor").await;
    assert_eq!(later, before, "it cosigned what it could not remember");
    world.unready("sponsor", Some("witness")).await;
    eventually("the others make the quorum", async || {
        let request = committee::GetPublicationRequest {};
        let asked = desk.registrar.badges().unwrap().get_publication(request).await.ok()?;
        (asked.into_inner().quorum_size > log[0].0).then_some(())
    })
    .await;
    assert_eq!(desk.check(&badges[0], MAIN).await.unwrap().verdict, "ADMIT", "served and not kept");
    world.fill("sponsor", false).await;
    eventually("the mirror takes up the rest", async || {
        (desk.check(&badges[0], MAIN).await.ok()?.verdict == "REFER").then_some(())
    })
    .await;
    world.cosigns_again(desk, "sponsor", before).await;
    world.unready("sponsor", None).await;
}

async fn gate_full(world: &World, desk: &Desk, badges: &[String]) {
    let recorded = desk.check_again(&badges[1], MAIN, [1; 16]).await.unwrap();
    let receipts = "lanyard_gate_receipts ";
    let before = world.metric(receipts).await;
    world.fill("gate-1", true).await;
    for _ in 0..3 {
        let checked = desk.check_again(&badges[1], MAIN, [2; 16]).await;
        refused(checked, Code::Unavailable, lanyard_gate::RECEIPTS_UNAVAILABLE);
    }
    let again = desk.check_again(&badges[1], MAIN, [1; 16]).await.unwrap();
    assert_eq!(again.response.receipt_id, recorded.response.receipt_id);
    assert_eq!(world.event.ask("gate-1", "/readyz").await.0, 503);
    world.fill("gate-1", false).await;
    let checked = desk.check_again(&badges[1], MAIN, [2; 16]).await.unwrap();
    assert_eq!(checked.response.receipt_id, recorded.response.receipt_id + 1);
    assert_eq!(world.metric(receipts).await, before + 1.0, "one was recorded without an answer");
    world.unready("gate-1", None).await;
}

//! Asking several witnesses at once.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use futures::StreamExt as _;
use lanyard_core::checkpoint::VerifiedCheckpoint;
use lanyard_core::cosignature::VerifiedCosignature;
use lanyard_core::ids::Authority;
use lanyard_core::note::VerifyingKey;
use lanyard_transport::policy::ADD_CHECKPOINT;
use lanyard_transport::{Expected, PartyName};
use lanyard_witness::{ProofSource, Route, Timing, WitnessFault, WitnessPeer, WitnessSet};
use support::{Mtls, NOW, Serving, TestLog, World, serve};

struct Setup {
    world: World,
    mtls: Mtls,
    log: Arc<TestLog>,
    peers: Vec<WitnessPeer>,
    serving: Vec<Serving>,
}

impl Setup {
    fn new() -> Self {
        let world = World::new();
        let mtls = Mtls::police_and_trustee(&world.env);
        let log = Arc::new(TestLog::new(&world.env, Authority::Police, 20));
        Self { world, mtls, log, peers: Vec::new(), serving: Vec::new() }
    }

    fn route(&self, address: String) -> Route {
        let (tls, expected) = (self.mtls.caller.clone(), Expected::party(PartyName::Trustee));
        Route::Party { tls, address, expected }
    }

    async fn add(&mut self, key: VerifyingKey, routes: Router) {
        let serving = serve(&self.world.env, &self.mtls.server, routes).await;
        let (name, route) = (key.name().clone(), self.route(serving.address.clone()));
        self.peers.push(WitnessPeer { name, keys: vec![key], route, holds_log: false });
        self.serving.push(serving);
    }

    async fn add_honest(&mut self, name: &str) -> lanyard_witness::Witness {
        let witness = self.world.witness(name, &[&self.log]).unwrap();
        self.add(witness.verifying_keys().unwrap().remove(0), witness.router()).await;
        witness
    }

    fn set(&self) -> WitnessSet {
        let pause = Duration::from_millis(20);
        let timeout = Duration::from_secs(5);
        let head_start = Duration::from_millis(500);
        let timing = Timing { timeout, first_pause: pause, longest_pause: pause, head_start };
        WitnessSet::new(self.world.env.clone(), self.peers.clone(), timing)
    }

    fn prover(&self, size: u64) -> ProofSource {
        prover(&self.log, size)
    }
}

fn prover(log: &Arc<TestLog>, size: u64) -> ProofSource {
    let log = Arc::clone(log);
    Arc::new(move |old| log.log.consistency_proof(old, size).ok())
}

/// What came of each witness, by name.
async fn ask(
    set: &WitnessSet,
    checkpoint: &VerifiedCheckpoint,
    prove: &ProofSource,
) -> Vec<(String, Result<VerifiedCosignature, WitnessFault>)> {
    let answers = set.cosign(checkpoint, prove);
    let mut answers: Vec<_> =
        answers.map(|answer| (answer.witness.to_string(), answer.result)).collect().await;
    answers.sort_by(|one, other| one.0.cmp(&other.0));
    answers
}

#[tokio::test]
async fn all_are_asked_and_known_sizes_are_found_out() {
    let mut setup = Setup::new();
    let ahead = setup.add_honest("a").await;
    setup.add_honest("b").await;
    ahead.add_checkpoint(setup.log.request(0, 3).to_text().as_bytes()).unwrap();
    let set = setup.set();
    for size in [4, 5, 5, 9] {
        let answers = ask(&set, &setup.log.checkpoint(size), &setup.prover(size)).await;
        assert_eq!(answers.len(), 2);
        for (witness, result) in answers {
            assert_eq!(result.unwrap_or_else(|fault| panic!("{witness}: {fault}")).time(), NOW);
        }
    }
    for status in set.status() {
        assert_eq!((status.size, status.time, status.fault), (9, Some(NOW), None));
    }
}

#[tokio::test]
async fn a_witness_that_is_down_delays_none_and_is_used_when_it_is_back() {
    let mut setup = Setup::new();
    setup.add_honest("a").await;
    let down = setup.world.witness("b", &[&setup.log]).unwrap();
    let address = setup.world.env.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let free = address.local_addr().unwrap();
    drop(address);
    let route = setup.route(free.to_string());
    let keys = down.verifying_keys().unwrap();
    let name = keys[0].name().clone();
    setup.peers.push(WitnessPeer { name, keys, route, holds_log: false });
    let set = setup.set();

    let answers = ask(&set, &setup.log.checkpoint(4), &setup.prover(4)).await;
    assert!(answers[0].1.is_ok());
    assert!(matches!(answers[1].1, Err(WitnessFault::Unreachable { .. })), "{:?}", answers[1].1);
    let answers = ask(&set, &setup.log.checkpoint(5), &setup.prover(5)).await;
    assert!(answers[0].1.is_ok());
    assert_eq!(answers[1].1, Err(WitnessFault::Paused));

    let acceptor = lanyard_transport::Acceptor::bind(
        &setup.world.env,
        free,
        &setup.mtls.server,
        lanyard_transport::Limits::default(),
    );
    let acceptor = acceptor.await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(lanyard_transport::serve(down.router(), acceptor, stop.clone()));
    let _stop = stop.drop_guard();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let answers = ask(&set, &setup.log.checkpoint(6), &setup.prover(6)).await;
    assert!(answers.iter().all(|(_, result)| result.is_ok()), "{answers:?}");
}

#[tokio::test]
async fn a_log_that_went_back_or_forked_is_told_so() {
    let mut setup = Setup::new();
    setup.add_honest("a").await;
    let log = Arc::clone(&setup.log);
    assert!(ask(&setup.set(), &log.checkpoint(9), &setup.prover(9)).await[0].1.is_ok());
    // A fresh set: a log restored from a backup has forgotten what its witnesses know.
    let answers = ask(&setup.set(), &log.checkpoint(6), &setup.prover(6)).await;
    assert_eq!(answers[0].1, Err(WitnessFault::Ahead { size: 9 }));
    let fork = Arc::new(log.fork(5, 20));
    let answers = ask(&setup.set(), &fork.checkpoint(9), &prover(&fork, 9)).await;
    assert_eq!(answers[0].1, Err(WitnessFault::Forked { size: 9 }));
    let answers = ask(&setup.set(), &fork.checkpoint(12), &prover(&fork, 12)).await;
    assert!(matches!(answers[0].1, Err(WitnessFault::Refused { status: 422, .. })));
}

#[tokio::test]
async fn answers_that_are_no_cosignature_are_faults() {
    let mut setup = Setup::new();
    let fixed = |body: String| Router::new().route(ADD_CHECKPOINT, post(|| async { body }));
    let key = |setup: &Setup, name| setup.world.witness_key(name).verifying_key().clone();
    let other = setup.world.witness_key("a");
    let foreign = other.cosign(&setup.log.checkpoint(4), NOW).unwrap();
    setup.add(key(&setup, "a"), fixed(format!("{}\n", foreign.line()))).await;
    let stale = setup.world.witness_key("b");
    let stale_line = stale.cosign(&setup.log.checkpoint(3), NOW).unwrap();
    setup.add(stale.verifying_key().clone(), fixed(format!("{}\n", stale_line.line()))).await;
    setup.add(key(&setup, "c"), fixed(String::new())).await;
    setup.add(key(&setup, "d"), fixed("hello".to_owned())).await;
    setup.add(key(&setup, "e"), fixed("a".repeat(100_000))).await;
    let busy = post(|| async { (http::StatusCode::SERVICE_UNAVAILABLE, "busy\nmore") });
    setup.add(key(&setup, "f"), Router::new().route(ADD_CHECKPOINT, busy)).await;

    let faults: Vec<_> = ask(&setup.set(), &setup.log.checkpoint(4), &setup.prover(4))
        .await
        .into_iter()
        .map(|(_, result)| result.unwrap_err())
        .collect();
    assert_eq!(faults[..4], vec![WitnessFault::NotCosigned; 4]);
    assert!(matches!(faults[4], WitnessFault::Unreachable { .. }), "{:?}", faults[4]);
    assert_eq!(faults[5], WitnessFault::Refused { status: 503, answer: "busy".to_owned() });
}

#[tokio::test]
async fn sizes_made_up_by_a_witness_end_the_exchange() {
    let mut setup = Setup::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let liar = post(move || {
        let size = 1 + counting.fetch_add(1, Ordering::SeqCst) % 2;
        let content_type = [(http::header::CONTENT_TYPE, "text/x.tlog.size")];
        async move { (http::StatusCode::CONFLICT, content_type, format!("{size}\n")) }
    });
    let key = setup.world.witness_key("a").verifying_key().clone();
    setup.add(key, Router::new().route(ADD_CHECKPOINT, liar)).await;
    let answers = ask(&setup.set(), &setup.log.checkpoint(4), &setup.prover(4)).await;
    assert!(matches!(answers[0].1, Err(WitnessFault::Refused { status: 409, .. })));
    assert!(asked.load(Ordering::SeqCst) < 5);
}

#[tokio::test]
async fn who_holds_the_log_is_asked_before_who_does_not() {
    let mut setup = Setup::new();
    let trustee = setup.add_honest("trustee").await;
    let sponsor = setup.world.witness("sponsor", &[&setup.log]).unwrap();
    let first = Arc::new(AtomicBool::new(false));
    let (holder, remembers, seen) = (sponsor.clone(), trustee.clone(), Arc::clone(&first));
    let answer = move |body: String| async move {
        let knows_nothing = remembers.sizes().unwrap()[0].1 == 0;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let still_nothing = remembers.sizes().unwrap()[0].1 == 0;
        seen.store(knows_nothing && still_nothing, Ordering::SeqCst);
        let lines = holder.add_checkpoint(body.as_bytes()).unwrap();
        lines.iter().map(|line| format!("{}\n", line.line())).collect::<String>()
    };
    let key = sponsor.verifying_keys().unwrap().remove(0);
    setup.add(key, Router::new().route(ADD_CHECKPOINT, post(answer))).await;
    setup.peers[1].holds_log = true;
    let answers = ask(&setup.set(), &setup.log.checkpoint(4), &setup.prover(4)).await;
    assert!(answers.iter().all(|(_, result)| result.is_ok()));
    assert!(first.load(Ordering::SeqCst), "the trustee knew it before the sponsor had it");
}

#[tokio::test]
async fn where_nobody_holds_the_log_the_others_cosign_all_the_same() {
    let mut setup = Setup::new();
    setup.add_honest("trustee").await;
    let refuses = || async { (http::StatusCode::SERVICE_UNAVAILABLE, "not held") };
    let key = setup.world.witness_key("sponsor").verifying_key().clone();
    setup.add(key, Router::new().route(ADD_CHECKPOINT, post(refuses))).await;
    let silent = post(std::future::pending::<String>);
    let key = setup.world.witness_key("police").verifying_key().clone();
    setup.add(key, Router::new().route(ADD_CHECKPOINT, silent)).await;
    setup.peers[1].holds_log = true;
    let (checkpoint, prove) = (setup.log.checkpoint(4), setup.prover(4));
    let timing = Timing { head_start: Duration::from_secs(60), ..Timing::default() };
    let refused = WitnessSet::new(setup.world.env.clone(), setup.peers[..2].to_vec(), timing);
    let answers = ask(&refused, &checkpoint, &prove).await;
    assert!(answers[1].1.is_ok(), "at once, as nobody else is waited for");

    setup.peers[2].holds_log = true;
    let timing = Timing { head_start: Duration::from_millis(100), ..timing };
    let silent = WitnessSet::new(setup.world.env.clone(), setup.peers.clone(), timing);
    let mut answers = Box::pin(silent.cosign(&checkpoint, &prove));
    assert!(answers.next().await.unwrap().result.is_err(), "the one that refuses");
    let trustee = answers.next().await.unwrap();
    assert_eq!((trustee.witness.as_str(), trustee.result.is_ok()), ("trustee", true));
}

#[tokio::test]
async fn a_silent_witness_times_out() {
    let mut setup = Setup::new();
    let silent = Router::new().route(ADD_CHECKPOINT, post(std::future::pending::<String>));
    let key = setup.world.witness_key("b").verifying_key().clone();
    setup.add_honest("a").await;
    setup.add(key, silent).await;
    let timeout = Duration::from_millis(400);
    let timing = Timing { timeout, ..Timing::default() };
    let set = WitnessSet::new(setup.world.env.clone(), setup.peers.clone(), timing);
    let (checkpoint, prove) = (setup.log.checkpoint(4), setup.prover(4));
    let mut answers = Box::pin(set.cosign(&checkpoint, &prove));
    assert!(answers.next().await.unwrap().result.is_ok());
    assert_eq!(answers.next().await.unwrap().result, Err(WitnessFault::TimedOut { timeout }));
}

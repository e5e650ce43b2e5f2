//! Lists of upstreams: which one is in use, why one was left, what is said of it, and the way back to a better one.
#![allow(clippy::disallowed_methods)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::net::*;
use common::*;
use lanyard_core::freshness::ClockError;
use lanyard_core::ids::Audience;
use lanyard_env::Clock as _;
use lanyard_feed::{FeedServer, Mirror, Standing, WitnessedClock};
use tokio_util::sync::CancellationToken;

/// Bytes a second: as fast as it goes.
const FAST: u64 = u64::MAX;

/// Ticks of the committee until something holds.
async fn tick_until(what: &str, committee: &mut Publisher<'_>, mut holds: impl FnMut() -> bool) {
    for version in 1_000..1_400 {
        if holds() {
            return;
        }
        committee.settled(put(&[1], version));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

/// Each with a second, honest upstream behind it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_withholds_chatters_or_accepts_in_silence_is_left_and_the_reason_is_said() {
    for (lie, problem) in [
        (Some(Lie::WithholdDirectory), "neither here nor was it sent"),
        (Some(Lie::Chatter), "nothing came"),
        // It takes the connection, and that is all.
        (None, "nothing came"),
    ] {
        let world = world();
        let mut committee = world.publisher("committee");
        committee.begin(100);
        let (honest, _honest) = serve(server(&committee.mirror)).await;
        let silent = listen().await;
        let (bad, _bad) = match lie {
            Some(lie) => {
                let (bad, guard) =
                    serve_proxy(Proxy { inner: server(&committee.mirror), lie }).await;
                (bad, Some(guard))
            }
            None => (silent.1, None),
        };
        let gate = world.gate("gate");
        let following = start(&gate, vec![upstream("bad", bad), upstream("honest", honest)]);
        tick_until("the honest one is used", &mut committee, || following.uses("honest")).await;
        assert!(following.problem("bad").contains(problem), "{:?}", following.of("bad"));
        assert_ne!(following.of("bad").standing, Standing::InUse);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_this_log_or_with_less_of_it_is_left() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let old = world.mirror("old");
    pull(&committee.mirror, &old).await;
    committee.settled(put(&[1], 2));
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let (behind, _behind) = serve(server(&old)).await;
    let nothing = FeedServer::new(Vec::<Arc<Mirror>>::new(), CancellationToken::new());
    let (without, _without) = serve(nothing).await;
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let upstreams =
        [upstream("without", without), upstream("behind", behind), upstream("honest", honest)];
    let following = start(&gate, upstreams.into());
    tick_until("the honest one is used", &mut committee, || following.uses("honest")).await;
    let (without, behind) = (following.problem("without"), following.problem("behind"));
    assert!(without.contains("not mirrored here"), "{without}");
    assert!(behind.contains("less than the follower"), "{behind}");
    assert_eq!(following.sync.borrow().upstream.as_deref(), Some("honest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_snapshot_is_left_for_a_faster_one_and_an_only_one_is_waited_for() {
    let mut world = world();
    // Patience is a second, a tick in a snapshot has a second and a half.
    world.manifest.tick_millis = 50;
    let mut committee = world.publisher("committee");
    committee.begin(20_000);
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let rate = Arc::new(AtomicU64::new(700_000));
    let (slow, _slow) = throttled(honest, &rate).await;

    let gate = world.gate("gate");
    let upstreams = vec![upstream("slow", slow), upstream("honest", honest)];
    let following = start(&gate, upstreams);
    until("the fast one's snapshot", || gate.read().size() == 1).await;
    assert!(following.problem("slow").contains("it is slow"), "{:?}", following.of("slow"));
    drop(following);

    // Where all are slow, each gets more time in turn, and none is lost for ever.
    let gate = world.gate("gate-2");
    let (also, _also) = throttled(honest, &rate).await;
    let following = start(&gate, vec![upstream("slow", slow), upstream("also", also)]);
    until("a slow one's snapshot", || gate.read().size() == 1).await;
    assert!(following.of("slow").times_left + following.of("also").times_left > 1);
    drop(following);

    let gate = world.gate("gate-3");
    let following = start(&gate, vec![upstream("slow", slow)]);
    until("the only one's snapshot", || gate.read().size() == 1).await;
    assert_eq!(following.of("slow").times_left, 0);
}

/// The first prefers the second, which loses its own way and is left with the first.
#[tokio::test(flavor = "multi_thread")]
async fn two_mirrors_that_have_each_other_as_upstreams_never_follow_each_other() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let rate = Arc::new(AtomicU64::new(FAST));
    let (direct, _direct) = throttled(honest, &rate).await;
    let (first, second) = (world.mirror("first"), world.mirror("second"));
    let (at_first, _first) = serve(server(&first)).await;
    let (at_second, _second) = serve(server(&second)).await;
    let of_second =
        start(&second, vec![upstream("committee", direct), upstream("first", at_first)]);
    let of_first =
        start(&first, vec![upstream("second", at_second), upstream("committee", honest)]);
    tick_until("the first is served by the second", &mut committee, || of_first.uses("second"))
        .await;

    rate.store(500, Ordering::Relaxed);
    tick_until("the second is served by the first", &mut committee, || of_second.uses("first"))
        .await;
    // Its preferred upstream is tried again and again, and would pass, for the first itself brings it all.
    let left = of_first.of("second").times_left;
    tick_until("the second is tried", &mut committee, || {
        of_first.of("second").times_left > left + 1
    })
    .await;
    let problem = of_first.problem("second");
    assert!(problem.contains("follows this mirror"), "{problem}");
    assert!(of_first.uses("committee") && of_second.uses("first"));
    until("nothing is late", || second.read().size() == committee.mirror.read().size()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_upstream_is_taken_up_again_once_it_keeps_up() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let rate = Arc::new(AtomicU64::new(FAST));
    let (preferred, _preferred) = throttled(honest, &rate).await;
    let gate = world.gate("gate");
    let upstreams = vec![upstream("preferred", preferred), upstream("other", honest)];
    let following = start(&gate, upstreams);
    tick_until("the preferred one is used", &mut committee, || following.uses("preferred")).await;

    // Its bytes trickle: whole ticks come too late, or not at all.
    rate.store(500, Ordering::Relaxed);
    tick_until("the other is used", &mut committee, || following.uses("other")).await;
    let problem = following.problem("preferred");
    assert!(problem.contains("nothing came") || problem.contains("behind"), "{problem}");

    // While it is slow it is tried and not taken.
    let left = following.of("preferred").times_left;
    tick_until("it is tried", &mut committee, || following.of("preferred").times_left > left).await;
    tick_until("the other is used", &mut committee, || following.uses("other")).await;

    rate.store(FAST, Ordering::Relaxed);
    tick_until("it is taken up again", &mut committee, || following.uses("preferred")).await;
    assert_ne!(following.of("other").standing, Standing::InUse);
    let newest = committee.mirror.read().size();
    until("all ticks", || gate.read().size() == newest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_upstream_that_stands_still_or_lies_when_it_is_tried_is_not_taken() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    // Both ports answer nothing at first.
    let [(still_port, still), (liar_port, liar)] = [listen().await, listen().await];
    let gate = world.gate("gate");
    let upstreams = [upstream("still", still), upstream("liar", liar), upstream("other", honest)];
    let following = start(&gate, upstreams.into());
    tick_until("the other is used", &mut committee, || following.uses("other")).await;

    // A mirror that follows nobody, and a liar.
    let lazy = world.mirror("lazy");
    pull(&committee.mirror, &lazy).await;
    let _still = serve_on(still_port, server(&lazy).into_service());
    let proxy = Proxy { inner: server(&committee.mirror), lie: Lie::ForgeDeltas };
    let _liar = serve_on(liar_port, feed_service(proxy));
    let left = following.of("still").times_left;
    tick_until("both were tried", &mut committee, || {
        following.of("still").times_left > left + 1
            && following.problem("liar").contains("are not those")
    })
    .await;
    tick_until("the other is used", &mut committee, || following.uses("other")).await;
    assert!(!evidence(&world.path("gate"), &*world.env.files).is_empty());
    until("all ticks", || versions(&gate, 1) == versions(&committee.mirror, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_brings_every_tick_and_no_cosignatures_is_left_and_not_taken_up_again() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    committee.settled(put(&[1], 1));
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let proxy = Proxy { inner: server(&committee.mirror), lie: Lie::WithholdCosignatures };
    let (bad, _bad) = serve_proxy(proxy).await;
    let gate = world.gate("gate");
    let following = start(&gate, vec![upstream("bad", bad), upstream("honest", honest)]);
    tick_until("it is used", &mut committee, || following.uses("bad")).await;
    tick_until("the honest one is used", &mut committee, || following.uses("honest")).await;
    assert!(gate.read().quorum_size() > 1);

    let left = following.of("bad").times_left;
    tick_until("it is tried", &mut committee, || following.of("bad").times_left > left).await;
    let problem = following.problem("bad");
    assert!(problem.contains("the quorums of cosignatures it sends are"), "{problem}");
    assert!(following.uses("honest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_witness_cosigns_nobody_is_left_and_it_is_said() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let [(one, _one), (two, _two)] =
        [serve(server(&committee.mirror)).await, serve(server(&committee.mirror)).await];
    let gate = world.gate("gate");
    let following = start(&gate, vec![upstream("one", one), upstream("two", two)]);
    tick_until("it is used", &mut committee, || following.uses("one")).await;
    let size = committee.mirror.read().size();
    until("the last quorum", || gate.read().quorum_size() == size).await;

    let mut tried = false;
    for version in 2_000..2_060 {
        committee.tick(put(&[1], version));
        tokio::time::sleep(Duration::from_millis(100)).await;
        tried |= following.of("two").standing == Standing::OnTrial;
        assert!(following.uses("one"));
    }
    let doubt = following.sync.borrow().doubt.clone();
    let said = format!(
        "no quorum of cosignatures has come since size {size}: one withholds them, or the witnesses are down"
    );
    assert_eq!(doubt, Some(said));
    assert!(tried, "nobody was compared with it");
    assert_eq!(["one", "two"].map(|name| following.of(name).times_left), [0, 0]);
    tick_until("quorums come again", &mut committee, || gate.read().quorum_size() > size + 60)
        .await;
    tick_until("no doubt is left", &mut committee, || following.sync.borrow().doubt.is_none())
        .await;
}

/// A machine whose clock is ahead by hours finds all that it is sent old.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_lets_no_upstream_look_stale() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let (only, _only) = serve(server(&committee.mirror)).await;
    let gate = world.gate_ahead("gate", 3 * 3_600_000);
    let following = start(&gate, vec![upstream("only", only)]);
    tick_until("the clock is found out", &mut committee, || gate.clock_error().is_some()).await;
    let left = following.of("only").times_left;
    for version in 2_000..2_060 {
        committee.settled(put(&[1], version));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(following.of("only").times_left, left);
    let newest = committee.mirror.read().size();
    until("all ticks", || gate.read().size() == newest).await;
    // One mirror is enough to know it.
    let knows_nothing = world.gate_ahead("other", 3 * 3_600_000);
    let witnessed = WitnessedClock::new(&world.env, vec![knows_nothing, gate]);
    assert!(witnessed.now().millis_since(world.env.now()) < 60_000);
}

/// To a gate that never saw anything else it looks as if its own clock were ahead; only another upstream tells.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_all_of_it_late_is_left_for_one_that_has_it_at_once() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    committee.settled(put(&[1], 2));
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let mirror = world.mirror("late");
    let _delayed = delayed(&committee.mirror, &mirror, Duration::from_secs(3));
    tick_until("it has something", &mut committee, || mirror.read().quorum_size() > 5).await;
    let (late, _late) = serve(server(&mirror)).await;
    let gate = world.gate("gate");
    let following = start(&gate, vec![upstream("late", late), upstream("honest", honest)]);
    let is_ahead = || matches!(gate.clock_error(), Some(ClockError::Ahead { .. }));
    tick_until("the clock seems ahead", &mut committee, || following.uses("late") && is_ahead())
        .await;
    tick_until("the honest one is used", &mut committee, || following.uses("honest")).await;
    let problem = following.problem("late");
    assert!(problem.contains("behind what others bring"), "{problem}");
    assert_eq!(gate.clock_error(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_bad_each_says_why_and_the_first_that_recovers_is_used() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let [(_one_port, one), (two_port, two)] = [listen().await, listen().await];
    let gate = world.gate("gate");
    let following = start(&gate, vec![upstream("one", one), upstream("two", two)]);
    until("both were left twice", || {
        ["one", "two"].iter().all(|name| following.of(name).times_left >= 2)
    })
    .await;
    assert_eq!(following.sync.borrow().upstream, None);
    assert!(following.problem("one").contains("nothing came"));
    let _two = serve_on(two_port, server(&committee.mirror).into_service());
    tick_until("the one that recovered is used", &mut committee, || following.uses("two")).await;
    assert!(gate.read().directory(EPOCH, Audience::Gate).is_some());
}

//! Following over TCP: fail-over between upstreams, liars, silence, and followers that do not read.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::net::*;
use common::*;
use lanyard_core::ids::Audience;
use lanyard_feed::{Content, catch_up};
use lanyard_wire::feed::v1::FollowRequest;
use lanyard_wire::feed::v1::feed_service_client::FeedServiceClient;
use lanyard_wire::feed::v1::feed_service_server::FeedService as _;
use prost::Message as _;
use tokio_stream::StreamExt as _;
use tonic::Request;

#[tokio::test(flavor = "multi_thread")]
async fn ticks_flow_through_two_mirrors_to_a_gate() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(3_000);
    let (first, _one) = serve(server(&committee.mirror)).await;
    let sponsor = world.mirror("sponsor");
    let _sponsor = start(&sponsor, vec![upstream("committee", first)]);
    let (second, _two) = serve(server(&sponsor)).await;
    let gate = world.gate("gate");
    let following = start(&gate, vec![upstream("sponsor", second)]);
    until("the first state", || gate.read().size() == 1).await;
    for version in 2..6 {
        committee.settled(put(&[1, version], version));
        let seen = || versions(&gate, 1) == (Some(version), Some(version));
        until("a tick and its quorum", seen).await;
    }
    // A directory that appears while following comes as a snapshot.
    world.clock.advance_millis(TICK);
    let mut directories = committee.unchanged(gate_key(), Content::Unchanged);
    directories.push(committee.directory(key(2, Audience::Gate), rows(9_000)));
    let draft = committee.draft(directories);
    committee.publish(draft);
    committee.seal_keys(key(2, Audience::Gate));
    until("the next epoch and its key", || {
        let view = gate.read();
        let next = view.directory(EPOCH.next(), Audience::Gate);
        next.is_some_and(|next| next.audience_key().is_some() && next.profiles_signed().is_some())
    })
    .await;
    let sync = following.sync.borrow().clone();
    assert_eq!(sync.upstream.as_deref(), Some("sponsor"));
    assert!(sync.problem.is_none(), "{sync:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_silent_or_absent_upstream_is_left_for_an_honest_one() {
    for (lie, problem, evidence) in [
        (Some(Lie::ForgeDeltas), "are not those", 1),
        (Some(Lie::Garbage), "map head", 0),
        (Some(Lie::Stall), "nothing came", 0),
        (None, "", 0),
    ] {
        let world = world();
        let mut committee = world.publisher("committee");
        committee.begin(100);
        let gate = world.gate("gate");
        pull(&committee.mirror, &gate).await;
        committee.settled(put(&[1], 2));
        let (honest, _honest) = serve(server(&committee.mirror)).await;
        let (bad, _bad) = match lie {
            Some(lie) => {
                let (bad, guard) =
                    serve_proxy(Proxy { inner: server(&committee.mirror), lie }).await;
                (bad, Some(guard))
            }
            None => (listen().await.1, None),
        };
        let following = start(&gate, vec![upstream("bad", bad), upstream("honest", honest)]);
        until("the honest one's tick", || versions(&gate, 1) == (Some(2), Some(2))).await;
        // The honest one may have brought it while it was compared with the other.
        until("the bad one is left", || following.of("bad").problem.is_some()).await;
        let seen = following.of("bad").problem.unwrap();
        assert!(seen.upstream == "bad" && seen.problem.contains(problem), "{seen:?}");
        assert_eq!(self::common::evidence(&world.path("gate"), &*world.env.files).len(), evidence);
        committee.settled(put(&[1], 3));
        until("the next tick", || versions(&gate, 1) == (Some(3), Some(3))).await;
        until("the honest one is used", || following.uses("honest")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_shows_old_ticks_slowly_is_left() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let start_time = world.env.now();
    for version in 2..40 {
        committee.settled(put(&[1], version));
        world.clock.set(start_time);
    }
    world.clock.advance_millis(3_600_000);
    let dawdling = Proxy { inner: server(&committee.mirror), lie: Lie::Dawdle };
    let (bad, _bad) = serve_proxy(dawdling).await;
    let following = start(&gate, vec![upstream("bad", bad)]);
    until("it is left", || following.sync.borrow().problem.is_some()).await;
    let problem = following.sync.borrow().problem.clone().unwrap().problem;
    assert!(problem.contains("does not catch up"), "{problem}");
    assert!(gate.read().size() < committee.mirror.read().size());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_withholds_the_key_is_left_and_a_dead_one_is_replaced() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(100);
    committee.settled(put(&[1], 2));
    let proxy = Proxy { inner: server(&committee.mirror), lie: Lie::WithholdKeys };
    let (bad, bad_guard) = serve_proxy(proxy).await;
    let (honest, _honest) = serve(server(&committee.mirror)).await;
    let gate = world.gate("gate");
    let _following = start(&gate, vec![upstream("bad", bad), upstream("honest", honest)]);
    until("the rows", || gate.read().size() == 2).await;
    for version in 3..200 {
        committee.settled(put(&[1], version));
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !gate.is_incomplete() {
            break;
        }
    }
    assert!(!gate.is_incomplete(), "the other one gave the key");
    drop(bad_guard);
    let size = gate.read().size();
    committee.settled(put(&[1], 500));
    until("a tick without the dead one", || gate.read().size() > size).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_read_slows_nobody_and_is_not_lost() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(20_000);
    let (address, _guard) = serve(server(&committee.mirror)).await;
    let gate = world.gate("gate");
    let _following = start(&gate, vec![upstream("committee", address)]);
    // It asks and never reads.
    let lazy = world.mirror("lazy");
    let mut client = FeedServiceClient::new(channel(address));
    let mut stream = client.follow(lazy.follow_request()).await.unwrap().into_inner();
    until("the first state", || gate.read().size() == 1).await;
    // More ticks than are kept in memory.
    for version in 2..400 {
        let numbers: Vec<u32> = (0..64).map(|number| number * 7 + version).collect();
        committee.tick(put(&numbers, version));
    }
    let newest = committee.mirror.read().size();
    until("all ticks", || gate.read().size() == newest).await;
    // When it reads at last, it gets everything, or is told to ask again.
    let mut intake = lazy.intake("committee");
    while let Ok(Ok(Some(response))) =
        tokio::time::timeout(Duration::from_secs(1), stream.message()).await
    {
        intake.apply(response).unwrap();
    }
    let upstream = upstream("committee", address);
    let size = catch_up(&lazy, &upstream, Duration::from_millis(500)).await.unwrap();
    assert_eq!(size, newest);
    assert_eq!(versions(&lazy, 200), versions(&committee.mirror, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_with_one_that_is_behind_is_no_error_and_a_dead_one_is() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    committee.settled(put(&[1], 2));
    let (address, _guard) = serve(server(&sponsor)).await;
    let patience = Duration::from_millis(300);
    let size = catch_up(&committee.mirror, &upstream("sponsor", address), patience).await;
    assert_eq!(size.unwrap(), 2);
    let (_, nobody) = listen().await;
    let error = catch_up(&sponsor, &upstream("nobody", nobody), patience).await;
    assert!(error.is_err());
}

/// Mirrors follow an authority as soon as it listens: also one that was restored, and has less of its log than they.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_authority_takes_its_log_from_those_who_follow_it() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    copy(&world.path("committee"), &world.path("backup"));
    committee.settled(put(&[1], 2));
    committee.settled(put(&[1], 3));
    let sponsor = world.mirror("sponsor");
    pull(&committee.mirror, &sponsor).await;
    let restored = world.publisher("backup").mirror;
    let (address, _committee) = serve(server(&restored)).await;
    let following = start(&sponsor, vec![upstream("committee", address)]);
    until("it is asked", || following.of("committee").times_left > 0).await;
    let (address, _sponsor) = serve(server(&sponsor)).await;
    let patience = Duration::from_millis(300);
    let size = catch_up(&restored, &upstream("sponsor", address), patience).await;
    assert_eq!(size.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_refuses_what_it_does_not_mirror_and_malformed_requests() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(50);
    let gate = world.gate("gate");
    pull(&committee.mirror, &gate).await;
    let (address, _guard) = serve(server(&gate)).await;
    let mut client = FeedServiceClient::new(channel(address));
    let good = gate.follow_request();
    let requests: Vec<(FollowRequest, tonic::Code)> = vec![
        (
            FollowRequest { origin: "lanyard/games-2028/police".into(), ..good.clone() },
            tonic::Code::NotFound,
        ),
        (FollowRequest { audiences: vec![2], ..good.clone() }, tonic::Code::NotFound),
        (FollowRequest { audiences: vec![9], ..good.clone() }, tonic::Code::InvalidArgument),
        (FollowRequest { log_root: vec![1; 31], ..good.clone() }, tonic::Code::InvalidArgument),
        (FollowRequest { log_size: 0, ..good.clone() }, tonic::Code::InvalidArgument),
    ];
    for (request, code) in requests {
        assert_eq!(client.follow(request).await.unwrap_err().code(), code);
    }
    let ahead = FollowRequest { log_size: 99, ..good.clone() };
    let mut stream = client.follow(ahead).await.unwrap().into_inner();
    let refused = loop {
        if let Err(refused) = stream.message().await {
            break refused;
        }
    };
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_takes_nothing_is_let_go_and_little_waited_for_it() {
    let world = world();
    let mut committee = world.publisher("committee");
    committee.begin(20_000);
    let server = server(&committee.mirror).with_patience(Duration::from_millis(200));
    let request = Request::new(world.mirror("lazy").follow_request());
    let mut stream = server.follow(request).await.unwrap().into_inner();
    // It could go on by itself only once it is let go: nothing else ends what waits for it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut waited, mut bytes) = (0, 0);
    let ended = loop {
        match stream.next().await.expect("an end is told") {
            Ok(response) => (waited, bytes) = (waited + 1, bytes + response.encoded_len()),
            Err(status) => break status,
        }
    };
    assert_eq!(lanyard_transport::status::reason(&ended).as_deref(), Some("TOO_SLOW"));
    assert!(waited <= 2 && bytes <= 2 * 65 * 1024, "{waited} messages, {bytes} bytes");
}

//! Floods, overload, time limits, shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lanyard_env::{Listener, Network, NetworkError, Stream, TcpNetwork};
use tokio::io::AsyncReadExt as _;
use tonic::Code;

use super::fixture::*;
use crate::{Limits, status};

#[tokio::test]
async fn silent_connections_are_dropped_and_keep_nobody_out() {
    let world = World::new();
    let limits = Limits {
        handshakes: 16,
        handshakes_per_address: 8,
        handshake_timeout: Duration::from_secs(3),
        ..Limits::default()
    };
    let server = world.serve(limits).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(world.env.connect(&server.address).await.unwrap());
    }
    let begun = Instant::now();
    call(world.channel(&world.committee(), &server), SAY).await.unwrap();
    // Whoever is pushed out goes at once; the rest goes when its time is up.
    for (number, mut stream) in silent.into_iter().enumerate() {
        let read = tokio::time::timeout(Duration::from_secs(9), stream.read(&mut [0])).await;
        assert!(matches!(read.expect("dropped in time"), Ok(0) | Err(_)), "{number}");
        if number < 56 {
            assert!(begun.elapsed() < Duration::from_millis(2_500), "{number} was not pushed out");
        }
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_service_can_hang_up_on_one_connection() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let (channel, other) = [(); 2].map(|()| world.channel(&world.committee(), &server)).into();
    let slow = tokio::spawn(call(channel.clone(), SLOW));
    let others = tokio::spawn(call(other, SLOW));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let hung_up = tokio::time::timeout(Duration::from_secs(9), call(channel.clone(), HANG_UP));
    assert!(hung_up.await.expect("it does not wait").is_err());
    assert!(slow.await.unwrap().is_err(), "everything on that connection ends");
    assert!(others.await.unwrap().is_ok());
    assert!(call(channel, SAY).await.is_ok(), "whoever was hung up on may come back");
}

#[tokio::test]
async fn a_caller_above_its_share_is_told_to_wait_and_others_are_served() {
    let world = World::new();
    let server = world.serve(Limits { requests: 2, ..Limits::default() }).await;
    let channel = world.channel(&world.committee(), &server);
    let slow = tokio::spawn(call(channel.clone(), SLOW));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let busy = refusal(call(channel.clone(), SAY).await);
    assert_eq!(busy, (Code::ResourceExhausted, status::OVERLOADED.to_owned()));
    let other = world.tls(world.identity(&peer("spiffe://police/service/other")));
    assert!(call(world.channel(&other, &server), SAY).await.is_ok());
    assert!(slow.await.unwrap().is_ok());
    assert!(call(channel, SAY).await.is_ok());
}

#[tokio::test]
async fn unary_calls_are_limited_in_time_and_streams_are_not() {
    let world = World::new();
    let limits = Limits { request_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = world.serve(limits).await;
    let channel = world.channel(&world.committee(), &server);
    let late = refusal(call(channel.clone(), SLOW).await);
    assert_eq!(late, (Code::DeadlineExceeded, status::TIMED_OUT.to_owned()));
    assert!(call(channel, SLOW_STREAM).await.is_ok());
}

#[tokio::test]
async fn too_many_connections_of_one_caller_are_refused() {
    let world = World::new();
    let server = world.serve(Limits { connections: 2, ..Limits::default() }).await;
    let tls = world.committee();
    let first = world.channel(&tls, &server);
    call(first.clone(), SAY).await.unwrap();
    let second = call(world.channel(&tls, &server), SAY).await.unwrap_err();
    assert!(second.message().contains("overloaded"), "{second}");
    let other = world.tls(world.identity(&peer("spiffe://police/service/other")));
    assert!(call(world.channel(&other, &server), SAY).await.is_ok());
    assert!(call(first, SAY).await.is_ok());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_comes_back_by_itself() {
    let world = World::new();
    let limits =
        Limits { idle_timeout: Duration::from_millis(200), connections: 2, ..Limits::default() };
    let server = world.serve(limits).await;
    let tls = world.committee();
    let first = world.channel(&tls, &server);
    call(first.clone(), SLOW).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    // There is room for one connection of this caller: the first has to be gone.
    let second = world.channel(&tls, &server);
    call(second, SAY).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    call(first, SAY).await.unwrap();
}

#[tokio::test]
async fn shutdown_lets_requests_finish_within_the_drain_timeout() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let channel = world.channel(&world.committee(), &server);
    let slow = tokio::spawn(call(channel, SLOW));
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.shutdown.cancel();
    assert!(slow.await.unwrap().is_ok());
    server.task.await.unwrap();
    let refused = world.env.connect(&server.address).await;
    assert!(refused.is_err(), "the port is free again");
}

#[tokio::test]
async fn shutdown_does_not_wait_longer_than_that() {
    let world = World::new();
    let limits = Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = world.serve(limits).await;
    let channel = world.channel(&world.committee(), &server);
    let slow = tokio::spawn(call(channel, SLOW_STREAM));
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.shutdown.cancel();
    server.task.await.unwrap();
    assert!(slow.await.unwrap().is_err());
}

/// A network whose listener says ever again that there are too many open files, before it accepts.
struct Exhausted {
    errors: usize,
    calls: Arc<AtomicUsize>,
}

struct ExhaustedListener {
    errors: usize,
    calls: Arc<AtomicUsize>,
    inner: Box<dyn Listener>,
}

impl Network for Exhausted {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Listener>, NetworkError>> {
        async move {
            let inner = TcpNetwork.bind(address).await?;
            let (errors, calls) = (self.errors, Arc::clone(&self.calls));
            Ok(Box::new(ExhaustedListener { errors, calls, inner }) as Box<dyn Listener>)
        }
        .boxed()
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Stream, NetworkError>> {
        TcpNetwork.connect(address)
    }
}

impl Listener for ExhaustedListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        const EMFILE: i32 = 24;
        async move {
            if self.calls.fetch_add(1, Ordering::SeqCst) < self.errors {
                return Err(io::Error::from_raw_os_error(EMFILE));
            }
            self.inner.accept().await
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[tokio::test]
async fn at_the_limit_of_open_files_accepting_backs_off_and_recovers() {
    let mut world = World::new();
    let calls = Arc::new(AtomicUsize::new(0));
    world.env.network = Arc::new(Exhausted { errors: 5, calls: Arc::clone(&calls) });
    let server = world.serve(Limits::default()).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!((1..=4).contains(&calls.load(Ordering::SeqCst)), "no spinning");
    call(world.channel(&world.committee(), &server), SAY).await.unwrap();
}

//! Bytes that no client sends: damaged, truncated and oversized messages on every RPC, false frames, silent connections.
//! No service may fail over them, and each must serve its own people afterwards.

#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanyard_tests::{
    Authorities, Caller, Connection, Desk, Inventor, Rpc, TestEvent, eventually, framed, hosts,
    people, rpcs, run_together,
};
use lanyard_transport::policy::RULES;
use lanyard_transport::{PartyName, PeerId, Role};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

/// Well-formed and damaged messages for each RPC and service.
const DRAWN: usize = 6;
const DAMAGED: usize = 12;
/// Bytes of a message that is too large everywhere.
const OVERSIZED: usize = 6 * 1024 * 1024;
/// Connections that say nothing, at each service.
const SILENT: usize = 48;
/// And of a crowd to one gate, as far as the system lets one process open them.
const CROWD: usize = 10_000;
/// Files that are open besides.
const RESERVED: usize = 800;

const MEMBERS: [(&str, PartyName); 5] = [
    ("committee", PartyName::Committee),
    ("police", PartyName::Police),
    ("sponsor", PartyName::Sponsor),
    ("trustee", PartyName::Trustee),
    ("gate-1", PartyName::Gate),
];

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of every thread: services run in this process.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
}

/// Connections of whoever may call, kept open.
struct Callers<'a> {
    event: &'a TestEvent,
    authorities: Authorities,
    open: HashMap<(&'static str, String), Connection>,
}

impl Callers<'_> {
    /// Somebody whom policy lets call this RPC there.
    async fn of(&mut self, member: &'static str, party: PartyName, rpc: &Rpc) -> Connection {
        let rule = RULES.iter().find(|rule| rule.rpc == rpc.path).expect("a row");
        let everyone = Authorities::everyone();
        let peer = everyone.into_iter().find(|peer| rule.allows(peer, party)).expect("somebody");
        self.connect(member, &peer).await
    }

    async fn connect(&mut self, member: &'static str, peer: &PeerId) -> Connection {
        let key = (member, peer.to_string());
        if let Some(connection) = self.open.get(&key) {
            return connection.clone();
        }
        let caller = Caller::with(&self.authorities.certify(peer));
        let connected = caller.connect(self.event.address(member)).await;
        let connection = connected.unwrap_or_else(|error| panic!("{member}: {error:?}"));
        self.open.insert(key, connection.clone());
        connection
    }
}

#[test]
fn no_bytes_stop_a_service() {
    count_panics();
    let event = TestEvent::started();
    run_together(async {
        let desk = Desk::of(&event);
        desk.enrol(&people(4)).await.unwrap();
        let authorities = Authorities::of(&event);
        let mut callers = Callers { event: &event, authorities, open: HashMap::new() };
        let mut inventor = Inventor::new(0x1a4);
        for rpc in rpcs() {
            let serves = |party: &PartyName| hosts(&rpc).contains(party);
            for (member, party) in MEMBERS.into_iter().filter(|(_, party)| serves(party)) {
                let connection = callers.of(member, party, &rpc).await;
                drawn(&connection, &rpc, &mut inventor).await;
                oversized(&connection, &rpc).await;
                false_frames(&connection, &rpc).await;
                // A false frame may cost its connection: none of these is used again.
                callers.open.retain(|(name, _), _| *name != member);
                assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{} at {member}", rpc.path);
            }
        }
        everyone_is_served(&desk).await;
    });
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a service panicked");
}

/// Messages that decode, some of which mean something, and the same damaged: each is answered.
async fn drawn(connection: &Connection, rpc: &Rpc, inventor: &mut Inventor) {
    let mut bodies = Vec::new();
    for _ in 0..DRAWN {
        bodies.push(inventor.message(&rpc.input));
    }
    for number in 0..DAMAGED {
        let damaged = inventor.damaged(&bodies[number % DRAWN]);
        bodies.push(damaged);
    }
    for body in &bodies {
        let reply = connection.call(&rpc.path, framed(body)).await;
        let reply = reply.unwrap_or_else(|error| panic!("{} for {}", error, hex::encode(body)));
        // `Unknown` is what becomes of a handler that fell over.
        assert_ne!(
            reply.code,
            Some(Code::Unknown),
            "{}: {reply:?}: {}",
            rpc.path,
            hex::encode(body)
        );
    }
}

/// A message above every limit is refused, not stored and not ignored.
async fn oversized(connection: &Connection, rpc: &Rpc) {
    // Field 1, bytes: what most requests have.
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(OVERSIZED as u64, &mut message);
    message.resize(message.len() + OVERSIZED, b'A');
    match connection.call(&rpc.path, framed(&message)).await {
        Ok(reply) => {
            let refused = [Code::OutOfRange, Code::ResourceExhausted, Code::InvalidArgument];
            let code = reply.code.unwrap_or(Code::Ok);
            assert!(refused.contains(&code), "{}: {reply:?}", rpc.path);
        }
        // The service may hang up while the rest is still being sent.
        Err(error) => assert!(error.to_string().contains("Http2"), "{}: {error}", rpc.path),
    }
}

/// Frames that announce what does not come, or what nobody agreed on.
async fn false_frames(connection: &Connection, rpc: &Rpc) {
    let frames: [&[u8]; 7] = [
        &[0],
        &[0, 0, 0, 0],
        &[0, 0, 0, 0, 9],
        &[0, 0, 0, 0, 9, 1, 2, 3],
        &[0, 0xff, 0xff, 0xff, 0xff, 1],
        &[1, 0, 0, 0, 1, 0],
        &[7, 0, 0, 0, 0],
    ];
    for frame in frames {
        match connection.call(&rpc.path, Bytes::copy_from_slice(frame)).await {
            Ok(reply) => {
                // A stream that ends before its first message is an empty stream, and may be taken as one.
                let streams = rpc.server_streaming || rpc.client_streaming;
                let accepted = reply.code == Some(Code::Ok) && !streams;
                assert!(!accepted, "{} took {frame:?}: {reply:?}", rpc.path);
            }
            Err(error) => assert!(error.to_string().contains("Http2"), "{}: {error}", rpc.path),
        }
    }
}

/// Each service answers its own people.
async fn everyone_is_served(desk: &Desk) {
    let begun = Instant::now();
    let published = desk.published().await.expect("the authorities answer");
    desk.sync_state().await.expect("the gate answers");
    eventually("the authorities go on publishing", async || {
        let now = desk.published().await.ok()?;
        now.iter().zip(published).all(|(now, before)| now.0 > before.0).then_some(())
    })
    .await;
    let mut sponsor = desk.sponsor_desk.sponsor_desk().unwrap();
    let request = lanyard_wire::sponsor::v1::CheckCodeRequest { code: "none".to_owned() };
    sponsor.check_code(request).await.expect("the sponsor answers");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// As many open files as the system gives this process.
fn open_files() -> usize {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).unwrap();
    usize::try_from(limits.current.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
}

/// Connects from one of two hundred loopback addresses, where the system has them.
async fn connect_from(number: usize, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::new(127, 0, u8::try_from(number % 200).unwrap(), 7);
    // Elsewhere there is but one: then the limit of an address is what holds.
    let _ = socket.bind((from, 0).into());
    socket.connect(to).await.unwrap()
}

#[test]
fn silent_connections_keep_nobody_out() {
    let event = TestEvent::started();
    run_together(async {
        let mut silent = Vec::new();
        for (member, _) in MEMBERS {
            for _ in 0..SILENT {
                silent.push(TcpStream::connect(event.address(member)).await.unwrap());
            }
        }
        let crowd = open_files().saturating_sub(RESERVED).min(CROWD);
        println!("{crowd} silent connections from many addresses to one gate");
        for number in 0..crowd {
            silent.push(connect_from(number, event.address("gate-1")).await);
        }
        let begun = Instant::now();
        let desk = Desk::of(&event);
        everyone_is_served(&desk).await;
        let trustee = event.person("trustee", Role::Operator);
        let usage = trustee
            .key_share()
            .unwrap()
            .get_usage(lanyard_wire::pseudonym::v1::GetUsageRequest {})
            .await;
        usage.expect("the trustee answers");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // Nobody waits for them for ever.
        for mut stream in silent {
            let read = tokio::time::timeout(Duration::from_secs(15), stream.read(&mut [0])).await;
            assert!(matches!(read.expect("dropped in time"), Ok(0) | Err(_)));
        }
    });
}

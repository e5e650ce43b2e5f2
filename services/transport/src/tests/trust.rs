//! Who gets in, and what those see who do not.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;
use tonic::Code;

use super::fixture::*;
use crate::tls::H2;
use crate::{
    Admission, Expected, Identity, IdentityError, Limits, PartyName, TrustAnchors, connect, http1,
    status,
};

#[tokio::test]
async fn the_right_identity_gets_in_and_is_known_to_the_handler() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let reply = call(world.channel(&world.committee(), &server), SAY).await.unwrap();
    assert_eq!(reply, "hello from spiffe://committee/service/main");
}

#[tokio::test]
async fn plain_http_lives_on_the_same_port() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let (tls, police) = (world.committee(), Expected::party(PartyName::Police));
    let post = |path, body: &'static str| {
        http1::post(&world.env, &tls, &server.address, &police, path, body)
    };
    let answer = post(HTTP, "hello").await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    assert_eq!(answer.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(post("/other", "").await.unwrap().status, 403);
    let large = post(HTTP, "large").await.unwrap_err();
    assert!(matches!(large, http1::PostError::TooLarge { .. }), "{large}");
}

/// Has no certificate to send.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn no_certificate_no_entry() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let police = Expected::party(PartyName::Police);
    let config = world.committee().client_config(&police, H2).unwrap();
    let mut config = Arc::unwrap_or_clone(config);
    config.client_auth_cert_resolver = Arc::new(Nobody);
    let stream = world.env.connect(&server.address).await.unwrap();
    let name = ServerName::try_from("lanyard.invalid").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let error = connecting.await.unwrap().read(&mut [0]).await.unwrap_err();
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::CertificateRequired)));
}

/// Calls the police with `identity` and returns the message that its operator sees.
async fn refused(world: &World, identity: Identity) -> String {
    let server = world.serve(Limits::default()).await;
    let tls = world.tls(identity);
    let failed = call(world.channel(&tls, &server), SAY).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable, "{failed}");
    let police = Expected::party(PartyName::Police);
    let post = http1::post(&world.env, &tls, &server.address, &police, HTTP, "").await;
    assert!(post.is_err());
    assert_eq!(status::explain(&failed), failed.message());
    failed.message().to_owned()
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let world = World::new();
    let committee = peer("spiffe://committee/service/main");
    let (chain, key) = issue(&authority(PartyName::Committee), &committee, FROM, UNTIL);
    let message = refused(&world, Identity::from_pem(&chain, &key).unwrap()).await;
    assert!(message.contains("not signed by the authority that the manifest names"), "{message}");
}

#[tokio::test]
async fn one_partys_authority_cannot_speak_for_another() {
    let mut world = World::new();
    // An authority trusted for the gates, and for them alone, signs a certificate of the committee.
    let rogue = authority(PartyName::Committee);
    let committee = peer("spiffe://committee/service/main");
    let (chain, key) = issue(&rogue, &committee, FROM, UNTIL);
    let identity = || Identity::from_pem(&chain, &key).unwrap();
    let honest = |world: &World| {
        [PartyName::Committee, PartyName::Police]
            .map(|party| (party, world.authority(party).certificate_pem().to_owned()))
    };
    let pems = honest(&world);
    let pems = pems.iter().map(|(party, pem)| (*party, pem.as_str()));
    let rogue_pem = rogue.certificate_pem();
    world.anchors = TrustAnchors::from_pem(pems.chain([(PartyName::Gate, rogue_pem)])).unwrap();
    let message = refused(&world, identity()).await;
    assert!(message.contains("not signed by the authority that the manifest names"), "{message}");
    // The same certificate gets in as soon as the rogue speaks for the committee: nothing else is wrong with it.
    let police = world.authority(PartyName::Police).certificate_pem();
    world
        .anchors
        .replace(
            Admission::everyone(),
            [(PartyName::Committee, rogue_pem), (PartyName::Police, police)],
        )
        .unwrap();
    let server = world.serve(Limits::default()).await;
    assert!(call(world.channel(&world.tls(identity()), &server), SAY).await.is_ok());
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_a_future_one() {
    let world = World::new();
    let committee = peer("spiffe://committee/service/main");
    let authority = world.authority(PartyName::Committee);
    let (chain, key) = issue(authority, &committee, FROM, NOW.minus_millis(1_000));
    let message = refused(&world, Identity::from_pem(&chain, &key).unwrap()).await;
    assert!(message.contains("expired"), "{message}");
    let (chain, key) = issue(authority, &committee, NOW.plus_millis(9_000), UNTIL);
    let message = refused(&world, Identity::from_pem(&chain, &key).unwrap()).await;
    assert!(message.contains("refuses this party's certificate"), "{message}");
}

#[tokio::test]
async fn the_wrong_role_and_unknown_calls_are_denied() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    for id in ["spiffe://committee/desk/main", "spiffe://sponsor/service/main"] {
        let tls = world.tls(world.identity(&peer(id)));
        let denied = refusal(call(world.channel(&tls, &server), SAY).await);
        assert_eq!(denied, (Code::PermissionDenied, status::NOT_ALLOWED.to_owned()), "{id}");
    }
    let unknown = call(world.channel(&world.committee(), &server), "/test.Echo/Other").await;
    assert_eq!(refusal(unknown).0, Code::PermissionDenied);
}

#[tokio::test]
async fn a_client_tells_one_server_from_another() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let tls = world.committee();
    let reach = async |expected: Expected| {
        call(connect(&world.env, &tls, &server.address, &expected).unwrap(), SAY).await
    };
    assert!(reach(Expected::named(PartyName::Police, "main")).await.is_ok());
    for expected in
        [Expected::party(PartyName::Sponsor), Expected::named(PartyName::Police, "other")]
    {
        let failed = reach(expected.clone()).await.unwrap_err();
        let message = format!("is not {expected}: the server is spiffe://police/service/main");
        assert!(failed.message().contains(&message), "{failed}");
    }
    let impostor = world.identity(&peer("spiffe://police/operator/anna"));
    let server = world.serve_as(impostor, Limits::default()).await;
    let failed = call(world.channel(&tls, &server), SAY).await.unwrap_err();
    assert!(failed.message().contains("is not spiffe://police/service/*"), "{failed}");
}

#[tokio::test]
async fn a_renewed_certificate_is_picked_up_without_a_restart() {
    let world = World::new();
    let (committee, police) = (PartyName::Committee, PartyName::Police);
    let (own, served) =
        (peer("spiffe://committee/service/main"), peer("spiffe://police/service/main"));
    let soon = NOW.plus_millis(60_000);
    let dir = tempfile::TempDir::new().unwrap();
    let (chain_file, key_file) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    let store = |(chain, key): (Vec<u8>, Vec<u8>)| {
        let files = &world.env.files;
        files.write_atomic(&chain_file, &chain, lanyard_env::Mode::Public).unwrap();
        files.write_atomic(&key_file, &key, lanyard_env::Mode::Private).unwrap();
    };
    store(issue(world.authority(police), &served, FROM, soon));
    let server_identity = Identity::load(&*world.env.files, &chain_file, &key_file).unwrap();
    let (chain, key) = issue(world.authority(committee), &own, FROM, soon);
    let client_identity = Identity::from_pem(&chain, &key).unwrap();
    let tls = world.tls(client_identity.clone());
    let server = world.serve_as(server_identity.clone(), Limits::default()).await;
    assert!(call(world.channel(&tls, &server), SAY).await.is_ok());

    world.clock.set(soon.plus_millis(1_000));
    assert!(call(world.channel(&tls, &server), SAY).await.is_err());
    store(issue(world.authority(police), &served, FROM, UNTIL));
    server_identity.reload(&*world.env.files).unwrap();
    assert_eq!(server_identity.valid_until(), UNTIL);
    let (chain, key) = issue(world.authority(committee), &own, FROM, UNTIL);
    client_identity.replace_pem(&chain, &key).unwrap();
    assert!(call(world.channel(&tls, &server), SAY).await.is_ok());

    store(issue(world.authority(police), &peer("spiffe://police/service/other"), FROM, UNTIL));
    let other = server_identity.reload(&*world.env.files);
    assert!(matches!(other, Err(IdentityError::OtherPeer { .. })));
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let world = World::new();
    let police = peer("spiffe://police/service/main");
    let (chain, _) = issue(world.authority(PartyName::Police), &police, FROM, UNTIL);
    let (_, key) = issue(world.authority(PartyName::Police), &police, FROM, UNTIL);
    let mismatch = Identity::from_pem(&chain, &key);
    assert!(matches!(mismatch, Err(IdentityError::Mismatch { .. })));
}

#[tokio::test]
async fn a_new_manifest_closes_open_connections_of_a_party_that_changed() {
    let world = World::new();
    let server = world.serve(Limits::default()).await;
    let tls = world.committee();
    let channel = world.channel(&tls, &server);
    let slow = tokio::spawn(call(channel.clone(), SLOW));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let police = world.authority(PartyName::Police).certificate_pem();
    let changed = authority(PartyName::Committee);
    world
        .anchors
        .replace(
            Admission::everyone(),
            [(PartyName::Committee, changed.certificate_pem()), (PartyName::Police, police)],
        )
        .unwrap();
    let cut = slow.await.unwrap().unwrap_err();
    assert!(status::is_unreachable(&cut), "{cut}");
    let message = call(channel, SAY).await.unwrap_err().message().to_owned();
    assert!(message.contains("not signed by the authority"), "{message}");
}

#[test]
fn the_manifest_says_which_gates_are_let_in() {
    let hash = |byte| lanyard_core::ids::Hash::new([byte; 32]);
    let world = World::new();
    let pems =
        || PartyName::ALL.iter().map(|party| (*party, world.authority(*party).certificate_pem()));
    let gates = ["gate-1".to_owned(), "gate-2".to_owned()];
    let admission = Admission::of(gates, [hash(7)]);
    let anchors = TrustAnchors::admitting(admission, pems()).unwrap();
    let admits = |id: &str, key| anchors.of(&peer(id), hash(key)).is_ok();
    for good in [
        "spiffe://gate/service/gate-1",
        "spiffe://gate/scanner/gate-2.north",
        "spiffe://gate/supervisor/gate-1.a.b",
        "spiffe://police/operator/anna",
        "spiffe://sponsor/service/sponsor",
    ] {
        assert!(admits(good, 1), "{good}");
        assert!(!admits(good, 7), "{good} has a revoked key");
    }
    for bad in [
        "spiffe://gate/service/gate-3",
        "spiffe://gate/service/gate-1.north",
        "spiffe://gate/scanner/gate-3.north",
        "spiffe://gate/scanner/north",
        "spiffe://gate/scanner/gate-1",
        "spiffe://gate/operator/gate-11.x",
    ] {
        assert!(!admits(bad, 1), "{bad}");
    }
}
